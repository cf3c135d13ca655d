// The rooms of the namespace, as the HTTP API lists them.

import { activeLane, byId, callApi, element, page, stored } from "./shared.js";
import { showCommands, stepDone } from "./steps.js";

const POLL_MS = 2000;
const SHOWN_MAX = 100;

/** The list in the margin, asked for every two seconds while somebody can see it. */
export const liveRooms = {
  timer: 0,
  request: null,
  // Without a valid key an attempt every two seconds would only be noise in the server's log.
  waitsForKey: false,

  soon(delay = 0) {
    clearTimeout(this.timer);
    if (!document.hidden && !this.waitsForKey) this.timer = setTimeout(() => this.poll(), delay);
  },

  async poll() {
    this.request?.abort();
    const request = new AbortController();
    this.request = request;
    const patience = setTimeout(() => request.abort("slow"), 5000);
    try {
      const response = await callApi(`rooms?limit=${SHOWN_MAX}`, { signal: request.signal });
      const body = await response.json().catch(() => null);
      if (this.request === request) this.answered(response, body);
    } catch {
      if (this.request !== request) return;
      this.show([]);
      this.note("The server does not answer. Trying again.", true);
    } finally {
      clearTimeout(patience);
      if (this.request === request) this.soon(POLL_MS);
    }
  },

  answered(response, body) {
    byId("key-form").hidden = true;
    if (response.ok && Array.isArray(body?.rooms)) {
      this.show(body.rooms);
      const more = body.next === undefined ? "" : `Only the first ${SHOWN_MAX} rooms are shown.`;
      this.note(body.rooms.length > 0 ? more : "None yet. A room lives while it has a member.");
    } else if (response.status === 401) {
      this.show([]);
      this.waitsForKey = true;
      this.note(page.apiKey ? "The server refused this API key." : "The server asks for its API key.", page.apiKey !== null);
      byId("key-form").hidden = false;
      showCommands({ needsKey: true });
    } else {
      this.show([]);
      const detail = typeof body?.detail === "string" ? body.detail : response.statusText;
      this.note(`The server answered ${response.status}${detail ? `: ${detail}` : ""}`, true);
    }
  },

  show(rooms) {
    const list = byId("rooms");
    const before = new Map([...list.children].map((item) => [item.dataset.room, item]));
    const items = rooms.map(({ room, members }) => {
      const name = String(room);
      const item = before.get(name) ?? this.item(name);
      item.querySelector(".count").textContent = String(members);
      item.querySelector(".spoken").textContent = members === 1 ? "member" : "members";
      const ours = [...page.lanes].filter((lane) => lane.isIn(name)).length;
      if (ours > 0 && members > ours) stepDone("terminal");
      return item;
    });
    // A list that keeps its entries is left in place: moving them would take the keyboard's focus.
    if (items.length !== list.children.length || items.some((item, i) => list.children[i] !== item)) {
      const focused = document.activeElement;
      list.replaceChildren(...items);
      if (list.contains(focused)) focused.focus();
    }
  },

  item(room) {
    const button = element("button", { type: "button", title: "Fill in as the room to join" },
      element("bdi", {}, room), " ",
      element("span", { className: "count", title: "members" }), " ", element("span", { className: "spoken" }));
    button.addEventListener("click", () => {
      const lane = activeLane();
      if (!lane) return;
      lane.find(".to-room").value = room;
      lane.find(".join-room").value = room;
      lane.find(".join-room").focus();
    });
    const item = element("li", {}, button);
    item.dataset.room = room;
    return item;
  },

  note(text, isBad = false) {
    // Written only when it changes, or a screen reader would say it every two seconds.
    if (byId("rooms-note").textContent !== text) byId("rooms-note").textContent = text;
    byId("rooms-note").classList.toggle("bad", isBad);
  },

  useKey(key) {
    page.apiKey = key;
    stored.write("sessionStorage", "roomcast-api-key", key);
    this.waitsForKey = false;
    byId("key").value = "";
    this.soon();
  },

  /** Begins anew, in another namespace. */
  restart() {
    this.waitsForKey = false;
    this.show([]);
    this.soon();
  },
};
