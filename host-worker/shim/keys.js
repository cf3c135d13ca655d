// The fetch of the keys that an issuer of tokens publishes.

import { whole } from "./body.js";
import { isLate, within } from "./within.js";

// As on the native server.
const TIME_MS = 1000;
const BYTES_MAX = 64 * 1024;

// The interval at which an object checks whether another one has fetched them, and the most checks.
const LOOK_MS = 20;
const LOOKS_MAX = (2 * TIME_MS) / LOOK_MS;

// Takes the next steps for missing keys: fetches them, or waits while another object does. `ask`
// runs a function on the namespace, which may be a different one after each wait.
export async function fetchKeys(ask) {
  for (let looks = 0; looks < LOOKS_MAX; looks++) {
    const url = ask((namespace) => namespace.nextKeys());
    if (url === undefined) return;
    if (url === "") {
      await scheduler.wait(LOOK_MS);
      continue;
    }
    let answer;
    try {
      answer = await get(url);
    } catch (fault) {
      ask((namespace) => namespace.keysFailed(told(fault)));
      return;
    }
    ask((namespace) => namespace.keysReceived(answer.status, answer.body));
    return;
  }
}

const told = (fault) => (isLate(fault) ? `no whole answer within ${TIME_MS} ms` : String(fault));

function get(url) {
  return within(TIME_MS, url, { headers: { accept: "application/json" } }, async (response) => {
    const { status } = response;
    if (status === 200 && response.body) return { status, body: await whole(response, BYTES_MAX) };
    response.body?.cancel().catch(() => {});
    return { status, body: new Uint8Array() };
  });
}
