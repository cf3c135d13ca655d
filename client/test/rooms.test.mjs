// Rooms: joins, references, refusals, recovery, presence, streams.

import assert from "node:assert/strict";
import { test } from "node:test";
import { outcome, World } from "./world.mjs";

const numbers = (from, to) => Array.from({ length: to - from + 1 }, (_, at) => from + at);

test("a room is joined once, however often it is taken", async () => {
  const world = new World();
  const { room } = world.join();
  assert.equal(world.client.room("lobby"), room);
  await world.pass();
  assert.equal(world.client.room("lobby"), room);
  await world.pass();
  assert.equal(world.received("$join").length, 1);
  await room.leave();
  await room.leave();
  await world.pass();
  assert.equal(room.state, "joined");
  const last = room.leave();
  await world.pass();
  await last;
  assert.equal(room.state, "left");
  assert.equal(world.received("$leave").length, 1);
  assert.equal(world.client.rooms.size, 0);
});

test("a room that is left and taken at once stays joined", async () => {
  const world = new World();
  const { room } = world.join();
  await world.pass();
  room.leave();
  world.client.room("lobby");
  await world.pass();
  assert.equal(world.received("$leave").length, 0);
  assert.equal(room.state, "joined");
});

test("a room that was left is another one afterwards", async () => {
  const world = new World();
  const { room, heard } = world.join();
  await world.pass();
  room.leave();
  await Promise.resolve();
  await Promise.resolve();
  const { room: next, heard: after } = world.join();
  assert.notEqual(next, room);
  world.server.publish("lobby", "said", "between");
  await world.pass();
  world.server.publish("lobby", "said", "then");
  await world.pass();
  assert.deepEqual([heard.said, after.said.at(-1)], [[], "then"]);
});

test("one join is in flight at a time", async () => {
  const world = new World({ latencyMs: 10 });
  for (const number of numbers(1, 5)) world.join(`room ${number}`);
  await world.pass(45);
  assert.equal(world.received("$join").length, 1);
  await world.pass(200);
  assert.equal(world.received("$join").length, 5);
});

test("a refused join is visible, and can be tried again", async () => {
  let code = "forbidden";
  const world = new World({ refuse: () => code });
  const { room } = world.join();
  const joined = outcome(room.joined);
  await world.pass();
  assert.deepEqual([room.state, room.error.code, joined.state], ["refused", "forbidden", "forbidden"]);
  const other = world.join("other");
  await world.pass();
  assert.equal(other.room.state, "refused");
  code = undefined;
  room.retry();
  await world.pass();
  assert.equal(room.state, "joined");
  assert.equal(room.error, undefined);
  await room.joined;
});

test("a temporary refusal is tried again by itself", async () => {
  let code = "overloaded";
  const world = new World({ refuse: () => code });
  const { room } = world.join();
  await world.pass();
  assert.equal(room.state, "joining");
  code = undefined;
  await world.pass(2_100);
  assert.equal(room.state, "joined");
});

test("a room that the server takes away is refused", async () => {
  const world = new World();
  const { room } = world.join();
  await world.pass();
  world.server.push({ event: "$leave", room: "lobby", error: { code: "forbidden", message: "no longer" } });
  await world.pass();
  assert.deepEqual([room.state, room.error.code], ["refused", "forbidden"]);
});

test("what was missed arrives once and in order", async () => {
  const world = new World();
  const { heard } = world.join();
  await world.pass();
  world.server.publish("lobby", "said", 1);
  await world.pass();
  world.server.drop();
  for (const number of numbers(2, 50)) world.server.publish("lobby", "said", number);
  await world.pass(2_000);
  world.server.publish("lobby", "said", 51);
  await world.pass();
  assert.deepEqual(heard.said, numbers(1, 51));
  assert.deepEqual([heard.recovered, heard.lost], [[49], 0]);
});

test("a connection that breaks during a replay loses nothing", async () => {
  for (const ms of numbers(1, 12)) {
    const world = new World({ seed: ms });
    const { heard } = world.join();
    await world.pass();
    world.server.drop();
    for (const number of numbers(1, 50)) world.server.publish("lobby", "said", number);
    while (world.client.state.name !== "connecting") await world.pass(1);
    await world.pass(ms);
    world.server.drop();
    await world.pass(4_000);
    assert.deepEqual(heard.said, numbers(1, 50), `after ${ms} ms`);
  }
});

test("the history fills what one join does not replay", async () => {
  const world = new World({ history: 1_000, replay: 10 });
  const { room, heard } = world.join();
  await world.pass();
  world.server.publish("lobby", "said", 1);
  await world.pass();
  world.server.drop();
  for (const number of numbers(2, 350)) world.server.publish("lobby", "said", number);
  while (room.state !== "filling") await world.pass(1);
  while (room.state === "filling") {
    world.server.publish("lobby", "said", 351);
    await world.pass(1);
  }
  await world.pass();
  assert.deepEqual(heard.said.slice(0, 350), numbers(1, 350));
  assert.equal(new Set(heard.said.slice(350)).size, 1);
  assert.equal(heard.lost, 0);
  assert.equal(heard.said.length, room.position.offset);
});

test("a loss is told: without a history, past its end, after a restart", async () => {
  for (const [options, act] of [
    [{ history: 0 }, () => {}],
    [{ history: 10 }, (world) => numbers(1, 20).forEach((number) => world.server.publish("lobby", "said", number))],
    [{}, (world) => world.server.forget()],
  ]) {
    const world = new World(options);
    const { heard } = world.join();
    await world.pass();
    world.server.drop();
    act(world);
    await world.pass(2_000);
    assert.equal(heard.lost, 1);
    world.server.publish("lobby", "said", "after");
    await world.pass();
    assert.deepEqual(heard.said, ["after"]);
  }
});

test("$gap is filled from the history", async () => {
  const world = new World();
  const { heard } = world.join();
  await world.pass();
  const [socket] = world.server.sockets;
  world.server.publish("lobby", "said", 1);
  await world.pass();
  socket.isPassing = false;
  for (const number of [2, 3, 4]) world.server.publish("lobby", "said", number);
  socket.isPassing = true;
  world.server.push({ event: "$gap", room: "lobby", data: { after: 1 } });
  world.server.publish("lobby", "said", 5);
  await world.pass();
  assert.deepEqual(heard.said, [1, 2, 3, 4, 5]);
  assert.deepEqual(heard.recovered, [4]);
});

test("$gap reaches back behind the answer to an own publish", async () => {
  const world = new World();
  const { room, heard } = world.join();
  await world.pass();
  const [socket] = world.server.sockets;
  socket.isPassing = false;
  world.server.publish("lobby", "said", "dropped");
  socket.isPassing = true;
  await Promise.all([room.publish("said", "own"), world.pass()]);
  assert.equal(room.position.offset, 2);
  world.server.push({ event: "$gap", room: "lobby", data: { after: 0 } });
  await world.pass();
  assert.deepEqual(heard.said, ["dropped"]);
});

test("a message that was seen is dropped", async () => {
  const world = new World();
  const { heard } = world.join();
  await world.pass();
  for (const offset of [1, 2, 1, 2, 3]) world.server.push({ event: "said", room: "lobby", offset, data: offset });
  await world.pass();
  assert.deepEqual(heard.said, [1, 2, 3]);
});

test("$gap without a room is a loss of the client", async () => {
  const world = new World();
  const { room, heard } = world.join();
  let lost = 0;
  world.client.onLost(() => (lost += 1));
  await world.pass();
  world.server.push({ event: "$gap", data: { after: 0 } });
  await world.pass();
  assert.deepEqual([lost, heard.lost, room.state, world.errors], [1, 0, "joined", []]);
});

test("$gap without a history is a loss", async () => {
  const world = new World({ history: 0 });
  const { heard } = world.join();
  await world.pass();
  world.server.push({ event: "$gap", room: "lobby", data: { after: 0 } });
  await world.pass();
  assert.equal(heard.lost, 1);
});

test("a position survives a reload", async () => {
  const world = new World();
  const { room } = world.join();
  await world.pass();
  world.server.publish("lobby", "said", 1);
  await world.pass();
  const from = JSON.parse(JSON.stringify(room.position));
  world.client.close();
  world.server.publish("lobby", "said", 2);
  const { heard } = world.join("lobby", { from }, world.another());
  await world.pass();
  assert.deepEqual(heard.said, [2]);
});

test("own messages are known, also those of an earlier connection", async () => {
  const world = new World();
  const { room, heard } = world.join();
  await world.pass();
  await Promise.all([room.publish("said", 1, { echo: true }), world.pass()]);
  world.server.drop();
  await world.pass(2_000);
  assert.deepEqual([heard.said, heard.own], [[], [1]]);
});

test("members come and go, across reconnects without a flicker", async () => {
  const world = new World({ client: { token: "ann" } });
  const { room, heard } = world.join("lobby", { presence: true });
  await world.pass();
  assert.deepEqual(heard.members, [["ann"]]);
  const bob = world.another({ token: "bob" });
  bob.room("lobby", { meta: { name: "Bob" } });
  await world.pass();
  assert.deepEqual(room.members.at(-1), { user: "bob", meta: { name: "Bob" } });
  const before = room.members;
  world.server.sockets[0].cut();
  assert.equal(room.members, before);
  await world.pass(2_000);
  assert.deepEqual(heard.members.at(-1), ["ann", "bob"]);
  bob.close();
  await world.pass();
  assert.deepEqual(heard.members.at(-1), ["ann"]);
  world.server.push({ event: "$members", room: "lobby", data: { users: 1_001, conns: 1_040, listed: false } });
  await world.pass();
  assert.equal(room.members, null);
  assert.deepEqual(room.counts, { users: 1_001, conns: 1_040 });
  world.server.push({ event: "$members", room: "lobby", data: { users: 1_000, conns: 1_040, listed: true } });
  await world.pass();
  assert.deepEqual(heard.members.at(-1), ["ann"]);
});

test("presence can be asked for later", async () => {
  const world = new World({ client: { token: "ann" } });
  const { room } = world.join();
  await world.pass();
  assert.equal(room.members, null);
  world.client.room("lobby", { presence: true });
  await world.pass();
  assert.equal(room.members.length, 1);
});

test("an aborted signal leaves the room", async () => {
  const world = new World();
  const signal = new AbortController();
  const { room } = world.join("lobby", { signal: signal.signal });
  await world.pass();
  signal.abort();
  await world.pass();
  assert.equal(room.state, "left");
});

test("a loop over a room gets its messages, and ends with it", async () => {
  const world = new World();
  const { room } = world.join();
  const got = [];
  const loop = (async () => {
    for await (const { data } of room) got.push(data);
  })();
  await world.pass();
  for (const number of [1, 2, 3]) world.server.publish("lobby", "said", number);
  await world.pass();
  room.leave();
  await world.pass();
  await loop;
  assert.deepEqual(got, [1, 2, 3]);
});

test("a loop that falls behind is told", async () => {
  const world = new World();
  const { room } = world.join();
  await world.pass();
  const messages = room.messages({ queue: 3 });
  const first = messages.next();
  for (const number of numbers(1, 10)) world.server.publish("lobby", "said", number);
  await world.pass();
  assert.equal((await first).value.data, 1);
  const rest = [];
  await assert.rejects(async () => {
    for await (const { data } of messages) rest.push(data);
  }, { code: "slow_reader" });
  assert.ok(rest.length <= 3);
});

test("the history can be read in both directions", async () => {
  const world = new World({ history: 500 });
  const { room } = world.join();
  await world.pass();
  for (const number of numbers(1, 250)) world.server.publish("lobby", "said", number);
  const read = async (options) => {
    const got = [];
    const loop = (async () => {
      for await (const { data } of room.history(options)) got.push(data);
    })();
    await world.pass();
    await loop;
    return got;
  };
  assert.deepEqual(await read({ after: 0 }), numbers(1, 250));
  assert.deepEqual(await read({}), numbers(1, 250).reverse());
  assert.deepEqual(await read({ before: 240, limit: 120 }), numbers(120, 239).reverse());
  assert.deepEqual(await read({ after: 10, before: 14 }), [11, 12, 13]);
});

test("names of the protocol are no events", async () => {
  const world = new World();
  const { room } = world.join();
  await assert.rejects(room.publish("$join", 1), TypeError);
  assert.throws(() => room.send("$ping"), TypeError);
  assert.throws(() => room.on("$gap", () => {}), TypeError);
  await assert.rejects(world.client.call("$auth", {}), TypeError);
});
