"""A WebSocket client that writes its own bytes, so that it can write wrong ones."""

import base64
import json
import os
import select
import socket
import struct
import time

from cases import DEADLINE_S, Failed, check_error, compact, equal, holds

SUBPROTOCOL = "roomcast.v1"
PING, PONG = '{"event":"$ping"}', '{"event":"$pong"}'

CONTINUATION, TEXT, BINARY, CLOSE, WS_PING, WS_PONG = 0, 1, 2, 8, 9, 10


class Ended(Failed):
    """The TCP connection ended although more was expected."""


def frame(opcode, payload=b"", fin=True, rsv=0, masked=True, length=None):
    """The bytes of one frame; `length` is what its header announces."""
    payload = payload.encode() if isinstance(payload, str) else payload
    length = len(payload) if length is None else length
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    mask_bit = 0x80 if masked else 0
    if length < 126:
        head += bytes([mask_bit | length])
    elif length < 1 << 16:
        head += struct.pack("!BH", mask_bit | 126, length)
    else:
        head += struct.pack("!BQ", mask_bit | 127, length)
    if not masked:
        return head + payload
    key = os.urandom(4)
    size = len(payload)
    stream = (key * (size // 4 + 1))[:size]
    return head + key + (int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")).to_bytes(size, "big")


def close_frame(code=None, reason=b""):
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason)


def upgrade_request(port, path="/ws", method="GET", version="HTTP/1.1", extra=(), **changes):
    """A handshake's bytes. `changes` replace a header by another value, or by None to leave it out."""
    headers = {
        "Host": f"127.0.0.1:{port}",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
    }
    headers.update({name.replace("_", "-"): value for name, value in changes.items()})
    fields = [(name, value) for name, value in headers.items() if value is not None] + list(extra)
    lines = [f"{method} {path} {version}", *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode()


class Response:
    """An HTTP response, with the members that `cases.check_problem` looks at."""

    def __init__(self, head, body):
        first, *fields = head.decode("latin-1").split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {}
        for field in fields:
            name, _, value = field.partition(":")
            self.headers[name.lower()] = value.strip()
        self.text = body.decode()


class Peer:
    """A TCP connection to the server."""

    def __init__(self, port, receive_buffer=None, connect=True):
        self.port = port
        self.socket = socket.socket()
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.buffer = bytearray()
        self.seen = []  # every text frame that arrived
        self.conn = None
        self.answers_pings = True
        self.socket.settimeout(DEADLINE_S)
        if connect:
            self.socket.connect(("127.0.0.1", port))

    # Bytes.

    def write(self, data):
        self.socket.sendall(data)

    def flood(self, data):
        """Writes, and buffers arriving bytes, until all is written or the server closes; never fails."""
        poll, rest = select.poll(), memoryview(data)
        poll.register(self.socket, select.POLLIN | select.POLLOUT)
        end = time.monotonic() + DEADLINE_S
        self.socket.settimeout(0)
        try:
            while rest and time.monotonic() < end:
                for _, events in poll.poll(DEADLINE_S * 1000):
                    if events & select.POLLIN:
                        if not (more := self.socket.recv(65536)):
                            return
                        self.buffer += more
                    if events & select.POLLOUT:
                        rest = rest[self.socket.send(rest[:65536]) :]
                    elif events & (select.POLLERR | select.POLLHUP):
                        return
        except ConnectionError:
            pass
        finally:
            self.socket.settimeout(DEADLINE_S)

    def write_blindly(self, data):
        """Writes the data repeatedly without reading until the server closes; returns if it did."""
        end = time.monotonic() + DEADLINE_S
        try:
            while time.monotonic() < end:
                self.socket.sendall(data)
        except ConnectionError:
            return True
        except TimeoutError:
            return False
        return False

    def ended_after(self, wait_s):
        """Reads for at most this long; says whether the server ended the connection meanwhile."""
        self.socket.settimeout(wait_s)
        try:
            return not self.fill()
        except TimeoutError:
            return False
        finally:
            self.socket.settimeout(DEADLINE_S)

    def fill(self):
        """Reads once; false when the connection ended."""
        try:
            more = self.socket.recv(65536)
        except ConnectionError:
            return False
        self.buffer += more
        return bool(more)

    def take(self, count):
        while len(self.buffer) < count:
            try:
                if not self.fill():
                    raise Ended(
                        f"the connection ended with {bytes(self.buffer[:200])!r} read, {count} bytes had to come"
                    )
            except TimeoutError:
                raise Failed(f"waited {DEADLINE_S:g} s for {count} bytes, {bytes(self.buffer[:200])!r} came") from None
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    def read_to_end(self):
        try:
            while self.fill():
                pass
        except TimeoutError:
            raise Failed(f"waited {DEADLINE_S:g} s for the server to end the connection") from None
        data = bytes(self.buffer)
        self.buffer.clear()
        return data

    def reset(self):
        """Ends the connection with a TCP reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def end(self):
        self.socket.close()

    # HTTP.

    def response(self):
        while (at := self.buffer.find(b"\r\n\r\n")) < 0:
            if not self.fill():
                raise Ended(f"the connection ended before a response: {bytes(self.buffer[:200])!r}")
        head = self.take(at + 4)[:-4]
        response = Response(head, b"")
        length = int(response.headers.get("content-length", 0))
        response.text = self.take(length).decode() if response.status != 101 else ""
        return response

    def upgrade(self, path="/ws", subprotocol=True, **changes):
        """Upgrades and, with the subprotocol, reads `$welcome`."""
        if subprotocol:
            changes["Sec-WebSocket-Protocol"] = SUBPROTOCOL
        self.write(upgrade_request(self.port, path, **changes))
        return self.upgraded(subprotocol)

    def upgraded(self, subprotocol=True):
        response = self.response()
        equal(response.status, 101, f"the status of the handshake ({response.text})")
        if subprotocol:
            equal(response.headers.get("sec-websocket-protocol"), SUBPROTOCOL, "the subprotocol")
            self.welcome = self.next()
            self.conn = json.loads(self.welcome)["data"]["conn"]
        return self

    # Frames.

    def send(self, message):
        self.write(frame(TEXT, message if isinstance(message, str) else compact(message)))

    def next_frame(self):
        """The next frame as (opcode, payload); whatever the server sends must be well formed."""
        first, second = self.take(2)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", self.take(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self.take(8))
        payload = self.take(length)
        opcode = first & 0x0F
        equal(first & 0xF0, 0x80, f"FIN and reserved bits of a server frame {payload[:80]!r}")
        equal(second & 0x80, 0, f"the mask bit of a server frame {payload[:80]!r}")
        if opcode == TEXT:
            self.seen.append(payload.decode())
        return opcode, payload

    def next(self):
        """The next text frame; pings before it are answered, and do not make the wait for it longer."""
        end = time.monotonic() + DEADLINE_S
        while True:
            opcode, payload = self.next_frame()
            if opcode == TEXT:
                return payload.decode()
            if opcode == CLOSE:
                raise Ended(f"a close frame {payload!r} where a message had to come")
            if opcode == WS_PING and self.answers_pings:
                self.write(frame(WS_PONG, payload))
            if time.monotonic() > end:
                raise Failed(f"waited {DEADLINE_S:g} s for a message")

    def expect(self, *frames):
        for expected in frames:
            equal(self.next(), expected, "a frame")

    def ask(self, message, *answers):
        self.send(message)
        self.expect(*answers)

    def nothing_more(self):
        """Nothing else was queued before: the answer to a ping comes next."""
        self.ask(PING, PONG)

    def refused(self, message, head, code, secret=None):
        self.send(message)
        check_error(self.next(), head, code, secret)

    def join(self, room):
        self.send({"event": "$join", "id": "j", "room": room})
        answer = json.loads(self.next())
        equal((answer.get("event"), "data" in answer), ("$join", True), f"the answer to $join {answer}")
        return answer["data"]["epoch"]

    def publish(self, room, data="null", reached=None):
        """Publishes and reads the answer."""
        self.send(f'{{"event":"e","id":1,"room":{compact(room)},"data":{data}}}')
        got = json.loads(self.next())["data"]["reached"]
        if reached is not None:
            equal(got, reached, f"how many members of {room} a publish reached")
        return got

    # Closing.

    def expect_close_frame(self, code):
        """The next frame must be a close frame with this code; pongs before it are passed over."""
        opcode, payload = self.next_frame()
        while opcode in (WS_PONG, WS_PING):
            opcode, payload = self.next_frame()
        got = struct.unpack("!H", payload[:2])[0] if opcode == CLOSE and payload else (opcode, payload[:300])
        equal(got, code, "the close code")
        holds(len(payload) <= 125, "a close frame has at most 125 bytes")
        payload[2:].decode()

    def expect_close(self, code, *frames):
        """The frames, the close frame, and after our answer to it the end of the TCP connection."""
        self.expect(*frames)
        self.expect_close_frame(code)
        try:
            self.write(close_frame(code))
        except ConnectionError:
            pass
        equal(self.read_to_end(), b"", "what came after the close frame")
