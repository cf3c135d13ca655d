"""Readers that are too slow, in rooms whose policy is to drop messages."""

import json
import tempfile

from cases import equal, holds, until
from raw_peer import TEXT, frame
from server_process import Server, fault_of_the_binary

FLAGS = (
    *("--inbound-rate", "off", "--control-rate", "off"),
    *("--outbox-bytes-max", "262144", "--write-stall-ms", "60000"),
)
POLICIES = """
[[rooms]]
match = "oldest"
history.messages = 100000
history.bytes = 1073741824
overflow = "drop-oldest"

[[rooms]]
match = "latest"
overflow = "latest"
"""
FILLING = "x" * 8000
OUTCOMES = 'roomcast_outbox_overflows_total{outcome="%s"}'


def serve(case):
    """Registers a case that gets a server with the policies."""

    def run(binary):
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write(POLICIES)
            file.flush()
            with Server(binary, *FLAGS, "--config", file.name) as server:
                case(server)
                server.check_alive()

    run.__name__ = case.__name__
    return fault_of_the_binary(run)


def metric(server, name):
    for line in server.api.call("GET", "/metrics").text.splitlines():
        if line.startswith(name + " "):
            return int(line.split()[-1])
    return 0


def member(server, room, **options):
    peer = server.open(**options)
    peer.send(f'{{"event":"$join","room":"{room}"}}')
    answer = json.loads(peer.next())
    equal((answer["event"], "error" in answer), ("$join", False), "the answer to $join")
    return peer


def flood_until(server, room, publisher, healthy, done, event=lambda number: "e"):
    """Publishes until it is done; gives how many."""
    number = 0
    while not done():
        holds(number < 8000, "64 MB must be more than the outbox and the socket buffers hold")
        batch = range(number, number + 20)
        publisher.flood(
            b"".join(
                frame(TEXT, f'{{"event":"{event(n)}","room":"{room}","data":"{n} {FILLING}"}}') for n in batch
            )
        )
        for n in batch:
            holds(f'"data":"{n} ' in healthy.next(), "others must get everything")
        healthy.seen.clear()
        number += 20
    return number


@serve
def drop_oldest_keeps_the_slow_reader_and_tells_it(server):
    healthy, publisher = member(server, "oldest"), server.open()
    slow = member(server, "oldest", receive_buffer=4096)
    dropped = OUTCOMES % "drop-oldest"
    # Repeatedly, so that several gaps are pending at once.
    count = flood_until(server, "oldest", publisher, healthy, lambda: metric(server, dropped) >= 5)
    holds(metric(server, "roomcast_messages_dropped_total") >= 5, "dropped messages are counted")
    # Answers have room of their own.
    slow.send('{"event":"$rooms","id":"rooms"}')
    at, gaps, lost, answered = 0, 0, 0, False
    while not answered or at < count:
        message = json.loads(slow.next())
        if message["event"] == "$gap":
            equal((message["room"], message["data"]), ("oldest", {"after": at}), "$gap")
            gaps += 1
            gap = True
        elif message["event"] == "$rooms":
            equal((message["id"], message["data"]), ("rooms", ["oldest"]), "the answer to $rooms")
            answered = True
        else:
            holds(message["offset"] > at, f"{message['offset']} after {at}")
            if message["offset"] != at + 1:
                holds(gap, f"{message['offset']} after {at}, and no $gap between them")
                lost += message["offset"] - at - 1
            at, gap = message["offset"], False
    holds(gaps >= 1, "a gap had to be told")
    equal(lost, metric(server, "roomcast_messages_dropped_total"), "messages that are missing")
    # The connection still works like any other.
    publisher.send('{"event":"e","room":"oldest","data":"last"}')
    holds('"data":"last"' in slow.next() and '"data":"last"' in healthy.next(), "the next message")
    equal((metric(server, OUTCOMES % "close"), metric(server, OUTCOMES % "latest")), (0, 0), "other outcomes")


@serve
def latest_keeps_the_newest_of_each_event(server):
    healthy, publisher = member(server, "latest"), server.open()
    slow = member(server, "latest", receive_buffer=4096)
    events = ("north", "east", "south", "west")
    name = OUTCOMES % "latest"
    count = flood_until(
        server, "latest", publisher, healthy, lambda: metric(server, name) >= 40, lambda n: events[n % 4]
    )
    at, newest, seen = -1, {}, 0
    while at < count - 1:
        message = json.loads(slow.next())
        number = int(message["data"].partition(" ")[0])
        holds(number > at, f"{number} after {at}")
        at, newest[message["event"]], seen = number, number, seen + 1
    expected = {event: count - 4 + number for number, event in enumerate(events)}
    equal(newest, expected, "the newest of each event")
    equal(count - seen, metric(server, "roomcast_messages_dropped_total"), "messages that are missing")
    equal((metric(server, OUTCOMES % "close"), metric(server, OUTCOMES % "drop-oldest")), (0, 0), "other outcomes")


@serve
def a_room_that_drops_does_not_save_from_one_that_does_not(server):
    healthy, publisher = member(server, "oldest"), server.open()
    slow = member(server, "oldest", receive_buffer=4096)
    other = member(server, "plain")
    slow.send('{"event":"$join","room":"plain"}')
    slow.next()
    flood_until(server, "oldest", publisher, healthy, lambda: metric(server, OUTCOMES % "drop-oldest") >= 2)
    flood_until(server, "plain", publisher, other, lambda: server.api.members("plain") == 1)
    until(lambda: metric(server, OUTCOMES % "close") == 1, "the close to be counted")
