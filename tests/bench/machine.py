"""Describes the machine and the programs of a measurement: a figure means nothing without them."""

import datetime
import json
import os
import pathlib
import platform
import subprocess
import tomllib


def output(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, check=False, **options).stdout.strip()


def cpu_model():
    for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(": ", 1)[1]
    return platform.machine()


def peer_versions(bench):
    locked = tomllib.loads((bench / "Cargo.lock").read_text(encoding="utf-8"))["package"]
    crates = {"tokio-tungstenite", "socketioxide", "axum", "tokio"}
    found = [f"{package['name']} {package['version']}" for package in locked if package["name"] in crates]
    modules = json.loads((bench / "node/package-lock.json").read_text(encoding="utf-8"))["packages"]
    return found + [f"{name} {modules['node_modules/' + name]['version']}" for name in ("ws", "socket.io")]


def description(root, bench, roomcast, built, rounds):
    """Lines of Markdown. A binary that was not built here may be of any commit."""
    origin = f"built at {commit(root)}" if built else "a binary that was there"
    programs = [f"{output(roomcast, '--version')} ({origin})"]
    programs += [output("rustc", "--version", cwd=root), f"Node {output('node', '--version')}"]
    return lines(rounds, programs + peer_versions(bench))


def commit(root):
    return output("git", "rev-parse", "--short=10", "HEAD", cwd=root)


def lines(rounds, programs):
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[2]
    return [
        f"- Measured on {today}, {rounds} {'round' if rounds in (1, '1') else 'rounds'}.",
        f"- {cpu_model()}, {cores} cores, {memory_gib:.0f} GiB, Linux {platform.release()}.",
        f"- Load average over the last 15 minutes, this benchmark included: {load:.1f}.",
        f"- {', '.join(programs)}.",
    ]
