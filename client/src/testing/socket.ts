import type { Clock } from "../clock.js";
import type { Socket } from "../options.js";

/** The server's side of a socket. */
export interface Peer {
  /** Called when a text message has arrived. */
  receive(text: string): void;
  /** Called when the client has ended the connection, or it was cut. */
  ended(): void;
}

/** A socket in memory, whose messages take the time of its clock. */
export class TestSocket implements Socket {
  onopen: ((event: any) => void) | null = null;
  onmessage: ((event: any) => void) | null = null;
  onclose: ((event: any) => void) | null = null;
  onerror: ((event: any) => void) | null = null;
  /** False: nothing passes in either direction, without an event on either side. */
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

  /**
   * Ends the connection for the client: the server learns of it behind the messages already sent.
   */
  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#later(() => this.peer?.ended());
  }

  /** Sends a text message from the server. */
  deliver(text: string): void {
    if (this.isPassing) this.#later(() => !this.#isOver && this.isPassing && this.onmessage?.({ data: text }));
  }

  /** Ends the connection for the server, behind the messages already sent. */
  end(code: number, reason = ""): void {
    this.#later(() => this.cut(code, reason));
  }

  /** Cuts the connection at once; messages in flight to the client are lost. */
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
