// Requests to backends that are told of events, or asked.

import { whole } from "./body.js";
import { isLate, within } from "./within.js";

// As on the native server.
const TIME_MS = 15_000;
const ANSWER_BYTES_MAX = 16 * 1024;

// Returns the outcome of a request with events: a status, or a fault. `headers` alternates names
// and values.
export async function post(url, headers, body) {
  try {
    return await send(url, headers, body, TIME_MS, (response) => {
      response.body?.cancel().catch(() => {});
      return { status: response.status, retryAfter: response.headers.get("retry-after") ?? undefined };
    });
  } catch (fault) {
    return { status: 0, fault: told(fault, TIME_MS) };
  }
}

// Returns the outcome of a question: a status and a body, which is empty with a status that means
// no answer; or a fault.
export async function ask(url, headers, body, timeMs) {
  const nothing = new Uint8Array();
  try {
    return await send(url, headers, body, timeMs, async (response) => {
      const { status } = response;
      if ([200, 401, 403].includes(status)) return { status, body: await whole(response, ANSWER_BYTES_MAX) };
      response.body?.cancel().catch(() => {});
      return { status, body: nothing };
    });
  } catch (fault) {
    return { status: 0, body: nothing, fault: told(fault, timeMs), isLate: isLate(fault) };
  }
}

function send(url, headers, body, timeMs, take) {
  const fields = new Headers();
  for (let index = 0; index < headers.length; index += 2) fields.append(headers[index], headers[index + 1]);
  return within(timeMs, url, { method: "POST", headers: fields, body }, take);
}

const told = (fault, timeMs) => (isLate(fault) ? `no answer within ${timeMs} ms` : String(fault));
