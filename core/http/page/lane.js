// A client of the page, and its pane.

import { Roomcast } from "../client.js";
import { deliveries } from "./deliveries.js";
import { Frames } from "./frames.js";
import { Identity } from "./identity.js";
import { parseFrame, typedValue } from "./json.js";
import { Line } from "./line.js";
import { liveRooms } from "./live-rooms.js";
import { Membership } from "./membership.js";
import { keepClients } from "./session/clients.js";
import { byId, copy, counted, element, page, save, socketAddress } from "./shared.js";
import { showCommands, stepDone } from "./steps.js";
import { showTabs } from "./view/tabs.js";

const SLEEP_MS = 10_000;
const SLOW_FRAME_MS = 1000;
const CLOSE_UNAUTHORIZED = 4401;
// Failures of a request of which no frame tells.
const LOCAL_FAILURES = new Set(["closed", "timeout", "buffer_full"]);
/** Refusals that another token may end. */
const FOR_RIGHTS = new Set(["forbidden", "unauthorized"]);
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
  /** The data of the last welcome. */
  welcome = null;
  showsMembers = false;
  /** Outcomes by room, after the last time away. */
  recovered = new Map();
  /** Rooms that it joins when it is its turn. */
  wishes = [];
  /** Errors of rooms that did not let it in. */
  refused = new Map();
  /** True when it shows frames, and not messages. */
  isRaw = false;
  /** True when the server wants another token. */
  needsToken = false;
  /** Resolves with the first welcome, or when there will be none. */
  #ready;
  #isReady;

  /** `letter` is a person's, with a number for a further tab: `A`, `A2`. That one has the first one's token. */
  constructor(letter, hue, token) {
    this.letter = letter;
    this.hue = hue;
    this.#ready = new Promise((resolve) => (this.#isReady = resolve));
    this.person = letter.replace(/(?<=\D)\d+$/, "");
    this.name = `Client ${letter}`;
    this.root = byId("pane").content.firstElementChild.cloneNode(true);
    this.root.dataset.testid = `pane-${letter.toLowerCase()}`;
    this.root.dataset.hue = hue;
    this.root.id = `pane-${letter}`;
    this.root.ariaLabel = this.name;
    this.find(".letter").textContent = letter;
    this.find(".log").ariaLabel = `Frames of ${this.name}`;
    this.find(".messages").ariaLabel = `Messages of ${this.name}`;
    this.find(".seek").ariaLabel = `Filter of ${this.name}`;
    this.find(".remove").ariaLabel = `Close ${this.name}`;
    this.find(".data").value = `{"text": "Hello from ${letter}"}`;
    const problemId = `problem-${letter}`;
    this.find(".problem").id = problemId;
    this.find(".data").setAttribute("aria-describedby", problemId);
    this.frames = new Frames(this);
    this.line = new Line(this.frames);
    this.identity = new Identity(this, token);
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
    return this.kept.get(room) !== undefined || (this.rooms.get(room)?.isAway ?? false);
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
      showTabs();
    });
    on(".toggle", "click", () => (this.isStopped ? this.connect() : this.disconnect()));
    on(".cut", "click", () => (this.line.isCut ? this.mend() : this.cut()));
    on(".sleep", "click", () => this.sleep());
    on(".slow", "click", () => this.slow());
    on(".another", "click", () => this.root.dispatchEvent(new CustomEvent("another-tab", { bubbles: true, detail: this })));
    on(".remove", "click", () => this.remove());
    on(".conn", "click", () => copy(this.find(".conn"), this.find(".conn")));
    on(".clear", "click", () => this.frames.lists.forEach((list) => list.clear()));
    on(".raw-switch", "click", () => this.showRaw(!this.isRaw));
    on(".seek", "input", ({ target }) => this.frames.lists.forEach((list) => list.seek(target.value)));
    on(".pause", "click", ({ target }) => {
      const isPaused = target.ariaPressed !== "true";
      target.ariaPressed = String(isPaused);
      for (const list of this.frames.lists) list.pause(isPaused);
    });
    on(".export", "click", () => {
      const lines = this.frames.log.rows.map(({ at, dir, text, notes }) => JSON.stringify({ at, dir, text, notes }));
      save(`client-${this.letter.toLowerCase()}.jsonl`, lines.join("\n"));
    });
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
    this.needsToken = false;
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
        this.needsToken = true;
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
    for (const [name, { room }] of this.rooms) this.kept.set(name, room.position);
    this.client?.close();
    this.#isReady();
    this.show();
    this.showRooms();
  }

  /** For good: it comes back to no room, and its next connection is that of another client. */
  forget() {
    this.disconnect();
    this.kept.clear();
    this.refused.clear();
    this.recovered.clear();
    this.client = null;
  }

  remove() {
    this.forget();
    page.lanes.delete(this);
    if (page.active === this) page.active = null;
    this.root.remove();
    byId("add").focus();
    this.showRooms();
    showStatus();
  }

  cut() {
    this.recovered.clear();
    this.frames.note("the line is cut");
    this.line.cut();
    this.show();
    this.showWaiting();
  }

  /** Handles nothing for a while. */
  sleep() {
    const seconds = SLEEP_MS / 1000;
    this.frames.note(`asleep for ${seconds} s: nothing is read or sent; the socket stays, and the browser answers pings`);
    this.line.sleep(SLEEP_MS, () => this.frames.note("awake: what came in its sleep follows"));
    this.show();
    setTimeout(() => this.show(), SLEEP_MS + 1);
  }

  /** Handles one frame in a second, or as they come. */
  slow() {
    this.line.slow(this.line.isSlow ? 0 : SLOW_FRAME_MS);
    this.frames.note(this.line.isSlow ? "reads slowly: one frame in a second; the browser keeps the others" : "reads as fast as it can");
    this.show();
  }

  /** Shows frames, or messages. */
  showRaw(isRaw) {
    this.isRaw = isRaw;
    this.root.dataset.view = isRaw ? "raw" : "messages";
    this.find(".raw-switch").ariaPressed = String(isRaw);
    if (page.lanes.has(this)) keepClients();
  }

  mend() {
    this.frames.note("the line is mended");
    this.line.mend();
    this.show();
  }

  /** The first frame of a connection. */
  welcomed(data) {
    this.conns.push(data.conn);
    this.welcome = data;
    // Without it there are no policies, and no room says who is there.
    this.showsMembers = data.limits?.page_entries !== undefined;
    this.identified(data);
    this.#isReady();
    if (data.auth_in_ms !== undefined) this.identity.ask();
  }

  /** True when the server takes nothing but a token. */
  get mustIdentify() {
    return !this.isStopped && this.welcome?.auth_in_ms !== undefined && this.identity.user === "";
  }

  /** It comes back to its rooms, and asks again those that refused it: it may have other rights. */
  identified(data) {
    this.identity.identified(data);
    if (data?.auth_in_ms !== undefined) return;
    const names = new Map([...[...this.refused.keys()].map((name) => [name]), ...this.kept]);
    this.refused.clear();
    this.kept.clear();
    for (const [name, position] of names) if (!this.rooms.has(name)) this.take(name, position);
    this.show();
  }

  /** Joins the rooms that it should begin with, and resolves when it is in each, or will not be. */
  async enter() {
    await this.#ready;
    const names = this.wishes.splice(0).filter((name) => !this.rooms.has(name));
    if (names.length > 0) this.find(".to-room").value = this.find(".join-room").value = names[0];
    if (this.isStopped || this.mustIdentify) for (const name of names) this.kept.set(name, undefined);
    else for (const name of names) this.take(name);
    await Promise.all([...this.rooms.values()].map(({ settled }) => settled));
  }

  join() {
    const name = this.find(".join-room").value;
    this.refused.clear();
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
    this.root.dataset.state = state.name;
    this.find(".pane-head").dataset.state = state.name;
    const left = ((state.retryAt - Date.now()) / 1000).toFixed(1);
    this.find(".state").textContent = this.line.isAsleep ? "Asleep" : this.needsToken ? "Disconnected: needs a token" : isOpen && this.mustIdentify ? "Needs a token" : STATES[state.name] ?? (this.line.isCut ? "No line" : `Reconnecting in ${left} s`);
    const conn = this.find(".conn");
    conn.hidden = !isOpen;
    conn.textContent = this.conn ?? "";
    conn.title = "Connection id. Click to copy.";
    conn.ariaLabel = `Copy connection id ${this.conn ?? ""}`;
    this.find(".toggle").textContent = this.isStopped ? "Connect" : isOpen ? "Disconnect" : "Stop";
    this.find(".sleep").disabled = !isOpen || this.line.isAsleep;
    this.find(".slow").ariaPressed = String(this.line.isSlow);
    this.find(".cut").textContent = this.line.isCut ? "Mend line" : "Cut line";
    for (const button of this.root.querySelectorAll(".needs-open")) button.disabled = !isOpen;
    // What is published meanwhile waits.
    this.find(".publish .primary").disabled = this.isStopped;
    showStatus();
  }

  showRooms() {
    roomsChanged();
    deliveries.draw();
    keepClients();
  }

  #showChips() {
    const shown = [...this.rooms.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
    const chips = this.find(".chips");
    const { ariaLabel, title } = chips.contains(document.activeElement) ? document.activeElement : {};
    chips.replaceChildren(...shown.map((membership) => membership.chip()));
    // They are others, but the focus stays.
    if (title) [...chips.querySelectorAll("button")].find((button) => button.title === title && button.ariaLabel === ariaLabel)?.focus();
  }

  /** Says what waits for whom. */
  showWaiting() {
    this.#showChips();
    this.#showRecovery();
  }

  /** Says what waits for it while it is away, and what became of that. */
  #showRecovery() {
    const isAway = this.state.name !== "open" && [...this.kept.keys(), ...this.rooms.keys()].some((room) => this.isAway(room));
    const lines = [...this.recovered].map(([room, outcome]) => `Back in ${room}: ${outcome}.`);
    if (isAway) {
      const waiting = [...deliveries.waiting(this)].map(([room, count]) => `${counted(count, "message")} in ${room}`);
      lines.splice(0, Infinity, `${this.line.isCut ? "The line is cut" : "Away"}: missed ${waiting.join(", ") || "nothing"} so far.`);
    }
    for (const [room, { code, message }] of this.refused) {
      const advice = FOR_RIGHTS.has(code) ? " Join another room, or use a token with the right to it." : "";
      lines.push(`${room} does not let it in: ${message} (${code}).${advice}`);
    }
    const text = lines.join("\n");
    const note = this.find(".recovery");
    note.hidden = text === "";
    note.dataset.kind = this.refused.size > 0 || [...this.recovered.values()].some((outcome) => outcome.includes("lost")) ? "warn" : "";
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
  showTabs();
  byId("status").dataset.state = size > 0 && open === size ? "open" : open > 0 ? "connecting" : "closed";
  byId("status-text").textContent = `${open} of ${size} connected`;
}
