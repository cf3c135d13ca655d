// Evicts Durable Objects of the workers beside it, for tests: the runtime does it by itself only
// after ten seconds of silence.
//
//     POST /evict?worker=NAME&object=NAME&sockets=hibernate|close
//
// 200 once the object has left memory, 404 when it was not there.

import unsafe from "workerd:unsafe";

const NOT_RUNNING = "it is not currently running";

export default {
  async fetch(request, env) {
    const { pathname, searchParams } = new URL(request.url);
    const [worker, object, sockets] = ["worker", "object", "sockets"].map((name) => searchParams.get(name));
    if (pathname !== "/evict" || !env[worker]) return new Response("no such worker", { status: 400 });
    try {
      await unsafe.evict(env[worker].getByName(object), { webSockets: sockets });
      return new Response("evicted");
    } catch (error) {
      return new Response(String(error), { status: error.message.includes(NOT_RUNNING) ? 404 : 500 });
    }
  },
};
