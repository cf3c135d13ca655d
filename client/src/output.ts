import type { RoomcastError } from "./errors.js";
import type { Message } from "./message.js";

/** Why a token is asked for, see `Options.token`. */
export type Why = "connect" | "expiring" | "refused";

/** A step that a machine asks its driver to carry out; steps are carried out in order. */
export type Output =
  /** Get a token, and give it to `Machine.token` with `call`. It replaces an earlier call. */
  | { do: "token"; call: number; why: Why }
  /** Open a socket, and give its events to the machine with `socket`. */
  | { do: "dial"; socket: number; token: string | null }
  /** Write a text message to the socket. */
  | { do: "write"; text: string }
  /** Forget the socket and the call for a token: end them, and wait for neither. */
  | { do: "drop"; code?: number }
  /** Tell the application that the state of the connection is another. */
  | { do: "state" }
  /** Tell the application a fault that belongs to no request. */
  | { do: "error"; error: RoomcastError }
  /** Give a message to the application. */
  | { do: "message"; message: Message }
  /** Tell the application what happened in a room. */
  | { do: "room"; room: string; what: "$state" | "$members" | "$lost" }
  | { do: "room"; room: string; what: "$recovered"; missed: number };
