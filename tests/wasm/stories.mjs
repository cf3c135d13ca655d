// Plays journals through the core as WebAssembly. Reads options, one line of JSON, then journals
// with an empty line behind each; prints a hash of the commands of each. The module of the inspector, which is
// committed, has to say the same of each line.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { stdin } from "node:process";

import { Namespace, RoomcastError, init } from "../../core/wasm/js/node.js";
import { Replay } from "../../core/wasm/js/replay.js";

await init();

let now;
let options;
let hash = createHash("sha256");
const namespaces = new Map();
let journal = [];
// What clients notice of each line, in the words of the inspector.
let noticed = [];
const decoder = new TextDecoder();
const notice = (output) => noticed.at(-1).push(output);

function open(name, epoch) {
  const namespace = new Namespace({
    ...options,
    epoch,
    clock: () => now,
    bytes: true,
    send(to, frame, about, isBinary) {
      hash.update(`${isBinary ? "binary" : "text"} ${about} ${to.join(",")} ${frame.length} `).update(frame).update("\n");
      notice({ kind: "send", to: Array.from(to, String), frame: isBinary || decoder.decode(frame), binary: isBinary });
    },
    close(conn, code, reason) {
      hash.update(`close ${conn} ${code} ${reason}\n`);
      notice({ kind: "close", conn: String(conn), code, reason });
    },
    ping(conn) {
      hash.update(`ping ${conn}\n`);
      notice({ kind: "ping", conn: String(conn) });
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

async function inspect() {
  if (journal.length === 0) return;
  const replay = await Replay.open(journal.map((line) => `${line}\n`).join(""));
  journal.forEach((line, index) => {
    const outputs = replay.step(index + 1).map((output) => (output.binary ? { ...output, frame: true } : output));
    const advice = "core/http/page/inspect.html has the module of another core: npm run inspect in core/wasm";
    assert.deepEqual(outputs, noticed[index], `${advice}\n${line}`);
  });
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
  hash.update(`next ${namespaces.get(name).nextTimeout ?? ""}\n`);
}

// Not by `readline`, which ends a line at U+2028 too.
const text = Buffer.concat(await stdin.toArray()).toString();
for (const line of text.split("\n").slice(0, -1)) {
  if (options === undefined) {
    options = JSON.parse(line);
  } else if (line === "") {
    await inspect();
    console.log(hash.digest("hex"));
    [journal, noticed] = [[], []];
    hash = createHash("sha256");
    namespaces.clear();
  } else {
    play(line);
  }
}
