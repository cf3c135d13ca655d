import { answered, RoomcastError } from "./errors.js";
import { type Ask, emit, type Machine, renew, type Request } from "./machine.js";
import type { Frame } from "./message.js";

/** Earlier connections that a frame may name. */
export const CONNS_MAX = 16;
/** Unanswered messages; the server remembers 256 keys of a client. */
const UNANSWERED_MAX = 200;

/** JSON of a value, where it has one. */
export const json = JSON.stringify as (value: unknown) => string;

/**
 * Makes a request, and gives it a number. `done` is called at once when it cannot be kept.
 *
 * A request waits until it can be written: never longer than its timeout, and within the limits of the buffer.
 * When the connection is lost, a request that was written is written again if that is safe, and fails with
 * `sent` if not.
 */
export const ask = (machine: Machine, ask: Ask): number => {
  const { requests, options } = machine;
  const id = ++machine.serial;
  const { event, room, data, echo, key, own, timeout = options.timeout } = ask;
  const text = json({ event, id, room, echo, key, data }).slice(0, -1);
  const bytes = new TextEncoder().encode(text).length;
  const request: Request = { ...ask, text, bytes, by: machine.now + timeout, conns: new Set() };
  requests.set(id, request);
  write(machine);
  if (own || request.conns.size) return id;
  if (!ask.buffer || machine.state.name === "closed") fail(machine, id, "closed", "cannot be sent now");
  let { messages, bytes: room_ } = options;
  for (const waiting of requests.values()) {
    if (waiting.own || waiting.conns.size) continue;
    messages -= 1;
    room_ -= waiting.bytes;
  }
  if (messages < 0 || room_ < 0) fail(machine, id, "buffer_full", "too many messages wait to be sent");
  return id;
};

/**
 * Takes one message from those that the server's rate limit still allows.
 *
 * A client that keeps to it is never refused for its rate, so its messages stay in order.
 */
export const take = (machine: Machine): boolean => {
  const { now, due, eachMs } = machine;
  if (now < due - machine.aheadMs) return false;
  machine.due = Math.max(now, due) + eachMs;
  return true;
};

/** Writes what can be written. Work: one step for each request that was not answered. */
export const write = (machine: Machine): void => {
  const { conn, messageBytes, renewed, requests, rooms } = machine;
  let unanswered = 0;
  machine.allowedAt = Infinity;
  for (const [id, { event, own, room, conns, key, text, bytes }] of requests) {
    if (!conns.has(conn)) {
      const end = key && conns.size ? `,"conn":${json([...conns].slice(-CONNS_MAX))}}` : "}";
      if (bytes + end.length > messageBytes) {
        fail(machine, id, "too_large", `more than ${messageBytes} bytes`);
        continue;
      }
      const isSettled = own || (unanswered < UNANSWERED_MAX && rooms.get(room!)?.state !== "joining");
      if (!conn || (event !== "$auth" && !(renewed && isSettled))) continue;
      if (!take(machine)) {
        machine.allowedAt = machine.due - machine.aheadMs;
        return;
      }
      conns.add(conn);
      emit(machine, "write", text + end);
    }
    unanswered += 1;
  }
};

/** Takes an answer. True when it is that of a publish. */
export const answer = (machine: Machine, { id, error, data }: Frame): boolean => {
  const request = machine.requests.get(id!);
  if (error?.code === "expired" && request?.event !== "$auth") {
    // It was not carried out: the next token lets it pass.
    request?.conns.delete(machine.conn);
    machine.renewed = false;
    if (machine.renewAt === Infinity) renew(machine, "expiring");
  } else settle(machine, id!, error && answered(error), data);
  return !!request?.key;
};

const settle = ({ requests }: Machine, id: number, error?: RoomcastError, data?: unknown) => {
  const request = requests.get(id);
  requests.delete(id);
  request?.done(error, data);
};

/** Ends a request early. */
export const fail = (machine: Machine, id: number, code: string, message: string): void => {
  const { size } = machine.requests.get(id)?.conns ?? {};
  settle(machine, id, new RoomcastError(code, message, { sent: !!size }));
};

/** Ends the requests for which that holds. */
export const failThose = (machine: Machine, code: string, message: string, isOver: (request: Request) => unknown): void => {
  for (const [id, request] of machine.requests) if (isOver(request)) fail(machine, id, code, message);
};
