// Builds dist/: index.js and roomcast.wasm, which are deployed; and the inspector, in assets/.
// Needs cargo; everything else comes with `npm ci` and Cargo.lock. Builds in the workspace's target
// directory, and rebuilds only changed parts.
//
//     npm run build                                         rooms only
//     npm run build -- --package NAME                       a crate of this workspace that mounts applications
//     npm run build -- --manifest-path PATH/Cargo.toml      one of another workspace
//     npm run build -- --out DIR                            elsewhere than into dist/
//     npm run build -- --rs256 off                          smaller, without tokens of RS256
//     npm run build -- --assets DIR                         the inspector into this folder of the caller
//     npm run build -- --quick                              larger and slower, built 40 s sooner: for tests
//
// The variables ROOMCAST_PACKAGE, ROOMCAST_MANIFEST_PATH and ROOMCAST_RS256 say the same as the options: also
// to `npm run dev` and `npm run deploy`, which build first.

import { copyFileSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";

import { build } from "esbuild";

import { bind, metadata } from "../bindgen/module.mjs";

const here = fileURLToPath(new URL("..", import.meta.url));
const PLAIN = "roomcast-worker";

const { values: options } = parseArgs({
  options: {
    package: { type: "string", default: process.env.ROOMCAST_PACKAGE },
    "manifest-path": { type: "string", default: process.env.ROOMCAST_MANIFEST_PATH },
    out: { type: "string", default: join(here, "dist") },
    assets: { type: "string" },
    rs256: { type: "string", default: process.env.ROOMCAST_RS256 ?? "on" },
    quick: { type: "boolean", default: false },
  },
});
const manifest = options["manifest-path"];
const dist = resolve(options.out);
const FILES = ["index.js", "roomcast.wasm"];

// The largest compressed size of the module, as the platform counts it: a little over its present
// size. Start-up time grows with the size. Raise the limit when a feature is worth it.
const GZIP_BYTES_MAX = 710_000;
// The limit with an application: that of the platform.
const GZIP_BYTES_MAX_OF_APPLICATIONS = 3_000_000;

async function main() {
  const { target, name, lib } = await crate();
  // A Worker that runs these files meanwhile never sees half a file.
  const fresh = join(dist, ".new");
  mkdirSync(fresh, { recursive: true });
  const script = await bind({
    name, lib, target,
    where: manifest ? ["--manifest-path", resolve(manifest), ...profile()] : ["--locked"],
    features: features(name),
    quick: options.quick,
    wasm: join(fresh, "roomcast.wasm"),
  });
  await build({
    entryPoints: [join(here, "shim", "index.js")],
    outfile: join(fresh, "index.js"),
    alias: { "#roomcast": script },
    // These come from the platform, which also compiles the module.
    external: ["cloudflare:workers", "./roomcast.wasm"],
    bundle: true,
    format: "esm",
    target: "es2024",
    minifySyntax: true,
    legalComments: "none",
    logLevel: "warning",
  });
  for (const name of FILES) renameSync(join(fresh, name), join(dist, name));
  rmSync(fresh, { recursive: true });
  assets(options.assets ? resolve(process.env.INIT_CWD ?? ".", options.assets) : join(here, "assets"));
  weigh(name === PLAIN ? GZIP_BYTES_MAX : GZIP_BYTES_MAX_OF_APPLICATIONS);
}

// The inspector is no part of the script: the platform serves it at /inspect, with the policy that other hosts
// give it.
function assets(folder) {
  mkdirSync(folder, { recursive: true });
  copyFileSync(join(here, "../core/http/page/inspect.html"), join(folder, "inspect.html"));
  const source = readFileSync(join(here, "../core/http/src/response.rs"), "utf8");
  const [, policy] = /INSPECTOR_POLICY: &str = "([^"]*)"/.exec(source) ?? [];
  if (!policy) throw new Error("core/http/src/response.rs has no INSPECTOR_POLICY");
  const headers = `/inspect\n  Content-Security-Policy: ${policy.replace(/\\\s+/g, "")}\n  Referrer-Policy: no-referrer\n`;
  writeFileSync(join(folder, "_headers"), headers);
}

// The features of the plain Worker. A crate that mounts applications has them in its Cargo.toml.
function features(name) {
  if (!["on", "off"].includes(options.rs256)) throw new Error(`--rs256 (ROOMCAST_RS256) must be on or off`);
  const on = options.rs256 === "on";
  if (name === PLAIN) return ["--no-default-features", ...(on ? ["--features", "rs256"] : [])];
  if (on) return [];
  throw new Error(
    `--rs256 off is for ${PLAIN} alone: in the Cargo.toml of ${name} write ` +
      `${PLAIN} = { ..., default-features = false, features = ["applications"] }`,
  );
}

// The crate to build: its package, its library, and its target directory.
async function crate() {
  const { packages, target_directory: target } = await metadata(...(manifest ? ["--manifest-path", resolve(manifest)] : []));
  const own = manifest && packages.find(({ manifest_path: path }) => path === resolve(manifest))?.name;
  const name = options.package ?? own ?? PLAIN;
  const { targets = [] } = packages.find((one) => one.name === name) ?? {};
  const lib = targets.find(({ kind }) => kind.some((one) => one.endsWith("lib")));
  if (!lib) throw new Error(`there is no package ${name} with a library in ${manifest ?? "this workspace"}`);
  return { target, name, lib: lib.name.replaceAll("-", "_") };
}

// The profile of this workspace, for a workspace that lacks it.
function profile() {
  const settings = ['inherits="release"', "opt-level=3", 'lto="fat"', "codegen-units=1", 'panic="abort"', "debug=false"];
  return settings.flatMap((setting) => ["--config", `profile.worker.${setting}`]);
}

function weigh(bytesMax) {
  let total = 0;
  for (const name of FILES) {
    const bytes = readFileSync(join(dist, name));
    const gzip = gzipSync(bytes, { level: 9 }).length;
    total += gzip;
    console.log(`${name}: ${bytes.length} bytes, ${gzip} gzipped`);
  }
  if (total > bytesMax) {
    throw new Error(
      `${dist} has ${total} bytes gzipped, over the budget of ${bytesMax} (GZIP_BYTES_MAX in scripts/build.mjs)`,
    );
  }
}

main().catch((fault) => {
  console.error(`build: ${fault.message}`);
  process.exitCode = 1;
});
