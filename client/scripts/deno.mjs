// Checks the package of JSR by `deno publish --dry-run`: its types, and that all of its public API says them.
// DENO names the program; else it is that of `tests/runtimes`, or of the PATH. Without one it says so.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import process from "node:process";

const INSTALLED = "../tests/runtimes/node_modules/.bin/deno";

const [npm, jsr] = await Promise.all(["package.json", "deno.json"].map(async (name) => JSON.parse(await readFile(name, "utf8"))));
const same = ({ version, license, exports }) => ({ version, license, exports: Object.keys(exports) });
assert.deepEqual(same(jsr), same(npm), "deno.json differs from package.json");

const deno = process.env.DENO ?? (existsSync(INSTALLED) ? INSTALLED : "deno");
// The sources are what is committed, or will be.
const { error, status, stdout, stderr } = spawnSync(deno, ["publish", "--dry-run", "--allow-dirty"], { encoding: "utf8" });
if (error?.code === "ENOENT" && !process.env.DENO) {
  console.log("SKIPPED: deno publish --dry-run: there is no Deno here (DENO names one)");
} else if (error || status !== 0) {
  console.error(`deno publish --dry-run failed:\n${error?.message ?? stdout + stderr}`);
  process.exitCode = 1;
} else {
  console.log(`deno publish --dry-run: ${jsr.name}@${jsr.version}, all good`);
}
