// The table that shows who got a message, and why.

import { byId, callApi, element, laneOf, page } from "./shared.js";

const MESSAGES_MAX = 50;
const TEXT_CHARS_SHOWN_MAX = 200;

/** The words of a cell, and the reason that this page knows by itself. */
const STATUSES = {
  own: ["own", (lane, room) => `${lane} published it.`],
  echo: ["own, echo", (lane, room) => `${lane} published it, and got its own copy: it asked for an echo, or the room gives one.`],
  got: ["got", (lane, room) => `${lane} was in ${room} when it was published.`],
  recovered: ["recovered", (lane, room) => `${lane} was away. It came back, told the server its position in ${room}, and got what it had missed.`],
  expected: ["…", (lane, room) => `${lane} is in ${room}: the message is on its way.`],
  away: ["away", (lane, room) => `${lane} is away. When it is back it tells the server its position in ${room}, which replays what its history has.`],
  lost: ["lost", (lane, room) => `${lane} was away, and ${room} could not replay it: it keeps no history, or not so long a one.`],
  left: ["left", (lane, room) => `${lane} left ${room} before it came back.`],
  outside: ["not in it", (lane, room) => `${lane} was not in ${room}.`],
};

/** JSON by which two copies of a message are found equal. */
const plain = (data) => JSON.stringify(JSON.parse(JSON.stringify(data) ?? "null"));

/** A note below the letter of a client that has no line. */
const absence = (lane) => (lane.state.name === "open" ? [] : [element("small", {}, " away")]);

/** The newest messages of all rooms, with what became of each for each client of this page. */
class Deliveries {
  #messages = [];
  #isDrawn = true;
  #lastId = 0;

  /** A client publishes a message. Gives what `answered` and `failed` want. */
  sent(lane, room, event, data) {
    const isWaiting = lane.state.name !== "open";
    return this.#add({ room, event, text: plain(data), sender: lane, isWaiting, sentAt: isWaiting ? null : performance.now() });
  }

  /** The server took a message. */
  answered(message, { offset }) {
    message.offset ??= offset;
    if (message.isWaiting) for (const lane of page.lanes) this.#expect(message, lane);
    message.isWaiting = false;
    this.#changed();
  }

  /** The message was not published. */
  failed(message) {
    this.#messages = this.#messages.filter((other) => other !== message);
    this.#changed();
  }

  /**
   * A client got a message of a room; `isLate` when it came with what was missed. Gives the time that it took, when
   * a client of this page has sent it.
   */
  got(lane, { room, event, data, from, offset }, isLate) {
    const text = plain(data);
    const sender = laneOf(from?.conn);
    const known = this.#messages.find((other) => {
      if (other.room !== room || other.event !== event || other.text !== text) return false;
      if (offset !== undefined && other.offset !== undefined) return offset === other.offset;
      // Without an offset it is the oldest that is not here yet: the order holds.
      return other.sender === sender && !other.cells.get(lane)?.isThere;
    });
    const message = known ?? this.#add({ room, event, text, sender });
    message.offset ??= offset;
    const status = lane === sender ? "echo" : isLate ? "recovered" : "got";
    const took = message.sentAt && !isLate ? `${(performance.now() - message.sentAt).toFixed(1)} ms` : null;
    message.cells.set(lane, { status, conn: lane.conn, isThere: true, took });
    this.#changed();
    return took;
  }

  /** A client gets no more of what it missed in a room. Gives the number of messages. */
  ended(lane, room, status) {
    let count = 0;
    for (const message of this.#messages) {
      const cell = message.cells.get(lane);
      if (message.room !== room || cell?.status !== "away") continue;
      cell.status = status;
      count += 1;
    }
    this.#changed();
    return count;
  }

  /** Numbers of messages that wait for a client, by room. */
  waiting(lane) {
    const waiting = new Map();
    for (const { room, cells } of this.#messages) {
      if (cells.get(lane)?.status === "away") waiting.set(room, (waiting.get(room) ?? 0) + 1);
    }
    return waiting;
  }

  /** Goes to the next message, or the one before, and says why a client got it. */
  choose(lane, step) {
    const rows = [...byId("deliveries").tBodies[0].rows];
    const at = rows.findIndex((row) => row.contains(document.activeElement));
    const row = rows[at < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, at + step))];
    const button = row?.querySelector(`[data-lane="${lane.letter}"]`);
    if (!button) return;
    for (const other of byId("deliveries").querySelectorAll("button")) other.tabIndex = other === button ? 0 : -1;
    button.focus();
    button.click();
  }

  /** The clients are others, or their rooms. */
  clear() {
    this.#messages = [];
    this.#changed();
  }

  #add(message) {
    const entry = { id: ++this.#lastId, at: new Date(), cells: new Map(), ...message };
    for (const lane of page.lanes) this.#expect(entry, lane);
    this.#messages = [...this.#messages, entry].slice(-MESSAGES_MAX);
    this.#changed();
    return entry;
  }

  /** Sets the cell of a client to what may be expected. */
  #expect({ room, sender, cells }, lane) {
    if (cells.get(lane)?.isThere) return;
    const status = lane === sender ? "own" : lane.isAway(room) ? "away" : lane.isIn(room) ? "expected" : "outside";
    cells.set(lane, { status, conn: lane.conn ?? lane.conns.at(-1) });
  }

  /** Draws the table with the next frame of the screen. */
  #changed() {
    if (!this.#isDrawn) return;
    this.#isDrawn = false;
    requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.#isDrawn = true;
    const lanes = [...page.lanes];
    const table = byId("deliveries");
    table.hidden = this.#messages.length === 0;
    byId("deliveries-none").hidden = !table.hidden;
    const { message: chosen, lane: chosenLane } = document.activeElement?.dataset ?? {};
    const heads = lanes.map((lane) => element("th", { scope: "col", ariaLabel: lane.name, title: lane.name }, lane.letter, ...absence(lane)));
    table.tHead.rows[0].replaceChildren(element("th", { scope: "col" }, "Message"), ...heads);
    table.tBodies[0].replaceChildren(...this.#messages.toReversed().map((message) => this.#row(message, lanes)));
    const buttons = [...table.querySelectorAll("button")];
    // One stop for the Tab key: arrows move within the table.
    const focused = buttons.find(({ dataset }) => dataset.message === chosen && dataset.lane === chosenLane);
    if (focused) focused.focus();
    const stop = focused ?? buttons[0];
    if (stop) stop.tabIndex = 0;
    for (const lane of lanes) lane.showWaiting();
  }

  #row(message, lanes) {
    const { room, event, at, isWaiting } = message;
    const text = message.text.slice(0, TEXT_CHARS_SHOWN_MAX);
    const name = element("th", { scope: "row", title: `${at.toTimeString().slice(0, 8)}.${String(at.getMilliseconds()).padStart(3, "0")} ${text}` },
      element("bdi", {}, event), " ", element("small", {}, isWaiting ? "waits for the line: " : "", element("bdi", {}, room), " ", element("bdi", {}, text)));
    return element("tr", {}, name, ...lanes.map((lane) => {
      const cell = message.cells.get(lane);
      if (!cell) return element("td", {}, "–");
      const [words] = STATUSES[cell.status];
      const button = element("button", { type: "button", tabIndex: -1, ariaLabel: `${lane.name}: ${words}. Why?`, title: "Why?" }, words);
      Object.assign(button.dataset, { status: cell.status, message: message.id, lane: lane.letter });
      button.addEventListener("click", () => this.#explain(message, lane, cell));
      return element("td", {}, button);
    }));
  }

  /** Says why: what this page knows, and for a room with a history the server's own word. */
  async #explain({ room, offset, event }, lane, { status, conn, took }) {
    const why = byId("why");
    const [, reason] = STATUSES[status];
    const own = `${event}: ${reason(lane.name, room)}${took ? ` It took ${took}.` : ""}`;
    why.textContent = own;
    if (offset === undefined || !conn) return;
    try {
      const response = await callApi(`explain?${new URLSearchParams({ room, offset, conn })}`);
      const { text } = await response.json();
      if (response.ok && why.textContent === own) why.textContent = `${own} The server says: ${text}.`;
    } catch {
      // The server does not answer: what this page knows has to do.
    }
  }
}

export const deliveries = new Deliveries();

/** Moves the focus within the table by arrow keys. */
export function moveInTable(event) {
  const [down, right] = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key] ?? [];
  const cell = event.target.closest("td");
  if (down === undefined || !cell) return;
  event.preventDefault();
  const row = cell.parentElement;
  const next = row.parentElement.rows[row.sectionRowIndex + down]?.cells[cell.cellIndex + right]?.querySelector("button");
  if (!next) return;
  event.target.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}
