// Prints what the Worker weighs with RS256 and without: `npm run size`. It builds both, which takes minutes.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const build = fileURLToPath(new URL("build.mjs", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "roomcast-size-"));
try {
  const sizes = ["on", "off"].map((rs256) => {
    const out = join(folder, rs256);
    execFileSync(process.execPath, [build, "--package", "roomcast-worker", "--rs256", rs256, "--out", out], {
      stdio: ["ignore", "ignore", "inherit"],
    });
    const gzipped = (name) => gzipSync(readFileSync(join(out, name)), { level: 9 }).length;
    return gzipped("index.js") + gzipped("roomcast.wasm");
  });
  console.log(`with RS256: ${sizes[0]} bytes gzipped`);
  console.log(`without:    ${sizes[1]} bytes gzipped, ${sizes[0] - sizes[1]} fewer`);
} finally {
  rmSync(folder, { recursive: true });
}
