// Builds dist/: index.js and roomcast.wasm, what is deployed. Needs cargo; everything else comes
// with `npm ci` and Cargo.lock. Builds into the workspace's target directory, and again only what
// has changed.

import { execFile, execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";

import { build } from "esbuild";

const here = fileURLToPath(new URL("..", import.meta.url));
const dist = join(here, "dist");

// What the module may weigh, compressed as the platform counts it: a quarter over what it does.
// Start-up time grows with it. Raise it when a feature is worth it.
const GZIP_BYTES_MAX = 280_000;

const cargo = (...args) =>
  promisify(execFile)("cargo", args, { cwd: here, maxBuffer: 1 << 26 }).catch((fault) => {
    throw new Error(`cargo ${args.join(" ")}\n${fault.stderr ?? fault.message}`);
  });

async function main() {
  const metadata = await cargo("metadata", "--no-deps", "--format-version=1", "--locked");
  const target = JSON.parse(metadata.stdout).target_directory;
  const out = join(target, "worker-bindgen");
  const package_ = ["--locked", "--package", "roomcast-worker"];
  await Promise.all([
    cargo("build", ...package_, "--lib", "--profile", "worker", "--target", "wasm32-unknown-unknown"),
    cargo("build", ...package_, "--bin", "roomcast-worker-bindgen", "--features", "bindgen", "--profile", "bindgen"),
  ]);
  const wasm = join(target, "wasm32-unknown-unknown", "worker", "roomcast_worker.wasm");
  run(join(target, "bindgen", "roomcast-worker-bindgen"), wasm, out, "roomcast");
  mkdirSync(dist, { recursive: true });
  // The features are those that rustc uses for this target; the platform has them all.
  run(
    process.execPath, join(here, "node_modules", "binaryen", "bin", "wasm-opt"), "-O3",
    "--enable-bulk-memory", "--enable-nontrapping-float-to-int", "--enable-sign-ext",
    "--enable-mutable-globals", "--enable-reference-types", "--enable-multivalue",
    join(out, "roomcast_bg.wasm"), "--output", join(dist, "roomcast.wasm"),
  );
  await build({
    entryPoints: [join(here, "shim", "index.js")],
    outfile: join(dist, "index.js"),
    alias: { "#roomcast": join(out, "roomcast.js") },
    // Given by the platform, and the module that it compiles.
    external: ["cloudflare:workers", "./roomcast.wasm"],
    bundle: true,
    format: "esm",
    target: "es2024",
    minifySyntax: true,
    legalComments: "none",
    logLevel: "warning",
  });
  weigh();
}

function run(program, ...args) {
  execFileSync(program, args, { stdio: ["ignore", "inherit", "inherit"] });
}

function weigh() {
  let total = 0;
  for (const name of ["index.js", "roomcast.wasm"]) {
    const bytes = readFileSync(join(dist, name));
    const gzip = gzipSync(bytes, { level: 9 }).length;
    total += gzip;
    console.log(`dist/${name}: ${bytes.length} bytes, ${gzip} gzipped`);
  }
  if (total > GZIP_BYTES_MAX) {
    throw new Error(
      `dist/ has ${total} bytes gzipped, over the budget of ${GZIP_BYTES_MAX} (GZIP_BYTES_MAX in scripts/build.mjs)`,
    );
  }
}

main().catch((fault) => {
  console.error(`build: ${fault.message}`);
  process.exitCode = 1;
});
