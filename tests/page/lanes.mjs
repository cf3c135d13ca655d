// Cuts the lines of clients on the try-out page of a running server, and looks who got what:
//
//     node lanes.mjs http://127.0.0.1:3000 FOLDER [PICTURE]
//
// In all rooms but `loose` the server keeps a history and lists the members; its API key, if it has one, is in
// ROOMCAST_API_KEY. FOLDER gets the page in both themes and two widths, PICTURE that of the README: `screens.mjs` takes both. Then the
// keyboard alone does it.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import process from "node:process";
import { launch, openPage, pane } from "./browser.mjs";

const [url, folder, picture] = process.argv.slice(2);
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const THEMES = ["light", "dark"];
const SIZES = [{ width: 1440, height: 900 }, { width: 390, height: 844 }];
/** The most stops on the way of the Tab key around the page. */
const STOPS_MAX = 200;

const cells = (page, name) => page.getByTestId("deliveries").getByRole("button", { name });
const shows = (locator, text) => locator.filter({ hasText: text }).waitFor();

async function joined(page, room, ...lanes) {
  for (const lane of lanes) {
    await lane.connected();
    await lane.join(room);
  }
}

/** A tab with the API key. */
async function openTab(browser, options) {
  const tab = await openPage(browser, url, options);
  const key = process.env.ROOMCAST_API_KEY;
  if (key) await tab.context.addInitScript((key) => sessionStorage.setItem("roomcast-api-key", key), key);
  return tab;
}

/** Publishes, and waits until the server has it. */
async function said(from, event, data, options) {
  await from.publish(event, data, options);
  await from.row(`[data-dir="in"][data-event="${event}"]`).filter({ hasText: '"reached"' }).last().waitFor();
}

/** Parts of the heads of the lanes that are not to be seen as a whole. */
const cutOff = () =>
  [...document.querySelectorAll(".pane-head")].flatMap((head) => {
    const { right } = head.getBoundingClientRect();
    const isCut = (node) => node.getBoundingClientRect().right > right || node.scrollWidth > node.clientWidth + 1;
    return [...head.querySelectorAll("button, .state")].filter(isCut).map(({ className }) => className);
  });

const steps = {
  async "a room shows who is there"({ page, a, b }) {
    await joined(page, "lobby", a, b);
    for (const lane of [a, b]) await lane.root.getByRole("img", { name: "here: Client A, Client B" }).waitFor();
  },

  async "one person with two tabs is one in the list of members"({ page, a, b }) {
    await a.part("another-tab").click();
    const tab = pane(page, "a2");
    await tab.isIn("lobby");
    for (const lane of [a, b, tab]) await lane.root.getByRole("img", { name: "here: Client A (2 tabs), Client B" }).waitFor();
    await said(b, "both", "1", { room: "lobby" });
    for (const name of ["Client A", "Client A2"]) await cells(page, `${name}: got. Why?`).waitFor();
    await tab.part("close-pane").click();
    await b.root.getByRole("img", { name: "here: Client A, Client B" }).waitFor();
  },

  async "a message shows who got it, and why"({ page, a, b }) {
    await said(a, "hello", "1");
    await cells(page, "Client A: own. Why?").waitFor();
    await cells(page, "Client B: got. Why?").click();
    await shows(page.getByTestId("why"), /hello: Client B was in lobby.*The server says: /s);
    await said(b, "aside", "1", { room: "nobody" });
    await cells(page, "Client A: not in it. Why?").click();
    await shows(page.getByTestId("why"), "Client A was not in nobody.");
  },

  async "a line that is cut and mended loses nothing"({ page, a, b }) {
    await b.part("cut").click();
    await shows(b.part("state"), "No line");
    await said(a, "missed", "1", { room: "lobby" });
    await said(a, "missed", "2");
    await shows(b.part("recovery"), "The line is cut: missed 2 messages in lobby so far.");
    assert.equal(await cells(page, "Client B: away. Why?").count(), 2);
    await shows(a.part("absent"), "B away, 2 waiting");
    // What is published meanwhile waits.
    await b.publish("waited", "3", { room: "lobby" });
    await shows(page.getByTestId("deliveries"), "waits for the line");
    await b.part("cut").click();
    await shows(b.part("recovery"), "Back in lobby: 2 missed, 2 recovered.");
    await cells(page, "Client B: recovered. Why?").nth(1).waitFor();
    await a.row('[data-kind="push"][data-event="waited"]').waitFor();
    await a.settle();
    await b.settle();
    assert.equal(await a.row('[data-kind="push"][data-event="waited"]').count(), 1);
    assert.equal(await b.row('[data-kind="push"][data-event="missed"]').count(), 2);
    assert.deepEqual(await b.row('[data-dir="out"][data-event="waited"]').count(), 1, "it was sent with a line alone");
    await cells(page, "Client B: recovered. Why?").first().click();
    await shows(page.getByTestId("why"), /got what it had missed.*The server says: .*recovered/s);
    await page.locator('[data-step="recover"].done').waitFor();
  },

  async "a client that sleeps gets what came when it wakes"({ page, a, b }) {
    await b.part("sleep").click();
    await shows(b.part("state"), "Asleep");
    await a.publish("dreamt", "1", { room: "lobby" });
    await a.settle();
    await cells(page, "Client B: …. Why?").waitFor();
    assert.equal(await b.row('[data-event="dreamt"]').count(), 0);
    const before = await b.row('[data-event="close"]').count();
    await b.row('[data-kind="push"][data-event="dreamt"]').waitFor({ timeout: 15_000 });
    await b.connected();
    await b.settle();
    assert.equal(await b.row('[data-event="dreamt"]').count(), 1);
    assert.equal(await b.row('[data-event="close"]').count(), before, "the socket stays");
  },

  async "a slow reader gets one frame in a second"({ a, b }) {
    const times = async () => (await b.row('[data-kind="push"][data-event="slow"] time').evaluateAll((all) => all.map(({ dateTime }) => Date.parse(dateTime))));
    await b.part("slow").click();
    for (const data of ["1", "2", "3"]) await a.publish("slow", data, { room: "lobby" });
    await b.row('[data-kind="push"][data-event="slow"]').nth(2).waitFor();
    const [first, , last] = await times();
    assert.ok(last - first >= 1900, `three in ${last - first} ms`);
    await b.part("slow").click();
    await b.connected();
    await b.settle();
  },

  async "messages unfold as frames, and Raw is remembered"({ page, a, b }) {
    await page.getByTestId("raw").click();
    await a.publish("unfolded", "12345678901234567890", { room: "lobby" });
    const card = (lane, status) => lane.part("messages").locator(`[data-status="${status}"][data-event="unfolded"]`);
    await card(b, "got").filter({ hasText: /12345678901234567890.*from Client A.*ms/ }).waitFor();
    await card(a, "own").filter({ hasText: /reached 1.*ms/ }).locator("summary").click();
    await card(a, "own").locator('.row[data-dir="out"]').waitFor();
    await card(a, "own").locator('.row[data-dir="in"]').filter({ hasText: '"reached"' }).waitFor();
    assert.ok(!(await a.part("log").isVisible()));
    await b.part("raw-switch").click();
    await b.row('[data-event="unfolded"]').waitFor();
    assert.ok(await a.part("messages").isVisible(), "the switch of one client is its own");
    await page.reload();
    for (const lane of [a, b]) await lane.isIn("lobby");
    assert.ok(await b.part("log").isVisible());
    assert.ok(await a.part("messages").isVisible());
    await a.part("raw-switch").click();
  },

  async "what a room without a history cannot replay is lost"({ page, a, b }) {
    await joined(page, "loose", a, b);
    await a.part("cut").click();
    await said(b, "gone", "1", { room: "loose" });
    await a.part("cut").click();
    await shows(a.part("recovery"), "Back in loose: 1 message lost, of those that this page saw.");
    await shows(a.part("recovery"), "Back in lobby: nothing was missed.");
    await cells(page, "Client A: lost. Why?").click();
    await shows(page.getByTestId("why"), "loose could not replay it");
    assert.equal(await a.row('[data-event="gone"]').count(), 0);
  },

  async "a client that stays away does not get what it left"({ page, a, b }) {
    await a.part("connect").click();
    await shows(a.part("recovery"), "Away: missed nothing so far.");
    await said(b, "later", "1", { room: "lobby" });
    await shows(a.part("recovery"), "Away: missed 1 message in lobby so far.");
    await a.part("connect").click();
    await shows(a.part("recovery"), "Back in lobby: 1 missed, 1 recovered.");
    await a.part("cut").click();
    await said(b, "never", "1");
    await a.part("chips").getByRole("button", { name: "Leave lobby", exact: true }).click();
    await cells(page, "Client A: left. Why?").waitFor();
    await a.part("cut").click();
    await a.connected();
    await a.settle();
    assert.equal(await a.row('[data-event="never"]').count(), 0);
    await b.root.getByRole("img", { name: "here: Client B", exact: true }).waitFor();
  },

  async "a room that was joined by a raw frame is like any other"({ page, a, b }) {
    await a.sendRaw('{"event":"$join","id":"hand","room":"lobby"}');
    await a.part("chips").locator("bdi").getByText("lobby", { exact: true }).waitFor();
    await said(b, "raw", "1", { room: "lobby" });
    await cells(page, "Client A: got. Why?").first().waitFor();
    await a.sendRaw('{"event":"$leave","room":"lobby"}');
    await a.part("chips").locator("bdi").getByText("lobby", { exact: true }).waitFor({ state: "detached" });
  },

  async "a phone shows one client at a time, and the form to publish"({ page, a, b }) {
    await page.setViewportSize(SIZES[1]);
    const tab = (name) => page.getByRole("tab", { name });
    await tab("Client A").click();
    assert.ok(!(await b.root.isVisible()), "one at a time");
    await tab("Client A").press("ArrowRight");
    await b.root.waitFor();
    assert.ok(!(await a.root.isVisible()), "an arrow goes to the next");
    assert.equal(await tab("Client B").getAttribute("aria-selected"), "true");
    await b.join("lobby");
    await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
    const { y, height } = await b.part("publish").boundingBox();
    assert.ok(y + height <= SIZES[1].height, "the form is not at hand");
    await b.publish("small", "1", { room: "lobby" });
    await cells(page, "Client B: own. Why?").first().waitFor();
    await page.setViewportSize(SIZES[0]);
    await a.root.waitFor();
  },

  async "nothing is found by axe, in both themes and two widths, with two clients and three"({ page, a }) {
    await a.sendRaw("oops");
    await a.row('[data-kind="error"]').first().waitFor();
    await a.part("identity").click();
    await a.publish("typo", "{oops");
    await a.part("messages").locator("summary").first().evaluate((node) => node.click());
    await looksWell(page, "page");
    await page.getByTestId("raw").click();
    await looksWell(page, "messages");
    await a.part("another-tab").click();
    await pane(page, "a2").root.waitFor();
    await looksWell(page, "three");
  },
};

/** Takes pictures, and has axe look for faults. */
async function looksWell(page, name) {
  for (const colorScheme of THEMES) {
    for (const size of SIZES) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await page.setViewportSize(size);
      await page.screenshot({ path: `${folder}/${name}-${colorScheme}-${size.width}.png` });
      assert.deepEqual(await page.evaluate(cutOff), [], `cut off at ${size.width} px`);
      const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
      assert.ok(content <= window, `${content} px wide`);
      await page.evaluate(axe);
      const { violations, passes } = await page.evaluate(() => window.axe.run());
      const found = violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html}\n${failureSummary}`));
      assert.deepEqual(found, [], `${name}, ${colorScheme}, ${size.width} px`);
      assert.ok(passes.length > 20, "axe has looked");
    }
  }
}

/** A hand on the keyboard, and none on the mouse. */
class Keyboard {
  constructor(page) {
    this.page = page;
  }

  press(key) {
    return this.page.keyboard.press(key);
  }

  /** Goes to a control by the Tab key. Every stop on the way has to be seen. */
  async to(target) {
    for (let stop = 0; stop < STOPS_MAX; stop += 1) {
      if (await target.evaluate((node) => node === document.activeElement)) return;
      await this.press("Tab");
      const unseen = await this.page.evaluate(() => {
        const { activeElement: node } = document;
        return node === document.body || getComputedStyle(node).outlineStyle !== "none" ? null : node.outerHTML;
      });
      assert.equal(unseen, null, "the focus is not seen");
    }
    assert.fail(`the Tab key does not reach ${target}`);
  }

  async enter(target) {
    await this.to(target);
    await this.press("Enter");
  }
}

/** Joins, publishes, cuts the line and asks why, without a mouse. */
async function tryKeyboard(browser) {
  const { page, context, faults } = await openTab(browser, { viewport: SIZES[0] });
  await page.goto(url);
  const [a, b] = [pane(page, "a"), pane(page, "b")];
  const hand = new Keyboard(page);
  for (const lane of [a, b]) {
    await lane.connected();
    await hand.to(lane.part("room-input"));
    await page.keyboard.type("lobby-2"); // What is there is selected.
    await hand.enter(lane.part("join"));
    await lane.part("chips").locator("bdi").getByText("lobby-2", { exact: true }).waitFor();
  }
  const typed = async (text) => {
    await hand.to(a.part("data-input"));
    await hand.press("Control+a");
    await page.keyboard.type(text);
    await hand.press("Enter");
  };
  await typed("1");
  await b.row('[data-kind="push"]').waitFor();
  await hand.enter(b.part("cut"));
  await shows(b.part("state"), "No line");
  await typed("2");
  await shows(b.part("recovery"), "missed 1 message");
  await hand.enter(b.part("cut"));
  await shows(b.part("recovery"), "1 missed, 1 recovered");
  // Arrows move within the table, which is one stop.
  await hand.to(cells(page, "Client A: own. Why?").first());
  await hand.press("ArrowRight");
  await hand.press("Enter");
  await shows(page.getByTestId("why"), "Client B was away.");
  await hand.press("ArrowDown");
  await hand.press("Enter");
  await shows(page.getByTestId("why"), "Client B was in lobby-2");
  // From client to client, and from message to message.
  await hand.to(b.part("cut"));
  await hand.press("ArrowLeft");
  assert.ok(await a.root.evaluate((node) => node === document.activeElement), "the arrow goes to the client on the left");
  await hand.press("[");
  await shows(page.getByTestId("why"), "Client A published it.");
  await hand.press("ArrowUp");
  await hand.enter(a.part("raw-switch"));
  await a.part("messages").waitFor();
  await hand.enter(a.part("messages").locator("summary").last());
  await a.part("messages").locator("details[open] .row").first().waitFor();
  await hand.enter(a.part("raw-switch"));
  await hand.enter(a.part("raw-toggle"));
  await hand.enter(a.part("raw-send"));
  await a.row('[data-event="$pong"]').first().waitFor();
  await hand.enter(a.part("chips").getByRole("button", { name: "Leave lobby-2", exact: true }));
  await a.part("chips").locator("bdi").getByText("lobby-2", { exact: true }).waitFor({ state: "detached" });
  await hand.enter(page.getByTestId("add-pane"));
  const c = pane(page, "c");
  await c.connected();
  await hand.enter(c.part("close-pane"));
  await c.root.waitFor({ state: "detached" });
  await hand.enter(page.getByTestId("theme"));
  await page.locator(':root[data-theme="dark"]').waitFor();
  await context.close();
  assert.deepEqual(faults, []);
}

/** A conversation between two clients, for people who read about the page before they see it. */
async function takePicture(browser) {
  const { page, context, faults } = await openTab(browser, { viewport: { width: 1280, height: 800 }, reducedMotion: "reduce" });
  await page.goto(`${url}/#ns=chess`);
  const [a, b] = [pane(page, "a"), pane(page, "b")];
  await joined(page, "game-7", a, b);
  for (const lane of [a, b]) {
    await lane.leave("lobby");
    await lane.settle();
    await lane.part("raw-toggle").click();
    await lane.part("clear").click();
  }
  await said(a, "said", '{"text": "Your move!"}', { room: "game-7" });
  await b.row('[data-kind="push"]').waitFor();
  await b.part("cut").click();
  await said(a, "moved", '{"piece": "knight", "to": "f3"}');
  await said(a, "said", '{"text": "Are you there?"}');
  await b.part("cut").click();
  await shows(b.part("recovery"), "2 missed, 2 recovered");
  await b.connected();
  await said(b, "moved", '{"piece": "pawn", "to": "d5"}', { room: "game-7" });
  await a.row('[data-kind="push"][data-event="moved"]').waitFor();
  await cells(page, "Client B: recovered. Why?").first().click();
  await shows(page.getByTestId("why"), "The server says");
  await page.getByTestId("raw").click();
  await a.part("messages").waitFor();
  await page.mouse.move(0, 0);
  await page.evaluate(() => document.activeElement.blur());
  await page.screenshot({ path: picture });
  for (const colorScheme of THEMES) {
    for (const size of SIZES) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await page.setViewportSize(size);
      await page.screenshot({ path: `${folder}/page-${colorScheme}-${size.width}.png` });
    }
  }
  await context.close();
  assert.deepEqual(faults, []);
}

const browser = await launch();
let step = "open the page";
let seen = [];
try {
  const { page, context, faults } = await openTab(browser);
  seen = faults;
  await page.goto(url);
  const scene = { page, a: pane(page, "a"), b: pane(page, "b") };
  for (const [name, run] of Object.entries(steps)) {
    step = name;
    await run(scene);
    assert.deepEqual(faults, [], "the browser reported a fault");
    console.log(`ok   ${name}`);
  }
  await context.close();
  step = "the keyboard alone does it";
  await tryKeyboard(browser);
  console.log(`ok   ${step}`);
  step = "take the picture";
  if (picture) await takePicture(browser);
} catch (error) {
  console.error(`FAIL ${step}\n${error.message}`);
  for (const fault of seen) console.error(`     ${fault}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
