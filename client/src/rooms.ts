import { answered, isTemporary, RoomcastError } from "./errors.js";
import type { Counts, Frame, Member, Message, Position, RoomState } from "./message.js";
import type { Output } from "./output.js";
import { type Ask, earlier } from "./requests.js";

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

/** The connection, as rooms see it. */
export interface RoomLink {
  readonly now: number;
  readonly conn: string;
  /** All connections of this client, the oldest first. */
  readonly conns: string[];
  readonly out: Output[];
  readonly random: () => number;
  readonly timeoutMs: number;
  ask(ask: Ask): number;
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
      name, presence: false, state: "idle", members: null, wanted: false, asked: 0, retryAt: 0,
      listAt: Infinity, missing: 0, top: 0, replayed: 0, here: new Map(),
    };
    this.all.set(name, place);
    return place;
  }

  /** Joins a room, or tries again after a refusal. */
  join(place: Place): void {
    place.error = undefined;
    place.wanted = true;
    place.asked = place.retryAt = 0;
    this.#to(place, "joining");
  }

  /** Leaves a room, and calls `done` when the server knows. */
  leave(place: Place, done: () => void): void {
    this.all.delete(place.name);
    const known = (place.asked || isMember(place)) && this.#link.conn;
    this.#to(place, "left");
    if (known) this.#ask(place, "$leave", undefined, done);
    else done();
  }

  /** True unless a message to the room has to wait for a join. */
  isSettled(name?: string): boolean {
    return this.all.get(name!)?.state !== "joining";
  }

  /** Has all rooms joined again by the next connection; `state` is `idle` when there will be none. */
  lost(state: "joining" | "idle"): void {
    for (const place of this.all.values()) {
      if (!place.wanted) continue;
      place.asked = place.retryAt = place.missing = 0;
      place.listing = undefined;
      place.listAt = Infinity;
      place.error = undefined;
      this.#to(place, state);
    }
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
    if (awaited) return;
    if (next?.state === "joining") this.#join(next);
    else if (next) this.#fill(next);
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
    const { conns, conn } = this.#link;
    const { meta, position } = place;
    const since = position && { ...position, conn: earlier(conns, conn) };
    this.#ask(place, "$join", { since, meta }, (error, data) => {
      if (!error) this.#joined(place, data);
      else if (!this.#later(place, error)) this.#refused(place, error);
    });
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

  /** True when it is tried again, a little later. */
  #later(place: Place, error: RoomcastError): boolean {
    if (isTemporary(error)) place.retryAt = this.#retryAt(error);
    return isTemporary(error);
  }

  #retryAt({ details }: RoomcastError): number {
    const { now, random } = this.#link;
    const wait = (details as { after_ms?: number } | undefined)?.after_ms ?? 0;
    return now + wait + (RETRY_MS * (1 + random())) / 2;
  }

  /** Reads the rest of what was missed from the history. */
  #fill(place: Place) {
    const { conns, conn } = this.#link;
    this.#to(place, "filling");
    const data = { after: place.position!.offset, conn: earlier(conns, conn) };
    this.#ask(place, "$history", data, (error, page) => {
      if (!error) this.#filled(place, page);
      else if (!this.#later(place, error)) this.#filled(place);
    });
  }

  #filled(place: Place, page?: { epoch: string; offset: number; messages: Frame[]; first: number }) {
    const { epoch, offset } = place.position!;
    if (!page || page.epoch !== epoch || offset + 1 < page.first) {
      // There is no history, or it does not reach back that far.
      place.position = { epoch: page?.epoch ?? epoch, offset: page?.offset ?? place.top };
      this.#to(place, "joined");
      return this.#tell(place, "$lost");
    }
    for (const frame of page.messages) {
      place.position = { epoch, offset: frame.offset! };
      place.replayed += 1;
      this.#deliver(frame);
    }
    // A page that ends at the room's position is the last: what is published from then on arrives by itself.
    if (page.messages.length && place.position!.offset < page.offset) return this.#fill(place);
    place.position = { epoch, offset: page.offset };
    this.#to(place, "joined");
    this.#recovered(place);
  }

  /** Takes a message: gives it to the application, unless it was seen. */
  push(frame: Frame): void {
    const { offset } = frame;
    const place = this.all.get(frame.room!);
    if (place && place.state !== "idle") {
      // The history brings it, in its place; or it came before the answer to the join.
      if (place.state !== "joined" && (place.state !== "filling" || offset !== undefined)) return;
      if (offset !== undefined) {
        const isReplay = place.missing > 0;
        if (isReplay) place.missing -= 1;
        if (offset > place.position!.offset) {
          this.#seen(place, offset);
          place.replayed += 1;
          this.#deliver(frame);
        }
        if (isReplay && !place.missing) {
          this.#seen(place, place.top);
          this.#recovered(place);
        }
        return;
      }
    }
    this.#deliver(frame);
  }

  /** Takes the offset of a message of this client, from the answer. */
  published(name: string, offset: unknown): void {
    const place = this.all.get(name);
    if (place?.state === "joined" && !place.missing && typeof offset === "number") this.#seen(place, offset);
  }

  #seen(place: Place, offset: number) {
    const { epoch, offset: before } = place.position!;
    place.position = { epoch, offset: Math.max(before, offset) };
  }

  /** Takes a notice. */
  notice({ event, room, data, error }: Frame): void {
    const place = this.all.get(room!);
    if (!place || !isMember(place)) return;
    if (event === "$leave" && error) {
      this.#refused(place, answered(error));
    } else if (event === "$gap") {
      if (place.presence) this.list(place);
      if (place.state === "filling") return;
      place.missing = place.replayed = 0;
      place.top = place.position!.offset;
      place.position = { ...place.position!, offset: Math.min(place.top, data.after) };
      this.#fill(place);
    } else if (event === "$joined" || event === "$left") {
      for (const here of [place.here, place.listing]) {
        if (event === "$joined") here?.set(keyOf(data), data);
        else here?.delete(keyOf(data));
      }
      if (place.members) this.#listed(place);
    } else if (event === "$members") {
      place.counts = { users: data.users, conns: data.conns };
      if (data.listed) this.list(place);
      else this.#listed(place, null);
    }
  }

  /** Asks for the members, page by page. */
  list(place: Place, after?: unknown): void {
    if (!isMember(place)) return;
    place.listAt = Infinity;
    const listing = (place.listing = after === undefined ? new Map() : place.listing!);
    this.#ask(place, "$members", { after }, (error, page) => {
      // Another listing has begun, or the connection is lost.
      if (place.listing !== listing) return;
      if (error) {
        place.listing = undefined;
        if (isTemporary(error)) {
          place.listAt = this.#retryAt(error);
          return;
        }
        this.#link.out.push({ do: "error", error });
        return this.#listed(place, null);
      }
      place.counts = { users: page.users, conns: page.conns };
      for (const { user, conn, meta } of page.members) listing.set(keyOf({ user, conn }), { user, conn, meta });
      if (page.next !== undefined) return this.list(place, page.next);
      place.here = listing;
      place.listing = undefined;
      this.#listed(place, page.listed === false ? null : undefined);
    });
  }

  #listed(place: Place, none?: null) {
    if (none === null) place.here = new Map();
    place.members = none === null ? none : [...place.here.values()];
    this.#tell(place, "$members");
  }

  #deliver(frame: Frame) {
    this.#link.out.push({ do: "message", message: this.message(frame) });
  }

  /** A message as the application sees it. */
  message({ event, data, room, path, from, offset }: Frame): Message {
    const own = !!from && this.#link.conns.includes(from.conn);
    return { event, data, room: room!, path: path!, from: from!, offset: offset!, own };
  }

  #recovered(place: Place) {
    this.#link.out.push({ do: "room", room: place.name, what: "$recovered", missed: place.replayed });
  }

  #to(place: Place, state: RoomState) {
    if (place.state === state) return;
    place.state = state;
    this.#tell(place, "$state");
  }

  #tell({ name }: Place, what: "$state" | "$members" | "$lost") {
    this.#link.out.push({ do: "room", room: name, what });
  }

  /** Makes a request for a room; its answer counts while no other was made in its place. */
  #ask(place: Place, event: string, data: unknown, done: Ask["done"]) {
    const { conn, timeoutMs } = this.#link;
    const number = ++this.#asks;
    const isStep = event === "$join" || event === "$history";
    if (isStep) place.asked = number;
    this.#link.ask({
      event, room: place.name, data: JSON.stringify(data), own: true, timeout: timeoutMs,
      done: (error, data) => {
        if (event === "$leave") done();
        else if (conn !== this.#link.conn) return;
        else if (place.state === "left") {
          // An application may let a client in after it has left.
          if (event === "$join" && !error && !this.all.has(place.name)) this.#ask(place, "$leave", undefined, () => {});
        } else if (!isStep || place.asked === number) {
          if (isStep) place.asked = 0;
          done(error, data);
        }
      },
    });
  }
}
