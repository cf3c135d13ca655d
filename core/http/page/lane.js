// A client of the page, and its pane.

import { Roomcast } from "../client.js";
import { deliveries } from "./deliveries.js";
import { Frames } from "./frames.js";
import { Identity } from "./identity.js";
import { parseFrame, typedValue } from "./json.js";
import { Line } from "./line.js";
import { liveRooms } from "./live-rooms.js";
import { Membership } from "./membership.js";
import { byId, copy, counted, element, page, socketAddress } from "./shared.js";
import { showCommands, stepDone } from "./steps.js";

const SLEEP_MS = 10_000;
const CLOSE_UNAUTHORIZED = 4401;
// Failures of a request of which no frame tells.
const LOCAL_FAILURES = new Set(["closed", "timeout", "buffer_full"]);
const STATES = { idle: "Disconnected", open: "Connected", connecting: "Connecting…", closed: "Disconnected" };

/** A client with its rooms, its line and its pane. */
export class Lane {
  /** All its connections, by their ids. */
  conns = [];
  /** Its rooms, by name. */
  rooms = new Map();
  /** Positions in rooms to which it comes back when it is connected again. */
  kept = new Map();
  /** Rooms that a raw frame has asked for. */
  joinsByHand = new Set();
  client = null;
  showsMembers = false;
  /** Outcomes by room, after the last time away. */
  recovered = new Map();

  constructor(letter, hue) {
    this.letter = letter;
    this.name = `Client ${letter}`;
    this.root = byId("pane").content.firstElementChild.cloneNode(true);
    this.root.dataset.testid = `pane-${letter.toLowerCase()}`;
    this.root.dataset.hue = hue;
    this.root.ariaLabel = this.name;
    this.find(".letter").textContent = letter;
    this.find(".log").ariaLabel = `Frames of ${this.name}`;
    this.find(".remove").ariaLabel = `Close ${this.name}`;
    this.find(".data").value = `{"text": "Hello from ${letter}"}`;
    const problemId = `problem-${letter}`;
    this.find(".problem").id = problemId;
    this.find(".data").setAttribute("aria-describedby", problemId);
    this.frames = new Frames(this);
    this.line = new Line(this.frames);
    this.identity = new Identity(this);
    this.listen();
    this.show();
  }

  find(selector) {
    return this.root.querySelector(selector);
  }

  get state() {
    return this.client?.state ?? { name: "idle" };
  }

  /** The id of the open connection, or null. */
  get conn() {
    return this.state.conn ?? null;
  }

  isIn(room) {
    return this.rooms.get(room)?.isIn ?? false;
  }

  /** True when it comes back to the room. */
  isAway(room) {
    return this.kept.has(room) || (this.rooms.get(room)?.isAway ?? false);
  }

  listen() {
    const on = (selector, type, act) => this.find(selector).addEventListener(type, act);
    const submit = (selector, act) => on(selector, "submit", (event) => {
      event.preventDefault();
      act();
    });
    this.root.addEventListener("focusin", () => {
      page.active = this;
      showCommands();
    });
    on(".toggle", "click", () => (this.isStopped ? this.connect() : this.disconnect()));
    on(".cut", "click", () => (this.line.isCut ? this.mend() : this.cut()));
    on(".sleep", "click", () => this.sleep());
    on(".remove", "click", () => this.remove());
    on(".conn", "click", () => copy(this.find(".conn"), this.find(".conn")));
    on(".clear", "click", () => this.frames.log.clear());
    submit(".joining", () => this.join());
    submit(".publish", () => this.publish());
    submit(".raw", () => this.sendRaw());
    on(".as-string", "click", () => this.publish(true));
    on(".data", "input", () => this.showProblem(null));
    on(".data", "keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.find(".publish").requestSubmit();
    });
    on(".to-room", "input", () => showCommands());
    for (const example of this.root.querySelectorAll(".examples button")) {
      example.addEventListener("click", () => {
        this.find(".raw-input").value = example.textContent;
        this.find(".raw-input").focus();
      });
    }
  }

  get isStopped() {
    return this.state.name === "idle" || this.state.name === "closed";
  }

  connect() {
    this.client ??= this.#makeClient();
    for (const [room, position] of this.kept) this.take(room, position);
    this.kept.clear();
    this.client.connect();
  }

  #makeClient() {
    const client = new Roomcast(socketAddress(), {
      connect: false,
      page: this.line.page,
      clock: this.line.clock,
      token: (why) => this.identity.token(why),
      WebSocket: this.line.WebSocket,
    });
    // A fault that belongs to no request is in the log as a frame.
    client.onState((state) => this.client === client && this.changed(state));
    return client;
  }

  /** The state of the connection has changed. */
  changed({ name, close }) {
    if (name === "waiting" || name === "closed") {
      const isRefused = close?.code === CLOSE_UNAUTHORIZED;
      this.identity.ended();
      this.frames.closeFollows(name === "closed" || isRefused);
      if (isRefused) {
        this.identity.ask();
        // With the same token it would be refused again.
        if (name === "waiting") return this.#stop();
      }
    }
    this.show();
    this.showRooms();
  }

  /** Ends the connection; its rooms are kept for the next. */
  disconnect() {
    const { name } = this.state;
    if (name === "waiting") this.frames.note("no more attempts");
    else if (name === "open") this.frames.note("disconnected by you");
    this.#stop();
  }

  #stop() {
    this.line.wake();
    for (const [name, { room }] of this.rooms) if (room.position) this.kept.set(name, room.position);
    this.client?.close();
    this.show();
    this.showRooms();
  }

  /** For good: it comes back to no room, and its next connection is that of another client. */
  forget() {
    this.disconnect();
    this.kept.clear();
    this.recovered.clear();
    this.client = null;
  }

  remove() {
    this.forget();
    page.lanes.delete(this);
    if (page.active === this) page.active = null;
    this.root.remove();
    byId("add").focus();
    roomsChanged();
    deliveries.draw();
    showStatus();
  }

  cut() {
    this.recovered.clear();
    this.frames.note("the line is cut");
    this.line.cut();
    this.show();
    this.showRecovery();
  }

  /** Handles nothing for a while. */
  sleep() {
    const seconds = SLEEP_MS / 1000;
    this.frames.note(`asleep for ${seconds} s: nothing is read or sent; the socket stays, and the browser answers pings`);
    this.line.sleep(SLEEP_MS, () => this.frames.note("awake: what came in its sleep follows"));
    this.show();
    setTimeout(() => this.show(), SLEEP_MS + 1);
  }

  mend() {
    this.frames.note("the line is mended");
    this.line.mend();
    this.show();
  }

  /** The first frame of a connection. */
  welcomed(data) {
    this.conns.push(data.conn);
    // Without it there are no policies, and no room says who is there.
    this.showsMembers = data.limits?.page_entries !== undefined;
    this.identity.identified(data);
    if (data.auth_in_ms !== undefined) this.identity.ask();
  }

  join() {
    const name = this.find(".join-room").value;
    this.find(".to-room").value = name;
    if (this.rooms.has(name)) this.frames.note(`already in ${name}`);
    else this.take(name);
    showCommands();
  }

  /** Takes a room, from a position on if there is one. */
  take(name, from) {
    if (from) this.recovered.clear();
    const room = this.client.room(name, { presence: this.showsMembers, from });
    this.rooms.set(name, new Membership(this, room, from !== undefined));
  }

  /** Sends a frame as it was typed. */
  sendRaw() {
    const text = this.find(".raw-input").value;
    const frame = parseFrame(text);
    if (frame?.event === "$join") this.joinsByHand.add(frame.room);
    this.line.send(text);
  }

  /** The server says that it is in a room. One that was joined by a raw frame is like any other. */
  entered(name) {
    if (this.joinsByHand.delete(name) && !this.rooms.has(name)) this.take(name);
  }

  /** The server says that it left a room. */
  left(name) {
    this.rooms.get(name)?.room.leave();
  }

  /** Publishes what was typed, with the digits that were typed. */
  async publish(isString = false) {
    const typed = this.find(".data").value;
    let data;
    try {
      data = isString ? typed : typedValue(typed);
    } catch (error) {
      this.showProblem(`This is not JSON: ${error.message}`, true);
      return;
    }
    this.showProblem(null);
    const [name, event, echo] = [this.find(".to-room").value, this.find(".event").value, this.find(".echo input").checked];
    const message = name === "" ? null : deliveries.sent(this, name, event, data);
    if (this.state.name !== "open" && !this.isStopped) this.frames.note(`${event} waits for the connection`);
    try {
      const answer = await (message ? this.client.room(name, { join: false }).publish(event, data, echo ? { echo } : {}) : this.client.call(event, data));
      if (message) deliveries.answered(message, answer);
    } catch (error) {
      if (message) deliveries.failed(message);
      if (error instanceof TypeError) this.showProblem(error.message);
      else if (LOCAL_FAILURES.has(error.code)) this.frames.note(`${event} failed: ${error.message}`, "error");
    }
  }

  show() {
    const { state } = this;
    const isOpen = state.name === "open";
    this.find(".pane-head").dataset.state = state.name;
    const left = ((state.retryAt - Date.now()) / 1000).toFixed(1);
    this.find(".state").textContent = this.line.isAsleep ? "Asleep" : STATES[state.name] ?? (this.line.isCut ? "No line" : `Reconnecting in ${left} s`);
    const conn = this.find(".conn");
    conn.hidden = !isOpen;
    conn.textContent = this.conn ?? "";
    conn.title = "Connection id. Click to copy.";
    conn.ariaLabel = `Copy connection id ${this.conn ?? ""}`;
    this.find(".toggle").textContent = this.isStopped ? "Connect" : isOpen ? "Disconnect" : "Stop";
    this.find(".sleep").disabled = !isOpen || this.line.isAsleep;
    this.find(".cut").textContent = this.line.isCut ? "Mend line" : "Cut line";
    for (const button of this.root.querySelectorAll(".needs-open")) button.disabled = !isOpen;
    // What is published meanwhile waits.
    this.find(".publish .primary").disabled = this.isStopped;
    showStatus();
  }

  showRooms() {
    const shown = [...this.rooms.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
    this.find(".chips").replaceChildren(...shown.map((membership) => membership.chip()));
    roomsChanged();
    deliveries.draw();
  }

  /** Says what waits for it while it is away, and what became of that. */
  showRecovery() {
    const isAway = this.state.name !== "open" && (this.kept.size > 0 || [...this.rooms.values()].some((room) => room.isAway));
    const lines = [...this.recovered].map(([room, outcome]) => `Back in ${room}: ${outcome}.`);
    if (isAway) {
      const waiting = [...deliveries.waiting(this)].map(([room, count]) => `${counted(count, "message")} in ${room}`);
      lines.splice(0, Infinity, `${this.line.isCut ? "The line is cut" : "Away"}: missed ${waiting.join(", ") || "nothing"} so far.`);
    }
    const text = lines.join("\n");
    const note = this.find(".recovery");
    note.hidden = text === "";
    note.dataset.kind = [...this.recovered.values()].some((outcome) => outcome.includes("lost")) ? "warn" : "";
    if (note.textContent !== text) note.textContent = text;
  }

  showProblem(text, isJson = false) {
    this.find(".problem").hidden = text === null;
    this.find(".problem span").textContent = text ?? "";
    this.find(".as-string").hidden = !isJson;
    this.find(".data").setAttribute("aria-invalid", String(isJson));
  }
}

/** The rooms of clients have changed. */
function roomsChanged() {
  const seen = new Set();
  for (const { rooms } of page.lanes) {
    for (const [name, { isIn }] of rooms) {
      if (isIn && seen.has(name)) stepDone("join");
      if (isIn) seen.add(name);
    }
  }
  liveRooms.soon(100);
}

function showStatus() {
  const { size } = page.lanes;
  const open = [...page.lanes].filter(({ state }) => state.name === "open").length;
  byId("status").dataset.state = size > 0 && open === size ? "open" : open > 0 ? "connecting" : "closed";
  byId("status-text").textContent = `${open} of ${size} connected`;
}
