// Frames on the line of a client, as rows of its log.

import { FrameLog } from "./frame-log.js";
import { parseFrame, textOf } from "./json.js";
import { Recorder } from "./session/record.js";
import { counted, laneOf } from "./shared.js";
import { stepDone } from "./steps.js";
import { Messages } from "./view/messages.js";

// The protocol's own events, less the `$` that is easily forgotten.
const VERBS = new Set(["join", "leave", "rooms", "members", "history", "auth", "ping"]);

const CLOSE_MEANINGS = new Map([
  [1000, "normal"], [1001, "server going away, or the connection's lifetime is reached"],
  [1002, "broken framing"], [1003, "wrong kind of frame"], [1005, "closed without a code"],
  [1006, "connection lost or never made"], [1007, "text that is not UTF-8"],
  [1008, "too many fragments, or a message not finished in time"], [1009, "message over the size limit"],
  [1011, "internal server error"], [1012, "server restarting"], [1013, "server overloaded"],
  [4401, "token missing, bad or expired"], [4403, "forbidden"], [4408, "no heartbeat"],
  [4409, "too slow: the outbox passed its limit"], [4410, "removed by the application"], [4429, "rate limit, repeatedly"],
]);

/** Verbs that the client asks by itself: the list of messages has them only when they fail. */
const QUIET = new Set(["$members", "$ping", "$auth", "$history"]);
const ASKED_MAX = 1000;

const meaningOf = (code) => CLOSE_MEANINGS.get(code) ?? "a code of the application";

/** The time from a request to its answer. */
const tookOf = (from) => `${(performance.now() - from).toFixed(1)} ms`;

/** Watches the line of one client, for its log of frames and its list of messages. */
export class Frames {
  /** The row of a close, until it is known what follows. */
  #close = null;
  /** Requests without an answer, by their ids: when they were sent, and their cards. */
  #asked = new Map();
  /** The card of the frame that is handled. */
  #current = null;

  constructor(lane) {
    this.lane = lane;
    this.log = new FrameLog(lane.find(".log"));
    this.messages = new Messages(lane.find(".messages"));
    this.recorder = new Recorder(lane.letter);
  }

  get lists() {
    return [this.log, this.messages];
  }

  /** Adds a remark. */
  note(text, kind = "") {
    this.#line(text, this.log.add({ dir: "info", text, kind }), kind === "error" ? "failed" : "note");
  }

  #line(line, row, status) {
    const last = this.messages.rows.at(-1);
    if (status === "closed" && last?.line === line) {
      last.rows.push(row);
      last.facts = [`${last.rows.length} times`];
      this.messages.update(last);
      return last;
    }
    return this.messages.add({ status, line, facts: [], rows: [row] });
  }

  /** Adds a message of a room, or one to this client alone. */
  #message(status, row, { event, room }) {
    return this.messages.add({ status, event: textOf(event), room: textOf(room), facts: [], rows: [row] });
  }

  opened(url) {
    this.log.add({ dir: "info", text: `connected to ${url.split("?")[0]}` });
  }

  closed({ code, reason }) {
    this.recorder.closed({ code, reason });
    this.#asked.clear();
    const text = `closed ${code}: ${meaningOf(code)}${reason ? ` (${reason})` : ""}`;
    this.#close = this.log.add({ dir: "info", text, event: "close", code: String(code) });
    this.#line(text.slice("closed ".length), this.#close, "closed");
  }

  /** Marks the row of the last close; `isFinal` when the client stays away. */
  closeFollows(isFinal) {
    if (this.#close && this.#close.code !== "1000") this.#close.kind = isFinal ? "error" : "warn";
    this.#close = null;
  }

  sent(text) {
    const frame = parseFrame(text);
    const row = { dir: "out", text, event: textOf(frame?.event), notes: [] };
    this.recorder.passed("send", text, row.event);
    if (row.event === "$auth") {
      row.text = JSON.stringify({ ...frame, data: { token: "…" } });
      row.notes.push("the token is not shown");
    }
    this.log.add(row);
    let card = null;
    if (frame === null) this.#line(text, row, "sent");
    else if (!row.event.startsWith("$")) card = this.#message("sent", row, frame);
    else if (!QUIET.has(row.event)) card = this.#line(`${row.event} ${textOf(frame.room)}`, row, "sent");
    if (frame?.id !== undefined && this.#asked.size < ASKED_MAX) this.#asked.set(String(frame.id), { at: performance.now(), card });
    // With an id, the answer says whether it reached anybody.
    if (frame?.room !== undefined && frame.id === undefined) this.#hint(row);
  }

  received(text) {
    this.#current = null;
    if (typeof text !== "string") {
      const line = `binary message of ${text.byteLength} bytes`;
      this.#line(line, this.log.add({ dir: "in", text: line, kind: "warn" }), "got");
      return;
    }
    const frame = parseFrame(text) ?? Object.create(null);
    const row = this.log.add({ dir: "in", text, event: textOf(frame.event), notes: [] });
    if (row.event === "$welcome") this.recorder.welcomed(frame.data ?? {});
    else this.recorder.passed("get", text, row.event);
    this.#answer(frame, row);
    if (frame.error !== undefined) this.#refused(frame, row);
    else if (row.event.startsWith("$")) this.#answered(frame, row);
    else if (frame.id === undefined) this.#pushed(frame, row);
    else if (frame.data?.reached === 0) this.#hint(row);
  }

  /** Puts an answer to its request. */
  #answer({ id, event, data, error }, row) {
    const asked = this.#asked.get(String(id));
    if (id === undefined || !asked) return;
    this.#asked.delete(String(id));
    const took = tookOf(asked.at);
    row.notes.push(took);
    const { card } = asked;
    if (!card) return;
    card.rows.push(row);
    if (error) card.status = "refused";
    else if (event === "$join") card.status = "joined";
    else if (event === "$leave") card.status = "left";
    else card.status = card.line ? "answered" : "own";
    if (error) card.facts.push(textOf(error.code));
    if (data?.reached !== undefined) card.facts.push(`reached ${data.reached}`);
    card.facts.push(took);
    this.messages.update(card);
  }

  /** A verb without its `$` is an event like any other, and does nothing by itself. */
  #hint(row) {
    if (!VERBS.has(row.event)) return;
    row.kind ||= "warn";
    row.notes.push(`did you mean $${row.event}?`);
  }

  #refused(frame, row) {
    row.code = textOf(frame.error?.code);
    if (row.event === "$members" && row.code === "forbidden") row.notes.push("the room does not say who is there");
    else row.kind = "error";
    if (row.code === "unknown_event") this.#hint(row);
    if (frame.id === undefined) this.#line(`${row.event}: ${textOf(frame.error?.message)}`, row, "refused");
  }

  #pushed(frame, row) {
    row.kind = "push";
    const sender = frame.from?.conn;
    const lane = laneOf(sender);
    const isOwn = lane === this.lane;
    row.notes.push(sender === undefined ? "from the server" : isOwn ? "own echo" : `from ${lane?.name ?? "another client"}`);
    this.#current = this.#message(isOwn ? "echo" : "got", row, frame);
    this.#current.facts.push(row.notes.at(-1));
    if (sender === undefined) stepDone("push");
    else if (!isOwn) stepDone("publish");
  }

  /** The client has handed out a message: `isLate` when it was missed; `took` says how long it was under way. */
  delivered({ event, room, data, from }, isLate, took) {
    // What comes with a history has no frame of its own.
    const card = this.#current ?? this.#message("got", { dir: "in", text: JSON.stringify({ event, room, from, data }), at: new Date(), notes: ["from the history"] }, { event, room });
    if (isLate) card.status = "recovered";
    else if (took) card.facts.push(took);
  }

  /** Remarks on the protocol's own frames, and what they change here. */
  #answered({ event, id, room, data }, row) {
    const { lane } = this;
    if (event === "$welcome") {
      lane.welcomed(data ?? {});
      this.#line(`as connection ${textOf(data?.conn)}`, row, "connected");
    } else if (event === "$auth") lane.identified(data);
    else if (event === "$join") {
      if (data?.recovered === true) {
        const missed = Number(data.missed) || 0;
        row.notes.push(`recovered: ${counted(missed, "missed message")} follow${missed === 1 ? "s" : ""}`);
      } else if (data?.recovered === false) {
        row.kind = "warn";
        row.notes.push("not recovered: the history has the rest, or it is lost");
      }
      lane.entered(textOf(room));
    } else if (event === "$leave") lane.left(textOf(room));
    else if (event === "$bye") {
      row.kind = "warn";
      const advice = data?.reconnect === true ? "come back" : "stay away";
      row.notes.push(meaningOf(data?.code), `the client should ${advice}`);
      this.#line(`$bye: ${row.notes.join(", ")}`, row, "closed");
    } else if (event === "$gap") {
      row.kind = "warn";
      this.#line(`$gap in ${textOf(room)}`, row, "lost");
    } else if (event === "$expiring") {
      row.kind = "warn";
      this.#line("the token ends soon", row, "note");
      lane.identity.ask();
    } else if (id === undefined && (event === "$joined" || event === "$left")) {
      const who = textOf(data?.user) || laneOf(data?.conn)?.name || "another client";
      this.#line(`${who} ${event === "$joined" ? "came to" : "left"} ${textOf(room)}`, row, "here");
    }
  }
}
