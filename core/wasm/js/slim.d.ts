export { Namespace, RoomcastError, slot } from "./namespace.js";
export type { Audience, Caller, Conn, Delivery, Host, Identity, Json, Options } from "./namespace.js";

/** Instantiates the module from its URL, a response, its bytes, or a compiled module. */
export function init(
  source: Source | Promise<Source>,
): Promise<void>;

type Source = string | URL | Response | ArrayBuffer | ArrayBufferView | WebAssembly.Module;
