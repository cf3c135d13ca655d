"""Faults and bad input that the server has to survive.

    python3 faults.py --binary PATH_TO_ROOMCAST [--threads N] [--workers N] [CASE]...

Each case starts servers of its own on free ports. Needs nothing but Python. Prints one line per
case; the exit code is 0 when all passed.
"""

import argparse
import sys

# Importing them registers their cases.
import faults_frames  # noqa: F401
import faults_http  # noqa: F401
import faults_json  # noqa: F401
import faults_limits  # noqa: F401
import faults_overflow  # noqa: F401
import faults_process  # noqa: F401
import faults_store  # noqa: F401
from cases import run_with_binary
from server_process import FAULTS, SETTINGS


def main():
    parser = argparse.ArgumentParser(description="Faults that the server has to survive")
    parser.add_argument("--threads", type=int, default=1, help="I/O threads of each server")
    return run_with_binary(parser, FAULTS, set_threads)


def set_threads(arguments):
    SETTINGS["ROOMCAST_THREADS"] = str(arguments.threads)


if __name__ == "__main__":
    sys.exit(main())
