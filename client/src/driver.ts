import { wallClock } from "./clock.js";
import { RoomcastError } from "./errors.js";
import type { Off } from "./listeners.js";
import { Machine } from "./machine.js";
import { addressOf, type Options, type Socket, type SocketClass } from "./options.js";
import type { Output, Why } from "./output.js";
import { browserPage } from "./page.js";
import type { Ask } from "./requests.js";

/** Outputs for the application. */
export type Told = Exclude<Output, { do: "token" | "dial" | "write" | "drop" }>;

/** A machine with a socket, a clock, a page and a source of tokens. */
export class Driver {
  readonly machine: Machine;
  readonly timeout: number;
  readonly #address: string;
  readonly #options: Options;
  readonly #tell: (output: Told) => void;
  readonly #clock;
  #socket: Socket | undefined;
  #call: AbortController | undefined;
  #timer: unknown;
  #timerAt = Infinity;
  #page: Off | undefined;
  #isDraining = false;
  readonly #prefix: string;
  #keys = 0;

  constructor(url: string | URL, options: Options, tell: (output: Told) => void) {
    const { token, timeout = 15_000, buffer, clock = wallClock, random = Math.random } = options;
    this.#address = addressOf(url);
    this.#options = options;
    this.#clock = clock;
    this.#tell = tell;
    this.#prefix = [random(), random()].map((number) => number.toString(36).slice(2)).join("");
    this.timeout = timeout;
    this.machine = new Machine({
      timeoutMs: timeout,
      buffer: { messages: 100, bytes: 262_144, ...buffer },
      renews: typeof token === "function",
      random,
    });
  }

  /** Gives the machine an input, and carries out what follows. */
  run<T>(input: (machine: Machine, now: number) => T): T {
    const result = input(this.machine, this.#clock.now());
    this.#drain();
    return result;
  }

  /** A key for a message, never given before. */
  key(): string {
    return `${this.#prefix}.${++this.#keys}`;
  }

  /** Asks the server, with a promise of the answer. */
  ask(ask: Omit<Ask, "done" | "timeout">, { timeout = this.timeout, signal, buffer = true }: { timeout?: number | undefined; signal?: AbortSignal | undefined; buffer?: boolean | undefined } = {}): Promise<any> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) throw new RoomcastError("aborted", "the signal was aborted");
      let number = 0;
      const abort = () => this.run((machine, now) => machine.abort(now, number));
      const done = (error?: RoomcastError, data?: unknown) => {
        signal?.removeEventListener("abort", abort);
        if (error) reject(error);
        else resolve(data);
      };
      signal?.addEventListener("abort", abort);
      number = this.run((machine, now) => machine.request(now, { ...ask, timeout, buffer, done }));
    });
  }

  #drain() {
    // A listener may give an input: what follows is carried out behind what is under way.
    if (this.#isDraining) return;
    this.#isDraining = true;
    let output;
    while ((output = this.machine.out.shift())) this.#carryOut(output);
    this.#isDraining = false;
    this.#arm();
  }

  #carryOut(output: Output) {
    if (output.do === "token") this.#getToken(output.call, output.why);
    else if (output.do === "dial") this.#dial(output.socket, output.token);
    else if (output.do === "write") this.#socket?.send(output.text);
    else if (output.do === "drop") this.#drop(output.code);
    else {
      if (output.do === "state") this.#watch();
      this.#tell(output);
    }
  }

  async #getToken(call: number, why: Why) {
    this.#call?.abort();
    const { signal } = (this.#call = new AbortController());
    const { token = null } = this.#options;
    try {
      const value = typeof token === "function" ? await token(why, signal) : token;
      this.run((machine, now) => machine.token(now, call, value ?? null));
    } catch (cause) {
      const error = new RoomcastError("token_failed", `no token: ${cause}`, { cause });
      this.run((machine, now) => machine.failed(now, call, error));
    }
  }

  #dial(number: number, token: string | null) {
    const WebSocket: SocketClass | undefined = this.#options.WebSocket ?? globalThis.WebSocket;
    try {
      if (!WebSocket) throw new RoomcastError("no_websocket", "there is no global WebSocket: give one in the options");
      const socket = (this.#socket = new WebSocket(this.#address, token === null ? ["roomcast.v1"] : ["roomcast.v1", `bearer.${token}`]));
      socket.onmessage = ({ data }) => this.run((machine, now) => machine.text(now, number, data));
      // A close follows an error.
      socket.onerror = () => {};
      socket.onclose = ({ code, reason }) => {
        this.run((machine, now) => machine.closed(now, number, { code, reason: String(reason) }));
      };
    } catch (cause) {
      const error = cause instanceof RoomcastError ? cause : new RoomcastError("no_connection", String(cause), { cause });
      this.run((machine, now) => machine.failed(now, number, error));
    }
  }

  #drop(code?: number) {
    this.#call?.abort();
    const socket = this.#socket;
    this.#socket = undefined;
    if (!socket) return;
    socket.onmessage = socket.onclose = null;
    if (code) socket.close(code);
    else if (socket.terminate) socket.terminate();
    else socket.close();
  }

  /** Listens to the page while there is something to keep connected. */
  #watch() {
    const isOn = !/idle|closed/.test(this.machine.state.name);
    if (isOn && !this.#page) {
      const { page = browserPage() } = this.#options;
      this.#page = page?.listen(
        () => this.run((machine, now) => machine.awake(now)),
        () => this.run((machine, now) => machine.freeze(now)),
      );
    } else if (!isOn) {
      this.#page?.();
      this.#page = undefined;
    }
  }

  #arm() {
    const at = this.machine.timeout();
    if (at === this.#timerAt) return;
    if (this.#timer !== undefined) this.#clock.clear(this.#timer);
    this.#timer = undefined;
    this.#timerAt = at;
    if (at === Infinity) return;
    this.#timer = this.#clock.set(() => {
      this.#timer = undefined;
      this.#timerAt = Infinity;
      this.run((machine, now) => now >= at && machine.tick(now));
    }, Math.max(0, at - this.#clock.now()));
  }
}
