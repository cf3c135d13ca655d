// Checks the types of the script in `examples/page.html`, as `tsc -p examples` does those of the others.

import { execFileSync } from "node:child_process";
import { readFile, rm, writeFile } from "node:fs/promises";
import process from "node:process";

const [, script] = (await readFile("examples/page.html", "utf8")).match(/<script type="module">(.*)<\/script>/s);
const file = "examples/page.js";
// The page knows the kinds of its elements.
const element = "document.getElementById(id)";
await writeFile(file, script.replace("http://127.0.0.1:3000/client.js", "roomcast").replace(element, `/** @type {any} */ (${element})`));
try {
  const flags = "--noEmit --allowJs --checkJs --target es2022 --module nodenext --lib es2022,dom,dom.iterable,esnext.disposable";
  execFileSync("npx", ["tsc", ...flags.split(" "), "--strict", "false", "--types", "node", "--ignoreConfig", file], { stdio: "inherit" });
} catch {
  process.exitCode = 1;
} finally {
  await rm(file);
}
