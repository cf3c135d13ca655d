// The chats of the README, in one HTML file and in React, as pages of a running server in a real browser:
//
//     node recipe.mjs http://127.0.0.1:3000
//
// The server keeps a history of `lobby`, and lists its members. The client is built.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { launch, openPage } from "./browser.mjs";

const [server] = process.argv.slice(2);
const CLIENT = new URL("../../client/", import.meta.url);
/** A text that is longer than a message may be. */
const TOO_LONG = "x".repeat(70_000);
/** The server of the examples. */
const THERE = "http://127.0.0.1:3000";

const inOneFile = await readFile(new URL("examples/page.html", CLIENT), "utf8");

/** The page that a bundler makes of the example in React. */
async function inReact() {
  const { build } = createRequire(CLIENT)("esbuild");
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL("examples/react.tsx", CLIENT))], bundle: true, write: false, format: "esm", jsx: "automatic",
    define: { "process.env.NODE_ENV": '"development"' }, logLevel: "error",
  });
  // React itself names tags in its texts.
  const script = outputFiles[0].text.replaceAll("</script", "<\\/script");
  return `<!doctype html><title>React</title><div id="root"></div><script type="module">${script}</script>`;
}

async function open(browser, document) {
  const { page, faults, context } = await openPage(browser, server);
  // A document of the server, without a policy for its content.
  await page.goto(`${server}/healthz`);
  await page.setContent(document.replaceAll(THERE, server));
  await page.locator("p").getByText("open").first().waitFor();
  return { page, faults, context };
}

const shows = (of, text) => of.page.locator("li").getByText(text, { exact: true }).waitFor();
const counts = (of, number) => of.page.locator("p").filter({ hasText: `here: ${number}` }).waitFor();
const lines = (of) => of.page.locator("li").allTextContents();

/** Each text is there once, and these are the last. */
async function endsWith(of, texts) {
  const all = await lines(of);
  assert.deepEqual(all.slice(-texts.length), texts);
  assert.equal(new Set(all).size, all.length, `one is there twice: ${all}`);
}

async function say(of, text) {
  await of.page.getByLabel("Message").fill(text);
  await of.page.keyboard.press("Enter");
  await shows(of, `me: ${text}`);
}

async function tryChat(browser, document, greeting) {
  const [ann, bob] = [await open(browser, document), await open(browser, document)];
  await counts(ann, 2);
  await say(ann, greeting);
  await shows(bob, greeting);

  // A line that is cut takes nothing with it.
  await bob.context.setOffline(true);
  const { connections } = await (await fetch(`${server}/api/v1/default/connections`)).json();
  for (const { conn } of connections) await fetch(`${server}/api/v1/default/connections/${conn}?code=1001`, { method: "DELETE" });
  await say(ann, `${greeting}, are you there?`);
  await bob.context.setOffline(false);
  await shows(bob, `${greeting}, are you there?`);
  const all = [greeting, `${greeting}, are you there?`];
  await endsWith(bob, all);

  // What could not be sent is in its field again.
  const input = ann.page.getByLabel("Message");
  await input.fill(TOO_LONG);
  await ann.page.keyboard.press("Enter");

  // A new page begins with the history.
  const eve = await open(browser, document);
  await shows(eve, all.at(-1));
  await endsWith(eve, all);
  await counts(ann, 3);
  assert.ok((await input.inputValue()) === TOO_LONG, "the text is lost");
  for (const { context } of [ann, bob, eve]) await context.close();
  return [ann, bob, eve];
}

const browser = await launch();
try {
  const tabs = await tryChat(browser, inOneFile, "hello");
  tabs.push(...(await tryChat(browser, await inReact(), "hello from React")));
  // The browser itself reports attempts without a network, and that there is no icon.
  const isOwn = (text) => !/ERR_INTERNET_DISCONNECTED|status of 404/.test(text);
  assert.deepEqual(tabs.flatMap(({ faults }) => faults).filter(isOwn), []);
} finally {
  await browser.close();
}
console.log("the chats in one file and in React: as they should be");
