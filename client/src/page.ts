import type { Off } from "./listeners.js";

/**
 * Events of a page: about its visibility and its network. Give your own in the options for tests.
 */
export interface PageEvents {
  /**
   * Calls `awake` when the page is visible again, or there may be a network; `freeze` when the page
   * is frozen.
   */
  listen(awake: () => void, freeze: () => void): Off;
}

/** Returns the events of a browser's page; `undefined` outside of browsers. */
export const browserPage = (): PageEvents | undefined => {
  const page = globalThis.document as Document | undefined;
  return page && {
    listen(awake, freeze) {
      const removed = new AbortController();
      const on = (target: EventTarget, names: string, f: (event: Event) => void) => {
        for (const name of names.split(" ")) target.addEventListener(name, f, removed);
      };
      on(page, "visibilitychange", () => page.hidden || awake());
      on(page, "resume", awake);
      // `navigator.onLine` is unreliable, so both events are only hints.
      on(globalThis as unknown as EventTarget, "pageshow focus online offline", awake);
      on(globalThis as unknown as EventTarget, "pagehide", (event) => (event as PageTransitionEvent).persisted && freeze());
      return () => removed.abort();
    },
  };
};
