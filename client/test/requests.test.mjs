// Requests: what waits, what is sent again, what fails, and how.

import assert from "node:assert/strict";
import { test } from "node:test";
import { outcome, World } from "./world.mjs";

test("a publish waits for the connection and for the join, and keeps its order", async () => {
  const world = new World();
  const { room, heard } = world.join();
  const { heard: other } = world.join("lobby", {}, world.another());
  const published = [1, 2, 3].map((number) => outcome(room.publish("said", number)));
  await world.pass();
  assert.deepEqual(published.map(({ state }) => state), ["done", "done", "done"]);
  assert.deepEqual([heard.said, other.said.slice(-3)], [[], [1, 2, 3]]);
});

test("a publish whose answer is lost is sent again under its key, and delivered once", async () => {
  const world = new World({ latencyMs: 10, client: { token: "ann" } });
  const { room } = world.join();
  const { heard } = world.join("lobby", {}, world.another());
  await world.pass();
  const published = outcome(room.publish("said", 1));
  await world.pass(15);
  world.server.sockets[0].cut();
  await world.pass(2_000);
  assert.equal(published.state, "done");
  assert.deepEqual(heard.said, [1]);
  const [first, second] = world.received("said");
  assert.equal(first.key, second.key);
  assert.deepEqual([first.conn, second.conn], [undefined, ["1"]]);
});

test("a call whose answer is lost fails, and says that it was sent", async () => {
  const world = new World({ latencyMs: 10, call: (_, data) => data + 1 });
  const answered = outcome(world.client.call("add", 1));
  await world.pass();
  assert.equal(answered.value, 2);
  const called = outcome(world.client.call("add", 1));
  await world.pass(15);
  world.server.drop();
  await world.pass(2_000);
  assert.deepEqual([called.state, called.sent], ["closed", true]);
  assert.equal(world.received("add").length, 2);
});

test("a read whose answer is lost is sent again", async () => {
  const world = new World({ latencyMs: 10 });
  const { room } = world.join();
  await world.pass();
  world.server.publish("lobby", "said", 1);
  const read = outcome(room.history().next());
  await world.pass(15);
  world.server.drop();
  await world.pass(2_000);
  assert.equal(read.value.value.data, 1);
});

test("an error of the server has its code and details", async () => {
  const world = new World();
  const called = outcome(world.client.call("nothing", 1));
  await world.pass();
  assert.deepEqual([called.state, called.sent], ["unknown_event", true]);
});

test("what cannot be sent in time fails, and was not sent", async () => {
  const world = new World({ client: { buffer: { messages: 2 } } });
  world.server.isUp = false;
  const { room } = world.join();
  const published = [1, 2, 3].map((number) => outcome(room.publish("said", number)));
  await world.pass(0);
  assert.equal(published[2].state, "buffer_full");
  await world.pass(16_000);
  assert.deepEqual(published.map(({ state, sent }) => `${state} ${sent}`), ["timeout false", "timeout false", "buffer_full false"]);
  world.server.isUp = true;
  await world.pass(60_000);
  assert.equal(world.received("said").length, 0);
});

test("the bytes that wait are limited, and so is a message", async () => {
  const world = new World({ client: { buffer: { bytes: 200 } } });
  const { room } = world.join();
  const kept = outcome(room.publish("said", "x".repeat(80)));
  const full = outcome(room.publish("said", "é".repeat(20)));
  await world.pass();
  assert.deepEqual([kept.state, full.state], ["done", "buffer_full"]);
  const large = outcome(room.publish("said", "x".repeat(70_000)));
  await world.pass();
  assert.equal(large.state, "too_large");
  assert.equal(world.server.sockets.length, 1);
});

test("without a buffer a request is sent now or not at all", async () => {
  const world = new World();
  const { room } = world.join();
  const early = outcome(room.publish("said", 1, { buffer: false }));
  assert.equal(room.send("said", "early"), false);
  await world.pass();
  const now = outcome(room.publish("said", 2, { buffer: false }));
  assert.equal(room.send("said", "now"), true);
  await world.pass();
  assert.deepEqual([early.state, early.sent, now.state], ["closed", false, "done"]);
  assert.equal(world.received("said").length, 2);
});

test("a signal and a timeout of its own end a request", async () => {
  const world = new World({ latencyMs: 1_000 });
  const { room } = world.join();
  await world.pass(5_000);
  const signal = new AbortController();
  const aborted = outcome(room.publish("said", 1, { signal: signal.signal }));
  const late = outcome(room.publish("said", 2, { timeout: 500 }));
  const before = outcome(room.publish("said", 3, { signal: AbortSignal.abort() }));
  await world.pass(500);
  signal.abort();
  await world.pass(0);
  assert.deepEqual([aborted.state, aborted.sent, late.state, late.sent, before.state], ["aborted", true, "timeout", true, "aborted"]);
});

test("data is what it was when it was published", async () => {
  const world = new World();
  const { heard } = world.join("lobby", {}, world.another());
  await world.pass();
  const { room } = world.join();
  const data = { text: "first" };
  room.publish("said", data);
  data.text = "second";
  await world.pass();
  assert.deepEqual(heard.said, [{ text: "first" }]);
});

test("a client keeps to the server's rate", async () => {
  const world = new World();
  const [socket] = world.server.sockets;
  const deliver = socket.deliver.bind(socket);
  const limits = { inbound_messages_per_s: 50, inbound_burst_messages: 100 };
  socket.deliver = (text) => deliver(text.replace(/"limits":\{[^}]*\}/, `"limits":${JSON.stringify(limits)}`));
  const { room } = world.join();
  const published = Array.from({ length: 95 }, (_, number) => outcome(room.publish("said", number)));
  await world.pass(50);
  const { length } = world.received("said");
  assert.ok(length > 80 && length < 95, `${length} at once`);
  await world.pass(1_000);
  assert.ok(published.every(({ state }) => state === "done"));
});
