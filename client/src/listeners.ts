/** Takes a listener away. */
export type Off = () => void;

/** Options of a listener. */
export interface On {
  /** Takes the listener away when it is aborted. */
  signal?: AbortSignal | undefined;
  /** Takes the listener away after its first call. */
  once?: boolean | undefined;
}

/** Calls `f` when the signal is aborted, also when it was before. */
export const whenAborted = (signal: AbortSignal | undefined, f: () => void): Off => {
  if (signal?.aborted) f();
  else signal?.addEventListener("abort", f);
  return () => signal?.removeEventListener("abort", f);
};

/** Functions to call, by name. */
export class Listeners {
  readonly #all = new Map<string, Set<(...args: any[]) => void>>();

  /** Adds a listener; the same function twice is called twice. */
  on(name: string, f: (...args: any[]) => void, { signal, once }: On = {}): Off {
    const calls = this.#all.get(name) ?? new Set();
    this.#all.set(name, calls);
    const call = (...args: any[]) => {
      if (once) off();
      f(...args);
    };
    let forget: Off | undefined;
    const off = () => {
      forget?.();
      calls.delete(call);
    };
    calls.add(call);
    forget = whenAborted(signal, off);
    return off;
  }

  /** Calls all listeners of a name. What one throws is reported as uncaught, and holds up nobody. */
  emit(name: string, ...args: unknown[]): void {
    for (const call of [...(this.#all.get(name) ?? [])]) {
      try {
        call(...args);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
