// The frames of one client, in both directions.

import { colourJson } from "./json.js";
import { element } from "./shared.js";

const ROWS_MAX = 400;
const FRAME_CHARS_SHOWN_MAX = 2000;

/** The rows of one client. Rows are added once per animation frame, so that a flood stays cheap. */
export class FrameLog {
  constructor(root, unread) {
    this.root = root;
    this.unread = unread;
    this.pending = [];
    this.unseen = 0;
    this.follows = true;
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

  /**
   * Adds a row: `dir` in, out or info; `text`; `kind` push, warn or error; `event`; `code`; `notes`.
   * It is drawn later: what the caller adds to it in the same turn is shown as well.
   */
  add(row) {
    row.at = new Date();
    if (this.pending.push(row) > ROWS_MAX) this.pending.shift();
    if (this.pending.length === 1) requestAnimationFrame(() => this.flush());
    return row;
  }

  flush() {
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

  render({ dir, text, at, kind = "", event = "", code = "", notes = [] }) {
    const frame = element("div", { className: "log-frame" });
    const shown = text.slice(0, FRAME_CHARS_SHOWN_MAX);
    if (dir === "info" || !/^\s*[{[]/.test(shown)) frame.append(shown);
    else frame.append(colourJson(shown));
    if (shown.length < text.length) notes = [`and ${text.length - shown.length} more characters`, ...notes];
    for (const note of notes) frame.append(" ", element("span", { className: "note" }, note));
    const arrow = { in: "↓", out: "↑", info: "·" }[dir];
    const spoken = { in: "received", out: "sent", info: "note" }[dir];
    const clock = at.toTimeString().slice(0, 8);
    const row = element("div", { className: "row" },
      element("span", { className: "arrow", ariaLabel: spoken, role: "img" }, arrow),
      element("time", { dateTime: at.toISOString(), title: `${clock}.${String(at.getMilliseconds()).padStart(3, "0")}` }, clock),
      frame);
    Object.assign(row.dataset, { dir, kind, event, code });
    return row;
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
    this.pending.length = 0;
    this.root.replaceChildren();
    this.toEnd();
  }
}
