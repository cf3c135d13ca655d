// The connection: attempts, backoff, closes, heartbeat, the page, the end.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Roomcast } from "roomcast";
import { NOTHING, outcome, World } from "./world.mjs";

test("an attempt that hangs ends after the timeout, and the next follows", async () => {
  const world = new World({ client: { token: () => new Promise(() => {}) } });
  await world.pass(14_999);
  assert.equal(world.client.state.name, "connecting");
  await world.pass(1);
  assert.equal(world.client.state.name, "waiting");
  await world.pass(1_000);
  assert.equal(world.client.state.name, "connecting");
  assert.equal(world.server.sockets.length, 0);
});

test("token and handshake have one deadline", async () => {
  const token = () => new Promise((done) => world.clock.set(() => done("ann"), 8_000));
  const world = new World({ latencyMs: 10_000, client: { connect: false, token } });
  world.client.connect();
  await world.pass(15_000);
  assert.equal(world.client.state.name, "waiting");
  assert.equal(world.open, 0);
});

test("delays are random below a bound that doubles to 30 s", async () => {
  const world = new World({ client: { random: () => 0.999 } });
  await world.pass();
  world.server.isUp = false;
  world.server.drop();
  const delays = [];
  for (let attempt = 0; attempt < 8; attempt += 1) {
    const { state } = world.client;
    assert.equal(state.name, "waiting");
    delays.push(Math.round((state.retryAt - world.clock.now()) / 1_000));
    await world.pass(state.retryAt - world.clock.now() + 2);
  }
  assert.deepEqual(delays, [1, 2, 4, 8, 16, 30, 30, 30]);
});

test("delays begin anew after 10 s of connection, and not before", async () => {
  const world = new World({ client: { random: () => 0.999 } });
  for (const [lasted, failures] of [[9_000, 1], [9_000, 2], [11_000, 1]]) {
    while (world.client.state.name !== "open") await world.pass(1);
    await world.pass(lasted);
    world.server.drop();
    assert.equal(world.client.state.attempt, failures);
  }
});

test("the delay of $bye is added", async () => {
  const world = new World({ client: { random: () => 0.5 } });
  await world.pass();
  world.server.drop({ code: 1001, reconnect: true, after_ms: 5_000 });
  await world.pass(2);
  const { state } = world.client;
  assert.equal(Math.round(state.retryAt - world.clock.now() - 5_000), 500 - 1);
});

for (const code of [1000, 1002, 1003, 1007, 1008, 1009, 4403, 4410]) {
  test(`close ${code} is final`, async () => {
    const world = new World();
    const { room } = world.join();
    const { joined } = room;
    await world.pass();
    world.server.sockets[0].end(code, "why");
    await world.pass(60_000);
    assert.deepEqual({ ...world.client.state, attempt: 0 }, { name: "closed", attempt: 0, close: { code, reason: "why" } });
    assert.equal(room.state, "idle");
    await joined;
    assert.deepEqual(world.left(), NOTHING);
    world.client.connect();
    await world.pass();
    assert.equal(room.state, "joined");
  });
}

for (const code of [1001, 1005, 1006, 1011, 1012, 1013, 4408, 4409, 4429]) {
  test(`close ${code} is followed by another connection`, async () => {
    const world = new World();
    await world.pass();
    world.server.sockets[0].end(code);
    await world.pass(2_000);
    assert.equal(world.client.state.name, "open");
    assert.equal(world.open, 1);
  });
}

test("$bye decides over the code", async () => {
  const world = new World();
  await world.pass();
  world.server.drop({ code: 1001, reconnect: false, after_ms: 0 });
  await world.pass();
  assert.equal(world.client.state.name, "closed");
});

test("nothing is written to a connection that is closing: the next one gets it", async () => {
  const world = new World();
  const { room, heard } = world.join();
  await world.pass();
  const [socket] = world.server.sockets;
  Object.defineProperty(socket, "readyState", { value: 2 });
  socket.send = () => assert.fail("written to a closing connection");
  const published = outcome(room.publish("said", "hi", { echo: true }));
  assert.equal(published.state, "pending");
  socket.cut(1001);
  await world.pass(2_000);
  assert.equal(published.state, "done");
  assert.deepEqual(heard.own, ["hi"]);
});

test("a clock gets back what it gave", async () => {
  const world = new World({ client: { connect: false } });
  const { clock } = world;
  const set = clock.set.bind(clock);
  const given = new Set();
  clock.set = (f, ms) => {
    const timer = set(f, ms);
    given.add(timer);
    return timer;
  };
  clock.clear = (timer) => assert.ok(given.has(timer));
  const client = world.another();
  await world.pass();
  client.close();
  assert.ok(given.size > 0);
});

test("the reason of a refusal is in the state", async () => {
  const world = new World({ latencyMs: 1 });
  const [socket] = world.server.sockets;
  socket.deliver('{"event":"$error","error":{"code":"forbidden","message":"not from here"}}');
  socket.end(4403);
  await world.pass();
  assert.equal(world.client.state.error.code, "forbidden");
});

test("silence is pinged, and a dead connection is abandoned, not awaited", async () => {
  const world = new World({ client: { random: () => 0.9 } });
  await world.pass(30_000);
  assert.equal(world.received("$ping").length, 1);
  assert.equal(world.client.state.name, "open");
  world.server.blackhole();
  await world.pass(24_010);
  assert.notEqual(world.client.state.name, "open");
  await world.pass(1_000);
  assert.equal(world.client.state.name, "open");
  assert.equal(world.open, 1);
});

test("a late timer means that the machine slept: it probes, and does not believe old deadlines", async () => {
  const world = new World({ client: { random: () => 0.9 } });
  await world.pass();
  world.clock.sleep(3_600_000);
  await world.pass(100);
  assert.equal(world.received("$ping").length, 1);
  assert.equal(world.client.state.name, "open");
  world.server.blackhole();
  world.clock.sleep(3_600_000);
  await world.pass(4_100);
  assert.notEqual(world.client.state.name, "open");
});

test("somebody who looks again does not wait out a backoff", async () => {
  const world = new World({ client: { random: () => 0.99 } });
  await world.pass();
  world.server.isUp = false;
  world.server.drop();
  await world.pass(40_000);
  world.server.isUp = true;
  assert.equal(world.client.state.name, "waiting");
  world.page.awake();
  assert.ok(world.client.state.retryAt - world.clock.now() <= 300);
  await world.pass(310);
  assert.equal(world.client.state.name, "open");
});

test("a look at an open page probes once, however many events come", async () => {
  const world = new World();
  await world.pass();
  for (let event = 0; event < 5; event += 1) world.page.awake();
  await world.pass();
  assert.equal(world.received("$ping").length, 1);
});

test("a page that is put aside has no connection, and dials when it is back", async () => {
  const world = new World();
  const { heard } = world.join();
  await world.pass();
  world.page.freeze();
  await world.pass(3_600_000);
  assert.equal(world.open, 0);
  assert.equal(world.server.sockets.length, 1);
  world.server.publish("lobby", "said", "meanwhile");
  world.page.awake();
  await world.pass(310);
  assert.deepEqual(heard.said, ["meanwhile"]);
});

test("a drain is waited for, also by somebody who looks", async () => {
  const world = new World();
  await world.pass();
  world.server.drop({ code: 1001, reconnect: true, after_ms: 5_000 });
  await world.pass(10);
  world.page.awake();
  await world.pass(4_000);
  assert.equal(world.client.state.name, "waiting");
});

test("close leaves nothing behind, in any state", async () => {
  for (const ms of [0, 1, 2, 50]) {
    for (const fault of [() => {}, (world) => world.server.drop(), (world) => world.server.blackhole(), (world) => (world.server.isUp = false)]) {
      const signal = new AbortController();
      const world = new World({ client: { token: () => "ann" } });
      fault(world);
      world.join("lobby", { presence: true, signal: signal.signal });
      const publish = outcome(world.client.room("lobby").publish("said", 1, { signal: signal.signal }));
      await world.pass(ms);
      fault(world);
      world.client.close();
      world.client.close();
      await world.pass(5);
      assert.deepEqual(world.left(), NOTHING);
      assert.match(publish.state, /closed|done/);
      assert.equal(world.client.state.name, "closed");
      assert.equal(world.client.rooms.size, 0);
      const { length } = world.server.sockets;
      await world.pass(60_000);
      assert.equal(world.server.sockets.length, length);
    }
  }
});

test("without a WebSocket the client says so", async () => {
  const { WebSocket } = globalThis;
  delete globalThis.WebSocket;
  const client = new Roomcast("ws://test");
  if (WebSocket) globalThis.WebSocket = WebSocket;
  await null;
  assert.equal(client.state.error.code, "no_websocket");
});

test("addresses", () => {
  const dialled = (url) => {
    let address;
    const WebSocket = class {
      constructor(url) {
        address = url;
      }
      close() {}
    };
    new Roomcast(url, { WebSocket, page: null }).close();
    return address;
  };
  assert.equal(dialled("https://example.com"), "wss://example.com/ws?refuse=close");
  assert.equal(dialled("http://example.com:3000/ws/games?a=b#c"), "ws://example.com:3000/ws/games?a=b&refuse=close");
  assert.equal(dialled("wss://example.com/ws"), "wss://example.com/ws?refuse=close");
  assert.throws(() => new Roomcast("nowhere"), TypeError);
});

test("a listener that throws holds up nobody", async (t) => {
  const world = new World();
  const { room, heard } = world.join();
  const thrown = [];
  // An uncaught exception would end the test runner.
  const { queueMicrotask } = globalThis;
  t.after(() => (globalThis.queueMicrotask = queueMicrotask));
  globalThis.queueMicrotask = (f) => {
    try {
      f();
    } catch (error) {
      thrown.push(error.message);
    }
  };
  room.on("said", () => {
    throw new Error("of a listener");
  });
  const { heard: second } = world.join();
  await world.pass();
  world.server.publish("lobby", "said", 1);
  world.server.publish("lobby", "said", 2);
  await world.pass();
  assert.deepEqual([heard.said, second.said, thrown.length], [[1, 2], [1, 2], 2]);
});
