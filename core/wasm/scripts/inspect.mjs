// Writes the inspector as one page, which the server serves at /inspect; has the same requirements
// as scripts/build.mjs.
//
//     npm run inspect                  the module, and the page
//     npm run inspect -- --page        the page around the module that it has
//     npm run inspect -- --check       fails when the page is not made of what is in inspect/

import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";

import { bind, metadata } from "../../../host-worker/bindgen/module.mjs";

const at = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));
const PAGE = at("../http/page/inspect.html");
// The module is a string in the script, so that the rest of the page can be compared.
const MODULE = /"roomcast-stepper:([^"]*)"/;
// The bindings of the module, written by the build.
const BINDING = at("inspect/stepper.js");
const HTML_BYTES_MAX = 600_000;

async function main() {
  const { values: options } = parseArgs({
    options: { page: { type: "boolean", default: false }, check: { type: "boolean", default: false } },
  });
  const before = existsSync(PAGE) ? readFileSync(PAGE, "utf8") : "";
  const made = options.page || options.check ? parts(before) : await build();
  const page = bundle(made);
  if (options.check) {
    if (page !== before) throw new Error("core/http/page/inspect.html is not what core/wasm/inspect makes: npm run inspect");
    return;
  }
  writeFileSync(PAGE, page);
  console.log(`core/http/page/inspect.html: ${page.length} bytes`);
  if (page.length > HTML_BYTES_MAX) throw new Error(`the page is over its budget of ${HTML_BYTES_MAX} bytes`);
}

async function build() {
  const { target_directory: target } = await metadata();
  mkdirSync(at("dist"), { recursive: true });
  const wasm = at("dist/inspect.wasm");
  const features = ["--features", "inspect"];
  const script = await bind({
    name: "roomcast-wasm", lib: "roomcast_wasm", target, features, profile: "inspect", wasm,
  });
  copyFileSync(script, BINDING);
  return { gzip: gzipSync(readFileSync(wasm), { level: 9 }).toString("base64") };
}

function parts(page) {
  const [, gzip] = MODULE.exec(page) ?? [];
  if (!gzip) throw new Error(`${PAGE} has no module: npm run inspect`);
  return { gzip };
}

function bundle({ gzip }) {
  const { buildSync } = createRequire(at("../../host-worker/package.json"))("esbuild");
  const { outputFiles } = buildSync({
    entryPoints: [at("inspect/main.js")], bundle: true, minify: true, format: "iife", target: "es2022", write: false,
  });
  const script = outputFiles[0].text.trim().replace('"roomcast-stepper:"', `"roomcast-stepper:${gzip}"`);
  return readFileSync(at("inspect/index.html"), "utf8").replace("/*script*/", () => script);
}

main().catch((fault) => {
  console.error(`inspect: ${fault.message}`);
  process.exitCode = 1;
});
