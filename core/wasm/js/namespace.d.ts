/** A connection: a number that is never reused. */
export type Conn = number;

/** A JSON value. */
export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** Instantiates the module. Await it once, before the first `Namespace`; calling it again is free. */
export function init(): Promise<void>;

/** The table index of a connection while it lives: small and dense, and reused after its end. */
export function slot(conn: Conn): number;

/**
 * The error of an input that was not applied.
 *
 * `code` is a code of the protocol, such as `not_found`, or one of `not_started`, `in_callback` and
 * `dead`. After `dead` the namespace is unusable: close its connections.
 */
export class RoomcastError extends Error {
  readonly code: string;
  /** The corresponding HTTP status. */
  readonly status?: number;
  /** The limit that was exceeded; for a rate also the time to wait, if waiting helps. */
  readonly details?: { readonly limit: number; readonly after_ms?: number };
}

/** Functions that carry out commands: the namespace calls them before an input returns. */
export interface Host {
  /**
   * Send a message to all of these connections. `to` is valid until the function returns.
   *
   * `about` is `control` for a frame that must arrive, `message` for one that closes a slow reader
   * with 4409, and `droppable` for a message that the policy of its room lets the host drop.
   */
  send(to: Float64Array, frame: string | Uint8Array, about: "control" | "message" | "droppable", isBinary: boolean): void;
  /** Send a close frame, and end the socket. The namespace has forgotten the connection. */
  close(conn: Conn, code: number, reason: string): void;
  /** Send a WebSocket ping, and call `noteActivity` when its pong comes. Without it, set `heartbeat_ms` to `off`. */
  ping?(conn: Conn): void;
  /**
   * Call `timeout()` at this time of the clock, in place of any earlier time; `undefined`: never.
   * It is at most 2^31 - 1 ms ahead, the longest delay of `setTimeout`; each `timeout()` asks for
   * the next time, also when the timer fired early.
   */
  wake?(at: number | undefined): void;
  /**
   * A client sent a token by `$auth`: verify it, and call `authenticate(conn, text, identity)`. May
   * be asynchronous: `receive` returns its result. Without it, `$auth` is not a verb.
   */
  authenticate?(conn: Conn, token: string, text: string): unknown;
}

export interface Options extends Host {
  /** The name of this run, in every position that clients are told; random by default. */
  epoch?: string;
  /** Limits by their names in the file of settings: `{ heartbeat_ms: 25000 }`. */
  settings?: { [name: string]: number | string };
  /** Policies of rooms, and grants, as in the file of settings. */
  policies?: { rooms?: Json[]; grants?: Json[] };
  /** True to get text frames as bytes too; default false. */
  bytes?: boolean;
  /** Milliseconds since 1970; default `Date.now`. */
  clock?: () => number;
}

/** The verified identity of a client. */
export interface Identity {
  user?: string;
  /** Rules such as `{ rooms: "chat:*", can: ["join"] }`; absent means every right. */
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
  /** The client offers the subprotocol `roomcast.v1`: it is greeted. */
  welcome?: boolean;
  /** The client must first authenticate, by `$auth`. */
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
  /** The offset in the history of the room. */
  offset?: number;
}

/**
 * A set of rooms and connections that shares nothing with other namespaces.
 *
 * Every method is an input: it takes effect as a whole, and carries out its commands by the
 * functions of the host before it returns. These functions must not call one. Each throws a
 * `RoomcastError` when it was not applied.
 */
export class Namespace {
  constructor(options: Options);

  /** The time at which `timeout()` is to be called. */
  readonly nextTimeout: number | undefined;

  /** Opens a connection. `opened` is called with its id before its first command. */
  connect(caller?: Caller, opened?: (conn: Conn) => void): Conn;
  /** Handles a message: a text, or with `isBinary` false the bytes of a text. */
  receive(conn: Conn, message: string | Uint8Array | ArrayBuffer, isBinary?: boolean): unknown;
  /** Notes a pong, or another sign of life. */
  noteActivity(conn: Conn): void;
  /**
   * Ends a connection whose socket was closed, with the code of the client's close frame; 1006 when
   * there was none.
   */
  disconnect(conn: Conn, code?: number): void;
  /** Handles deadlines, when the time of `nextTimeout` has come. */
  timeout(): void;
  /**
   * Applies the identity of a verified token; `undefined` when it is not valid. `text` is from the
   * request.
   */
  authenticate(conn: Conn, text: string, identity?: Identity): void;

  /** Sends an event; with a `key` once. */
  publish(audience: Audience, event: string, data?: Json, options?: { key?: string; path?: string }): Delivery;
  /** Puts a connection into a room: true when it was in it already. */
  join(conn: Conn, room: string, meta?: Json): boolean;
  /** Removes a connection from a room: true when it was in it. */
  leave(conn: Conn, room: string): boolean;
  /** Closes a connection. */
  close(conn: Conn, code?: number, reason?: string): void;

  /** Asks a question, such as `"counts"` or `{ rooms: { prefix: "", after: null, limit: 100 } }`. */
  ask(question: Json): Json;
  /** Answers a request of the HTTP API. The host must check that its sender may use the API. */
  api(request: { method: string; target: string; headers?: { [name: string]: string }; body?: string }): {
    status: number;
    headers: { [name: string]: string };
    body: string;
  };
  /** Applies an input in the form of the journal, a value or its JSON text. */
  apply(input: Json): Json;
}
