import type { Driver } from "./driver.js";
import { RoomcastError } from "./errors.js";
import { type Off, on, type On, whenAborted } from "./listeners.js";
import type { Counts, Events, Frame, Member, Message, Position, RoomState } from "./message.js";
import { flush, send } from "./connection.js";
import type { Place } from "./machine.js";
import { json } from "./requests.js";
import { join, leave, messageOf } from "./rooms.js";

/** Options of a request. */
export interface AskOptions {
  /** Milliseconds until it fails with `timeout`. Default: that of the client. */
  timeout?: number | undefined;
  /** Fails with `aborted` when the signal is aborted. */
  signal?: AbortSignal | undefined;
  /** False: fails with `closed` when it cannot be sent at once. Default: true. */
  buffer?: boolean | undefined;
}

/** Options of {@link Roomcast.room}. */
export interface RoomOptions {
  /** Follow who is in the room, see {@link Room.members}. */
  presence?: boolean | undefined;
  /** Any JSON of at most 2 KiB that the other members see of this user. */
  meta?: unknown;
  /** Leaves when the signal is aborted. */
  signal?: AbortSignal | undefined;
  /**
   * An earlier {@link Room.position}, such as one from before a reload: messages missed since then
   * follow.
   */
  from?: Position | undefined;
  /** False: gives the room without joining it, for a framework that renders first. */
  join?: boolean | undefined;
}

/** The answer to a publish. */
export interface Published {
  /** The number of connections that the message was queued for. */
  readonly reached: number;
  /** The place in the room's history, where it keeps one. */
  readonly offset?: number;
}

/** Refuses the names that belong to the protocol. */
export const checked = (event: string): string => {
  if (event[0] === "$") throw new TypeError("an event must not begin with $");
  return event;
};

/**
 * A room: its messages in order, each once, also across reconnects.
 *
 * Made by {@link Roomcast.room}; there is one object for a name. Its members are, in the order of use:
 * `on…` to listen, `joined` to wait, `publish` and `send` to speak, `leave` to go.
 */
export class Room<E extends Events = Events> implements AsyncIterable<Message<E>> {
  /** The name. */
  readonly name: string;
  readonly #driver: Driver;
  readonly #place: Place;
  #joined: Promise<this> | undefined;
  #users = 0;

  /** @internal */
  constructor(driver: Driver, place: Place) {
    this.name = place.name;
    this.#driver = driver;
    this.#place = place;
    this.onState((state) => {
      // The next reader of `joined` waits for the next join.
      if (!/joined|refused/.test(state)) this.#joined = undefined;
      if (state === "left") driver.rooms.delete(this.name);
    });
  }

  /**
   * The state of the membership: `idle` (the client is not connected, and does not try), `joining`,
   * `joined`, `filling` (joined, and missed messages still arrive), `refused` (see
   * {@link Room.error}), or `left` for good.
   */
  get state(): RoomState {
    return this.#place.state;
  }

  /** The reason of the state `refused`. */
  get error(): RoomcastError | undefined {
    return this.#place.error;
  }

  /** The position behind the last message that arrived: keep it, and give it back as `from`. */
  get position(): Position | undefined {
    return this.#place.position;
  }

  /**
   * The members of the room: a new array after each change. `null` without the option `presence`, before the
   * first answer, and where the room does not list its members.
   */
  get members(): readonly Member[] | null {
    return this.#place.members;
  }

  /** Numbers of users and connections in the room, as the server last said; needs `presence`. */
  get counts(): Counts | undefined {
    return this.#place.counts;
  }

  /** Fulfilled when the room is joined, and rejected when the join is refused. */
  get joined(): Promise<this> {
    this.#joined ??= this.#whenJoined();
    this.#joined.catch(() => {});
    return this.#joined;
  }

  async #whenJoined(): Promise<this> {
    while (/joining|filling/.test(this.state) || (this.state === "idle" && !this.#users)) {
      await new Promise((resolve) => this.onState(resolve, { once: true }));
    }
    if (this.state === "joined") return this;
    throw this.error ?? new RoomcastError("closed", `the room is ${this.state}`);
  }

  /** Calls `f` with each message of an event. */
  on<K extends keyof E & string>(event: K, f: (data: E[K], message: Extract<Message<E>, { event: K }>) => void, options?: On): Off {
    return on(this.#place.listeners, checked(event), f, options);
  }

  /** Calls `f` with each message. */
  onMessage(f: (message: Message<E>) => void, options?: On): Off {
    return on(this.#place.listeners, "$message", f, options);
  }

  /** Calls `f` after each change of {@link Room.state}. */
  onState(f: (state: RoomState) => void, options?: On): Off {
    return on(this.#place.listeners, "$state", f, options);
  }

  /** Calls `f` after each change of {@link Room.members}. */
  onMembers(f: (members: readonly Member[] | null) => void, options?: On): Off {
    return on(this.#place.listeners, "$members", f, options);
  }

  /** Calls `f` when all missed messages have arrived, after a reconnect or a gap. */
  onRecovered(f: (recovered: { missed: number }) => void, options?: On): Off {
    return on(this.#place.listeners, "$recovered", f, options);
  }

  /** Calls `f` when messages are lost: fetch your state again. */
  onLost(f: () => void, options?: On): Off {
    return on(this.#place.listeners, "$lost", f, options);
  }

  /**
   * Publishes a message to the other members; with `echo` to this one too.
   *
   * It is delivered once, however often the connection breaks meanwhile: a retry has the same `key`. It waits
   * for a connection and for the join; the messages to a room keep their order.
   *
   * Rejects with a {@link RoomcastError}; its `sent` tells whether the message may have been published.
   */
  async publish<K extends keyof E & string>(event: K, data: E[K], options: AskOptions & { echo?: boolean; key?: string } = {}): Promise<Published> {
    return this.#driver.ask({ event: checked(event), room: this.name, data, key: options.key ?? this.#driver.key() }, options);
  }

  /**
   * Publishes now or not at all, without an answer: for cursors. Returns false when it was not
   * sent.
   */
  send<K extends keyof E & string>(event: K, data: E[K]): boolean {
    const text = json({ event: checked(event), room: this.name, data });
    return this.#driver.run(send, text);
  }

  /**
   * Reads the room's history, page by page as the loop advances: with `after` the messages above
   * that offset, oldest first; else those below `before`, or all, newest first.
   */
  async *history({ after, before, limit = Infinity }: { after?: number; before?: number; limit?: number } = {}): AsyncGenerator<Message<E>, void, undefined> {
    const isForward = after !== undefined;
    while (limit > 0) {
      const { messages }: { messages: Frame[] } = await this.#driver.ask({
        event: "$history", room: this.name, read: true,
        // In JSON an infinite limit is `null`, which means no limit.
        data: { after, before, limit },
      });
      if (!messages.length) return;
      for (const frame of isForward ? messages : messages.reverse()) {
        if (isForward) after = frame.offset!;
        else before = frame.offset!;
        yield messageOf(this.#driver.machine, frame) as Message<E>;
        limit -= 1;
      }
    }
  }

  /**
   * Iterates over the messages from the first step on, until the room is left. Throws `slow_reader` when more
   * than `queue` (1,000) messages wait for the loop, and the error of a refused join.
   */
  async *messages({ signal, queue = 1_000 }: { signal?: AbortSignal; queue?: number } = {}): AsyncGenerator<Message<E>, void, undefined> {
    const waiting: Message<E>[] = [];
    const listening = new AbortController();
    let over: { error?: unknown } | undefined;
    let wake = () => {};
    const end = (error?: unknown) => {
      over ??= { error };
      listening.abort();
      wake();
    };
    const look = () => {
      if (/left|refused/.test(this.state)) end(this.error);
    };
    this.onState(look, listening);
    this.onMessage((message) => {
      if (waiting.length < queue) waiting.push(message);
      else end(new RoomcastError("slow_reader", `more than ${queue} messages wait`));
      wake();
    }, listening);
    const off = whenAborted(signal, end);
    look();
    try {
      while (waiting.length || !over) {
        if (waiting.length) yield waiting.shift()!;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
      if (over.error) throw over.error;
    } finally {
      off();
    }
  }

  [Symbol.asyncIterator](): AsyncGenerator<Message<E>, void, undefined> {
    return this.messages();
  }

  /** Tries a refused join again. */
  retry(): void {
    if (this.state === "refused") this.#driver.run(join, this.#place);
  }

  /**
   * Takes back one call of {@link Roomcast.room}. After the last, and unless the room is taken again at once,
   * the room is left; fulfilled when the server knows.
   */
  async leave(): Promise<void> {
    this.#users -= 1;
    await null;
    if (this.#users > 0 || this.state === "left") return;
    await new Promise<void>((resolve) => this.#driver.run(leave, this.#place, resolve));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.leave();
  }

  /** @internal */
  _enter({ presence, meta, signal, from }: RoomOptions): void {
    const place = this.#place;
    this.#users += 1;
    place.meta ??= meta;
    place.position ??= from;
    if (presence && !place.presence) place.lists = place.presence = true;
    this.#driver.run(place.wanted ? flush : join, place);
    if (!signal) return;
    const off = whenAborted(signal, () => void this.leave());
    this.onState((state) => state === "left" && off());
  }
}
