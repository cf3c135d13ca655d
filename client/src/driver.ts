import { wallClock } from "./clock.js";
import { awake, ended, failed, flush, freeze, isActive, newMachine, shut, text, tick, timeout, token } from "./connection.js";
import { RoomcastError } from "./errors.js";
import { call, type Off } from "./listeners.js";
import type { Ask, Machine } from "./machine.js";
import { addressOf, type Options, type Socket, type SocketClass } from "./options.js";
import type { Steps } from "./output.js";
import { browserPage } from "./page.js";
import { ask, fail } from "./requests.js";
import type { Room } from "./room.js";

/** A machine with a socket, a clock, a page and a source of tokens. */
export class Driver implements Steps {
  readonly machine: Machine;
  /** The rooms of the application, by name. */
  readonly rooms: Map<string, Room<any>> = new Map();
  readonly #address: string;
  readonly #options: Options;
  readonly #clock;
  #socket: Socket | undefined;
  #call: AbortController | undefined;
  #timer: unknown;
  #page: Off | undefined;
  #isDraining = false;
  readonly #prefix: string;

  constructor(url: string | URL, options: Options) {
    const { token, timeout = 15_000, buffer, clock = wallClock, random = Math.random } = options;
    this.#address = addressOf(url);
    this.#options = options;
    this.#clock = clock;
    this.#prefix = random().toString(36).slice(2);
    this.machine = newMachine({
      timeout, messages: 100, bytes: 262_144, ...buffer, renews: typeof token === "function", random,
    });
  }

  /** Gives the machine an input, and carries out the resulting steps. */
  run<A extends unknown[], T>(input: (machine: Machine, ...args: A) => T, ...args: A): T {
    const { machine } = this;
    machine.now = this.#clock.now();
    const result = input(machine, ...args);
    flush(machine);
    // A listener may give an input: its steps are carried out behind the current ones.
    if (!this.#isDraining) {
      this.#isDraining = true;
      for (const [step, ...args] of machine.out) (this[step] as (...args: unknown[]) => void)(...args);
      machine.out.length = 0;
      this.#isDraining = false;
      this.#follow();
      this.#arm();
    }
    return result;
  }

  /** Returns a new unique key for a message. */
  key(): string {
    return `${this.#prefix}.${this.machine.serial}`;
  }

  /** Asks the server, with a promise of the answer. */
  ask(what: Omit<Ask, "done">, options: Partial<Ask> & { signal?: AbortSignal | undefined } = {}): Promise<any> {
    const { signal } = options;
    return new Promise((resolve, reject) => {
      const reason = "the signal was aborted";
      if (signal?.aborted) throw new RoomcastError("aborted", reason);
      const abort = () => this.run(fail, request, "aborted", reason);
      const done = (error?: RoomcastError, data?: unknown) => {
        signal?.removeEventListener("abort", abort);
        if (error) reject(error);
        else resolve(data);
      };
      const request = this.run(ask, { ...options, ...what, done });
      signal?.addEventListener("abort", abort);
    });
  }

  async token(): Promise<void> {
    this.#call?.abort();
    const { signal } = (this.#call = new AbortController());
    const { token: source } = this.#options;
    let input;
    try {
      const value = typeof source === "function" ? await source(this.machine.why, signal) : source;
      input = (machine: Machine) => token(machine, value);
    } catch (cause) {
      input = (machine: Machine) => failed(machine, new RoomcastError("token_failed", `no token: ${cause}`, { cause }));
    }
    if (!signal.aborted) this.run(input);
  }

  dial(token?: string | null): void {
    const WebSocket: SocketClass | undefined = this.#options.WebSocket ?? globalThis.WebSocket;
    try {
      const socket = (this.#socket = new WebSocket!(this.#address, ["roomcast.v1", ...(token == null ? [] : [`bearer.${token}`])]));
      socket.onmessage = ({ data }) => this.run(text, data);
      // A close follows an error.
      socket.onerror = () => {};
      socket.onclose = ({ code, reason }) => this.run(ended, `${reason}`, code);
    } catch (cause) {
      if (WebSocket) this.run(failed, new RoomcastError("no_connection", `${cause}`, { cause }));
      else this.run(shut, { error: new RoomcastError("no_websocket", "no global WebSocket: give one in the options") });
    }
  }

  write(text: string): void {
    const socket = this.#socket;
    // Browsers warn in the console of a write to a closing connection. The next one gets the
    // request.
    if (!(socket?.readyState! > 1)) socket?.send(text);
  }

  drop(code?: number): void {
    this.#call?.abort();
    const socket = this.#socket;
    this.#socket = undefined;
    if (!socket) return;
    socket.onmessage = socket.onclose = null;
    if (!code && socket.terminate) socket.terminate();
    else socket.close(code);
  }

  tell = call;

  /** Listens to the page while the client is active. */
  #follow() {
    if (isActive(this.machine)) {
      const { page = browserPage() } = this.#options;
      this.#page ??= page?.listen(() => this.run(awake), () => this.run(freeze));
    } else {
      this.#page?.();
      this.#page = undefined;
    }
  }

  #arm() {
    const { machine } = this;
    const at = timeout(machine);
    if (this.#timer) this.#clock.clear(this.#timer);
    if (at < Infinity) this.#timer = this.#clock.set(() => this.run(tick), at - machine.now);
  }
}
