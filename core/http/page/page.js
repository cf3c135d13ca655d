// The page to try a server with: clients side by side, who got what, the rooms that there are.

import { deliveries, moveInTable } from "./deliveries.js";
import { Lane } from "./lane.js";
import { liveRooms } from "./live-rooms.js";
import { firstClients } from "./session/clients.js";
import { trace, usedRooms } from "./session/trace.js";
import { byId, copy, page, save, stored } from "./shared.js";
import { showCommands } from "./steps.js";
import { server } from "./view/server.js";
import { moveByKeys } from "./view/tabs.js";

const HUES = 6;
/** The longest wait for one client to be in its rooms, before the next one's turn. */
const TURN_MS = 3000;

function addLane({ letter, hue, isRaw = page.isRaw, rooms = [] }, token) {
  const lane = new Lane(letter, hue, token);
  lane.wishes.push(...rooms);
  lane.showRaw(isRaw);
  page.lanes.add(lane);
  byId("panes").append(lane.root);
  lane.connect();
  return lane;
}

function nextLane() {
  const used = new Set([...page.lanes].map(({ person }) => person));
  const letter = (n) => (n < 26 ? String.fromCharCode(65 + n) : String(n + 1));
  let number = 0;
  while (used.has(letter(number))) number += 1;
  return { letter: letter(number), hue: number % HUES };
}

let entries = 0;

/**
 * One client after the other joins its rooms: then their order is the same each time. One that is not
 * welcomed holds up the others for a while only, and joins when it is.
 */
async function enterRooms() {
  entries += 1;
  const own = entries;
  for (const lane of [...page.lanes]) {
    await Promise.race([lane.enter(), new Promise((next) => setTimeout(next, TURN_MS))]);
    if (own !== entries) return;
  }
}

const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const theme = {
  /** The choice of the person at the page, or undefined. */
  get chosen() {
    return document.documentElement.dataset.theme;
  },
  isDark() {
    return this.chosen ? this.chosen === "dark" : prefersDark.matches;
  },
  show() {
    byId("theme").ariaLabel = `Switch to ${this.isDark() ? "light" : "dark"} theme`;
    byId("theme").title = byId("theme").ariaLabel;
  },
  toggle() {
    document.documentElement.dataset.theme = this.isDark() ? "light" : "dark";
    stored.write("localStorage", "roomcast-theme", this.chosen);
    this.show();
  },
};

theme.show();
prefersDark.addEventListener("change", () => theme.show());
byId("theme").addEventListener("click", () => theme.toggle());

byId("add").addEventListener("click", () => {
  const lane = addLane(nextLane());
  page.active = lane;
  lane.show();
  lane.root.scrollIntoView({ block: "nearest" });
  lane.find(".join-room").focus({ preventScroll: true });
});

byId("save").addEventListener("click", () => {
  save("session.trace", trace());
  const used = usedRooms();
  const names = used.join(", ");
  byId("saved").textContent = used.length > 0
    ? `Saved. It does not replay: there were messages before in ${names}.`
    : "Saved. It replays if its rooms were new.";
});

/** A further connection of the same person, in the same rooms. */
byId("panes").addEventListener("another-tab", ({ detail: lane }) => {
  const used = new Set([...page.lanes].map(({ letter }) => letter));
  let number = 2;
  while (used.has(lane.person + number)) number += 1;
  const tab = addLane({ letter: lane.person + number, hue: lane.hue, rooms: [...lane.rooms.keys()] }, lane.identity.tokenOfTab);
  page.active = tab;
  tab.enter();
  tab.show();
  tab.root.scrollIntoView({ block: "nearest" });
});

byId("raw").addEventListener("click", () => {
  page.isRaw = !page.isRaw;
  stored.write("localStorage", "roomcast-raw", page.isRaw ? "on" : "off");
  byId("raw").ariaPressed = String(page.isRaw);
  for (const lane of page.lanes) lane.showRaw(page.isRaw);
});
byId("raw").ariaPressed = String(page.isRaw);

byId("namespace").value = page.namespace;
byId("namespace").addEventListener("change", ({ target }) => {
  if (!target.reportValidity() || target.value === page.namespace) return;
  page.namespace = target.value;
  history.replaceState(null, "", `#ns=${page.namespace}`);
  for (const lane of page.lanes) lane.forget();
  deliveries.clear();
  for (const lane of page.lanes) {
    lane.wishes = ["lobby"];
    lane.connect();
  }
  enterRooms();
  liveRooms.restart();
  showCommands();
});

byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  liveRooms.useKey(byId("key").value);
});
byId("deliveries").addEventListener("keydown", moveInTable);
document.addEventListener("keydown", moveByKeys);
document.addEventListener("visibilitychange", () => liveRooms.soon());
byId("server").addEventListener("toggle", () => server.show());
setInterval(() => page.lanes.forEach(({ identity }) => identity.user && identity.show()), 1000);
for (const button of document.querySelectorAll("[data-copies]")) {
  button.addEventListener("click", () => copy(byId(button.dataset.copies), button));
}

for (const client of firstClients()) addLane(client);
enterRooms();
showCommands();
liveRooms.soon();
