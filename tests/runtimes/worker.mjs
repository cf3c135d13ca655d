// The client in workerd. A request names the server.

import { Roomcast } from "./client.js";
import { smoke } from "./smoke.mjs";

export default {
  async fetch(request) {
    try {
      return new Response(await smoke(Roomcast, await request.json()));
    } catch (error) {
      return new Response(`FAILED ${error.stack}`, { status: 500 });
    }
  },
};
