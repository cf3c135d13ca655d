// The chat of `client/examples/page.html`, as a page of a running server, in a real browser:
//
//     node recipe.mjs http://127.0.0.1:3000
//
// The server keeps a history of `lobby`, and lists its members.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import process from "node:process";
import { launch, openPage } from "./browser.mjs";

const [server] = process.argv.slice(2);
const body = await readFile(new URL("../../client/examples/page.html", import.meta.url), "utf8");

async function open(browser) {
  const { page, faults, context } = await openPage(browser, server);
  // A document of the server, without a policy for its content.
  await page.goto(`${server}/healthz`);
  await page.setContent(body);
  await page.locator("#state").getByText("open").waitFor();
  return { page, faults, context };
}

const shows = (of, id, text) => of.page.locator(id).getByText(text, { exact: true }).waitFor();

async function say(of, text) {
  await of.page.getByLabel("Message").fill(text);
  await of.page.keyboard.press("Enter");
  await shows(of, "li", `me: ${text}`);
}

const lines = (of) => of.page.locator("li").allTextContents();

const browser = await launch();
try {
  const [ann, bob] = [await open(browser), await open(browser)];
  await shows(ann, "#here", "2");
  await say(ann, "hello");
  await shows(bob, "li", "hello");

  // A line that is cut takes nothing with it.
  await bob.context.setOffline(true);
  const { connections } = await (await fetch(`${server}/api/v1/default/connections`)).json();
  for (const { conn } of connections) await fetch(`${server}/api/v1/default/connections/${conn}?code=1001`, { method: "DELETE" });
  await say(ann, "are you there?");
  await bob.context.setOffline(false);
  await shows(bob, "li", "are you there?");
  assert.deepEqual(await lines(bob), ["hello", "are you there?"]);

  // A new page begins with the history.
  const eve = await open(browser);
  await shows(eve, "li", "are you there?");
  assert.deepEqual(await lines(eve), ["hello", "are you there?"]);
  await shows(ann, "#here", "3");
  // The browser itself reports attempts without a network, and that there is no icon.
  const isOwn = (text) => !/ERR_INTERNET_DISCONNECTED|status of 404/.test(text);
  assert.deepEqual([ann, bob, eve].flatMap(({ faults }) => faults).filter(isOwn), []);
} finally {
  await browser.close();
}
console.log("the chat in one file: as it should be");
