// The clients of the page as this tab of the browser keeps them: a reload brings them back.

import { page, stored } from "../shared.js";

const KEY = "roomcast-clients";
const FIRST = ["A", "B"].map((letter, hue) => ({ letter, hue, rooms: ["lobby"] }));
const LETTERS = /^([A-Z]\d*|\d+)$/;

/** The clients to begin with: those that were kept, or two in one room. */
export function firstClients() {
  try {
    const { namespace, clients } = JSON.parse(stored.read("sessionStorage", KEY));
    const isSound = ({ letter, hue, rooms }) => LETTERS.test(letter) && Number.isInteger(hue) && Array.isArray(rooms);
    if (namespace === page.namespace && clients.length > 0 && clients.every(isSound)) return clients;
  } catch {
    // Nothing was kept, or not by this page.
  }
  return FIRST;
}

/** Keeps the clients with their rooms. Tokens are a secret, and are not kept. */
export function keepClients() {
  const clients = [...page.lanes].map(({ letter, hue, isRaw, rooms, kept, wishes, refused }) =>
    ({ letter, hue, isRaw, rooms: [...new Set([...rooms.keys(), ...kept.keys(), ...wishes, ...refused.keys()])] }));
  stored.write("sessionStorage", KEY, JSON.stringify({ namespace: page.namespace, clients }));
}
