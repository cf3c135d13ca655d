// What has passed between the clients of the page and the server, in its order.

import { page } from "../shared.js";

/** Bounds of what is kept. What comes behind them is not: a trace needs the beginning. */
const ENTRIES_MAX = 10_000;
const CHARS_MAX = 4_194_304;

/** Entries: `actor`; `kind` connect, send, get or close; `text` of a frame; `at` in milliseconds; `code` and `reason`. */
export const session = {
  entries: [],
  chars: 0,

  /** True when nothing more is kept. */
  get isFull() {
    return this.entries.length >= ENTRIES_MAX || this.chars >= CHARS_MAX;
  },

  add(entry) {
    if (this.isFull) return;
    this.chars += entry.text?.length ?? 0;
    this.entries.push({ at: performance.now(), ...entry });
  },
};

/** What passes on the line of one client. */
export class Recorder {
  #isOpen = false;

  constructor(letter) {
    this.actor = letter.toLowerCase().replace(/^\d/, "c$&");
  }

  add(kind, more) {
    if (this.#isOpen) session.add({ actor: this.actor, kind, ...more });
  }

  /** A connection counts from its first frame. */
  welcomed({ conn, user }) {
    this.#isOpen = true;
    this.add("connect", { conn, user, namespace: page.namespace });
  }

  /** Takes a frame, `send` or `get`. Those about tokens are a secret, and do not replay. */
  passed(kind, text, event) {
    if (event !== "$auth" && event !== "$expiring") this.add(kind, { text });
  }

  closed({ code, reason }) {
    this.add("close", { code, reason });
    this.#isOpen = false;
  }
}
