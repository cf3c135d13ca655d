// For browsers: fetches the module. Bundlers find its URL, and serve the file.

import { init as initFrom } from "./slim.js";

export { Namespace, RoomcastError, slot } from "./namespace.js";

export const init = () => initFrom(new URL("../dist/roomcast.wasm", import.meta.url));
