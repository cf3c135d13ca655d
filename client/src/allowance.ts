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
  #left = Infinity;
  #perMs = Infinity;
  #burst = Infinity;
  #at = 0;

  /** Begins with a connection. A tenth is kept back for pings and for clocks that differ. */
  reset(now: number, { inbound_messages_per_s: rate = Infinity, inbound_burst_messages: burst = Infinity }: Limits): void {
    this.#perMs = (rate * 0.9) / 1_000;
    this.#left = this.#burst = Math.max(1, burst * 0.9);
    this.#at = now;
  }

  /** Takes one message, if there is one. */
  take(now: number): boolean {
    if (this.#burst < Infinity) {
      this.#left = Math.min(this.#burst, this.#left + (now - this.#at) * this.#perMs);
      this.#at = now;
      if (this.#left < 1) return false;
      this.#left -= 1;
    }
    return true;
  }

  /** The time of the next message. */
  nextAt(): number {
    return this.#at + Math.ceil((1 - this.#left) / this.#perMs);
  }
}
