// For Cloudflare Workers, which compile a module that is imported.

import module from "../dist/roomcast.wasm";

import { start } from "./namespace.js";

export { Namespace, RoomcastError, slot } from "./namespace.js";

export async function init() {
  start(module);
}
