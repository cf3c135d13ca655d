// Bytes of the client, minified and compressed, with their limits. Exits with 1 above one.

import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const LIMITS = { index: 6_144, react: 1_024 };

for (const [entry, limit] of Object.entries(LIMITS)) {
  const { outputFiles } = await build({
    entryPoints: [`dist/${entry}.js`], bundle: true, minify: true, write: false,
    format: "esm", target: "es2022", external: ["react"],
  });
  const { length } = gzipSync(outputFiles[0].contents, { level: 9 });
  console.log(`${entry}: ${length} bytes of ${limit}`);
  if (length > limit) process.exitCode = 1;
}
