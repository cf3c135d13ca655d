// Follows the worker's documentation literally: `npm run dev` in host-worker, a client, a call
// of the API, Ctrl-C.
//
//     node first_run.mjs
//
// Wants `npm ci` in both folders, and port 8787 free.

import { spawn } from "node:child_process";
import { once } from "node:events";
import net from "node:net";
import process from "node:process";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Api, Client, equal, namespace } from "./ws_client.mjs";

const PORT = 8787;
const API_KEY = "dev-key";
const WORKER = fileURLToPath(new URL("../../host-worker", import.meta.url));
// Builds the worker if necessary.
const START_MS_MAX = 240_000;
const END_MS_MAX = 20_000;
const POLL_MS = 50;

async function isListening() {
  const socket = net.connect(PORT, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

// Returns true while a process of this group is left.
function isAlive(group) {
  try {
    process.kill(-group, 0);
    return true;
  } catch (error) {
    if (error.code === "ESRCH") return false;
    throw error;
  }
}

async function until(what, ms, look) {
  const end = Date.now() + ms;
  while (!(await look())) {
    if (Date.now() > end) throw new Error(`waited ${ms} ms for ${what}`);
    await pause(POLL_MS);
  }
}

async function session() {
  const ws = `ws://127.0.0.1:${PORT}`;
  const room = namespace();
  const [ann, bob] = [await Client.open(`${ws}/ws`), await Client.open(`${ws}/ws`)];
  await ann.join(room);
  await bob.ask(
    `{"event":"said","id":1,"room":"${room}","data":"hello"}`,
    `{"event":"said","id":1,"room":"${room}","data":{"reached":1}}`,
  );
  await ann.expect(`{"event":"said","room":"${room}","from":{"conn":"${bob.conn}"},"data":"hello"}`);
  const api = new Api(`http://127.0.0.1:${PORT}`, API_KEY);
  const body = { audience: { rooms: [room] }, event: "said", data: "from the backend" };
  await api.send("default", body, '{"matched":1,"queued":1,"dropped":0}');
  await ann.expect(`{"event":"said","room":"${room}","data":"from the backend"}`);
  equal((await api.call("GET", "/api/v1/default/rooms", { key: "another" })).status, 401, "a wrong key");
}

async function main() {
  if (await isListening()) throw new Error(`port ${PORT} is in use: the test needs it`);
  // A process group of its own, as a shell gives to what is typed into a terminal.
  const dev = spawn("npm", ["run", "dev"], { cwd: WORKER, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [dev.stdout, dev.stderr]) stream.on("data", (data) => (output += data));
  const exit = once(dev, "exit");
  try {
    await until("the worker to listen", START_MS_MAX, () => {
      if (dev.exitCode !== null) throw new Error(`it ended with ${dev.exitCode}`);
      return isListening();
    });
    // The first build takes minutes, and seems to hang unless cargo's output is shown.
    // Wrangler puts its own words before each piece that it reads.
    const heard = output.replace(/\s*(\[custom build\]\s*)+/g, " ");
    if (!/Finished `worker` profile/.test(heard)) throw new Error("cargo was not heard");
    await session();
    // Ctrl-C in a terminal reaches the whole group.
    process.kill(-dev.pid, "SIGINT");
    const late = pause(END_MS_MAX, null, { ref: false });
    if (!(await Promise.race([exit, late]))) throw new Error(`still there ${END_MS_MAX} ms after Ctrl-C`);
    await until("its processes to end", END_MS_MAX, () => !isAlive(dev.pid));
    await until("its port to be free", END_MS_MAX, async () => !(await isListening()));
  } catch (error) {
    throw new Error(`${error.message}\nnpm run dev wrote:\n${output}`);
  } finally {
    if (isAlive(dev.pid)) process.kill(-dev.pid, "SIGKILL");
  }
}

await main().then(
  () => console.log("1 passed, 0 failed"),
  (error) => {
    console.log(`FAILED a first run: ${error.message}`);
    process.exitCode = 1;
  },
);
