// The clients as tabs, where there is room for one of them; the compact form for three and more; keys between them.

import { deliveries } from "../deliveries.js";
import { activeLane, byId, element, page } from "../shared.js";
import { showCommands } from "../steps.js";

const LANES_WIDE_MAX = 2;
const phone = matchMedia("(max-width: 640px)");

function tab(lane, isChosen) {
  const waiting = [...deliveries.waiting(lane).values()].reduce((sum, count) => sum + count, 0);
  const button = element("button", { type: "button", role: "tab", ariaSelected: String(isChosen), tabIndex: isChosen ? 0 : -1, ariaLabel: lane.name },
    element("span", { className: "dot" }), element("span", { className: "avatar", ariaHidden: "true" }, lane.letter));
  if (waiting > 0) {
    button.ariaLabel = `${lane.name}, ${waiting} waiting`;
    button.append(element("small", {}, `${waiting} waiting`));
  }
  button.setAttribute("aria-controls", lane.root.id);
  button.lastChild.before(" ");
  Object.assign(button.dataset, { state: lane.state.name, hue: lane.hue, lane: lane.letter });
  button.addEventListener("click", () => choose(lane));
  return button;
}

function choose(lane) {
  page.active = lane;
  showTabs();
  showCommands();
  if (phone.matches) byId("tabs").querySelector('[aria-selected="true"]').focus();
  else lane.root.focus();
}

/** Draws the tabs, and hides the other clients on a phone. */
export function showTabs() {
  const lanes = [...page.lanes];
  const chosen = activeLane();
  const tabs = byId("tabs");
  const hasFocus = tabs.contains(document.activeElement);
  tabs.hidden = !phone.matches || lanes.length === 0;
  tabs.replaceChildren(...(tabs.hidden ? [] : lanes.map((lane) => tab(lane, lane === chosen))));
  if (hasFocus) tabs.querySelector('[aria-selected="true"]')?.focus();
  for (const lane of lanes) {
    lane.root.hidden = phone.matches && lane !== chosen;
    lane.root.role = phone.matches ? "tabpanel" : null;
  }
  document.body.classList.toggle("phone", phone.matches);
  document.body.classList.toggle("compact", phone.matches || lanes.length > LANES_WIDE_MAX);
}

/** Goes from client to client by the arrows, and from message to message by the brackets. */
export function moveByKeys(event) {
  const { key, target } = event;
  if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey || target.closest("input, textarea, select, pre")) return;
  const lanes = [...page.lanes];
  const step = { ArrowLeft: -1, ArrowRight: 1, "[": 1, "]": -1 }[key];
  if (step === undefined || lanes.length === 0) return;
  event.preventDefault();
  if (key.startsWith("Arrow")) choose(lanes.at((lanes.indexOf(activeLane()) + step) % lanes.length));
  else deliveries.choose(activeLane(), step);
}

phone.addEventListener("change", () => showTabs());
