// The panels of one step: its frames, the state after it, the differences without it.

import { $, count, make } from "./dom.js";
import { written } from "./filter.js";

const SHOWN_MAX = 100;

function some(items, element) {
  const elements = items.slice(0, SHOWN_MAX).map(element);
  if (items.length > SHOWN_MAX) elements.push(make("span", { class: "dim" }, `and ${items.length - SHOWN_MAX} more`));
  return elements;
}

export class Panels {
  // `pick` is called with a filter, `go` with a line.
  constructor(pick, go) {
    this.id = (conn) => make("button", { type: "button", class: "id", title: `Inputs of connection ${conn}`, onclick: () => pick(`conn:${conn}`) }, conn);
    this.room = (room) => make("button", { type: "button", class: "id", title: `Inputs about ${room}`, onclick: () => pick(written("room", room)) }, room);
    this.missed = (conn) => make("button", { type: "button", class: "id", title: `Messages of rooms that ${conn} did not get`, onclick: () => pick(`not-received-by:${conn}`) }, "not received");
    this.line = (line) => make("button", { type: "button", class: "id", onclick: () => go(line) }, `line ${line}`);
  }

  input(row) {
    const { at, namespace, isInput } = row.fields;
    $("input-about").textContent = `line ${row.number}, ${at} ms${namespace && `, namespace ${namespace}`}`;
    $("input").textContent = row.text;
    $("skip").disabled = !isInput;
    $("skipped").hidden = true;
  }

  frames(outputs) {
    const kinds = { send: (output) => output.frame, close: (output) => `${output.code} ${output.reason}`, ping: () => "" };
    $("frames-about").textContent = outputs.length === 0 ? "none" : count(outputs.length, "command");
    $("frames").replaceChildren(...some(outputs, (output) => {
      const to = output.to ?? [output.conn];
      const head = make("div", { class: "to" }, `${output.kind} to`, ...some(to, this.id));
      const text = kinds[output.kind](output);
      return make("div", { class: "out" }, head, ...(text ? [make("pre", {}, text)] : []));
    }));
  }

  state(state) {
    $("state-about").textContent = state
      ? `${count(state.rooms_count, "room")}, ${count(state.connections_count, "connection")}`
      : "of no namespace";
    if (!state) return $("state").replaceChildren();
    const rooms = some(state.rooms, (room) => {
      const history = room.history?.length ? [make("h3", {}, "Last messages"), ...room.history.map((frame) => make("pre", {}, frame))] : [];
      return make("details", {}, make("summary", {}, make("b", {}, room.room), ` ${count(room.members_count, "member")}, offset ${room.offset}`),
        make("div", { class: "to" }, this.room(room.room), ...some(room.members, this.id)), ...history);
    });
    const connections = some(state.connections, (one) => make("div", { class: "to" }, this.id(one.conn),
      make("span", {}, one.user ?? "anonymous"), make("span", { class: "dim" }, `since ${one.since} ms`), ...some(one.rooms, this.room), this.missed(one.conn)));
    $("state").replaceChildren(make("h3", {}, "Rooms"), ...rooms, make("h3", {}, "Connections"), ...connections);
  }

  /** Shows the result or the progress of a check of the invariants. */
  checked({ count: broken, violations }, about) {
    const more = broken > violations.length ? `, the first ${violations.length} of them here` : "";
    $("invariants-about").textContent = `${about}${broken > 0 ? `: ${count(broken, "violation")}${more}` : ""}`;
    $("violations").replaceChildren(...some(violations, ({ line, invariant, conn, room, text }) =>
      make("li", { class: "to violation" }, this.line(line), make("b", {}, invariant), make("span", {}, text),
        ...(conn ? [this.id(conn)] : []), ...(room ? [this.room(room)] : []))));
  }

  skipped({ count: differing, differences }, row) {
    const more = differing > differences.length ? `, the first ${differences.length} of them here` : "";
    const ids = row.fields.kind === "connect" ? "; connections that open after it have other ids" : "";
    $("skipped-about").textContent = differing === 0
      ? "every connection gets the same"
      : `${count(differing, "difference")}, one for each step and connection${more}${ids}`;
    const side = (mark, label, frames) => frames.map((frame) => make("pre", { class: mark }, make("span", { class: "hidden-text" }, label), frame));
    $("differences").replaceChildren(...some(grouped(differences), ({ line, conns, with: sent, without }) => {
      const [only, other] = [sent.filter((frame) => !without.includes(frame)), without.filter((frame) => !sent.includes(frame))];
      // The same frames in another order, or another number of them, are a difference too.
      const [minus, plus] = only.length + other.length > 0 ? [only, other] : [sent, without];
      return make("div", { class: "differs" },
        make("div", { class: "to" }, this.line(line), "to", ...some(conns, this.id)),
        make("div", { class: "changes" }, ...side("minus", "not sent: ", minus), ...side("plus", "sent: ", plus)));
    }));
    $("skipped").hidden = false;
  }
}

// Merges the differences of a step that are the same for several connections.
function grouped(differences) {
  const groups = new Map();
  for (const { conn, ...same } of differences) {
    const key = JSON.stringify(same);
    if (!groups.has(key)) groups.set(key, { ...same, conns: [] });
    groups.get(key).conns.push(conn);
  }
  return [...groups.values()];
}
