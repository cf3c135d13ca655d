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
    const { lines } = JSON.parse(stepper.summary());
    const steps = [];
    for (let line = 1; line <= lines; line += 1) {
      steps.push(JSON.parse(stepper.step(line)).map((output) => printed(line, output)));
    }
    assert.deepEqual(steps.flat(), expected);
    // And backwards, where each line is a jump.
    for (let line = lines; line > 0; line -= 97) {
      assert.deepEqual(JSON.parse(stepper.step(line)).map((output) => printed(line, output)), steps[line - 1]);
    }
    stepper.free();
  });
}

test("a journal with an application is refused, and says why", () => {
  assert.throws(() => new Stepper(journal("application")), (fault) => /has an application/.test(fault));
});

test("a skipped input is compared to the end", () => {
  const stepper = new Stepper(journal("plain"));
  const { lines, deliveries } = JSON.parse(stepper.summary());
  const line = deliveries.findLastIndex((reached) => reached > 1) + 1;
  assert(line > 1 && line <= lines);
  const { count, differences } = JSON.parse(stepper.skip(line));
  assert(count > 0 && differences[0].line === line, JSON.stringify(differences[0]));
  assert.throws(() => stepper.skip(1), (fault) => /only an input/.test(fault));
  assert.throws(() => stepper.step(lines + 1), (fault) => /there is no line/.test(fault));
});
