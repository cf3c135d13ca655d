// A page with the client in a real browser: put aside for the way back, frozen, hidden, without a network.
//
//     node lifecycle.mjs http://127.0.0.1:3000 [PORT]
//
// The server keeps a history of all rooms, and takes the page from PORT; its API key, if it has one, is in
// ROOMCAST_API_KEY. Nobody else is connected. What is published meanwhile is received by all, once and in order, and the page has one socket at a time.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import process from "node:process";
import { Roomcast } from "../../client/dist/index.js";
import WebSocket from "../clients/node_modules/ws/wrapper.mjs";
import { launch, Tab } from "./tab.mjs";

const [server, port = "0"] = process.argv.slice(2);
const key = process.env.ROOMCAST_API_KEY;
const WAIT_MS_MAX = 30_000;
const LOOK_EACH_MS = 20;
const ROUNDS = 3;
/** Messages of either side at each point of a round. */
const MESSAGES = 5;

/** Notes what happens to the document, and each socket of its client. */
function watch(Roomcast, server, room, timeout) {
  const open = new Set();
  const seen = { most: 0, events: [], heard: [], asked: [], acknowledged: [], failed: [], lost: 0 };
  class Counted extends WebSocket {
    constructor(...args) {
      super(...args);
      open.add(this);
      seen.most = Math.max(seen.most, open.size);
      this.addEventListener("close", () => open.delete(this));
    }
    close(code) {
      open.delete(this);
      super.close(code);
    }
  }
  for (const name of ["pagehide", "pageshow"]) addEventListener(name, ({ persisted }) => seen.events.push(`${name} ${persisted}`));
  for (const name of ["freeze", "resume", "visibilitychange"]) {
    document.addEventListener(name, () => seen.events.push(`${name} ${document.visibilityState}`));
  }
  for (const name of ["offline", "online"]) addEventListener(name, () => seen.events.push(name));
  const client = new Roomcast(server, { WebSocket: Counted, timeout });
  const its = client.room(room);
  its.on("said", (text) => seen.heard.push(text));
  its.onLost(() => (seen.lost += 1));
  const say = (text) => {
    seen.asked.push(text);
    its.publish("said", text).then(() => seen.acknowledged.push(text), ({ code }) => seen.failed.push(`${text}: ${code}`));
  };
  Object.assign(globalThis, { seen, client, its, say, sockets: open });
}

const scriptOf = (room) => `
  import { Roomcast } from "${server}/client.js";
  (${watch})(Roomcast, "${server}", ${JSON.stringify(room)}, ${WAIT_MS_MAX});`;

/** Serves a page for each room, and `/away`. */
async function serve() {
  const http = createServer(({ url }, response) => {
    const body = url === "/away" ? "<title>away</title>" : `<title>here</title><script type="module">${scriptOf(url.slice(1))}</script>`;
    response.setHeader("content-type", "text/html").end(`<!doctype html>${body}`);
  });
  http.listen(Number(port), "127.0.0.1");
  await once(http, "listening");
  return { http, origin: `http://127.0.0.1:${http.address().port}` };
}

/** Looks until it is so. A document that is about to go gives no value. */
async function until(what, look) {
  const end = Date.now() + WAIT_MS_MAX;
  let fault;
  for (;;) {
    const found = await look().catch((error) => (fault = error) && false);
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited ${WAIT_MS_MAX} ms for ${what}${fault ? `: ${fault.message}` : ""}`);
    await new Promise((done) => setTimeout(done, LOOK_EACH_MS));
  }
}

async function connections(method = "GET", path = "") {
  const headers = key ? { authorization: `Bearer ${key}` } : {};
  const answer = await fetch(`${server}/api/v1/default/connections${path}`, { method, headers });
  assert.equal(answer.status, 200, `${method} ${path}`);
  return answer.json();
}

/** A page in a tab, and a client elsewhere, in one room. */
class Scene {
  said = [];
  heard = [];

  static async open(root, origin, room) {
    const scene = new Scene();
    Object.assign(scene, { root, origin });
    scene.writer = new Roomcast(server, { WebSocket });
    scene.room = scene.writer.room(room);
    scene.room.on("said", (text) => scene.heard.push(text));
    await until("the other client", async () => scene.room.state === "joined");
    scene.tab = await Tab.open(root, "about:blank");
    scene.tab.on("Page.backForwardCacheNotUsed", ({ notRestoredExplanations }) => (scene.notUsed = notRestoredExplanations));
    // Before there is a socket: else its frames pass while there is no network.
    for (const domain of ["Page", "Network"]) await scene.tab.send(`${domain}.enable`);
    await scene.tab.send("Page.navigate", { url: `${origin}/${room}` });
    await scene.is("its.state === 'joined'");
    return scene;
  }

  is(condition) {
    return until(condition, () => this.tab.value(condition));
  }

  /** The other client publishes, and has the answers. */
  async writes() {
    const texts = Array.from({ length: MESSAGES }, (_, at) => `w${this.said.length + at + 1}`);
    this.said.push(...texts);
    await Promise.all(texts.map((text) => this.room.publish("said", text)));
  }

  /** The page publishes, and does not wait. */
  publishes() {
    return this.tab.value(`for (let at = 0; at < ${MESSAGES}; at += 1) say("p" + (seen.asked.length + 1))`);
  }

  async both() {
    await this.publishes();
    await this.writes();
  }

  /** The id of the page's connection, when it has one. */
  conn() {
    return this.tab.value("client.state.conn");
  }

  /** Ends the page's connection from the server's side. */
  async ends() {
    await connections("DELETE", `/${await this.conn()}?code=1001`);
  }

  /** Opens a tab in front of the page, and gives what closes it. */
  async hides() {
    const other = await Tab.open(this.root, `${this.origin}/away`);
    await this.is("document.visibilityState === 'hidden'");
    return async () => {
      await other.close();
      await this.tab.bringToFront();
      await this.is("document.visibilityState === 'visible' && its.state === 'joined'");
    };
  }

  /** Waits until all is there, and looks that nothing is there twice. */
  async arrived() {
    await until("the answers and messages", async () => {
      const { heard, asked, acknowledged, failed } = await this.tab.value("seen");
      assert.deepEqual(failed, []);
      return heard.length >= this.said.length && acknowledged.length === asked.length && this.heard.length >= asked.length;
    });
    const { heard, asked, lost, most } = await this.tab.value("seen");
    assert.deepEqual(heard, this.said, "what the page received");
    assert.deepEqual(this.heard, asked, "what the other client received");
    assert.deepEqual({ lost, most }, { lost: 0, most: 1 }, "losses, and sockets at a time");
  }

  async close() {
    await this.tab.value("client.close()");
    assert.equal(await this.tab.value("sockets.size"), 0, "sockets after the end");
    this.writer.close();
    await this.tab.close();
    await until("the end of all connections", async () => (await connections()).connections.length === 0);
    const { length } = [...this.said, ...this.heard];
    return length;
  }
}

const network = (scene, offline) =>
  scene.tab.send("Network.emulateNetworkConditions", { offline, latency: 0, downloadThroughput: -1, uploadThroughput: -1 });

const stories = {
  async "put aside for the way back"(scene) {
    // What is under way is not answered before the page is put aside.
    await scene.publishes();
    await scene.tab.send("Page.navigate", { url: `${scene.origin}/away` });
    await scene.is("document.title === 'away'");
    await until("the end of the page's connection", async () => (await connections()).connections.length === 1);
    await scene.writes();
    const { entries, currentIndex } = await scene.tab.send("Page.getNavigationHistory");
    await scene.tab.send("Page.navigateToHistoryEntry", { entryId: entries[currentIndex - 1].id });
    await scene.is("document.title === 'here' && its.state === 'joined'");
    assert.equal(scene.notUsed, undefined, `the page was loaded again: ${JSON.stringify(scene.notUsed)}`);
    for (const event of ["pagehide true", "pageshow true"]) await scene.is(`seen.events.includes('${event}')`);
  },

  async frozen(scene, round) {
    const show = await scene.hides();
    await scene.publishes();
    await scene.tab.send("Page.setWebLifecycleState", { state: "frozen" });
    await scene.is("seen.events.includes('freeze hidden')");
    if (round > 1) await scene.ends();
    await scene.writes();
    await scene.tab.send("Page.setWebLifecycleState", { state: "active" });
    await scene.is("seen.events.includes('resume hidden')");
    await show();
  },

  async hidden(scene, round) {
    const conn = await scene.conn();
    const show = await scene.hides();
    if (round > 1) await scene.ends();
    await scene.both();
    await show();
    if (round === 1) assert.equal(await scene.conn(), conn, "the connection of a hidden page stays");
  },

  async "without a network"(scene, round) {
    await network(scene, true);
    await scene.is("seen.events.includes('offline')");
    await scene.both();
    const { heard } = await scene.tab.value("seen");
    assert.ok(heard.length < scene.said.length, "messages come without a network");
    // Noticed by the client itself, or over before that.
    if (round > 1) await scene.is("client.state.name === 'waiting'");
    await network(scene, false);
    await scene.is("seen.events.includes('online')");
    await scene.is("its.state === 'joined'");
  },
};

const { http, origin } = await serve();
const browser = await launch();
const sum = { scripts: 0, publishes: 0 };
try {
  const root = await browser.newBrowserCDPSession();
  for (const [name, story] of Object.entries(stories)) {
    const scene = await Scene.open(root, origin, `lifecycle-${name.replaceAll(" ", "-")}`);
    for (let round = 1; round <= ROUNDS; round += 1) {
      await scene.both();
      await story(scene, round).catch(async (error) => {
        const seen = await scene.tab.value("JSON.stringify([client.state, seen])").catch(() => "");
        throw new Error(`${name}, round ${round}: ${error.message}\n${seen}`, { cause: error });
      });
      await scene.both();
      await scene.arrived();
      await scene.tab.value("seen.events.length = 0");
      sum.scripts += 1;
    }
    sum.publishes += await scene.close();
    console.log(`ok   ${name}`);
  }
  console.log(`scripts ${sum.scripts}, publishes ${sum.publishes}, lost 0, doubled 0`);
} finally {
  await browser.close();
  http.close();
}
