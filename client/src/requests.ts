import { answered, RoomcastError } from "./errors.js";
import { NAMED_CONNS_MAX, UNANSWERED_MAX } from "./limits.js";
import { type Ask, emit, expiring, type Machine, type Request } from "./machine.js";
import type { Frame } from "./message.js";

/** Returns a value as JSON, where it has such a form. */
export const json = JSON.stringify as (value: unknown) => string;

/**
 * Makes a request, and gives it a number. `done` is called at once when it cannot be kept.
 *
 * A request waits until it can be written: never longer than its timeout, and within the limits of the buffer.
 * When the connection is lost, a request that was written is written again if that is safe, and fails with
 * `sent` if not.
 */
export const ask = (machine: Machine, ask: Ask): Request => {
  const id = ++machine.serial;
  const { event, room, data, echo, key, own, timeout = machine.timeout } = ask;
  const text = json({ event, id, room, echo, key, data }).slice(0, -1);
  const bytes = new TextEncoder().encode(text).length;
  const request = { ...ask, id, text, bytes, by: machine.now + timeout, conns: new Set<string>() };
  machine.requests.set(id, request);
  write(machine);
  if (own || request.conns.size) return request;
  let { messages, bytes: free } = machine;
  for (const waiting of machine.requests.values()) {
    if (waiting.own || waiting.conns.size) continue;
    messages -= 1;
    free -= waiting.bytes;
  }
  if (ask.buffer === false || machine.state.name === "closed") fail(machine, request, "closed", "cannot be sent now");
  else if (messages < 0 || free < 0) fail(machine, request, "buffer_full", "too many messages wait");
  return request;
};

/**
 * Takes one message from those that the server's rate limit still allows.
 *
 * A client that keeps to it is never refused for its rate, so its messages stay in order.
 */
export const take = (machine: Machine): boolean => {
  const { now, due } = machine;
  machine.allowedAt = due - machine.aheadMs;
  if (now < machine.allowedAt) return false;
  machine.due = Math.max(now, due) + machine.eachMs;
  return true;
};

/** Writes all requests that can be written. Work: one step for each unanswered request. */
export const write = (machine: Machine): void => {
  const { conn, messageBytes } = machine;
  let unanswered = 0;
  for (const request of machine.requests.values()) {
    const { event, own, room, conns, key, text, bytes } = request;
    if (!conns.has(conn)) {
      const end = key && conns.size ? `,"conn":${json([...conns].slice(-NAMED_CONNS_MAX))}}` : "}";
      if (bytes + end.length > messageBytes) {
        fail(machine, request, "too_large", `more than ${messageBytes} bytes`);
        continue;
      }
      const isSettled = own || (unanswered < UNANSWERED_MAX && machine.rooms.get(room!)?.state !== "joining");
      if (!conn || (event !== "$auth" && !(machine.renewed && isSettled))) continue;
      if (!take(machine)) return;
      conns.add(conn);
      emit(machine, "write", text + end);
    }
    unanswered += 1;
  }
  machine.allowedAt = Infinity;
};

/** Takes an answer; returns the key if it answers a publish. */
export const answer = (machine: Machine, { id, error, data }: Frame): string | undefined => {
  const request = machine.requests.get(id!);
  if (!request) return;
  if (error?.code === "expired" && request.event !== "$auth") {
    // The request was not carried out: it is written again with the next token.
    request.conns.delete(machine.conn);
    machine.renewed = false;
    expiring(machine);
  } else settle(machine, request, error && answered(error), data);
  return request.key;
};

const settle = (machine: Machine, request: Request, error?: RoomcastError, data?: unknown) => {
  machine.requests.delete(request.id);
  request.done(error, data);
};

/** Ends a request early. */
export const fail = (machine: Machine, request: Request, code: string, message: string): void =>
  settle(machine, request, new RoomcastError(code, message, { sent: request.conns.size > 0 }));

/** Fails the requests for which `isOver` is true. */
export const failThose = (machine: Machine, code: string, message: string, isOver: (request: Request) => unknown): void => {
  for (const request of machine.requests.values()) if (isOver(request)) fail(machine, request, code, message);
};
