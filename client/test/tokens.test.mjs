// Tokens: one way in for every connection, renewal, refusal, races.

import assert from "node:assert/strict";
import { test } from "node:test";
import { NOTHING, outcome, World } from "./world.mjs";

const EXPIRING = { event: "$expiring", data: { expires_in_ms: 60_000 } };

/** A world whose tokens are numbered, of one user. */
const numbered = ({ bad = new Set(), ...options } = {}) => {
  const asked = [];
  const world = new World({
    user: (token) => (bad.has(token) ? null : token.split(" ")[0]),
    ...options,
    client: { token: (why) => `ann ${asked.push(why)}`, ...options.client },
  });
  return Object.assign(world, { asked, bad });
};

test("every connection has a new token", async () => {
  const world = numbered();
  await world.pass();
  world.server.drop();
  await world.pass(2_000);
  world.clock.sleep(3_600_000);
  world.server.drop();
  await world.pass(5_000);
  assert.deepEqual(world.asked, ["connect", "connect", "connect"]);
  assert.equal(world.client.state.user, "ann");
});

test("a refused token is told to the function", async () => {
  const world = numbered({ bad: new Set(["ann 1", "ann 2"]) });
  await world.pass(5_000);
  assert.deepEqual(world.asked, ["connect", "refused", "refused"]);
  assert.equal(world.client.state.name, "open");
  world.server.drop();
  await world.pass(5_000);
  assert.equal(world.asked.at(-1), "connect");
});

test("a refused text is final: there is no other", async () => {
  const world = new World({ user: () => null, client: { token: "ann" } });
  await world.pass(60_000);
  assert.equal(world.client.state.name, "closed");
  assert.equal(world.client.state.close.code, 4401);
  assert.equal(world.server.sockets.length, 1);
});

test("a token is renewed on the open connection, and the rooms stay", async () => {
  const world = numbered();
  const { heard } = world.join();
  await world.pass();
  world.server.push(EXPIRING);
  await world.pass();
  assert.deepEqual(world.asked, ["connect", "expiring"]);
  assert.deepEqual(world.received("$auth").map(({ data }) => data), [{ token: "ann 2" }]);
  assert.deepEqual(heard.states, ["joined"]);
  assert.equal(world.server.sockets.length, 1);
});

test("one call at a time, however often the server warns", async () => {
  let give;
  const world = new World({ client: { token: (why) => (why === "connect" ? "ann" : new Promise((done) => (give = done))) } });
  await world.pass();
  for (let time = 0; time < 3; time += 1) {
    world.server.push(EXPIRING);
    await world.pass();
  }
  give("ann");
  await world.pass();
  assert.equal(world.received("$auth").length, 1);
});

test("a bad renewal is asked for again", async () => {
  const world = numbered({ bad: new Set(["ann 2"]) });
  await world.pass();
  world.server.push(EXPIRING);
  await world.pass(6_000);
  assert.deepEqual(world.asked, ["connect", "expiring", "refused"]);
  assert.deepEqual(world.errors, ["unauthorized"]);
  assert.equal(world.server.sockets.length, 1);
});

test("a token of another user makes another connection", async () => {
  const users = ["ann 1", "bob 1", "bob 2"];
  const world = numbered({ client: { token: () => users.shift() } });
  await world.pass();
  world.server.push(EXPIRING);
  await world.pass(2_000);
  assert.equal(world.client.state.user, "bob");
  assert.equal(world.open, 1);
});

test("the token of an attempt that has ended is dropped", async () => {
  const gives = [];
  const signals = [];
  const world = new World({ client: { token: (_, signal) => new Promise((done) => gives.push(done) && signals.push(signal)) } });
  await world.pass(17_000);
  assert.equal(gives.length, 2);
  assert.deepEqual(signals.map(({ aborted }) => aborted), [true, false]);
  gives[0]("late");
  await world.pass();
  assert.equal(world.server.sockets.length, 0);
  gives[1]("ann");
  await world.pass();
  assert.equal(world.client.state.user, "ann");
});

test("a function that throws is asked again, with a backoff", async () => {
  let calls = 0;
  const world = new World({
    client: {
      token: async () => {
        if (++calls < 3) throw new Error("offline");
        return "ann";
      },
    },
  });
  await world.pass(5_000);
  assert.deepEqual(world.errors, ["token_failed", "token_failed"]);
  assert.equal(world.client.state.name, "open");
});

test("null connects without a token", async () => {
  const world = new World({ client: { token: () => null } });
  await world.pass();
  assert.equal(world.client.state.user, "");
});

test("a request that comes after the end of a token waits for the next one", async () => {
  const world = numbered();
  await world.pass();
  world.server.expired = true;
  const { room } = world.join();
  await world.pass();
  const [socket] = world.server.sockets;
  // The server answers as one whose token has ended does.
  const { peer } = socket;
  let isOver = true;
  socket.peer = {
    ended: () => peer.ended(),
    receive(text) {
      const { event, id, room } = JSON.parse(text);
      if (event === "$auth") isOver = false;
      if (isOver) socket.deliver(JSON.stringify({ event, id, room, error: { code: "expired", message: "" } }));
      else peer.receive(text);
    },
  };
  const published = [outcome(room.publish("said", 1)), outcome(room.publish("said", 2))];
  await world.pass();
  assert.deepEqual(published.map(({ value }) => value?.offset), [1, 2]);
  assert.deepEqual(world.asked, ["connect", "expiring"]);
});

test("close ends a call for a token", async () => {
  let signal;
  const world = new World({ client: { token: (_, given) => new Promise(() => (signal = given)) } });
  await world.pass();
  world.client.close();
  assert.equal(signal.aborted, true);
  assert.deepEqual(world.left(), NOTHING);
});
