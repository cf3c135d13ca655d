"""Sessions of the Python library `websockets` with the applications of the examples:

    python websockets_gateways.py APPLICATION WS_ADDRESS

such as `chat ws://127.0.0.1:3005/ws`. The application must be new: what others said to it would be
seen. The exit code is 0 when all is as it should be.
"""

import asyncio
import re
import sys
from datetime import UTC, datetime, timedelta

from websockets.asyncio.client import connect

from cases import DEADLINE_S, Failed, equal, holds

TIME = r'"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)"'


class Client:
    def __init__(self, socket):
        self.socket = socket

    async def next(self):
        return await asyncio.wait_for(self.socket.recv(), DEADLINE_S)

    async def send(self, frame):
        await self.socket.send(frame)

    async def expect(self, *frames):
        for frame in frames:
            equal(await self.next(), frame, "a frame")

    async def expect_at(self, frame):
        """The next frame is this one, with the current time in place of AT."""
        got = await self.next()
        pattern = re.escape(frame).replace('"AT"', TIME)
        match = re.fullmatch(pattern, got)
        holds(match, f"a frame like {frame}, not {got}")
        at = datetime.fromisoformat(match[1])
        holds(abs(datetime.now(UTC) - at) < timedelta(minutes=1), f"{at} is now")

    async def ask(self, frame, *answers):
        await self.send(frame)
        await self.expect(*answers)

    async def nothing_more(self):
        """Nothing else was queued before: the answer to a ping comes next."""
        await self.ask('{"event":"$ping"}', '{"event":"$pong"}')

    async def until(self, frame, answer):
        """Asks again until this is the answer."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                await self.send(frame)
                if await self.socket.recv() == answer:
                    return


def opened(address, **options):
    return connect(address, proxy=None, **options)


async def chat(address):
    async with opened(address) as first:
        a = Client(first)
        async with opened(address) as second:
            await talk(a, Client(second))
        # The server may notice the end of a connection after its client.
        await a.until('{"event":"presence","data":null}', '{"event":"presence","data":1}')
        await a.send('{"event":"say","data":{"author":"ada","text":"alone"}}')
        await a.nothing_more()


async def talk(a, b):
    await a.ask('{"event":"history","data":null}', '{"event":"history","data":[]}')
    await a.send('{"event":"message","data":{"author":"ada","text":"hi"}}')
    hi = '{"author":"ada","text":"hi","at":"AT"}'
    for client in (a, b):
        await client.expect_at(f'{{"event":"message","data":{hi}}}')
    await a.ask('{"event":"presence","data":null}', '{"event":"presence","data":2}')
    typing = '{"event":"typing","data":{"author":"bob","text":"..."}}'
    await a.send(typing)
    await b.expect(typing)
    await b.send('{"event":"history","data":null}')
    await b.expect_at(f'{{"event":"history","data":[{hi}]}}')
    await a.send('{"event":"join","data":"dev"}')
    await a.nothing_more()
    await b.send('{"event":"join","data":"dev"}')
    await b.nothing_more()
    await a.send('{"event":"say","data":{"author":"ada","text":"yo"}}')
    await b.expect('{"event":"said","data":{"author":"ada","text":"yo"}}')
    await b.nothing_more()
    await a.send('{"event":"leave","data":"dev"}')
    await a.nothing_more()
    await a.send('{"event":"message","data":{"author":5}}')
    refused = await a.next()
    holds('"code":"bad_payload"' in refused and "author" in refused, refused)
    holds(not re.search(r"\b5\b", refused), f"what was refused is repeated: {refused}")
    await b.nothing_more()


async def heartbeat(address):
    async with opened(address) as first, opened(address) as second:
        a, b = Client(first), Client(second)
        for client in (a, b, a):
            await client.expect_at('{"event":"heartbeat","data":"AT"}')


async def raw(address):
    hello = "Connected. Send 'join:<room>' to join a room."
    async with opened(address) as first, opened(address) as second:
        a, b = Client(first), Client(second)
        ids = []
        for client in (a, b):
            await client.ask("join:lobby", hello, "Joined room: lobby")
            joined = await client.next()
            match = re.fullmatch(r"(\d+) joined", joined)
            holds(match, f"who joined, not {joined}")
            ids.append(match[1])
        await a.expect(f"{ids[1]} joined")
        await a.send("msg:lobby:a:b")
        for client in (a, b):
            await client.expect(f"[lobby] {ids[0]}: a:b")
        await a.send(b"\x00\xff")
        await a.ask("leave:lobby", "Left room: lobby")
        await b.ask("msg:lobby:alone", f"[lobby] {ids[1]}: alone")
        # The answer to another request comes next, so A did not receive it.
        await a.ask("leave:lobby", "Left room: lobby")


async def rooms(address):
    async with (
        opened(address) as first,
        opened(address, subprotocols=["roomcast.v1"]) as second,
    ):
        a, b = Client(first), Client(second)
        ident = re.search(r'"conn":"(\d+)"', await b.next())[1]
        joined = '"room":"/chat/general","data":{"joined":true,"room":"general","rooms":["/chat/general"]}}'
        for client, name in ((b, "Bob"), (a, "Alice")):
            await client.ask(
                f'{{"event":"join","room":"/chat/general","id":1,"data":{{"name":"{name}"}}}}',
                f'{{"event":"join","id":1,{joined}',
            )
        await b.expect('{"event":"system","room":"/chat/general","data":{"text":"Alice joined"}}')
        hello = '{"event":"message","room":"/chat/general","data":{"from":"Alice","text":"Hello!"}}'
        await a.send(hello)
        await b.expect(hello)
        await a.nothing_more()
        await a.ask(
            '{"event":"leave","room":"/chat/general","id":2}',
            '{"event":"leave","id":2,"room":"/chat/general","data":{"left":true,"rooms":[]}}',
        )
        await b.expect('{"event":"system","room":"/chat/general","data":{"text":"Someone left"}}')
        data = f'{{"targetId":"{ident}","text":"psst"}}'
        await a.send(f'{{"event":"dm","room":"/direct","data":{data}}}')
        await b.expect('{"event":"dm","path":"/direct","data":{"text":"psst"}}')
        announcement = '{"event":"announcement","path":"/announce","data":{"text":"at ten"}}'
        await a.ask(
            '{"event":"admin","room":"/announce","id":3,"data":{"text":"at ten"}}',
            announcement,
            '{"event":"admin","id":3,"room":"/announce","data":{"announced":true}}',
        )
        await b.expect(announcement)
        await a.ask(
            '{"event":"notify","room":"/self"}',
            '{"event":"notification","path":"/alerts","data":{"text":"Just for you"}}',
        )
        await b.nothing_more()


SESSIONS = {"chat": chat, "heartbeat": heartbeat, "raw": raw, "rooms": rooms}

if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in SESSIONS:
        sys.exit(__doc__)
    name, address = sys.argv[1:]
    try:
        asyncio.run(SESSIONS[name](address))
    except Failed as failure:
        sys.exit(f"FAILED {name}: {failure}")
    print(f"ok {name}")
