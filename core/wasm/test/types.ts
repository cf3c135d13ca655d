// Calls that an application makes, for `tsc` to check.

import { type Delivery, init, Namespace, RoomcastError, slot } from "roomcast-wasm";
import { Replay } from "roomcast-wasm/replay";
import { init as initFrom } from "roomcast-wasm/slim";
import { World } from "roomcast-wasm/testing";

await init();
await initFrom(fetch("/roomcast.wasm"));
const sockets: WebSocket[] = [];
const namespace = new Namespace({
  settings: { heartbeat_ms: "off" },
  policies: { rooms: [{ match: "*", presence: "members" }] },
  send: (to, frame) => {
    for (const conn of to) sockets[slot(conn)]?.send(frame as string);
  },
  close: (conn, code, reason) => sockets[slot(conn)]?.close(code, reason),
  authenticate: async (conn, token, text) => namespace.authenticate(conn, text, token ? { user: "ann" } : undefined),
});
const conn: number = namespace.connect({ user: "ann", welcome: true }, () => {});
try {
  namespace.receive(conn, new Uint8Array(), false);
} catch (fault) {
  if (fault instanceof RoomcastError && fault.code === "dead") sockets.forEach((socket) => socket.close());
  if (fault instanceof RoomcastError && fault.details) console.log(fault.details.limit + 1, fault.details.after_ms);
}
const delivery: Delivery = namespace.publish({ rooms: ["lobby"], except_conns: [conn] }, "news", { a: [1] }, { key: "k" });
const world = await World.start({ settings: {}, now: delivery.queued });
world.connect({ user: "ann" }).send({ event: "$join", room: "lobby" });
world.advance(1_000);
const replay = await Replay.open(new Uint8Array());
for (const output of replay.step(replay.lines)) if (output.kind === "close") console.log(output.code);
const missed: number[] = replay.missed(replay.state(1)?.connections[0]?.conn ?? "0");
const frames: string[] = replay.skip(missed[0]).differences[0].without;
sockets[0].send(frames[0] + replay.violations().violations[0].invariant);
// @ts-expect-error: a namespace without a way to send.
new Namespace({ close: () => {} });
