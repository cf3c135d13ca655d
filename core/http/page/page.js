// The page to try a server with: clients side by side, who got what, the rooms that there are.

import { deliveries, moveInTable } from "./deliveries.js";
import { Lane } from "./lane.js";
import { liveRooms } from "./live-rooms.js";
import { trace, usedRooms } from "./session/trace.js";
import { byId, copy, element, page, stored } from "./shared.js";
import { showCommands } from "./steps.js";

const HUES = 6;

function addLane() {
  const used = new Set([...page.lanes].map(({ letter }) => letter));
  let number = 0;
  const letter = (n) => (n < 26 ? String.fromCharCode(65 + n) : String(n + 1));
  while (used.has(letter(number))) number += 1;
  const lane = new Lane(letter(number), number % HUES);
  page.lanes.add(lane);
  byId("panes").append(lane.root);
  lane.connect();
  return lane;
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
  const lane = addLane();
  lane.root.scrollIntoView({ block: "nearest" });
  lane.find(".join-room").focus({ preventScroll: true });
});

byId("save").addEventListener("click", () => {
  const href = URL.createObjectURL(new Blob([trace()], { type: "text/plain" }));
  element("a", { href, download: "session.trace" }).click();
  setTimeout(() => URL.revokeObjectURL(href));
  const used = usedRooms();
  const names = used.join(", ");
  byId("saved").textContent = used.length > 0
    ? `Saved. It does not replay: there were messages before in ${names}.`
    : "Saved. It replays if its rooms were new.";
});

byId("namespace").value = page.namespace;
byId("namespace").addEventListener("change", ({ target }) => {
  if (!target.reportValidity() || target.value === page.namespace) return;
  page.namespace = target.value;
  history.replaceState(null, "", `#ns=${page.namespace}`);
  for (const lane of page.lanes) lane.forget();
  deliveries.clear();
  for (const lane of page.lanes) lane.connect();
  liveRooms.restart();
  showCommands();
});

byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  liveRooms.useKey(byId("key").value);
});
byId("deliveries").addEventListener("keydown", moveInTable);
document.addEventListener("visibilitychange", () => liveRooms.soon());
setInterval(() => page.lanes.forEach(({ identity }) => identity.user && identity.show()), 1000);
for (const button of document.querySelectorAll("[data-copies]")) {
  button.addEventListener("click", () => copy(byId(button.dataset.copies), button));
}

addLane();
addLane();
showCommands();
liveRooms.soon();
