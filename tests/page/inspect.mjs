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
// Of the client 39 in the attic; the next one in that room, and the next one of that client.
const [SPEAKER, IN_ROOM, OF_CLIENT] = [39, MESSAGE_LINE + 4, MESSAGE_LINE + 40];
// From one snapshot to the next.
const REPLAYED_LINES_MAX = 256;

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

const at = (page, number) => page.locator(`#line-${number}[aria-selected="true"]`).waitFor();
const says = (page, text) => page.getByTestId("status").getByText(text).waitFor();

/** Prints the time of an action, which plays few lines again however long the journal is. */
async function quick(page, linesMax = REPLAYED_LINES_MAX) {
  const text = await took(page);
  const [, lines] = /, (\d+) lines? replayed in/.exec(text) ?? [];
  assert.ok(Number(lines) <= linesMax, `${text}: at most ${linesMax}`);
  return text;
}

async function load(page, buffer) {
  await page.getByTestId("picker").setInputFiles({ name: "1.000001.jsonl", mimeType: "text/plain", buffer });
  await page.getByTestId("status").getByText(/all read in [\d.]+ ms$/).waitFor();
}

async function jump(page, number) {
  await page.getByTestId("number").fill(String(number));
  await page.getByTestId("number").press("Enter");
  await at(page, number);
}

const steps = {
  async "a journal is opened"({ page, figures }) {
    await load(page, journal());
    assert.match(await page.getByTestId("file").textContent(), /10,001 lines/);
    figures.push(await took(page));
  },

  async "a jump shows frames and state"({ page, figures }) {
    await jump(page, MESSAGE_LINE);
    figures.push(await quick(page));
    assert.match(await page.getByTestId("input").textContent(), /said/);
    assert.match(await page.getByTestId("frames").textContent(), /"event":"said"/);
    await page.getByTestId("state").getByText("10 members").first().waitFor();
    await jump(page, INPUTS + 1);
    figures.push(await quick(page));
    await jump(page, MESSAGE_LINE);
    await page.getByTestId("forward").click();
    await at(page, MESSAGE_LINE + 1);
    figures.push(await quick(page, 1));
    await page.getByTestId("back").click();
    await at(page, MESSAGE_LINE);
    figures.push(await quick(page));
  },

  async "the invariants hold"({ page, figures }) {
    await page.getByTestId("verdict").getByText("Invariants hold", { exact: true }).waitFor();
    const about = await page.getByTestId("invariants").textContent();
    assert.match(about, /^10,001 lines checked in [\d.]+ ms$/);
    figures.push(about);
    assert.equal(await page.getByTestId("violations").locator("li").count(), 0);
  },

  async "steps stay in a room, or with a client"({ page }) {
    await jump(page, MESSAGE_LINE);
    assert.equal(await page.getByTestId("room").textContent(), "attic");
    assert.equal(await page.getByTestId("client").textContent(), id(SPEAKER));
    for (const [name, number] of [["room-forward", IN_ROOM], ["room-back", MESSAGE_LINE], ["client-forward", OF_CLIENT], ["client-back", MESSAGE_LINE]]) {
      await page.getByTestId(name).click();
      await at(page, number);
    }
    await page.getByTestId("list").focus();
    for (const [key, number] of [["r", IN_ROOM], ["R", MESSAGE_LINE], ["c", OF_CLIENT], ["C", MESSAGE_LINE]]) {
      await page.keyboard.press(key);
      await at(page, number);
    }
    await jump(page, 2);
    await page.getByTestId("list").focus();
    await page.keyboard.press("r");
    await says(page, "neither the line nor the filter names a room");
    // A line that names none leaves it to the filter.
    await page.getByTestId("filter").fill("room:attic");
    await page.getByTestId("list").focus();
    await page.keyboard.press("r");
    await at(page, 45);
    await page.keyboard.press("R");
    await says(page, "no input in room attic before this line");
    await page.getByTestId("filter").fill("");
  },

  async "it plays, and the scrubber follows"({ page }) {
    await jump(page, MESSAGE_LINE);
    await page.getByTestId("rate").selectOption("1000");
    await page.getByTestId("list").focus();
    await page.keyboard.press("p");
    const name = (label) => page.getByTestId("play").and(page.getByLabel(label, { exact: true })).waitFor();
    await name("Pause");
    const slider = page.getByTestId("slider");
    await page.waitForFunction((line) => document.getElementById("slider").valueAsNumber > line + 20, MESSAGE_LINE);
    await page.keyboard.press("Space");
    await name("Play");
    const paused = await slider.inputValue();
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(done)))));
    assert.equal(await slider.inputValue(), paused, "a pause");
    await at(page, Number(paused));
    await jump(page, INPUTS - 40);
    await page.getByTestId("play").click();
    await at(page, INPUTS + 1);
    await name("Play");
    await page.keyboard.press("-");
    assert.equal(await page.getByTestId("rate").inputValue(), "100");
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
    await says(page, /compared, .* in/);
    figures.push(await quick(page));
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
    await page.getByTestId("filter").fill(`from:${id(3)} not-received-by:${id(4)}`);
    await says(page, /^248 lines in/);
    await page.getByTestId("filter").fill("from:backend");
    await says(page, /^0 lines in/);
    await page.getByTestId("filter").fill("form:3");
    await says(page, "`form:` is no word of a filter: use conn:, event:, from:, namespace:, not-received-by:, room:,");
    assert.equal(await page.getByTestId("filter").getAttribute("aria-invalid"), "true");
    await page.getByTestId("filter").fill("from:bob");
    await says(page, "`bob` is no publisher");
    await page.getByTestId("filter").fill('"form:3"');
    await says(page, /^0 lines in/);
    await page.getByTestId("filter").fill("");
    await says(page, /^10,001 lines in/);
    assert.ok(await rows.count() < 100, "rows that are out of view have elements");
  },

  async "the keyboard alone does all of it"({ page }) {
    await jump(page, MESSAGE_LINE);
    await page.getByTestId("list").focus();
    for (const [key, number] of [["ArrowDown", 1], ["ArrowRight", 2], ["[", 1], ["ArrowUp", 0], ["]", 1]]) {
      await page.keyboard.press(key);
      await at(page, MESSAGE_LINE + number);
    }
    await page.keyboard.press("End");
    await at(page, INPUTS + 1);
    await page.keyboard.press("Home");
    await at(page, 1);
    await page.keyboard.press("s");
    assert.ok(await page.getByTestId("skipped").isHidden(), "the beginning of a namespace is no input");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("s");
    await page.getByTestId("skipped").waitFor();
    await page.keyboard.press("/");
    await page.keyboard.type("room:attic");
    await page.getByTestId("list").locator(".row").filter({ hasText: "attic" }).first().waitFor();
    for (const name of ["verdict", "open", "theme", "play", "rate", "number", "slider", "room-back", "room-forward", "filter", "list", "skip"]) {
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

/** Checks that all can be read and reached. */
async function look(page, width, label) {
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(wide <= width, `${wide} pixels are wider than ${width}`);
  await page.evaluate(axe);
  const { violations, passes } = await page.evaluate(() => window.axe.run());
  const found = violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html}\n${failureSummary}`));
  assert.deepEqual(found, [], label);
  assert.ok(passes.length > 15, "axe has looked");
}

const looks = ["light", "dark"].flatMap((colorScheme) => [390, 1440].map((width) => ({ colorScheme, width, viewport: { width, height: 900 } })));

/** Pictures in both themes and two widths, each after a look. */
async function pictures(browser, url, folder) {
  const buffer = journal();
  for (const { colorScheme, width, viewport } of looks) {
    const { page, faults, context } = await openPage(browser, url, { colorScheme, viewport });
    await page.goto(url);
    await load(page, buffer);
    await jump(page, MESSAGE_LINE);
    await page.getByTestId("skip").click();
    await page.getByTestId("skipped").waitFor();
    await page.getByTestId("verdict").getByText("Invariants hold").waitFor();
    await look(page, width, `${colorScheme}, ${width} px`);
    if (folder) await page.screenshot({ path: join(folder, `inspect-${colorScheme}-${width}.png`), fullPage: width === 390 });
    assert.deepEqual(faults, []);
    await context.close();
  }
}

/** A violation, which the rules do not make: it is put into what the module says of a journal. */
function plant({ line, conn }) {
  const [parse, kept] = [JSON.parse, { count: 1, violations: [{ line, invariant: "I12", conn, room: "attic", text: "offset 1 arrives behind 2" }] }];
  let checks = 0;
  JSON.parse = (text, ...rest) => {
    const isCheck = typeof text === "string" && text.startsWith('{"count":0,"violations":[');
    // The first is that of a sample, before a journal is opened.
    return isCheck && (checks += 1) > 1 ? kept : parse(text, ...rest);
  };
}

/** A violation leads to its line. */
async function violations(browser, url, folder) {
  const buffer = journal();
  for (const { colorScheme, width, viewport } of looks) {
    const { page, faults, context } = await openPage(browser, url, { colorScheme, viewport });
    await page.addInitScript(plant, { line: MESSAGE_LINE, conn: id(3) });
    await page.goto(url);
    await load(page, buffer);
    await page.getByTestId("verdict").getByText("1 violation", { exact: true }).waitFor();
    await page.getByTestId("violations").getByRole("button", { name: `line ${MESSAGE_LINE}` }).click();
    await at(page, MESSAGE_LINE);
    await page.locator(`#line-${MESSAGE_LINE}`).getByText("I12").waitFor();
    await page.getByTestId("list").focus();
    await page.keyboard.press("v");
    await says(page, "no violation behind this line");
    await page.keyboard.press("Home");
    await page.keyboard.press("v");
    await at(page, MESSAGE_LINE);
    await page.getByTestId("verdict").click();
    assert.equal(await page.evaluate(() => document.activeElement.id), "invariants-title");
    await look(page, width, `a violation, ${colorScheme}, ${width} px`);
    if (folder) await page.screenshot({ path: join(folder, `inspect-violation-${colorScheme}-${width}.png`), fullPage: width === 390 });
    assert.deepEqual(faults, []);
    await context.close();
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
  await violations(browser, url, values.screenshots);
  console.log("ok: a violation leads to its line");
} finally {
  await browser.close();
}
