"""A server process for each case, and the registry of the faults that it has to survive."""

import os
import re
import signal
import subprocess
import threading
import time

from cases import DEADLINE_S, Api, Failed
from raw_peer import Peer

FAULTS = {}
# For cases in which the server closes many connections: it need not wait long for each.
QUICK_CLOSE = ("--close-wait-ms", "300")
# Settings of all servers, as environment variables.
SETTINGS = {}
LISTENING = re.compile(r"listening on http://\S+:(\d+)")
CLOCK_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def fault(*flags, files_max=None):
    """Registers a case that gets a server started with these flags."""

    def register(case):
        def run(binary):
            with Server(binary, *flags, files_max=files_max) as server:
                case(server)
                server.check_alive()

        assert case.__name__ not in FAULTS, case.__name__
        FAULTS[case.__name__] = run
        return case

    return register


def fault_of_the_binary(case):
    """Registers a case that starts what it needs itself."""
    FAULTS[case.__name__] = case
    return case


def environment(**more):
    """Our environment, with only these server settings."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("ROOMCAST_")}
    return ours | SETTINGS | more


def command(binary, *arguments, **env):
    """Runs the binary to its end."""
    return subprocess.run(
        [binary, *arguments], env=environment(**env), capture_output=True, timeout=DEADLINE_S, check=False
    )


class Server:
    """A running server; everything that a case opened ends with it."""

    def __init__(self, binary, *flags, files_max=None, listen="127.0.0.1:0", **env):
        arguments = [binary, "serve", "--listen", listen, *flags]
        if files_max:
            arguments = ["sh", "-c", f'ulimit -n {files_max} && exec "$@"', "sh", *arguments]
        self.process = subprocess.Popen(
            arguments,
            env=environment(**env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self.pid = self.process.pid
        self.log = []
        self.peers = []
        self.port = None
        self.terminated = False
        self.listening = threading.Event()
        self.reader = threading.Thread(target=self.read_log, daemon=True)
        self.reader.start()
        self.listening.wait(DEADLINE_S)
        if self.port is None:
            self.stop()
            raise Failed(f"the server did not start: {self.log}")
        self.api = Api(self.port)

    def read_log(self):
        for line in self.process.stderr:
            self.log.append(line.decode(errors="replace").rstrip())
            if found := LISTENING.search(self.log[-1]):
                self.port = int(found.group(1))
                self.listening.set()
        self.listening.set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        for peer in self.peers:
            peer.end()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stderr.close()

    def check_alive(self):
        if self.process.poll() is not None and not self.terminated:
            raise Failed(f"the server ended with {self.process.returncode}: {self.log[-5:]}")
        if panics := [line for line in self.log if "panicked" in line]:
            raise Failed(f"the server panicked: {panics}")

    def tcp(self, **options):
        """A TCP connection on which nothing was sent."""
        self.peers.append(Peer(self.port, **options))
        return self.peers[-1]

    def open(self, path="/ws", subprotocol=True, receive_buffer=None, **changes):
        """A WebSocket connection, its `$welcome` read."""
        return self.tcp(receive_buffer=receive_buffer).upgrade(path, subprotocol, **changes)

    def terminate(self):
        self.terminated = True
        self.process.send_signal(signal.SIGTERM)

    def exit_code(self):
        try:
            return self.process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            raise Failed(f"the server still ran {DEADLINE_S:g} s after SIGTERM") from None

    # The process, as the kernel sees it.

    def memory_peak_mib(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 1024

    def memory_mib(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:")) / 1024

    def cpu_s(self):
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS_PER_S

    def cpu_share_over(self, window_s):
        """CPU seconds used per second, measured for this long."""
        before, start = self.cpu_s(), time.monotonic()
        time.sleep(window_s)
        return (self.cpu_s() - before) / (time.monotonic() - start)
