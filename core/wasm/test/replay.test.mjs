// Journals in an application, by the entry `roomcast-wasm/replay`.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Replay } from "roomcast-wasm/replay";

const bytes = readFileSync(new URL("../../../tests/journals/plain/1.000001.jsonl", import.meta.url));

test("a journal is stepped through in any order", async () => {
  const replay = await Replay.open(bytes);
  assert.equal(replay.lines, bytes.toString().trimEnd().split("\n").length);
  assert.equal(replay.cutOff, false);
  const steps = Array.from({ length: replay.lines }, (_, index) => replay.step(index + 1));
  assert(steps.flat().some(({ kind }) => kind === "send"));
  for (let line = replay.lines; line > 0; line -= 41) assert.deepEqual(replay.step(line), steps[line - 1]);
  assert.equal(replay.state(1), null);
  assert.equal(replay.state(replay.lines).namespace, "default");
  replay.close();
});

test("what an input led to is what is missing without it", async () => {
  const replay = await Replay.open(bytes.toString());
  const line = Array.from({ length: replay.lines }, (_, index) => index + 1).findLast((line) => replay.step(line).some(({ to }) => to?.length > 1));
  const { count, differences } = replay.skip(line);
  assert(count > 0);
  for (const { conn, ...difference } of differences.filter((one) => one.line === line)) {
    const frames = replay.step(line).filter(({ to }) => to?.includes(conn)).map(({ frame }) => frame);
    assert.deepEqual(difference, { line, with: frames, without: [] });
  }
});

test("a connection that is there misses what only others get", async () => {
  const replay = await Replay.open(bytes);
  const states = Array.from({ length: replay.lines }, (_, index) => replay.state(index + 1));
  const { conn } = states.find((state) => state?.connections_count > 1).connections[0];
  const lines = replay.missed(conn);
  assert(lines.length > 0);
  for (const line of lines) assert(!replay.step(line).some(({ to, frame }) => to?.includes(conn) && !/"event":"\$/.test(frame)));
});

test("the invariants hold in a journal", async () => {
  const replay = await Replay.open(bytes);
  assert.deepEqual(replay.violations(), { count: 0, violations: [] });
  replay.close();
});

test("what cannot be replayed is refused in words", async () => {
  assert.throws(() => Replay.prototype.step.call({}, 1), TypeError);
  await assert.rejects(Replay.open(""), /^Error: not a journal: it has no line$/);
  const replay = await Replay.open("hello\n");
  assert.throws(() => replay.step(1), /^Error: line 1: not a journal line/);
  assert.throws(() => replay.step(2), /^Error: there is no line 2/);
  assert.throws(() => replay.skip(0), /^Error: there is no line 0/);
  assert.throws(() => replay.missed("bob"), /^Error: `bob` is no connection/);
});
