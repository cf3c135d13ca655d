// Sessions of the npm library `ws` with the applications of the examples:
//
//     node ws_gateways.mjs APPLICATION WS_ADDRESS [API_URL API_KEY [ROUTE_URL]]
//
// such as `node ws_gateways.mjs chat ws://127.0.0.1:3005/ws`. The application must be new: what others
// said to it would be seen. `notify` also wants the HTTP API of its namespace, with a key or `-`, and a
// route of its own if it has one. The exit code is 0 when all is as it should be.

import process from "node:process";
import { Api, Client, equal, matches, until, withDeadline } from "./ws_client.mjs";

const [name, address, api, key, route] = process.argv.slice(2);

const open = (query = "") => Client.openPlain(address + query);

// A time as `2026-06-08T10:23:14Z`, and a minute at most from now.
const TIME = '"(\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\dZ)"';

// The next frame is this one, with the current time in place of AT.
async function expectAt(client, frame) {
  const got = await client.next();
  const escaped = frame.replace(/[.*+?^${}()|[\]\\]/g, "\\$&").replace('"AT"', TIME);
  matches(got, new RegExp(`^${escaped}$`), "a frame with a time");
  const [, at] = new RegExp(TIME).exec(got);
  equal(Math.abs(Date.now() - Date.parse(at)) < 60_000, true, `${at} is now`);
}

// The frames that clients of nest-rs see.
async function chat() {
  const a = await open();
  const b = await open();
  await a.ask('{"event":"history","data":null}', '{"event":"history","data":[]}');
  a.send('{"event":"message","data":{"author":"ada","text":"hi"}}');
  const hi = '{"author":"ada","text":"hi","at":"AT"}';
  for (const client of [a, b]) await expectAt(client, `{"event":"message","data":${hi}}`);
  await a.ask('{"event":"presence","data":null}', '{"event":"presence","data":2}');
  a.send('{"event":"typing","data":{"author":"bob","text":"..."}}');
  await b.expect('{"event":"typing","data":{"author":"bob","text":"..."}}');
  b.send('{"event":"history","data":null}');
  await expectAt(b, `{"event":"history","data":[${hi}]}`);

  a.send('{"event":"join","data":"dev"}');
  await a.nothingMore();
  await b.ask('{"event":"join","id":1,"data":"dev"}', '{"event":"join","id":1,"data":null}');
  a.send('{"event":"say","data":{"author":"ada","text":"yo"}}');
  await b.expect('{"event":"said","data":{"author":"ada","text":"yo"}}');
  await b.nothingMore();
  a.send('{"event":"leave","data":"dev"}');
  await a.nothingMore();
  await b.ask('{"event":"$rooms"}', '{"event":"$rooms","data":["dev","lobby"]}');

  a.send('{"event":"message","data":{"author":5}}');
  const refused = await a.next();
  matches(refused, /^\{"event":"message","error":\{"code":"bad_payload","message":"[^"]*author/, "the refusal");
  equal(/\b5\b/.test(refused), false, "what was refused is repeated");
  await b.nothingMore();
  await fromOutside(a, b);

  await b.close();
  // The server may notice the end of a connection after its client.
  await until("presence to be 1", async () => {
    a.send('{"event":"presence","data":null}');
    return (await a.next()) === '{"event":"presence","data":1}';
  });
  a.send('{"event":"say","id":2,"data":{"author":"ada","text":"alone"}}');
  await a.expect('{"event":"say","id":2,"data":null}');
  const http = new Api(api, key === "-" ? null : key);
  const { rooms } = JSON.parse((await http.call("GET", "/rooms")).text);
  equal(JSON.stringify(rooms.map(({ room, members }) => [room, members])), '[["lobby",1]]', "who is where");
}

// Code of the server's own pushes: by the HTTP API, and by a route and a task where there are any.
async function fromOutside(...clients) {
  const http = new Api(api, key === "-" ? null : key);
  const pushed = `{"matched":${clients.length},"queued":${clients.length},"dropped":0}`;
  const announcement = { audience: { all: true }, event: "announce", data: "at ten" };
  await http.gives("POST", "/send", pushed, { body: announcement });
  for (const client of clients) await client.expect('{"event":"announce","data":"at ten"}');
  const data = { author: "server", text: "hello", at: "2026-06-08T10:23:14Z" };
  const message = { audience: { all: true }, event: "message", path: "/front", data };
  await http.gives("POST", "/send", pushed, { body: message });
  const labelled = { event: "message", path: "/front", data };
  for (const client of clients) await client.expect(JSON.stringify(labelled));
  if (!route) return;
  const routes = new Api(route);
  await routes.gives("POST", "/announce", `sent to ${clients.length}\n`, { body: "at once" });
  for (const client of clients) await client.expect('{"event":"announce","data":"at once"}');
  await routes.gives("POST", "/message", "queued\n", { body: "hi all" });
  const said = '{"event":"message","data":{"author":"server","text":"hi all","at":"AT"}}';
  for (const client of clients) await expectAt(client, said);
}

async function heartbeat() {
  const a = await open();
  const b = await open();
  for (const client of [a, b, a]) await expectAt(client, '{"event":"heartbeat","data":"AT"}');
}

// The frames that clients of moost see.
async function rooms() {
  const a = await Client.open(address);
  const b = await Client.open(address);
  const join = (name) => `{"event":"join","room":"/chat/general","id":1,"data":{"name":"${name}"}}`;
  const joined =
    '{"event":"join","id":1,"room":"/chat/general","data":{"joined":true,"room":"general","rooms":["/chat/general"]}}';
  await b.ask(join("Bob"), joined);
  await a.ask(join("Alice"), joined);
  await b.expect('{"event":"system","room":"/chat/general","data":{"text":"Alice joined"}}');
  const hello = '{"event":"message","room":"/chat/general","data":{"from":"Alice","text":"Hello!"}}';
  a.send(hello);
  await b.expect(hello);
  await a.nothingMore();
  const shout = '"room":"/chat/general","data":{"from":"Alice","text":"all!"}}';
  a.send(`{"event":"shout",${shout}`);
  for (const client of [a, b]) await client.expect(`{"event":"message",${shout}`);
  await a.ask(
    '{"event":"leave","room":"/chat/general","id":2}',
    '{"event":"leave","id":2,"room":"/chat/general","data":{"left":true,"rooms":[]}}',
  );
  await b.expect('{"event":"system","room":"/chat/general","data":{"text":"Someone left"}}');
  a.send('{"event":"forward","room":"/chat/dev/to/general","data":{"text":"over there"}}');
  await b.expect('{"event":"message","room":"/chat/general","data":{"text":"over there"}}');
  a.send(`{"event":"dm","room":"/direct","data":{"targetId":"${b.conn}","text":"psst"}}`);
  await b.expect('{"event":"dm","path":"/direct","data":{"text":"psst"}}');
  const announcement = '{"event":"announcement","path":"/announce","data":{"text":"at ten"}}';
  await a.ask(
    '{"event":"admin","room":"/announce","id":3,"data":{"text":"at ten"}}',
    announcement,
    '{"event":"admin","id":3,"room":"/announce","data":{"announced":true}}',
  );
  await b.expect(announcement);
  await a.ask(
    '{"event":"notify","room":"/self"}',
    '{"event":"notification","path":"/alerts","data":{"text":"Just for you"}}',
  );
  await a.nothingMore();
  await b.nothingMore();
}

// The frames that clients of toni see.
async function raw() {
  const hello = "Connected. Send 'join:<room>' to join a room.";
  const advice = "Error: send join:<room>, leave:<room> or msg:<room>:<text>";
  const a = await open();
  await a.expect(hello);
  await a.ask("join:lobby", "Joined room: lobby");
  const id = (await a.next()).replace(/ joined$/, "");
  matches(id, /^\d+$/, "the id of A");
  const b = await open();
  await b.expect(hello);
  await b.ask("join:lobby", "Joined room: lobby");
  const joined = await b.next();
  matches(joined, /^\d+ joined$/, "who joined");
  await a.expect(joined);
  a.send("msg:lobby:a:b");
  for (const client of [a, b]) await client.expect(`[lobby] ${id}: a:b`);
  a.socket.send(Buffer.from([0x00, 0xff]));
  await a.ask("what", advice);
  await b.ask("what", advice);
  await a.ask("leave:lobby", "Left room: lobby");
  await b.ask("msg:lobby:alone", `[lobby] ${joined.replace(" joined", "")}: alone`);
  await a.ask("what", advice);
  await b.close();
  const c = await open();
  await c.ask("join:lobby", hello, "Joined room: lobby");
  matches(await c.next(), /^\d+ joined$/, "who joined");
  const http = new Api(api, key === "-" ? null : key);
  await until("membership to end with the connection", async () => {
    const { rooms } = JSON.parse((await http.call("GET", "/rooms")).text);
    return rooms[0].members === 1;
  });
}

async function notify() {
  const http = new Api(api, key === "-" ? null : key);
  const push = (audience, text, matched) =>
    http.gives("POST", "/send", `{"matched":${matched},"queued":${matched},"dropped":0}`, {
      body: { audience, event: "notice", data: { text } },
    });
  const cat = await open("?user=cat");
  const tab = await open("?user=cat");
  const ben = await open();
  await ben.ask('{"event":"follow","data":"trains"}', '{"event":"follow","data":"trains"}');
  await push({ rooms: ["trains"] }, "late", 1);
  await ben.expect('{"event":"notice","room":"trains","data":{"text":"late"}}');
  await push({ users: ["cat"] }, "hello", 2);
  for (const client of [cat, tab]) await client.expect('{"event":"notice","data":{"text":"hello"}}');
  if (route) {
    await new Api(route).gives("POST", "/topics/trains", "sent to 1\n", { body: "on time" });
    await ben.expect('{"event":"notice","room":"trains","data":{"text":"on time"}}');
    // A task of the program reminds ann and nobody else.
    const ann = await open("?user=ann");
    for (let times = 0; times < 2; times++) {
      await ann.expect('{"event":"notice","data":{"text":"take a break"}}');
    }
  }
  ben.send('{"event":"notice","room":"trains","data":{"text":"forged"}}');
  await ben.expectError({ event: "notice", room: "trains" }, "forbidden");
  await ben.nothingMore();
  await cat.nothingMore();
}

const sessions = { chat, heartbeat, rooms, raw, notify };
if (!(name in sessions) || !address) {
  console.error("usage: node ws_gateways.mjs APPLICATION WS_ADDRESS [API_URL API_KEY [ROUTE_URL]]");
  process.exit(2);
}
try {
  await withDeadline(sessions[name](), `the session of ${name}`, 60_000);
  console.log(`ok ${name}`);
} catch (error) {
  console.log(`FAILED ${name}: ${error.message}`);
  process.exit(1);
}
// Connections left open by the session must not keep the process running.
process.exit(0);
