// Builds a crate of this repository as a WebAssembly module, and binds it to JavaScript. Needs
// cargo; everything else comes with Cargo.lock, and with `npm ci` in host-worker.

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL("..", import.meta.url));

// Cargo's progress and errors are shown while it works: the first build takes minutes.
export async function cargo(...args) {
  const child = spawn("cargo", args, { cwd: here, stdio: ["ignore", "pipe", "inherit"] });
  let stdout = "";
  child.stdout.setEncoding("utf8").on("data", (text) => (stdout += text));
  const [code, signal] = await once(child, "close");
  if (code !== 0) throw new Error(`cargo ${args[0]} ended with ${signal ?? code}: see above`);
  return stdout;
}

export async function metadata(...args) {
  return JSON.parse(await cargo("metadata", "--no-deps", "--format-version=1", ...args));
}

// Writes `wasm`, the module, and returns the path of the script that binds it. `target` is the
// folder that cargo builds to, `lib` the library of the package; `where` has the cargo
// arguments for its workspace.
export async function bind({ name, lib, target, where = ["--locked"], features = [], profile = "worker", quick, wasm }) {
  const tools = (await metadata()).target_directory;
  const out = join(target, "worker-bindgen", name);
  await Promise.all([
    cargo(
      "rustc", ...where, "--package", name, "--lib", "--crate-type", "cdylib", ...features,
      "--profile", profile, "--target", "wasm32-unknown-unknown",
    ),
    cargo(
      "build", "--locked", "--package", "roomcast-worker-bindgen", "--features", "cli", "--profile", "bindgen",
    ),
  ]);
  const built = join(target, "wasm32-unknown-unknown", profile, `${lib}.wasm`);
  run(join(tools, "bindgen", "roomcast-worker-bindgen"), built, out, "roomcast");
  // The features are those that rustc uses for this target; all hosts have them.
  run(
    process.execPath, join(here, "node_modules", "binaryen", "bin", "wasm-opt"), quick ? "-O0" : "-O3",
    "--enable-bulk-memory", "--enable-nontrapping-float-to-int", "--enable-sign-ext",
    "--enable-mutable-globals", "--enable-reference-types", "--enable-multivalue",
    join(out, "roomcast_bg.wasm"), "--output", wasm,
  );
  return join(out, "roomcast.js");
}

function run(program, ...args) {
  execFileSync(program, args, { stdio: ["ignore", "inherit", "inherit"] });
}
