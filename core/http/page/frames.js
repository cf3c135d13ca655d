// Frames on the line of a client, as rows of its log.

import { FrameLog } from "./frame-log.js";
import { parseFrame, textOf } from "./json.js";
import { Recorder } from "./session/record.js";
import { counted, laneOf } from "./shared.js";
import { stepDone } from "./steps.js";

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

const meaningOf = (code) => CLOSE_MEANINGS.get(code) ?? "a code of the application";

/** Watches the line of one client. */
export class Frames {
  /** The row of a close, until it is known what follows. */
  #close = null;

  constructor(lane) {
    this.lane = lane;
    this.log = new FrameLog(lane.find(".log"), lane.find(".unread"));
    this.recorder = new Recorder(lane.letter);
  }

  /** Adds a remark. */
  note(text, kind = "") {
    this.log.add({ dir: "info", text, kind });
  }

  opened(url) {
    this.note(`connected to ${url.split("?")[0]}`);
  }

  closed({ code, reason }) {
    this.recorder.closed({ code, reason });
    const text = `closed ${code}: ${meaningOf(code)}${reason ? ` (${reason})` : ""}`;
    this.#close = this.log.add({ dir: "info", text, event: "close", code: String(code) });
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
    // With an id, the answer says whether it reached anybody.
    if (frame?.room !== undefined && frame.id === undefined) this.#hint(row);
  }

  received(text) {
    if (typeof text !== "string") {
      this.log.add({ dir: "in", text: `binary message of ${text.byteLength} bytes`, kind: "warn" });
      return;
    }
    const frame = parseFrame(text) ?? Object.create(null);
    const row = this.log.add({ dir: "in", text, event: textOf(frame.event), notes: [] });
    if (row.event === "$welcome") this.recorder.welcomed(frame.data ?? {});
    else this.recorder.passed("get", text, row.event);
    if (frame.error !== undefined) this.#refused(frame, row);
    else if (row.event.startsWith("$")) this.#answered(frame, row);
    else if (frame.id === undefined) this.#pushed(frame, row);
    else if (frame.data?.reached === 0) this.#hint(row);
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
  }

  #pushed(frame, row) {
    row.kind = "push";
    const sender = frame.from?.conn;
    const lane = laneOf(sender);
    const isOwn = lane === this.lane;
    row.notes.push(sender === undefined ? "from the server" : isOwn ? "own echo" : `from ${lane?.name ?? "another client"}`);
    if (sender === undefined) stepDone("push");
    else if (!isOwn) stepDone("publish");
  }

  /** Remarks on the protocol's own frames, and what they change here. */
  #answered({ event, room, data }, row) {
    const { lane } = this;
    if (event === "$welcome") lane.welcomed(data ?? {});
    else if (event === "$auth") lane.identity.identified(data);
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
    } else if (event === "$gap") row.kind = "warn";
    else if (event === "$expiring") {
      row.kind = "warn";
      lane.identity.ask();
    }
  }
}
