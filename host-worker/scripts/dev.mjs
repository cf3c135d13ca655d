// Serves the Worker on this machine, http://127.0.0.1:8787, as the platform would; rebuilds and
// restarts when sources change. Variables that begin with ROOMCAST_ are passed on; without a key
// the API has the key `dev-key`. The storage stays in .wrangler/ until that is removed.
// `npm run dev -- --package NAME` serves a crate that mounts applications: see build.mjs. Further
// arguments are wrangler's: `npm run dev -- --port 9000`.

import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const here = fileURLToPath(new URL("..", import.meta.url));

// These options are for the build, which wrangler starts.
const { tokens } = parseArgs({
  options: { package: { type: "string" }, "manifest-path": { type: "string" }, rs256: { type: "string" } },
  strict: false,
  tokens: true,
});
const VARIABLES = {
  package: "ROOMCAST_PACKAGE",
  "manifest-path": "ROOMCAST_MANIFEST_PATH",
  rs256: "ROOMCAST_RS256",
};
const own = tokens.filter(({ kind, name }) => kind === "option" && name in VARIABLES);
const build = {};
const used = new Set();
for (const { name, value, index, inlineValue } of own) {
  build[VARIABLES[name]] = value;
  used.add(index);
  if (!inlineValue) used.add(index + 1);
}
const rest = process.argv.slice(2).filter((_, index) => !used.has(index));

const port = rest.some((argument) => argument.startsWith("--port")) ? [] : ["--port", "8787"];

const variables = { ROOMCAST_API_KEY: "dev-key" };
for (const [name, value] of Object.entries(process.env)) {
  if (name.startsWith("ROOMCAST_")) variables[name] = value;
}
// Variables go into a file, because everybody on the machine can see arguments.
mkdirSync(join(here, ".wrangler"), { recursive: true });
const file = join(here, ".wrangler", "dev.vars");
const lines = Object.entries(variables).map(([name, value]) => `${name}=${JSON.stringify(value)}\n`);
writeFileSync(file, lines.join(""), { mode: 0o600 });

const wrangler = spawn(
  process.execPath,
  [
    join(here, "node_modules", "wrangler", "bin", "wrangler.js"), "dev", "--local",
    "--ip", "127.0.0.1", ...port, "--inspector-port", "0",
    "--show-interactive-dev-session=false", "--env-file", file, ...rest,
  ],
  {
    cwd: here,
    stdio: "inherit",
    // No request goes to the network.
    env: { ...process.env, ...build, CLOUDFLARE_CF_FETCH_ENABLED: "false", WRANGLER_SEND_METRICS: "false", WRANGLER_HIDE_BANNER: "true" },
  },
);
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => wrangler.kill(signal));
wrangler.on("exit", (code, signal) => {
  process.exitCode = signal ? 1 : code;
});
