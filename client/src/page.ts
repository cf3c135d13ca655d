import type { Off } from "./listeners.js";

/** Events of a page that tell whether somebody looks at it. Give your own in the options for tests. */
export interface PageEvents {
  /** Calls `awake` when somebody looks again, or there may be a network; `freeze` when the page is put aside. */
  listen(awake: () => void, freeze: () => void): Off;
}

/** The events of a browser's page; nothing elsewhere. */
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
      // `navigator.onLine` lies: both are hints only.
      on(globalThis as unknown as EventTarget, "pageshow focus online offline", awake);
      on(globalThis as unknown as EventTarget, "pagehide", (event) => (event as PageTransitionEvent).persisted && freeze());
      return () => removed.abort();
    },
  };
};
