// The client in a runtime with processes, such as Node, Deno and Bun:
//
//     node process.mjs http://127.0.0.1:3000 API_KEY

import process from "node:process";
import { Roomcast } from "../../client/dist/index.js";
import { smoke } from "./smoke.mjs";

const [url, key] = process.argv.slice(2);
// Node 20 has no WebSocket of its own.
const WebSocket = globalThis.WebSocket ?? (await import("../clients/node_modules/ws/wrapper.mjs")).default;
console.log(await smoke(Roomcast, { url, key, WebSocket }));
// The process ends by itself: the client has left no timer and no socket.
