"""The plan of the benchmark: peers, scenarios, targets."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Peer:
    dialect: str
    # `{bin}`, `{node}` and `{roomcast}` are filled in by the driver.
    command: tuple


PEERS = {
    "roomcast": Peer("roomcast", ("{roomcast}", "serve", "--log", "warn")),
    "floor": Peer("plain", ("{bin}/floor",)),
    "floor-batch": Peer("plain", ("{bin}/floor", "--batch")),
    "naive": Peer("plain", ("{bin}/naive",)),
    "socketioxide": Peer("socket.io", ("{bin}/socketioxide",)),
    "ws": Peer("plain", ("node", "{node}/ws.js")),
    "socket.io": Peer("socket.io", ("node", "{node}/socket.io.js")),
}


@dataclass(frozen=True)
class Scenario:
    title: str
    unit: str
    load: dict
    # The peer that the column "x floor" compares with.
    floor: str = "floor"
    only_roomcast: bool = False
    # Further settings of the Roomcast server, with places filled in.
    environment: dict = field(default_factory=dict)
    # The server in place of the peer's own.
    command: tuple = ()


def fan_out(**load):
    return {"scenario": "fan-out", "bytes": 128, "seconds": 2, "members": 1000, "window": 1} | load


def round_trip(depth):
    load = {"scenario": "round-trip", "connections": 100, "depth": depth}
    return load | {"bytes": 128, "seconds": 2}


def slow_reader(slow):
    paced = {"rate": 40, "seconds": 5, "slow": slow, "watch_memory": 1}
    return fan_out(bytes=16384) | paced


def groups_of_rooms(rooms):
    """100 connections in ten groups of ten; a room has the members of one group."""
    return fan_out(rooms=rooms, groups=10, members=10, window=64)


def only_roomcast(title, load, environment=None, command=()):
    more = {"environment": environment or {}, "command": command}
    return Scenario(title, "µs per delivery", load, only_roomcast=True, **more)


# With 10,000 rooms in ten groups each connection is in 1,000 of them.
MANY_ROOMS = {"ROOMCAST_ROOMS_PER_CONNECTION_MAX": "1000"}
TWO_THREADS = {"ROOMCAST_THREADS": "2"}
# `{here}` is this folder, `{folder}` an empty one for each run.
HISTORY = {"ROOMCAST_CONFIG": "{here}/history.toml"}
STORE = HISTORY | {"ROOMCAST_STORE": "{folder}"}

DELIVERY, ROUND_TRIP = "µs per delivery", "µs per round trip"

SCENARIOS = {
    "fan-out": Scenario("Fan-out: one message at a time to 1,000 members", DELIVERY, fan_out()),
    "bursts": Scenario(
        "Bursts: 16 at a time to 1,000", DELIVERY, fan_out(window=16), "floor-batch"
    ),
    "rooms": Scenario(
        "Many rooms: 1,000 of 10, 64 under way",
        DELIVERY,
        fan_out(rooms=1000, members=10, window=64),
    ),
    "round-trip": Scenario("Round trips: 100 connections", ROUND_TRIP, round_trip(1)),
    "round-trip-16": Scenario("Round trips: 100 connections, 16 deep", ROUND_TRIP, round_trip(16)),
    "idle": Scenario(
        "Idle memory: 10,000 connections",
        "bytes per connection",
        {"scenario": "idle", "connections": 10000},
    ),
    "churn": Scenario(
        "Churn: connect, join, leave, close",
        "µs per cycle",
        {"scenario": "churn", "at_once": 32, "seconds": 2},
    ),
    "overload": Scenario(
        "Overload: 700,000 deliveries a second",
        DELIVERY,
        fan_out(rate=700, seconds=1),
        "floor-batch",
    ),
    "slow-without": Scenario(
        "No slow reader: 1,000 members, 40,000 deliveries of 16 KiB a second", DELIVERY, slow_reader(0)
    ),
    "slow-with": Scenario(
        "Slow reader: the same, and one more member that does not read", DELIVERY, slow_reader(1)
    ),
    "bursts-2": only_roomcast(
        "Bursts with two threads, on the same core", fan_out(window=16), TWO_THREADS
    ),
    "fan-out-axum": only_roomcast(
        "Fan-out in an axum application", fan_out(), command=("{bin}/mounted",)
    ),
    "bursts-axum": only_roomcast(
        "Bursts in an axum application", fan_out(window=16), command=("{bin}/mounted",)
    ),
    "bursts-history": only_roomcast("Bursts, and the room keeps a history", fan_out(window=16), HISTORY),
    "bursts-store": only_roomcast("Bursts, and the history is stored on disk", fan_out(window=16), STORE),
    "rooms-history": only_roomcast(
        "Many rooms, and each keeps a history", fan_out(rooms=1000, members=10, window=64), HISTORY
    ),
    "rooms-store": only_roomcast(
        "Many rooms, and their histories are stored on disk", fan_out(rooms=1000, members=10, window=64), STORE
    ),
    "crowds": Scenario(
        "Memory after 100,000 connections, 10,000 at a time, have come and gone",
        "x resident set after the first 100",
        {"scenario": "crowds", "at_once": 10000, "crowds": 10},
        only_roomcast=True,
    ),
    "rooms-10": only_roomcast("Flatness: 10 rooms of 10 members", groups_of_rooms(10), MANY_ROOMS),
    "rooms-10000": only_roomcast(
        "Flatness: 10,000 rooms of the same 100 members", groups_of_rooms(10000), MANY_ROOMS
    ),
    "bystanders-100": only_roomcast(
        "Flatness: fan-out beside 100 connections elsewhere", fan_out(bystanders=100)
    ),
    "bystanders-10000": only_roomcast(
        "Flatness: fan-out beside 10,000 connections elsewhere", fan_out(bystanders=10000)
    ),
}


@dataclass(frozen=True)
class Target:
    text: str
    # Called with `best(scenario, peer, key="value")`; gives what is compared with `limit`.
    figure: object
    limit: float
    at_least: bool = False


def figure(scenario, key="value"):
    return lambda best: best(scenario, "roomcast", key)


def over_peer(scenario, peer):
    return lambda best: best(scenario, "roomcast") / best(scenario, peer)


def over_scenario(scenario, other, key="value"):
    return lambda best: best(scenario, "roomcast", key) / best(other, "roomcast", key)


def cheaper(scenario, peer):
    return lambda best: best(scenario, peer) / best(scenario, "roomcast")


def divided(read, by):
    return lambda best: read(best) / by


# Memory that one slow reader may take: its outbox (1 MiB by default), and what is shared by all.
SLOW_MEMORY_MIB_MAX = 3
MIB = 2**20

TARGETS = [
    Target("fan-out: x floor", over_peer("fan-out", "floor"), 1.10),
    Target("bursts: x floor-batch", over_peer("bursts", "floor-batch"), 1.3),
    Target("bursts: times cheaper than naive", cheaper("bursts", "naive"), 7, at_least=True),
    Target("many rooms: x floor", over_peer("rooms", "floor"), 1.25),
    Target("many rooms: times cheaper than naive", cheaper("rooms", "naive"), 1.6, at_least=True),
    Target("round trips: x floor", over_peer("round-trip", "floor"), 1.3),
    Target("round trips 16 deep: x floor", over_peer("round-trip-16", "floor"), 0.5),
    Target("idle: bytes per connection", figure("idle"), 3000),
    Target("churn: x floor", over_peer("churn", "floor"), 1.6),
    Target("overload: share delivered", figure("overload", "share"), 1.0, at_least=True),
    Target("overload: p99 in ms", divided(figure("overload", "p99_us"), 1000), 10),
    Target(
        "slow reader: p99 of the others, x without it",
        over_scenario("slow-with", "slow-without", "p99_us"),
        1.2,
    ),
    Target(
        "slow reader: MiB the server grew by",
        divided(figure("slow-with", "memory_grown"), MIB),
        SLOW_MEMORY_MIB_MAX,
    ),
    Target("100,000 connections later: x resident set", figure("crowds"), 1.05),
    Target("bursts with two threads: x one thread", over_scenario("bursts-2", "bursts"), 1.2),
    Target("fan-out in axum: x alone", over_scenario("fan-out-axum", "fan-out"), 1.05),
    Target("bursts in axum: x alone", over_scenario("bursts-axum", "bursts"), 1.05),
    Target("bursts with a history: x without", over_scenario("bursts-history", "bursts"), 1.2),
    Target("bursts with a store: x without", over_scenario("bursts-store", "bursts"), 1.5),
    Target("many rooms with a history: x without", over_scenario("rooms-history", "rooms"), 1.2),
    Target("many rooms with a store: x without", over_scenario("rooms-store", "rooms"), 2.0),
    Target("10,000 rooms: x 10 rooms", over_scenario("rooms-10000", "rooms-10"), 1.1),
    Target(
        "10,000 bystanders: x 100 bystanders",
        over_scenario("bystanders-10000", "bystanders-100"),
        1.1,
    ),
]
