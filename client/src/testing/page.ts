import type { Off } from "../listeners.js";
import type { PageEvents } from "../page.js";

/** A page that a test looks at and puts aside. */
export class TestPage implements PageEvents {
  readonly #listeners = new Set<{ awake: () => void; freeze: () => void }>();

  listen(awake: () => void, freeze: () => void): Off {
    const listener = { awake, freeze };
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Listeners that were not taken away. */
  get listeners(): number {
    return this.#listeners.size;
  }

  /** Somebody looks at the page. */
  awake(): void {
    for (const { awake } of this.#listeners) awake();
  }

  /** The page is put aside, to come back later. */
  freeze(): void {
    for (const { freeze } of this.#listeners) freeze();
  }
}
