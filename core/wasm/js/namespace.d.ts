/** A connection: a number that is never given out again. */
export type Conn = number;

/** A JSON value. */
export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** Instantiates the module. Await it once, before the first `Namespace`; calling it again is free. */
export function init(): Promise<void>;

/** The table index of a connection while it lives: small and dense, and reused after its end. */
export function slot(conn: Conn): number;

/**
 * Something that was not done.
 *
 * `code` is a code of the protocol, such as `not_found`, or one of `not_started`, `in_callback` and
 * `dead`. After `dead` the namespace is of no use: its connections have to be closed.
 */
export class RoomcastError extends Error {
  readonly code: string;
  /** The HTTP status that says the same. */
  readonly status?: number;
  /** The limit that was passed; of a rate also how long to wait, if waiting helps. */
  readonly details?: { readonly limit: number; readonly after_ms?: number };
}

/** The carrying out of commands: functions that the namespace calls before an input returns. */
export interface Host {
  /**
   * Send a message to all of these connections. `to` is valid until the function returns.
   *
   * `about` is `control` for what must arrive, `message` for what closes a slow reader with 4409,
   * and `droppable` for a message that the policy of its room lets the host drop.
   */
  send(to: Float64Array, frame: string | Uint8Array, about: "control" | "message" | "droppable", isBinary: boolean): void;
  /** Send a close frame, and end the socket. The namespace has forgotten the connection. */
  close(conn: Conn, code: number, reason: string): void;
  /** Send a WebSocket ping, and call `noteActivity` when its pong comes. Without it, set `heartbeat_ms` to `off`. */
  ping?(conn: Conn): void;
  /** `timeout()` is to be called at this time of the clock, and at no other; `undefined`: not at all. */
  wake?(at: number | undefined): void;
  /**
   * A client shows a token by `$auth`: verify it, and give `authenticate(conn, text, identity)`. May
   * be asynchronous: `receive` returns what it returns. Without it, `$auth` is no verb.
   */
  authenticate?(conn: Conn, token: string, text: string): unknown;
}

export interface Options extends Host {
  /** The name of this run, in every position that clients are told; random by default. */
  epoch?: string;
  /** Limits by the names that they have in the file of settings: `{ heartbeat_ms: 25000 }`. */
  settings?: { [name: string]: number | string };
  /** Policies of rooms, and grants, as in the file of settings. */
  policies?: { rooms?: Json[]; grants?: Json[] };
  /** Frames are bytes, also those of texts; default false. */
  bytes?: boolean;
  /** Milliseconds since 1970; default `Date.now`. */
  clock?: () => number;
}

/** A client as the host has verified it. */
export interface Identity {
  user?: string;
  /** Rules such as `{ rooms: "chat:*", can: ["join"] }`; absent is every right. */
  grants?: Json[];
  /** The time of the clock at which the identity ends. */
  until_ms?: number;
  /** The time at which it was issued, in seconds since 1970. */
  issued_s?: number;
  /** JSON that presence shows to the other members. */
  meta?: Json;
  /** Rooms to join at once. */
  rooms?: string[];
}

export interface Caller extends Identity {
  /** The client chose the subprotocol `roomcast.v1`: it is greeted. */
  welcome?: boolean;
  /** The client has yet to say who it is, by `$auth`. */
  unidentified?: boolean;
}

export interface Audience {
  all?: boolean;
  rooms?: string[];
  conns?: (Conn | string)[];
  users?: string[];
  except_rooms?: string[];
  except_conns?: (Conn | string)[];
  except_users?: string[];
}

export interface Delivery {
  matched: number;
  queued: number;
  dropped: number;
  /** The place in the history of the room. */
  offset?: number;
}

/**
 * Rooms and connections that share nothing with others.
 *
 * Every method but `nextTimeout` is an input: it takes effect as a whole, and carries out its
 * commands by the functions of the host before it returns. None may be called from within these.
 * Each throws a `RoomcastError` when it was not done.
 */
export class Namespace {
  constructor(options: Options);

  /** The time at which `timeout()` is to be called. */
  readonly nextTimeout: number | undefined;

  /** A connection opened. `opened` is called with its id before its first command. */
  connect(caller?: Caller, opened?: (conn: Conn) => void): Conn;
  /** A message arrived: a text, or the bytes of one with `isBinary` false. */
  receive(conn: Conn, message: string | Uint8Array | ArrayBuffer, isBinary?: boolean): unknown;
  /** A pong, or another sign of life. */
  noteActivity(conn: Conn): void;
  /** The socket ended, with the code of the client's close frame; 1006 when there was none. */
  disconnect(conn: Conn, code?: number): void;
  /** The time of `nextTimeout` has come. */
  timeout(): void;
  /** A token was verified: `undefined` when it is not valid. `text` is that of the request. */
  authenticate(conn: Conn, text: string, identity?: Identity): void;

  /** Sends an event; with a `key` once. */
  publish(audience: Audience, event: string, data?: Json, options?: { key?: string; path?: string }): Delivery;
  /** Puts a connection into a room: true when it was there already. */
  join(conn: Conn, room: string, meta?: Json): boolean;
  /** Takes a connection out of a room: true when it was there. */
  leave(conn: Conn, room: string): boolean;
  /** Closes a connection. */
  close(conn: Conn, code?: number, reason?: string): void;

  /** Asks a question, such as `"counts"` or `{ rooms: { prefix: "", after: null, limit: 100 } }`. */
  ask(question: Json): Json;
  /** Answers a request of the HTTP API, by somebody who may use it: that is for the host to check. */
  api(request: { method: string; target: string; headers?: { [name: string]: string }; body?: string }): {
    status: number;
    headers: { [name: string]: string };
    body: string;
  };
  /** Applies an input as a journal has it, a value or a text. */
  apply(input: Json): Json;
}
