"""Sessions of the Python library `websockets` against a running server:

    python websockets_session.py ws://127.0.0.1:3000 http://127.0.0.1:3000 API_KEY [CASE]...

`-` stands for no key. The server must run with `--inbound-rate off`. Prints one line per case; the
exit code is 0 when all passed. CLOSE_WAIT_MS=N in the environment: a client ends the connection so
long after the close frames, when the server has not.
"""

import asyncio
import inspect
import json
import os
import sys
from urllib.parse import urlsplit
from uuid import uuid4

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from cases import (
    DEADLINE_S,
    Api,
    Failed,
    bye,
    check_error,
    check_problem,
    compact,
    equal,
    holds,
    push,
    run,
)

SUBPROTOCOL = "roomcast.v1"
# The library's own default, when nothing is said.
CLOSE_WAIT_S = float(os.environ.get("CLOSE_WAIT_MS", 10_000)) / 1000
PING, PONG = '{"event":"$ping"}', '{"event":"$pong"}'


class Session:
    """The addresses of the server; opens clients in a namespace of the case's own."""

    def __init__(self, ws, http, key):
        self.ws = ws.rstrip("/")
        url = urlsplit(http)
        self.blocking_api = Api(url.port or 80, key, url.hostname, tls=url.scheme == "https")
        self.namespace = f"py-{uuid4().hex}"
        self.clients = []

    async def client(self, path=None, welcome=True, **options):
        """Opens a connection; with the subprotocol, knows its id from `$welcome`."""
        options.setdefault("subprotocols", [SUBPROTOCOL] if welcome else None)
        address = self.ws + (path if path is not None else f"/ws/{self.namespace}")
        options.setdefault("close_timeout", CLOSE_WAIT_S)
        client = Client(await connect(address, proxy=None, open_timeout=DEADLINE_S, **options))
        self.clients.append(client)
        if welcome:
            client.welcome = await client.next()
            client.conn = json.loads(client.welcome)["data"]["conn"]
        return client

    async def api(self, name, *arguments, **options):
        return await asyncio.to_thread(getattr(self.blocking_api, name), *arguments, **options)

    async def end(self):
        await asyncio.gather(*(client.socket.close() for client in self.clients), return_exceptions=True)


class Client:
    conn = None
    welcome = None

    def __init__(self, socket):
        self.socket = socket

    async def send(self, frame):
        await self.socket.send(frame if isinstance(frame, str) else compact(frame))

    async def next(self):
        async with asyncio.timeout(DEADLINE_S):
            frame = await self.socket.recv()
        holds(isinstance(frame, str), f"a frame must be text, this is {frame!r}")
        return frame

    async def expect(self, *frames):
        for frame in frames:
            equal(await self.next(), frame, "a frame")

    async def ask(self, frame, *answers):
        await self.send(frame)
        await self.expect(*answers)

    async def nothing_more(self):
        """Nothing else was queued before: the answer to a ping comes next."""
        await self.ask(PING, PONG)

    async def join(self, room):
        await self.send({"event": "$join", "id": "j", "room": room})
        answer = await self.next()
        data = {"epoch": json.loads(answer)["data"]["epoch"], "offset": 0, "already": False}
        equal(answer, compact({"event": "$join", "id": "j", "room": room, "data": data}), "the answer to $join")
        return data["epoch"]

    async def refused(self, frame, head, code, secret=None):
        await self.send(frame)
        check_error(await self.next(), head, code, secret)

    async def expect_close(self, code, *frames):
        await self.expect(*frames)
        try:
            frame = await self.next()
        except ConnectionClosed:
            equal(self.socket.close_code, code, "the close code")
            return self.socket.close_reason
        raise Failed(f"a frame where the close {code} had to be: {frame}")


async def two_clients_talk(session):
    ann, bob = await session.client(), await session.client()
    await ann.join("lobby")
    await bob.join("lobby")
    await ann.ask(
        '{"event":"said","id":1,"room":"lobby","data":{"text":"hi"}}',
        '{"event":"said","id":1,"room":"lobby","data":{"reached":1}}',
    )
    await bob.expect(push("said", "lobby", ann.conn, '{"text":"hi"}'))
    await bob.ask(
        '{"event":"said","id":"x","room":"lobby","echo":true}',
        push("said", "lobby", bob.conn),
        '{"event":"said","id":"x","room":"lobby","data":{"reached":2}}',
    )
    await ann.expect(push("said", "lobby", bob.conn))
    await ann.nothing_more()
    await bob.nothing_more()


async def all_verbs_are_answered(session):
    ann = await session.client()
    epoch = compact(await ann.join("r"))
    joined = f'"room":"r","data":{{"epoch":{epoch},"offset":0,"already":true'
    await ann.ask('{"event":"$join","room":"r"}', f'{{"event":"$join",{joined}}}}}')
    await ann.ask(
        f'{{"event":"$join","id":1,"room":"r","data":{{"since":{{"epoch":{epoch},"offset":0}}}}}}',
        f'{{"event":"$join","id":1,{joined},"recovered":false}}}}',
    )
    await ann.ask('{"event":"$rooms","id":""}', '{"event":"$rooms","id":"","data":["r"]}')
    await ann.ask('{"event":"$leave","room":"r"}', '{"event":"$leave","room":"r","data":{"was":true}}')
    await ann.ask('{"event":"$leave","room":"r"}', '{"event":"$leave","room":"r","data":{"was":false}}')
    await ann.ask('{"event":"$ping","id":-5}', '{"event":"$pong","id":-5}')


async def without_a_subprotocol_there_is_no_welcome(session):
    plain = await session.client(welcome=False)
    equal(plain.socket.subprotocol, None, "the subprotocol")
    await plain.nothing_more()
    unknown = await session.client(welcome=False, subprotocols=["chat.v9", "bearer.abc"])
    equal(unknown.socket.subprotocol, None, "the subprotocol")
    await unknown.nothing_more()
    chosen = await session.client(subprotocols=["chat.v9", "bearer.abc", SUBPROTOCOL])
    equal(chosen.socket.subprotocol, SUBPROTOCOL, "the subprotocol")


async def compression_is_offered_and_not_negotiated(session):
    ann = await session.client(compression="deflate")
    offered = ann.socket.request.headers.get("Sec-WebSocket-Extensions", "")
    holds("permessage-deflate" in offered, f"the library must offer compression, it offered {offered!r}")
    equal(ann.socket.response.headers.get("Sec-WebSocket-Extensions"), None, "the extensions of the answer")
    await ann.nothing_more()


async def an_authorization_header_does_no_harm(session):
    for value in ("Bearer some.jwt.token", "Basic dXNlcjpwYXNz", "nonsense"):
        ann = await session.client(additional_headers={"Authorization": value})
        await ann.nothing_more()
    ann = await session.client(f"/ws/{session.namespace}?token=abc")
    await ann.nothing_more()


async def fragments_are_one_message(session):
    ann, bob = await session.client(), await session.client()
    await bob.join("r")
    text = '{"event":"f","room":"r","data":"é🎲"}'
    expected = push("f", "r", ann.conn, '"é🎲"')
    for size in (1, 2, 7, len(text) - 1):
        await ann.socket.send([text[at : at + size] for at in range(0, len(text), size)])
        await bob.expect(expected)
    raw = text.encode()
    holds(len(raw) < 64, "the case needs a message of less than 64 bytes")
    # One byte per frame: characters are cut in the middle.
    await ann.socket.send([raw[at : at + 1] for at in range(len(raw))], text=True)
    await bob.expect(expected)
    await ann.socket.send(["", text, "", ""])
    await bob.expect(expected)
    await bob.nothing_more()


async def a_message_in_64_fragments_passes_and_in_65_closes_with_1008(session):
    # The library ends a fragmented message with an empty fragment.
    ann = await session.client()
    await ann.socket.send([PING] + [" "] * 62)
    await ann.expect(PONG)
    try:
        await ann.socket.send([PING] + [" "] * 63)
    except ConnectionClosed:
        pass
    await ann.expect_close(1008)


async def pings_are_answered_between_fragments(session):
    ann = await session.client()

    async def fragments():
        yield '{"event":'
        pong = await ann.socket.ping(b"in between")
        async with asyncio.timeout(DEADLINE_S):
            await pong
        yield '"$ping"}'

    await ann.socket.send(fragments())
    await ann.expect(PONG)
    pong = await ann.socket.ping(b"\xff" * 125)
    async with asyncio.timeout(DEADLINE_S):
        await pong
    await ann.socket.pong(b"nobody asked")
    await ann.nothing_more()


async def a_large_message_closes_with_1009(session):
    ann = await session.client()
    limit = json.loads(ann.welcome)["data"]["limits"]["message_bytes"]
    await ann.ask(PING + " " * (limit - len(PING)), PONG)
    for message in ("x" * (limit + 1), ["x" * (limit // 2), "x" * (limit // 2), "x"], "x" * 4_000_000):
        ann = await session.client()
        try:
            await ann.socket.send(message)
        except ConnectionClosed:
            pass
        await ann.expect_close(1009)


async def a_binary_message_closes_with_1003(session):
    for message in (PING.encode(), b"", [b"a", b"b"]):
        ann = await session.client()
        await ann.socket.send(message)
        await ann.expect_close(1003)


async def text_that_is_not_utf8_closes_with_1007(session):
    for message in (b"\xff", b'{"event":"\xc3"}', [b'{"event":"\xc3', b'\x28"}'], [b"{}", b"\xed\xa0\x80"]):
        ann = await session.client()
        await ann.socket.send(message, text=True)
        await ann.expect_close(1007)


async def every_error_has_its_code(session):
    ann = await session.client()
    secret = "classified"
    deep = "[" * 65 + "]" * 65
    e1 = {"event": "e", "id": 1}
    for frame, head, code in [
        ("[]", {"event": "$error"}, "bad_envelope"),
        (f'{{"id":1,"x":"{secret}"}}', {"event": "$error", "id": 1}, "bad_envelope"),
        (f'{{"event":"e","id":1,"echo":"{secret}"}}', e1, "bad_envelope"),
        (f'{{"event":"e","id":1,"id":"{secret}"}}', {"event": "$error"}, "bad_envelope"),
        (f'{{"event":"e","id":1,"room":"r","data":{deep}}}', {**e1, "room": "r"}, "bad_payload"),
        ('{"event":"e","id":1,"room":"r","data":"\\udc00"}', {**e1, "room": "r"}, "bad_payload"),
        (
            f'{{"event":"$join","id":1,"room":"r","data":"{secret}"}}',
            {"event": "$join", "id": 1, "room": "r"},
            "bad_payload",
        ),
        ({"event": "e", "id": 1, "room": secret * 21}, e1, "bad_room"),
        ({"event": "e", "id": 1, "room": secret + "\n"}, e1, "bad_room"),
        ('{"event":"$leave"}', {"event": "$leave"}, "bad_room"),
        (f'{{"event":"e","id":1,"data":"{secret}"}}', e1, "unknown_event"),
        (f'{{"event":"$history","room":"r","data":"{secret}"}}', {"event": "$history", "room": "r"}, "bad_payload"),
    ]:
        await ann.refused(frame, head, code, secret)
    limit = json.loads(ann.welcome)["data"]["limits"]["rooms_per_connection"]
    for number in range(limit):
        await ann.join(f"room {number}")
    head = {"event": "$join", "id": 1, "room": secret}
    await ann.refused(head, head, "room_limit", secret)


async def data_passes_byte_for_byte(session):
    ann, bob = await session.client(), await session.client()
    await bob.join("r")
    payloads = [
        "12345678901234567890",
        "1e999",
        "-0",
        "1.0",
        "3.141592653589793238462643383279",
        '{ "b":1,\n"a":\t[ ] }',
        '"\\u0041\\/\\ud83c\\udfb2 \u007f \u2028"',
        '{"a":1,"a":2}',
        '"' + "é" * 30_000 + '"',
    ]
    for data in payloads:
        await ann.send(f'{{"data": {data} ,"event":"d","room":"r"}}')
        await bob.expect(push("d", "r", ann.conn, data))
        body = f'{{"audience":{{"rooms":["r"]}},"event":"d","data": {data} }}'
        await session.api(
            "gives", "POST", f"/api/v1/{session.namespace}/send", '{"matched":1,"queued":1,"dropped":0}', body
        )
        await bob.expect(f'{{"event":"d","room":"r","data":{data}}}')


async def a_thousand_messages_have_one_order(session):
    members = [await session.client() for _ in range(3)]
    publishers = [await session.client() for _ in range(4)]
    for member in members:
        await member.join("r")

    async def publish(client):
        for number in range(250):
            await client.send(f'{{"event":"n","room":"r","data":{number}}}')

    async def read(client):
        return [await client.next() for _ in range(1000)]

    seen = (await asyncio.gather(*map(read, members), *map(publish, publishers)))[: len(members)]
    for frames in seen[1:]:
        equal(frames, seen[0], "the order at another member")
    for client in publishers:
        own = [frame for frame in seen[0] if f'"conn":"{client.conn}"' in frame]
        equal(own, [push("n", "r", client.conn, number) for number in range(250)], "one publisher's messages")
    for member in members:
        await member.nothing_more()


async def a_member_that_leaves_misses_what_comes_after(session):
    ann, bob = await session.client(), await session.client()
    for number in range(20):
        await ann.join("r")
        await bob.ask(
            f'{{"event":"e","id":{number},"room":"r"}}',
            f'{{"event":"e","id":{number},"room":"r","data":{{"reached":1}}}}',
        )
        await ann.expect(push("e", "r", bob.conn))
        await ann.ask('{"event":"$leave","room":"r"}', '{"event":"$leave","room":"r","data":{"was":true}}')
        await bob.ask('{"event":"e","id":0,"room":"r"}', '{"event":"e","id":0,"room":"r","data":{"reached":0}}')
    await ann.nothing_more()


async def the_api_joins_pushes_and_disconnects(session):
    ann, bob = await session.client(), await session.client(welcome=False)
    # Without `$welcome` an answer alone says that it has come into its namespace.
    await bob.nothing_more()
    at = f"/api/v1/{session.namespace}"
    rows = (await session.api("json", f"{at}/connections"))["connections"]
    bob.conn = next(row["conn"] for row in rows if row["conn"] != ann.conn)
    answer = await session.api("call", "PUT", f"{at}/rooms/r/members/{bob.conn}")
    epoch = json.loads(answer.text)["epoch"]
    equal(answer.text, compact({"epoch": epoch, "offset": 0, "already": False}), "the answer to PUT")
    await bob.ask('{"event":"$rooms"}', '{"event":"$rooms","data":["r"]}')
    body = {"audience": {"rooms": ["r"], "conns": [ann.conn, bob.conn]}, "event": "e"}
    await session.api("gives", "POST", f"{at}/send", '{"matched":2,"queued":2,"dropped":0}', body)
    for client in (ann, bob):
        await client.expect('{"event":"e","data":null}')
    await session.api("gives", "DELETE", f"{at}/rooms/r/members/{bob.conn}", '{"was":true}')
    await session.api("gives", "DELETE", f"{at}/connections/{bob.conn}?code=4001&reason=%C3%BC", '{"disconnected":1}')
    equal(await bob.expect_close(4001, bye(4001, False)), "ü", "the reason")
    await session.api("gives", "DELETE", f"{at}/connections/{ann.conn}?code=1011", '{"disconnected":1}')
    await ann.expect_close(1011, bye(1011, True))


async def namespaces_share_nothing(session):
    ann = await session.client()
    bob = await session.client(f"/ws/{session.namespace}-2")
    for client in (ann, bob):
        await client.join("r")
    await ann.ask('{"event":"e","id":1,"room":"r"}', '{"event":"e","id":1,"room":"r","data":{"reached":0}}')
    await bob.nothing_more()


async def handshakes_are_refused_with_their_status(session):
    for path, options, status in [
        ("/ws/a.b", {}, 404),
        ("/ws/" + "x" * 65, {}, 404),
        (None, {"origin": "https://elsewhere.example"}, 403),
        (None, {"origin": "null"}, 403),
    ]:
        try:
            await session.client(path, **options)
        except InvalidStatus as refusal:
            response = refusal.response
            equal(response.status_code, status, f"the status for {path} {options}")
            equal(response.headers["Content-Type"].split(";")[0], "application/problem+json", "the content type")
        else:
            raise Failed(f"{path} {options} was accepted")


async def refuse_close_tells_the_reason_on_the_socket(session):
    for path, options in [
        ("/ws/a.b?refuse=close", {}),
        ("/ws/x?refuse=close", {"origin": "https://elsewhere.example"}),
    ]:
        for welcome in (None, [SUBPROTOCOL]):
            refused = await session.client(path, welcome=False, subprotocols=welcome, **options)
            check_error(await refused.next(), {"event": "$error"}, "forbidden")
            await refused.expect_close(4403)


async def closes_are_echoed(session):
    for code in (1000, 1001, 3999, 4999):
        ann = await session.client()
        await ann.join("r")
        async with asyncio.timeout(DEADLINE_S):
            await ann.socket.close(code, "bye")
        equal(ann.socket.protocol.close_rcvd and ann.socket.protocol.close_rcvd.code, code, "the echoed code")


async def the_api_refuses_with_problems(session):
    at = f"/api/v1/{session.namespace}"
    for method, path, status in [
        ("GET", f"{at}/rooms/nobody", 404),
        ("GET", f"{at}/connections/1", 404),
        ("GET", f"{at}/rooms?limit=0", 400),
        ("DELETE", f"{at}/connections/1", 404),
        ("POST", f"{at}/send", 400),
        ("GET", "/api/v1/a.b/rooms", 404),
    ]:
        check_problem(await session.api("call", method, path), status)


def main():
    if len(sys.argv) < 4:
        print("usage: websockets_session.py WS_URL HTTP_URL API_KEY_OR_- [CASE]...", file=sys.stderr)
        return 2
    ws, http, key, *wanted = sys.argv[1:]

    async def one(case):
        session = Session(ws, http, None if key == "-" else key)
        try:
            await case(session)
        finally:
            await session.end()

    cases = {
        name: lambda case=case: asyncio.run(one(case))
        for name, case in globals().items()
        if inspect.iscoroutinefunction(case) and case.__module__ == __name__
    }
    return run(cases, wanted)


if __name__ == "__main__":
    sys.exit(main())
