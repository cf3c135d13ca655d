"""The plan of the benchmark of the relay: what is published, on which servers, and the bounds."""

# How a message gets to the hundred members of its room: the number of servers that share a relay.
WAYS = {
    "alone": ("without a relay", 0),
    "one": ("with one, on one server", 1),
    "two": ("with one, publisher on another server", 2),
}

LOADS = {
    "one at a time": {"window": 1},
    "16 at a time": {"window": 16},
}
LOAD = {"dialect": "roomcast", "scenario": "fan-out", "members": 100, "bytes": 128, "seconds": 3}

# CPU of the members' server, as a multiple of that without a relay.
CPU_RATIO_MAX = 1.3
