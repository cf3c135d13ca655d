// Sessions of the npm library `ws` with the applications of the examples:
//
//     node ws_gateways.mjs APPLICATION WS_ADDRESS [API_URL API_KEY [ROUTE_URL]]
//
// such as `node ws_gateways.mjs chat ws://127.0.0.1:3005/ws`. The application must be new: what others
// said to it would be seen. `notify` also wants the HTTP API of its namespace, with a key or `-`, and a
// route of its own if it has one. The exit code is 0 when all is as it should be.

import process from "node:process";
import { Api, Client, equal, matches, withDeadline } from "./ws_client.mjs";

const [name, address, api, key, route] = process.argv.slice(2);

const open = (query = "") => Client.openPlain(address + query);

// The session that the page of a chat prints.
async function chat() {
  const ann = await open();
  await ann.ask('{"event":"history","data":null}', '{"event":"history","data":[]}');
  const hello = '{"event":"message","data":{"author":"ann","text":"hello"}}';
  await ann.ask(hello, hello);
  await ann.ask('{"event":"presence"}', '{"event":"presence","data":1}');
  await ann.ask('{"event":"history"}', '{"event":"history","data":[{"author":"ann","text":"hello"}]}');

  const ben = await open();
  await ben.ask('{"event":"presence","data":null}', '{"event":"presence","data":2}');
  ben.send('{"event":"typing","data":"ben"}');
  await ann.expect('{"event":"typing","data":"ben"}');
  const hi = '{"event":"message","data":{"author":"ben","text":"hi"}}';
  await ben.ask(hi, hi);
  await ann.expect(hi);

  await ann.ask('{"event":"join","data":{"room":"lobby"}}', '{"event":"join","data":"lobby"}');
  await ben.ask('{"event":"join","data":{"room":"lobby"}}', '{"event":"join","data":"lobby"}');
  const said = '{"event":"say","room":"lobby","data":"hi"}';
  await ben.ask('{"event":"say","data":{"room":"lobby","text":"hi"}}', said);
  await ann.expect(said);
  await ben.ask('{"event":"leave","data":{"room":"lobby"}}', '{"event":"leave","data":"lobby"}');
  await ann.ask('{"event":"say","data":{"room":"lobby","text":"hi"}}', said);
  await ben.nothingMore();
  ben.send('{"event":"say","data":{"room":"lobby","text":"hi"}}');
  await ben.expectError({ event: "say" }, "forbidden");
  ben.send('{"event":"message","data":{"author":"SECRET"}}');
  matches(await ben.next(), /"code":"bad_payload","message":".*`text` is missing/, "the answer");
  await ann.nothingMore();
  await ben.close();
}

async function heartbeat() {
  const client = await open();
  const next = async () => JSON.parse(await client.next());
  const first = await next();
  equal(`${first.event} ${first.data.connections}`, "beat 1", "a beat");
  const other = await open();
  const second = await next();
  equal(second.data.number, first.data.number + 1, "the number of the next beat");
  equal(second.data.connections, 2, "connections in the next beat");
  equal(await other.next(), JSON.stringify(second), "the beat of the other client");
  client.send('{"event":"last","id":1}');
  const last = { event: "last", id: 1, data: second.data };
  await client.expect(JSON.stringify(last));
}

async function rooms() {
  const ann = await open();
  const ben = await open();
  const join = (at) => `{"event":"join","room":"${at}"}`;
  await ann.ask(join("/chat/rust"), '{"event":"join","room":"/chat/rust","data":"rust"}');
  await ben.ask(join("/chat/rust"), '{"event":"join","room":"/chat/rust","data":"rust"}');
  matches(await ann.next(), /^\{"event":"joined","room":"\/chat\/rust","data":"\d+"\}$/, "who joined");
  await ben.ask(
    '{"event":"say","id":"x","room":"/chat/rust","data":"hi"}',
    '{"event":"say","id":"x","room":"/chat/rust","data":1}',
  );
  await ann.expect('{"event":"said","room":"/chat/rust","data":"hi"}');
  await ann.ask(join("/table/7/seat/2"), '{"event":"join","room":"/table/7/seat/2","data":{"table":7,"seat":2}}');
  ben.send(join("/table/7/seat/2"));
  await ben.expectError({ event: "join", room: "/table/7/seat/2" }, "taken");
  ben.send(join("/table/7/seat/two"));
  await ben.expectError({ event: "join", room: "/table/7/seat/two" }, "bad_room", "two");
}

async function raw() {
  const ann = await open();
  const ben = await open();
  await ann.ask("join:lobby", "joined:lobby");
  await ben.ask("join:lobby", "joined:lobby");
  await ann.ask("msg:lobby:hello: all", "lobby:hello: all");
  await ben.expect("lobby:hello: all");
  ann.socket.send(Buffer.from([0x00, 0xff]));
  await ben.expect("(binary) 00ff");
  await ann.ask('{"event":"$ping"}', "error:unknown word");
  ben.send("id");
  const id = (await ben.next()).replace("id:", "");
  ann.send(`to:${id}:psst`);
  await ben.expect(`${id}:psst`);
  ben.send("bye");
  equal(await ben.expectClose(1000), "bye", "the reason");
  await ann.expect(`gone:${id}:closed`);
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
  await withDeadline(sessions[name](), `the session of ${name}`);
  console.log(`ok ${name}`);
} catch (error) {
  console.log(`FAILED ${name}: ${error.message}`);
  process.exit(1);
}
// Connections that the session left open do not keep the process.
process.exit(0);
