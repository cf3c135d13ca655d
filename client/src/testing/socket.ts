import type { Clock } from "../clock.js";
import type { Socket } from "../options.js";

/** The server's side of a socket. */
export interface Peer {
  /** A text message has arrived. */
  receive(text: string): void;
  /** The client has ended the connection, or it is cut. */
  ended(): void;
}

/** A socket in memory, whose messages take the time of its clock. */
export class TestSocket implements Socket {
  onopen: ((event: any) => void) | null = null;
  onmessage: ((event: any) => void) | null = null;
  onclose: ((event: any) => void) | null = null;
  onerror: ((event: any) => void) | null = null;
  /** False: nothing passes in either direction, and nobody is told. */
  isPassing = true;
  #isOver = false;
  readonly #clock: Clock;
  readonly #latencyMs: number;
  peer: Peer | undefined;

  constructor(clock: Clock, latencyMs: number) {
    this.#clock = clock;
    this.#latencyMs = latencyMs;
  }

  /** True until either side has ended it. */
  get isOpen(): boolean {
    return !this.#isOver;
  }

  send(text: string): void {
    if (this.#isOver || !this.isPassing) return;
    this.#later(() => this.isPassing && this.peer?.receive(text));
  }

  /** The client ends the connection: the server hears of it behind what was sent. */
  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#later(() => this.peer?.ended());
  }

  /** The server sends a text message. */
  deliver(text: string): void {
    if (this.isPassing) this.#later(() => !this.#isOver && this.isPassing && this.onmessage?.({ data: text }));
  }

  /** The server ends the connection, behind what was sent. */
  end(code: number, reason = ""): void {
    this.#later(() => this.cut(code, reason));
  }

  /** The connection is lost at once, with all that is on its way to the client. */
  cut(code = 1006, reason = ""): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.peer?.ended();
    this.onclose?.({ code, reason });
  }

  #later(f: () => void) {
    this.#clock.set(f, this.#latencyMs);
  }
}
