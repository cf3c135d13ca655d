// Prints the cost of a broadcast to 1,000 members over real sockets for two Node servers:
// `examples/server.mjs`, and npm `ws` with a Map of Sets. Their rounds alternate. Needs `npm run
// build`.
//
//     node scripts/sockets.mjs

import { fork } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { WebSocket } from "ws";

const MEMBERS = 1_000;
const ROUNDS = 7;
const BROADCASTS = 100;
const MESSAGE = JSON.stringify({ event: "said", room: "lobby", data: "x".repeat(100) });
const SERVERS = { "roomcast-wasm": "../examples/server.mjs", "ws, Map of Sets": "plain.mjs" };
/** A module that makes a server report its processor time on request. */
const TELLS = 'data:text/javascript,process.on("message",()=>process.send(process.cpuUsage()))';

async function started(script) {
  const settings = { inbound_rate: "off", heartbeat_ms: "off" };
  const server = fork(new URL(script, import.meta.url), {
    execArgv: ["--import", TELLS], silent: true,
    env: { ...process.env, PORT: "0", ROOMCAST_SETTINGS: JSON.stringify(settings) },
  });
  const [line] = await once(server.stderr, "data");
  const url = `${/http:\S+/.exec(line)[0].replace("http", "ws")}/ws`;
  const room = { server, received: 0, onAll: () => {} };
  room.sockets = await Promise.all(Array.from({ length: MEMBERS + 1 }, async () => {
    const socket = new WebSocket(url);
    await once(socket, "open");
    socket.send('{"event":"$join","id":1,"room":"lobby"}');
    await once(socket, "message");
    socket.on("message", () => {
      room.received += 1;
      if (room.received === MEMBERS) room.onAll();
    });
    return socket;
  }));
  return room;
}

async function broadcast(room) {
  room.received = 0;
  const all = new Promise((resolve) => (room.onAll = resolve));
  room.sockets[0].send(MESSAGE);
  await all;
}

/** Microseconds of the server's processor for one broadcast. */
async function measured(room) {
  const spent = async () => {
    room.server.send("");
    const [{ user, system }] = await once(room.server, "message");
    return user + system;
  };
  await broadcast(room);
  const before = await spent();
  for (let i = 0; i < BROADCASTS; i += 1) await broadcast(room);
  return ((await spent()) - before) / BROADCASTS;
}

const rooms = {};
const figures = {};
try {
  for (const [name, script] of Object.entries(SERVERS)) {
    rooms[name] = await started(script);
    // Warm up: the first measurement is discarded.
    await measured(rooms[name]);
    figures[name] = [];
  }
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [name, room] of Object.entries(rooms)) figures[name].push(await measured(room));
  }
} finally {
  for (const { server } of Object.values(rooms)) server.kill();
}
console.log(`microseconds of the server's processor for one broadcast to ${MEMBERS} members: the median of ${ROUNDS} rounds`);
for (const [name, all] of Object.entries(figures)) {
  const sorted = all.toSorted((a, b) => a - b);
  const [least, median, most] = [0, ROUNDS >> 1, ROUNDS - 1].map((at) => Math.round(sorted[at]));
  console.log(`${name.padEnd(16)} ${median}   (${least} to ${most})`);
}
process.exit();
