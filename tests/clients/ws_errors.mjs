// Mistakes of clients, and the errors that answer them.

import { Client, equal, namespace, refusal } from "./ws_client.mjs";

const open = (ws) => Client.open(`${ws}/ws/${namespace()}`);

const nested = (depth) => "[".repeat(depth) + "]".repeat(depth);

export async function what_is_not_an_envelope_is_bad_envelope({ ws }) {
  const ann = await open(ws);
  const unreadable = [
    "", " ", "hello", "null", "true", "5", '"text"', "[]", '["said",1,"lobby"]', "{", '{"event":"a"', '{"event":"a"}}',
    '{"event":"a"}{"event":"b"}', "{'event':'a'}", '{"event":"a",}', '{"event":NaN}', '{"event":"a","data":Infinity}',
    '\ufeff{"event":"a"}', '{"event":"a\nb"}', '{"event":"a","event":"b"}', '{"event":"a","\\u0065vent":"b"}',
  ];
  for (const text of unreadable) await ann.refused(text, { event: "$error" }, "bad_envelope");
  await ann.nothingMore();
}

export async function what_can_be_read_addresses_the_answer({ ws }) {
  const ann = await open(ws);
  const secret = "classified";
  const cases = [
    [`{"id":1,"data":"${secret}"}`, { event: "$error", id: 1 }],
    ['{"event":"","id":1}', { event: "$error", id: 1 }],
    ['{"event":null,"id":1}', { event: "$error", id: 1 }],
    ['{"event":5,"id":"x"}', { event: "$error", id: "x" }],
    [`{"event":"${secret.repeat(13)}","id":1}`, { event: "$error", id: 1 }],
    ['{"event":"a","id":1.5}', { event: "a" }],
    ['{"event":"a","id":1.0}', { event: "a" }],
    ['{"event":"a","id":9007199254740992}', { event: "a" }],
    ['{"event":"a","id":-9007199254740992}', { event: "a" }],
    ['{"event":"a","id":18446744073709551616}', { event: "a" }],
    [`{"event":"a","id":"${secret.padEnd(65, "x")}"}`, { event: "a" }],
    [`{"event":"a","id":["${secret}"]}`, { event: "a" }],
    ['{"event":"a","id":true}', { event: "a" }],
    ['{"event":"a","id":1,"room":7}', { event: "a", id: 1 }],
    [`{"event":"a","id":1,"room":{"x":"${secret}"}}`, { event: "a", id: 1 }],
    [`{"event":"a","id":1,"echo":"${secret}"}`, { event: "a", id: 1 }],
    ['{"event":"$join","id":1,"room":["r"]}', { event: "$join", id: 1 }],
  ];
  for (const [text, head] of cases) await ann.refused(text, head, "bad_envelope", secret);
  await ann.nothingMore();
}

export async function data_that_others_could_not_parse_is_bad_payload({ ws }) {
  const ann = await open(ws);
  const bob = await open(ws);
  await ann.join("r");
  const head = { event: "a", id: 1, room: "r" };
  for (const data of [nested(65), nested(5000), '"\\ud83d"', '"\\ude00\\ud83d"', '{"\\ud800":1}', '["\\ud83dx"]']) {
    const text = `{"event":"a","id":1,"room":"r","echo":true,"data":${data}}`;
    await ann.refused(text, head, "bad_payload");
  }
  const echoed = `{"event":"a","room":"r","from":{"conn":"${ann.conn}"},"data":${nested(64)}}`;
  await ann.ask(`{"event":"a","room":"r","echo":true,"data":${nested(64)}}`, echoed);
  await bob.nothingMore();
}

export async function join_data_of_the_wrong_shape_is_bad_payload({ ws }) {
  const ann = await open(ws);
  const shapes = [
    "1", '"x"', "[]", "true", '{"since":5}', '{"since":{}}', '{"since":{"epoch":1,"offset":1}}',
    '{"since":{"epoch":"e"}}', '{"since":{"epoch":"e","offset":-1}}', '{"since":{"epoch":"e","offset":"1"}}',
  ];
  for (const data of shapes) {
    const text = `{"event":"$join","id":1,"room":"r","data":${data}}`;
    await ann.refused(text, { event: "$join", id: 1, room: "r" }, "bad_payload");
  }
  await ann.ask('{"event":"$rooms"}', '{"event":"$rooms","data":[]}');
}

export async function a_missing_or_malformed_room_is_bad_room({ ws }) {
  const ann = await open(ws);
  for (const event of ["$join", "$leave"]) {
    await ann.refused({ event, id: 1 }, { event, id: 1 }, "bad_room");
    await ann.refused({ event, room: null }, { event }, "bad_room");
  }
  const bad = ["", "x".repeat(201), "é".repeat(101), "a\nb", "secret\u0000", "\u007f", "\u0085"];
  for (const room of bad) {
    for (const event of ["$join", "$leave", "said"]) {
      await ann.refused({ event, id: 1, room }, { event, id: 1 }, "bad_room", room.trim() || undefined);
    }
    await ann.refused({ event: "said", room }, { event: "said" }, "bad_room");
  }
  await ann.ask('{"event":"$rooms"}', '{"event":"$rooms","data":[]}');
}

export async function an_event_without_a_room_is_unknown_event({ ws }) {
  const ann = await open(ws);
  await ann.refused('{"event":"hello","id":1}', { event: "hello", id: 1 }, "unknown_event");
  await ann.refused('{"event":"hello"}', { event: "hello" }, "unknown_event");
  await ann.refused('{"event":"hello","room":null,"data":1}', { event: "hello" }, "unknown_event");
  const longest = "x".repeat(128);
  await ann.refused({ event: longest }, { event: longest }, "unknown_event");
}

export async function reserved_and_unknown_verbs_are_unknown_verb({ ws }) {
  const ann = await open(ws);
  for (const event of ["$auth", "$", "$Join", "$welcome", "$bye", "$error", "$pong", "$x"]) {
    await ann.refused({ event, id: 1 }, { event, id: 1 }, "unknown_verb");
    await ann.refused({ event, room: "r" }, { event, room: "r" }, "unknown_verb");
  }
}

export async function verbs_of_kept_rooms_are_for_members_of_such({ ws }) {
  const ann = await open(ws);
  await ann.join("here");
  for (const event of ["$members", "$history"]) {
    await ann.refused({ event, id: 1 }, { event, id: 1 }, "bad_room");
    await ann.refused({ event, room: "elsewhere" }, { event, room: "elsewhere" }, "forbidden");
    // It is in, and no policy says that the room keeps or shows anything.
    await ann.refused({ event, id: 2, room: "here" }, { event, id: 2, room: "here" }, "forbidden");
    await ann.refused({ event, room: "here", data: { limit: 0 } }, { event, room: "here" }, "bad_payload");
    await ann.refused({ event, room: "here", data: [1] }, { event, room: "here" }, "bad_payload");
  }
}

export async function the_room_after_the_last_is_room_limit({ ws }) {
  const ann = await open(ws);
  const limit = JSON.parse(ann.welcome).data.limits.rooms_per_connection;
  for (let n = 0; n < limit; n += 1) await ann.join(`room ${n}`);
  const head = { event: "$join", id: 1, room: "one more" };
  await ann.refused(head, head, "room_limit");
  await ann.ask(
    '{"event":"$leave","id":2,"room":"one more"}',
    '{"event":"$leave","id":2,"room":"one more","data":{"was":false}}',
  );
  await ann.ask('{"event":"$leave","room":"room 0"}', '{"event":"$leave","room":"room 0","data":{"was":true}}');
  await ann.join("one more");
}

export async function an_id_used_twice_is_answered_twice({ ws }) {
  const ann = await open(ws);
  ann.send('{"event":"$rooms","id":1}');
  ann.send('{"event":"$rooms","id":1}');
  ann.send('{"event":"e","id":1,"room":"r"}');
  await ann.expect(
    '{"event":"$rooms","id":1,"data":[]}',
    '{"event":"$rooms","id":1,"data":[]}',
    '{"event":"e","id":1,"room":"r","data":{"reached":0}}',
  );
}

export async function a_binary_message_closes_with_1003({ ws }) {
  const ann = await open(ws);
  ann.socket.send(Buffer.from('{"event":"$ping"}'), { binary: true });
  await ann.expectClose(1003);
}

export async function a_message_of_the_limit_passes_and_one_byte_more_closes_with_1009({ ws }) {
  const ns = namespace();
  const ann = await Client.open(`${ws}/ws/${ns}`);
  const bob = await Client.open(`${ws}/ws/${ns}`);
  const limit = JSON.parse(ann.welcome).data.limits.message_bytes;
  await bob.join("r");
  const head = '{"event":"e","room":"r","data":"';
  const data = "x".repeat(limit - head.length - 2);
  ann.send(`${head}${data}"}`);
  await bob.expect(`{"event":"e","room":"r","from":{"conn":"${ann.conn}"},"data":"${data}"}`);
  ann.send(`${head}${data}x"}`);
  await ann.expectClose(1009);
  await bob.nothingMore();
}

export async function handshakes_are_refused_with_their_status({ ws }) {
  equal((await refusal(`${ws}/ws/no.dots`)).status, 404, "a malformed namespace");
  equal((await refusal(`${ws}/ws/${"x".repeat(65)}`)).status, 404, "a long namespace");
  equal((await refusal(`${ws}/ws/a/b`)).status, 404, "a path below a namespace");
  for (const origin of ["https://elsewhere.example", "null", "http://localhost.elsewhere.example"]) {
    const got = await refusal(`${ws}/ws/${namespace()}`, { origin });
    equal(got.status, 403, `the origin ${origin}`);
    equal(String(got.headers["content-type"]).split(";")[0], "application/problem+json", "the content type");
  }
}

export async function refuse_close_tells_the_reason_on_the_socket({ ws }) {
  const refused = async (address, options) => {
    const client = await Client.openPlain(address, options);
    await client.expectError({ event: "$error" }, "forbidden");
    await client.expectClose(4403);
  };
  await refused(`${ws}/ws/no.dots?refuse=close`);
  await refused(`${ws}/ws/${namespace()}?refuse=close`, { origin: "https://elsewhere.example" });
  const welcome = await Client.open(`${ws}/ws/${namespace()}?refuse=close`);
  await welcome.nothingMore();
}
