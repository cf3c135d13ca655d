// The frames of one client, in both directions.

import { colourJson } from "./json.js";
import { element } from "./shared.js";

const ROWS_MAX = 400;
const FRAME_CHARS_SHOWN_MAX = 2000;

/** A time as nodes: hours, which a narrow list leaves out, and the rest with its milliseconds. */
export const clockOf = (at) => [
  element("span", { className: "hours" }, at.toTimeString().slice(0, 3)),
  `${at.toTimeString().slice(3, 8)}.${String(at.getMilliseconds()).padStart(3, "0")}`,
];

/**
 * A frame as a row of a log: `dir` in, out or info; `text`; `kind` push, warn or error; `event`; `code`; `notes`;
 * `at`, a time.
 */
export function frameRow({ dir, text, at, kind = "", event = "", code = "", notes = [] }) {
  const frame = element("div", { className: "log-frame" });
  const shown = text.slice(0, FRAME_CHARS_SHOWN_MAX);
  if (dir === "info" || !/^\s*[{[]/.test(shown)) frame.append(shown);
  else frame.append(colourJson(shown));
  if (shown.length < text.length) notes = [`and ${text.length - shown.length} more characters`, ...notes];
  for (const note of notes) frame.append(" ", element("span", { className: "note" }, note));
  const arrow = { in: "↓", out: "↑", info: "·" }[dir];
  const spoken = { in: "received", out: "sent", info: "note" }[dir];
  const row = element("div", { className: "row" },
    element("span", { className: "arrow", ariaLabel: spoken, role: "img" }, arrow),
    element("time", { dateTime: at.toISOString() }, ...clockOf(at)),
    frame);
  Object.assign(row.dataset, { dir, kind, event, code });
  return row;
}

/** The rows of one client. Rows are added once per animation frame, so that a flood stays cheap. */
export class FrameLog {
  /** The newest rows, drawn or not. */
  rows = [];
  #isPaused = false;
  #sought = "";

  /** Behind the root comes the button that tells of unseen rows. */
  constructor(root) {
    this.root = root;
    this.unread = root.nextElementSibling;
    this.pending = [];
    this.unseen = 0;
    this.follows = true;
    const { unread } = this;
    unread.addEventListener("click", () => this.toEnd());
    let height = root.clientHeight;
    root.addEventListener("scroll", () => {
      // It was not scrolled by hand: the observer puts it right.
      if (root.clientHeight !== height) return;
      this.follows = root.scrollHeight - root.scrollTop - root.clientHeight < 24;
      if (this.follows) this.seen();
    });
    // A form that grows takes its height from the log: the newest row must stay in view.
    new ResizeObserver(() => {
      height = root.clientHeight;
      if (this.follows) this.toEnd();
    }).observe(root);
  }

  /** Adds a row. It is drawn later: what the caller adds to it in the same turn is shown as well. */
  add(row) {
    row.at = new Date();
    if (this.rows.push(row) > ROWS_MAX) this.rows.shift();
    if (this.pending.push(row) > ROWS_MAX) this.pending.shift();
    if (this.pending.length === 1) requestAnimationFrame(() => this.flush());
    return row;
  }

  /** Holds the list as it is, or lets it go on with what came meanwhile. */
  pause(isPaused) {
    this.#isPaused = isPaused;
    this.flush();
  }

  /** Shows only rows that have a text in them. */
  seek(text) {
    this.#sought = text.toLowerCase();
    for (const row of this.root.children) this.sift(row);
    if (this.follows) this.toEnd();
  }

  sift(node) {
    node.hidden = this.#sought !== "" && !node.textContent.toLowerCase().includes(this.#sought);
  }

  flush() {
    if (this.#isPaused) return;
    const rows = this.pending.splice(0);
    this.root.append(...rows.map((row) => this.render(row)));
    while (this.root.childElementCount > ROWS_MAX) this.root.firstElementChild.remove();
    if (this.follows) {
      this.toEnd();
    } else if (rows.length > 0) {
      this.unseen += rows.length;
      this.unread.textContent = `↓ ${this.unseen} new`;
      this.unread.hidden = false;
    }
  }

  render(row) {
    const node = frameRow(row);
    this.sift(node);
    return node;
  }

  toEnd() {
    this.root.scrollTop = this.root.scrollHeight;
    this.follows = true;
    this.seen();
  }

  seen() {
    this.unseen = 0;
    this.unread.hidden = true;
  }

  clear() {
    this.pending.length = this.rows.length = 0;
    this.root.replaceChildren();
    this.toEnd();
  }
}
