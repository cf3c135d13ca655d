// The template of the worker, copied beside the repository as its first lines say, in a real browser:
//
//     node template.mjs [PORT]
//
// PORT is one that the caller keeps from others; without it any free one is taken. Wants `npm ci` in
// host-worker. It builds the worker, when that was not done before.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdtemp, rm, symlink } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { launch, openPage } from "./browser.mjs";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const START_MS_MAX = 240_000;

async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  return port;
}

/** Waits until the process says that it listens. */
async function ready(dev) {
  let said = "";
  const patience = setTimeout(() => process.kill(-dev.pid), START_MS_MAX);
  for (const stream of [dev.stdout, dev.stderr]) stream.on("data", (data) => (said += data));
  const ended = once(dev, "exit").then(() => assert.fail(`it has ended:\n${said}`));
  const listens = new Promise((resolve) => dev.stdout.on("data", () => said.includes("Ready on") && resolve()));
  await Promise.race([listens, ended]);
  ended.catch(() => {});
  clearTimeout(patience);
}

/** The inspector is served beside the chat, and opens a journal. */
async function inspects(url) {
  const { page, faults } = await openPage(browser, url);
  const answer = await page.goto(`${url}/inspect`);
  assert.match(answer.headers()["content-security-policy"] ?? "", /default-src 'none'.*'wasm-unsafe-eval'/);
  const begin = { at: 0, namespace: "n", open: { config: { epoch: "e" }, state: { next_serial: 0 } } };
  const lines = [begin, { at: 1, namespace: "n", input: { connect: { welcome: true } } }];
  const buffer = Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  await page.getByTestId("picker").setInputFiles({ name: "1.jsonl", mimeType: "text/plain", buffer });
  await page.getByTestId("status").getByText(/all read/).waitFor();
  await page.keyboard.press("ArrowDown");
  await page.getByTestId("frames").getByText("$welcome").waitFor();
  assert.deepEqual(faults, []);
}

const folder = await mkdtemp(join(tmpdir(), "roomcast-template-"));
const own = join(folder, "my-chat");
await symlink(ROOT, join(folder, "roomcast"));
await cp(join(ROOT, "host-worker/template"), own, { recursive: true });
// In the place of `npm install`.
await symlink(join(ROOT, "host-worker/node_modules"), join(own, "node_modules"));
const port = process.argv[2] ?? (await freePort());
const dev = spawn("npm", ["run", "dev", "--", "--port", `${port}`, "--inspector-port", "0", "--show-interactive-dev-session=false"], {
  cwd: own, detached: true, stdio: ["ignore", "pipe", "pipe"],
  env: { ...process.env, CLOUDFLARE_CF_FETCH_ENABLED: "false", WRANGLER_SEND_METRICS: "false" },
});
const browser = await launch();
try {
  await ready(dev);
  const url = `http://127.0.0.1:${port}`;
  const tabs = [await openPage(browser, url), await openPage(browser, url)];
  for (const { page } of tabs) {
    await page.goto(`${url}/`);
    await page.locator("#state").getByText("open").waitFor();
  }
  const [ann, bob] = tabs.map(({ page }) => page);
  await ann.locator("#here").getByText("2").waitFor();
  await ann.getByLabel("Message").fill("hello");
  await ann.keyboard.press("Enter");
  await bob.locator("li").getByText("hello", { exact: true }).waitFor();
  // The history is there after a reload.
  await bob.reload();
  await bob.locator("li").getByText("hello", { exact: true }).waitFor();
  await inspects(url);
  const isOwn = (text) => !/status of 404/.test(text); // There is no icon.
  assert.deepEqual(tabs.flatMap(({ faults }) => faults).filter(isOwn), []);
} finally {
  await browser.close();
  if (dev.exitCode === null) process.kill(-dev.pid);
  await rm(folder, { recursive: true });
}
console.log("the template of the worker: as it should be");
