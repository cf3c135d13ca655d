// The client of `client/` during a rolling restart of servers that share their rooms:
//
//     node client_rolling.mjs PATH_TO_ROOMCAST RELAY_URL PROXY_PORT SERVER_PORT...
//
// Starts the servers; clients connect to a proxy in front of them. They publish and listen in a few
// rooms throughout. Each message reaches every other member once and in order, no client is told of
// a loss, and no user appears to leave.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import WebSocket from "ws";
import { Roomcast } from "../../client/dist/index.js";
import { SECRET, tokenOf } from "./hs256.mjs";
import { equal, withDeadline } from "./ws_client.mjs";

const [binary, relay, proxyPort, ...ports] = process.argv.slice(2);
// Clients reconnect within 5 s. Users of a stopped server are kept for its lease of 10 s.
const POLICIES = '[[rooms]]\nmatch = "feed:*"\nhistory.messages = 10000\npresence = "members"\npresence_grace_s = 30\n';
const ROOMS = ["feed:a", "feed:b", "feed:c"];
const PUBLISHERS = 2;
const LISTENERS = 4;
const EACH_MS = 100;
const DEADLINE_MS = 60_000;

const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const folder = await mkdtemp(join(tmpdir(), "roomcast-"));
const config = join(folder, "rooms.toml");
await writeFile(config, POLICIES);

/** A server, and what it said. */
async function start(port) {
  const args = ["serve", "--listen", `127.0.0.1:${port}`, "--relay", relay, "--config", config];
  args.push("--token-key", `hs256:${SECRET}`, "--inbound-rate", "off");
  const server = { said: [] };
  server.process = spawn(binary, args, { stdio: ["ignore", "ignore", "pipe"], env: {} });
  server.ended = once(server.process, "exit");
  const listening = new Promise((resolve, reject) => {
    createInterface(server.process.stderr).on("line", (line) => {
      server.said.push(line);
      if (line.includes("listening on http://")) resolve();
    });
    server.process.on("exit", () => reject(new Error(`it ended:\n${server.said.join("\n")}`)));
  });
  await withDeadline(listening, "a server to listen", DEADLINE_MS);
  return server;
}

/** A client in a room, and what it published and heard. */
class Watched {
  heard = [];
  offsets = [];
  answers = [];
  lost = 0;
  left = [];
  connections = 0;
  number = 0;

  constructor(user, room) {
    this.user = user;
    const watched = this;
    class Counted extends WebSocket {
      constructor(url, protocols) {
        super(url, protocols, { perMessageDeflate: false });
        this.on("open", () => (watched.connections += 1));
        this.on("message", (text) => {
          const { event, data } = JSON.parse(text);
          if (event === "$left") watched.left.push(data.user);
        });
      }
    }
    const token = async () => tokenOf(user, "feed:*");
    this.client = new Roomcast(`ws://127.0.0.1:${proxyPort}`, { WebSocket: Counted, token, timeout: DEADLINE_MS });
    this.room = this.client.room(room, { presence: true });
    this.room.on("said", (data, { offset }) => {
      this.heard.push(data);
      this.offsets.push(offset);
    });
    this.room.onLost(() => (this.lost += 1));
  }

  publish() {
    const text = `${this.user} ${(this.number += 1)}`;
    this.answers.push(this.room.publish("said", text).then(() => text));
  }
}

/** Waits until every member has what every other one published. */
async function arrives(members, published) {
  const expected = ({ user }) => [...published].filter(([other]) => other !== user).flatMap(([, texts]) => texts);
  const isThere = (member) => member.heard.length >= expected(member).length && member.room.state === "joined";
  while (!members.every(isThere)) await pause(20);
}

/** Checks what the members of a room got, message by message. */
function check(members, published) {
  for (const { user, heard, offsets, lost, left } of members) {
    for (const [other, texts] of published) {
      const got = heard.filter((text) => text.startsWith(`${other} `));
      const expected = other === user ? [] : texts;
      equal(got.join(), expected.join(), `what ${user} heard of ${other}`);
    }
    equal(lost, 0, `losses of which ${user} was told`);
    equal(left.join(), "", `users whom ${user} saw leave`);
    if (!published.has(user)) {
      equal(offsets.join(), offsets.map((_, at) => at + 1).join(), `offsets that ${user} got`);
    }
  }
  const listeners = members.filter(({ user }) => !published.has(user));
  for (const { user, heard } of listeners) equal(heard.join(), listeners[0].heard.join(), `the order of ${user}`);
}

const servers = [];
for (const port of ports) servers.push(await start(port));
const rooms = new Map(ROOMS.map((room) => {
  const users = (kind, count) => Array.from({ length: count }, (_, at) => `${kind}${at}-${room}`);
  const publishers = users("p", PUBLISHERS).map((user) => new Watched(user, room));
  const listeners = users("l", LISTENERS).map((user) => new Watched(user, room));
  return [room, { publishers, members: [...publishers, ...listeners] }];
}));
const everybody = [...rooms.values()].flatMap(({ members }) => members);

async function restarts() {
  await Promise.all(everybody.map(({ room }) => room.joined));
  const timer = setInterval(() => {
    for (const { publishers } of rooms.values()) for (const publisher of publishers) publisher.publish();
  }, EACH_MS);
  for (const [at, port] of ports.entries()) {
    const before = everybody.reduce((sum, { connections }) => sum + connections, 0);
    servers[at].process.kill("SIGTERM");
    const [code] = await servers[at].ended;
    equal(code, 0, `the exit code of server ${at}:\n${servers[at].said.join("\n")}`);
    servers[at] = await start(port);
    // Waits for a first reconnect, so that the other servers carry the load meanwhile.
    const count = () => everybody.reduce((sum, { connections }) => sum + connections, 0);
    while (count() === before) await pause(20);
  }
  const isBack = ({ client, room }) => client.state.name === "open" && room.state === "joined";
  while (!everybody.every(isBack)) await pause(20);
  clearInterval(timer);
  for (const { publishers, members } of rooms.values()) {
    const answers = publishers.map(async ({ user, answers }) => [user, await Promise.all(answers)]);
    const published = new Map(await Promise.all(answers));
    await arrives(members, published);
    check(members, published);
  }
}

let failed = false;
try {
  await withDeadline(restarts(), "the end", DEADLINE_MS);
  const count = (of) => everybody.reduce((sum, it) => sum + of(it), 0);
  const figures = [count(({ number }) => number), count(({ heard }) => heard.length), count(({ connections }) => connections)];
  console.log(`ok published ${figures[0]}, received ${figures[1]}, connections ${figures[2]}`);
} catch (error) {
  failed = true;
  console.log(`FAILED ${error.message}`);
  for (const { user, client, room, heard } of everybody) {
    console.log(`${user}: ${client.state.name}, ${room.state}, heard ${heard.length}`);
  }
}
for (const { client } of everybody) client.close();
for (const server of servers) {
  server.process.kill("SIGKILL");
  await server.ended;
}
await rm(folder, { recursive: true });
process.exit(failed ? 1 : 0);
