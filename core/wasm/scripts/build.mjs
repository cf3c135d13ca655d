// Builds dist/: the module, the script that binds it, and the module as a text. Needs cargo, and
// `npm ci` in host-worker.
//
//     npm run build
//     npm run build -- --quick      larger and slower, and built sooner: for tests

import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";

import { bind, metadata } from "../../../host-worker/bindgen/module.mjs";

const dist = fileURLToPath(new URL("../dist", import.meta.url));
const wasm = join(dist, "roomcast.wasm");

async function main() {
  const { values: options } = parseArgs({ options: { quick: { type: "boolean", default: false } } });
  const { target_directory: target } = await metadata();
  mkdirSync(dist, { recursive: true });
  const script = await bind({ name: "roomcast-wasm", lib: "roomcast_wasm", target, quick: options.quick, wasm });
  copyFileSync(script, join(dist, "roomcast.js"));
  const text = gzipSync(readFileSync(wasm), { level: 9 }).toString("base64");
  writeFileSync(join(dist, "inline.js"), `// The module, compressed.\nexport const gzip = "${text}";\n`);
}

main().catch((fault) => {
  console.error(`build: ${fault.message}`);
  process.exitCode = 1;
});
