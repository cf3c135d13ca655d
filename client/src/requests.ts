import type { Allowance } from "./allowance.js";
import { answered, RoomcastError } from "./errors.js";
import type { Frame } from "./message.js";
import type { Output } from "./output.js";
import type { State } from "./state.js";

/** Earlier connections that a frame may name. */
const CONNS_MAX = 16;
/** Unanswered messages; the server remembers 256 keys of a client. */
const UNANSWERED_MAX = 200;

/** A message that wants an answer. */
export interface Ask {
  event: string;
  room?: string;
  /** JSON. A retry must have the same bytes. */
  data?: string;
  echo?: boolean;
  /** Present where it is safe to send the message again on another connection. */
  key?: string;
  /** A request of this client itself, which ends with its connection and waits for no room. */
  own?: boolean;
  /** A read, which is safe to send again without a key. */
  read?: boolean;
  /** True: waits until it can be written. A request of this client itself always does. */
  buffer?: boolean;
  /** Milliseconds until it fails. */
  timeout: number;
  /** Called once. */
  done: (error?: RoomcastError, data?: any) => void;
}

interface Request extends Ask {
  by: number;
  /** The frame without its end. */
  text: string;
  bytes: number;
  /** Connections that it was written to. */
  conns: string[];
  /** True while an answer on this connection is awaited. */
  unanswered: boolean;
}

/** The connection, as requests see it. */
export interface Link {
  readonly now: number;
  /** The id of the open connection; empty without one. */
  readonly conn: string;
  /** False while the token has ended. */
  readonly renewed: boolean;
  readonly messageBytes: number;
  readonly options: { readonly buffer: { messages: number; bytes: number } };
  readonly allowance: Allowance;
  emit(...output: Output): void;
  readonly rooms: {
    /** False while the room is being joined. */
    isSettled(room?: string): boolean;
  };
  readonly state: State;
  /** The server has refused a request because the token has ended. */
  expired(): void;
}

/** JSON of a value, where it has one. */
export const json = JSON.stringify as (value: unknown) => string;

/** The ids of a client's connections, without the present one; the newest of them. */
export const earlier = (conns: readonly string[], conn: string): string[] | undefined => {
  const others = conns.filter((other) => other !== conn).slice(-CONNS_MAX);
  return others.length ? others : undefined;
};

/**
 * Requests that were not answered yet, in the order in which they were made.
 *
 * A request waits until it can be written: never longer than its timeout, and within the limits of the buffer.
 * When the connection is lost, a request that was written is written again if that is safe, and fails with
 * `sent` if not.
 */
export class Requests {
  readonly #link: Link;
  readonly #all = new Map<number, Request>();
  #last = 0;
  /** True when a request waits only for the server's rate limit. */
  #isHungry = false;

  constructor(link: Link) {
    this.#link = link;
  }

  /** Makes a request, and gives it a number. `done` is called at once when it cannot be kept. */
  ask(ask: Ask): number {
    const id = ++this.#last;
    const { event, room, echo, key, data, own } = ask;
    // The data is last, as it is: JSON within JSON.
    const text = json({ event, id, room, echo, key }).slice(0, -1) + (data ? `,"data":${data}` : "");
    const { length } = new TextEncoder().encode(text);
    const request = { ...ask, text, bytes: length, by: this.#link.now + ask.timeout, conns: [], unanswered: false };
    this.#all.set(id, request);
    this.write();
    if (own || request.unanswered) return id;
    if (!ask.buffer || this.#link.state.name === "closed") this.end(id, "closed", "cannot be sent now");
    let { messages, bytes } = this.#link.options.buffer;
    for (const waiting of this.#all.values()) {
      if (waiting.own || waiting.conns.length) continue;
      messages -= 1;
      bytes -= waiting.bytes;
    }
    if (messages < 0 || bytes < 0) this.end(id, "buffer_full", "too many messages wait to be sent");
    return id;
  }

  /** Writes what can be written. Work: one step for each request that was not answered. */
  write(): void {
    const link = this.#link;
    const { conn, messageBytes } = link;
    let unanswered = 0;
    this.#isHungry = false;
    for (const [id, request] of this.#all) {
      if (request.unanswered) {
        unanswered += 1;
        continue;
      }
      const { event, own, room, conns } = request;
      const others = request.key && earlier(conns, conn);
      const end = others ? `,"conn":${json(others)}}` : "}";
      if (request.bytes + end.length > messageBytes) this.end(id, "too_large", `more than ${messageBytes} bytes`);
      else if (conn && (event === "$auth" || (link.renewed && (own || (unanswered < UNANSWERED_MAX && link.rooms.isSettled(room)))))) {
        if (!link.allowance.take(link.now)) {
          this.#isHungry = true;
          return;
        }
        unanswered += 1;
        if (!conns.includes(conn)) conns.push(conn);
        request.unanswered = true;
        link.emit("write", request.text + end);
      }
    }
  }

  /** Takes an answer. True when it is that of a publish. */
  answer({ id, error, data }: Frame): boolean {
    const request = this.#all.get(id!);
    if (!request?.unanswered) return false;
    if (error?.code === "expired" && request.event !== "$auth") {
      // It was not carried out: the next token lets it pass.
      request.unanswered = false;
      this.#link.expired();
    } else this.#end(id!, error && answered(error), data);
    return !!request.key;
  }

  /** Ends a request early. */
  end(id: number, code: string, message: string): void {
    this.#end(id, new RoomcastError(code, message, { sent: !!this.#all.get(id)?.conns.length }));
  }

  #end(id: number, error?: RoomcastError, data?: unknown) {
    const request = this.#all.get(id);
    this.#all.delete(id);
    request?.done(error, data);
  }

  /** The connection is lost. */
  lost(): void {
    this.#isHungry = false;
    for (const [id, request] of this.#all) {
      if (request.own || (request.unanswered && !request.key && !request.read)) this.end(id, "closed", "the connection was lost");
      request.unanswered = false;
    }
  }

  /** There will be no connection. */
  close(): void {
    for (const id of this.#all.keys()) this.end(id, "closed", "the client is closed");
  }

  /** Ends what has waited too long. */
  expire(): void {
    for (const [id, { by }] of this.#all) if (by <= this.#link.now) this.end(id, "timeout", "no answer in time");
  }

  /** The time of the next {@link expire}, or of the next {@link write} that waits for time alone. */
  timeout(): number {
    let next = this.#isHungry ? this.#link.allowance.nextAt() : Infinity;
    for (const { by } of this.#all.values()) next = Math.min(next, by);
    return next;
  }
}
