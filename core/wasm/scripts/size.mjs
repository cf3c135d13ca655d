// Prints what each entry weighs, gzipped, and fails when one is over its budget.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

// A quarter over what they weigh: scripts with the module, compressed.
const GZIP_BYTES_MAX = { browser: 420_000, slim: 6_000, inline: 560_000, replay: 560_000 };

const root = fileURLToPath(new URL("..", import.meta.url));
const { buildSync } = createRequire(new URL("../../../host-worker/package.json", import.meta.url))("esbuild");
const gzip = (bytes) => gzipSync(bytes, { level: 9 }).length;
const wasm = gzip(readFileSync(`${root}dist/roomcast.wasm`));
for (const [entry, most] of Object.entries(GZIP_BYTES_MAX)) {
  const { outputFiles } = buildSync({
    entryPoints: [`${root}js/${entry}.js`], bundle: true, minify: true, format: "esm", target: "es2022", write: false,
  });
  const script = gzip(outputFiles[0].contents);
  const total = script + (entry === "browser" ? wasm : 0);
  console.log(`roomcast-wasm/${entry}: ${total} bytes gzipped, the script ${script}`);
  if (total > most) throw new Error(`roomcast-wasm/${entry} is over its budget of ${most} bytes`);
}
console.log(`roomcast.wasm: ${wasm} bytes gzipped`);
