// Writes the client as one file, which the server has at /client.js; with --check it only compares.

import { readFile, writeFile } from "node:fs/promises";
import process from "node:process";
import { build } from "esbuild";

const PATH = new URL("../../core/http/page/client.js", import.meta.url);

const { outputFiles } = await build({
  entryPoints: ["dist/index.js"], bundle: true, minify: true, write: false, format: "esm", target: "es2022",
});
const [{ text }] = outputFiles;
if (!process.argv.includes("--check")) await writeFile(PATH, text);
else if ((await readFile(PATH, "utf8")) !== text) {
  console.error("core/http/page/client.js is not what client/ makes: npm run build && npm run bundle");
  process.exit(1);
}
