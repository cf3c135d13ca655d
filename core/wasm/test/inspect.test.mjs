// The module in the page at /inspect says of each committed journal what the program printed.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";

import { Stepper, initSync } from "../inspect/stepper.js";

const page = readFileSync(new URL("../../http/page/inspect.html", import.meta.url), "utf8");
const [, text] = /"roomcast-stepper:([^"]*)"/.exec(page);
initSync({ module: new WebAssembly.Module(gunzipSync(Buffer.from(text, "base64"))) });

const JOURNALS = new URL("../../../tests/journals/", import.meta.url);
const names = readdirSync(JOURNALS, { withFileTypes: true }).filter((entry) => entry.isDirectory()).map(({ name }) => name);

// A text as the program prints it: in JSON a space means the same as a line break.
function oneLine(text) {
  let json = true;
  try { JSON.parse(text); } catch { json = false; }
  const breaks = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, (letter) => {
    if (breaks[letter]) return json ? " " : breaks[letter];
    return `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

function printed(number, output) {
  const columns = {
    send: () => [output.to.join(","), output.binary ? output.frame : oneLine(output.frame)],
    close: () => [output.conn, output.code, oneLine(output.reason)],
    ping: () => [output.conn],
  };
  return [number, output.kind, ...columns[output.kind]()].join("\t");
}

function journal(name) {
  const folder = new URL(`${name}/`, JOURNALS);
  const files = readdirSync(folder).filter((file) => file.endsWith(".jsonl")).sort();
  return Buffer.concat(files.map((file) => readFileSync(new URL(file, folder))));
}

for (const name of names.filter((name) => name !== "application")) {
  test(`the journal ${name} leads to the same bytes`, () => {
    const output = readFileSync(new URL(`${name}/output`, JOURNALS), "utf8");
    // Time and namespace are the input's.
    const rest = output.trimEnd().split("\n").map((line) => line.split("\t").slice(2));
    const expected = rest.filter(([, kind]) => ["send", "close", "ping"].includes(kind)).map((columns) => columns.join("\t"));
    const stepper = new Stepper(journal(name));
    const lines = stepper.lines();
    while (!stepper.read(100)) assert(stepper.deliveries(0).length < lines);
    const steps = [];
    for (let line = 1; line <= lines; line += 1) {
      steps.push(JSON.parse(stepper.step(line)).map((output) => printed(line, output)));
    }
    assert.deepEqual(steps.flat(), expected);
    // And backwards, where each line is a jump.
    for (let line = lines; line > 0; line -= 97) {
      assert.deepEqual(JSON.parse(stepper.step(line)).map((output) => printed(line, output)), steps[line - 1]);
      assert(stepper.replayed() <= 256, `${stepper.replayed()} lines`);
    }
    stepper.free();
  });
}

for (const name of names.filter((name) => name !== "application")) {
  test(`the invariants hold in the journal ${name}`, () => {
    const stepper = new Stepper(journal(name));
    const invariants = stepper.invariants();
    while (!invariants.read(100)) assert(invariants.at() < stepper.lines());
    assert.equal(invariants.at(), stepper.lines());
    assert.deepEqual(JSON.parse(invariants.violations()), { count: 0, violations: [] });
  });
}

test("a journal with an application is refused, and says why", () => {
  const stepper = new Stepper(journal("application"));
  assert.throws(() => stepper.read(1_000), (fault) => /has an application/.test(fault));
});

test("a skipped input is compared to the end", () => {
  const stepper = new Stepper(journal("plain"));
  const lines = stepper.lines();
  assert(stepper.read(lines));
  const line = stepper.deliveries(0).findLastIndex((reached) => reached > 1) + 1;
  assert(line > 1 && line <= lines);
  const comparison = stepper.skip(line);
  while (!comparison.read(100)) assert(comparison.at() < lines);
  assert.equal(comparison.at(), lines);
  const { count, differences } = JSON.parse(comparison.differences());
  assert(count > 0 && differences[0].line === line, JSON.stringify(differences[0]));
  assert.throws(() => stepper.skip(1), (fault) => /only an input/.test(fault));
  assert.throws(() => stepper.step(lines + 1), (fault) => /there is no line/.test(fault));
});

test("a connection misses what is sent to others while it is there", () => {
  const stepper = new Stepper(journal("plain"));
  const lines = stepper.lines();
  const steps = Array.from({ length: lines }, (_, index) => JSON.parse(stepper.step(index + 1)));
  const conn = steps.flat().find(({ kind }) => kind === "send").to[0];
  const search = stepper.missed(conn);
  while (!search.read(100)) assert(search.at() < lines);
  const missed = search.take();
  assert(missed.length > 0);
  for (const line of missed) {
    const messages = steps[line - 1].filter(({ kind, frame }) => kind === "send" && /^{"event":"[^$]/.test(frame) && JSON.parse(frame).room);
    assert(!messages.some(({ to }) => to.includes(conn)), `line ${line}`);
  }
  assert.throws(() => stepper.missed("bob"), (fault) => /is no connection/.test(fault));
});
