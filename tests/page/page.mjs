// Drives the try-out page of a running server in a real browser:
//
//     node page.mjs http://127.0.0.1:3000
//     node page.mjs http://127.0.0.1:8080/chat --key KEY
//
// The server must run without API keys, be reached over loopback, and keep a history of the room `kept`
// and of no other. With a key it is one behind a proxy, with any path in front; then only what depends
// on where the page is gets tried. CHROMIUM names the browser.
// Every wait is for a condition that the page or the protocol's ordering guarantees.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import process from "node:process";
import { WAIT_MS_MAX, launch, openPage, pane } from "./browser.mjs";

async function memberCount(page, room, count) {
  const item = page.getByTestId("rooms").locator("li").filter({ has: page.locator("bdi").getByText(room, { exact: true }) });
  if (count === 0) await item.waitFor({ state: "detached" });
  else await item.locator(".count").getByText(String(count), { exact: true }).waitFor();
}

const steps = {
  async "the page has a strict content security policy"({ policy }) {
    assert.match(policy ?? "", /default-src 'none'/, "the response to GET / needs a Content-Security-Policy");
  },

  async "both clients connect by themselves"({ page, a, b }) {
    await a.connected();
    await b.connected();
    await page.getByTestId("status").getByText("2 of 2 connected").waitFor();
    for (const client of [a, b]) await client.row('[data-dir="in"][data-event="$welcome"]').waitFor();
    assert.notEqual(await a.part("conn").textContent(), await b.part("conn").textContent());
  },

  async "both clients are in a room from the start, and publishing is next"({ page, a, b }) {
    for (const client of [a, b]) await client.isIn("lobby");
    await memberCount(page, "lobby", 2);
    await page.locator('[data-step="join"].done').waitFor();
    await page.locator('[data-step="publish"]:not(.done) details[open]').waitFor();
    assert.equal(await page.locator(".step details[open]").count(), 1, "one action at a time");
  },

  async "one click on publish crosses over, and not back"({ a, b }) {
    await a.part("publish").click();
    const arrived = b.row('[data-kind="push"][data-event="said"]');
    await arrived.waitFor();
    assert.match(await arrived.textContent(), /Hello from A.*from Client A/);
    await a.row('[data-dir="in"][data-event="said"]').filter({ hasText: '"reached"' }).waitFor();
    await a.settle();
    assert.equal(await a.row('[data-kind="push"]').count(), 0, "the sender got its own message without echo");
  },

  async "echo brings the sender its own message"({ a, b }) {
    await a.publish("echoed", "12345678901234567890", { echo: true });
    for (const client of [a, b]) {
      const arrived = client.row('[data-kind="push"][data-event="echoed"]');
      await arrived.filter({ hasText: "12345678901234567890" }).waitFor();
    }
    await a.row('[data-kind="push"]').filter({ hasText: "own echo" }).waitFor();
  },

  async "data that is not JSON is refused, or sent as a string"({ a, b }) {
    await a.publish("typo", "{oops");
    await a.part("data-error").getByText(/not JSON/).waitFor();
    assert.equal(await a.part("data-input").getAttribute("aria-invalid"), "true");
    assert.equal(await a.row('[data-event="typo"]').count(), 0, "a frame with broken data was sent");
    await a.part("send-as-string").click();
    await b.row('[data-kind="push"][data-event="typo"]').filter({ hasText: '"{oops"' }).waitFor();
    await a.part("data-error").waitFor({ state: "hidden" });
  },

  async "a raw frame that is no envelope is answered with bad_envelope"({ a }) {
    await a.sendRaw("not an envelope");
    await a.row('[data-kind="error"][data-code="bad_envelope"]').waitFor();
    await a.connected();
  },

  async "a forgotten dollar sign gets a hint, where the frame did nothing"({ a, b }) {
    const hinted = a.row('[data-kind="warn"]').filter({ hasText: "did you mean $join?" });
    await a.sendRaw('{"event":"join","id":1,"room":"nowhere"}');
    await a.row('[data-dir="in"][data-kind="warn"]').filter({ hasText: /"reached"\s*:\s*0.*did you mean \$join\?/s }).waitFor();
    await a.sendRaw('{"event":"join","room":"nowhere"}');
    await a.row('[data-dir="out"][data-kind="warn"]').filter({ hasText: "did you mean $join?" }).waitFor();
    await a.sendRaw('{"event":"ping"}');
    await a.row('[data-kind="error"][data-code="unknown_event"]').filter({ hasText: "did you mean $ping?" }).waitFor();
    assert.equal(await hinted.count(), 2);
    // A word that is somebody's own event gets none, nor does what reached somebody.
    await a.sendRaw('{"event":"said","id":2,"room":"nowhere"}');
    await b.join("dance");
    await a.sendRaw('{"event":"join","id":3,"room":"dance"}');
    await b.row('[data-kind="push"][data-event="join"]').waitFor();
    await a.settle();
    assert.equal(await hinted.count(), 2);
    await b.leave("dance");
  },

  async "what others send stays text"({ page, a, b }) {
    const room = "<img src=x onerror=alert(1)>";
    await b.join(room);
    await memberCount(page, room, 1);
    await a.publish("<b>bold</b>", '{"__proto__":{"polluted":1},"html":"<img src=x onerror=alert(2)>"}', { room });
    await b.row('[data-kind="push"]').filter({ hasText: "alert(2)" }).filter({ hasText: '"__proto__"' }).waitFor();
    assert.equal(await page.locator("main img, main b").count(), 0, "received text became markup");
    assert.equal(await page.evaluate(() => ({}).polluted), undefined);
    await b.leave(room);
    await b.join("__proto__");
    await memberCount(page, "__proto__", 1);
    await b.leave("__proto__");
  },

  async "a push over HTTP arrives, with the command the page shows"({ page, b, url }) {
    const command = await page.getByTestId("command-curl").textContent();
    assert.ok(command.endsWith(` ${url}/api/v1/default/send`), command);
    const response = await page.request.post(`${url}/api/v1/default/send`, {
      data: { audience: { rooms: ["lobby"] }, event: "pushed", data: { text: "from the backend" } },
    });
    assert.equal(response.status(), 200);
    await b.row('[data-kind="push"][data-event="pushed"]').filter({ hasText: "from the server" }).waitFor();
    await page.locator('[data-step="push"].done').waitFor();
  },

  async "the server says what it is"({ page }) {
    await page.getByTestId("server").locator("summary").click();
    await page.getByTestId("server-facts").getByText("Version", { exact: true }).waitFor();
    assert.match(await page.getByTestId("server-facts").textContent(), /Version\d+\.\d+\.\d+Hostnative.*Threads1.*Storenone: .*Room policiesyes/s);
  },

  async "a click on a live room fills the room field"({ page, b }) {
    await b.part("room-input").fill("elsewhere");
    await page.getByTestId("rooms").getByRole("button", { name: /^lobby / }).click();
    assert.equal(await b.part("room-input").inputValue(), "lobby");
  },

  async "leaving lowers the count, and the last one ends the room"({ page, a, b }) {
    await a.leave("lobby");
    await memberCount(page, "lobby", 1);
    await b.leave("lobby");
    await memberCount(page, "lobby", 0);
  },

  async "a third client comes and goes"({ page }) {
    await page.getByTestId("add-pane").click();
    const c = pane(page, "c");
    await c.connected();
    await c.join("trio");
    await memberCount(page, "trio", 1);
    await c.part("close-pane").click();
    await c.root.waitFor({ state: "detached" });
    await memberCount(page, "trio", 0);
  },

  async "the log is filtered, held, and saved with its milliseconds"({ page, a }) {
    await a.settle();
    await a.part("seek").fill("$PONG");
    await a.row('[data-event="said"]').first().waitFor({ state: "hidden" });
    assert.ok(await a.row('[data-event="$pong"]').last().isVisible());
    await a.part("seek").fill("");
    await a.part("pause").click();
    await a.publish("held", "1", { room: "nobody" });
    await page.getByTestId("deliveries").getByText("held").waitFor();
    assert.equal(await a.row('[data-event="held"]').count(), 0);
    await a.part("pause").click();
    await a.row('[data-dir="in"][data-event="held"]').filter({ hasText: /\d+\.\d ms/ }).waitFor();
    const [download] = await Promise.all([page.waitForEvent("download"), a.part("export").click()]);
    assert.equal(download.suggestedFilename(), "client-a.jsonl");
    const lines = (await readFile(await download.path(), "utf8")).split("\n").map((line) => JSON.parse(line));
    assert.ok(lines.some(({ at, dir, text }) => /\.\d{3}Z$/.test(at) && dir === "out" && text.includes('"held"')));
  },

  async "disconnect and connect give a new connection"({ a }) {
    const before = await a.part("conn").textContent();
    await a.part("connect").click();
    await a.root.getByTestId("state").getByText("Disconnected").waitFor();
    assert.ok(await a.part("publish").isDisabled());
    await a.part("connect").click();
    await a.connected();
    assert.notEqual(await a.part("conn").textContent(), before);
  },

  async "who comes back gets what it missed, where the room keeps a history"({ page, a, b }) {
    for (const client of [a, b]) await client.join("kept");
    await a.publish("before", "0");
    await b.row('[data-kind="push"][data-event="before"]').waitFor();
    await b.part("connect").click();
    await b.root.getByTestId("state").getByText("Disconnected").waitFor();
    for (const data of ["1", "2"]) await a.publish("missed", data);
    await a.row('[data-dir="in"][data-event="missed"]').nth(1).waitFor();
    await b.part("connect").click();
    await b.row('[data-event="$join"]').filter({ hasText: "recovered: 2 missed messages follow" }).waitFor();
    await b.row('[data-kind="push"][data-event="missed"]').nth(1).waitFor();
    await page.locator('[data-step="recover"].done').waitFor();
    // Nothing of it comes a second time.
    await b.part("connect").click();
    await b.part("connect").click();
    await b.row('[data-event="$join"]').filter({ hasText: "recovered: 0 missed messages follow" }).waitFor();
    await b.settle();
    assert.equal(await b.row('[data-kind="push"][data-event="missed"]').count(), 2);
    for (const client of [a, b]) await client.leave("kept");
  },

  async "where the room keeps none, it is told so"({ a, b }) {
    await a.join("loose");
    await a.part("connect").click();
    await a.part("connect").click();
    await a.row('[data-kind="warn"][data-event="$join"]').filter({ hasText: "not recovered" }).waitFor();
    await a.leave("loose");
    await b.connected();
  },

  async "a namespace of its own has its own rooms"({ page, a, b }) {
    await b.join("apart");
    await memberCount(page, "apart", 1);
    await page.getByTestId("namespace").fill("side-stage");
    await page.getByTestId("namespace").press("Enter");
    await a.connected();
    await b.connected();
    await memberCount(page, "apart", 0);
    await a.join("stage");
    await memberCount(page, "stage", 1);
    await a.leave("stage");
  },

  async "the keyboard alone joins and publishes"({ a, b }) {
    await b.join("keys");
    await a.part("room-input").fill("keys");
    await a.part("room-input").press("Enter");
    await a.part("chips").locator("bdi").getByText("keys", { exact: true }).waitFor();
    await a.part("event-input").fill("typed");
    await a.part("data-input").fill("[1,");
    await a.part("data-input").press("Shift+Enter");
    await a.part("data-input").pressSequentially("2]");
    await a.part("data-input").press("Enter");
    await b.row('[data-kind="push"][data-event="typed"]').waitFor();
  },

  async "a flood leaves the log bounded and at its end"({ page, b, url }) {
    const send = (event) => page.request.post(`${url}/api/v1/side-stage/send`, { data: { audience: { rooms: ["keys"] }, event, data: null } });
    for (let batch = 0; batch < 15; batch += 1) await Promise.all(Array.from({ length: 30 }, () => send("flood")));
    await send("last");
    const newest = b.row('[data-event="last"]');
    await newest.waitFor();
    const rows = await b.row("").count();
    assert.ok(rows >= 100 && rows < 450, `${rows} rows are kept`);
    const hidden = await b.part("log").evaluate((log) => log.scrollHeight - log.scrollTop - log.clientHeight);
    assert.ok(hidden < 2, `the newest rows are ${hidden} px out of view`);
    await b.part("clear").click();
    assert.equal(await b.row("").count(), 0);
  },

  async "a client that is told to come back does, and joins again"({ page, b, url }) {
    const before = await b.part("conn").textContent();
    const response = await page.request.delete(`${url}/api/v1/side-stage/connections/${before}?code=1001`);
    assert.equal(response.status(), 200);
    await b.row('[data-event="$bye"]').waitFor();
    await b.row('[data-event="close"][data-code="1001"]').waitFor();
    await b.row('[data-dir="in"][data-event="$join"]').first().waitFor();
    await b.connected();
    await b.part("chips").locator("bdi").getByText("keys", { exact: true }).waitFor();
    assert.notEqual(await b.part("conn").textContent(), before);
  },

  async "a client that is removed stays away, and says why"({ page, b, url }) {
    await page.request.delete(`${url}/api/v1/side-stage/connections/${await b.part("conn").textContent()}`);
    await b.row('[data-event="$bye"]').filter({ hasText: "removed by the application" }).waitFor();
    await b.row('[data-kind="error"][data-event="close"][data-code="4410"]').waitFor();
    await b.root.getByTestId("state").getByText("Disconnected").waitFor();
    await b.part("connect").click();
    await b.connected();
  },

  async "a reload keeps clients and rooms"({ page, a, b }) {
    await a.join("stays");
    await page.getByTestId("add-pane").click();
    const c = pane(page, "c");
    await c.connected();
    await page.reload();
    for (const client of [a, b, c]) await client.connected();
    await a.isIn("stays");
    await a.isIn("keys");
    await c.settle();
    assert.equal(await c.part("chips").locator("bdi").count(), 0, "it was in no room");
    await c.part("close-pane").click();
    await c.root.waitFor({ state: "detached" });
  },

  async "dark and light theme"({ page }) {
    const luminance = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor.match(/\d+/g).reduce((sum, part) => sum + Number(part), 0));
    assert.ok((await luminance()) > 600, "light theme expected");
    await page.getByTestId("theme").click();
    assert.ok((await luminance()) < 150, "dark theme expected after a click");
    await page.reload();
    assert.ok((await luminance()) < 150, "the chosen theme is lost on reload");
    await page.getByTestId("theme").click();
    await page.emulateMedia({ colorScheme: "dark" });
    assert.ok((await luminance()) > 600, "a chosen theme wins over the system's");
  },

  async "nothing is wider than a phone"({ page }) {
    await page.setViewportSize({ width: 360, height: 740 });
    const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(content <= window, `content is ${content} px wide in a window of ${window} px`);
  },
};

/** A server with API keys: the page asks for one, once, and keeps it for the session. */
async function tryApiKey(browser, url) {
  const { page, context } = await openPage(browser, url);
  const asked = [];
  await page.route("**/api/v1/**", (route) => {
    const key = route.request().headers().authorization;
    asked.push(key);
    if (key === "Bearer right") return route.fulfill({ json: { rooms: [{ room: "secret", members: 3 }] } });
    return route.fulfill({ status: 401, contentType: "application/problem+json", json: { status: 401, code: "unauthorized" } });
  });
  await page.goto(url);
  await page.getByTestId("rooms-note").getByText(/asks for its API key/).waitFor();
  await page.getByTestId("api-key").fill("wrong");
  await page.getByTestId("api-key-save").click();
  await page.getByTestId("rooms-note").getByText(/refused this API key/).waitFor();
  await page.getByTestId("api-key").fill("right");
  await page.getByTestId("api-key-save").click();
  await memberCount(page, "secret", 3);
  // It asks now and then, and may have asked twice with the same key.
  assert.deepEqual([...new Set(asked)], [undefined, "Bearer wrong", "Bearer right"]);
  assert.match(await page.getByTestId("command-curl").textContent(), /Authorization: Bearer \$ROOMCAST_API_KEY/);
  await context.close();
}

/** The first socket opens, and nothing comes: the other client is in its room all the same. */
async function trySilence(browser, url) {
  const { page, context, faults } = await openPage(browser, url);
  let sockets = 0;
  await page.routeWebSocket(/\/ws/, (socket) => {
    sockets += 1;
    if (sockets > 1) socket.connectToServer();
  });
  await page.goto(url);
  const [a, b] = [pane(page, "a"), pane(page, "b")];
  await b.isIn("lobby");
  assert.equal(await a.row('[data-dir="in"]').count(), 0, "client A was told something");
  // Its client gives up, and dials anew.
  await a.part("connect").click();
  await a.part("connect").click();
  await a.isIn("lobby");
  await context.close();
  assert.deepEqual(faults, []);
}

/** Everything is relative to the page: its sockets, its calls and the commands that it shows. */
async function tryBehindProxy(browser, url, key) {
  // Its certificate is our own.
  const { page, context, faults } = await openPage(browser, url, { ignoreHTTPSErrors: true });
  const response = await page.goto(url);
  assert.equal(response.status(), 200);
  assert.equal(page.url(), `${url}/`, "below a path the page is a folder");
  const [a, b] = [pane(page, "a"), pane(page, "b")];
  for (const client of [a, b]) {
    await client.connected();
    await client.join("lobby");
  }
  await page.getByTestId("rooms-note").getByText(/asks for its API key/).waitFor();
  await page.getByTestId("api-key").fill(key);
  await page.getByTestId("api-key-save").click();
  await memberCount(page, "lobby", 2);
  await a.part("publish").click();
  await b.row('[data-kind="push"][data-event="said"]').waitFor();
  const command = await page.getByTestId("command-curl").textContent();
  assert.ok(command.endsWith(` ${url}/api/v1/default/send`), command);
  const env = { ...process.env, ROOMCAST_API_KEY: key };
  execFileSync("sh", ["-c", command.replace("curl ", "curl -sS --fail ")], { env, timeout: WAIT_MS_MAX });
  await b.row('[data-kind="push"]').filter({ hasText: "Hello from curl" }).waitFor();
  const join = await page.getByTestId("command-join").textContent();
  const socket = `${url.replace(/^http/, "ws")}/ws`;
  assert.ok(join.endsWith(`--url ${socket}`), join);
  if (process.env.ROOMCAST_BIN) {
    // As it stands there, with a binary that need not be in the path.
    const typed = join.replace("roomcast join", `"$ROOMCAST_BIN" join`);
    const output = execFileSync("sh", ["-c", `echo '"from a terminal"' | ${typed}`], { env, timeout: WAIT_MS_MAX });
    assert.match(String(output), /"reached":2/);
    await b.row('[data-kind="push"]').filter({ hasText: "from a terminal" }).waitFor();
  }
  await page.getByTestId("namespace").fill("side-stage");
  await page.getByTestId("namespace").press("Enter");
  await a.connected();
  await a.join("stage");
  await memberCount(page, "stage", 1);
  assert.ok((await page.getByTestId("command-join").textContent()).includes(`${socket}/side-stage`));
  await page.reload();
  await a.connected();
  assert.equal(await page.getByTestId("namespace").inputValue(), "side-stage");
  await context.close();
  // What the browser says of the first call, which had no key.
  assert.deepEqual(faults.filter((fault) => !/\b401\b/.test(fault)), []);
}

function readArguments([url, flag, key, ...rest]) {
  const usage = "usage: node page.mjs http://127.0.0.1:PORT [--key KEY]";
  assert.ok(url?.startsWith("http") && rest.length === 0 && (flag === undefined || (flag === "--key" && key)), usage);
  return { url: url.replace(/\/$/, ""), key };
}

async function main() {
  const { url, key } = readArguments(process.argv.slice(2));
  const browser = await launch();
  let step = "open the page";
  let faults = [];
  try {
    if (key) {
      step = "the page works behind a proxy";
      await tryBehindProxy(browser, url, key);
      console.log(`ok   ${step}`);
      return;
    }
    const opened = await openPage(browser, url);
    const { page } = opened;
    faults = opened.faults;
    const response = await page.goto(url);
    assert.equal(response.status(), 200);
    const scene = { page, url, policy: response.headers()["content-security-policy"], a: pane(page, "a"), b: pane(page, "b") };
    for (const [name, run] of Object.entries(steps)) {
      step = name;
      await run(scene);
      assert.deepEqual(faults, [], "the browser reported a fault");
      console.log(`ok   ${name}`);
    }
    await opened.context.close();
    step = "the API key is asked for when the server wants one";
    await tryApiKey(browser, url);
    console.log(`ok   ${step}`);
    step = "a client that is not welcomed keeps no other out of its room";
    await trySilence(browser, url);
    console.log(`ok   ${step}`);
  } catch (error) {
    console.error(`FAIL ${step}\n${error.message}`);
    for (const fault of faults) console.error(`     ${fault}`);
    process.exitCode = 1;
  } finally {
    await browser.close();
  }
}

await main().catch((error) => {
  console.error(`FAIL ${error.message}`);
  process.exitCode = 1;
});
