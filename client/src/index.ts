/**
 * The client of a Roomcast server: rooms whose messages arrive once and in order, also across reconnects.
 *
 * @module
 */
export type { Clock } from "./clock.js";
export { RoomcastError } from "./errors.js";
export type { Off, On } from "./listeners.js";
export type { Calls, Counts, Events, Member, Message, Position, RoomState } from "./message.js";
export type { Options, Socket, SocketClass } from "./options.js";
export type { Why } from "./output.js";
export type { PageEvents } from "./page.js";
export { type AskOptions, type Published, Room, type RoomOptions } from "./room.js";
export { Roomcast } from "./roomcast.js";
export type { Close, State } from "./state.js";
