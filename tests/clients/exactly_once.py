"""Publishes with keys are delivered once, and answered once and the same, whatever breaks.

    python3 exactly_once.py --binary PATH_TO_ROOMCAST [CASE]...

A proxy of its own cuts connections at every byte, and the server is killed. Needs nothing but
Python.
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import select
import socket
import sys
import tempfile
import threading
import time

from cases import Failed, compact, equal, holds, run_with_binary
from raw_peer import Peer
from server_process import Server

ROOM = "chat:once"
POLICIES = '[[rooms]]\nmatch = "chat:*"\nhistory.messages = 100000\n'
PUBLISHES = 1000
ROUNDS = 20
BURST = 60
UP, DOWN = "up", "down"
# Later ids and offsets have more digits than those in the measured conversation.
GROWTH = 12
SECRET = "a secret of thirty-two bytes or more"
TOKEN_KEY = f"hs256:{SECRET}"
USERS = ("ann", "bob")


class Proxy:
    """Forwards one connection at a time, and cuts it after a number of bytes in one direction."""

    def __init__(self, port):
        self.port = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.own_port = self.listener.getsockname()[1]
        self.cut = None

    def connect(self, cut):
        """Returns a connection to the server that is cut at a byte, or never with None."""
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


def token(user, *rights):
    """A token of a user with these rights in the room."""
    now = int(time.time())
    grants = [{"rooms": "chat:*", "can": rights}]
    parts = ({"alg": "HS256"}, {"sub": user, "iat": now, "exp": now + 3600, "grants": grants})
    text = b".".join(base64url(compact(part).encode()) for part in parts)
    return (text + b"." + base64url(hmac.digest(SECRET.encode(), text, hashlib.sha256))).decode()


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def bearer(user, *rights):
    """The header with a token; None for a client without a user."""
    return {"Authorization": f"Bearer {token(user, *rights)}"} if user else {}


class Publisher:
    """A client without a user, which names its earlier connections."""

    user = None

    def __init__(self, connect):
        self.connect = connect
        self.conns = []
        self.lost = 0

    def open(self, cut=None):
        """A connection that is to be cut at a place, or never with None."""
        peer = self.connect(cut)
        peer.upgrade()
        self.conns = [*self.conns, peer.conn][-16:]
        return peer

    def text(self, number, key):
        named = f',"conn":{compact(self.conns[:-1])}' if self.conns[:-1] else ""
        return f'{{"event":"n","id":{number},"room":"{ROOM}","key":"{key}"{named},"data":{number}}}'

    def publish(self, number, cuts, key=None):
        """Publishes until answered: over one connection for each cut, and finally over an uncut one."""
        key = key or os.urandom(8).hex()
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


class User(Publisher):
    """A client with a token, which it may renew before it publishes. Its keys belong to its user, so it
    names no earlier connections."""

    def __init__(self, connect, user, renews=False):
        super().__init__(connect)
        self.user = user
        self.renews = renews

    def open(self, cut=None):
        peer = self.connect(cut)
        peer.upgrade(**bearer(self.user, "join", "publish"))
        if self.renews:
            renewed = token(self.user, "join", "publish")
            peer.send({"event": "$auth", "id": "a", "data": {"token": renewed}})
            answer = json.loads(peer.next())
            equal(answer.get("data", {}).get("user"), self.user, f"the answer to $auth {answer}")
        return peer


def answered(text, number):
    """The offset in the answer to a publish."""
    answer = json.loads(text)
    equal((answer.get("event"), answer.get("id"), "data" in answer), ("n", number, True), f"the answer {text}")
    return answer["data"]["offset"]


def history(peer):
    """The users and the data of all messages of the room, by their offsets."""
    messages, after = {}, 0
    peer.join(ROOM)
    while True:
        peer.send({"event": "$history", "id": "h", "room": ROOM, "data": {"after": after}})
        page = json.loads(peer.next())["data"]["messages"]
        if not page:
            return messages
        for message in page:
            after = message["offset"]
            messages[after] = said(message)


def said(message):
    """The user who published a message, if there is one, and its number."""
    return message["from"].get("user"), message["data"]


def check(peer, acknowledged):
    """Each number is in the history once for each user, at the offset in its acknowledgement."""
    kept = history(peer)
    equal(len(kept), len(acknowledged), "how many messages the room has")
    equal({number: offset for offset, number in kept.items()}, acknowledged, "the offsets of the messages")


def reader(server, has_users):
    """A connection that may read the room."""
    return server.open(**bearer(has_users and "eve", "join", "history"))


def conversation(server, publisher):
    """The range of bytes of one publish in each direction, its number, and its offset."""
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

    connect, publisher.connect = publisher.connect, lambda _: Counted(server.port)
    offset = publisher.publish(9999, [])
    publisher.connect = connect
    return counts, offset


def cut_everywhere(server, publishers, publishes=PUBLISHES, between=lambda number: None):
    """Publishes over connections that are cut at each byte of each publisher's conversation, a minimum
    number of times; with users, sometimes once more, and as another user. Prints the figures."""
    has_users = publishers[0].user is not None
    watcher = reader(server, has_users)
    watcher.join(ROOM)
    acknowledged, places, repeated = {}, [], 0
    for publisher in publishers:
        counts, offset = conversation(server, publisher)
        acknowledged[publisher.user, 9999] = offset
        ends = {UP: counts[UP], DOWN: counts[DOWN] + GROWTH}
        places += [(publisher, (way, at)) for way in (UP, DOWN) for at in range(1, ends[way] + 1)]
    for number in range(max(publishes, len(places))):
        publisher, place = places[number % len(places)]
        # Some connections are cut twice in a row.
        cuts, key = [place] * (1 + number % 2), os.urandom(8).hex()
        offset = acknowledged[publisher.user, number] = publisher.publish(number, cuts, key)
        if publisher.user and number % 10 == 0:
            equal(publisher.publish(number, [], key), offset, "the answer on another connection of the user")
            other = User(publisher.connect, next(user for user in USERS if user != publisher.user))
            acknowledged[other.user, number] = other.publish(number, [], key)
            repeated += 1
        between(number)
    seen = [json.loads(watcher.next()) for _ in acknowledged]
    watcher.nothing_more()
    equal({said(message): message["offset"] for message in seen}, acknowledged, "what a member received")
    offsets = [message["offset"] for message in seen]
    equal(offsets, sorted(set(offsets)), "the order of what a member received")
    check(reader(server, has_users), acknowledged)
    lost = sum(publisher.lost for publisher in publishers)
    holds(lost > len(places) - len(publishers) * GROWTH, f"only {lost} connections were cut")
    others = f", {repeated} of them again by the same user and by another" if repeated else ""
    print(f"{number + 1} publishes{others}, over {lost} cut connections, at {len(places)} places: each once")


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
        cut_everywhere(server, [Publisher(Proxy(server.port).connect)])
        server.check_alive()


@in_a_folder
def users_cut_at_every_byte(binary, flags, folder):
    del folder
    with Server(binary, *flags, "--token-key", TOKEN_KEY) as server:
        connect = Proxy(server.port).connect
        cut_everywhere(server, [User(connect, "ann"), User(connect, "bob", renews=True)])
        server.check_alive()


def kill(binary, flags, folder, users):
    """Kills a server while all of the users publish the same under the same keys."""
    # A server that is killed before it reads anything later gets everything over one connection.
    flags = (*flags, "--store", os.path.join(folder, "store"), "--idempotency-keys-per-client-max", "10000")
    acknowledged, waiting, conns, retried = {}, {}, [], 0
    for turn in range(ROUNDS + 1):
        with Server(binary, *flags) as server:
            peers = {user: server.open(**bearer(user, "join", "publish")) for user in users}
            # First the publishes of earlier rounds, which may have been delivered or not.
            retried += len(waiting)
            keys = {turn * BURST + n: os.urandom(8).hex() for n in range(BURST)} if turn < ROUNDS else {}
            fresh = {(user, number): key for number, key in keys.items() for user in users}
            for (user, number), key in {**waiting, **fresh}.items():
                named = f',"conn":{compact(conns)}' if conns and not user else ""
                text = f'{{"event":"n","id":{number},"room":"{ROOM}","key":"{key}"{named},"data":{number}}}'
                peers[user].send(text)
            waiting.update(fresh)
            conns = [*conns, *(peer.conn for peer in peers.values())][-16:]
            for user, peer in peers.items():
                # Each round is killed at a different moment; the last one reads everything.
                all_of_it = sum(who == user for who, _ in waiting)
                for _ in range(turn * 17 % BURST if turn < ROUNDS else all_of_it):
                    take_answer(peer, user, acknowledged, waiting)
            if turn < ROUNDS:
                # Answers in flight are lost with the server.
                server.process.kill()
                server.process.wait()
            else:
                equal(len(acknowledged), ROUNDS * BURST * len(users), "how many were acknowledged")
                check(reader(server, users[0]), acknowledged)
    holds(retried > 0, "nothing was ever retried")
    by = f" by {len(users)} users" if users[0] else ""
    print(f"{ROUNDS} rounds of kill -9: {len(acknowledged)} publishes{by}, {retried} retries, each once")


@in_a_folder
def servers_killed(binary, flags, folder):
    kill(binary, flags, folder, [None])


@in_a_folder
def servers_with_users_killed(binary, flags, folder):
    kill(binary, (*flags, "--token-key", TOKEN_KEY), folder, USERS)


def take_answer(peer, user, acknowledged, waiting):
    text = peer.next()
    number = json.loads(text)["id"]
    holds((user, number) in waiting, f"{number} is answered twice")
    acknowledged[user, number] = answered(text, number)
    del waiting[user, number]


CASES = {
    "connections_cut_at_every_byte": connections_cut_at_every_byte,
    "users_cut_at_every_byte": users_cut_at_every_byte,
    "servers_killed": servers_killed,
    "servers_with_users_killed": servers_with_users_killed,
}


def main():
    parser = argparse.ArgumentParser(description="Publishes that are delivered once")
    return run_with_binary(parser, CASES)


if __name__ == "__main__":
    sys.exit(main())
