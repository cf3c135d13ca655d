import type { RoomcastError } from "./errors.js";

/** The reason a connection ended: a close code, 1006 for a lost connection, and a text. */
export interface Close {
  readonly code: number;
  readonly reason: string;
}

/**
 * The state of a client's connection. `attempt` counts the failed attempts since the last connection that
 * lasted.
 *
 * | name | meaning |
 * |---|---|
 * | `idle` | not yet asked to connect |
 * | `connecting` | the token is fetched, or the server is called |
 * | `open` | connected as `conn`; `user` is empty for an anonymous connection |
 * | `waiting` | the connection was lost; the next attempt is at `retryAt`, by the client's clock |
 * | `closed` | ended for good, until `connect()` is called |
 */
export type State = { readonly attempt: number } & (
  | { readonly name: "idle" | "connecting" }
  | { readonly name: "open"; readonly conn: string; readonly user: string }
  | { readonly name: "waiting"; readonly retryAt: number; readonly close: Close }
  | { readonly name: "closed"; readonly close?: Close; readonly error?: RoomcastError | undefined }
);

/** Codes after which a client does not reconnect, unless `$bye` says so. */
export const FINAL = /^(100[023789]|4403|4410)$/;

/** The server's limits, as `$welcome` says them. */
export interface Limits {
  message_bytes?: number;
  inbound_messages_per_s?: number;
  inbound_burst_messages?: number;
}
