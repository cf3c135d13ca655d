// The HTTP API as a backend uses it, with clients that see what it does.

import http from "node:http";
import https from "node:https";
import { Client, equal, fail, matches, namespace, until } from "./ws_client.mjs";
import { PAYLOADS } from "./ws_rooms.mjs";

const one = '{"matched":1,"queued":1,"dropped":0}';
const none = '{"matched":0,"queued":0,"dropped":0}';
const bye = (code, reconnect) => `{"event":"$bye","data":{"code":${code},"reconnect":${reconnect},"after_ms":0}}`;

async function opened(ws, names) {
  const ns = namespace();
  const clients = {};
  for (const name of names) clients[name] = await Client.open(`${ws}/ws/${ns}`);
  return { ns, at: `/api/v1/${ns}`, ...clients };
}

export async function a_push_to_one_room_names_it({ ws, api }) {
  const { ns, ann, bob } = await opened(ws, ["ann", "bob"]);
  await ann.join("lobby");
  await api.send(ns, { audience: { rooms: ["lobby"] }, event: "said", data: { text: "hi" } }, one);
  await ann.expect('{"event":"said","room":"lobby","data":{"text":"hi"}}');
  await api.send(ns, { audience: { rooms: ["lobby"] }, event: "said" }, one);
  await ann.expect('{"event":"said","room":"lobby","data":null}');
  await bob.nothingMore();
}

export async function pushed_data_passes_byte_for_byte({ ws, api }) {
  const { ns, ann } = await opened(ws, ["ann"]);
  await ann.join("r");
  for (const data of PAYLOADS) {
    await api.send(ns, `{"audience":{"rooms":["r"]},"event":"d","data":${data}}`, one);
    await ann.expect(`{"event":"d","room":"r","data":${data.trim()}}`);
  }
}

export async function audiences_are_unions_less_unions({ ws, api }) {
  const { ns, ann, bob, eve } = await opened(ws, ["ann", "bob", "eve"]);
  for (const client of [ann, bob]) await client.join("r");
  for (const client of [bob, eve]) await client.join("s");
  const cases = [
    [{ all: true }, [ann, bob, eve]],
    [{ rooms: ["r", "s"] }, [ann, bob, eve]],
    [{ rooms: ["r"], conns: [ann.conn, eve.conn] }, [ann, bob, eve]],
    [{ conns: [eve.conn, eve.conn] }, [eve]],
    [{ conns: ["4503599627370495"] }, []],
    // A string that is not an id matches no connection.
    [{ conns: ["x", "", "01", "-1", "99999999999999999999"] }, []],
    [{ conns: ["x", eve.conn] }, [eve]],
    [{ conns: [eve.conn], except_conns: ["x"] }, [eve]],
    [{ all: true, except_conns: [bob.conn] }, [ann, eve]],
    [{ all: true, except_rooms: ["s"] }, [ann]],
    [{ rooms: ["r", "s"], except_rooms: ["r"], except_conns: [ann.conn] }, [eve]],
    [{ users: ["nobody"] }, []],
    [{ all: true, except_users: ["nobody"] }, [ann, bob, eve]],
    [{ all: true, rooms: ["r"] }, [ann, bob, eve]],
    [{ rooms: ["r", "empty"] }, [ann, bob]],
    [{ rooms: [] }, []],
    [{}, []],
  ];
  for (const [n, [audience, reached]] of cases.entries()) {
    const count = reached.length;
    await api.send(ns, { audience, event: "a", data: n }, `{"matched":${count},"queued":${count},"dropped":0}`);
    for (const client of reached) await client.expect(`{"event":"a","data":${n}}`);
    for (const client of [ann, bob, eve]) await client.nothingMore();
  }
  await api.send(ns, { audience: { rooms: ["r"], except_conns: [ann.conn] }, event: "a" }, one);
  await bob.expect('{"event":"a","room":"r","data":null}');
}

export async function a_namespace_without_connections_is_empty({ api }) {
  const ns = namespace();
  await api.send(ns, { audience: { all: true }, event: "a" }, none);
  await api.gives("GET", `/api/v1/${ns}/rooms`, '{"rooms":[]}');
  await api.gives("GET", `/api/v1/${ns}/connections`, '{"connections":[]}');
  await api.refuses("GET", `/api/v1/${ns}/rooms/r`, 404);
}

export async function members_are_put_and_deleted({ ws, api }) {
  const { at, ann } = await opened(ws, ["ann"]);
  const epoch = JSON.stringify(await ann.join("first"));
  const member = `${at}/rooms/chat%2F7%20%C3%A9/members/${ann.conn}`;
  const position = `"epoch":${epoch},"offset":0`;
  await api.gives("PUT", member, `{${position},"already":false}`);
  await api.gives("PUT", member, `{${position},"already":true}`);
  await ann.ask('{"event":"$rooms"}', '{"event":"$rooms","data":["chat/7 é","first"]}');
  await ann.ask('{"event":"e","id":1,"room":"chat/7 é","echo":true}',
    `{"event":"e","room":"chat/7 é","from":{"conn":"${ann.conn}"},"data":null}`,
    '{"event":"e","id":1,"room":"chat/7 é","data":{"reached":1}}');
  await api.gives("GET", `${at}/rooms/chat%2F7%20%C3%A9`, `{"room":"chat/7 é","members":1,${position}}`);
  await api.gives("DELETE", member, '{"was":true}');
  await api.gives("DELETE", member, '{"was":false}');
  await ann.ask('{"event":"$rooms"}', '{"event":"$rooms","data":["first"]}');
  for (const method of ["PUT", "DELETE"]) {
    await api.refuses(method, `${at}/rooms/r/members/4503599627370495`, 404);
    await api.refuses(method, `${at}/rooms/a%0Ab/members/${ann.conn}`, 400);
  }
  await api.refuses("PUT", `${at}/rooms/${"x".repeat(201)}/members/${ann.conn}`, 400);
  for (let n = 1; n < JSON.parse(ann.welcome).data.limits.rooms_per_connection; n += 1) await ann.join(`room ${n}`);
  equal((await api.refuses("PUT", member, 409)).code, "room_limit", "the code");
  for (const name of ["members", "history"]) {
    equal((await api.refuses("GET", `${at}/rooms/first/${name}`, 403)).code, "forbidden", "the code");
    await api.refuses("GET", `${at}/rooms/nowhere/${name}`, 404);
  }
}

export async function connections_are_listed_with_their_rooms({ ws, api }) {
  const before = Date.now();
  const { at, ann } = await opened(ws, ["ann"]);
  for (const room of ["b", "a"]) await ann.join(room);
  const { text } = await api.call("GET", `${at}/connections/${ann.conn}`);
  const { since_ms } = JSON.parse(text);
  const row = JSON.stringify({ conn: ann.conn, user: "", rooms: ["a", "b"], since_ms, queued_bytes: 0 });
  equal(text, row, "the connection");
  if (Math.abs(since_ms - before) > 60_000) fail("since_ms", before, since_ms);
  await api.gives("GET", `${at}/connections`, `{"connections":[${row}]}`);
  await api.gives("GET", `${at}/connections?user=nobody`, '{"connections":[]}');
  for (const conn of ["4503599627370495", "x", "-1", "99999999999999999999"]) {
    await api.refuses("GET", `${at}/connections/${conn}`, 404);
  }
}

export async function lists_come_in_pages({ ws, api }) {
  const { at, ...clients } = await opened(ws, ["a", "b", "c", "d", "e"]);
  const people = [clients.a, clients.b, clients.c, clients.d, clients.e];
  const rooms = ["q/1", "r&1", "r&2", "r&3", "r&é"];
  for (const room of rooms) await clients.a.join(room);
  const walk = async (path, list, key) => {
    const found = [];
    for (let after = "", page; page?.next !== undefined || after === ""; after = `&after=${encodeURIComponent(page.next)}`) {
      page = await api.json(path + after);
      found.push(...page[list].map((row) => row[key]));
      if (page[list].length > 2) fail("a page", "at most 2 rows", page);
      if (page.next === undefined) return found;
      equal(page.next, page[list].at(-1)[key], "next");
    }
    return found;
  };
  equal((await walk(`${at}/rooms?limit=2`, "rooms", "room")).join(), rooms.join(), "the rooms");
  equal((await walk(`${at}/rooms?limit=2&prefix=r%26`, "rooms", "room")).join(), rooms.slice(1).join(), "the rooms below a prefix");
  const ids = people.map((client) => client.conn);
  equal((await walk(`${at}/connections?limit=2`, "connections", "conn")).sort().join(), ids.sort().join(), "the connections");
  for (const limit of ["0", "1001", "-1", "x", "1.5"]) {
    for (const list of ["rooms", "connections"]) await api.refuses("GET", `${at}/${list}?limit=${limit}`, 400);
  }
}

export async function a_disconnect_says_bye_and_closes({ ws, api }) {
  const { at, ann, bob, eve, kim, joe } = await opened(ws, ["ann", "bob", "eve", "kim", "joe"]);
  await joe.join("r");
  await ann.join("r");
  joe.send('{"event":"last","room":"r","data":1}');
  await joe.nothingMore();
  await api.gives("DELETE", `${at}/connections/${ann.conn}`, '{"disconnected":1}');
  await ann.expectClose(4410, `{"event":"last","room":"r","from":{"conn":"${joe.conn}"},"data":1}`, bye(4410, false));
  await api.gives("DELETE", `${at}/connections/${bob.conn}?code=1000&reason=signed%20out`, '{"disconnected":1}');
  equal(await bob.expectClose(1000, bye(1000, false)), "signed out", "the reason");
  await api.gives("DELETE", `${at}/connections/${eve.conn}?code=1013&reason=${"x".repeat(123)}`, '{"disconnected":1}');
  equal(await eve.expectClose(1013, bye(1013, true)), "x".repeat(123), "the reason");
  await api.gives("DELETE", `${at}/connections/${kim.conn}?code=1008`, '{"disconnected":1}');
  await kim.expectClose(1008); // as for broken framing, there is no $bye
  for (const query of ["code=1002", "code=1005", "code=999", "code=2000", "code=5000", "code=x", `reason=${"x".repeat(124)}`]) {
    await api.refuses("DELETE", `${at}/connections/${joe.conn}?${query}`, 400);
  }
  await api.refuses("DELETE", `${at}/connections/${ann.conn}`, 404);
  await api.gives("DELETE", `${at}/connections?user=nobody`, '{"disconnected":0}');
  await api.refuses("DELETE", `${at}/connections`, 400);
  await joe.nothingMore();
  await until("the room to have one member", async () => (await api.json(`${at}/rooms/r`)).members === 1);
}

export async function an_idempotency_key_sends_once({ ws, api }) {
  const { ns, at, ann } = await opened(ws, ["ann"]);
  const key = { "idempotency-key": "order-1017" };
  const body = { audience: { all: true }, event: "paid", data: 1 };
  await api.send(ns, body, one, key);
  await ann.expect('{"event":"paid","data":1}');
  await api.send(ns, body, one, key);
  await ann.nothingMore();
  for (const other of [{ ...body, data: 2 }, { ...body, event: "sold" }, { ...body, audience: { conns: [ann.conn] } }]) {
    await api.refuses("POST", `${at}/send`, 422, { body: other, headers: key });
  }
  await ann.nothingMore();
  await api.send(ns, body, one, { "idempotency-key": "x".repeat(128) });
  await ann.expect('{"event":"paid","data":1}');
  for (const bad of ["", "x".repeat(129)]) {
    await api.refuses("POST", `${at}/send`, 400, { body, headers: { "idempotency-key": bad } });
  }
  const others = namespace();
  const bob = await Client.open(`${api.base.replace(/^http/, "ws")}/ws/${others}`);
  await api.send(others, body, one, key);
  await bob.expect('{"event":"paid","data":1}');
  await ann.nothingMore();
}

export async function several_idempotency_keys_are_refused({ ws, api }) {
  const { at, ann } = await opened(ws, ["ann"]);
  const body = '{"audience":{"all":true},"event":"paid"}';
  const headers = { "idempotency-key": ["a", "b"], "content-length": body.length };
  if (api.key) headers.authorization = `Bearer ${api.key}`;
  const status = await new Promise((resolve, reject) => {
    const { request: send } = api.base.startsWith("https:") ? https : http;
    const request = send(`${api.base}${at}/send`, { method: "POST", headers }, (response) => {
      response.resume().on("end", () => resolve(response.statusCode));
    });
    request.on("error", reject).end(body);
  });
  equal(status, 400, "the status");
  await ann.nothingMore();
}

export async function a_packed_body_is_refused({ ws, api }) {
  const { at, ann } = await opened(ws, ["ann"]);
  const body = '{"audience":{"all":true},"event":"a"}';
  for (const encoding of ["gzip", "deflate", "br", "x"]) {
    const options = { body, headers: { "content-encoding": encoding } };
    const problem = await api.refuses("POST", `${at}/send`, 415, options);
    equal(problem.code, "unsupported_media_type", "the code");
    equal((await api.call("POST", `${at}/send`, options)).headers.get("accept-encoding"), "identity", "Accept-Encoding");
  }
  await ann.nothingMore();
  await api.gives("POST", `${at}/send`, one, { body, headers: { "content-encoding": "identity" } });
  await ann.expect('{"event":"a","data":null}');
}

export async function head_is_get_and_options_says_what_there_is({ ws, api }) {
  const { at, ann } = await opened(ws, ["ann"]);
  await ann.join("r");
  const read = "GET, HEAD, OPTIONS";
  for (const [path, allow] of [
    ["/", read], ["/healthz", read], ["/readyz", read], ["/metrics", read], ["/ws", read], ["/ws/a", read],
    [`${at}/rooms`, read], [`${at}/rooms/r`, read], [`${at}/room?room=r`, read], [`${at}/rooms/r/members`, read],
    [`${at}/rooms/r/history`, read], [`${at}/rooms/none`, read], [`${at}/connections`, "GET, HEAD, DELETE, OPTIONS"],
    [`${at}/send`, "POST, OPTIONS"], [`${at}/rooms/r/members/${ann.conn}`, "PUT, DELETE, OPTIONS"],
  ]) {
    if (allow.includes("HEAD")) {
      const [get, head] = [await api.call("GET", path), await api.call("HEAD", path)];
      equal(`${head.status} ${head.text}`, `${get.status} `, `HEAD ${path}`);
      equal(head.headers.get("content-type"), get.headers.get("content-type"), `the type of HEAD ${path}`);
    }
    // Needs no key: it reveals only what the documentation says.
    const options = await api.call("OPTIONS", path, { key: null });
    equal(`${options.status} ${options.headers.get("allow")}`, `204 ${allow}`, `OPTIONS ${path}`);
  }
  await api.refuses("OPTIONS", "/nothing", 404);
  await api.refuses("OPTIONS", `${at}/nothing`, 404);
  await ann.nothingMore();
}

export async function any_room_can_be_named_in_the_query({ ws, api }) {
  const { at, ann } = await opened(ws, ["ann"]);
  for (const name of [".", "..", "/", "a/b", "a/../../connections", "//", "%2F", "é ?&#+", "members"]) {
    const room = `room=${encodeURIComponent(name)}`;
    const member = `${at}/room/members/${ann.conn}?${room}`;
    const joined = await api.call("PUT", member);
    equal(joined.status, 200, `the status of a join to ${name}: ${joined.text}`);
    const { epoch } = JSON.parse(joined.text);
    await ann.ask('{"event":"$rooms"}', JSON.stringify({ event: "$rooms", data: [name] }));
    await api.gives("GET", `${at}/room?${room}`, JSON.stringify({ room: name, members: 1, epoch, offset: 0 }));
    for (const page of ["members", "history"]) await api.refuses("GET", `${at}/room/${page}?${room}&limit=5`, 403);
    await api.gives("DELETE", member, '{"was":true}');
  }
  await api.refuses("GET", `${at}/room`, 400);
  equal((await api.refuses("GET", `${at}/room?room=`, 400)).code, "bad_room", "the code");
  await api.refuses("GET", `${at}/room?room=a&room=b`, 400);
  await api.refuses("GET", `${at}/room?room=%FF`, 400);
}

export async function a_misspelt_parameter_is_refused({ ws, api }) {
  const { at, ann } = await opened(ws, ["ann"]);
  await ann.join("r");
  const { detail } = await api.refuses("GET", `${at}/rooms?limti=5`, 400);
  equal(detail, "unknown parameter `limti`: this call takes prefix, after, limit", "the detail");
  for (const [method, path] of [
    ["GET", "rooms/r?x=1"], ["GET", "room?room=r&x=1"], ["GET", "rooms/r/members?before=1"], ["GET", "rooms/r/history?x"],
    ["PUT", `rooms/r/members/${ann.conn}?x=1`], ["DELETE", `rooms/r/members/${ann.conn}?x=1`], ["GET", "connections?x=1"],
    ["DELETE", "connections?user=a&x=1"], ["GET", `connections/${ann.conn}?x=1`], ["DELETE", `connections/${ann.conn}?x=1`],
    ["POST", "send?x=1"], ["GET", "rooms?limit=1&limit=1"], ["GET", "rooms?limit=%2B5"], ["GET", "rooms?limit=+5"],
    ["GET", "rooms?limit=%205"], ["GET", "rooms?prefix=%FF"], ["GET", "rooms?%3Cb%3E=1"], ["GET", "connections?after=%2B1"],
  ]) {
    const options = method === "POST" ? { body: '{"audience":{"all":true},"event":"a"}' } : {};
    const problem = await api.refuses(method, `${at}/${path}`, 400, options);
    if (problem.detail.includes("<")) fail("the detail", "nothing that a client sent", problem.detail);
  }
  await ann.ask('{"event":"$rooms"}', '{"event":"$rooms","data":["r"]}');
}

export async function a_malformed_send_is_refused({ ws, api }) {
  const { at, ann } = await opened(ws, ["ann"]);
  const all = '"audience":{"all":true}';
  const bodies = [
    "", "{", "[]", "null", '"x"', "{}", '{"event":"a"}', `{${all}}`, `{${all},"event":5}`, `{${all},"event":""}`,
    `{${all},"event":"$bye"}`, `{${all},"event":"${"x".repeat(129)}"}`, `{${all},"event":"a","dta":1}`,
    '{"audience":[],"event":"a"}', '{"audience":{"all":1},"event":"a"}', '{"audience":{"rooms":"r"},"event":"a"}',
    '{"audience":{"rooms":[5]},"event":"a"}', '{"audience":{"conns":[5]},"event":"a"}', '{"audience":{"conns":[null]},"event":"a"}',
    '{"audience":{"except_conns":"x"},"event":"a"}',
    '{"audience":{"room":["r"]},"event":"a"}', '{"audience":{"rooms":[""]},"event":"a"}', `{${all},${all},"event":"a"}`,
    `{${all},"event":"a","data":"\\ud800"}`, `{${all},"event":"a","data":${"[".repeat(65)}${"]".repeat(65)}}`,
    `{${all},"event":"a","data":NaN}`, `{${all},"event":"a"} x`,
  ];
  for (const body of bodies) await api.refuses("POST", `${at}/send`, 400, { body });
  await ann.nothingMore();
}

export async function calls_that_do_not_exist_are_refused({ ws, api }) {
  const { at } = await opened(ws, ["ann"]);
  await api.refuses("GET", "/api/v1/no.dots/rooms", 404);
  await api.refuses("GET", `${at}/nothing`, 404);
  await api.refuses("GET", `${at}/rooms/%FF`, 400);
  const wrong = await api.call("GET", `${at}/send`);
  equal(wrong.status, 405, "GET of send");
  matches(wrong.headers.get("allow") ?? "", /\bPOST\b/, "Allow");
  await api.refuses("PUT", `${at}/rooms`, 405);
}

export async function a_wrong_key_is_refused({ api }) {
  if (!api.key) return; // the server has no key: calls from this machine are accepted
  for (const key of [null, "wrong", `${api.key}x`, api.key.slice(1)]) {
    const problem = await api.refuses("GET", "/api/v1/default/rooms", 401, { key });
    equal(problem.code, "unauthorized", "the code");
    if (key && problem.detail.includes(key)) fail("the detail", "without the key", problem.detail);
  }
}

export async function health_needs_no_key({ api }) {
  for (const [path, text] of [["/healthz", "ok"], ["/readyz", "ready"]]) {
    const answer = await api.call("GET", path, { key: null });
    equal(`${answer.status} ${answer.text.trim()}`, `200 ${text}`, path);
  }
}

export async function metrics_need_no_key({ api }) {
  const metrics = await api.call("GET", "/metrics", { key: null });
  equal(metrics.status, 200, "/metrics");
  matches(metrics.headers.get("content-type") ?? "", /^text\/plain/, "/metrics");
  matches(metrics.text, /^# TYPE \w*connections\w* gauge$/m, "/metrics");
}
