// A client in a room: its state, who else is there, and what was missed.

import { deliveries } from "./deliveries.js";
import { counted, element, laneOf, page } from "./shared.js";
import { stepDone } from "./steps.js";

const AVATARS_MAX = 5;

/** A room of one client, from the wish to be in it until it is left. */
export class Membership {
  /** True from the loss of the connection until all that was missed is here, or lost. */
  isAway;
  /** Resolves when the server has said whether it is in, and who else is. */
  settled;
  #settle;

  constructor(lane, room, isAway) {
    this.lane = lane;
    this.room = room;
    this.name = room.name;
    this.isAway = isAway;
    this.wasIn = isAway;
    this.settled = new Promise((resolve) => (this.#settle = resolve));
    room.onMessage((message) => {
      const took = deliveries.got(lane, message, this.isAway);
      lane.frames.delivered(message, this.isAway, took);
    });
    room.onState((state) => this.#changed(state));
    room.onMembers(() => {
      this.#settle();
      lane.showRooms();
    });
    room.onRecovered(({ missed }) => this.#back(missed === 0 ? "nothing was missed" : `${missed} missed, ${missed} recovered`, "left", missed));
    room.onLost(() => this.#back("", "lost"));
  }

  get isIn() {
    return this.room.state === "joined" || this.room.state === "filling";
  }

  #changed(state) {
    const { lane, room } = this;
    if (this.isIn ? !lane.showsMembers : state === "left" || state === "refused") this.#settle();
    if (this.isIn) {
      this.wasIn = true;
      lane.refused.delete(this.name);
    } else if (state === "left") {
      lane.rooms.delete(this.name);
      // A client that is stopped comes back.
      if (!lane.kept.has(this.name)) deliveries.ended(lane, this.name, "left");
    } else if (state === "refused") {
      lane.refused.set(this.name, room.error);
      room.leave();
    } else if (this.wasIn) this.isAway = true;
    lane.showRooms();
  }

  /** It is back: what was missed is here, or will not come. */
  #back(outcome, status, missed = 0) {
    const { lane } = this;
    this.isAway = false;
    const lost = deliveries.ended(lane, this.name, status);
    const seen = lost === 0 ? "what was said meanwhile, if anything, is lost" : `${counted(lost, "message")} lost, of those that this page saw`;
    lane.recovered.set(this.name, outcome || seen);
    if (missed > 0) stepDone("recover");
    lane.showWaiting();
  }

  /** The room as a chip: its name, who is there, and the way out. */
  chip() {
    const { lane, name } = this;
    const pick = element("button", { type: "button", className: "pick", title: `Publish to ${name}` }, element("bdi", {}, name));
    pick.addEventListener("click", () => {
      lane.find(".to-room").value = name;
      lane.find(".data").focus();
    });
    const leave = element("button", { type: "button", className: "leave", title: "Leave", ariaLabel: `Leave ${name}` }, "×");
    leave.dataset.testid = "leave";
    leave.addEventListener("click", () => this.room.leave());
    const chip = element("li", { className: "chip" }, pick, ...this.#avatars(), leave);
    chip.dataset.state = this.room.state;
    return chip;
  }

  /** The members, where the room says who they are; then the clients of this page that it waits for. */
  #avatars() {
    const members = this.room.members ?? [];
    const people = new Map();
    for (const { conn, user } of members) {
      const other = laneOf(conn);
      const name = user || other?.person || `connection ${conn}`;
      const person = people.get(name) ?? {
        name: other && !user ? `Client ${other.person}` : name,
        letter: other && !user ? other.person : name.slice(0, 1).toUpperCase(),
        lane: other,
        tabs: 0,
      };
      person.lane ??= [...page.lanes].find((lane) => user && lane.identity.user === user);
      person.tabs += user ? Math.max(1, tabsOf(user, this.name)) : 1;
      people.set(name, person);
    }
    const shown = [...people.values()].slice(0, AVATARS_MAX).map(({ name, letter, lane, tabs }) => {
      const label = tabs > 1 ? `${name} (${tabs} tabs)` : name;
      const avatar = element("span", { className: "avatar", title: label, ariaHidden: "true" }, letter);
      avatar.dataset.hue = lane?.root.dataset.hue ?? "none";
      return { label, avatar, count: tabs > 1 ? [element("small", { ariaHidden: "true" }, `×${tabs}`)] : [] };
    });
    const more = people.size - shown.length;
    const names = [...shown.map(({ label }) => label), ...(more > 0 ? [`${more} more`] : [])].join(", ");
    const here = element("span", { className: "here", role: "img", ariaLabel: `here: ${names}`, title: names },
      ...shown.flatMap(({ avatar, count }) => [avatar, ...count]), more > 0 ? `+${more}` : "");
    here.dataset.testid = "here";
    return [...(shown.length > 0 ? [here] : []), ...this.#absent()];
  }

  /** Other clients of this page that come back to the room, with the number of messages that wait. */
  #absent() {
    const absent = [...page.lanes].filter((lane) => lane !== this.lane && lane.isAway(this.name));
    return absent.map((lane) => {
      const waiting = deliveries.waiting(lane).get(this.name) ?? 0;
      const note = element("span", { className: "absent" }, `${lane.letter} away${waiting > 0 ? `, ${waiting} waiting` : ""}`);
      note.dataset.testid = "absent";
      return note;
    });
  }
}

/** Connections of a user that are clients of this page in a room. */
const tabsOf = (user, room) => [...page.lanes].filter((lane) => lane.identity.user === user && lane.isIn(room)).length;
