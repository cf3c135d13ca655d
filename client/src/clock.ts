import { TIMER_MS_MAX } from "./limits.js";

/** Time and timers. Give your own in the options to test without waiting, such as `TestClock`. */
export interface Clock {
  /** Milliseconds since an arbitrary moment; never decreases. */
  now(): number;
  /** Calls `f` after that many milliseconds; returns a handle for {@link Clock.clear}. */
  set(f: () => void, ms: number): unknown;
  /** Cancels a timer. */
  clear(handle: any): void;
}

let ahead = 0;
let last = 0;

/**
 * The wall clock. It advances while the machine sleeps, so a late timer reveals a sleep. When the
 * system clock is set back, this one stands still only until the next call.
 */
export const wallClock: Clock = {
  now() {
    const time = Date.now();
    ahead = Math.max(ahead, last - time);
    return (last = time + ahead);
  },
  set: (f, ms) => setTimeout(f, Math.min(ms, TIMER_MS_MAX)),
  clear: (handle) => clearTimeout(handle),
};
