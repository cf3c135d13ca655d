"""Publishes with keys are delivered once, and answered once and the same, whatever breaks.

    python3 exactly_once.py --binary PATH_TO_ROOMCAST [CASE]...

A proxy of its own cuts connections at every byte, and the server is killed. Needs nothing but
Python.
"""

import argparse
import json
import os
import select
import socket
import sys
import tempfile
import threading

from cases import Failed, compact, equal, holds, run_with_binary
from raw_peer import Peer
from server_process import Server

ROOM = "chat:once"
POLICIES = '[[rooms]]\nmatch = "chat:*"\nhistory.messages = 100000\n'
PUBLISHES = 1000
ROUNDS = 20
BURST = 60
UP, DOWN = "up", "down"


class Proxy:
    """Passes one connection on at a time, and cuts it when so many bytes went in one direction."""

    def __init__(self, port):
        self.port = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.own_port = self.listener.getsockname()[1]
        self.cut = None

    def connect(self, cut):
        """A connection to the server, to be cut at a place, or never with None."""
        peer = Peer(self.own_port)
        near, _ = self.listener.accept()
        far = socket.create_connection(("127.0.0.1", self.port))
        for end in (near, far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=self.run, args=(near, far, cut), daemon=True).start()
        return peer

    @staticmethod
    def run(near, far, cut):
        left = {UP: None, DOWN: None}
        if cut:
            left[cut[0]] = cut[1]
        ways = {near: (far, UP), far: (near, DOWN)}
        with near, far:
            while True:
                for end in select.select([near, far], [], [])[0]:
                    other, way = ways[end]
                    try:
                        data = end.recv(65536)
                        if left[way] is not None:
                            data = data[: left[way]]
                            left[way] -= len(data)
                        other.sendall(data)
                    except ConnectionError:
                        return
                    if not data or left[way] == 0:
                        return


class Publisher:
    """A client without a user, which names its earlier connections."""

    def __init__(self, connect):
        self.connect = connect
        self.conns = []
        self.lost = 0

    def open(self, cut=None):
        """The connection, and how much went both ways until it was open."""
        peer = self.connect(cut)
        peer.upgrade()
        self.conns = [*self.conns, peer.conn][-16:]
        return peer

    def text(self, number, key):
        named = f',"conn":{compact(self.conns[:-1])}' if self.conns[:-1] else ""
        return f'{{"event":"n","id":{number},"room":"{ROOM}","key":"{key}"{named},"data":{number}}}'

    def publish(self, number, cuts):
        """Publishes until it is answered, over a connection for each cut, and at last over a whole one."""
        key = os.urandom(8).hex()
        self.conns = []
        for cut in [*cuts, None]:
            try:
                peer = self.open(cut)
                try:
                    peer.send(self.text(number, key))
                    return answered(peer.next(), number)
                finally:
                    peer.end()
            except (ConnectionError, Failed):
                if cut is None:
                    raise
                self.lost += 1
        raise Failed("unreachable")


def answered(text, number):
    """The offset in the answer to a publish."""
    answer = json.loads(text)
    equal((answer.get("event"), answer.get("id"), "data" in answer), ("n", number, True), f"the answer {text}")
    return answer["data"]["offset"]


def history(peer):
    """The data of all messages of the room, by their offsets."""
    messages, after = {}, 0
    peer.join(ROOM)
    while True:
        peer.send({"event": "$history", "id": "h", "room": ROOM, "data": {"after": after}})
        page = json.loads(peer.next())["data"]["messages"]
        if not page:
            return messages
        for message in page:
            after = message["offset"]
            messages[after] = message["data"]


def check(peer, acknowledged):
    """Each number is in the room's history once, at the offset that its publisher was told."""
    kept = history(peer)
    equal(len(kept), len(acknowledged), "how many messages the room has")
    equal({number: offset for offset, number in kept.items()}, acknowledged, "the offsets of the messages")


def conversation(server):
    """Bytes that go up and down for one publish, from the first to the last."""
    counts = {UP: 0, DOWN: 0}

    class Counted(Peer):
        def write(self, data):
            counts[UP] += len(data)
            super().write(data)

        def fill(self):
            before = len(self.buffer)
            more = super().fill()
            counts[DOWN] += len(self.buffer) - before
            return more

    publisher = Publisher(lambda _: Counted(server.port))
    peer = publisher.open()
    peer.send(f'{{"event":"n","id":1000,"room":"{ROOM}","key":"{"0" * 16}","data":1000}}')
    first = answered(peer.next(), 1000)
    peer.end()
    return counts, first


def in_a_folder(case):
    """A case that gets flags of a server with the room's policy, and a folder for a store."""

    def run(binary):
        with tempfile.TemporaryDirectory() as folder:
            policies = os.path.join(folder, "rooms.toml")
            with open(policies, "w", encoding="ascii") as file:
                file.write(POLICIES)
            flags = ("--config", policies, "--inbound-rate", "off", "--heartbeat-ms", "off", "--threads", "1")
            case(binary, flags, folder)

    return run


@in_a_folder
def connections_cut_at_every_byte(binary, flags, folder):
    del folder
    with Server(binary, *flags) as server:
        counts, first = conversation(server)
        acknowledged = {1000: first}
        proxy = Proxy(server.port)
        publisher = Publisher(proxy.connect)
        places = [(way, at) for way in (UP, DOWN) for at in range(1, counts[way] + 1)]
        holds(len(places) < PUBLISHES, f"{PUBLISHES} publishes are enough for {len(places)} places")
        watcher = server.open()
        watcher.join(ROOM)
        for number in range(PUBLISHES):
            place = places[number % len(places)]
            # Some are cut twice at once.
            cuts = [place] * (1 + number % 2)
            acknowledged[number] = publisher.publish(number, cuts)
        seen = [json.loads(watcher.next()) for _ in range(PUBLISHES)]
        equal([message["data"] for message in seen], list(range(PUBLISHES)), "what a member received")
        watcher.nothing_more()
        equal([message["offset"] for message in seen], [acknowledged[n] for n in range(PUBLISHES)], "offsets")
        check(server.open(), acknowledged)
        holds(publisher.lost > len(places), f"only {publisher.lost} connections were cut")
        server.check_alive()
        print(f"{PUBLISHES} publishes over {publisher.lost} cut connections, at {len(places)} places: each once")


@in_a_folder
def servers_killed(binary, flags, folder):
    # A server that is killed before it read anything gets all of it over one connection later.
    flags = (*flags, "--store", os.path.join(folder, "store"), "--idempotency-keys-per-client-max", "10000")
    acknowledged, waiting, conns, retried = {}, {}, [], 0
    for turn in range(ROUNDS + 1):
        with Server(binary, *flags) as server:
            peer = server.open()
            # Those of earlier rounds first: they may have been delivered, or not.
            retried += len(waiting)
            fresh = {turn * BURST + n: os.urandom(8).hex() for n in range(BURST)} if turn < ROUNDS else {}
            for number, key in {**waiting, **fresh}.items():
                named = f',"conn":{compact(conns)}' if conns else ""
                peer.send(f'{{"event":"n","id":{number},"room":"{ROOM}","key":"{key}"{named},"data":{number}}}')
            waiting.update(fresh)
            conns = [*conns, peer.conn][-16:]
            # Some moment of its own for each round; the last one reads all.
            enough = turn * 17 % BURST if turn < ROUNDS else len(waiting)
            for _ in range(enough):
                take_answer(peer, acknowledged, waiting)
            if turn < ROUNDS:
                # Answers that are under way are lost with it.
                server.process.kill()
                server.process.wait()
            else:
                equal(len(acknowledged), ROUNDS * BURST, "how many were acknowledged")
                check(server.open(), acknowledged)
    holds(retried > 0, "nothing was ever retried")
    print(f"{ROUNDS} rounds of kill -9: {len(acknowledged)} publishes, {retried} retries, each once")


def take_answer(peer, acknowledged, waiting):
    text = peer.next()
    number = json.loads(text)["id"]
    holds(number in waiting, f"{number} is answered twice")
    acknowledged[number] = answered(text, number)
    del waiting[number]


CASES = {
    "connections_cut_at_every_byte": connections_cut_at_every_byte,
    "servers_killed": servers_killed,
}


def main():
    parser = argparse.ArgumentParser(description="Publishes that are delivered once")
    return run_with_binary(parser, CASES)


if __name__ == "__main__":
    sys.exit(main())
