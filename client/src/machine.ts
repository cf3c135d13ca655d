import { Allowance, type Limits } from "./allowance.js";
import { Backoff } from "./backoff.js";
import { answered, RoomcastError } from "./errors.js";
import type { Frame } from "./message.js";
import type { Output, Why } from "./output.js";
import { type Ask, type Link, Requests } from "./requests.js";
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
 * Each input has the time in milliseconds as `now`. Afterwards the driver carries out {@link Machine.out}, in
 * order, and calls {@link Machine.tick} at {@link Machine.timeout}. The inputs are, in the order of a
 * connection: `connect`, `token`, `text` of the socket, `closed`; at any time `ask`, `rooms`, `awake`,
 * `freeze`, `tick`; and `close`.
 *
 * There is at most one socket, one call for a token and one timer.
 */
export class Machine implements Link, RoomLink {
  /** Outputs that the driver has yet to carry out, the oldest first. The driver removes them. */
  readonly out: Output[] = [];
  readonly rooms = new Rooms(this);
  readonly allowance = new Allowance();
  readonly random: () => number;
  readonly timeoutMs: number;
  state: State = { name: "idle", attempt: 0 };
  now = 0;
  conn = "";
  conns: string[] = [];
  renewed = true;
  messageBytes = MESSAGE_BYTES;
  readonly #requests: Requests;
  readonly #backoff: Backoff;
  readonly #renews: boolean;
  #serial = 0;
  /** The socket and the call for a token that count; 0 without one. */
  #socket = 0;
  #call = 0;
  #why: Why = "connect";
  #bye: { reconnect: boolean; after_ms: number } | undefined;
  #refusal: RoomcastError | undefined;
  /** The end of a handshake, and the next attempt; the earliest one. */
  #deadline = Infinity;
  #notBefore = 0;
  #openedAt = 0;
  #heartbeat = HEARTBEAT_MS;
  #pingAt = Infinity;
  #pongBy = Infinity;
  #renewAt = Infinity;

  constructor({ timeoutMs, buffer, renews, random }: MachineOptions) {
    this.random = random;
    this.timeoutMs = timeoutMs;
    this.#renews = renews;
    this.#backoff = new Backoff(random);
    this.#requests = new Requests(buffer);
  }

  /** Connects, unless that is under way. */
  connect(now: number): void {
    this.now = now;
    if (this.state.name !== "idle" && this.state.name !== "closed") return;
    this.#backoff.failures = 0;
    this.#why = "connect";
    this.rooms.lost("joining");
    this.#dial();
  }

  /** Ends the connection, all requests and all rooms. */
  close(now: number): void {
    this.now = now;
    this.#drop(1000);
    for (const place of this.rooms.all.values()) this.rooms.leave(place, () => {});
    this.#close({});
  }

  /** Gives a token, or its absence, to a call. */
  token(now: number, call: number, token: string | null): void {
    this.now = now;
    if (call !== this.#call) return;
    this.#call = 0;
    if (this.state.name === "connecting") {
      this.#socket = ++this.#serial;
      this.out.push({ do: "dial", socket: this.#socket, token });
    } else if (token !== null) this.#authenticate(token);
    else this.#renewAt = Infinity;
  }

  /** Says that a call for a token has failed, or that no socket could be made. */
  failed(now: number, serial: number, error: RoomcastError): void {
    this.now = now;
    if (serial !== this.#call && serial !== this.#socket) return;
    const renewing = this.state.name === "open";
    if (renewing) this.#call = 0;
    else this.#drop();
    if (error.code === "no_websocket") return this.#close({ error });
    this.out.push({ do: "error", error });
    if (renewing) this.#renewAt = now + RENEW_MS;
    else this.#ended({ code: 1006, reason: error.message });
  }

  /** Takes a text message of a socket. */
  text(now: number, socket: number, text: string): void {
    this.now = now;
    if (socket !== this.#socket) return;
    this.#pingAt = now + this.#heartbeat;
    this.#pongBy = Infinity;
    let frame: Frame;
    try {
      frame = JSON.parse(text);
      this.#receive(frame);
    } catch (cause) {
      this.out.push({ do: "error", error: new RoomcastError("bad_frame", "a frame cannot be read", { cause }) });
    }
    this.#write();
  }

  /** Says that a socket has ended by itself. */
  closed(now: number, socket: number, close: Close): void {
    this.now = now;
    if (socket !== this.#socket) return;
    this.#drop();
    this.#ended(close);
  }

  /** Says that somebody looks at the page, or that there may be a network again. */
  awake(now: number): void {
    this.now = now;
    const { state } = this;
    if (state.name === "open") this.#ping();
    else if (state.name === "waiting") {
      const retryAt = Math.max(this.#notBefore, now + this.random() * AWAKE_MS);
      if (retryAt < this.#deadline) this.#wait(retryAt, state.close);
    }
  }

  /** Says that the page is put aside: there is no connection until it is {@link awake}. */
  freeze(now: number): void {
    this.now = now;
    if (!/connecting|open|waiting/.test(this.state.name)) return;
    this.#drop();
    this.#lost();
    this.#notBefore = 0;
    this.#wait(Infinity, { code: 1001, reason: "the page is frozen" });
  }

  /** Makes a request, and gives it a number for {@link abort}. */
  ask(ask: Ask): number {
    return this.#requests.ask(this, ask);
  }

  /** Makes a request of the application, from then on. */
  request(now: number, ask: Ask): number {
    this.now = now;
    if (this.state.name === "closed") ask = { ...ask, buffer: false };
    return this.ask(ask);
  }

  /** Sends a message that is not answered: at once, or not at all. */
  send(now: number, text: string): boolean {
    this.now = now;
    const can = !!this.conn && this.renewed && text.length * 3 <= this.messageBytes && this.allowance.take(now);
    if (can) this.write(text);
    return can;
  }

  /** Ends a request. */
  abort(now: number, request: number): void {
    this.now = now;
    this.#requests.end(request, "aborted", "the signal was aborted");
  }

  /** Changes rooms, and sends what follows. */
  change(now: number, change: (rooms: Rooms) => void): void {
    this.now = now;
    change(this.rooms);
    this.#write();
  }

  /** Says that it is {@link timeout}, or later. */
  tick(now: number): void {
    const slept = now - this.timeout() >= LATE_MS;
    this.now = now;
    const { name } = this.state;
    if (name === "connecting" && this.#deadline <= now) {
      this.#drop();
      this.#ended({ code: 1006, reason: "no connection in time" });
    } else if (name === "waiting" && this.#deadline <= now) {
      this.#dial();
    } else if (name === "open") {
      if (this.#pongBy <= now && !slept) {
        this.#drop();
        this.#ended({ code: 1006, reason: "no sign of life from the server" });
      } else if (slept || this.#pingAt <= now) this.#ping(true);
      if (this.#renewAt <= now) this.#renew(this.#why);
    }
    this.#requests.expire(now);
    this.#write();
  }

  /** The time of the next {@link tick}. */
  timeout(): number {
    const { name } = this.state;
    let next = this.#requests.timeout();
    if (name === "connecting" || name === "waiting") next = Math.min(next, this.#deadline);
    if (name === "open") {
      next = Math.min(next, this.#pingAt, this.#pongBy, this.#renewAt, this.rooms.timeout());
      if (this.#requests.hungry) next = Math.min(next, this.allowance.nextAt());
    }
    return next;
  }

  /** Writes to the socket. */
  write(text: string): void {
    this.out.push({ do: "write", text });
  }

  /** True unless a message to the room has to wait for a join. */
  isSettled(room?: string): boolean {
    return this.rooms.isSettled(room);
  }

  /** Gets another token, because the server no longer takes requests. */
  expired(): void {
    this.renewed = false;
    if (!this.#call && this.#renewAt === Infinity) this.#renew("expiring");
  }

  #write() {
    if (this.renewed) this.rooms.next();
    this.#requests.write(this);
  }

  #to(state: State) {
    this.state = state;
    this.out.push({ do: "state" });
  }

  #dial() {
    this.#bye = this.#refusal = undefined;
    this.#deadline = this.now + this.timeoutMs;
    this.#to({ name: "connecting", attempt: this.#backoff.failures });
    this.#ask(this.#why);
  }

  #ask(why: Why) {
    this.#call = ++this.#serial;
    this.out.push({ do: "token", call: this.#call, why });
  }

  /** Forgets the socket and the call for a token. */
  #drop(code?: number) {
    if (this.#socket || this.#call) this.out.push({ do: "drop", code: code! });
    this.#socket = this.#call = 0;
  }

  #ping(again = false) {
    if (this.#pongBy < Infinity && !again) return;
    this.write('{"event":"$ping"}');
    this.#pongBy = this.now + PONG_MS;
    this.#pingAt = this.now + this.#heartbeat;
  }

  /** Gets another token for the open connection, unless one is on its way. */
  #renew(why: Why) {
    if (!this.#renews) return;
    this.#why = why;
    // A call that hangs is replaced.
    this.#renewAt = this.now + this.timeoutMs;
    this.#ask(why);
  }

  #authenticate(token: string) {
    this.ask({
      event: "$auth", data: JSON.stringify({ token }), own: true, timeout: this.timeoutMs,
      done: (error) => {
        if (error?.code === "closed") return;
        this.#renewAt = Infinity;
        if (!error || error.code === "unknown_verb") {
          this.#why = "connect";
          this.renewed = true;
        } else if (error.code === "forbidden") {
          // Another user needs another connection.
          this.#why = "connect";
          this.#drop();
          this.#ended({ code: 1000, reason: "another user" }, true);
        } else {
          this.out.push({ do: "error", error });
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
      const isPublish = this.#requests.answer(this, frame);
      if (isPublish && typeof data?.reached === "number") this.rooms.published(room!, data.offset);
    } else if (event === "$bye") this.#bye = data;
    else if (event === "$expiring") {
      if (!this.#call) this.#renew("expiring");
    } else if (event[0] === "$" && (room === undefined || !error)) {
      if (error && !this.conn) this.#refusal = answered(error);
      else if (error) this.out.push({ do: "error", error: answered(error) });
      else if (room !== undefined) this.rooms.notice(frame);
    } else if (event === "$leave") this.rooms.notice(frame);
    else if (error) this.out.push({ do: "error", error: answered(error) });
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
    this.#renewAt = Infinity;
    this.#why = "connect";
    this.allowance.reset(this.now, limits);
    this.#to({ name: "open", attempt: this.#backoff.failures, conn, user });
  }

  /** Takes back what belonged to the connection. */
  #lost() {
    if (this.conn) this.#backoff.opened(this.now - this.#openedAt);
    this.conn = "";
    this.#pongBy = this.#pingAt = this.#renewAt = Infinity;
    this.rooms.lost("joining");
    this.#requests.lost();
  }

  /** Decides what follows a connection, or an attempt. */
  #ended(close: Close, again?: boolean) {
    this.#lost();
    if (close.code === UNAUTHORIZED) this.#why = "refused";
    const isStale = close.code === UNAUTHORIZED && !this.#renews;
    if (isStale || !(again ?? this.#bye?.reconnect ?? comesBack(close))) {
      const error = this.#refusal;
      return this.#close(error ? { close, error } : { close });
    }
    this.#notBefore = this.now + (this.#bye?.after_ms ?? 0);
    this.#wait(this.#notBefore + this.#backoff.next(), close);
  }

  #wait(retryAt: number, close: Close) {
    this.#deadline = retryAt;
    this.#to({ name: "waiting", attempt: this.#backoff.failures, retryAt, close });
  }

  #close(why: { close?: Close; error?: RoomcastError }) {
    this.#lost();
    this.rooms.lost("idle");
    this.#to({ name: "closed", attempt: this.#backoff.failures, ...why });
    this.#requests.close();
  }
}
