// Drives the inspector in a real browser, with a journal of 10,000 inputs, and prints what it took:
//
//     node inspect.mjs http://127.0.0.1:3000 [--screenshots FOLDER]

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { launch, openPage } from "./browser.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const INPUTS = 10_000;
const CONNS = 40;
const ROOMS = ["lobby", "kitchen", "garden", "attic"];
const MESSAGE_LINE = 5_001;

/** The line of an input, or of what begins a namespace. */
const line = (at, record) => `${JSON.stringify({ at, namespace: "default", ...record })}\n`;
/** The id of a connection: slot and serial number are its own. */
const id = (number) => String(number * 1_048_577);

/** A journal: connections join, and then publish in turn. */
function journal() {
  const history = [{ match: "lobby", history: { messages: 10 } }];
  const lines = [line(0, { open: { config: { epoch: "e", policies: { rooms: history } }, state: { next_serial: 0 } } })];
  const input = (at, value) => lines.push(line(at, { input: value }));
  const text = (at, conn, value) => input(at, { text: { conn, text: JSON.stringify(value) } });
  for (let number = 0; number < CONNS; number += 1) input(1, { connect: {} });
  for (let number = 0; number < CONNS; number += 1) text(2, id(number), { event: "$join", room: ROOMS[number % 4], id: 1 });
  for (let number = 0; lines.length <= INPUTS; number += 1) {
    text(100 + number * 100, id(number % CONNS), { event: "said", room: ROOMS[number % 4], data: { number } });
  }
  return Buffer.from(lines.join(""));
}

const took = async (page) => (await page.getByTestId("status").textContent()).trim();

async function load(page, buffer) {
  await page.getByTestId("picker").setInputFiles({ name: "1.000001.jsonl", mimeType: "text/plain", buffer });
  await page.getByTestId("status").getByText(/all read in [\d.]+ ms$/).waitFor();
}

async function jump(page, number) {
  await page.getByTestId("number").fill(String(number));
  await page.getByTestId("number").press("Enter");
  await page.locator(`#line-${number}[aria-selected="true"]`).waitFor();
}

const steps = {
  async "a journal is opened"({ page, figures }) {
    await load(page, journal());
    assert.match(await page.getByTestId("file").textContent(), /10,001 lines/);
    figures.push(await took(page));
  },

  async "a jump shows frames and state"({ page, figures }) {
    await jump(page, MESSAGE_LINE);
    figures.push(await took(page));
    assert.match(await page.getByTestId("input").textContent(), /said/);
    assert.match(await page.getByTestId("frames").textContent(), /"event":"said"/);
    await page.getByTestId("state").getByText("10 members").first().waitFor();
    await jump(page, INPUTS + 1);
    figures.push(await took(page));
    await jump(page, MESSAGE_LINE);
    await page.getByTestId("forward").click();
    await page.locator(`#line-${MESSAGE_LINE + 1}[aria-selected="true"]`).waitFor();
    figures.push(await took(page));
    await page.getByTestId("back").click();
    await page.locator(`#line-${MESSAGE_LINE}[aria-selected="true"]`).waitFor();
    figures.push(await took(page));
  },

  async "what a jump needs is read first, while the page answers"({ page, figures }) {
    await page.getByTestId("picker").setInputFiles({ name: "2.000001.jsonl", mimeType: "text/plain", buffer: journal() });
    await page.getByTestId("file").getByText(/2\.000001/).waitFor();
    await jump(page, INPUTS + 1);
    figures.push(`at once ${await took(page)}`);
    await jump(page, MESSAGE_LINE);
    const counts = page.getByTestId("list").locator(".row").filter({ hasText: "→ 9" });
    await counts.first().waitFor();
  },

  async "a skipped input shows who got what only with it"({ page, figures }) {
    await page.getByTestId("skip").click();
    await page.getByTestId("skipped").waitFor();
    await page.getByTestId("status").getByText(/compared in/).waitFor();
    figures.push(await took(page));
    assert.equal(await page.locator("#differences .minus").count(), 1);
    assert.equal(await page.locator("#differences .id").count(), 1 + CONNS / ROOMS.length - 1);
    assert.match(await page.locator("#differences").textContent(), /line 5001/);
  },

  async "a filter leaves what is about it"({ page, figures }) {
    await page.getByTestId("filter").fill("room:kitchen event:said");
    figures.push(await took(page));
    const rows = page.getByTestId("list").locator(".row");
    for (const row of await rows.allTextContents()) assert.match(row, /kitchen/);
    await page.getByTestId("filter").fill(`conn:${id(3)}`);
    for (const row of await rows.allTextContents()) assert.match(row, new RegExp(id(3)));
    // Of the room that it is in, it gets what others say.
    await page.getByTestId("filter").fill(`not-received-by:${id(3)} room:attic`);
    await page.getByTestId("status").getByText(/^0 lines in/).waitFor();
    figures.push(`not received: ${await took(page)}`);
    await page.getByTestId("filter").fill(`not-received-by:${id(3)}`);
    // The messages of the three other rooms.
    await page.getByTestId("status").getByText(/^7,440 lines in/).waitFor();
    assert.match((await rows.allTextContents()).join(), /kitchen/);
    await page.getByTestId("filter").fill("");
    assert.ok(await rows.count() < 100, "rows that are out of view have elements");
  },

  async "the keyboard alone does all of it"({ page }) {
    await jump(page, MESSAGE_LINE);
    await page.getByTestId("list").focus();
    const at = (number) => page.locator(`#line-${number}[aria-selected="true"]`).waitFor();
    for (const [key, number] of [["ArrowDown", 1], ["ArrowRight", 2], ["[", 1], ["ArrowUp", 0], ["]", 1]]) {
      await page.keyboard.press(key);
      await at(MESSAGE_LINE + number);
    }
    await page.keyboard.press("End");
    await at(INPUTS + 1);
    await page.keyboard.press("Home");
    await at(1);
    await page.keyboard.press("s");
    assert.ok(await page.getByTestId("skipped").isHidden(), "the beginning of a namespace is no input");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("s");
    await page.getByTestId("skipped").waitFor();
    await page.keyboard.press("/");
    await page.keyboard.type("room:attic");
    await page.getByTestId("list").locator(".row").filter({ hasText: "attic" }).first().waitFor();
    for (const name of ["open", "theme", "number", "slider", "filter", "list", "skip"]) {
      await reach(page, name);
    }
  },

  async "what is no journal is refused in words"({ page }) {
    const buffer = Buffer.from("hello\n");
    await page.getByTestId("picker").setInputFiles({ name: "x", mimeType: "text/plain", buffer });
    await page.getByTestId("problem").getByText(/line 1: not a journal line/).waitFor();
  },
};

/** Tabs until the focus is on an element. */
async function reach(page, name) {
  for (let presses = 0; presses < 400; presses += 1) {
    const focused = await page.evaluate(() => document.activeElement?.dataset.testid);
    if (focused === name) return;
    await page.keyboard.press("Tab");
  }
  assert.fail(`Tab does not reach ${name}`);
}

/** Pictures in both themes and two widths, each after a look for what cannot be read. */
async function pictures(browser, url, folder) {
  const buffer = journal();
  for (const colorScheme of ["light", "dark"]) {
    for (const width of [390, 1440]) {
      const viewport = { width, height: 900 };
      const { page, faults, context } = await openPage(browser, url, { colorScheme, viewport });
      await page.goto(url);
      await load(page, buffer);
      await jump(page, MESSAGE_LINE);
      await page.getByTestId("skip").click();
      await page.getByTestId("skipped").waitFor();
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(wide <= width, `${wide} pixels are wider than ${width}`);
      await page.evaluate(axe);
      const { violations, passes } = await page.evaluate(() => window.axe.run());
      const found = violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html}\n${failureSummary}`));
      assert.deepEqual(found, [], `${colorScheme}, ${width} px`);
      assert.ok(passes.length > 15, "axe has looked");
      if (folder) await page.screenshot({ path: join(folder, `inspect-${colorScheme}-${width}.png`), fullPage: width === 390 });
      assert.deepEqual(faults, []);
      await context.close();
    }
  }
}

const { values, positionals } = parseArgs({ allowPositionals: true, options: { screenshots: { type: "string" } } });
const url = new URL("/inspect", positionals[0]).href;
const browser = await launch();
try {
  const { page, faults } = await openPage(browser, url);
  const answer = await page.goto(url);
  assert.match(answer.headers()["content-security-policy"] ?? "", /default-src 'none'/);
  const figures = [];
  for (const [name, step] of Object.entries(steps)) {
    await step({ page, figures });
    console.log(`ok: ${name}`);
  }
  console.log(`with ${INPUTS} inputs: ${figures.join("; ")}`);
  assert.deepEqual(faults, []);
  await pictures(browser, url, values.screenshots);
} finally {
  await browser.close();
}
