import type { Listeners } from "./listeners.js";

/** The occasion of a call for a token, see `Options.token`. */
export type Why = "connect" | "expiring" | "refused";

/** Steps that a machine asks its driver to carry out. */
export interface Steps {
  /** Gets a token for the reason `why`, and gives it to the machine. The call replaces an earlier one, whose result is dropped. */
  token(): void;
  /** Opens a socket, and gives its events to the machine. */
  dial(token?: string | null): void;
  /** Writes a text message to the socket. */
  write(text: string): void;
  /**
   * Ends the socket and the call for a token, without waiting for either. Their later events are
   * dropped.
   */
  drop(code?: number): void;
  /** Calls the listeners of an event: those of the client, or of a room. */
  tell(listeners: Listeners, event: string, ...values: unknown[]): void;
}

/** A step with its arguments; steps are carried out in order. */
export type Output = { [K in keyof Steps]: [step: K, ...Parameters<Steps[K]>] }[keyof Steps];
