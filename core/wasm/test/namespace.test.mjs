// The class that applications use, in each entry that Node can load.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { Namespace, RoomcastError, init, slot } from "roomcast-wasm";
import * as inline from "roomcast-wasm/inline";
import * as slim from "roomcast-wasm/slim";
import { World } from "roomcast-wasm/testing";

import { Namespace as Exported } from "../dist/roomcast.js";

const refused = (act) => {
  try {
    act();
  } catch (fault) {
    assert(fault instanceof RoomcastError, fault);
    return `${fault.code}: ${fault.message}`;
  }
  assert.fail("nothing was thrown");
};

test("a namespace needs the module, and says so", async () => {
  assert.match(refused(() => new Namespace({ send() {}, close() {} })), /^not_started: call init\(\)/);
  await slim.init(readFile(new URL("../dist/roomcast.wasm", import.meta.url)));
  await Promise.all([init(), init(), inline.init()]);
  assert.match(refused(() => new Namespace({ send() {} })), /^bad_request: options.close must be a function/);
  assert.match(refused(() => new Namespace({ send() {}, close() {}, settings: { heartbeat_ms: 0 } })), /settings.heartbeat_ms must be/);
  assert.match(refused(() => new Namespace({ send() {}, close() {}, policies: { room: [] } })), /unknown field `room`/);
});

test("members get what is published, once", async () => {
  const world = await World.start();
  const [ann, bob] = [world.connect({ user: "ann" }), world.connect()];
  for (const client of [ann, bob]) client.send({ event: "$join", room: "lobby" });
  [ann, bob].forEach((client) => client.take());
  ann.send(new TextEncoder().encode(""));
  assert.equal(ann.closed.code, 1003);
  bob.send({ event: "said", room: "lobby", data: "é".repeat(30_000), echo: true });
  const [said] = bob.take();
  assert.equal(said.data.length, 30_000);
  const published = world.namespace.publish({ rooms: ["lobby"], except_conns: [ann.conn] }, "news", [1, "two"]);
  assert.deepEqual(published, { matched: 1, queued: 1, dropped: 0 });
  assert.deepEqual(bob.take(), [{ event: "news", room: "lobby", data: [1, "two"] }]);
  assert.equal(world.namespace.leave(bob.conn, "lobby"), true);
  bob.disconnect();
  assert.match(refused(() => bob.send("{}")), /^not_found: no connection/);
});

test("an error has the limit that was passed", async () => {
  const world = await World.start();
  const ann = world.connect();
  assert.throws(() => world.namespace.join(ann.conn, "x".repeat(201)), { code: "bad_room", status: 400, details: { limit: 200 } });
  assert.throws(() => world.namespace.join(9, "lobby"), { code: "not_found", status: 404, details: undefined });
});

test("presence, history and heartbeat follow the clock of the world", async () => {
  const rooms = [{ match: "*", presence: "members", history: { messages: 2 } }];
  const world = await World.start({ policies: { rooms }, answersPings: false });
  const ann = world.connect({ user: "ann" });
  ann.send({ event: "$join", room: "lobby" });
  for (const data of [1, 2, 3]) ann.send({ event: "said", room: "lobby", data, echo: true });
  ann.take();
  ann.send({ event: "$history", room: "lobby", id: 1 });
  assert.deepEqual(ann.take()[0].data.messages.map(({ data }) => data), [2, 3]);
  world.advance(34_999);
  assert.equal(ann.closed, undefined);
  world.advance(1);
  assert.deepEqual(ann.closed, { code: 4408, reason: "no heartbeat" });
  const bob = world.connect({ user: "bob" });
  bob.send({ event: "$members", room: "lobby", id: 1 });
});

test("a timer that fires early, or at a clock that was set back, is set again", async () => {
  await init();
  const asked = [];
  let now = 1_000;
  const closed = [];
  const namespace = new Namespace({ clock: () => now, send() {}, close: (conn, code) => closed.push(code), wake: (at) => asked.push(at) });
  namespace.connect();
  const [at] = asked;
  assert.deepEqual(asked.splice(0), [at]);
  for (now of [at - 1, 500]) {
    namespace.timeout();
    assert.deepEqual(asked.splice(0), [at]);
  }
  now = at + 60_000;
  namespace.timeout();
  now += 60_000;
  namespace.timeout();
  assert.deepEqual([closed, asked.at(-1)], [[4408], undefined]);
});

test("a timer is asked for within the longest delay of setTimeout, and again when the host failed", async () => {
  await init();
  const asked = [];
  const month = 30 * 86_400_000;
  let now = 1_000;
  let fails = true;
  const wake = (at) => {
    asked.push(at);
    if (fails) throw new Error("a host that fails");
  };
  const closed = [];
  const close = (conn, code) => closed.push(code);
  const settings = { heartbeat_ms: "off" };
  const namespace = new Namespace({ clock: () => now, settings, send() {}, close, wake });
  assert.throws(() => namespace.connect({ user: "ann", until_ms: now + month }), /a host that fails/);
  fails = false;
  namespace.connect();
  assert.deepEqual(asked.splice(0), [1_000 + 2 ** 31 - 1, 1_000 + 2 ** 31 - 1]);
  while (closed.length === 0) {
    namespace.timeout();
    const at = asked.pop();
    if (at === undefined) break;
    assert(at > now && at - now < 2 ** 31, `${now}: ${at}`);
    now = at;
  }
  assert.deepEqual(closed, [4401]);
});

test("an input from within a command is refused, and the other commands are carried out", async () => {
  await init();
  const got = [];
  const faults = [];
  const namespace = new Namespace({
    send(to) {
      got.push(...to);
      faults.push(refused(() => namespace.close(to[0])));
      throw new Error("a socket that fails");
    },
    close: (conn) => got.push(`closed ${slot(conn)}`),
  });
  const conn = namespace.connect();
  assert.throws(() => namespace.close(conn, 4410, "bye"), /a socket that fails/);
  assert.deepEqual(got, [conn, "closed 0"]);
  assert.match(faults[0], /^in_callback: .* queueMicrotask/);
});

test("memory that another namespace lets grow is seen", async () => {
  const [world, other] = [await World.start(), await World.start()];
  const [ann] = [world.connect(), other.connect()];
  const ping = new TextEncoder().encode('{"event":"$ping"}');
  for (let bytes = 1 << 20; bytes <= 1 << 23; bytes *= 2) {
    other.namespace.publish({ all: true }, "big", "x".repeat(bytes));
    world.namespace.receive(ann.conn, ping, false);
    assert.deepEqual(ann.take(), [{ event: "$pong" }]);
  }
});

test("the HTTP API and questions are answered", async () => {
  const { namespace } = await World.start();
  namespace.connect({ user: "ann", rooms: ["lobby"] });
  const api = (method, target, body) => namespace.api({ method, target: `/api/v1/default/${target}`, body });
  assert.equal(api("GET", "rooms").status, 200);
  assert.equal(JSON.parse(api("GET", "rooms").body).rooms[0].room, "lobby");
  assert.equal(api("PATCH", "rooms").headers.allow, "GET, HEAD, OPTIONS");
  const sent = api("POST", "send", JSON.stringify({ audience: { all: true }, event: "e" }));
  assert.equal(JSON.parse(sent.body).queued, 1);
  assert.equal(namespace.ask("counts").counts.connections, 1);
  assert.match(refused(() => namespace.ask({ what: 1 })), /^bad_request: unknown variant `what`/);
});

test("a trap ends all namespaces of the instance, and says so; the next one lives", async () => {
  const [world, other] = [await World.start(), await World.start()];
  const conn = world.connect().conn;
  const { noteActivity } = Exported.prototype;
  Exported.prototype.noteActivity = () => {
    throw new WebAssembly.RuntimeError("unreachable");
  };
  assert.match(refused(() => world.namespace.noteActivity(conn)), /^dead: this namespace is dead/);
  Exported.prototype.noteActivity = noteActivity;
  assert.match(refused(() => world.namespace.noteActivity(conn)), /^dead: this namespace is dead/);
  assert.match(refused(() => other.connect()), /^dead/);
  const next = await World.start();
  assert.equal(next.connect().closed, undefined);
});
