// Prints what an input costs: on the module, on the native core, and in plain JavaScript. All in
// one run, interleaved, the best of several rounds. Needs `npm run build`, and cargo. `sockets.mjs` measures over
// real sockets.
//
//     node scripts/figures.mjs

import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

import { Namespace, init, slot } from "roomcast-wasm";

const MEMBERS = 1_000;
const ROUNDS = 5;
const TEXT = JSON.stringify({ event: "said", room: "lobby", data: "x".repeat(100) });
const PING = '{"event":"$ping"}';

await init();

// A socket that counts.
let sent = 0;
const socket = { send: () => (sent += 1) };

function roomcast() {
  const sockets = [];
  const namespace = new Namespace({
    settings: { inbound_rate: "off", heartbeat_ms: "off" },
    send(to, frame) {
      for (const conn of to) sockets[slot(conn)].send(frame);
    },
    close() {},
  });
  const connect = () => namespace.connect({ rooms: ["lobby"] }, (conn) => (sockets[slot(conn)] = socket));
  const conns = Array.from({ length: MEMBERS + 1 }, connect);
  const bytes = Buffer.from(TEXT);
  const ping = Buffer.from(PING);
  return {
    crossing: () => namespace.noteActivity(conns[0]),
    answer: () => namespace.receive(conns[0], ping, false),
    broadcast: () => namespace.receive(conns[0], bytes, false),
  };
}

// A server without limits, histories and checks, to compare with.
function plain() {
  const rooms = new Map([["lobby", new Set()]]);
  const members = Array.from({ length: MEMBERS + 1 }, (_, conn) => ({ conn: String(conn), socket }));
  for (const member of members) rooms.get("lobby").add(member);
  const bytes = Buffer.from(TEXT);
  const ping = Buffer.from(PING);
  const receive = (from, message) => {
    const { event, room, data } = JSON.parse(message.toString());
    if (event === "$ping") return from.socket.send('{"event":"$pong"}');
    const frame = JSON.stringify({ event, room, from: { conn: from.conn }, data });
    for (const member of rooms.get(room)) if (member !== from) member.socket.send(frame);
  };
  return {
    answer: () => receive(members[0], ping),
    broadcast: () => receive(members[0], bytes),
  };
}

// Nanoseconds of one call.
function time(call, calls) {
  for (let i = 0; i < calls / 10; i += 1) call();
  const start = process.hrtime.bigint();
  for (let i = 0; i < calls; i += 1) call();
  return Number(process.hrtime.bigint() - start) / calls;
}

const CALLS = { crossing: 200_000, answer: 100_000, broadcast: 2_000 };
const columns = { wasm: roomcast(), "plain JavaScript": plain() };
const best = { native: {} };
const manifest = fileURLToPath(new URL("../Cargo.toml", import.meta.url));
const native = ["run", "--quiet", "--locked", "--release", "--manifest-path", manifest, "--example", "native"];
for (let round = 0; round < ROUNDS; round += 1) {
  for (const [column, calls] of Object.entries(columns)) {
    best[column] ??= {};
    for (const [name, call] of Object.entries(calls)) {
      best[column][name] = Math.min(best[column][name] ?? Infinity, time(call, CALLS[name]));
    }
  }
  for (const [name, ns] of Object.entries(JSON.parse(execFileSync("cargo", native, { encoding: "utf8" })))) {
    best.native[name] = Math.min(best.native[name] ?? Infinity, ns);
  }
}
console.log("microseconds of one input: the best of", ROUNDS, "rounds");
for (const name of Object.keys(CALLS)) {
  const row = Object.entries(best).map(([column, of]) => `${column} ${of[name] === undefined ? "-" : (of[name] / 1000).toFixed(2)}`);
  console.log(`${name.padEnd(10)} ${row.join("   ")}`);
}
