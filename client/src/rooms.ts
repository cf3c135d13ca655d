import { answered, isTemporary, type RoomcastError } from "./errors.js";
import { NAMED_CONNS_MAX, RETRY_MS } from "./limits.js";
import { type Machine, type Place, tell } from "./machine.js";
import type { Counts, Frame, Member, Message, RoomState } from "./message.js";
import { ask } from "./requests.js";

/** The parts of a place that are reset with each connection. */
const FRESH = { error: undefined, asked: 0, retryAt: 0, lists: false as boolean | undefined, missing: 0 };

const isMember = ({ state }: Place) => /joined|filling/.test(state);
const isComing = ({ state }: Place) => /joining|filling/.test(state);
const keyOf = ({ user, conn }: Member) => `${conn}/${user}`;

/** Adds a room, without joining it. */
export const add = (machine: Machine, name: string): Place => {
  const place: Place = { name, state: "idle", members: null, here: new Map(), listeners: new Map(), ...FRESH };
  machine.rooms.set(name, place);
  return place;
};

/** Joins a room, or tries again after a refusal. */
export const join = (machine: Machine, place: Place): void => {
  place.wanted = true;
  to(machine, Object.assign(place, FRESH), "joining");
};

/** Leaves a room, and calls `done` when the server knows. */
export const leave = (machine: Machine, place: Place, done = () => {}): void => {
  machine.rooms.delete(place.name);
  const known = (place.asked || isMember(place)) && machine.conn;
  to(machine, place, "left");
  if (known) ask(machine, { event: "$leave", room: place.name, own: true, done });
  else done();
};

/** Has all rooms joined again by the next connection; `state` is `idle` when there will be none. */
export const reset = (machine: Machine, state: "joining" | "idle"): void => {
  for (const place of machine.rooms.values()) if (place.wanted) to(machine, Object.assign(place, FRESH), state);
};

/**
 * Sends the next join, or the request for the next page of a history, unless an answer is pending.
 *
 * The replays of all rooms together may be more than the server queues for a connection, so there is one join
 * or one page of a history in flight. Members are listed when a room needs nothing else.
 */
export const next = (machine: Machine): void => {
  if (!machine.conn) return;
  let first;
  let awaited;
  for (const place of machine.rooms.values()) {
    if (isComing(place)) awaited ||= place.asked;
    if (place.asked || place.retryAt > machine.now) continue;
    if (isComing(place)) first ??= place;
    else if (place.lists && isMember(place)) list(machine, place);
  }
  if (!first || awaited) return;
  if (first.state === "filling") fill(machine, first);
  else {
    const { meta, position } = first;
    const since = position && { ...position, conn: earlier(machine) };
    askFor(machine, first, "$join", { since, meta }, joined);
  }
};

/** Connections of this client before the present one, the newest of them. */
const earlier = ({ conns }: Machine) => conns.slice(-1 - NAMED_CONNS_MAX, -1);

const joined = (
  machine: Machine, place: Place, error: RoomcastError | undefined,
  answer: { epoch: string; offset: number; recovered?: boolean; missed?: number },
) => {
  if (error) return refused(machine, place, error);
  const { epoch, offset, recovered, missed = 0 } = answer;
  place.lists = place.presence;
  place.missing = missed;
  place.top = offset;
  place.replayed = 0;
  if (recovered === false && place.position!.epoch === epoch && place.position!.offset < offset) fill(machine, place);
  else {
    // The position stays until the missed messages have arrived.
    if (!missed) place.position = { epoch, offset };
    to(machine, place, "joined");
    if (recovered === false) tell(machine, place, "$lost");
    else if (recovered && !missed) tellRecovered(machine, place);
  }
};

const refused = (machine: Machine, place: Place, error: RoomcastError) => {
  place.error = error;
  to(machine, place, "refused");
};

/** Reads the rest of the missed messages from the history. */
const fill = (machine: Machine, place: Place) => {
  to(machine, place, "filling");
  askFor(machine, place, "$history", { after: place.position!.offset, conn: earlier(machine) }, filled);
};

const filled = (
  machine: Machine, place: Place, _: unknown, page?: { epoch: string; offset: number; messages: Frame[]; first: number },
): void => {
  const { epoch, offset } = place.position!;
  const isWhole = page?.epoch === epoch && offset + 1 >= page.first;
  if (isWhole) {
    for (const frame of page.messages) arrived(machine, place, frame);
    // A page that ends at the room's position is the last: messages published after it arrive by
    // themselves.
    if (page.messages.length && place.position!.offset < page.offset) return fill(machine, place);
  }
  // Without a page there is no history; or it does not reach back that far.
  place.position = { epoch: page?.epoch ?? epoch, offset: page?.offset ?? place.top! };
  to(machine, place, "joined");
  if (isWhole) tellRecovered(machine, place);
  else tell(machine, place, "$lost");
};

/** Takes a message: gives it to the application, unless it was seen. */
export const push = (machine: Machine, frame: Frame): void => {
  const { offset } = frame;
  const place = machine.rooms.get(frame.room!);
  if (!place || place.state === "idle" || (offset === undefined && isMember(place))) return deliver(machine, frame);
  // The history brings the message in order; or it came before the answer to the join.
  if (place.state !== "joined") return;
  const isLast = place.missing && !--place.missing;
  if (offset! > place.position!.offset) arrived(machine, place, frame);
  if (isLast) {
    seen(place, place.top!);
    tellRecovered(machine, place);
  }
};

/** Takes the answer to a message of this client, with its offset. */
export const published = (machine: Machine, name: string, data: any): void => {
  const place = machine.rooms.get(name);
  if (place?.state === "joined" && !place.missing && data?.reached >= 0 && data.offset >= 0) seen(place, data.offset);
};

const seen = (place: Place, seen: number) => {
  place.position = { ...place.position!, offset: Math.max(place.position!.offset, seen) };
};

const arrived = (machine: Machine, place: Place, frame: Frame) => {
  seen(place, frame.offset!);
  place.replayed! += 1;
  deliver(machine, frame);
};

/** Takes a notice. */
export const notice = (machine: Machine, { event, room, data, error }: Frame): void => {
  // The lost messages belong to no room.
  if (event === "$gap" && !room) return tell(machine, machine, "$lost");
  const place = machine.rooms.get(room!);
  if (!place || !isMember(place)) return;
  if (error) refused(machine, place, answered(error));
  else if (event === "$gap") {
    place.lists = place.presence;
    if (place.state === "filling") return;
    place.missing = place.replayed = 0;
    place.top = place.position!.offset;
    place.position = { ...place.position!, offset: Math.min(place.top, data.after) };
    fill(machine, place);
  } else if (event === "$members") {
    place.counts = counts(data);
    if (data.listed) {
      // A listing in progress would mix old and new pages.
      if (place.state === "joined") place.asked = 0;
      place.lists = true;
    } else show(machine, place, false);
  } else {
    if (event === "$joined") place.here.set(keyOf(data), data);
    if (event === "$left") place.here.delete(keyOf(data));
    if (place.members && !place.lists) show(machine, place, true);
  }
};

/** Asks for the members, page by page. */
const list = (machine: Machine, place: Place, after?: string) => {
  if (after === undefined) place.here = new Map();
  askFor(machine, place, "$members", { after }, listed);
};

const listed = (machine: Machine, place: Place, error?: RoomcastError, page?: any): void => {
  if (error) tell(machine, machine, "$error", error);
  else {
    place.counts = counts(page);
    for (const { user, conn, meta } of page.members) {
      const member = { user, conn, meta };
      place.here.set(keyOf(member), member);
    }
    if (page.next !== undefined) return list(machine, place, page.next);
  }
  place.lists = false;
  show(machine, place, !error && page.listed !== false);
};

const counts = ({ users, conns }: Counts): Counts => ({ users, conns });

/** Gives the application a new list of members: `null` where the room does not list them. */
const show = (machine: Machine, place: Place, isListed: boolean) => {
  place.members = isListed ? [...place.here.values()] : null;
  tell(machine, place, "$members", place.members);
};

/** Gives a message to the application: to the listeners of its room, where it is one of this client. */
const deliver = (machine: Machine, frame: Frame) => {
  const place = machine.rooms.get(frame.room!) ?? machine;
  const message = messageOf(machine, frame);
  tell(machine, place, message.event, message.data, message);
  tell(machine, place, "$message", message);
};

/** A message as the application sees it. */
export const messageOf = ({ conns }: Machine, frame: Frame): Message => ({ ...(frame as Message), own: conns.includes(frame.from?.conn!) });

const tellRecovered = (machine: Machine, place: Place) => tell(machine, place, "$recovered", { missed: place.replayed });

const to = (machine: Machine, place: Place, state: RoomState) => {
  if (place.state === state) return;
  place.state = state;
  tell(machine, place, "$state", state);
};

/** Makes a request for a room; its answer is ignored once another request has replaced it. */
const askFor = (
  machine: Machine, place: Place, event: string, data: unknown,
  done: (machine: Machine, place: Place, error?: RoomcastError, data?: any) => void,
) => {
  // The number that the request gets.
  const number = (place.asked = machine.serial + 1);
  const end = (error?: RoomcastError, data?: any) => {
    if (place.state === "left") {
      // An application may let a client in after it has left.
      if (event === "$join" && !error && !machine.rooms.has(place.name)) leave(machine, place);
    } else if (place.asked === number) {
      place.asked = 0;
      if (error && isTemporary(error)) {
        const afterMs = (error.details as { after_ms?: number } | undefined)?.after_ms ?? 0;
        place.retryAt = machine.now + afterMs + (RETRY_MS * (1 + machine.random())) / 2;
      } else done(machine, place, error, data);
    }
  };
  ask(machine, { event, room: place.name, data, own: true, done: end });
};
