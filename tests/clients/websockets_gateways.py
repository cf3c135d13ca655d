"""The session of the chat, with the Python library `websockets`:

    python websockets_gateways.py ws://127.0.0.1:3005/ws

The chat must be new: what others said to it would be seen. The exit code is 0 when all is as it
should be.
"""

import asyncio
import sys

from websockets.asyncio.client import connect

from cases import DEADLINE_S, Failed, equal


class Client:
    def __init__(self, socket):
        self.socket = socket

    async def expect(self, *frames):
        for frame in frames:
            equal(await asyncio.wait_for(self.socket.recv(), DEADLINE_S), frame, "a frame")

    async def ask(self, frame, *answers):
        await self.socket.send(frame)
        await self.expect(*answers)

    async def nothing_more(self):
        """Nothing else was queued before: the answer to a ping comes next."""
        await self.ask('{"event":"$ping"}', '{"event":"$pong"}')


    async def until(self, frame, answer):
        """Asks again until this is the answer."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                await self.socket.send(frame)
                if await self.socket.recv() == answer:
                    return


async def chat(address):
    async with connect(address, proxy=None) as first:
        ann = Client(first)
        await ann.ask('{"event":"history","data":null}', '{"event":"history","data":[]}')
        hello = '{"event":"message","data":{"author":"ann","text":"hello"}}'
        await ann.ask(hello, hello)
        await ann.ask('{"event":"presence","data":null}', '{"event":"presence","data":1}')
        history = '{"event":"history","data":[{"author":"ann","text":"hello"}]}'
        await ann.ask('{"event":"history"}', history)
        async with connect(address, proxy=None) as second:
            await talk(ann, Client(second))
        # The server may notice the end of a connection after its client.
        await ann.until('{"event":"presence","id":1}', '{"event":"presence","id":1,"data":1}')


async def talk(ann, ben):
    await ben.socket.send('{"event":"typing","data":"ben"}')
    await ann.expect('{"event":"typing","data":"ben"}')
    for client in (ann, ben):
        await client.ask('{"event":"join","data":{"room":"lobby"}}', '{"event":"join","data":"lobby"}')
    said = '{"event":"say","room":"lobby","data":"hi"}'
    await ben.ask('{"event":"say","data":{"room":"lobby","text":"hi"}}', said)
    await ann.expect(said)
    await ben.ask('{"event":"leave","data":{"room":"lobby"}}', '{"event":"leave","data":"lobby"}')
    await ann.ask('{"event":"say","data":{"room":"lobby","text":"hi"}}', said)
    await ben.nothing_more()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        asyncio.run(chat(sys.argv[1]))
    except Failed as failure:
        sys.exit(f"FAILED chat: {failure}")
    print("ok chat")
