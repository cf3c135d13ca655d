// The words of the inspector's filter.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Filter, written } from "../inspect/filter.js";
import { Row } from "../inspect/row.js";

const text = (conn, said) => ({ text: { conn, text: JSON.stringify(said) } });
const rows = [
  text("0", { event: "$join", room: "my room" }),
  text("0", { event: "said", room: "my room", data: "form:3" }),
  text("7", { event: "said", room: "den" }),
  { send: { audience: { rooms: ["den", "my room"] }, event: "told", data: 1 } },
  "timeout",
].map((input, index) => new Row(index + 1, JSON.stringify({ at: 0, namespace: "n", input })));

function left(words, missed = new Map()) {
  return rows.filter(new Filter(words).matcher(missed)).map(({ number }) => number);
}

test("words of a filter all fit what is left", () => {
  assert.deepEqual(left(""), [1, 2, 3, 4, 5]);
  assert.deepEqual(left("conn:0"), [1, 2]);
  assert.deepEqual(left("from:0"), [2]);
  assert.deepEqual(left("from:backend"), [4]);
  assert.deepEqual(left('room:"my room"'), [1, 2, 4]);
  assert.deepEqual(left('room:"my room" event:told'), [4]);
  assert.deepEqual(left("from:0 room:den"), []);
  assert.deepEqual(left("ROOM:den namespace:n"), [3, 4]);
  assert.deepEqual(left("not-received-by:7 room:den", new Map([["7", new Set([2, 4])]])), [4]);
  assert.deepEqual(left("TIMEOUT"), [5]);
  // In quotes it is a text, and so is an address; a word without its value asks for nothing yet.
  assert.deepEqual(left('"form:3"'), [2]);
  assert.deepEqual(left("http://x"), []);
  assert.deepEqual(left("room: conn:7"), [3]);
});

test("a word that is none is refused, with those that there are", () => {
  const all = "conn:, event:, from:, namespace:, not-received-by:, room:";
  assert.throws(() => new Filter("room:den form:3"), { message: `\`form:\` is no word of a filter: use ${all}, or look for the text "form:3" in quotes` });
  assert.throws(() => new Filter("from:ann"), /`ann` is no publisher: give the id of a connection, such as from:0, or from:backend/);
  assert.throws(() => new Filter("conn:ann"), /`ann` is no connection/);
});

test("a room of any name can be written as a word", () => {
  for (const room of ["den", "my room", "", "a:b", "a\"b", "🎲"]) {
    const { words } = new Filter(written("room", room));
    assert.deepEqual(words, room === "" ? [] : [{ key: "room", value: room }]);
  }
  assert.deepEqual(new Filter("not-received-by:7 room:den not-received-by:8").missedBy, ["7", "8"]);
  assert.equal(new Filter("event:said room:den").value("room"), "den");
});
