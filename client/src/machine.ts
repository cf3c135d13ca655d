import type { RoomcastError } from "./errors.js";
import type { Listeners } from "./listeners.js";
import type { Counts, Member, Position, RoomState } from "./message.js";
import type { Output, Why } from "./output.js";
import type { State } from "./state.js";

/** The settings of a machine. */
export interface MachineOptions {
  /** Milliseconds for an attempt to connect, and for a request. */
  timeout: number;
  /** Limits of the messages that wait to be sent. */
  messages: number;
  bytes: number;
  /** True when a new token can be fetched. */
  renews: boolean;
  random: () => number;
}

/** A message that wants an answer. */
export interface Ask {
  event: string;
  room?: string;
  data?: unknown;
  echo?: boolean;
  /** Present where it is safe to send the message again on another connection. */
  key?: string;
  /** A request of this client itself, which ends with its connection and waits for no room. */
  own?: boolean;
  /** A read, which is safe to send again without a key. */
  read?: boolean;
  /** False: fails unless it can be written at once. A request of this client itself always waits. */
  buffer?: boolean | undefined;
  /** Milliseconds until it fails; else those of the machine. */
  timeout?: number | undefined;
  /** Called once, with the error or the answer. */
  done: (error?: RoomcastError, data?: any) => void;
}

/** A request that was not answered yet. */
export interface Request extends Ask {
  readonly id: number;
  /** The time at which it fails. */
  by: number;
  /** The frame without its end. A retry must have the same bytes. */
  text: string;
  bytes: number;
  /** Connections that the request was written to; the answer is expected on the last. */
  conns: Set<string>;
}

/** A room that the application wants to be in. */
export interface Place {
  readonly name: string;
  meta?: unknown;
  presence?: boolean | undefined;
  state: RoomState;
  error?: RoomcastError | undefined;
  /** The highest offset that was seen, and its epoch. */
  position?: Position | undefined;
  members: readonly Member[] | null;
  counts?: Counts;
  /** True between join and leave of the application. */
  wanted?: boolean;
  /**
   * The number of the pending join, or of the pending page of a history or of members; 0 without
   * one.
   */
  asked: number;
  /** The time of the next attempt, after a temporary refusal. */
  retryAt: number;
  /** True until all pages of a new listing of members have come. */
  lists?: boolean | undefined;
  /** The number of messages that a join still replays, and the position after the last. */
  missing: number;
  top?: number;
  /** The number of messages that were replayed. */
  replayed?: number;
  /** Members by user or connection. */
  here: Map<string, Member>;
  readonly listeners: Listeners;
}

/**
 * The whole state of a client between two inputs. The functions of `connection`, `rooms` and
 * `requests` change it.
 */
export interface Machine extends Readonly<MachineOptions> {
  /** The listeners of the client. */
  readonly listeners: Listeners;
  /** Outputs that the driver has yet to carry out, the oldest first. The driver removes them. */
  readonly out: Output[];
  /** Milliseconds of the driver's clock, which sets it before each input. */
  now: number;
  state: State;
  /** The id of the open connection; empty without one. */
  conn: string;
  /** The ids of this client's connections, the oldest first. */
  conns: string[];
  /** False while the token has ended. */
  renewed: boolean;
  /** Requests that were not answered yet, in the order in which they were made. */
  readonly requests: Map<number, Request>;
  readonly rooms: Map<string, Place>;
  /** The last number that was given to a request. */
  serial: number;
  why: Why;
  bye?: { reconnect: boolean; after_ms: number } | undefined;
  /** The reason that the server gave before it closed a new connection. */
  refusal?: { error: RoomcastError } | undefined;
  /** Failed attempts since the last connection that lasted. */
  failures: number;
  /** The server's limits. */
  heartbeat: number;
  messageBytes: number;
  /**
   * The time between messages at the full rate, and the time by which a burst may run ahead of it.
   */
  eachMs: number;
  aheadMs: number;
  /** The time at which the messages so far would be due, one after the other. */
  due: number;
  /** The earliest next attempt that the server allows. */
  notBefore: number;
  // Times that do not apply are infinite.
  openedAt: number;
  /** The end of an attempt, or the beginning of the next. */
  deadline: number;
  pingAt: number;
  pongBy: number;
  renewAt: number;
  /** The time of the next message, when one waits only for the server's rate limit. */
  allowedAt: number;
}

/** A machine without a connection. */
export const UNCONNECTED = {
  conn: "",
  openedAt: Infinity,
  deadline: Infinity,
  pingAt: Infinity,
  pongBy: Infinity,
  renewAt: Infinity,
  allowedAt: Infinity,
};

/** Adds an output. */
export const emit = (machine: Machine, ...output: Output): void => {
  machine.out.push(output);
};

/** Calls the listeners of a room, or of the client. */
export const tell = (machine: Machine, { listeners }: Place | Machine, event: string, ...values: unknown[]): void =>
  emit(machine, "tell", listeners, event, ...values);

/** Fetches a new token, unless a fetch is pending. */
export const expiring = (machine: Machine): void => {
  if (machine.renewAt < Infinity) return;
  machine.why = "expiring";
  renew(machine);
};

/** Fetches a new token for the open connection, where possible. A call that hangs is replaced. */
export const renew = (machine: Machine): void => {
  if (!machine.renews) return;
  machine.renewAt = machine.now + machine.timeout;
  emit(machine, "token");
};
