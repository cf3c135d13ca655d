"""The plan of the floods: what is done to the server, and the bounds."""

from dataclasses import dataclass, field

TRANSPORTS = ("plain", "tls")

# The members whose latencies are compared: each publishes four times a second, at random, within the default
# limits. The server is busy with them for a fifth of the time, so they wait for one another as well.
WITNESS = {"dialect": "roomcast", "scenario": "witness", "members": 100, "rate": 400, "bytes": 128}
# What the p99 of those members may be, as a multiple of that without the flood.
P99_RATIO_MAX = 1.2
# Clients that return are members too, so their own joins go beside those of the others.
WITHOUT_P99 = ("returns",)
# Memory after each round of rooms but the first, the most to the least.
RESIDENT_RATIO_MAX = 1.05
# All clients are back.
RETURN_S_MAX = 30


@dataclass(frozen=True)
class Flood:
    title: str
    load: dict
    # By which the resident set may grow.
    grown_mib_max: int
    # Further settings of the server, whose limits are otherwise the defaults.
    environment: dict = field(default_factory=dict)
    # A flood without a time of its own lasts so long; another one is waited for.
    seconds: float = 0
    # In each round: a short flood is had several times.
    times: int = 1

    def arguments(self):
        timed = {"seconds": self.seconds} if self.seconds else {}
        return {"dialect": "roomcast"} | self.load | timed


# Four peers, as fast as a core lets them.
FRAMES_MIB_MAX = 16
FLOOD_S = 8
MANY_ROOMS = {"ROOMCAST_INBOUND_RATE": "off", "ROOMCAST_ROOMS_PER_CONNECTION_MAX": "10000"}

FLOODS = {
    "pings": Flood("ping flood without reading", {"scenario": "pings"}, FRAMES_MIB_MAX, seconds=FLOOD_S),
    "continuations": Flood(
        "a million empty continuations", {"scenario": "continuations"}, FRAMES_MIB_MAX, seconds=FLOOD_S
    ),
    "length": Flood("declared length of 2^63", {"scenario": "length"}, FRAMES_MIB_MAX, seconds=FLOOD_S),
    "trickle": Flood(
        "1,000 handshakes byte by byte", {"scenario": "trickle", "connections": 1000}, 32, seconds=FLOOD_S
    ),
    "accepts": Flood("5,000 connections in a second", {"scenario": "accepts", "connections": 5000}, 96, times=4),
    "returns": Flood(
        "5,000 clients return into ten rooms", {"scenario": "returns", "connections": 5000, "rooms": 10}, 96
    ),
    "rooms": Flood(
        "100,000 rooms, ten times", {"scenario": "rooms", "rooms": 100000, "rounds": 10}, 96, MANY_ROOMS
    ),
}

# Scenarios of the benchmark that are run plain and over TLS: their loads, their unit.
COSTS = {
    "idle": ("bytes per idle connection", {"scenario": "idle", "connections": 5000}),
    "fan-out": (
        "µs per delivery, one at a time",
        {"scenario": "fan-out", "members": 1000, "window": 1, "bytes": 128, "seconds": 2},
    ),
    "bursts": (
        "µs per delivery, bursts",
        {"scenario": "fan-out", "members": 1000, "window": 16, "bytes": 128, "seconds": 2},
    ),
    "churn": ("µs per connection, with a join", {"scenario": "churn", "at_once": 32, "seconds": 2}),
}
