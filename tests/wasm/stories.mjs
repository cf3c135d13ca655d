// Plays journals through the core as WebAssembly. Reads options, one line of JSON, then journals
// with an empty line behind each; prints a hash of the commands of each.

import { createHash } from "node:crypto";
import { stdin } from "node:process";

import { Namespace, RoomcastError, init } from "../../core/wasm/js/node.js";

await init();

let now;
let options;
let hash = createHash("sha256");
const namespaces = new Map();

function open(name, epoch) {
  const namespace = new Namespace({
    ...options,
    epoch,
    clock: () => now,
    bytes: true,
    send(to, frame, about, isBinary) {
      hash.update(`${isBinary ? "binary" : "text"} ${about} ${to.join(",")} ${frame.length} `).update(frame).update("\n");
    },
    close: (conn, code, reason) => hash.update(`close ${conn} ${code} ${reason}\n`),
    ping: (conn) => hash.update(`ping ${conn}\n`),
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
  if (kind === "heard") return namespace.heard(Number(value));
  if (kind === "disconnect" && value.reason === "lost") return namespace.disconnect(conn);
  if (kind === "disconnect" && "client" in value.reason) return namespace.disconnect(conn, value.reason.client ?? 1005);
  return namespace.apply(line.slice(line.indexOf('"input":') + '"input":'.length, -1));
}

function play(line) {
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
    console.log(hash.digest("hex"));
    hash = createHash("sha256");
    namespaces.clear();
  } else {
    play(line);
  }
}
