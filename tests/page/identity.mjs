// Users with tokens on the try-out page, in a real browser:
//
//     node identity.mjs http://127.0.0.1:3000 http://127.0.0.1:4000/?user=ann KEY
//
// The first server is Roomcast, with a key for tokens, an API key, and presence and histories in `chat:*`.
// The second is tests/clients/token_backend.py, which signs tokens, and whose page is tried first: what it
// prints is the address. Two users are in three tabs.

import assert from "node:assert/strict";
import process from "node:process";
import { launch, openPage, pane } from "./browser.mjs";

const [server, printed, key] = process.argv.slice(2);
const backend = new URL(printed).origin;

const tokenOf = async (user, seconds = 3600) => (await fetch(`${backend}/token?user=${user}&seconds=${seconds}`)).text();

/** A tab of a user, with one client that is connected. */
async function tab(browser, user, seconds) {
  const token = await tokenOf(user, seconds);
  const { page, faults, context } = await openPage(browser, server);
  // The list of rooms asks the API.
  await context.addInitScript((key) => sessionStorage.setItem("roomcast-api-key", key), key);
  await page.goto(`${server}/#token=${token}`);
  assert.ok(!page.url().includes(token), "the token stays in the address");
  await page.getByTestId("pane-b").getByTestId("close-pane").click();
  const client = pane(page, "a");
  await client.connected();
  return { page, faults, client };
}

const identity = (of) => of.client.part("identity");
const got = (of, event) => of.client.row(`[data-dir="in"][data-event="${event}"]`);
const shows = (locator, text) => locator.filter({ hasText: text }).first().waitFor();

/** A tab of a user with the backend's own page, which has its client and its socket from Roomcast. */
async function chat(browser, user) {
  const { page, faults, context } = await openPage(browser, backend);
  await page.goto(printed.replace("ann", user));
  return { page, faults, context };
}

/** Two users talk in three tabs of the backend's page. */
async function talk(browser) {
  const tabs = [];
  for (const user of ["ann", "ann", "bob"]) tabs.push(await chat(browser, user));
  for (const { page } of tabs) await page.locator("#here").getByText("ann bob", { exact: true }).waitFor();
  await tabs[0].page.getByLabel("Message").fill("good morning");
  await tabs[0].page.keyboard.press("Enter");
  for (const { page } of tabs) await page.locator("li").getByText("ann: good morning", { exact: true }).waitFor();
  const isOwn = (fault) => !fault.startsWith("request to another origin: ") || !fault.includes(new URL(server).host);
  assert.deepEqual(tabs.flatMap(({ faults }) => faults).filter(isOwn), []);
  // Pages of one other origin may ask for tokens.
  for (const [origin, allowed] of [[server, server], ["https://elsewhere.example", null]]) {
    const answer = await fetch(`${backend}/token?user=bob`, { headers: { Origin: origin } });
    assert.equal(answer.headers.get("access-control-allow-origin"), allowed);
  }
  for (const { context } of tabs) await context.close();
}

/** Without a token both clients stay away, and say so; with one that has no right to the room, that too. */
async function turnAway(browser) {
  const { page, faults, context } = await openPage(browser, server);
  await context.addInitScript((key) => sessionStorage.setItem("roomcast-api-key", key), key);
  await page.goto(server);
  const [a, b] = [pane(page, "a"), pane(page, "b")];
  for (const client of [a, b]) {
    await shows(client.part("state"), /^Disconnected: needs a token$/);
    assert.equal(await client.row('[data-event="$join"]').count(), 0, "it would be refused");
    assert.equal(await client.row('[data-event="close"]').count(), 1, "it tries again with the same");
  }
  await a.part("token-input").fill(await tokenOf("eve"));
  await a.part("token-use").click();
  await a.connected();
  await shows(a.part("recovery"), /^lobby does not let it in: .*\(forbidden\)/);
  await a.settle();
  assert.equal(await a.row('[data-kind="error"][data-event="$join"]').count(), 1, "one refusal");
  assert.deepEqual(faults, []);
  await context.close();
}

const browser = await launch();
try {
  await talk(browser);
  await turnAway(browser);
  const ann = await tab(browser, "ann");
  const again = await tab(browser, "ann");
  const bob = await tab(browser, "bob");
  await shows(identity(ann), /User ann · (1:00|59):\d\d left/);
  await identity(ann).click();
  await shows(ann.client.part("rights"), "chat:*: join, publish, presence, history");

  // Presence by user: the second tab of a user is not told.
  await ann.client.join("chat:1");
  await bob.client.join("chat:1");
  await shows(got(ann, "$joined"), '"Bob"');
  await again.client.join("chat:1");
  await bob.client.settle();
  assert.equal(await got(bob, "$joined").count(), 0, "ann was there before bob");
  await bob.client.sendRaw('{"event":"$members","id":"m","room":"chat:1"}');
  await shows(got(bob, "$members"), /"user":\s*"ann",\s*"conns":\s*2/);

  // What is said reaches all three, and is in the history.
  await ann.client.publish("said", '"hello"', { room: "chat:1" });
  for (const other of [again, bob]) await shows(got(other, "said"), '"hello"');
  await bob.client.sendRaw('{"event":"$history","id":"h","room":"chat:1"}');
  await shows(got(bob, "$history"), '"hello"');

  // Rights: a room of another user, and a user without a grant.
  const eve = await tab(browser, "eve");
  for (const [of, room] of [[bob, "home:ann"], [eve, "chat:1"]]) {
    await of.client.sendRaw(`{"event":"$join","id":"no","room":"${room}"}`);
    await shows(got(of, "$join").and(of.client.row('[data-code="forbidden"]')), room);
  }
  await bob.client.join("home:bob");

  // Renewal on the live socket: the same connection, and its rooms.
  const conn = await bob.client.part("conn").textContent();
  await identity(bob).click();
  await bob.client.part("token-input").fill(await tokenOf("bob", 7200));
  await bob.client.part("token-use").click();
  await shows(identity(bob), /User bob · (2:00|1:59):\d\d left/);
  assert.equal(await bob.client.part("conn").textContent(), conn);
  assert.equal(await bob.page.locator("body").getByText("eyJ").count(), 0, "a token is shown");

  // A token that ends soon is asked for; one that is refused changes nothing.
  const late = await tab(browser, "eve", 8);;
  await got(late, "$expiring").waitFor();
  const before = await late.client.part("conn").textContent();
  for (const [token, answer] of [["none", late.client.row('[data-code="unauthorized"]')], [await tokenOf("eve", 7200), got(late, "$auth").nth(1)]]) {
    await late.client.part("token-input").fill(token);
    await late.client.part("token-use").click();
    await answer.waitFor();
  }
  await shows(identity(late), /User eve · (2:00|1:59):\d\d left/);
  assert.equal(await late.client.part("conn").textContent(), before);

  // A withdrawn user is gone, in both tabs, and what was issued earlier is refused.
  const headers = { Authorization: `Bearer ${key}` };
  const time = Math.floor(Date.now() / 1000) + 1;
  const url = `${server}/api/v1/default/users/ann/connections?not_before=${time}`;
  const withdrawn = await fetch(url, { method: "DELETE", headers });
  assert.deepEqual([withdrawn.status, await withdrawn.json()], [200, { disconnected: 2 }]);
  for (const of of [ann, again]) {
    await shows(of.client.part("state"), "Disconnected");
    await of.client.row('[data-event="close"][data-code="4401"]').waitFor();
  }
  await shows(got(bob, "$left"), '"ann"');
  await ann.client.part("connect").click();
  await ann.client.row('[data-event="close"][data-code="4401"]').nth(1).waitFor();

  for (const of of [ann, again, bob, late, eve]) assert.deepEqual(of.faults, []);
} finally {
  await browser.close();
}
console.log("two users in three tabs: as they should be");
