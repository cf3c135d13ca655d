import type { Clock } from "../clock.js";

interface Timer {
  at: number;
  f: () => void;
}

/** A clock that only the test advances. */
export class TestClock implements Clock {
  #now: number;
  readonly #timers = new Set<Timer>();

  /** Starts at that many milliseconds. */
  constructor(now = 0) {
    this.#now = now;
  }

  now(): number {
    return this.#now;
  }

  set(f: () => void, ms: number): unknown {
    const timer = { at: this.#now + Math.max(0, ms), f };
    this.#timers.add(timer);
    return timer;
  }

  clear(timer: Timer): void {
    this.#timers.delete(timer);
  }

  /** The number of pending timers. */
  get pending(): number {
    return this.#timers.size;
  }

  /**
   * Lets milliseconds pass: calls the due timers in order, each followed by the promises that it
   * settled.
   */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settled();
    for (;;) {
      const due = [...this.#timers].filter(({ at }) => at <= end);
      if (!due.length) break;
      const next = due.reduce((first, timer) => (timer.at < first.at ? timer : first));
      this.#timers.delete(next);
      this.#now = Math.max(this.#now, next.at);
      next.f();
      await settled();
    }
    this.#now = end;
  }

  /** Lets milliseconds pass without a timer, as when a machine sleeps: they are late afterwards. */
  sleep(ms: number): void {
    this.#now += ms;
  }
}

/**
 * Lets all settled promises continue. A message of a channel comes behind them, and no fake timer
 * delays it.
 */
const settled = () =>
  new Promise<void>((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });

/** Random numbers from 0 to below 1, always the same for a seed. */
export const seeded = (seed: number): (() => number) => {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
};
