// For any host: the module is a text in a script, so no file is fetched or read.

import { gzip } from "../dist/inline.js";
import { start } from "./namespace.js";

export { Namespace, RoomcastError, slot } from "./namespace.js";

export async function init() {
  const bytes = Uint8Array.from(atob(gzip), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  start(await WebAssembly.compile(await new Response(stream).arrayBuffer()));
}
