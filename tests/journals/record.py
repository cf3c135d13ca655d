#!/usr/bin/env python3
"""Records the journals of this folder anew: record.py BINARY [NAME...]

The traffic is the same each time by its seed, but not its times, ids and epochs. For a wall clock that
is set while the server runs, two of them need libfaketime. Needs Linux with `unshare` and `ip`.
"""

import base64
import glob
import hashlib
import hmac
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(FOLDER, "..", "clients"))

from cases import Failed, compact, holds, until  # noqa: E402
from raw_peer import BINARY, TEXT, WS_PING, Ended, close_frame, frame  # noqa: E402
from server_process import Server  # noqa: E402

FAKETIME = "/usr/lib/*/faketime/libfaketimeMT.so.1"
# Each has an id, so each is answered.
ODD = [
    '{"event":"$nap","id":%d}',
    '{"event":"$auth","id":%d}',
    '{"event":"said","id":%d}',
    '{"event":"","id":%d,"room":"r"}',
    '{"event":7,"id":%d}',
    '{"event":"$join","id":%d}',
    '{"event":"$join","id":%d,"room":""}',
    '{"event":"$join","id":%d,"room":"a\\u0007"}',
    '{"event":"$join","id":%d,"room":"r","data":7}',
    '{"event":"$join","id":%d,"room":"r","data":{"since":{"epoch":1}}}',
    '{"event":"$members","id":%d,"room":"nobody"}',
    '{"event":"$history","id":%d,"room":"nobody"}',
    '{"event":"said","id":%d,"room":"r","data":"\\ud800"}',
    '{"event":"said","id":%d,"room":"r","data":' + "[" * 65 + "]" * 65 + "}",
    '{"event":"said","id":%d,"room":"r","echo":1}',
    ' { "room" : "r" , "id" : %d , "event" : "\\u0073aid" , "more" : [ ] , "data" : [ 1.0 ,\n\t1e999 ] } ',
]
# These are refused without their id, or are no JSON at all.
BAD = [
    "",
    "hello",
    "[]",
    "{}",
    '{"event":"said","event":"said"}',
    '{"event":"said","id":1.5}',
    '{"event":"said","id":1,"id":2,"room":"r"}',
    '{"event":"said","room":7}',
    '{"event":"said","room":"r"',
    f'{{"event":"{"e" * 129}","room":"r"}}',
]
DATA = [
    "null",
    '{"text":"hello"}',
    '[ 1,\n 2.0, 18446744073709551616 ]',
    '"\\u00e9\\ud83c\\udfb2 é🎲 \\u2028"',
    "{}",
    '{"n":-0,"deep":[[[[{"a":null}]]]]}',
]
EVENTS = ["said", "moved", "typing", "a b", "é"]
CLOSES = [(1000, "done"), (1001, ""), (1011, "a fault"), (4410, "removed, é"), (4000, "x" * 123)]


class Crowd:
    """Clients that do anything that a client can do, one step after the other, and a backend."""

    def __init__(self, server, seed, rooms, namespaces=("default",)):
        self.server, self.rooms, self.namespaces = server, rooms, namespaces
        self.chance = random.Random(seed)
        self.peers = []
        self.number = 0
        self.at = {}  # namespace and room: the positions that were seen

    def connect(self, namespace=None):
        namespace = namespace or self.chance.choice(self.namespaces)
        path = "/ws" if namespace == "default" else f"/ws/{namespace}"
        peer = self.server.open(path, subprotocol=self.chance.random() < 0.8)
        peer.namespace = namespace
        self.peers.append(peer)
        return peer

    def ask(self, peer, text):
        """Sends a message with an id, or one that is followed by a ping, and reads up to the answer."""
        self.number += 1
        try:
            if "%d" in text:
                text = text.replace("%d", str(self.number))
            else:
                peer.send(text)
                text = f'{{"event":"$ping","id":{self.number}}}'
            peer.send(text)
            got = {}
            while got.get("id") != self.number:
                got = json.loads(peer.next())
                self.note(peer, got)
        except (ConnectionError, Ended):
            # It was closed, for something that it asked before or by the backend.
            self.peers.remove(peer)
            peer.end()

    def listen(self):
        """Takes what arrived for anybody, so that nobody is too slow."""
        while ready := select.select([peer.socket for peer in self.peers], [], [], 0)[0]:
            for peer in [peer for peer in self.peers if peer.socket in ready]:
                if not peer.fill():
                    self.peers.remove(peer)
                    peer.end()

    def note(self, peer, got):
        data = got.get("data")
        if "room" in got and isinstance(data, dict) and "epoch" in data:
            position = (data["epoch"], data["offset"], peer.conn)
            self.at.setdefault((peer.namespace, got["room"]), []).append(position)

    def steps(self, count):
        for _ in range(count):
            self.listen()
            self.step()

    def step(self):
        kinds = {"connect": 4, "join": 14, "leave": 3, "say": 26, "query": 6, "odd": 4, "api": 12, "end": 2}
        kind = self.chance.choices(list(kinds), list(kinds.values()))[0]
        if len(self.peers) < 4 or (kind == "connect" and len(self.peers) < 12):
            self.connect()
        elif kind != "connect":
            getattr(self, kind)(self.chance.choice(self.peers), self.chance.choice(self.rooms))

    def join(self, peer, room):
        data = {}
        known = self.at.get((peer.namespace, room))
        if known and self.chance.random() < 0.5:
            epoch, offset, conn = self.chance.choice(known)
            data["since"] = {"epoch": epoch, "offset": offset}
            if conn and self.chance.random() < 0.5:
                data["since"]["conn"] = self.chance.choice([conn, [conn, "77"], "none"])
        elif self.chance.random() < 0.1:
            data["since"] = {"epoch": "another", "offset": 1}
        if self.chance.random() < 0.3:
            data["meta"] = self.chance.choice([{"name": "Ann"}, [1, 2], "m" * 60, "m" * 300])
        data = f',"data":{compact(data)}' if data else ""
        self.ask(peer, f'{{"event":"$join","id":%d,"room":{compact(room)}{data}}}')

    def leave(self, peer, room):
        self.ask(peer, f'{{"event":"$leave","id":%d,"room":{compact(room)}}}')

    def say(self, peer, room):
        event, data = compact(self.chance.choice(EVENTS)), self.chance.choice(DATA)
        id_ = self.chance.choice(['"id":%d,', ""])
        echo = self.chance.choice(['"echo":true,', '"echo":false,', ""])
        self.ask(peer, f'{{"event":{event},{id_}"room":{compact(room)},{echo}"data":{data}}}')

    def query(self, peer, room):
        verb = self.chance.choice(["$rooms", "$ping", "$members", "$history"])
        room = f',"room":{compact(room)}' if verb in ("$members", "$history") else ""
        data = ""
        if verb == "$history":
            data = self.chance.choice(["", '{"limit":2}', '{"after":3}', '{"before":9,"limit":3}', '{"after":-1}'])
        elif verb == "$members":
            data = self.chance.choice(["", '{"limit":1}', '{"limit":0}', '{"after":"c0"}'])
        data = f',"data":{data}' if data else ""
        self.ask(peer, f'{{"event":"{verb}","id":%d{room}{data}}}')

    def odd(self, peer, _):
        self.ask(peer, self.chance.choice(ODD + BAD))

    def audience(self, peer, room):
        """A random audience."""
        groups = {"all": True, "rooms": [room], "conns": [peer.conn or "0", "4711"], "users": ["ann"]}
        audience = {}
        for group in self.chance.choices(["rooms", "rooms", *groups], k=2):
            audience[group] = groups[group]
        if self.chance.random() < 0.2:
            audience["rooms"] = self.rooms[:2]
        if self.chance.random() < 0.3:
            audience["except_conns"] = [self.chance.choice(self.peers).conn or "0"]
        if self.chance.random() < 0.2:
            audience |= {"except_rooms": [self.rooms[-1]], "except_users": ["ben"]}
        return audience

    def api(self, peer, room):
        kind = self.chance.choices(["send", "join", "leave", "close"], [10, 3, 2, 2])[0]
        base = f"/api/v1/{peer.namespace}"
        if kind == "send":
            data, event = json.loads(self.chance.choice(DATA)), self.chance.choice([*EVENTS, "$no"])
            body = {"audience": self.audience(peer, room), "event": event, "data": data}
            if self.chance.random() < 0.2:
                body["path"] = "/a/path"
            key = self.chance.choice([None, None, "one", "two", f"k{self.number}"])
            headers = {"Idempotency-Key": key} if key else {}
            repeats = self.chance.choice([1, 1, 2])
            for _ in range(repeats):
                self.server.api.call("POST", f"{base}/send", body, headers)
            return
        conn = peer.conn or self.chance.choice(["0", "none"])
        if kind == "close":
            code, reason = self.chance.choice(CLOSES)
            query = urllib.parse.urlencode({"code": code, "reason": reason})
            self.server.api.call("DELETE", f"{base}/connections/{conn}?{query}")
            return
        query = urllib.parse.urlencode({"room": room})
        self.server.api.call({"join": "PUT", "leave": "DELETE"}[kind], f"{base}/room/members/{conn}?{query}")

    def end(self, peer, _):
        how = self.chance.choice(["close", "code", "none", "reset", "binary", "text", "framing", "large"])
        self.peers.remove(peer)
        wrong = {
            "close": close_frame(1000),
            "code": close_frame(4000, b"bye"),
            "none": close_frame(),
            "binary": frame(BINARY, b"\x00\xff\n"),
            "text": frame(TEXT, b"\xff"),
            "framing": frame(3, b""),
            "large": frame(TEXT, b"", length=1 << 20),
        }
        try:
            if how == "reset":
                peer.reset()
                return
            peer.write(wrong[how])
            # What comes before the close of the server.
            peer.read_to_end() if how in ("close", "code", "none") else self.until_closed(peer)
        except (ConnectionError, Failed):
            pass
        peer.end()

    def until_closed(self, peer):
        while peer.next_frame()[0] != 8:
            pass
        peer.write(close_frame(1000))


def record(binary, folder, *flags, **env):
    """A server that records into the folder."""
    return Server(binary, "--record", folder, "--close-wait-ms", "300", *flags, **env)


def stop(server):
    """Ends the server while clients are connected, which are told and answer."""
    server.terminate()
    holds(server.exit_code() == 0, f"it ended with another code: {server.log[-5:]}")


def plain(binary, folder):
    """Records a single namespace with rooms without policies, where every limit is passed once."""
    flags = ("--rooms-per-connection-max", "5", "--inbound-rate", "20", "--inbound-burst", "60")
    more = ("--inbound-refusals", "5", "--heartbeat-ms", "1000", "--heartbeat-wait-ms", "1000")
    queue = ("--write-stall-ms", "800", "--message-bytes-max", "1024", "--control-rate", "2")
    queue += ("--outbox-bytes-max", "2100")
    with record(binary, folder, *flags, *more, *queue) as server:
        crowd = Crowd(server, 1, ["r", "lobby", "é🎲", "chat/7", "x y", "n" * 200, "n" * 201])
        crowd.steps(300)
        peer = crowd.connect()
        for text in ODD + BAD:
            crowd.ask(peer, text)
        over_the_rate(server)
        silent(server)
        takes_nothing(server)
        peer = crowd.connect()
        for room in crowd.rooms:
            crowd.ask(peer, f'{{"event":"$join","id":%d,"room":{compact(room)}}}')
        for _ in range(6):
            crowd.join(crowd.connect(), "lobby")
        stop(server)


def over_the_rate(server):
    """Sends more than the rate allows, until the server closes the connection."""
    peer = server.open()
    peer.write(b"".join(frame(TEXT, f'{{"event":"$ping","id":{number}}}') for number in range(70)))
    while b"4429" not in peer.next_frame()[1]:
        pass
    peer.end()
    # By pings of the transport.
    peer = server.open()
    peer.write(frame(WS_PING, b"") * 200)
    peer.read_to_end()
    peer.end()


def silent(server):
    """Has a client closed that stops answering pings, beside a client that goes on answering."""
    heard, peer = server.open(), server.open()
    for other in (heard, peer):
        other.send('{"event":"$join","room":"silence"}')
    while b"4408" not in (got := peer.next_frame())[1]:
        if got[0] == WS_PING and len(peer.seen) < 3:
            peer.seen.append("ping")
            peer.write(frame(10, got[1]))
        heard.write(frame(10, b""))
    heard.end()
    peer.end()


def takes_nothing(server):
    """Has two clients closed: the queue of the first is full, the second reads nothing for too long."""
    for is_full in (True, False):
        peer = server.open(receive_buffer=2048)
        peer.send('{"event":"$join","id":1,"room":"flood"}')
        peer.next()
        one = f"/api/v1/default/connections/{peer.conn}"
        while (got := server.api.call("GET", one)).status == 200:
            if is_full or json.loads(got.text)["queued_bytes"] == 0:
                body = {"audience": {"rooms": ["flood"]}, "event": "e", "data": "x" * 600}
                server.api.call("POST", "/api/v1/default/send", body)
            time.sleep(0.01)
        peer.end()


def namespaces(binary, folder):
    """Records more namespaces than there may be at a time: some end and begin again."""
    names = [f"n-{number}" for number in range(16)]
    flags = ("--namespaces-max", "10", "--idempotency-ms", "500", "--heartbeat-ms", "1000")
    with record(binary, folder, *flags) as server:
        for seed, part in enumerate((names[:8], names[4:12], names[8:], names[:4])):
            crowd = Crowd(server, seed, ["r", "lobby", "den"], part)
            crowd.steps(90)
            for peer in crowd.peers:
                peer.end()
            until(lambda: "roomcast_connections 0" in server.api.call("GET", "/metrics").text, "all to be gone")
            until(lambda: "roomcast_namespaces 0" in server.api.call("GET", "/metrics").text, "them to end")
        for name in names[:5]:
            server.open(f"/ws/{name}")
        stop(server)


def threads(binary, folder):
    """Records four threads with two namespaces each, and clients that connect at the same time."""
    names = [f"t{number}" for number in range(8)]
    flags = ("--threads", "4", "--record-bytes-max", "30000")
    with record(binary, folder, *flags) as server:
        crowds = [Crowd(server, seed, ["r", "lobby"], (name, "shared")) for seed, name in enumerate(names)]
        together(crowd.steps for crowd in crowds)
        stop(server)


def together(steps):
    """Lets all crowds act, each in a thread."""
    running = [threading.Thread(target=act, args=(55,)) for act in steps]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


POLICIES = """
[[rooms]]
match = "news"
publish = false
history.messages = 4

[[rooms]]
match = "small"
members = 2
presence = "members"
presence_grace_s = 0

[[rooms]]
match = "live:*"
overflow = "latest"
echo = true
presence = "counts"

[[rooms]]
match = "old:*"
history.messages = 50
history.age_s = 1
overflow = "drop-oldest"

[[rooms]]
match = "log*"
history.messages = 30
history.bytes = 3000
history.age_s = 60
presence = "members"
presence_grace_s = 1
"""
ROOMS = ["news", "small", "live:1", "old:1", "log", "log 2", "plain"]


def histories(binary, folder):
    """Records policies that change while the server runs, histories that outlive the process, and a wall clock that is set."""
    with tempfile.TemporaryDirectory() as scratch:
        config, clock = os.path.join(scratch, "rooms.toml"), os.path.join(scratch, "clock")
        write(config, POLICIES)
        env = settable(clock)
        flags = ["--config", config, "--store", os.path.join(scratch, "store"), "--presence-list-max", "4"]
        flags += ["--meta-bytes-max", "100", "--recovery-messages-max", "12", "--page-entries-max", "5"]
        flags += ["--message-bytes-max", "1024", "--outbox-bytes-max", "2100"]
        flags += ["--history-bytes-max", "6000", "--idempotency-ms", "60000"]
        with record(binary, folder, *flags, **env) as server:
            crowd = Crowd(server, 7, ROOMS, ("default", "other"))
            crowd.steps(260)
            crowded(crowd)
            drops(server, "default")
            drops(server, "other")
            write(clock, "+3600")
            write(config, POLICIES.replace("history.age_s = 60", "history.age_s = 50").replace("small", "tiny"))
            server.process.send_signal(signal.SIGHUP)
            until(lambda: any("again" in line for line in server.log), "the file to be read")
            # Ages and graces pass.
            time.sleep(1.5)
            crowd.steps(120)
            stop(server)
        seen = crowd.at
        with record(binary, folder, *flags, **env) as server:
            crowd = Crowd(server, 8, ROOMS, ("default", "other"))
            crowd.at = seen
            crowd.steps(160)
            stop(server)


def settable(clock):
    """The environment of a process whose wall clock this file sets."""
    preload = glob.glob(FAKETIME)
    holds(preload, f"{FAKETIME} is needed")
    write(clock, "+0")
    faketime = {"TIMESTAMP_FILE": clock, "NO_CACHE": "1", "DONT_FAKE_MONOTONIC": "1"}
    return {"LD_PRELOAD": preload[0]} | {f"FAKETIME_{name}": value for name, value in faketime.items()}


def application(binary, folder):
    """Gateways, in the process of a test."""
    cargo = ["cargo", "test", "--quiet", "--locked", "--package", "roomcast-tests", "--test", "journals"]
    subprocess.run([*cargo, "--no-run"], cwd=FOLDER, check=True)
    with tempfile.TemporaryDirectory() as scratch:
        env = os.environ | settable(os.path.join(scratch, "clock"))
        env |= {"ROOMCAST_BIN": binary, "ROOMCAST_JOURNAL": folder}
        test = ["--", "--ignored", "--exact", "record::record_the_application"]
        subprocess.run([*cargo, *test], cwd=FOLDER, env=env, check=True)


def crowded(crowd):
    """Joins rooms with more clients than they take, or list."""
    peers = [crowd.connect("other") for _ in range(6)]
    for room in ("small", "log", "live:1"):
        for peer in peers:
            crowd.ask(peer, f'{{"event":"$join","id":%d,"room":"{room}"}}')
        crowd.ask(peers[0], f'{{"event":"$members","id":%d,"room":"{room}","data":{{"limit":1}}}}')
    for peer in peers[3:]:
        crowd.leave(peer, "log")
        crowd.end(peer, "")


def drops(server, namespace):
    """Readers that are too slow, in rooms that drop."""
    for room in ("old:1", "live:1", "log"):
        peer = server.open(f"/ws/{namespace}", receive_buffer=2048)
        peer.send(f'{{"event":"$join","id":1,"room":"{room}"}}')
        peer.next()
        for number in range(16):
            body = {"audience": {"rooms": [room]}, "event": f"e{number % 2}", "data": "x" * 600}
            server.api.call("POST", f"/api/v1/{namespace}/send", body)
        peer.end()


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def keys(binary, folder):
    """Publishes under keys, reconnects and publishes again; passes the limit of keys; a second run has the keys."""
    with tempfile.TemporaryDirectory() as scratch:
        config = os.path.join(scratch, "rooms.toml")
        write(config, POLICIES)
        flags = ["--config", config, "--store", os.path.join(scratch, "store")]
        flags += ["--idempotency-keys-max", "12", "--idempotency-keys-per-client-max", "5"]
        chance, conns = random.Random(9), []
        for _ in range(2):
            with record(binary, folder, *flags) as server:
                for _ in range(6):
                    conns = keyed(server, chance, conns)
                server.open()
                stop(server)


def keyed(server, chance, conns):
    """Publishes from two clients, the second in the name of earlier connections; gives the ids of the second."""
    member, stranger, again = server.open(), server.open(), server.open()
    member.join("log")
    for _ in range(12):
        number, key = chance.randrange(3), f"k{chance.randrange(6)}"
        room = chance.choice(["log", "log", "log", "plain", "news"])
        named = f',"conn":{compact(conns)}' if conns else ""
        text = f'"room":"{room}","key":"{key}"{named},"data":{number}}}'
        again.send(f'{{"event":"said","id":1,{text}')
        again.next()
        stranger.send(f'{{"event":"said","id":2,"room":"log","key":"{key}","data":{number // 2}}}')
        stranger.next()
    for peer in (member, stranger):
        peer.end()
    again.reset()
    return [*conns, again.conn][-16:]


def losses(binary, folder):
    """Sends under idempotency keys to readers that are too slow, each repeated; passes the limit of clients' keys."""
    flags = ["--outbox-frames-max", "4", "--write-stall-ms", "60000", "--client-keys-max", "3"]
    with record(binary, folder, *flags) as server:
        for number in range(3):
            slow, quick = server.open("/ws", receive_buffer=2048), server.open()
            slow.send('{"event":"$join","id":1,"room":"r"}')
            slow.next()
            quick.join("r")
            body, sent = {"audience": {"rooms": ["r"]}, "event": "e", "data": "x" * 600}, 0
            lost = False
            while not lost:
                headers, sent = {"Idempotency-Key": f"k{number}-{sent}"}, sent + 1
                for _ in range(2):
                    answer = server.api.call("POST", "/api/v1/default/send", body, headers)
                    lost = json.loads(answer.text)["dropped"] > 0
                quick.next()
                holds(sent < 2000, "nobody is too slow")
            for key in range(3):
                quick.send(f'{{"event":"said","id":1,"room":"r","key":"k{key}","data":{number}}}')
                quick.next()
            slow.end()
            quick.end()
        server.open()
        stop(server)


SECRET = "a secret of at least thirty-two bytes"
GRANTS = """
[[grants]]
for = "anyone"
rooms = "news"
can = ["join", "history"]

[[grants]]
for = "users"
rooms = "inbox:{user}"
can = ["join", "publish"]
"""
ALL = ["join", "publish", "presence", "history"]


def token(user, left_s, *grants, **claims):
    """A token that ends in so many seconds, with rights in rooms."""
    grants = [{"rooms": rooms, "can": can} for rooms, can in grants]
    claims = {"sub": user, "exp": int(time.time()) + left_s, "iat": int(time.time()), "grants": grants} | claims
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256"}, claims)]
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()
    return (signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def identity(binary, folder):
    """Users by tokens: rights, renewals, ends that come, users that are withdrawn; a second run that knows these."""
    with tempfile.TemporaryDirectory() as scratch:
        config = os.path.join(scratch, "rooms.toml")
        write(config, POLICIES + GRANTS)
        flags = ["--config", config, "--store", os.path.join(scratch, "store")]
        flags += ["--token-key", f"hs256:{SECRET}", "--token-grace-ms", "700", "--auth-time-ms", "1000"]
        for _ in range(2):
            with record(binary, folder, *flags) as server:
                users(server)
                server.open(f"/ws?token={token('eve', 600, ('*', ALL))}")
                stop(server)


def users(server):
    """Acts as clients with and without a token, and as a backend that withdraws a user."""

    def say(peer, event, room=None, data=None, **more):
        text = {"event": event, "id": 1} | ({"room": room} if room else {}) | more
        peer.send(compact(text | ({"data": data} if data is not None else {})))
        peer.next()

    def tries(peer):
        for room in ("news", "log", "chat:1", "inbox:ann", "inbox:ben", "secret"):
            say(peer, "$join", room)
            for verb in ("$members", "$history"):
                say(peer, verb, room)
            say(peer, "said", room, {"text": "hello"}, key=f"{room}-1")

    # A client that does not authenticate in time, and a client whose token cannot be read.
    late, wrong = server.open(), server.open()
    say(wrong, "$join", "news")
    say(wrong, "$auth", data={"token": "a.b.c"})
    ann = server.open(f"/ws?token={token('ann', 600, ('chat:*', ALL), ('log', ['join', 'history']))}")
    rooms, meta = ["chat:1", "secret"], {"name": "Ben"}
    ben = server.open(f"/ws?token={token('ben', 600, ('*', ALL), rooms=rooms, meta=meta)}")
    tries(ann)
    tries(ben)
    fewer = token("ann", 600, ("log", ["join"]), ("secret", ["join"]))
    for renewed in (fewer, token("ben", 600), "a.b.c", token("ann", 600, ("*", ALL))):
        say(ann, "$auth", data={"token": renewed})
        tries(ann)
    # Its end is 2 s away, with the tolerance for clocks.
    short = server.open(f"/ws?token={token('dan', -8, ('chat:*', ALL))}")
    say(short, "$join", "chat:1")
    renewed = server.open(f"/ws?token={token('dan', -8, ('chat:*', ALL))}")
    say(renewed, "$join", "chat:1")
    while "$expiring" not in renewed.next_frame()[1].decode():
        pass
    say(renewed, "$auth", data={"token": token("dan", 600, ("chat:*", ["join"]))})
    for peer in (short, late):
        peer.read_to_end()
        peer.end()
    # In the second run he may not come.
    gil = server.tcp().upgrade(f"/ws?token={token('gil', 600, ('*', ALL))}", subprotocol=False)
    gil.send('{"event":"$join","room":"log"}')
    gil.next()
    for user, query in (("ben", ""), ("ben", "?not_before=1"), ("gil", f"?not_before={int(time.time()) + 60}")):
        server.api.call("DELETE", f"/api/v1/default/users/{user}/connections{query}")
    gil.read_to_end()
    for peer in (ann, renewed):
        peer.end()


# Nobody is there: the server goes on all the same.
HOOKS = """
[[hooks]]
tell = "http://127.0.0.1:9/all"
keys = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
events = ["room.occupied", "room.vacated", "user.joined", "user.left", "connection.opened", "connection.closed"]

[[hooks]]
tell = "http://127.0.0.1:9/messages"
keys = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
events = ["message.published"]
rooms = "l*"
"""
ASK = """
[ask]
url = "http://127.0.0.1:9/ask"
on = ["join"]
keys = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
"""


def backends(binary, folder):
    """Backends that are told and asked, and others as it runs."""
    with tempfile.TemporaryDirectory() as scratch:
        config = os.path.join(scratch, "rooms.toml")
        write(config, POLICIES)
        with record(binary, folder, "--config", config) as server:
            crowd = Crowd(server, 10, ROOMS, ("default", "other"))
            for number, tables in enumerate((HOOKS, HOOKS.replace("message.published", "user.left"), ASK, ""), 1):
                crowd.steps(60)
                write(config, POLICIES + tables)
                server.process.send_signal(signal.SIGHUP)
                until(lambda: sum("changed=" in line for line in server.log) >= number, "the file to be read")
            crowd.steps(60)
            stop(server)


CASES = (plain, namespaces, threads, histories, keys, losses, identity, backends, application)
JOURNALS = {case.__name__: case for case in CASES}


def main(binary, *names):
    # With small buffers for what is written to a socket, readers are too slow early.
    if "ROOMCAST_SMALL" not in os.environ:
        small = "ip link set lo up && echo 4096 4096 4096 > /proc/sys/net/ipv4/tcp_wmem"
        again = [sys.executable, __file__, os.path.abspath(binary), *names]
        os.environ["ROOMCAST_SMALL"] = "1"
        os.execvp("unshare", ["unshare", "-rn", "sh", "-c", f'{small} && exec "$@"', "sh", *again])
    for name in names or JOURNALS:
        with tempfile.TemporaryDirectory() as recorded:
            JOURNALS[name](binary, recorded)
            folder = os.path.join(FOLDER, name)
            os.makedirs(folder, exist_ok=True)
            for old in glob.glob(os.path.join(folder, "*.jsonl")):
                os.remove(old)
            run, last = 0, None
            for path in sorted(glob.glob(os.path.join(recorded, "*.jsonl"))):
                start, part, _ = os.path.basename(path).rsplit(".", 2)
                run, last = (run, last) if start == last else (run + 1, start)
                shutil.copyfile(path, os.path.join(folder, f"{run}.{part}.jsonl"))
        print(name)


if __name__ == "__main__":
    main(*sys.argv[1:])
