// A program in Node: typed rooms and calls, a token from a backend, npm `ws`.

import { Roomcast, RoomcastError, type Message } from "roomcast";
import WebSocket from "ws";

type Events = { said: { text: string }; moved: [x: number, y: number] };
type Calls = { add: { ask: number; answer: number } };

const client = new Roomcast<Events, Calls>("https://example.com", {
  WebSocket,
  token: async (_why, signal) => (await fetch("https://example.com/token", { signal })).text(),
});

const room = client.room("board", { presence: true, meta: { name: "Ann" } });
room.on("said", ({ text }, { from, own }) => console.log(own ? "me" : from?.user, text));
room.on("moved", ([x, y]) => console.log(x + y));
room.onLost(() => console.log("fetch the state again"));

try {
  await room.joined;
  const { reached } = await room.publish("said", { text: "hello" });
  console.log(`${reached} others, ${await client.call("add", 1)}`);
} catch (error) {
  if (error instanceof RoomcastError && !error.sent) console.log(`not sent: ${error.code}`);
}

const show = (message: Message<Events>) => {
  if (message.event === "said") console.log(message.data.text);
};
for await (const message of room) show(message);

// @ts-expect-error: the event has other data
room.send("said", 5);
