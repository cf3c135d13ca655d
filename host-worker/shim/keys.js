// The fetch of the keys that an issuer of tokens publishes.

import { whole } from "./body.js";

// As on the native server.
const TIME_MS = 1000;
const BYTES_MAX = 64 * 1024;

// How often an object looks whether another one has fetched them, and how often at most.
const LOOK_MS = 20;
const LOOKS_MAX = (2 * TIME_MS) / LOOK_MS;

// Fetches keys for as long as `ask` names a next step. It does what it is given with the namespace,
// which may be another one after each wait.
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

const told = (fault) =>
  fault?.name === "TimeoutError" ? `no whole answer within ${TIME_MS} ms` : String(fault);

async function get(url) {
  const signal = AbortSignal.timeout(TIME_MS);
  const headers = { accept: "application/json" };
  const response = await fetch(url, { redirect: "manual", signal, headers });
  if (response.status !== 200 || !response.body) {
    response.body?.cancel().catch(() => {});
    return { status: response.status, body: new Uint8Array() };
  }
  return { status: 200, body: await whole(response, BYTES_MAX) };
}
