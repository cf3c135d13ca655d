// A namespace: rooms and connections, driven by its host. Declarations and documentation are in
// `namespace.d.ts`.

import { __wbg_reset_state, initSync, Namespace as Exported } from "../dist/roomcast.js";

// The kinds of records on the tape, and the indexes in the layout: see src/tape.rs, src/layout.rs.
const [TEXT, BINARY, CLOSE] = [1, 2, 3];
const [TAPE, TAPE_LEN, NEXT_TIMEOUT, ANSWER, ANSWER_LEN, INPUT, INPUT_LEN] = [0, 1, 2, 3, 4, 5, 6];
const [UNKNOWN_CONN, UTF8, AUTHENTICATE] = [1, 2, 3];
// The longest delay of `setTimeout`.
const TIMER_MS_MAX = 2 ** 31 - 1;
// The names of the classes, by their number.
const CLASSES = ["control", "message", "droppable"];

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

// The module, and its instance, which all namespaces share. A new instance replaces one that
// trapped.
let module;
let instance;
// True when the bindings refer to an instance that trapped.
let isStale = false;

export class RoomcastError extends Error {
  constructor({ code, message, status, details }, options) {
    super(message, options);
    this.name = "RoomcastError";
    this.code = code;
    this.status = status;
    this.details = details;
  }
}

/** Sets the module, unless there is one already. */
export function start(compiled) {
  module ??= compiled;
  current();
}

function current() {
  if (module === undefined) {
    throw new RoomcastError({ code: "not_started", message: "call init() of roomcast-wasm, and await it, before the first Namespace" });
  }
  if (isStale) reset();
  // `fault` is the trap that ended it; `isRead` is true while a host reads commands from its
  // memory.
  instance ??= { memory: initSync({ module }).memory, fault: undefined, isRead: false };
  return instance;
}

function reset() {
  __wbg_reset_state();
  isStale = false;
}

function end(trapped, fault) {
  trapped.fault = fault;
  if (instance !== trapped) return;
  instance = undefined;
  isStale = true;
  try {
    reset();
  } catch {
    // There was no memory or stack: the next namespace tries again.
  }
}

/** The table index of a connection while it lives: small and dense, and reused after its end. */
export const slot = (conn) => conn & 0xfffff;

export class Namespace {
  #instance;
  #exported;
  #host;
  #clock;
  #layout;
  #bytes;
  #layoutAt;
  #timeoutAt = Infinity;
  #timerAt = Infinity; // the timeout for which the host was told to set a timer

  constructor({ epoch = crypto.randomUUID(), settings, policies, clock = Date.now, ...host }) {
    this.#instance = current();
    for (const name of ["send", "close"]) {
      if (typeof host[name] !== "function") {
        throw new RoomcastError({ code: "bad_request", message: `options.${name} must be a function: it carries out a command` });
      }
    }
    this.#host = host;
    this.#clock = clock;
    try {
      this.#exported = new Exported(JSON.stringify({ epoch, settings, policies }));
    } catch (fault) {
      if (typeof fault === "string") throw new RoomcastError({ code: "bad_request", message: fault });
      throw this.#trapped(fault);
    }
    this.#layoutAt = this.#exported.layout();
    this.#look();
  }

  get nextTimeout() {
    return this.#timeoutAt === Infinity ? undefined : this.#timeoutAt;
  }

  connect(caller = {}, opened) {
    return this.#rare("connect", caller, opened);
  }

  receive(conn, message, isBinary = typeof message !== "string") {
    const now = this.#begin();
    const bytes = typeof message === "string" ? this.#writeText(message) : this.#writeBytes(message);
    const { authenticate } = this.#host;
    const status = this.#run("receive", conn, bytes, isBinary, authenticate !== undefined, now);
    if (status === AUTHENTICATE) {
      const { token, text } = this.#answer();
      return authenticate(conn, token, text);
    }
    this.#finish(status, conn);
  }

  authenticate(conn, text, identity) {
    this.#rare("authenticate", { conn: String(conn), text, identity });
  }

  noteActivity(conn) {
    const now = this.#begin();
    this.#finish(this.#run("noteActivity", conn, now), conn);
  }

  disconnect(conn, code = 1006) {
    const now = this.#begin();
    this.#finish(this.#run("disconnect", conn, code, now), conn);
  }

  timeout() {
    const now = this.#begin();
    // The host's timer has fired, perhaps early: it is set again even for the same time.
    this.#timerAt = undefined;
    this.#run("timeout", now);
    this.#finish(0);
  }

  publish(audience, event, data = null, { key, path } = {}) {
    const named = (ids) => ids?.map(String);
    const { conns, except_conns, ...others } = audience;
    const to = { ...others, conns: named(conns), except_conns: named(except_conns) };
    return this.#rare("apply", { send: { audience: to, event, data, key, path } });
  }

  join(conn, room, meta) {
    return this.#rare("apply", { join: { conn: String(conn), room, meta } });
  }

  leave(conn, room) {
    return this.#rare("apply", { leave: { conn: String(conn), room } });
  }

  close(conn, code = 4410, reason = "") {
    this.#rare("apply", { close: { conn: String(conn), code, reason } });
  }

  ask(question) {
    return this.#rare("ask", JSON.stringify(question));
  }

  api(request) {
    return this.#rare("api", request);
  }

  apply(input) {
    return this.#rare("apply", input);
  }

  // Applies an input in JSON, given as a value or as text, and returns its answer.
  #rare(name, value, opened) {
    const now = this.#begin();
    this.#run(name, this.#writeText(typeof value === "string" ? value : JSON.stringify(value)), now);
    const { ok, error } = this.#answer();
    this.#finish(0, undefined, error === undefined && opened && (() => opened(ok)));
    if (error !== undefined) throw new RoomcastError(error);
    return ok;
  }

  #begin() {
    if (this.#instance.fault !== undefined) throw this.#dead();
    if (this.#instance.isRead) {
      throw new RoomcastError({
        code: "in_callback",
        message: "a command is being carried out, and others follow: give this input when the callback has returned, by queueMicrotask()",
      });
    }
    return this.#clock();
  }

  #run(name, ...numbers) {
    try {
      return this.#exported[name](...numbers);
    } catch (fault) {
      throw this.#trapped(fault);
    }
  }

  #trapped(fault) {
    end(this.#instance, fault);
    return this.#dead();
  }

  #dead() {
    return new RoomcastError(
      {
        code: "dead",
        message: "this namespace is dead: the WebAssembly module trapped, and with it all namespaces of its instance; close their sockets, and make new ones",
      },
      { cause: this.#instance.fault },
    );
  }

  // When memory grows, it becomes another buffer.
  #look() {
    const { buffer } = this.#instance.memory;
    if (this.#bytes?.buffer !== buffer) {
      this.#bytes = new Uint8Array(buffer);
      this.#layout = new Float64Array(buffer, this.#layoutAt, 7);
    }
  }

  #room(bytes) {
    this.#look();
    if (bytes > this.#layout[INPUT_LEN]) {
      this.#run("reserve", bytes);
      this.#look();
    }
    return this.#layout[INPUT];
  }

  #writeText(text) {
    // A UTF-16 unit takes at most three bytes.
    const at = this.#room(text.length * 3);
    return encoder.encodeInto(text, this.#bytes.subarray(at, at + text.length * 3)).written;
  }

  #writeBytes(message) {
    const bytes = message instanceof Uint8Array ? message : new Uint8Array(message);
    const at = this.#room(bytes.length);
    this.#bytes.set(bytes, at);
    return bytes.length;
  }

  #text(at, bytes) {
    return decoder.decode(this.#bytes.subarray(at, at + bytes));
  }

  #answer() {
    this.#look();
    return JSON.parse(this.#text(this.#layout[ANSWER], this.#layout[ANSWER_LEN]));
  }

  #finish(status, conn, first) {
    if (status === UNKNOWN_CONN) {
      throw new RoomcastError({ code: "not_found", status: 404, message: `no connection ${conn}: it has ended, or never was` });
    }
    if (status === UTF8) {
      throw new RoomcastError({ code: "bad_request", status: 400, message: "the text is not UTF-8: close the socket with 1007" });
    }
    this.#look();
    // If the host fails at a command, the others are still carried out.
    const faults = [];
    const attempt = (command) => {
      try {
        command();
      } catch (fault) {
        faults.push(fault);
      }
    };
    this.#instance.isRead = true;
    if (first) attempt(first);
    if (this.#layout[TAPE_LEN] > 0) this.#carryOut(attempt);
    this.#instance.isRead = false;
    this.#timeoutAt = this.#layout[NEXT_TIMEOUT];
    if (this.#timerAt !== this.#timeoutAt) {
      const next = this.nextTimeout;
      this.#host.wake?.(next && Math.min(next, this.#clock() + TIMER_MS_MAX));
      this.#timerAt = this.#timeoutAt; // not before: a host that fails is told again
    }
    if (faults.length > 0) throw faults[0];
  }

  #carryOut(attempt) {
    const { buffer } = this.#bytes;
    const tape = new Float64Array(buffer, this.#layout[TAPE], this.#layout[TAPE_LEN]);
    const host = this.#host;
    for (let at = 0; at < tape.length; ) {
      const kind = tape[at];
      if (kind === TEXT || kind === BINARY) {
        const [place, bytes, count] = [tape[at + 2], tape[at + 3], tape[at + 4]];
        const frame = kind === TEXT && !host.bytes ? this.#text(place, bytes) : this.#bytes.slice(place, place + bytes);
        const to = tape.subarray(at + 5, at + 5 + count);
        const about = CLASSES[tape[at + 1]];
        attempt(() => host.send(to, frame, about, kind === BINARY));
        at += 5 + count;
      } else if (kind === CLOSE) {
        const [conn, code, reason] = [tape[at + 1], tape[at + 2], this.#text(tape[at + 3], tape[at + 4])];
        attempt(() => host.close(conn, code, reason));
        at += 5;
      } else {
        const conn = tape[at + 1];
        attempt(() => host.ping?.(conn));
        at += 2;
      }
    }
  }
}
