import { RoomcastError } from "./errors.js";
import { type Off, whenAborted } from "./listeners.js";

/** An endless sequence, fed by calls. */
export interface Feed<T> {
  push(value: T): void;
  /** Ends the sequence, behind what waits. */
  end(error?: unknown): void;
}

/**
 * An async iterator over what `feed` gives, from its first `next` on.
 *
 * It throws `slow_reader` when more than `queue` values wait, and ends when the signal is aborted.
 */
export async function* stream<T>(feed: (feed: Feed<T>) => Off, queue = 1_000, signal?: AbortSignal): AsyncGenerator<T, void, undefined> {
  const waiting: T[] = [];
  let wake = () => {};
  let over: { error?: unknown } | undefined;
  const end = (error?: unknown) => {
    over ??= { error };
    wake();
  };
  const push = (value: T) => {
    if (over) return;
    if (waiting.length >= queue) end(new RoomcastError("slow_reader", `more than ${queue} messages wait`));
    else waiting.push(value);
    wake();
  };
  const off = feed({ push, end });
  const forget = whenAborted(signal, () => end());
  try {
    for (;;) {
      while (waiting.length) yield waiting.shift()!;
      if (over?.error) throw over.error;
      if (over) return;
      await new Promise<void>((resolve) => (wake = resolve));
    }
  } finally {
    off();
    forget();
  }
}
