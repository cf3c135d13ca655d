// Plays journals through the core as WebAssembly. Reads options, one line of JSON, then journals
// with an empty line behind each. Writes the commands of each line, and the time of the next timeout: the
// results of a journal at once, with their length before them. With `inspect` the module of the inspector,
// which is committed, has to say the same of each line, and to see no violation of an invariant.

import assert from "node:assert/strict";
import { writeSync } from "node:fs";
import { stdin } from "node:process";

import { Namespace, RoomcastError, init } from "../../core/wasm/js/node.js";
import { Replay } from "../../core/wasm/js/replay.js";

const LF = 10;
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** Bytes that grow. The first four are the length of the others. */
const results = {
  bytes: Buffer.alloc(1 << 16),
  length: 4,
  room(bytes) {
    if (this.length + bytes > this.bytes.length) this.bytes = Buffer.concat([this.bytes], (this.length + bytes) * 2);
  },
  text(text) {
    this.room(text.length * 3);
    this.length += this.bytes.write(text, this.length);
  },
  frame(frame) {
    this.room(frame.length + 1);
    this.bytes.set(frame, this.length);
    this.bytes[this.length + frame.length] = LF;
    this.length += frame.length + 1;
  },
  print() {
    this.bytes.writeUInt32LE(this.length - 4);
    for (let at = 0; at < this.length; ) at += writeSync(1, this.bytes, at, this.length - at);
    this.length = 4;
  },
};

let now;
let options;
const namespaces = new Map();
let journal = [];
// What clients notice of each line, to be compared with the inspector.
let noticed = [];
const notice = (...output) => noticed.at(-1).push(output);

function open(name, epoch) {
  const { settings, policies } = options;
  const namespace = new Namespace({
    settings,
    policies,
    epoch,
    clock: () => now,
    bytes: true,
    send(to, frame, about, isBinary) {
      const ids = to.join(",");
      results.text(`${isBinary ? "binary" : "text"} ${about} ${ids} ${frame.length} `);
      results.frame(frame);
      notice("send", ids, isBinary || decoder.decode(frame));
    },
    close(conn, code, reason) {
      results.text(`close ${conn} ${code} ${reason}\n`);
      notice("close", String(conn), `${code} ${reason}`);
    },
    ping(conn) {
      results.text(`ping ${conn}\n`);
      notice("ping", String(conn), "");
    },
  });
  namespaces.set(name, namespace);
}

// What is frequent goes the way that hosts take; the rest as it is in the journal.
function give(namespace, input, line) {
  if (input === "timeout") return namespace.timeout();
  const [[kind, value]] = Object.entries(input);
  const conn = Number(value.conn);
  if (kind === "text") return namespace.receive(conn, value.text);
  if (kind === "binary") return namespace.receive(conn, Uint8Array.from(value.bytes));
  if (kind === "heard") return namespace.noteActivity(Number(value));
  if (kind === "disconnect" && value.reason === "lost") return namespace.disconnect(conn);
  if (kind === "disconnect" && "client" in value.reason) return namespace.disconnect(conn, value.reason.client ?? 1005);
  return namespace.apply(line.slice(line.indexOf('"input":') + '"input":'.length, -1));
}

/** The same parts of an output of the inspector. */
const partsOf = {
  send: ({ to, frame, binary }) => [to.join(","), binary || frame],
  close: ({ conn, code, reason }) => [conn, `${code} ${reason}`],
  ping: ({ conn }) => [conn, ""],
};

function inspect() {
  const replay = new Replay(journal.map((line) => `${line}\n`).join(""));
  journal.forEach((line, index) => {
    const expected = noticed[index];
    const outputs = replay.step(index + 1).map((output) => [output.kind, ...partsOf[output.kind](output)]);
    const isSame = ([kind, conns, text], [otherKind, otherConns, otherText]) => kind === otherKind && conns === otherConns && text === otherText;
    if (outputs.length === expected.length && outputs.every((output, at) => isSame(output, expected[at]))) return;
    const advice = "core/http/page/inspect.html has the module of another core: npm run inspect in core/wasm";
    assert.deepEqual(outputs, expected, `${advice}\n${line}`);
  });
  const { violations } = replay.violations();
  assert.deepEqual(violations, [], `the inspector sees violations in\n${journal.join("\n")}`);
  replay.close();
}

function play(line) {
  journal.push(line);
  noticed.push([]);
  const { at, namespace: name, open: opening, input } = JSON.parse(line);
  now = at;
  if (opening !== undefined) {
    open(name, opening.config.epoch);
  } else {
    try {
      give(namespaces.get(name), input, line);
    } catch (fault) {
      // Whoever gave the input was told so; here the commands alone count.
      if (!(fault instanceof RoomcastError) || fault.code === "dead") throw fault;
    }
  }
  results.text(`next ${namespaces.get(name).nextTimeout ?? ""}\n`);
}

function end() {
  results.print();
  if (options.inspect && journal.length > 0) inspect();
  [journal, noticed] = [[], []];
  namespaces.clear();
}

/** The lines of standard input. Not by `readline`, which ends a line at U+2028 too. */
async function* lines() {
  let rest = Buffer.alloc(0);
  for await (const chunk of stdin) {
    const bytes = Buffer.concat([rest, chunk]);
    let start = 0;
    for (let end; (end = bytes.indexOf(LF, start)) >= 0; start = end + 1) yield bytes.toString("utf8", start, end);
    rest = bytes.subarray(start);
  }
}

await init();
// Loads its module.
(await Replay.open('{"at":0,"namespace":"a","open":{"config":{"epoch":"e"},"state":{"next_serial":0}}}\n')).close();
for await (const line of lines()) {
  if (options === undefined) options = JSON.parse(line);
  else if (line === "") end();
  else play(line);
}
