// The messages of one client: each with its request, its answer and its delivery, which unfold as frames.

import { FrameLog, clockOf, frameRow } from "../frame-log.js";
import { colourJson, typedValue } from "../json.js";
import { element } from "../shared.js";

const DATA_CHARS_SHOWN_MAX = 300;

/** The data of a frame, with the digits that were on the wire. */
function dataOf(text) {
  try {
    return JSON.stringify(typedValue(text).data) ?? "";
  } catch {
    return "";
  }
}

/**
 * The list of one client. Its cards have `status`, by which they are coloured; `event` and `room` of a message, or
 * `line`, a sentence; `facts`, short remarks; `rows` of the log of frames; `at`, a time.
 */
export class Messages extends FrameLog {
  /** Shows what has changed in a card. */
  update(card) {
    card.node?.replaceWith(this.render(card));
  }

  render(card) {
    const { status, event, room, line, facts, rows, at, node } = card;
    const head = element("summary", {}, element("time", { dateTime: at.toISOString() }, ...clockOf(at)),
      element("span", { className: "card-status" }, status), " ");
    if (line) head.append(element("span", { className: "card-line" }, line));
    else {
      const text = dataOf(rows[0].text).slice(0, DATA_CHARS_SHOWN_MAX);
      head.append(element("span", { className: "card-line" }, element("bdi", { className: "j-event" }, event), " ",
        element("span", { className: "mono" }, colourJson(text)), " ",
        element("small", {}, element("bdi", {}, room))));
    }
    for (const fact of facts) head.append(" ", element("span", { className: "note" }, fact));
    const details = element("details", { className: "message", open: node?.open ?? false }, head);
    const unfold = () => details.open && details.childElementCount === 1 && details.append(...rows.map(frameRow));
    details.addEventListener("toggle", unfold);
    unfold();
    details.dataset.status = status;
    details.dataset.event = event ?? "";
    card.node = details;
    this.sift(details);
    return details;
  }
}
