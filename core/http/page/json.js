// JSON as it came, and as it was typed.

import { element } from "./shared.js";

const TOKEN = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d[\d.eE+-]*|true|false|null|[{}[\],:]|\s+|[^\s"{}[\],:]+|"/gs;

/** A string, or an empty one: what a stranger sent may be of any type. */
export const textOf = (value) => (typeof value === "string" ? value : "");

/** The members of a frame, or null. Without a prototype, an absent member is never an inherited one. */
export function parseFrame(text) {
  try {
    const value = JSON.parse(text);
    if (value === null || typeof value !== "object" || Array.isArray(value)) return null;
    return Object.assign(Object.create(null), value);
  } catch {
    return null;
  }
}

/** The value of typed JSON. Its numbers keep their digits (`1.0`, large integers), where the browser can. */
export function typedValue(text) {
  if (text.trim() === "") return undefined;
  const isExact = typeof JSON.rawJSON === "function";
  return JSON.parse(text, (_, value, from) => (isExact && typeof value === "number" ? JSON.rawJSON(from.source) : value));
}

/** The claims of a token, or null: for a person to see, verified by nobody. */
export function claimsOf(token) {
  try {
    const text = atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/"));
    return parseFrame(new TextDecoder().decode(Uint8Array.from(text, (c) => c.charCodeAt(0))));
  } catch {
    return null;
  }
}

/**
 * Colours the text of a frame without parsing it into values, so that what is shown is what was
 * on the wire: numbers beyond a double, repeated keys and a key named `__proto__` included.
 */
export function colourJson(text) {
  const out = document.createDocumentFragment();
  let depth = 0;
  let lastString = null;
  let eventFollows = false;
  for (const [token] of text.matchAll(TOKEN)) {
    if (/^\s/.test(token)) continue;
    const first = token[0];
    const node = element("span", { className: "j-punct" }, token);
    if (first === "{" || first === "[") depth += 1;
    else if (first === "}" || first === "]") depth -= 1;
    else if (first === ":") {
      if (lastString) lastString.className = "j-key";
      eventFollows = depth === 1 && lastString?.textContent === '"event"';
      node.append(" ");
    } else if (first === ",") node.append(" ");
    else if (first === '"') node.className = eventFollows ? "j-event" : "j-string";
    else node.className = /^[-\d]/.test(token) ? "j-number" : "j-literal";
    lastString = first === '"' ? node : null;
    if (first !== ":") eventFollows = false;
    out.append(node);
  }
  return out;
}
