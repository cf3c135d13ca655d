// The client of `client/` reconnects, with the npm library `ws` and a server of its own:
//
//     node client_recovery.mjs PATH_TO_ROOMCAST
//
// Prints one line per case; the exit code is 0 when all passed.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import WebSocket from "ws";
import { Roomcast } from "../../client/dist/index.js";
import { Api, equal, until, withDeadline } from "./ws_client.mjs";

const [binary] = process.argv.slice(2);
const KEY = "test-key";
const POLICIES = `
[[rooms]]
match = "feed:*"
history.messages = 1000
history.bytes = 67108864
overflow = "drop-oldest"

[[rooms]]
match = "full"
members = 1

[[rooms]]
match = "chat:*"
history.messages = 10
presence = "members"
presence_grace_s = 60
`;

const folder = await mkdtemp(join(tmpdir(), "roomcast-"));
const config = join(folder, "rooms.toml");
await writeFile(config, POLICIES);

class Server {
  static async start(port, ...flags) {
    const server = new Server();
    const args = ["serve", "--listen", `127.0.0.1:${port}`, "--api-key", KEY, "--config", config, ...flags];
    server.process = spawn(binary, args, { stdio: ["ignore", "ignore", "pipe"], env: {} });
    server.ended = once(server.process, "exit");
    const lines = createInterface(server.process.stderr);
    const listening = new Promise((resolve) => lines.on("line", (line) => {
      const found = line.match(/listening on http:\/\/127\.0\.0\.1:(\d+)/);
      if (found) resolve(Number(found[1]));
    }));
    server.port = await withDeadline(listening, "the server to listen");
    server.api = new Api(`http://127.0.0.1:${server.port}`, KEY);
    return server;
  }

  async end(signal) {
    this.process.kill(signal);
    await this.ended;
  }

  async publish(room, ...data) {
    for (const one of data) {
      const body = { audience: { rooms: [room] }, event: "said", data: one };
      equal((await this.api.call("POST", "/api/v1/default/send", { body })).status, 200, "a publish");
    }
  }

  /** Ends all connections of a namespace; the client reconnects once the result is called. */
  async drop(heard) {
    let back;
    heard.held = new Promise((resolve) => (back = () => resolve(null)));
    const { connections } = await this.api.json("/api/v1/default/connections");
    for (const { conn } of connections) await this.api.call("DELETE", `/api/v1/default/connections/${conn}?code=1001`);
    return back;
  }
}

/** A client, and what it has heard. */
function listener(port) {
  const heard = { said: [], offsets: [], own: [], lost: [], gaps: 0, joins: 0, sockets: [], held: null };
  class Watched extends WebSocket {
    constructor(url, protocols) {
      super(url, protocols, { perMessageDeflate: false });
      heard.sockets.push(this);
      this.on("message", (text) => (heard.gaps += text.includes('"$gap"') ? 1 : 0));
      this.on("message", (text) => (heard.joins += text.includes('"event":"$join"') ? 1 : 0));
    }
  }
  heard.client = new Roomcast(`ws://127.0.0.1:${port}/ws`, { WebSocket: Watched, token: () => heard.held });
  heard.join = (name) => {
    const room = heard.client.room(name);
    room.on("said", (data, { offset, own }) => {
      heard.said.push(data);
      heard.offsets.push(offset);
      if (own) heard.own.push(data);
    });
    room.onLost(() => heard.lost.push(name));
    return room;
  };
  return heard;
}

const members = (server, room) => async () => {
  const answer = await server.api.call("GET", `/api/v1/default/rooms/${encodeURIComponent(room)}`);
  return answer.status === 200 ? JSON.parse(answer.text).members : 0;
};
const numbers = (from, to) => Array.from({ length: to - from + 1 }, (_, at) => from + at);
const text = (value) => JSON.stringify(value);

const cases = {
  async "gets what it missed, once and in order"() {
    const server = await Server.start(0);
    const heard = listener(server.port);
    heard.join("chat:a");
    const there = members(server, "chat:a");
    await until("the join", async () => (await there()) === 1);
    await server.publish("chat:a", 1, 2);
    const back = await server.drop(heard);
    await until("the close", async () => (await there()) === 0);
    await server.publish("chat:a", 3, 4, 5);
    back();
    await until("what was missed", async () => (await there()) === 1 && heard.said.length >= 5);
    await server.publish("chat:a", 6);
    await until("what is live", async () => (await there()) === 1 && heard.said.length >= 6);
    equal(text(heard.said), text(numbers(1, 6)), "messages");
    equal(text(heard.offsets), text(numbers(1, 6)), "offsets");
    equal(heard.lost.length, 0, "told of a loss");
    heard.client.close();
    await server.end("SIGKILL");
  },

  async "does not get its own messages again"() {
    const server = await Server.start(0);
    const heard = listener(server.port);
    const room = heard.join("chat:a");
    const there = members(server, "chat:a");
    await until("the join", async () => (await there()) === 1);
    await room.publish("said", "own");
    const back = await server.drop(heard);
    await until("the close", async () => (await there()) === 0);
    await server.publish("chat:a", "other");
    back();
    await until("what was missed", async () => (await there()) === 1 && heard.said.length >= 1);
    equal(text(heard.said), text(["other"]), "messages");
    heard.client.close();
    await server.end("SIGKILL");
  },

  async "knows its own messages that come late, from an earlier connection"() {
    const server = await Server.start(0);
    const heard = listener(server.port);
    const room = heard.join("chat:a");
    const there = members(server, "chat:a");
    await until("the join", async () => (await there()) === 1);
    await room.publish("said", "echo", { echo: true });
    await until("the echo", async () => (await there()) >= 0 && heard.said.length === 1);
    // Only the client's side breaks: its earlier messages are still in flight.
    const [early] = heard.sockets;
    early.terminate = early.close = () => {};
    early.onclose({ code: 1006, reason: "" });
    await until("the return", async () => (await there()) === 2);
    early.send(text({ event: "said", room: "chat:a", data: "late" }));
    await until("what was late", async () => (await there()) >= 0 && heard.said.length === 2);
    await server.publish("chat:a", "other");
    await until("the other", async () => (await there()) >= 0 && heard.said.length === 3);
    equal(text(heard.said), text(["echo", "late", "other"]), "messages");
    equal(text(heard.own), text(["echo", "late"]), "its own");
    WebSocket.prototype.terminate.call(early);
    heard.client.close();
    await server.end("SIGKILL");
  },

  async "gets nothing twice, however often it joins"() {
    const server = await Server.start(0);
    const heard = listener(server.port);
    const room = heard.join("chat:a");
    heard.client.room("chat:a");
    const there = members(server, "chat:a");
    await until("the join", async () => (await there()) === 1);
    await server.publish("chat:a", 1, 2);
    await until("what is live", async () => (await there()) >= 0 && heard.said.length === 2);
    const back = await server.drop(heard);
    await until("the close", async () => (await there()) === 0);
    await server.publish("chat:a", 3);
    back();
    await until("what was missed", async () => (await there()) === 1 && heard.said.length >= 3);
    heard.client.room("chat:a");
    // Recovers without the client library: from the start, and twice.
    const { epoch } = room.position;
    const again = { event: "$join", room: "chat:a", data: { since: { epoch, offset: 0 } } };
    heard.sockets.at(-1).send(text(again));
    heard.sockets.at(-1).send(text(again));
    await until("the answers", async () => (await there()) >= 0 && heard.joins === 4);
    await server.publish("chat:a", 4, 5);
    await until("the last", async () => (await there()) >= 0 && heard.said.includes(5));
    equal(text(heard.said), text(numbers(1, 5)), "messages");
    equal(heard.lost.length, 0, "told of a loss");
    heard.client.close();
    await server.end("SIGKILL");
  },

  async "asks for what one join does not replay"() {
    const server = await Server.start(0);
    const heard = listener(server.port);
    heard.join("feed:a");
    const there = members(server, "feed:a");
    await until("the join", async () => (await there()) === 1);
    await server.publish("feed:a", 1);
    const back = await server.drop(heard);
    await until("the close", async () => (await there()) === 0);
    await server.publish("feed:a", ...numbers(2, 700));
    back();
    await until("what was missed", async () => (await there()) === 1 && heard.said.length >= 700);
    await server.publish("feed:a", 701);
    await until("what is live", async () => (await there()) === 1 && heard.said.length >= 701);
    equal(text(heard.said), text(numbers(1, 701)), "messages");
    equal(heard.lost.length, 0, "told of a loss");
    heard.client.close();
    await server.end("SIGKILL");
  },

  async "is told when more was missed than is kept"() {
    const server = await Server.start(0);
    const heard = listener(server.port);
    heard.join("chat:a");
    const there = members(server, "chat:a");
    await until("the join", async () => (await there()) === 1);
    await server.publish("chat:a", 1);
    const back = await server.drop(heard);
    await until("the close", async () => (await there()) === 0);
    await server.publish("chat:a", ...numbers(2, 12));
    back();
    await until("the answer", async () => (await there()) === 1 && heard.lost.length === 1);
    await server.publish("chat:a", 13);
    await until("what is live", async () => (await there()) === 1 && heard.said.length >= 2);
    equal(text(heard.said), text([1, 13]), "messages");
    heard.client.close();
    await server.end("SIGKILL");
  },

  async "survives kill -9 of a server with a store"() {
    const store = join(folder, "store");
    let server = await Server.start(0, "--store", store);
    const heard = listener(server.port);
    heard.join("chat:a");
    await until("the join", async () => (await members(server, "chat:a")()) === 1);
    await server.publish("chat:a", 1, 2);
    await server.end("SIGKILL");
    server = await Server.start(server.port, "--store", store);
    await server.publish("chat:a", 3);
    await until("what was missed", async () => (await members(server, "chat:a")()) === 1 && heard.said.length >= 3);
    equal(text(heard.said), text([1, 2, 3]), "messages");
    equal(heard.lost.length, 0, "told of a loss");
    heard.client.close();
    await server.end("SIGKILL");
  },

  async "is told after a restart without a store"() {
    let server = await Server.start(0);
    const heard = listener(server.port);
    heard.join("chat:a");
    await until("the join", async () => (await members(server, "chat:a")()) === 1);
    await server.publish("chat:a", 1);
    await server.end("SIGTERM");
    server = await Server.start(server.port);
    await until("the answer", async () => (await members(server, "chat:a")()) === 1 && heard.lost.length === 1);
    heard.client.close();
    await server.end("SIGKILL");
  },

  async "comes into many rooms, and is not held up by a full one"() {
    const server = await Server.start(0);
    const other = listener(server.port);
    other.join("full");
    await until("the first", async () => (await members(server, "full")()) === 1);
    const heard = listener(server.port);
    heard.join("full");
    for (const number of numbers(1, 127)) heard.join(`chat:${number}`);
    // Faster than the server's rate, so it is told to wait.
    const last = members(server, "chat:127");
    await until("the last", async () => (await last()) === 1);
    equal(await members(server, "full")(), 1, "members of the full room");
    other.client.close();
    heard.client.close();
    await server.end("SIGKILL");
  },

  async "fills a gap, when it read too slowly"() {
    const server = await Server.start(0, "--outbox-frames-max", "64");
    const heard = listener(server.port);
    heard.join("feed:a");
    await until("the join", async () => (await members(server, "feed:a")()) === 1);
    const [socket] = heard.sockets;
    socket.pause();
    const dropped = async () => {
      const { text } = await server.api.call("GET", "/metrics");
      return Number(text.match(/^roomcast_messages_dropped_total.* (\d+)$/m)?.[1]);
    };
    // What the kernel and the library hold must be full before anything is dropped.
    const long = "x".repeat(30_000);
    let count = 0;
    while (!((await dropped()) > 0)) {
      const batch = numbers(count + 1, count + 20);
      count += 20;
      await server.publish("feed:a", ...batch.map((number) => ({ number, long })));
    }
    socket.resume();
    await server.publish("feed:a", { number: (count += 1) });
    await until("all of it", async () => (await members(server, "feed:a")()) === 1 && heard.said.at(-1)?.number === count);
    equal(text(heard.said.map(({ number }) => number)), text(numbers(1, count)), "messages");
    if (heard.gaps === 0) throw new Error("there was no gap to fill");
    equal(heard.sockets.length, 1, "connections");
    heard.client.close();
    await server.end("SIGKILL");
  },
};

let failed = 0;
for (const [name, run] of Object.entries(cases)) {
  try {
    await run();
    console.log(`ok ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED ${name}: ${error.message}`);
  }
}
await rm(folder, { recursive: true });
process.exit(failed > 0 ? 1 : 0);
