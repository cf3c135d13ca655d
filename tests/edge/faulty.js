// Stands in front of the worker and lets the platform fail, for tests.
//
//     POST /-/fail?call=NAME&calls=N[&how=skip]
//         The N-th call of a method from here on throws, or does nothing; once.
//     POST /-/damage?calls=N&sql=STATEMENT
//         Before the N-th statement of an object from here on, this one is carried out; once.
//     POST /-/happened
//         Whether all of these have happened. Those that have not never will.
//     POST /-/births
//         How many objects have come into memory.
//     POST /-/tags
//         The most tags that a socket was given.
//
// Methods are patched where all objects find them: in their prototypes. One is no method: "frame"
// hands a frame from WebAssembly to JavaScript, where no exception is caught. As good as a trap.

import built, { NamespaceObject as Built } from "./index.js";

const planted = new Map();
let births = 0;
let tagsMax = 0;

export class NamespaceObject extends Built {
  constructor(ctx, env) {
    patch(Object.getPrototypeOf(ctx), "acceptWebSocket", (_, tags) => {
      tagsMax = Math.max(tagsMax, tags?.length ?? 0);
    });
    patch(Object.getPrototypeOf(ctx.storage), "setAlarm");
    patch(Object.getPrototypeOf(ctx.storage.sql), "exec");
    births += 1;
    super(ctx, env);
  }
}

for (const name of ["send", "close", "serializeAttachment", "deserializeAttachment"]) {
  patch(WebSocket.prototype, name);
}
const decode = TextDecoder.prototype.decode;
TextDecoder.prototype.decode = function (...args) {
  const text = decode.apply(this, args);
  if (text.startsWith('{"event":')) fails("frame");
  return text;
};

// Carries out what damages the storage, when it is time.
function damages(sql, exec) {
  const plan = planted.get("damage");
  if (!plan || --plan.calls > 0) return;
  planted.delete("damage");
  exec.call(sql, plan.statement);
}

// Whether this call is to do nothing. Throws when it is to fail.
function fails(name) {
  const plan = planted.get(name);
  if (!plan || --plan.calls > 0) return false;
  planted.delete(name);
  if (plan.how === "skip") return true;
  throw new Error(`${name} fails, as it was told to`);
}

function patch(owner, name, look = () => {}) {
  const method = owner[name];
  if (method.patched) return;
  owner[name] = function (...args) {
    look(...args);
    if (name === "exec") damages(this, method);
    return fails(name) ? undefined : method.apply(this, args);
  };
  owner[name].patched = true;
}

function control({ pathname, searchParams }) {
  switch (pathname) {
    case "/-/fail":
      planted.set(searchParams.get("call"), { calls: Number(searchParams.get("calls")), how: searchParams.get("how") });
      return new Response("planted");
    case "/-/damage":
      planted.set("damage", { calls: Number(searchParams.get("calls")), statement: searchParams.get("sql") });
      return new Response("planted");
    case "/-/happened": {
      const happened = planted.size === 0;
      planted.clear();
      return Response.json(happened);
    }
    case "/-/births":
      return Response.json(births);
    case "/-/tags":
      return Response.json(tagsMax);
    default:
      return null;
  }
}

export default {
  fetch(request, env, ctx) {
    return control(new URL(request.url)) ?? built.fetch(request, env, ctx);
  },
};
