"""A server that is measured, and the load on it."""

import json
import os
import pathlib
import socket
import subprocess
import tempfile
import time

START_S_MAX = 10
STOP_S_MAX = 5
RUN_S_MAX = 180


def build(package, profile, binary=None):
    """Builds a workspace, or one binary of it, as it is released; returns the folder of its binaries."""
    command = ["cargo", "build", "--profile", profile, "--locked", *(["--bin", binary] if binary else [])]
    subprocess.run(command, cwd=package, check=True)
    command = ["cargo", "metadata", "--no-deps", "--format-version", "1"]
    metadata = subprocess.run(command, cwd=package, capture_output=True, check=True)
    return pathlib.Path(json.loads(metadata.stdout)["target_directory"]) / profile


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def pinned(core):
    """Runs in the child before the program: a thread that moves between cores costs more."""
    return None if core is None else lambda: os.sched_setaffinity(0, {core})


def wait_for(server):
    """Waits until it listens; ends it when it does not."""
    deadline = time.monotonic() + START_S_MAX
    while True:
        try:
            socket.create_connection(("127.0.0.1", server.port), 1).close()
            return
        except OSError as error:
            if server.process.poll() is not None or time.monotonic() > deadline:
                server.__exit__()
                raise RuntimeError(f"{server.process.args[0]} does not listen") from error
            time.sleep(0.02)


class Redis:
    """The relay of a run's servers, without a disk."""

    def __init__(self, core):
        self.port, self.folder = free_port(), tempfile.TemporaryDirectory()
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self.folder.name]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=pinned(core))

    def __enter__(self):
        wait_for(self)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(STOP_S_MAX)
        self.folder.cleanup()


class Server:
    """A server for one run: what the one before left behind must not be measured."""

    def __init__(self, command, environment, core, port=None):
        self.port = port or free_port()
        ours = {name: value for name, value in os.environ.items() if not name.startswith("ROOMCAST_")}
        ours |= {"PORT": str(self.port), "NODE_ENV": "production"}
        ours |= {"ROOMCAST_LISTEN": f"127.0.0.1:{self.port}", "ROOMCAST_THREADS": "1"}
        # One connection publishes for a thousand.
        ours |= {"ROOMCAST_INBOUND_RATE": "off"}
        self.process = subprocess.Popen(
            command,
            env=ours | environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=pinned(core),
        )

    def __enter__(self):
        wait_for(self)
        return self

    def __exit__(self, *_):
        # Killed: a server that says goodbye to ten thousand connections takes its time.
        self.process.kill()
        self.process.wait(STOP_S_MAX)


def load(binaries, server, arguments, core):
    """Runs the load generator: what it printed, or why there is nothing."""
    arguments = {"port": server.port, "process": server.process.pid} | arguments
    ran = subprocess.run(
        [f"{binaries}/load", *(f"{name}={value}" for name, value in arguments.items())],
        capture_output=True,
        text=True,
        timeout=RUN_S_MAX,
        check=False,
        preexec_fn=pinned(core),
    )
    if ran.returncode != 0:
        return {"failed": " ".join(ran.stderr.split())}
    return json.loads(ran.stdout)
