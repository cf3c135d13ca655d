// The Worker: requests that it cannot answer itself go to the object of a namespace.

import { Front, current, inOrder, restart } from "./runtime.js";

export { NamespaceObject } from "./object.js";

let front = null;
let generation = -1;

// Calls the module. A thrown fault is rethrown, after the module was restarted where necessary.
function ask(env, question) {
  try {
    if (generation !== current()) {
      front = new Front(env);
      generation = current();
    }
    return question(front);
  } catch (fault) {
    if (!inOrder(fault)) restart(fault);
    throw fault;
  }
}

export default {
  async fetch(request, env) {
    let object;
    try {
      const verdict = ask(env, (front) => front.route(request));
      if (verdict instanceof Response) return verdict;
      object = env.NAMESPACES.getByName(verdict);
      if (request.body) {
        // The body is read here, because an object is billed for the time that it waits.
        const { bodyBytesMax, bodyTimeMs } = ask(env, (front) => front);
        const { body, tooLate } = await read(request, bodyBytesMax, bodyTimeMs);
        const bad = ask(env, (front) => {
          if (body) return front.check(request, body);
          return tooLate ? front.tooLate(request) : front.tooLarge(request);
        });
        if (bad) return bad;
        request = withBody(request, body);
      }
    } catch (fault) {
      // A text is about a setting: its name helps the operator.
      console.error("roomcast: a request is not answered:", fault?.stack ?? fault);
      return Front.internal(request, inOrder(fault) ? fault : "internal server error (logged)");
    }
    try {
      return await object.fetch(request);
    } catch (fault) {
      console.error("roomcast: the object of a namespace does not answer:", fault?.stack ?? fault);
      return Front.unavailable(request);
    }
  },
};

// Reads the whole body, unless it is longer or takes longer than allowed.
async function read(request, bytesMax, timeMs) {
  if (Number(request.headers.get("content-length")) > bytesMax) return {};
  const reader = request.body.getReader();
  const alarm = new AbortController();
  const late = scheduler.wait(timeMs, { signal: alarm.signal }).then(
    () => ({ late: true }),
    () => ({}),
  );
  try {
    const chunks = [];
    let length = 0;
    for (;;) {
      const { done, value, late: tooLate } = await Promise.race([reader.read(), late]);
      if (tooLate) return { tooLate };
      if (done) return { body: joined(chunks, length) };
      length += value.byteLength;
      if (length > bytesMax) return {};
      chunks.push(value);
    }
  } finally {
    alarm.abort();
    // The rest of the body is not awaited.
    reader.cancel().catch(() => {});
  }
}

// Returns the request with its body, which has been read. Some clients declare an empty body for a
// `GET`, but the platform makes no `GET` request with a body.
function withBody(request, body) {
  const { method, url, headers } = request;
  const has = method !== "GET" && method !== "HEAD";
  return has ? new Request(request, { body }) : new Request(url, { method, headers });
}

function joined(chunks, length) {
  const body = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    body.set(chunk, at);
    at += chunk.byteLength;
  }
  return body;
}
