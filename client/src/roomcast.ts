import { close, connect } from "./connection.js";
import { Driver } from "./driver.js";
import type { RoomcastError } from "./errors.js";
import { type Off, on, type On } from "./listeners.js";
import type { Calls, Events, Message } from "./message.js";
import type { Options } from "./options.js";
import { type AskOptions, checked, Room, type RoomOptions } from "./room.js";
import { add } from "./rooms.js";
import type { State } from "./state.js";

/**
 * A client of a Roomcast server: one connection, which reconnects by itself, and its rooms.
 *
 * ```js
 * import { Roomcast } from "roomcast";
 *
 * const client = new Roomcast("https://example.com");
 * const room = client.room("lobby");
 * room.on("said", ({ text }) => console.log(text));
 * await room.publish("said", { text: "hello" });
 * ```
 *
 * `R` has the events of the rooms, `C` those that the server's application answers.
 */
export class Roomcast<R extends Events = Events, C extends Calls = Record<string, { ask: any; answer: any }>> {
  readonly #driver: Driver;

  /**
   * Connects to a server: an address with `http(s):` or `ws(s):`, in a page also a relative one.
   * Without a path it means the namespace `default`; other namespaces have the path
   * `/ws/{namespace}`.
   *
   * Throws a `TypeError` for an invalid address.
   */
  constructor(url: string | URL, options: Options = {}) {
    this.#driver = new Driver(url, options);
    if (options.connect !== false) this.connect();
  }

  /** The state of the connection: a new object after each change. */
  get state(): State {
    return this.#driver.machine.state;
  }

  /** The rooms that were taken and not left, by name. */
  get rooms(): ReadonlyMap<string, Room<R>> {
    return this.#driver.rooms;
  }

  /** Connects, when the state is `idle` or `closed`. */
  connect(): this {
    this.#driver.run(connect);
    return this;
  }

  /** Leaves all rooms and ends the connection. Requests that were not answered fail with `closed`. */
  close(): void {
    this.#driver.run(close);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * Takes a room, and joins it. The same name gives the same object; each call needs its own {@link Room.leave}.
   *
   * The `meta` and the `from` of the first call count.
   */
  room<E extends Events = R>(name: string, options: RoomOptions = {}): Room<E> {
    const { rooms, machine } = this.#driver;
    const room = rooms.get(name) ?? new Room<E>(this.#driver, add(machine, name));
    rooms.set(name, room);
    if (options.join !== false) room._enter(options);
    return room;
  }

  /**
   * Asks the server's application. It waits for a connection; when that is lost before the answer, the promise
   * is rejected with `closed`, and `sent` says that the application may have acted.
   */
  async call<K extends keyof C & string>(event: K, data: C[K]["ask"], options: AskOptions & { room?: string } = {}): Promise<C[K]["answer"]> {
    return this.#driver.ask({ event: checked(event), data }, options);
  }

  /** Calls `f` with each message of an event that belongs to no room of this client. */
  on<K extends keyof R & string>(event: K, f: (data: R[K], message: Extract<Message<R>, { event: K }>) => void, options?: On): Off {
    return on(this.#driver.machine.listeners, checked(event), f, options);
  }

  /** Calls `f` after each change of {@link Roomcast.state}. */
  onState(f: (state: State) => void, options?: On): Off {
    return on(this.#driver.machine.listeners, "$state", f, options);
  }

  /** Calls `f` when messages to several rooms, to users, to connections or to all are lost: fetch your state again. */
  onLost(f: () => void, options?: On): Off {
    return on(this.#driver.machine.listeners, "$lost", f, options);
  }

  /** Calls `f` with each fault that belongs to no request: a token that could not be fetched, a refused `send`. */
  onError(f: (error: RoomcastError) => void, options?: On): Off {
    return on(this.#driver.machine.listeners, "$error", f, options);
  }
}
