// Runs the core's example session as WebAssembly:
//
//   cargo build -p roomcast-core --no-default-features --example session --target wasm32-unknown-unknown
//   node tests/wasm/check.mjs target/wasm32-unknown-unknown/debug/examples/session.wasm
//
// The module must import nothing: that the core asks its host for no clock, no randomness and no
// memory function is then a fact of the file, and it runs in every WebAssembly host there is. The
// program compares the frames of a session with those it was written with, byte for byte, and traps
// on the first difference. The same program passes natively, so both say the same.

import { readFile } from "node:fs/promises";
import { argv, exit } from "node:process";

const path = argv[2];
if (path === undefined) {
  console.error("usage: node check.mjs path/to/session.wasm");
  exit(2);
}

function fail(reason) {
  console.error(`wasm session: FAILED: ${reason}`);
  exit(1);
}

const bytes = await readFile(path).catch((error) => fail(error.message));
const module = new WebAssembly.Module(bytes);

const imports = WebAssembly.Module.imports(module);
if (imports.length > 0) {
  const names = imports.map(({ module, name }) => `${module}.${name}`);
  fail(`the module imports ${names.join(", ")}; it must import nothing`);
}

const { main } = new WebAssembly.Instance(module).exports;
if (typeof main !== "function") {
  fail("the module exports no main: is it an executable example?");
}

let code;
try {
  code = main(0, 0); // argc, argv
} catch (error) {
  // A panic has no way to print here: run the example natively to see its message.
  const where = "run `cargo run -p roomcast-core --example session` for the difference";
  fail(`${error.stack}\n${where}`);
}
if (code !== 0) {
  fail(`main returned ${code}`);
}
console.log(`wasm session: ok, ${bytes.length} bytes, no imports, every frame as native`);
