// Tokens of the client of `client/` against a server: renewed, bad, withdrawn, another user, none.
//
//     node client_tokens.mjs PATH_TO_ROOMCAST|URL
//
// A running server at URL must have the keys below, and require a token.

import { spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import process from "node:process";
import { createInterface } from "node:readline";
import WebSocket from "ws";
import { Roomcast } from "../../client/dist/index.js";
import { Api, equal, until, withDeadline } from "./ws_client.mjs";

const [target] = process.argv.slice(2);
const isUrl = target.startsWith("http:");
const SECRET = "0123456789abcdef0123456789abcdef";
const KEY = "test-key";

/** The end of a token that is soon renewed: a server takes it for ten seconds more, and warns at half of the rest. */
const LATE_S = -1;

const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
const seconds = () => Math.floor(Date.now() / 1_000);

function tokenOf(user, { lasts = 3_600, secret = SECRET, iat = seconds() } = {}) {
  const claims = { sub: user, iat, exp: seconds() + lasts, grants: [{ rooms: "*", can: ["join", "publish"] }] };
  const head = `${encode({ alg: "HS256", typ: "JWT" })}.${encode(claims)}`;
  return `${head}.${createHmac("sha256", secret).update(head).digest("base64url")}`;
}

async function start(...flags) {
  const args = ["serve", "--listen", "127.0.0.1:0", "--api-key", KEY, "--token-key", `hs256:${SECRET}`, ...flags];
  const server = spawn(target, args, { stdio: ["ignore", "ignore", "pipe"], env: {} });
  const lines = createInterface({ input: server.stderr });
  const listening = new Promise((resolve) => lines.on("line", (line) => {
    const found = line.match(/listening on (http:\/\/127\.0\.0\.1:\d+)/);
    if (found) resolve(found[1]);
  }));
  const url = await withDeadline(listening, "the server to listen");
  return { url, api: new Api(url, KEY), end: () => server.kill("SIGKILL") && once(server, "exit") };
}

/** A client, with why it was asked for tokens and how often it connected. */
function watched(url, give) {
  const seen = { asked: [], opened: [] };
  seen.client = new Roomcast(url, { WebSocket, token: (why) => give(seen.asked.push(why), why) });
  seen.client.onState((state) => state.name === "open" && seen.opened.push(state.user));
  return seen;
}

const tick = () => new Promise((done) => setTimeout(done, 10));
const comes = (what, look) => until(what, async () => {
  await tick();
  return look();
});

const cases = {
  async "a token is renewed on the open connection"({ url }) {
    const seen = watched(url, (count) => tokenOf("ann", { lasts: count === 1 ? LATE_S : 3_600 }));
    const room = seen.client.room("lobby");
    await room.joined;
    await comes("the warning", () => seen.asked.length === 2);
    await room.publish("said", 1);
    equal(seen.asked.join(), "connect,expiring", "the reasons");
    equal(seen.opened.join(), "ann", "connections");
    return seen;
  },

  async "a bad token is asked for again"({ url }) {
    const seen = watched(url, (count) => tokenOf("ann", count === 1 ? { secret: "x".repeat(32) } : {}));
    await seen.client.room("lobby").joined;
    equal(seen.asked.join(), "connect,refused", "the reasons");
    return seen;
  },

  async "a withdrawn token is replaced"({ url, api }) {
    const seen = watched(url, (_, why) => tokenOf("bob", { iat: seconds() - (why === "connect" ? 100 : 0) }));
    const room = seen.client.room("lobby");
    await room.joined;
    const { status } = await api.call("DELETE", `/api/v1/default/users/bob/connections?not_before=${seconds() - 50}`);
    equal(status, 200, "the withdrawal");
    await comes("another connection", () => seen.opened.length === 2 && room.state === "joined");
    equal(seen.asked.at(-1), "refused", "the reason");
    return seen;
  },

  async "a token that has ended is replaced before a request fails"({ url }) {
    const seen = watched(url, (count) => (count === 2 ? null : tokenOf("cid", { lasts: count === 1 ? -4 : 3_600 })));
    const room = seen.client.room("lobby");
    await room.joined;
    // It ends 6 s after it was made: long enough to connect before.
    await new Promise((done) => setTimeout(done, 7_000));
    await room.publish("said", 1);
    return seen;
  },

  async "another user gets another connection"({ url }) {
    const seen = watched(url, (count) => (count === 1 ? tokenOf("ann", { lasts: LATE_S }) : tokenOf("dan")));
    await comes("the other user", () => seen.opened.length === 2);
    equal(seen.opened.join(), "ann,dan", "users");
    return seen;
  },

  async "a text that is refused is final"({ url }) {
    const client = new Roomcast(url, { WebSocket, token: "nonsense" });
    await comes("the end", () => client.state.name === "closed");
    equal(client.state.close.code, 4401, "the code");
    equal(client.state.error.code, "unauthorized", "the error");
    return { client };
  },

  async "null is anonymous, where the server takes it"() {
    const open = await start("--anonymous", "on");
    const seen = watched(open.url, () => null);
    await comes("the connection", () => seen.client.state.name === "open");
    equal(seen.client.state.user, "", "the user");
    seen.client.close();
    await open.end();
    return seen;
  },
};

if (isUrl) delete cases["null is anonymous, where the server takes it"];
const server = isUrl ? { url: target, api: new Api(target, KEY), end() {} } : await start();
let failed = 0;
for (const [name, run] of Object.entries(cases)) {
  try {
    const { client } = await withDeadline(run(server), name, 20_000);
    client.close();
    console.log(`ok ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED ${name}: ${error.message}`);
  }
}
await server.end();
process.exit(failed > 0 ? 1 : 0);
