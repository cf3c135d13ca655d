// For any host: the application provides the module.

import { start } from "./namespace.js";

export { Namespace, RoomcastError, slot } from "./namespace.js";

export async function init(source) {
  const given = await source;
  start(await compile(given));
}

async function compile(source) {
  if (source instanceof WebAssembly.Module) return source;
  if (source instanceof ArrayBuffer || ArrayBuffer.isView(source)) return WebAssembly.compile(source);
  const response = source instanceof Response ? source : await fetch(source);
  if (!response.ok) throw new Error(`${response.url} answered ${response.status} in place of roomcast.wasm`);
  // Not every server sends the content type that streaming requires.
  return WebAssembly.compile(await response.arrayBuffer());
}
