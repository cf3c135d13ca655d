import type { Off } from "../listeners.js";
import type { PageEvents } from "../page.js";

/** A page that a test shows and freezes. */
export class TestPage implements PageEvents {
  readonly #listeners = new Set<{ awake: () => void; freeze: () => void }>();

  listen(awake: () => void, freeze: () => void): Off {
    const listener = { awake, freeze };
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The number of listeners that were not removed. */
  get listeners(): number {
    return this.#listeners.size;
  }

  /** Makes the page visible. */
  awake(): void {
    for (const { awake } of this.#listeners) awake();
  }

  /** Freezes the page, which may come back later. */
  freeze(): void {
    for (const { freeze } of this.#listeners) freeze();
  }
}
