const FIRST_MS = 1_000;
const LONGEST_MS = 30_000;
const LASTED_MS = 10_000;

/** Delays between attempts to connect: random, below a bound that doubles from 1 s to 30 s. */
export class Backoff {
  /** Failed attempts since the last connection that lasted. */
  failures = 0;
  readonly #random: () => number;

  constructor(random: () => number) {
    this.#random = random;
  }

  /** Milliseconds until the next attempt. */
  next(): number {
    return this.#random() * Math.min(LONGEST_MS, FIRST_MS * 2 ** this.failures++);
  }

  /** Begins anew when a connection of that many milliseconds lasted long enough to count as good. */
  opened(lastedMs: number): void {
    if (lastedMs >= LASTED_MS) this.failures = 0;
  }
}
