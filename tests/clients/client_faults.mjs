// The client of `client/` over unreliable connections to a server, driven by seeded scripts:
//
//     node client_faults.mjs PATH_TO_ROOMCAST|PORT [SCRIPTS] [FIRST_SEED] [EVICT_URL]
//
// A server on PORT must have the policies and the key below. Posts to EVICT_URL evict its object
// from time to time.
//
// In each script two clients publish and listen, and a third listens on a reliable connection.
// Acknowledged messages reach all of them, once and in order. Each client has one socket at a time,
// and leaves nothing open.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import WebSocket from "ws";
import { Roomcast } from "../../client/dist/index.js";
import { seeded, TestPage } from "../../client/dist/testing/index.js";
import { FAULTS, FaultProxy } from "./fault_proxy.mjs";
import { SECRET, tokenOf } from "./hs256.mjs";
import { equal, withDeadline } from "./ws_client.mjs";

const [target, scripts = "200", first = "1", evictUrl] = process.argv.slice(2);
const TOGETHER = 25;
const MESSAGES = 12;
/** The clients' clock runs faster than the server's, so that deadlines pass soon. */
const SPEED = 10;
const DEADLINE_MS = 30_000;
const EVICT_EACH_MS = 200;
const POLICIES = '[[rooms]]\nmatch = "feed:*"\nhistory.messages = 1000\npresence = "members"\n';

class FastClock {
  timers = new Set();

  now() {
    return performance.now() * SPEED;
  }

  set(f, ms) {
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      f();
    }, ms / SPEED);
    this.timers.add(timer);
    return timer;
  }

  clear(timer) {
    this.timers.delete(timer);
    clearTimeout(timer);
  }
}

/** A client, and a log of its events and actions. */
class Watched {
  clock = new FastClock();
  page = new TestPage();
  heard = [];
  offsets = [];
  lost = 0;
  open = new Set();
  most = 0;

  constructor(user, room, port, random) {
    const watched = this;
    class Counted extends WebSocket {
      constructor(url, protocols) {
        super(url, protocols, { perMessageDeflate: false });
        watched.open.add(this);
        watched.most = Math.max(watched.most, watched.open.size);
        this.on("close", () => watched.open.delete(this));
      }
      terminate() {
        watched.open.delete(this);
        super.terminate();
      }
      close(code) {
        watched.open.delete(this);
        super.close(code);
      }
    }
    const { clock, page } = this;
    this.client = new Roomcast(`ws://127.0.0.1:${port}`, {
      WebSocket: Counted, clock, page, random, token: async () => tokenOf(user, "feed:*"), timeout: 100_000,
    });
    this.room = this.client.room(room, { presence: true });
    this.room.on("said", (data, { offset }) => {
      this.heard.push(data);
      this.offsets.push(offset);
    });
    this.room.onLost(() => (this.lost += 1));
  }

  close(name) {
    this.client.close();
    equal(this.lost, 0, `${name} was told of a loss`);
    equal(this.most, 1, `sockets of ${name} at a time`);
    equal(this.open.size, 0, `sockets of ${name} after its end`);
    equal(this.clock.timers.size, 0, `timers of ${name} after its end`);
    equal(this.page.listeners, 0, `listeners of ${name} after its end`);
  }
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** Publishes, and returns what was acknowledged. */
async function publishes(watched, name, random) {
  const answers = [];
  for (let number = 0; number < MESSAGES; number += 1) {
    await pause(random() * 60);
    const text = `${name} ${number}`;
    answers.push(watched.room.publish("said", text).then(() => text, (error) => (error.sent ? null : undefined)));
  }
  return (await Promise.all(answers)).filter((text) => typeof text === "string");
}

async function breaks(proxy, random) {
  for (let fault = 0; fault < 4; fault += 1) {
    await pause(random() * 150);
    await proxy.inflict(FAULTS[Math.floor(random() * FAULTS.length)], 100 + random() * 500);
  }
}

/** Runs a script; awaits `quiet` once all have joined, before anybody publishes. */
async function script(seed, port, quiet = async () => {}) {
  const random = seeded(seed);
  const room = `feed:${seed}`;
  const proxies = await Promise.all([FaultProxy.start(port), FaultProxy.start(port)]);
  const names = ["x", "y"];
  const clients = names.map((name, at) => new Watched(`${name}${seed}`, room, proxies[at].port, random));
  const observer = new Watched(`z${seed}`, room, port, random);
  await Promise.all([observer, ...clients].map(({ room }) => room.joined));
  await quiet();
  const published = names.map((name, at) => publishes(clients[at], name, random));
  await Promise.all(proxies.map((proxy) => breaks(proxy, random)));
  const acknowledged = await Promise.all(published);
  const all = acknowledged.flat();
  for (;;) {
    const has = (heard, others) => others.every((text) => heard.includes(text));
    const isThere = ({ heard }, at) => {
      return has(heard, observer.heard.filter((text) => !text.startsWith(names[at]))) && has(observer.heard, heard);
    };
    if (has(observer.heard, all) && clients.every(isThere)) break;
    await pause(20);
  }
  const { heard } = observer;
  equal(new Set(heard).size, heard.length, "messages that were received once");
  for (const [at, name] of names.entries()) {
    const own = heard.filter((text) => text.startsWith(name));
    const inOrder = acknowledged[at].filter((text) => own.includes(text));
    equal(own.filter((text) => inOrder.includes(text)).join(), inOrder.join(), `the order of ${name}`);
    const others = heard.filter((text) => !text.startsWith(name));
    equal(clients[at].heard.join(), others.join(), `what ${name} received`);
  }
  for (const [at, name] of names.entries()) clients[at].close(name);
  observer.close("z");
  for (const proxy of proxies) proxy.close();
  const met = proxies.flatMap((proxy) => Object.entries(proxy.met));
  return { publishes: names.length * MESSAGES, acknowledged: all.length, met };
}

/** Starts a server; gives its port, and a function that ends it. */
async function start(binary) {
  const folder = await mkdtemp(join(tmpdir(), "roomcast-"));
  const config = join(folder, "rooms.toml");
  await writeFile(config, POLICIES);
  const args = ["serve", "--listen", "127.0.0.1:0", "--config", config, "--token-key", `hs256:${SECRET}`];
  const server = spawn(binary, args, { stdio: ["ignore", "ignore", "pipe"], env: {} });
  const lines = createInterface({ input: server.stderr });
  const listening = new Promise((resolve) => {
    lines.on("line", (line) => {
      const found = line.match(/listening on http:\/\/127\.0\.0\.1:(\d+)/);
      if (found) resolve(Number(found[1]));
    });
  });
  const end = async () => {
    server.kill("SIGKILL");
    await once(server, "exit");
    await rm(folder, { recursive: true });
  };
  return { port: await withDeadline(listening, "the server to listen"), end };
}

const isPort = /^\d+$/.test(target);
const { port, end } = isPort ? { port: Number(target), end() {} } : await start(target);
let evicted = 0;
let isOver = false;
const evicts = async () => {
  while (evictUrl && !isOver) {
    // An idle object is evicted, unless it is not in memory.
    const { status } = await fetch(evictUrl, { method: "POST" });
    if (status === 200) evicted += 1;
    await pause(EVICT_EACH_MS);
  }
};
const evicting = evicts();

const sum = { scripts: 0, publishes: 0, acknowledged: 0 };
const met = {};
let failed = 0;
const seeds = Array.from({ length: Number(scripts) }, (_, at) => Number(first) + at);
const run = async (seed, quiet) => {
  try {
    const done = await withDeadline(script(seed, port, quiet), "the end of the script", DEADLINE_MS);
    sum.scripts += 1;
    sum.publishes += done.publishes;
    sum.acknowledged += done.acknowledged;
    for (const [fault, count] of done.met) met[fault] = (met[fault] ?? 0) + count;
  } catch (error) {
    failed += 1;
    console.log(`FAILED seed ${seed}: ${error.message}`);
  }
};
const alone = seeds.pop();
const worker = async () => {
  for (let seed = seeds.shift(); seed !== undefined; seed = seeds.shift()) await run(seed);
};
await Promise.all(Array.from({ length: TOGETHER }, worker));
// On a slow machine the object is never idle during the other scripts. Here it is, with members.
await run(alone, async () => {
  const before = evicted;
  while (evictUrl && evicted === before) await pause(EVICT_EACH_MS);
});
isOver = true;
await evicting;
await end();
console.log(`scripts ${sum.scripts}, publishes ${sum.publishes}, acknowledged ${sum.acknowledged}, faults ${JSON.stringify(met)}`);
if (evictUrl) console.log(`evicted ${evicted}`);
for (const fault of FAULTS) if (Number(scripts) >= 50 && !met[fault]) failed += 1;
if (failed === 0) console.log("ok lost 0, doubled 0");
else {
  console.log(`FAILED ${failed}`);
  process.exit(1);
}
