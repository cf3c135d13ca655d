// The Worker: what it cannot answer by itself goes to the object of a namespace.

import { Front, current, inOrder, restart } from "./runtime.js";

export { NamespaceObject } from "./object.js";

let front = null;
let generation = -1;

function frontOf(env) {
  if (generation !== current()) {
    front = new Front(env);
    generation = current();
  }
  return front;
}

export default {
  async fetch(request, env) {
    try {
      const verdict = frontOf(env).route(request);
      if (verdict instanceof Response) return verdict;
      const object = env.NAMESPACES.getByName(verdict);
      if (!request.body) return await object.fetch(request);
      // Read here: an object is billed for the time in which it waits.
      const body = await read(request, frontOf(env).bodyBytesMax);
      if (!body) return frontOf(env).tooLarge(request);
      const bad = frontOf(env).check(request, body);
      return bad ?? (await object.fetch(new Request(request, { body })));
    } catch (fault) {
      return failed(request, fault);
    }
  },
};

// The whole body; null when it is longer than allowed.
async function read(request, bytesMax) {
  if (Number(request.headers.get("content-length")) > bytesMax) return null;
  const chunks = [];
  let length = 0;
  for await (const chunk of request.body) {
    length += chunk.byteLength;
    if (length > bytesMax) return null;
    chunks.push(chunk);
  }
  const body = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    body.set(chunk, at);
    at += chunk.byteLength;
  }
  return body;
}

function failed(request, fault) {
  if (inOrder(fault)) {
    // A setting, usually: its name helps whoever deployed this.
    console.error(`roomcast: ${fault}`);
    return Front.internal(request, fault);
  }
  if (fault instanceof WebAssembly.RuntimeError) restart(fault);
  else console.error("roomcast: a request failed:", fault?.stack ?? fault);
  return Front.internal(request, "a fault of the server");
}
