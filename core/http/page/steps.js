// The next things to try, and the commands to paste.

import { activeLane, at, byId, page, socketAddress } from "./shared.js";

/** Ticks a step off, and opens the next. */
export function stepDone(name) {
  const { classList } = document.querySelector(`[data-step="${name}"]`);
  if (classList.contains("done")) return;
  classList.add("done");
  const next = document.querySelector(".step:not(.done) details");
  if (next) next.open = true;
}

const shellQuote = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

/** Writes the commands: they name this server, this namespace and the room at hand. */
export function showCommands({ needsKey = page.apiKey !== null } = {}) {
  const room = activeLane()?.find(".to-room").value || "lobby";
  const body = `{"audience": {"rooms": [${JSON.stringify(room)}]},\n  "event": "said",\n  "data": {"text": "Hello from curl"}}`;
  const key = needsKey ? `  -H "Authorization: Bearer $ROOMCAST_API_KEY" \\\n` : "";
  byId("command-curl").textContent = `curl -d ${shellQuote(body)} \\\n${key}  -H 'Content-Type: application/json' \\\n  ${shellQuote(at(`api/v1/${page.namespace}/send`).href)}`;
  const url = socketAddress().href;
  const option = url === "ws://127.0.0.1:3000/ws" ? "" : ` \\\n  --url ${shellQuote(url)}`;
  byId("command-join").textContent = `roomcast join ${shellQuote(room)}${option}`;
  byId("rooms-namespace").textContent = `in ${page.namespace}`;
}
