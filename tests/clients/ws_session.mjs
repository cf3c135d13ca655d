// Sessions of the npm library `ws` against a running server:
//
//     node ws_session.mjs ws://127.0.0.1:3000 http://127.0.0.1:3000 API_KEY [CASE]...
//
// `-` stands for no key. The server must run with `--inbound-rate off`. Prints one line per case;
// the exit code is 0 when all passed. CLOSE_WAIT_MS=N in the environment: a client ends the
// connection so long after the close frames, when the server has not.

import process from "node:process";
import * as apiCases from "./ws_api.mjs";
import { Api } from "./ws_client.mjs";
import * as errorCases from "./ws_errors.mjs";
import * as roomCases from "./ws_rooms.mjs";

const [ws, http, key, ...wanted] = process.argv.slice(2);
if (!key) {
  console.error("usage: node ws_session.mjs WS_URL HTTP_URL API_KEY_OR_- [CASE]...");
  process.exit(2);
}

const session = { ws: ws.replace(/\/$/, ""), api: new Api(http, key === "-" ? null : key) };
const cases = Object.entries({ ...roomCases, ...errorCases, ...apiCases })
  .filter(([, run]) => typeof run === "function")
  .filter(([name]) => wanted.length === 0 || wanted.includes(name));

let failed = 0;
for (const [name, run] of cases) {
  try {
    await run(session);
    console.log(`ok ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED ${name}: ${error.message}`);
  }
}
console.log(`${cases.length - failed} passed, ${failed} failed`);
// Connections left open by cases must not keep the process running.
process.exit(failed > 0 || cases.length === 0 ? 1 : 0);
