// The hooks under StrictMode, on React 18 and 19: one socket, one join, and nothing left behind.

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";
import { JSDOM } from "jsdom";
import { World } from "./world.mjs";

const HERE = fileURLToPath(new URL(".", import.meta.url));

/** React of a version with the hooks upon it, as one module. */
async function bundled(version, folder) {
  const alias = version === 18 ? { react: "react18", "react-dom": "react-dom18" } : {};
  const contents = `
    export * as React from "react";
    export * as Dom from "react-dom/client";
    export * as Server from "react-dom/server";
    export * as hooks from "../dist/react.js";
  `;
  const outfile = join(folder, `react-${version}.cjs`);
  await build({
    stdin: { contents, resolveDir: HERE }, bundle: true, format: "cjs", platform: "node", outfile, alias, logLevel: "error",
    define: { "process.env.NODE_ENV": '"development"' },
  });
  return import(pathToFileURL(outfile));
}

for (const version of [18, 19]) {
  test(`React ${version}`, async (t) => {
    const folder = await mkdtemp(join(HERE, ".react-"));
    t.after(() => rm(folder, { recursive: true }));
    const { window } = new JSDOM("<main></main>");
    // React leaves channels open, which would keep the process.
    const { MessageChannel: Channel } = globalThis;
    const channels = [];
    const MessageChannel = function () {
      const channel = new Channel();
      channels.push(channel);
      return channel;
    };
    t.after(() => channels.forEach(({ port1 }) => port1.close()));
    const globals = { MessageChannel, window, document: window.document, navigator: window.navigator, IS_REACT_ACT_ENVIRONMENT: true };
    for (const [name, value] of Object.entries(globals)) {
      const before = Object.getOwnPropertyDescriptor(globalThis, name);
      Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
      t.after(() => (before ? Object.defineProperty(globalThis, name, before) : delete globalThis[name]));
    }
    const { React, Dom, Server, hooks } = await bundled(version, folder);
    assert.match(React.version, new RegExp(`^${version}\\.`));
    const { createElement: h, StrictMode, act } = React;
    const world = new World({ client: { connect: false, token: "ann" } });
    const pass = (ms) =>
      act(async () => {
        await world.pass(ms);
        await new Promise(setImmediate);
      });
    const show = async (f) => {
      await act(async () => f());
      await pass();
      await pass();
    };
    let renders = 0;
    const Past = ({ name }) => {
      const said = hooks.useMessages(hooks.useRoom(name), { history: 3 });
      return `[${said.map(({ data, own }) => (own ? `own ${data}` : data))}]`;
    };
    const View = ({ name }) => {
      renders += 1;
      const room = hooks.useRoom(name, { presence: true });
      const said = hooks.useMessages(room, { limit: 3 }).map(({ data }) => data);
      const members = hooks.useMembers(room)?.map(({ user }) => user) ?? [];
      return `${hooks.useConnection().name} ${room.name} ${room.state} [${said}] [${members}]`;
    };
    const app = (name) => h(StrictMode, null, h(hooks.RoomcastProvider, { client: world.client }, name && h(View, { name })));
    assert.equal(Server.renderToString(app("lobby")), "idle lobby idle [] []");
    assert.equal(world.server.sockets.length, 0);

    const main = window.document.querySelector("main");
    const root = Dom.createRoot(main);
    await show(() => root.render(app("lobby")));
    assert.equal(main.textContent, "open lobby joined [] [ann]");
    assert.equal(world.server.sockets.length, 1);
    assert.deepEqual([world.received("$join").length, world.received("$leave").length], [1, 0]);
    for (const number of [1, 2, 3, 4]) world.server.publish("lobby", "said", number);
    await pass();
    assert.equal(main.textContent, "open lobby joined [2,3,4] [ann]");
    const before = renders;
    await pass();
    assert.equal(renders, before, "nothing renders without a change");

    await show(() => root.render(app("den")));
    assert.equal(main.textContent, "open den joined [] [ann]");
    assert.deepEqual([...world.client.rooms.keys()], ["den"]);
    await show(() => root.render(app(null)));
    assert.equal(world.client.rooms.size, 0);
    assert.equal(world.received("$leave").length, 2);

    // The newest of the history, and what comes while it is read, each once.
    const past = h(StrictMode, null, h(hooks.RoomcastProvider, { client: world.client }, h(Past, { name: "lobby" })));
    await act(async () => root.render(past));
    const until = async (text) => {
      for (let turn = 0; turn < 100 && main.textContent !== text; turn += 1) await pass(1);
      assert.equal(main.textContent, text);
    };
    const joins = world.received("$join").length;
    const heard = async (event, number) => {
      for (let turn = 0; turn < 100 && world.received(event).length === number; turn += 1) await pass(1);
      assert.equal(world.received(event).length, number + 1);
    };
    await heard("$join", joins);
    await pass(1);
    world.server.publish("lobby", "said", 5); // Is in the history as well.
    await heard("$history", 0);
    world.server.publish("lobby", "said", 6); // Is not.
    await until("[3,4,5,6]");
    const asked = world.received("$history").length;
    world.server.publish("lobby", "said", 7);
    await pass();
    assert.equal(main.textContent, "[3,4,5,6,7]");
    assert.equal(world.received("$history").length, asked, "it is read once");
    // Where messages are lost, with those of the new history alone.
    world.server.isUp = false;
    await act(async () => world.server.drop());
    world.server.forget();
    for (const number of [8, 9, 10, 11]) world.server.publish("lobby", "said", number);
    world.server.isUp = true;
    for (let turn = 0; turn < 100 && !main.textContent.includes("11"); turn += 1) await pass();
    assert.equal(main.textContent, "[9,10,11]");
    await show(() => void world.client.room("lobby", { join: false }).publish("said", 12, { echo: true }));
    assert.equal(main.textContent, "[9,10,11,own 12]");
    await show(() => root.render(app(null)));
    assert.equal(world.client.rooms.size, 0);
    await show(() => root.unmount());
    world.client.close();
    await pass();
    assert.deepEqual(world.left(), { sockets: 0, timers: 0, listeners: 0 });
  });
}
