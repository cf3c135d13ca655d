import type { Caller, Conn, Host, Json, Namespace, Options } from "./namespace.js";

/** A client of a `World`. */
export interface Client {
  readonly conn: Conn;
  /** The close that ended the connection; `undefined` while it is open. */
  readonly closed: { code: number; reason: string } | undefined;
  /** Sends an envelope, or a text or bytes unchanged. */
  send(message: Json | Uint8Array): unknown;
  /** Takes the messages received since the last call: texts as parsed values. */
  take(): (Json | Uint8Array)[];
  /** Ends the connection. */
  disconnect(code?: number): void;
}

/**
 * A namespace and its clients in memory: no sockets, no timers, no waiting.
 *
 * ```js
 * const world = await World.start({ policies: { rooms: [{ match: "*", presence: "members" }] } });
 * const ann = world.connect({ user: "ann" });
 * ann.send({ event: "$join", room: "lobby" });
 * world.advance(60_000);
 * ```
 */
export class World {
  static start(options?: Partial<Omit<Options, keyof Host>> & { now?: number; answersPings?: boolean }): Promise<World>;
  readonly namespace: Namespace;
  /** Milliseconds of the clock of this world. */
  readonly now: number;
  connect(caller?: Caller): Client;
  /**
   * Moves the clock: each deadline is handled at its time. Clients answer pings, unless
   * `answersPings` is false.
   */
  advance(ms: number): void;
}
