"""Publishes with keys are delivered once by the Worker, whatever breaks: like exactly_once.py, with
evictions of the object in between.

    python3 edge_once.py --port PORT --evict URL [--users]

The worker has the policies of exactly_once.py and, with `--users`, its key of tokens.
"""

import argparse
import sys
import urllib.error
import urllib.request

from cases import holds, run
from exactly_once import Proxy, Publisher, User, cut_everywhere
from raw_peer import Peer

EVICT_EACH = 50


class Worker:
    """A worker that runs already."""

    def __init__(self, port, evict_url):
        self.port = port
        self.evict_url = evict_url
        self.evicted = 0

    def open(self, **changes):
        return Peer(self.port).upgrade(**changes)

    def evict(self, number):
        """Evicts the object now and then."""
        if number % EVICT_EACH == 0:
            request = urllib.request.Request(self.evict_url, method="POST")
            try:
                with urllib.request.urlopen(request):
                    self.evicted += 1
            except urllib.error.HTTPError as fault:
                # After ten seconds in which this machine stood still the runtime has evicted it.
                if fault.code != 404:
                    raise


def main():
    parser = argparse.ArgumentParser(description="Publishes that the Worker delivers once")
    parser.add_argument("--port", required=True, type=int, help="the port of the worker")
    parser.add_argument("--evict", required=True, help="the address that evicts its object")
    parser.add_argument("--users", action="store_true", help="clients with tokens")
    arguments = parser.parse_args()

    def case():
        worker = Worker(arguments.port, arguments.evict)
        connect = Proxy(worker.port).connect
        publisher = User(connect, "ann", renews=True) if arguments.users else Publisher(connect)
        cut_everywhere(worker, [publisher], publishes=0, between=worker.evict)
        holds(worker.evicted > 0, "the object must have been evicted at some time")
        print(f"the object was evicted {worker.evicted} times")

    return run({"with users" if arguments.users else "without users": case}, [])


if __name__ == "__main__":
    sys.exit(main())
