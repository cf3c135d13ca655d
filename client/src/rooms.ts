import { answered, isTemporary, RoomcastError } from "./errors.js";
import type { Counts, Frame, Member, Message, Position, RoomState } from "./message.js";
import type { Output, Steps } from "./output.js";
import { earlier, json, type Requests } from "./requests.js";

/** Milliseconds until a temporary refusal is tried again, half of it at least. */
const RETRY_MS = 2_000;

/** A room that the application wants to be in. */
export interface Place {
  readonly name: string;
  meta?: unknown;
  presence: boolean;
  state: RoomState;
  error?: RoomcastError | undefined;
  /** The highest offset that was seen, and its epoch. */
  position?: Position | undefined;
  members: readonly Member[] | null;
  counts?: Counts;
  /** True between join and leave of the application. */
  wanted: boolean;
  /** The join or the page of a history that is awaited; 0 without one. */
  asked: number;
  /** The time of the next join or page, after a temporary refusal. */
  retryAt: number;
  /** The page of a listing of members that is awaited; 0 without one. */
  listed: number;
  /** The time of the next listing of members, after a temporary refusal. */
  listAt: number;
  /** Messages that a join still replays, and the position after the last. */
  missing: number;
  top: number;
  /** Messages that were replayed. */
  replayed: number;
  /** Members by user or connection; those of the pages so far. */
  here: Map<string, Member>;
  listing?: Map<string, Member> | undefined;
}

/** The parts of a place that begin anew with a connection. */
const FRESH = { error: undefined, asked: 0, retryAt: 0, listed: 0, listAt: Infinity, missing: 0, listing: undefined };

/** The connection, as rooms see it. */
export interface RoomLink {
  readonly now: number;
  readonly conn: string;
  /** All connections of this client, the oldest first. */
  readonly conns: string[];
  readonly options: { readonly random: () => number; readonly timeoutMs: number };
  readonly requests: Requests;
  emit(...output: Output): void;
}

const isMember = ({ state }: Place) => state === "joined" || state === "filling";
const isComing = ({ state }: Place) => state === "joining" || state === "filling";
const keyOf = ({ user, conn }: Member) => (user ? `u${user}` : `c${conn}`);

/**
 * The rooms of a client: joined one after the other, and again on each connection.
 *
 * The replays of all rooms together may be more than the server queues for a connection, so there is one join
 * or one page of a history in flight.
 */
export class Rooms {
  readonly all = new Map<string, Place>();
  readonly #link: RoomLink;
  #asks = 0;

  constructor(link: RoomLink) {
    this.#link = link;
  }

  /** Adds a room, without joining it. */
  add(name: string): Place {
    const place: Place = {
      name, presence: false, state: "idle", members: null, wanted: false, top: 0, replayed: 0, here: new Map(), ...FRESH,
    };
    this.all.set(name, place);
    return place;
  }

  /** Joins a room, or tries again after a refusal. */
  join(place: Place): void {
    place.wanted = true;
    this.#to(Object.assign(place, FRESH), "joining");
  }

  /** Leaves a room, and calls `done` when the server knows. */
  leave(place: Place, done: () => void): void {
    this.all.delete(place.name);
    const known = (place.asked || isMember(place)) && this.#link.conn;
    this.#to(place, "left");
    if (known) this.#request(place, "$leave", undefined, done);
    else done();
  }

  /** True unless a message to the room has to wait for a join. */
  isSettled(name?: string): boolean {
    return this.all.get(name!)?.state !== "joining";
  }

  /** Has all rooms joined again by the next connection; `state` is `idle` when there will be none. */
  lost(state: "joining" | "idle"): void {
    for (const place of this.all.values()) if (place.wanted) this.#to(Object.assign(place, FRESH), state);
  }

  /** Sends the next join, or the next page of a history, unless an answer is awaited. */
  next(): void {
    const { now, conn } = this.#link;
    if (!conn) return;
    let next;
    let awaited = 0;
    for (const place of this.all.values()) {
      if (place.listAt <= now) this.list(place);
      if (!isComing(place)) continue;
      awaited ||= place.asked;
      if (place.retryAt <= now) next ??= place;
    }
    if (!next || awaited) return;
    if (next.state === "joining") this.#join(next);
    else this.#fill(next);
  }

  /** The time of the next {@link next} that waits for time alone. */
  timeout(): number {
    let next = Infinity;
    for (const place of this.all.values()) {
      next = Math.min(next, place.listAt, (isComing(place) && !place.asked && place.retryAt) || Infinity);
    }
    return next;
  }

  #join(place: Place) {
    const { meta, position } = place;
    const since = position && { ...position, conn: this.#earlier() };
    this.#ask(place, "$join", { since, meta }, (error, data) => {
      if (error) this.#refused(place, error);
      else this.#joined(place, data);
    });
  }

  /** Earlier connections of this client. */
  #earlier() {
    return earlier(this.#link.conns, this.#link.conn);
  }

  #joined(place: Place, { epoch, offset, recovered, missed = 0 }: { epoch: string; offset: number; recovered?: boolean; missed?: number }) {
    const { position } = place;
    place.missing = missed;
    place.top = offset;
    place.replayed = 0;
    if (recovered === false && position!.epoch === epoch && position!.offset < offset) this.#fill(place);
    else {
      // The position stays until what was missed has arrived.
      if (!missed) place.position = { epoch, offset };
      this.#to(place, "joined");
      if (recovered === false) this.#tell(place, "$lost");
      else if (recovered && !missed) this.#recovered(place);
    }
    if (place.presence) this.list(place);
  }

  #refused(place: Place, error: RoomcastError) {
    place.error = error;
    this.#to(place, "refused");
  }

  /** Reads the rest of what was missed from the history. */
  #fill(place: Place) {
    this.#to(place, "filling");
    const data = { after: place.position!.offset, conn: this.#earlier() };
    this.#ask(place, "$history", data, (_, page) => this.#filled(place, page));
  }

  #filled(place: Place, page?: { epoch: string; offset: number; messages: Frame[]; first: number }) {
    const { epoch, offset } = place.position!;
    const isWhole = page && page.epoch === epoch && offset + 1 >= page.first;
    if (isWhole) {
      for (const frame of page.messages) this.#arrived(place, frame);
      // A page that ends at the room's position is the last: what is published from then on arrives by itself.
      if (page.messages.length && place.position!.offset < page.offset) return this.#fill(place);
    }
    // Without a page there is no history; or it does not reach back that far.
    place.position = { epoch: page?.epoch ?? epoch, offset: page?.offset ?? place.top };
    this.#to(place, "joined");
    if (isWhole) this.#recovered(place);
    else this.#tell(place, "$lost");
  }

  /** Takes a message: gives it to the application, unless it was seen. */
  push(frame: Frame): void {
    const { offset } = frame;
    const place = this.all.get(frame.room!);
    if (!place || place.state === "idle") return this.#deliver(frame);
    // The history brings it, in its place; or it came before the answer to the join.
    if (place.state !== "joined" && (place.state !== "filling" || offset !== undefined)) return;
    if (offset === undefined) return this.#deliver(frame);
    const isLast = place.missing > 0 && !--place.missing;
    if (offset > place.position!.offset) this.#arrived(place, frame);
    if (isLast) {
      this.#seen(place, place.top);
      this.#recovered(place);
    }
  }

  /** Takes the answer to a message of this client, with its offset. */
  published(name: string, data: any): void {
    const place = this.all.get(name);
    if (place?.state === "joined" && !place.missing && data?.reached >= 0 && data.offset >= 0) this.#seen(place, data.offset);
  }

  #seen(place: Place, offset: number) {
    const { epoch, offset: before } = place.position!;
    place.position = { epoch, offset: Math.max(before, offset) };
  }

  #arrived(place: Place, frame: Frame) {
    this.#seen(place, frame.offset!);
    place.replayed += 1;
    this.#deliver(frame);
  }

  /** Takes a notice. */
  notice({ event, room, data, error }: Frame): void {
    const place = this.all.get(room!);
    if (!place || !isMember(place)) return;
    if (event === "$leave" && error) this.#refused(place, answered(error));
    else if (event === "$gap") {
      if (place.presence) this.list(place);
      if (place.state === "filling") return;
      const { epoch, offset } = place.position!;
      place.missing = place.replayed = 0;
      place.top = offset;
      place.position = { epoch, offset: Math.min(offset, data.after) };
      this.#fill(place);
    } else if (event === "$joined" || event === "$left") {
      for (const here of [place.here, place.listing]) {
        if (event === "$joined") here?.set(keyOf(data), data);
        else here?.delete(keyOf(data));
      }
      if (place.members) this.#listed(place, place.here);
    } else if (event === "$members") {
      this.#count(place, data);
      if (data.listed) this.list(place);
      else this.#listed(place);
    }
  }

  /** Asks for the members, page by page. */
  list(place: Place, after?: unknown): void {
    if (!isMember(place)) return;
    place.listAt = Infinity;
    const listing = (place.listing = after === undefined ? new Map() : place.listing!);
    this.#ask(place, "$members", { after }, (error, page) => {
      if (error) {
        place.listing = undefined;
        this.#link.emit("error", error);
        return this.#listed(place);
      }
      this.#count(place, page);
      for (const { user, conn, meta } of page.members) listing.set(keyOf({ user, conn }), { user, conn, meta });
      if (page.next !== undefined) return this.list(place, page.next);
      place.listing = undefined;
      this.#listed(place, page.listed === false ? undefined : listing);
    });
  }

  #count(place: Place, { users, conns }: Counts) {
    place.counts = { users, conns };
  }

  /** Has other members; none where the room does not list them. */
  #listed(place: Place, here?: Map<string, Member>) {
    place.here = here ?? new Map();
    place.members = here ? [...here.values()] : null;
    this.#tell(place, "$members", place.members);
  }

  #deliver(frame: Frame) {
    this.#link.emit("message", this.message(frame));
  }

  /** A message as the application sees it. */
  message(frame: Frame): Message {
    return { ...(frame as Message), own: this.#link.conns.includes(frame.from?.conn!) };
  }

  #recovered(place: Place) {
    this.#tell(place, "$recovered", { missed: place.replayed });
  }

  #to(place: Place, state: RoomState) {
    if (place.state === state) return;
    place.state = state;
    this.#tell(place, "$state", state);
  }

  #tell({ name }: Place, event: Parameters<Steps["room"]>[1], value?: unknown) {
    this.#link.emit("room", name, event, value);
  }

  #request({ name: room }: Place, event: string, data: unknown, done: (error?: RoomcastError, data?: any) => void) {
    const { requests, options } = this.#link;
    requests.ask({ event, room, data: json(data), own: true, timeout: options.timeoutMs, done });
  }

  /** Makes a request for a room; its answer counts while no other was made in its place. */
  #ask(place: Place, event: string, data: unknown, done: (error?: RoomcastError, data?: any) => void) {
    const number = ++this.#asks;
    const [awaited, again] = event === "$members" ? (["listed", "listAt"] as const) : (["asked", "retryAt"] as const);
    place[awaited] = number;
    this.#request(place, event, data, (error, data) => {
      if (place.state === "left") {
        // An application may let a client in after it has left.
        if (event === "$join" && !error && !this.all.has(place.name)) this.#request(place, "$leave", undefined, () => {});
      } else if (place[awaited] === number) {
        place[awaited] = 0;
        if (error && isTemporary(error)) {
          const { now, options } = this.#link;
          const { after_ms = 0 } = (error.details ?? {}) as { after_ms?: number };
          place[again] = now + after_ms + (RETRY_MS * (1 + options.random())) / 2;
        } else done(error, data);
      }
    });
  }
}
