/** Removes a listener. */
export type Off = () => void;

/** Options of a listener. */
export interface On {
  /** Removes the listener when the signal is aborted. */
  signal?: AbortSignal | undefined;
  /** Removes the listener after its first call. */
  once?: boolean | undefined;
}

/** Calls `f` when the signal is aborted, at once if it already is, or when the result is called. */
export const whenAborted = (signal: AbortSignal | undefined, f: () => void): Off => {
  const off = () => {
    signal?.removeEventListener("abort", off);
    f();
  };
  if (signal?.aborted) f();
  else signal?.addEventListener("abort", off);
  return off;
};

/** Functions to call, with the name under which each is called. */
export type Listeners = Map<(...args: any[]) => void, string>;

/** Adds a listener; the same function twice is called twice. */
export const on = (listeners: Listeners, name: string, f: (...args: any[]) => void, { signal, once }: On = {}): Off => {
  const listener = (...args: any[]) => {
    if (once) off();
    f(...args);
  };
  listeners.set(listener, name);
  const off = whenAborted(signal, () => listeners.delete(listener));
  return off;
};

/** Calls all listeners of a name. The error of a listener is reported as uncaught; the others are called. */
export const call = (listeners: Listeners, name: string, ...args: unknown[]): void => {
  for (const [listener, its] of [...listeners]) {
    try {
      if (its === name) listener(...args);
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  }
};
