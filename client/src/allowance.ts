/** The server's limits, as `$welcome` says them. */
export interface Limits {
  message_bytes?: number;
  inbound_messages_per_s?: number;
  inbound_burst_messages?: number;
}

/**
 * The messages that the server's rate limit still allows.
 *
 * A client that keeps to it is never refused for its rate, so its messages stay in order.
 */
export class Allowance {
  /** The time between messages at the full rate, and the time that a burst may run ahead of it. */
  #eachMs = 0;
  #aheadMs = 0;
  /** The time at which the messages so far would be due, one after the other. */
  #due = 0;

  /** Begins with a connection. A tenth is kept back for pings and for clocks that differ. */
  reset(now: number, { inbound_messages_per_s: rate = Infinity, inbound_burst_messages: burst = Infinity }: Limits): void {
    this.#eachMs = 1_000 / (rate * 0.9);
    this.#aheadMs = Math.max(0, burst * 0.9 - 1) * this.#eachMs;
    this.#due = now;
  }

  /** Takes one message, if there is one. */
  take(now: number): boolean {
    if (now < this.nextAt()) return false;
    this.#due = Math.max(now, this.#due) + this.#eachMs;
    return true;
  }

  /** The time of the next message. */
  nextAt(): number {
    return this.#due - this.#aheadMs;
  }
}
