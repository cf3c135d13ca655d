// Random stories: whatever happens to a connection, what was acknowledged is received once and in order.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { NOTHING, outcome, World } from "./world.mjs";

const ms = fc.integer({ min: 0, max: 3_000 });
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant("publish"), echo: fc.boolean() }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("pass"), ms }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom("other", "cut", "blackhole", "awake", "freeze", "expiring", "drain", "down", "up", "leave") }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("sleep"), ms: fc.integer({ min: 0, max: 100_000 }) }) },
);

const acts = {
  pass: (world, { ms }) => world.pass(ms),
  sleep: (world, { ms }) => world.clock.sleep(ms),
  other: (world) => world.server.publish("lobby", "said", `other ${(world.others += 1)}`),
  cut: (world) => world.server.sockets.at(-1)?.cut(),
  blackhole: (world) => (world.server.sockets.at(-1).isPassing = false),
  awake: (world) => world.page.awake(),
  freeze: (world) => world.page.freeze(),
  expiring: (world) => world.server.push({ event: "$expiring", data: { expires_in_ms: 60_000 } }),
  drain: (world) => world.server.drop({ code: 1001, reconnect: true, after_ms: 500 }),
  down: (world) => (world.server.isUp = false),
  up: (world) => (world.server.isUp = true),
  // As StrictMode does.
  leave(world) {
    world.room.leave();
    world.client.room("lobby");
  },
  publish(world, { echo }) {
    const text = `own ${world.published.length}`;
    world.published.push({ text, echo, ...{ seen: outcome(world.room.publish("said", text, { echo, timeout: 60_000 })) } });
  },
};

/** Reads the history of the room on a line without faults. */
async function kept(world) {
  const { room } = world.join("lobby", {}, world.another());
  await world.pass(10_000);
  const texts = [];
  const loop = (async () => {
    for await (const { data } of room.history({ after: 0 })) texts.push(data);
  })();
  await world.pass(10_000);
  await loop;
  return texts;
}

test("stories", { timeout: 120_000 }, async () => {
  const story = async (seed, latencyMs, steps) => {
    const world = new World({ seed, latencyMs, history: 1_000, client: { token: async () => "ann" } });
    Object.assign(world, { published: [], others: 0, heard: [] });
    let offsets = 0;
    world.room = world.client.room("lobby");
    world.room.on("said", (text, { offset }) => {
      assert.ok(offset > offsets, "offsets rise");
      offsets = offset;
      world.heard.push(text);
    });
    world.room.onLost(() => assert.fail("nothing is lost"));
    world.client.onState(() => assert.ok(world.open <= 1, "one socket at a time"));
    // A room's position is known from its first join on.
    await world.pass(10_000);
    for (const one of steps) await acts[one.do](world, one);
    acts.up(world);
    acts.awake(world);
    await world.pass(90_000);
    acts.other(world);
    await world.pass(10_000);
    const all = await kept(world);
    assert.equal(new Set(all).size, all.length, "nothing is doubled");
    for (const { text, seen } of world.published) {
      assert.notEqual(seen.state, "pending", text);
      if (seen.state === "done") assert.ok(all.includes(text), `${text} was acknowledged`);
      else if (!seen.sent) assert.ok(!all.includes(text), `${text} was not sent`);
    }
    const own = all.filter((text) => text.startsWith("own"));
    assert.deepEqual(own, world.published.map(({ text }) => text).filter((text) => own.includes(text)), "in order");
    const silent = new Set(world.published.filter(({ echo }) => !echo).map(({ text }) => text));
    assert.deepEqual(world.heard, all.filter((text) => !silent.has(text)));
    world.client.close();
    await world.pass(0);
    assert.equal(world.left().listeners, NOTHING.listeners);
  };
  const args = [fc.integer(), fc.integer({ min: 1, max: 300 }), fc.array(step, { maxLength: 30 })];
  await fc.assert(fc.asyncProperty(...args, story), { numRuns: 300 });
});
