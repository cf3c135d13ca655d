import { answered, RoomcastError } from "./errors.js";
import { AWAKE_MS, CONNS_MAX, DELAY_MS_FIRST, DELAY_MS_MAX, HEARTBEAT_MS, LASTED_MS, LATE_MS, PONG_MS, RATE_PART, RENEW_MS, UNAUTHORIZED } from "./limits.js";
import { emit, expiring, type Machine, type MachineOptions, renew, tell, UNCONNECTED } from "./machine.js";
import type { Frame } from "./message.js";
import { answer, ask, failThose, take, write } from "./requests.js";
import { leave, next, notice, published, push, reset } from "./rooms.js";
import { type Close, FINAL, type Limits, type State } from "./state.js";

/**
 * The state of a client, without sockets, timers and clock.
 *
 * Before each input the driver sets `now`. Afterwards it calls {@link flush}, carries out `out`, in order, and calls
 * {@link tick} at {@link timeout}. The inputs are functions, in the order of a connection: {@link connect},
 * {@link token}, {@link text} and {@link ended} of the socket; at any time those of `requests` and `rooms`,
 * {@link send}, {@link awake}, {@link freeze}, {@link tick}; and {@link close}.
 *
 * There is at most one socket, one call for a token and one timer.
 */
export const newMachine = (options: MachineOptions): Machine =>
  // The rest is set with the first attempt and with `$welcome`, and not read before.
  ({
    ...UNCONNECTED,
    ...options,
    listeners: new Map(),
    out: [],
    state: { name: "idle", attempt: 0 },
    conns: [],
    requests: new Map(),
    rooms: new Map(),
    serial: 0,
    failures: 0,
  }) as unknown as Machine;

/** True from `connect` until the client is closed for good. */
export const isActive = ({ state }: Machine): boolean => !/idle|closed/.test(state.name);

/** Connects, unless the client is already active. */
export const connect = (machine: Machine): void => {
  if (isActive(machine)) return;
  machine.failures = 0;
  machine.why = "connect";
  reset(machine, "joining");
  dial(machine);
};

/** Ends the connection, all requests and all rooms. */
export const close = (machine: Machine): void => {
  machine.conn = "";
  for (const place of machine.rooms.values()) leave(machine, place);
  shut(machine, {}, 1000);
};

/** Takes the requested token, or its absence. */
export const token = (machine: Machine, token?: string | null): void => {
  if (!machine.conn) emit(machine, "dial", token);
  else if (token == null) machine.renewAt = Infinity;
  else authenticate(machine, token);
};

/** Reports that a call for a token has failed, or that no socket could be created. */
export const failed = (machine: Machine, error: RoomcastError): void => {
  tell(machine, machine, "$error", error);
  if (machine.conn) machine.renewAt = machine.now + RENEW_MS;
  else ended(machine, error.message);
};

/** Takes a text message of the socket. */
export const text = (machine: Machine, text: string): void => {
  machine.pongBy = Infinity;
  try {
    receive(machine, JSON.parse(text));
  } catch (cause) {
    tell(machine, machine, "$error", new RoomcastError("bad_frame", "a frame cannot be read", { cause }));
  }
  if (machine.conn) machine.pingAt = machine.now + machine.heartbeat;
};

/** Reports that the page is visible again, or that there may be a network again. */
export const awake = (machine: Machine): void => {
  const { state } = machine;
  if (machine.conn) ping(machine);
  else if (state.name === "waiting") {
    const retryAt = Math.max(machine.notBefore, machine.now + machine.random() * AWAKE_MS);
    if (retryAt < machine.deadline) wait(machine, retryAt, state.close);
  }
};

/** Reports that the page is frozen: there is no connection until it is {@link awake}. */
export const freeze = (machine: Machine): void => {
  if (!isActive(machine)) return;
  lost(machine);
  machine.notBefore = 0;
  wait(machine, Infinity, { code: 1001, reason: "the page is frozen" });
};

/** Sends a message that is not answered: at once, or not at all. */
export const send = (machine: Machine, text: string): boolean => {
  const can = !!machine.conn && machine.renewed && !(text.length * 3 > machine.messageBytes) && take(machine);
  if (can) emit(machine, "write", text);
  return can;
};

/** Reports that the time {@link timeout} has come. */
export const tick = (machine: Machine): void => {
  const { now } = machine;
  const slept = now - timeout(machine) >= LATE_MS;
  if (machine.deadline <= now) {
    if (machine.state.name === "waiting") dial(machine);
    else ended(machine, "no connection in time");
  }
  if (machine.pongBy <= now && !slept) ended(machine, "no answer in time");
  else if (machine.conn && (slept || machine.pingAt <= now)) ping(machine, true);
  if (machine.renewAt <= now) renew(machine);
  failThose(machine, "timeout", "no answer in time", ({ by }) => by <= now);
};

/** Sends what can be sent, after each input. */
export const flush = (machine: Machine): void => {
  if (machine.renewed) next(machine);
  write(machine);
};

/** The time of the next {@link tick}. */
export const timeout = (machine: Machine): number =>
  Math.min(
    machine.deadline, machine.pingAt, machine.pongBy, machine.renewAt, machine.allowedAt,
    ...[...machine.requests.values()].map(({ by }) => by),
    ...[...machine.rooms.values()].map(({ retryAt }) => (retryAt > machine.now ? retryAt : Infinity)),
  );

const to = (machine: Machine, name: State["name"], more?: object) => {
  machine.state = { name, attempt: machine.failures, ...more } as State;
  tell(machine, machine, "$state", machine.state);
};

const dial = (machine: Machine) => {
  machine.bye = machine.refusal = undefined;
  machine.deadline = machine.now + machine.timeout;
  to(machine, "connecting");
  emit(machine, "token");
};

const ping = (machine: Machine, again?: boolean) => {
  if (machine.pongBy < Infinity && !again) return;
  emit(machine, "write", '{"event":"$ping"}');
  machine.pongBy = machine.now + PONG_MS;
  machine.pingAt = machine.now + machine.heartbeat;
};

const authenticate = (machine: Machine, token: string) =>
  ask(machine, {
    event: "$auth", data: { token }, own: true,
    done: (error) => {
      const code = error?.code;
      if (code === "closed") return;
      machine.renewAt = Infinity;
      machine.why = "connect";
      if (!error) machine.renewed = true;
      // A token of another user needs a new connection.
      else if (code === "forbidden") ended(machine, "another user", 1000, true);
      else {
        tell(machine, machine, "$error", error);
        machine.why = "refused";
        machine.renewAt = machine.now + RENEW_MS;
      }
    },
  });

const receive = (machine: Machine, frame: Frame) => {
  const { event, id, room, data, error } = frame;
  if (event === "$welcome") welcome(machine, data);
  else if (id !== undefined) {
    if (answer(machine, frame)) published(machine, room!, data);
  } else if (event === "$bye") machine.bye = data;
  else if (event === "$expiring") expiring(machine);
  else if (error && event !== "$leave") {
    if (machine.conn) tell(machine, machine, "$error", answered(error));
    else machine.refusal = { error: answered(error) };
  } else if (event[0] === "$") notice(machine, frame);
  else push(machine, frame);
};

const welcome = (
  machine: Machine,
  { conn, user, heartbeat_ms, limits }: { conn: string; user: string; heartbeat_ms: number; limits: Limits },
) => {
  // A limit that is off is absent. Values computed from it are NaN, so no comparison with them
  // holds.
  const { message_bytes: messageBytes, inbound_messages_per_s: rate, inbound_burst_messages: burst } = limits as Required<Limits>;
  const eachMs = 1_000 / (rate * RATE_PART);
  Object.assign(machine, {
    conn, eachMs, messageBytes,
    conns: [...machine.conns, conn].slice(-CONNS_MAX),
    renewed: true,
    why: "connect",
    aheadMs: (1_000 * burst) / rate - eachMs,
    due: machine.now,
    openedAt: machine.now,
    heartbeat: heartbeat_ms || HEARTBEAT_MS,
    deadline: Infinity,
  } satisfies Partial<Machine>);
  to(machine, "open", { conn, user });
};

/** Forgets the socket and the call for a token, and resets the state of the connection. */
const lost = (machine: Machine, code?: number) => {
  emit(machine, "drop", code);
  if (machine.now - machine.openedAt >= LASTED_MS) machine.failures = 0;
  reset(machine, "joining");
  failThose(machine, "closed", "the connection was lost", ({ own, key, read, conns }) => own || (!key && !read && conns.has(machine.conn)));
  Object.assign(machine, UNCONNECTED);
};

/** Reports the end of the socket or of an attempt, and decides what follows. */
export const ended = (machine: Machine, reason: string, code = 1006, again = machine.bye?.reconnect ?? !FINAL.test(`${code}`)): void => {
  const close = { code, reason };
  lost(machine);
  if (code === UNAUTHORIZED) {
    machine.why = "refused";
    again &&= machine.renews;
  }
  if (!again) return shut(machine, { close, ...machine.refusal });
  machine.notBefore = machine.now + (machine.bye?.after_ms ?? 0);
  const bound = Math.min(DELAY_MS_MAX, DELAY_MS_FIRST * 2 ** machine.failures++);
  wait(machine, machine.notBefore + machine.random() * bound, close);
};

const wait = (machine: Machine, retryAt: number, close: Close) => {
  machine.deadline = retryAt;
  to(machine, "waiting", { retryAt, close });
};

/** Ends the connection for good, until the next {@link connect}. */
export const shut = (machine: Machine, why: { close?: Close; error?: RoomcastError }, code?: number): void => {
  lost(machine, code);
  reset(machine, "idle");
  to(machine, "closed", why);
  failThose(machine, "closed", "the client is closed", () => true);
};
