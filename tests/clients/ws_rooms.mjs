// Rooms as members and publishers see them.

import { Client, SUBPROTOCOL, equal, fail, matches, namespace, until, withDeadline } from "./ws_client.mjs";

const push = (event, room, conn, data) =>
  `{"event":${JSON.stringify(event)},"room":${JSON.stringify(room)},"from":{"conn":"${conn}"},"data":${data}}`;

export async function welcome_comes_first_with_the_subprotocol({ ws }) {
  const client = await Client.open(`${ws}/ws/${namespace()}`);
  equal(client.socket.protocol, SUBPROTOCOL, "the subprotocol");
  const { data } = JSON.parse(client.welcome);
  const { conn, user, heartbeat_ms, limits } = data;
  equal(client.welcome, JSON.stringify({ event: "$welcome", data: { conn, user, heartbeat_ms, limits } }), "$welcome");
  equal(user, "", "the user");
  equal(conn, String(Number(conn)), "the id, a lossless number");
  if (!Number.isInteger(heartbeat_ms)) fail("heartbeat_ms", "an integer", heartbeat_ms);
  const known = ["message_bytes", "rooms_per_connection", "room_name_bytes"];
  equal(Object.keys(limits).slice(0, 3).join(), known.join(), "the limits");
  await client.nothingMore();
}

export async function without_the_subprotocol_the_first_frame_is_an_answer({ ws }) {
  const client = await Client.openPlain(`${ws}/ws/${namespace()}`);
  equal(client.socket.protocol, "", "the subprotocol");
  await client.nothingMore();
  const epoch = await client.join("lobby");
  await client.ask(
    '{"event":"$join","id":2,"room":"lobby"}',
    `{"event":"$join","id":2,"room":"lobby","data":{"epoch":${JSON.stringify(epoch)},"offset":0,"already":true}}`,
  );
}

export async function bearer_entries_beside_the_subprotocol_are_ignored({ ws }) {
  const client = new Client(`${ws}/ws/${namespace()}`, ["bearer.abc.def", SUBPROTOCOL]);
  await withDeadline(client.opened, "the connection to open");
  equal(client.socket.protocol, SUBPROTOCOL, "the subprotocol");
  matches(await client.next(), /^\{"event":"\$welcome"/, "the first frame");
}

export async function compression_is_not_negotiated({ ws }) {
  const client = await Client.open(`${ws}/ws/${namespace()}`, { perMessageDeflate: true });
  equal(client.socket.extensions, "", "the extensions");
  await client.nothingMore();
}

export async function a_publish_reaches_the_other_members({ ws }) {
  const ns = namespace();
  const [ann, bob, eve] = await open(ws, ns, 3);
  await ann.join("lobby");
  await bob.join("lobby");
  await ann.ask(
    '{"event":"said","id":2,"room":"lobby","data":{"text":"hello"}}',
    '{"event":"said","id":2,"room":"lobby","data":{"reached":1}}',
  );
  await bob.expect(push("said", "lobby", ann.conn, '{"text":"hello"}'));
  await bob.ask('{"event":"said","room":"lobby"}');
  await bob.nothingMore();
  await ann.expect(push("said", "lobby", bob.conn, "null"));
  for (const client of [ann, bob, eve]) await client.nothingMore();
}

export async function verbs_answer_with_and_without_an_id({ ws }) {
  const [ann] = await open(ws, namespace(), 1);
  const epoch = JSON.stringify(await ann.join("x"));
  const at = (already, more = "") => `"data":{"epoch":${epoch},"offset":0,"already":${already}${more}}`;
  await ann.ask('{"event":"$join","room":"y"}', `{"event":"$join","room":"y",${at(false)}}`);
  await ann.ask('{"event":"$join","room":"y","id":9}', `{"event":"$join","id":9,"room":"y",${at(true)}}`);
  await ann.ask('{"event":"$rooms"}', '{"event":"$rooms","data":["x","y"]}');
  await ann.ask('{"id":"r","event":"$rooms"}', '{"event":"$rooms","id":"r","data":["x","y"]}');
  await ann.ask('{"event":"$leave","room":"x"}', '{"event":"$leave","room":"x","data":{"was":true}}');
  await ann.ask('{"event":"$leave","id":1,"room":"x"}', '{"event":"$leave","id":1,"room":"x","data":{"was":false}}');
  await ann.ask('{"event":"$ping"}', '{"event":"$pong"}');
  await ann.ask('{"event":"$ping","id":5}', '{"event":"$pong","id":5}');
  await ann.ask(' { "event" : "$ping" } ', '{"event":"$pong"}');
}

export async function join_takes_a_position_and_says_that_nothing_is_recovered({ ws }) {
  const [ann] = await open(ws, namespace(), 1);
  const epoch = JSON.stringify(await ann.join("x"));
  const answer = (already, recovered) =>
    `{"event":"$join","id":1,"room":"x","data":{"epoch":${epoch},"offset":0,"already":${already}${recovered}}}`;
  const ask = (data) => ann.send(`{"event":"$join","id":1,"room":"x","data":${data}}`);
  for (const data of ["null", "{}", '{"meta":{"name":"Ann"}}', '{"since":null}']) {
    ask(data);
    await ann.expect(answer(true, ""));
  }
  for (const since of [`{"epoch":${epoch},"offset":0}`, '{"epoch":"other","offset":7}']) {
    ask(`{"since":${since}}`);
    await ann.expect(answer(true, ',"recovered":false'));
  }
}

export async function echo_is_for_members_that_ask({ ws }) {
  const [ann, bob] = await open(ws, namespace(), 2);
  await ann.join("r");
  await ann.ask(
    '{"event":"a","id":1,"room":"r","echo":true,"data":1}',
    push("a", "r", ann.conn, "1"),
    '{"event":"a","id":1,"room":"r","data":{"reached":1}}',
  );
  for (const echo of ["false", "null"]) {
    await ann.ask(`{"event":"a","id":2,"room":"r","echo":${echo}}`, '{"event":"a","id":2,"room":"r","data":{"reached":0}}');
  }
  await bob.ask('{"event":"b","id":3,"room":"r","echo":true}', '{"event":"b","id":3,"room":"r","data":{"reached":1}}');
  await ann.expect(push("b", "r", bob.conn, "null"));
  await ann.nothingMore();
  await bob.nothingMore();
}

export async function ids_come_back_as_they_were_sent({ ws }) {
  const [ann] = await open(ws, namespace(), 1);
  const ids = ["0", "-1", "1", "9007199254740991", "-9007199254740991", '""', '"1"', `"${"x".repeat(64)}"`, '"é🎲"'];
  for (const id of ids) {
    await ann.ask(`{"event":"$rooms","id":${id}}`, `{"event":"$rooms","id":${id},"data":[]}`);
    await ann.ask(`{"event":"e","room":"r","id":${id}}`, `{"event":"e","id":${id},"room":"r","data":{"reached":0}}`);
  }
  await ann.ask('{"event":"$rooms","id":"\\u0041"}', '{"event":"$rooms","id":"A","data":[]}');
  await ann.ask('{"event":"$rooms","id":"q\\"\\\\"}', '{"event":"$rooms","id":"q\\"\\\\","data":[]}');
  await ann.ask('{"event":"$rooms","id":null}', '{"event":"$rooms","data":[]}');
}

export async function publishing_needs_no_membership({ ws }) {
  const [ann, bob] = await open(ws, namespace(), 2);
  await bob.join("news");
  await ann.ask('{"event":"n","id":1,"room":"news","data":1}', '{"event":"n","id":1,"room":"news","data":{"reached":1}}');
  await bob.expect(push("n", "news", ann.conn, "1"));
  await ann.ask('{"event":"n","id":2,"room":"nobody","data":1}', '{"event":"n","id":2,"room":"nobody","data":{"reached":0}}');
  await ann.ask('{"event":"$rooms"}', '{"event":"$rooms","data":[]}');
}

export async function nothing_arrives_before_the_join_or_after_the_leave({ ws }) {
  const [ann, bob] = await open(ws, namespace(), 2);
  const say = (data, reached) =>
    bob.ask(`{"event":"s","id":1,"room":"r","data":${data}}`, `{"event":"s","id":1,"room":"r","data":{"reached":${reached}}}`);
  await say(1, 0);
  await ann.join("r");
  await say(2, 1);
  await ann.expect(push("s", "r", bob.conn, "2"));
  await ann.ask('{"event":"$leave","room":"r"}', '{"event":"$leave","room":"r","data":{"was":true}}');
  await say(3, 0);
  await ann.nothingMore();
  await ann.join("r");
  await say(4, 1);
  await ann.expect(push("s", "r", bob.conn, "4"));
}

export async function from_is_stamped_and_unknown_members_are_ignored({ ws }) {
  const [ann, bob] = await open(ws, namespace(), 2);
  await bob.join("r");
  ann.send(
    `{"from":{"conn":"${bob.conn}","user":"root"},"offset":99,"data":[1],"x":{"y":1},"x":2,"error":{},` +
      '"room":"r","event":"e","__proto__":{"room":"q"}}',
  );
  await bob.expect(push("e", "r", ann.conn, "[1]"));
}

export async function members_see_one_order_of_a_thousand_messages({ ws }) {
  const ns = namespace();
  const members = await open(ws, ns, 3);
  const publishers = await open(ws, ns, 4);
  for (const client of [...members, ...publishers]) await client.join("r");
  const each = 250;
  for (let n = 0; n < each; n += 1) {
    for (const publisher of publishers) publisher.send(`{"event":"n","room":"r","echo":true,"data":${n}}`);
  }
  const seen = await Promise.all([...members, ...publishers].map((client) => client.take(each * publishers.length)));
  const first = seen[0].join("\n");
  for (const [who, frames] of seen.entries()) {
    if (frames.join("\n") !== first) {
      const at = frames.findIndex((frame, index) => frame !== seen[0][index]);
      fail(`the order at client ${who}, frame ${at}`, seen[0][at], frames[at]);
    }
  }
  for (const publisher of publishers) {
    const own = seen[0].filter((frame) => frame.includes(`"conn":"${publisher.conn}"`));
    const sent = Array.from({ length: each }, (_, n) => push("n", "r", publisher.conn, n));
    equal(own.join("\n"), sent.join("\n"), "the messages of one publisher");
  }
  for (const client of [...members, ...publishers]) await client.nothingMore();
}

export const PAYLOADS = [
  "12345678901234567890",
  "-0.0",
  "1.0",
  "1e999",
  "1E+2",
  "0.1000000000000000055511151231257827",
  ' { "b" : 1 , "a" : [ 1 ,\t2 ] } ',
  '{"a":1,"a":2,"__proto__":{"x":1}}',
  '"é ü 🎲 \u2028 \u202e"',
  String.raw`"\u00e9 \ud83c\udfb2 \u0000 \/ \" \\ \n \b"`,
  "[[[[[[[[[[]]]]]]]]]]",
  "true",
  "false",
  "null",
  '""',
  "{}",
  JSON.stringify("x".repeat(60_000)),
];

export async function data_passes_byte_for_byte({ ws }) {
  const [ann, bob] = await open(ws, namespace(), 2);
  await bob.join("r");
  for (const data of PAYLOADS) {
    ann.send(`{"event":"d","data":${data},"room":"r"}`);
    // White space around the value is outside of it.
    await bob.expect(push("d", "r", ann.conn, data.trim()));
  }
  await ann.nothingMore();
}

export async function room_and_event_names_are_only_bytes({ ws }) {
  const [ann, bob] = await open(ws, namespace(), 2);
  const names = ["__proto__", "constructor", " ", "chat/7?x=1#y", "🎲", "é", "e\u0301", "\u202eabc", 'q"\\', "x".repeat(200)];
  for (const room of names) await bob.join(room);
  for (const room of names) {
    const event = room.slice(0, 64);
    ann.send({ event, room, data: room });
    await bob.expect(push(event, room, ann.conn, JSON.stringify(room)));
  }
  const sorted = [...names].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  await bob.ask('{"event":"$rooms"}', JSON.stringify({ event: "$rooms", data: sorted }));
}

export async function rooms_are_sorted_by_bytes({ ws }) {
  const [ann] = await open(ws, namespace(), 1);
  for (const room of ["\u{10000}", "\uffff", "b", "a", "Z", "aa", "é"]) await ann.join(room);
  await ann.ask('{"event":"$rooms"}', JSON.stringify({ event: "$rooms", data: ["Z", "a", "aa", "b", "é", "\uffff", "\u{10000}"] }));
}

export async function namespaces_share_nothing({ ws, api }) {
  const [left, right] = [namespace(), namespace()];
  const [ann] = await open(ws, left, 1);
  const [bob] = await open(ws, right, 1);
  await ann.join("r");
  await bob.join("r");
  await ann.ask('{"event":"e","id":1,"room":"r","echo":true}', push("e", "r", ann.conn, "null"), '{"event":"e","id":1,"room":"r","data":{"reached":1}}');
  await api.send(right, { audience: { all: true }, event: "all" }, '{"matched":1,"queued":1,"dropped":0}');
  await bob.expect('{"event":"all","data":null}');
  await ann.nothingMore();
}

export async function ws_alone_is_the_namespace_default({ ws }) {
  const room = namespace();
  const ann = await Client.open(`${ws}/ws`);
  const bob = await Client.open(`${ws}/ws/default`);
  await bob.join(room);
  ann.send({ event: "e", room });
  await bob.expect(push("e", room, ann.conn, "null"));
}

export async function a_disconnect_empties_its_rooms({ ws, api }) {
  const ns = namespace();
  const [ann, bob, eve] = await open(ws, ns, 3);
  for (const room of ["r", "s"]) for (const client of [ann, bob]) await client.join(room);
  await ann.close();
  bob.socket.terminate();
  await until("the rooms to be empty", async () => (await api.json(`/api/v1/${ns}/rooms`)).rooms.length === 0);
  await eve.ask('{"event":"e","id":1,"room":"r"}', '{"event":"e","id":1,"room":"r","data":{"reached":0}}');
}

export async function ids_of_connections_are_not_given_again({ ws, api }) {
  const ns = namespace();
  const seen = new Set();
  for (let round = 0; round < 4; round += 1) {
    const client = await Client.open(`${ws}/ws/${ns}`);
    if (seen.has(client.conn)) fail("the id of a new connection", "one never used", client.conn);
    seen.add(client.conn);
    await client.close();
    // The namespace ends with its last connection, and the next one starts a new one.
    await until("the connection to be gone", async () => (await api.json(`/api/v1/${ns}/connections`)).connections.length === 0);
  }
}

export async function a_close_of_the_client_is_echoed({ ws }) {
  for (const code of [1000, 1001, 3000, 4999]) {
    const [client] = await open(ws, namespace(), 1);
    await client.join("r");
    await client.close(code);
  }
}

async function open(ws, ns, count) {
  const clients = [];
  while (clients.length < count) clients.push(await Client.open(`${ws}/ws/${ns}`));
  return clients;
}
