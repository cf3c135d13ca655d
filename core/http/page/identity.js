// The identity of a client: its token, its user, and the time that is left.

import { claimsOf, textOf } from "./json.js";
import { element, page } from "./shared.js";

/** A time that is left, as a clock shows it. */
function clockOf(ms) {
  const s = Math.max(0, Math.ceil(ms / 1000));
  const parts = [s >= 3600 ? Math.floor(s / 3600) : [], Math.floor(s / 60) % 60, s % 60].flat();
  return parts.map((part, i) => (i === 0 ? String(part) : String(part).padStart(2, "0"))).join(":");
}

/** The identity of one client, and its part of the pane. */
export class Identity {
  user = "";
  #token;
  /** The end of the identity, by the clock of `performance`; 0 for never. */
  #expires = 0;
  /** Gives the client a token for which it waits. */
  #renew = null;

  constructor(lane, token = page.token) {
    this.lane = lane;
    this.#token = token;
    this.root = lane.find(".identity");
    this.root.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#use(this.root.querySelector("input"));
    });
  }

  /** The token that another tab of the same person begins with. */
  get tokenOfTab() {
    return this.#token;
  }

  /** The source of tokens that the client asks. */
  token(why) {
    // Another one is not known: the person at the page has to bring it.
    if (why !== "connect") return new Promise((resolve) => (this.#renew = resolve));
    return this.#token;
  }

  /** A token of the same user renews; with another one the client connects anew. */
  #use(input) {
    const { lane } = this;
    const token = input.value.trim();
    input.value = "";
    this.#token = token;
    const isOpen = lane.state.name === "open";
    const isRenewal = isOpen && this.user === textOf(claimsOf(token)?.sub);
    if (this.#renew) this.#renew(token);
    else if (isRenewal || (isOpen && this.user === "" && lane.rooms.size === 0)) {
      lane.line.send(JSON.stringify({ event: "$auth", id: "token", data: { token } }));
    } else {
      lane.disconnect();
      lane.connect();
    }
    this.#renew = null;
  }

  /** The server has said who the client is. */
  identified({ user, expires_in_ms: left } = {}) {
    this.user = textOf(user);
    this.#expires = typeof left === "number" ? performance.now() + left : 0;
    const grants = this.user === "" ? [] : claimsOf(this.#token ?? "")?.grants;
    const rules = Array.isArray(grants) ? grants : [];
    this.root.querySelector(".rights").replaceChildren(...rules.map((rule) =>
      element("li", {}, element("bdi", { className: "mono" }, textOf(rule?.rooms)), `: ${[rule?.can].flat().map(textOf).join(", ")}`)));
    this.show();
  }

  /** The connection is gone, and its identity with it. */
  ended() {
    this.#renew = null;
    this.identified();
  }

  /** Asks for a token. */
  ask() {
    this.root.open = true;
  }

  show() {
    const left = this.#expires === 0 ? "" : ` · ${clockOf(this.#expires - performance.now())} left`;
    const text = this.user === "" ? "Anonymous" : `User ${this.user}${left}`;
    const summary = this.root.querySelector("summary");
    if (summary.textContent !== text) summary.textContent = text;
  }
}
