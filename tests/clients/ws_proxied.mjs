// Sessions of the npm library `ws` through a proxy:
//
//     node ws_proxied.mjs ws://127.0.0.1:8080/chat http://127.0.0.1:8080/chat API_KEY [CASE]...
//
// The server must ping after a second of silence and keep a history of the room `kept`. Prints one line
// per case; the exit code is 0 when all passed.

import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import process from "node:process";
import { setTimeout as passes } from "node:timers/promises";
import { Api, Client, equal, matches, namespace, until, withDeadline } from "./ws_client.mjs";

const [ws, base, key, ...wanted] = process.argv.slice(2);
if (!key) {
  console.error("usage: node ws_proxied.mjs WS_URL HTTP_URL API_KEY [CASE]...");
  process.exit(2);
}
const api = new Api(base, key);
const { host, port, hostname, pathname } = new URL(base);
const path = pathname.replace(/\/$/, "");

/** Sends these bytes, ends the client's half of the connection, and returns the answer's bytes. */
async function half(request) {
  const socket = net.connect({ port: Number(port), host: hostname, allowHalfOpen: true });
  let answer = "";
  socket.setEncoding("utf8").on("data", (data) => (answer += data));
  const ended = once(socket, "end");
  socket.end(request);
  await withDeadline(ended, "the end of the answer");
  socket.destroy();
  return answer;
}

const cases = {
  async members_talk_and_a_backend_pushes() {
    const ns = namespace();
    const [ann, bob] = [await Client.open(`${ws}/ws/${ns}`), await Client.open(`${ws}/ws/${ns}`)];
    for (const client of [ann, bob]) await client.join("lobby");
    await ann.ask('{"event":"said","id":1,"room":"lobby","data":"hi"}', '{"event":"said","id":1,"room":"lobby","data":{"reached":1}}');
    await bob.expect(`{"event":"said","room":"lobby","from":{"conn":"${ann.conn}"},"data":"hi"}`);
    const body = { audience: { rooms: ["lobby"] }, event: "paid", data: "x".repeat(200_000) };
    const sent = '{"matched":2,"queued":2,"dropped":0}';
    const key = { "idempotency-key": "order-1" };
    await api.send(ns, body, sent, key);
    await api.send(ns, body, sent, key);
    for (const client of [ann, bob]) {
      await client.expect(JSON.stringify({ event: "paid", room: "lobby", data: body.data }));
      await client.nothingMore();
    }
    await api.gives("DELETE", `/api/v1/${ns}/connections/${bob.conn}`, '{"disconnected":1}');
    await bob.expectClose(4410, '{"event":"$bye","data":{"code":4410,"reconnect":false,"after_ms":0}}');
  },

  async who_comes_back_recovers() {
    const ns = namespace();
    const ann = await Client.open(`${ws}/ws/${ns}`);
    const epoch = await ann.join("kept");
    const gone = await Client.open(`${ws}/ws/${ns}`);
    await gone.join("kept");
    gone.socket.terminate();
    for (const n of [1, 2]) {
      await api.call("POST", `/api/v1/${ns}/send`, { body: { audience: { rooms: ["kept"] }, event: "e", data: n } });
    }
    const back = await Client.open(`${ws}/ws/${ns}`);
    back.send({ event: "$join", id: 1, room: "kept", data: { since: { epoch, offset: 0, conn: gone.conn } } });
    matches(await back.next(), /"recovered":true,"missed":2/, "the answer to $join");
    for (const n of [1, 2]) matches(await back.next(), new RegExp(`"offset":${n},"data":${n}`), "a missed message");
    await back.nothingMore();
  },

  async a_silent_client_is_pinged_and_stays() {
    const ann = await Client.open(`${ws}/ws/${namespace()}`);
    for (let n = 0; n < 3; n += 1) await withDeadline(once(ann.socket, "ping"), "a ping of the server");
    ann.socket.ping("here");
    await withDeadline(once(ann.socket, "pong"), "the pong of the server");
    await ann.nothingMore();
  },

  async pages_of_the_same_host_may_connect_and_others_not() {
    const ann = await Client.open(`${ws}/ws/${namespace()}`, { origin: `http://${host}` });
    await ann.nothingMore();
    const stranger = new Client(`${ws}/ws`, [], { origin: "https://elsewhere.example" });
    const refused = await withDeadline(stranger.opened.then(() => null, (error) => error), "a refusal");
    equal(refused?.response?.statusCode, 403, "the status for a page from elsewhere");
    const told = new Client(`${ws}/ws?refuse=close`, [], { origin: "https://elsewhere.example" });
    await withDeadline(told.opened, "the connection to open");
    matches(await told.next(), /"\$error".*"forbidden"/, "the refusal by the socket");
  },

  async calls_need_a_key() {
    for (const wrong of [null, "wrong"]) await api.refuses("GET", "/api/v1/default/rooms", 401, { key: wrong });
    // A large body is refused for its key too.
    const body = `{"audience":{"all":true},"event":"e","data":"${"x".repeat(900_000)}"}`;
    await api.refuses("POST", "/api/v1/default/send", 401, { key: "wrong", body });
    await api.refuses("POST", "/api/v1/default/send", 413, { body: body.replace("xxx", "x".repeat(500_000)) });
  },

  async any_room_can_be_named_in_the_query() {
    const ns = namespace();
    const ann = await Client.open(`${ws}/ws/${ns}`);
    const names = [".", "..", "/", "a/b", "a//b", "a/../b", "%2F", "é ?&#+", "members", "history"];
    for (const name of names) {
      const room = `room=${encodeURIComponent(name)}`;
      const member = `/api/v1/${ns}/room/members/${ann.conn}?${room}`;
      const joined = await api.call("PUT", member);
      equal(joined.status, 200, `the status of a join to ${name}: ${joined.text}`);
      const { epoch } = JSON.parse(joined.text);
      await ann.ask('{"event":"$rooms"}', JSON.stringify({ event: "$rooms", data: [name] }));
      await api.gives("GET", `/api/v1/${ns}/room?${room}`, JSON.stringify({ room: name, members: 1, epoch, offset: 0 }));
      await api.refuses("GET", `/api/v1/${ns}/room/history?${room}`, 403);
      await api.refuses("GET", `/api/v1/${ns}/room/members?${room}`, 403);
      await api.gives("DELETE", member, '{"was":true}');
    }
  },

  async health_is_answered() {
    for (const [target, text] of [["/healthz", "ok\n"], ["/readyz", "ready\n"]]) {
      const { status, text: told } = await api.call("GET", target, { key: null });
      equal(`${status} ${told}`, `200 ${text}`, target);
      equal((await api.call("HEAD", target, { key: null })).status, 200, `HEAD ${target}`);
    }
    const options = await api.call("OPTIONS", "/", { key: null });
    equal(`${options.status} ${options.headers.get("allow")}`, "204 GET, HEAD, OPTIONS", "OPTIONS /");
    const metrics = await api.call("GET", "/metrics", { key: null });
    equal(`${metrics.status} ${metrics.text.includes("roomcast_")}`, "404 false", "the metrics, which are not for the public");
  },

  async who_has_said_all_is_answered() {
    const body = '{"audience":{"all":true},"event":"e"}';
    const call = `Host: ${host}\r\nAuthorization: Bearer ${key}\r\nConnection: close\r\n`;
    for (let n = 0; n < 20; n += 1) {
      for (const request of [
        `GET ${path}/healthz HTTP/1.1\r\n${call}\r\n`,
        `GET ${path}/ HTTP/1.1\r\n${call}\r\n`,
        `GET ${path}/api/v1/default/rooms HTTP/1.1\r\n${call}\r\n`,
        `POST ${path}/api/v1/default/send HTTP/1.1\r\n${call}Content-Length: ${body.length}\r\n\r\n${body}`,
      ]) matches(await half(request), /^HTTP\/1\.1 200 /, request.split("\r\n")[0]);
    }
  },

  // A server that ended idle connections after a fixed time would meet requests at that moment.
  async idle_connections_are_used_again() {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 8 });
    const body = '{"audience":{"all":true},"event":"e"}';
    const send = () => new Promise((resolve, reject) => {
      const headers = { authorization: `Bearer ${key}`, "content-length": body.length };
      const request = http.request(`${base}/api/v1/default/send`, { method: "POST", agent, headers }, (response) => {
        response.resume().on("end", () => resolve(response.statusCode));
      });
      request.on("error", reject).end(body);
    });
    const burst = async () => {
      for (const status of await Promise.all(Array.from({ length: 8 }, send))) equal(status, 200, "the status of a send");
    };
    await burst();
    for (const pause of [0, 4990, 5000, 5010]) {
      await passes(pause);
      await burst();
    }
    agent.destroy();
  },

  async a_client_that_goes_is_gone() {
    const ns = namespace();
    const ann = await Client.open(`${ws}/ws/${ns}`);
    await ann.join("r");
    ann.socket.terminate();
    await until("the room to be gone", async () => (await api.call("GET", `/api/v1/${ns}/rooms/r`)).status === 404);
  },
};

const chosen = Object.entries(cases).filter(([name]) => wanted.length === 0 || wanted.includes(name));
const outcomes = await Promise.all(chosen.map(async ([name, run]) => {
  try {
    await run();
    console.log(`ok ${name}`);
    return true;
  } catch (error) {
    console.log(`FAILED ${name}: ${error.message}`);
    return false;
  }
}));
const failed = outcomes.filter((passed) => !passed).length;
console.log(`${outcomes.length - failed} passed, ${failed} failed`);
// Connections left open by cases must not keep the process running.
process.exit(failed > 0 || outcomes.length === 0 ? 1 : 0);
