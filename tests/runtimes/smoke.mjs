// The client's way through a day: connect, join, publish, lose the connection, come back, recover.

const DEADLINE_MS = 15_000;
const MESSAGES = 3;

/** Waits for a condition that the client's events may change. */
function until(what, client, room, look) {
  return new Promise((resolve, reject) => {
    const late = () => reject(new Error(`waited ${DEADLINE_MS} ms for ${what}: the state is ${client.state.name}`));
    const timer = setTimeout(late, DEADLINE_MS);
    const again = () => {
      if (!look()) return;
      clearTimeout(timer);
      resolve();
    };
    client.onState(again);
    room.onState(again);
    room.onMessage(again);
    room.onMembers(again);
    room.onRecovered(again);
    again();
  });
}

function equal(got, expected, what) {
  const texts = [got, expected].map((value) => JSON.stringify(value));
  if (texts[0] !== texts[1]) throw new Error(`${what}: expected ${texts[1]}, got ${texts[0]}`);
}

/** Runs against a server that keeps histories of `chat:*`, and gives a line about it. */
export async function smoke(Roomcast, { url, key, ...options }) {
  const name = `chat:${crypto.randomUUID()}`;
  // The reader comes back when it is let.
  let held = null;
  const reader = new Roomcast(url, { ...options, token: () => held });
  const writer = new Roomcast(url, options);
  const errors = [];
  for (const client of [reader, writer]) client.onError(({ code, message }) => errors.push(`${code}: ${message}`));
  const read = reader.room(name, { presence: true });
  const written = writer.room(name);
  const heard = [];
  const recovered = [];
  read.on("said", (data) => heard.push(data));
  read.onRecovered(({ missed }) => recovered.push(missed));
  read.onLost(() => errors.push("told of a loss"));
  await Promise.all([read.joined, written.joined]);
  await until("both members", reader, read, () => read.members?.length === 2);

  let number = 0;
  const publish = async () => {
    for (let left = MESSAGES; left > 0; left -= 1) await written.publish("said", (number += 1));
  };
  await publish();
  await until("the messages", reader, read, () => heard.length === number);

  const { conn } = reader.state;
  let back;
  held = new Promise((resolve) => (back = () => resolve(null)));
  const api = `${url}/api/v1/default/connections/${conn}?code=1001`;
  const { status } = await fetch(api, { method: "DELETE", headers: { authorization: `Bearer ${key}` } });
  equal(status, 200, "the status of the end of a connection");
  await until("the loss of the connection", reader, read, () => reader.state.conn !== conn);
  await publish();
  back();
  await until("what was missed", reader, read, () => heard.length === number && recovered.length === 1);

  equal(heard, Array.from({ length: number }, (_, at) => at + 1), "the messages in order, once");
  equal(recovered, [MESSAGES], "the messages that were missed");
  equal(errors, [], "errors");
  for (const client of [reader, writer]) {
    client.close();
    equal([client.state.name, client.rooms.size], ["closed", 0], "the client after its end");
  }
  return `ok ${number} messages, ${MESSAGES} of them missed and recovered`;
}
