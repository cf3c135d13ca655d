// A session as a trace, which the project's tests replay.

import { parseFrame } from "../json.js";
import { session } from "./record.js";

/** Codes of closes that are the client's own, or nobody's. */
const ENDS = new Set([1000, 1005, 1006]);
/** Silence that matters: something happened at the server because of it. */
const PAUSE_MS = 500;

const escaped = (text) => text.replace(/^ | $|[<\ufeff\p{Cc}]/gu, (char) => `<U+${char.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}>`);

/** Writes frames with names for what is another at every server: ids, epochs, texts of errors, times. */
class Names {
  #epochs = new Map();
  #conns = new Map();
  #counts = new Map();

  connected(actor, conn) {
    const count = (this.#counts.get(actor) ?? 0) + 1;
    this.#counts.set(actor, count);
    this.#conns.set(conn, `<${actor} ${count}>`);
  }

  #epoch(epoch) {
    if (!this.#epochs.has(epoch)) this.#epochs.set(epoch, `<epoch e${this.#epochs.size + 1}>`);
    return this.#epochs.get(epoch);
  }

  written(text) {
    const named = (id) => this.#conns.get(id) ?? id;
    return escaped(text)
      .replace(/"epoch":"([^"]*)"/g, (_, epoch) => `"epoch":"${this.#epoch(epoch)}"`)
      .replace(/"conn":"(\d+)"/g, (_, id) => `"conn":"${named(id)}"`)
      .replace(/"conn":\[([\d",]+)\]/g, (_, ids) => `"conn":[${ids.replace(/\d+/g, named)}]`)
      .replace(/("error":\{"code":"\w+","message":)"(?:[^"\\]|\\.)*"/, '$1"<message>"')
      .replace(/("(?:after|since)_ms":)\d+/g, "$1<number>");
  }
}

/** True for the answer to a frame that a client has sent. */
function answers(sent, got) {
  if (sent === null) return got.event === "$error";
  if (sent.id !== undefined) return got.id === sent.id;
  if (got.id !== undefined || got.from !== undefined) return false;
  if (sent.event === "$ping") return got.event === "$pong";
  return got.event === sent.event && got.room === sent.room && (sent.event[0] === "$" || got.error !== undefined);
}

/**
 * Puts what a client got where the server has sent it: what came before the answer to a frame was sent before the
 * server had that frame, unless it is its echo.
 */
function ordered(entries) {
  const byActor = Map.groupBy(entries, ({ actor }) => actor);
  for (const mine of byActor.values()) {
    let from = 0;
    for (const [index, entry] of mine.entries()) {
      if (entry.kind !== "send") continue;
      // A connection that ends takes its answers with it.
      const until = mine.findIndex((other, at) => at > index && (other.kind === "close" || other.kind === "get" && !other.isAnswer && answers(entry.frame, other.frame)));
      if (mine[until]?.kind !== "get") continue;
      mine[until].isAnswer = true;
      entry.after = mine.slice(from, until + 1).filter(({ kind }) => kind === "get");
      const isEcho = ({ frame }) => frame.from?.conn === entry.conn && frame.event === entry.frame?.event;
      entry.before = entry.after.filter((other) => !other.isAnswer && !isEcho(other));
      from = until + 1;
    }
  }
  const written = new Set();
  // An answer belongs before the client's next frame.
  const owed = new Map();
  for (const entry of entries) {
    if (entry.kind !== "get") {
      for (const other of owed.get(entry.actor) ?? []) written.add(other);
      for (const other of entry.before ?? []) written.add(other);
      owed.set(entry.actor, entry.after);
    }
    written.add(entry);
  }
  return [...written];
}

/** Policies that give the rooms of a session what they had, as far as the session shows it. */
function policies(entries) {
  const rooms = new Map();
  let left = -Infinity;
  for (const { kind, frame, at } of entries) {
    if (kind === "close") left = at;
    if (kind !== "get" || typeof frame.room !== "string") continue;
    const keys = rooms.get(frame.room) ?? new Set();
    rooms.set(frame.room, keys);
    if (frame.offset > 0 || frame.data?.reached >= 0 && frame.data.offset > 0) keys.add("history.messages=300");
    if (frame.event === "$members" && !frame.error) keys.add(`presence=${frame.data.listed === false ? "counts" : "members"}`);
    if (frame.event === "$left" && at - left < PAUSE_MS) keys.add("presence_grace_s=0");
  }
  return [...rooms].filter(([, keys]) => keys.size > 0).map(([room, keys]) => `rooms ${room} ${[...keys].join(" ")}`);
}

/** The frames of a backend: what came from nobody, once for all who got it. */
class Backend {
  #sent = new Map();
  #got = new Map();

  /** The step that must come before an actor gets a text; null when it was there already. */
  step({ actor, namespace, frame, text }) {
    const { event, room, data, from, id, error } = frame;
    if (from || error || id !== undefined || event[0] === "$" || room === undefined) return null;
    const count = (this.#got.get(actor + text) ?? 0) + 1;
    this.#got.set(actor + text, count);
    if (count <= (this.#sent.get(text) ?? 0)) return null;
    this.#sent.set(text, count);
    return `server${namespace === "default" ? "" : ` in ${namespace}`} sends ${escaped(JSON.stringify({ audience: { rooms: [room] }, event, data }))}`;
  }
}

/** Rooms that had messages before a client of the page came: their session does not replay. */
export function usedRooms() {
  const offsets = new Map();
  for (const { kind, text } of session.entries) {
    const frame = kind === "get" ? parseFrame(text) : null;
    // The first answer that tells a position; that to a publish counts its own message.
    if (frame?.id === undefined || !(frame.data?.offset >= 0) || offsets.has(frame.room)) continue;
    offsets.set(frame.room, frame.data.offset - (frame.event === "$join" ? 0 : 1));
  }
  return [...offsets.keys()].filter((room) => offsets.get(room) > 0);
}

/** The session so far. */
export function trace() {
  const names = new Names();
  const backend = new Backend();
  const connections = new Map();
  const entries = session.entries.map((entry) => {
    if (entry.kind === "connect") connections.set(entry.actor, entry);
    const { conn, namespace } = connections.get(entry.actor);
    return { ...entry, conn, namespace, frame: entry.text === undefined ? undefined : parseFrame(entry.text) };
  });
  const lines = ["# A session of the page. It replays when its rooms were new.", "limits heartbeat_ms=off", ...policies(entries)];
  let cause = 0;
  for (const entry of ordered(entries)) {
    const { actor, kind, conn, namespace, user, text, at, code, reason } = entry;
    const isLate = kind === "get" && !entry.isAnswer && at - cause >= PAUSE_MS;
    if (isLate) lines.push(`time passes: ${Math.ceil(at - cause)} ms`);
    if (isLate || kind !== "get") cause = at;
    if (kind === "connect") {
      names.connected(actor, conn);
      lines.push(`${actor} connects${namespace === "default" ? "" : ` to ${namespace}`}${user ? ` as ${escaped(user)}` : ""}`);
    } else if (kind === "send") lines.push(`${actor} sends ${names.written(text)}`);
    else if (kind === "close") lines.push(ENDS.has(code) ? `${actor} disconnects` : `${actor} is closed ${code} ${JSON.stringify(reason)}`);
    else {
      const step = backend.step(entry);
      if (step) lines.push(step);
      lines.push(`${actor} gets ${names.written(text)}`);
    }
  }
  if (session.isFull) lines.push("# What came behind this was not kept.");
  return `${lines.join("\n")}\n`;
}
