// Builds dist/: the module, its bindings, and the module as a text; also the module that replays
// journals, which is the one of the inspector. Needs cargo, and `npm ci` in host-worker.
//
//     npm run build
//     npm run build -- --quick      larger and slower, and built sooner: for tests
//     npm run build -- --replay     the module that replays journals alone

import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";

import { bind, metadata } from "../../../host-worker/bindgen/module.mjs";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const dist = at("../dist");
const wasm = join(dist, "roomcast.wasm");

async function main() {
  const flag = { type: "boolean", default: false };
  const { values: options } = parseArgs({ options: { quick: flag, replay: flag } });
  mkdirSync(dist, { recursive: true });
  replay();
  if (options.replay) return;
  const { target_directory: target } = await metadata();
  const script = await bind({ name: "roomcast-wasm", lib: "roomcast_wasm", target, quick: options.quick, wasm });
  copyFileSync(script, join(dist, "roomcast.js"));
  const text = gzipSync(readFileSync(wasm), { level: 9 }).toString("base64");
  write("inline.js", text);
}

function replay() {
  const [, text] = /"roomcast-stepper:([^"]*)"/.exec(readFileSync(at("../../http/page/inspect.html"), "utf8")) ?? [];
  if (!text) throw new Error("core/http/page/inspect.html has no module: npm run inspect");
  copyFileSync(at("../inspect/stepper.js"), join(dist, "replay.js"));
  write("replay-module.js", text);
}

function write(name, gzip) {
  writeFileSync(join(dist, name), `// The module, compressed.\nexport const gzip = "${gzip}";\n`);
}

main().catch((fault) => {
  console.error(`build: ${fault.message}`);
  process.exitCode = 1;
});
