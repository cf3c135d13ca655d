import { Allowance, type Limits } from "./allowance.js";
import { answered, RoomcastError } from "./errors.js";
import type { Frame } from "./message.js";
import type { Output, Why } from "./output.js";
import { json, type Link, Requests } from "./requests.js";
import { type RoomLink, Rooms } from "./rooms.js";
import { type Close, comesBack, type State, UNAUTHORIZED } from "./state.js";

/** Silence after which a client pings, where the server does not say. */
const HEARTBEAT_MS = 25_000;
/** Wait for any frame after a ping. */
const PONG_MS = 4_000;
/** A timer that is so late means that the machine slept, or that the page was frozen. */
const LATE_MS = 2_000;
/** The longest wait for a new attempt in a page that somebody looks at. */
const AWAKE_MS = 300;
const RENEW_MS = 5_000;
/** Bounds of the random delay between attempts: it doubles from the first to the longest. */
const DELAY_MS_FIRST = 1_000;
const DELAY_MS_MAX = 30_000;
/** A connection of that time is good: delays begin anew after it. */
const LASTED_MS = 10_000;
const MESSAGE_BYTES = 65_536;
/** Earlier connections that are known as the client's own. */
const CONNS_MAX = 64;

/** The settings of a machine. */
export interface MachineOptions {
  timeoutMs: number;
  buffer: { messages: number; bytes: number };
  /** True when another token can be had. */
  renews: boolean;
  random: () => number;
}

/**
 * The rules of a client, without sockets, timers and clock.
 *
 * Before each input the driver sets {@link Machine.now}. Afterwards it carries out {@link Machine.out}, in order,
 * and calls {@link Machine.tick} at {@link Machine.timeout}. The inputs are, in the order of a connection:
 * `connect`, `token`, `text` of the socket, `closed`; at any time `requests.ask`, `send`, `change`, `awake`, `freeze`,
 * `tick`; and `close`.
 *
 * There is at most one socket, one call for a token and one timer.
 */
export class Machine implements Link, RoomLink {
  /** Outputs that the driver has yet to carry out, the oldest first. The driver removes them. */
  readonly out: Output[] = [];
  readonly options: MachineOptions;
  readonly requests: Requests;
  readonly rooms = new Rooms(this);
  readonly allowance = new Allowance();
  state: State = { name: "idle", attempt: 0 };
  /** Milliseconds of the driver's clock. */
  now = 0;
  conn = "";
  conns: string[] = [];
  renewed = true;
  messageBytes = MESSAGE_BYTES;
  #serial = 0;
  /** The socket and the call for a token that count; 0 without one. */
  #socket = 0;
  #call = 0;
  #why: Why = "connect";
  #bye: { reconnect: boolean; after_ms: number } | undefined;
  #refusal: RoomcastError | undefined;
  /** Failed attempts since the last connection that lasted. */
  #failures = 0;
  #heartbeat = HEARTBEAT_MS;
  #notBefore = 0;
  // Times that do not count are infinite.
  #openedAt = Infinity;
  /** The end of an attempt, or the beginning of the next. */
  #deadline = Infinity;
  #pingAt = Infinity;
  #pongBy = Infinity;
  #renewAt = Infinity;

  constructor(options: MachineOptions) {
    this.options = options;
    this.requests = new Requests(this);
  }

  /** Connects, unless that is under way. */
  connect(): void {
    if (this.#isActive()) return;
    this.#failures = 0;
    this.#why = "connect";
    this.rooms.lost("joining");
    this.#dial();
  }

  /** Ends the connection, all requests and all rooms. */
  close(): void {
    this.conn = "";
    for (const place of this.rooms.all.values()) this.rooms.leave(place, () => {});
    this.#close({}, 1000);
  }

  /** Gives a token, or its absence, to a call. */
  token(call: number, token: string | null): void {
    if (call !== this.#call) return;
    this.#call = 0;
    if (!this.conn) this.emit("dial", (this.#socket = ++this.#serial), token);
    else if (token !== null) this.#authenticate(token);
    else this.#renewAt = Infinity;
  }

  /** Says that a call for a token has failed, or that no socket could be made. */
  failed(serial: number, error: RoomcastError): void {
    if (serial !== this.#call && serial !== this.#socket) return;
    if (error.code === "no_websocket") return this.#close({ error });
    this.emit("error", error);
    if (this.conn) {
      this.#call = 0;
      this.#renewAt = this.now + RENEW_MS;
    } else this.#ended(error.message);
  }

  /** Takes a text message of a socket. */
  text(socket: number, text: string): void {
    if (socket !== this.#socket) return;
    this.#pingAt = this.now + this.#heartbeat;
    this.#pongBy = Infinity;
    try {
      this.#receive(JSON.parse(text));
    } catch (cause) {
      this.emit("error", new RoomcastError("bad_frame", "a frame cannot be read", { cause }));
    }
    this.#write();
  }

  /** Says that a socket has ended by itself. */
  closed(socket: number, { code, reason }: Close): void {
    if (socket === this.#socket) this.#ended(reason, code);
  }

  /** Says that somebody looks at the page, or that there may be a network again. */
  awake(): void {
    const { state } = this;
    if (this.conn) this.#ping();
    else if (state.name === "waiting") {
      const retryAt = Math.max(this.#notBefore, this.now + this.options.random() * AWAKE_MS);
      if (retryAt < this.#deadline) this.#wait(retryAt, state.close);
    }
  }

  /** Says that the page is put aside: there is no connection until it is {@link awake}. */
  freeze(): void {
    if (!this.#isActive()) return;
    this.#lost();
    this.#notBefore = 0;
    this.#wait(Infinity, { code: 1001, reason: "the page is frozen" });
  }

  /** Sends a message that is not answered: at once, or not at all. */
  send(text: string): boolean {
    const can = !!this.conn && this.renewed && text.length * 3 <= this.messageBytes && this.allowance.take(this.now);
    if (can) this.emit("write", text);
    return can;
  }

  /** Changes rooms, and sends what follows. */
  change(change: (rooms: Rooms) => void): void {
    change(this.rooms);
    this.#write();
  }

  /** Says that it is {@link timeout}, or later. */
  tick(): void {
    const { now, conn } = this;
    const slept = now - this.timeout() >= LATE_MS;
    if (this.#deadline <= now) {
      if (this.state.name === "waiting") this.#dial();
      else this.#ended("no connection in time");
    }
    if (this.#pongBy <= now && !slept) this.#ended("no sign of life from the server");
    else if (conn && (slept || this.#pingAt <= now)) this.#ping(true);
    if (this.#renewAt <= now) this.#renew(this.#why);
    this.requests.expire();
    this.#write();
  }

  /** The time of the next {@link tick}. */
  timeout(): number {
    return Math.min(
      this.#deadline, this.#pingAt, this.#pongBy, this.#renewAt, this.rooms.timeout(), this.requests.timeout(),
    );
  }

  /** Adds an output. */
  emit(...output: Output): void {
    this.out.push(output);
  }

  /** Gets another token, because the server no longer takes requests. */
  expired(): void {
    this.renewed = false;
    if (this.#renewAt === Infinity) this.#renew("expiring");
  }

  #isActive() {
    return !/idle|closed/.test(this.state.name);
  }

  #write() {
    if (this.renewed) this.rooms.next();
    this.requests.write();
  }

  #to(name: State["name"], more?: object) {
    this.state = { name, attempt: this.#failures, ...more } as State;
    this.emit("state");
  }

  #dial() {
    this.#bye = this.#refusal = undefined;
    this.#deadline = this.now + this.options.timeoutMs;
    this.#to("connecting");
    this.#getToken(this.#why);
  }

  #getToken(why: Why) {
    this.emit("token", (this.#call = ++this.#serial), why);
  }

  #ping(again?: boolean) {
    if (this.#pongBy < Infinity && !again) return;
    this.emit("write", '{"event":"$ping"}');
    this.#pongBy = this.now + PONG_MS;
    this.#pingAt = this.now + this.#heartbeat;
  }

  /** Gets another token for the open connection, unless one is on its way. */
  #renew(why: Why) {
    if (!this.options.renews) return;
    this.#why = why;
    // A call that hangs is replaced.
    this.#renewAt = this.now + this.options.timeoutMs;
    this.#getToken(why);
  }

  #authenticate(token: string) {
    this.requests.ask({
      event: "$auth", data: json({ token }), own: true, timeout: this.options.timeoutMs,
      done: (error) => {
        const code = error?.code;
        if (code === "closed") return;
        this.#renewAt = Infinity;
        this.#why = "connect";
        if (!error || code === "unknown_verb") this.renewed = true;
        // Another user needs another connection.
        else if (code === "forbidden") this.#ended("another user", 1000, true);
        else {
          this.emit("error", error);
          this.#why = "refused";
          this.#renewAt = this.now + RENEW_MS;
        }
      },
    });
  }

  #receive(frame: Frame) {
    const { event, id, room, data, error } = frame;
    if (event === "$welcome") this.#welcome(data);
    else if (id !== undefined) {
      if (this.requests.answer(frame)) this.rooms.published(room!, data);
    } else if (event === "$bye") this.#bye = data;
    else if (event === "$expiring") {
      if (!this.#call) this.#renew("expiring");
    } else if (error && (event !== "$leave" || !room)) {
      if (this.conn) this.emit("error", answered(error));
      else this.#refusal = answered(error);
    } else if (event[0] === "$") this.rooms.notice(frame);
    else this.rooms.push(frame);
  }

  #welcome({ conn, user, heartbeat_ms, limits = {} }: { conn: string; user: string; heartbeat_ms: number; limits?: Limits }) {
    this.conn = conn;
    this.conns = [...this.conns, conn].slice(-CONNS_MAX);
    this.renewed = true;
    this.messageBytes = limits.message_bytes ?? MESSAGE_BYTES;
    this.#heartbeat = heartbeat_ms || HEARTBEAT_MS;
    this.#openedAt = this.now;
    this.#pingAt = this.now + this.#heartbeat;
    this.#deadline = Infinity;
    this.#why = "connect";
    this.allowance.reset(this.now, limits);
    this.#to("open", { conn, user });
  }

  /** Forgets the socket and the call for a token, and takes back what belonged to the connection. */
  #lost(code?: number) {
    if (this.#socket || this.#call) this.emit("drop", code);
    if (this.now - this.#openedAt >= LASTED_MS) this.#failures = 0;
    this.#socket = this.#call = 0;
    this.conn = "";
    this.#openedAt = this.#deadline = this.#pongBy = this.#pingAt = this.#renewAt = Infinity;
    this.rooms.lost("joining");
    this.requests.lost();
  }

  /** Decides what follows a connection, or an attempt. */
  #ended(reason: string, code = 1006, again = this.#bye?.reconnect ?? comesBack(code)) {
    const close = { code, reason };
    this.#lost();
    if (code === UNAUTHORIZED) {
      this.#why = "refused";
      again &&= this.options.renews;
    }
    if (!again) return this.#close(this.#refusal ? { close, error: this.#refusal } : { close });
    this.#notBefore = this.now + (this.#bye?.after_ms ?? 0);
    const bound = Math.min(DELAY_MS_MAX, DELAY_MS_FIRST * 2 ** this.#failures++);
    this.#wait(this.#notBefore + this.options.random() * bound, close);
  }

  #wait(retryAt: number, close: Close) {
    this.#deadline = retryAt;
    this.#to("waiting", { retryAt, close });
  }

  #close(why: { close?: Close; error?: RoomcastError | undefined }, code?: number) {
    this.#lost(code);
    this.rooms.lost("idle");
    this.#to("closed", why);
    this.requests.close();
  }
}
