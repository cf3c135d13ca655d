import type { Allowance } from "./allowance.js";
import { answered, RoomcastError } from "./errors.js";
import type { Frame } from "./message.js";

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
  /** False: fails at once when it cannot be written. */
  buffer?: boolean;
  /** Milliseconds until it fails. */
  timeout: number;
  /** Called once. */
  done: (error?: RoomcastError, data?: any) => void;
}

interface Request extends Ask {
  by: number;
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
  readonly allowance: Allowance;
  write(text: string): void;
  /** False while the room is being joined. */
  isSettled(room?: string): boolean;
  /** The server has refused a request because the token has ended. */
  expired(): void;
}

const json = JSON.stringify;
const bytesOf = (text: string) => new TextEncoder().encode(text).length;

/** The ids of a client's connections, without the present one; the newest of them. */
export const earlier = (conns: readonly string[], conn: string): string[] | undefined => {
  const others = conns.filter((other) => other !== conn).slice(-CONNS_MAX);
  return others.length ? others : undefined;
};

/**
 * Requests that were not answered yet, in the order in which they were made.
 *
 * A request waits until it can be written: never longer than its timeout, and within the limits of the buffer.
 * When the connection is lost, what was written is written again if that is safe, and fails with `sent` if not.
 */
export class Requests {
  readonly #all = new Map<number, Request>();
  readonly #buffer: { messages: number; bytes: number };
  #last = 0;
  /** True when a request waits only for the server's rate limit. */
  hungry = false;

  constructor(buffer: { messages: number; bytes: number }) {
    this.#buffer = buffer;
  }

  /** Makes a request, and gives it a number. `done` is called at once when it cannot be kept. */
  ask(link: Link, ask: Ask): number {
    const id = ++this.#last;
    const bytes = bytesOf(ask.data ?? "");
    const request = { ...ask, bytes, by: link.now + ask.timeout, conns: [], unanswered: false };
    this.#all.set(id, request);
    if (bytes > link.messageBytes) this.#end(id, new RoomcastError("too_large", `more than ${link.messageBytes} bytes`));
    this.write(link);
    if (!this.#all.has(id) || request.unanswered || ask.own) return id;
    if (ask.buffer === false) this.#end(id, new RoomcastError("closed", "cannot be sent now"));
    const waiting = [...this.#all.values()].filter(({ conns, own }) => !own && !conns.length);
    if (waiting.length > this.#buffer.messages || waiting.reduce((sum, { bytes }) => sum + bytes, 0) > this.#buffer.bytes) {
      this.#end(id, new RoomcastError("buffer_full", "too many messages wait to be sent"));
    }
    return id;
  }

  /** Writes what can be written. Work: one step for each request that was not answered. */
  write(link: Link): void {
    this.hungry = false;
    if (!link.conn) return;
    let unanswered = 0;
    for (const [id, request] of this.#all) {
      if (request.unanswered) unanswered += 1;
      else if (request.event === "$auth" || (link.renewed && (request.own || link.isSettled(request.room)))) {
        if (unanswered >= UNANSWERED_MAX && !request.own) continue;
        if (!link.allowance.take(link.now)) {
          this.hungry = true;
          return;
        }
        unanswered += 1;
        this.#write(link, id, request);
      }
    }
  }

  #write(link: Link, id: number, request: Request) {
    const { event, room, data, echo, key, conns } = request;
    let text = `{"event":${json(event)},"id":${id}`;
    if (room !== undefined) text += `,"room":${json(room)}`;
    if (echo !== undefined) text += `,"echo":${echo}`;
    if (key !== undefined) text += `,"key":${json(key)}`;
    const others = key && earlier(conns, link.conn);
    if (others) text += `,"conn":${json(others)}`;
    if (data !== undefined) text += `,"data":${data}`;
    text += "}";
    if (bytesOf(text) > link.messageBytes) {
      return this.#end(id, new RoomcastError("too_large", `more than ${link.messageBytes} bytes`));
    }
    if (!conns.includes(link.conn)) conns.push(link.conn);
    request.unanswered = true;
    link.write(text);
  }

  /** Takes an answer. True when it is that of a publish. */
  answer(link: Link, { id, error, data }: Frame): boolean {
    const request = this.#all.get(id!);
    if (!request?.unanswered) return false;
    if (error?.code === "expired" && request.event !== "$auth") {
      // It was not carried out: the next token lets it pass.
      request.unanswered = false;
      link.expired();
    } else this.#end(id!, error && answered(error), data);
    return !!request.key;
  }

  /** Ends a request early. */
  end(id: number, code: string, message: string): void {
    const sent = !!this.#all.get(id)?.conns.length;
    this.#end(id, new RoomcastError(code, message, { sent }));
  }

  #end(id: number, error?: RoomcastError, data?: unknown) {
    const request = this.#all.get(id);
    this.#all.delete(id);
    request?.done(error, data);
  }

  /** The connection is lost. */
  lost(): void {
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
  expire(now: number): void {
    for (const [id, { by }] of this.#all) if (by <= now) this.end(id, "timeout", "no answer in time");
  }

  /** The time of the next {@link expire}. */
  timeout(): number {
    let next = Infinity;
    for (const { by } of this.#all.values()) next = Math.min(next, by);
    return next;
  }
}
