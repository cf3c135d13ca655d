// For Node, Deno and Bun: reads the module from its file.

import { readFile } from "node:fs/promises";

import { start } from "./namespace.js";

export { Namespace, RoomcastError, slot } from "./namespace.js";

let started;

export function init() {
  started ??= readFile(new URL("../dist/roomcast.wasm", import.meta.url))
    .then((bytes) => WebAssembly.compile(bytes))
    .then(start);
  return started;
}
