"""Faults and bad input that the server has to survive.

    python3 faults.py --binary PATH_TO_ROOMCAST [--threads N] [--workers N] [CASE]...

Each case starts servers of its own on free ports. Needs nothing but Python. Prints one line per
case; the exit code is 0 when all passed.
"""

import argparse
import os
import sys

# Importing them registers their cases.
import faults_frames  # noqa: F401
import faults_http  # noqa: F401
import faults_json  # noqa: F401
import faults_limits  # noqa: F401
import faults_overflow  # noqa: F401
import faults_process  # noqa: F401
import faults_store  # noqa: F401
from cases import run
from server_process import FAULTS, SETTINGS


def main():
    parser = argparse.ArgumentParser(description="Faults that the server has to survive")
    parser.add_argument("--binary", required=True, help="the roomcast binary")
    parser.add_argument("--threads", type=int, default=1, help="I/O threads of each server")
    parser.add_argument("--workers", type=int, default=6, help="cases at one time")
    parser.add_argument("cases", nargs="*", metavar="CASE", help="only these")
    arguments = parser.parse_args()
    binary = os.path.abspath(arguments.binary)
    if not os.access(binary, os.X_OK):
        parser.error(f"--binary {binary} cannot be run")
    SETTINGS["ROOMCAST_THREADS"] = str(arguments.threads)
    cases = {name: lambda case=case: case(binary) for name, case in FAULTS.items()}
    return run(cases, arguments.cases, arguments.workers)


if __name__ == "__main__":
    sys.exit(main())
