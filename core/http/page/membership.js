// A client in a room: its state, who else is there, and what was missed.

import { deliveries } from "./deliveries.js";
import { counted, element, laneOf } from "./shared.js";
import { stepDone } from "./steps.js";

const AVATARS_MAX = 5;

/** A room of one client, from the wish to be in it until it is left. */
export class Membership {
  /** True from the loss of the connection until all that was missed is here, or lost. */
  isAway;

  constructor(lane, room, isAway) {
    this.lane = lane;
    this.room = room;
    this.name = room.name;
    this.isAway = isAway;
    this.wasIn = isAway;
    room.onMessage((message) => deliveries.got(lane, message, this.isAway));
    room.onState((state) => this.#changed(state));
    room.onMembers(() => lane.showRooms());
    room.onRecovered(({ missed }) => this.#back(missed === 0 ? "nothing was missed" : `${missed} missed, ${missed} recovered`, "left", missed));
    room.onLost(() => this.#back("", "lost"));
  }

  get isIn() {
    return this.room.state === "joined" || this.room.state === "filling";
  }

  #changed(state) {
    const { lane, room } = this;
    if (this.isIn) this.wasIn = true;
    else if (state === "left") {
      lane.rooms.delete(this.name);
      // A client that is stopped comes back.
      if (!lane.kept.has(this.name)) deliveries.ended(lane, this.name, "left");
    } else if (state === "refused") room.leave();
    else if (this.wasIn) this.isAway = true;
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
    lane.showRecovery();
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

  /** The members, where the room says who they are. */
  #avatars() {
    const members = this.room.members ?? [];
    if (members.length === 0) return [];
    const shown = members.slice(0, AVATARS_MAX).map((member) => {
      const other = laneOf(member.conn);
      const name = member.user || other?.name || `connection ${member.conn}`;
      const avatar = element("span", { className: "avatar", title: name, ariaHidden: "true" }, other?.letter ?? name.slice(0, 1).toUpperCase());
      avatar.dataset.hue = other?.root.dataset.hue ?? "none";
      return { name, avatar };
    });
    const more = members.length - shown.length;
    const names = [...shown.map(({ name }) => name), ...(more > 0 ? [`${more} more`] : [])].join(", ");
    const here = element("span", { className: "here", role: "img", ariaLabel: `here: ${names}`, title: names },
      ...shown.map(({ avatar }) => avatar), more > 0 ? `+${more}` : "");
    here.dataset.testid = "here";
    return [here];
  }
}
