// Runs the client, as a server has it at /client.js, in workerd:
//
//     node workerd.mjs PATH_TO_WORKERD http://127.0.0.1:3000 API_KEY

import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const CONFIG = `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = (
      modules = [
        (name = "worker.mjs", esModule = embed "worker.mjs"),
        (name = "smoke.mjs", esModule = embed "smoke.mjs"),
        (name = "client.js", esModule = embed "client.js"),
      ],
      compatibilityDate = "2026-10-01",
    )),
    (name = "internet", network = (allow = ["private"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
`;

const [workerd, url, key] = process.argv.slice(2);
const folder = await mkdtemp(join(tmpdir(), "roomcast-"));
const here = (name) => fileURLToPath(new URL(name, import.meta.url));
for (const name of ["worker.mjs", "smoke.mjs"]) await copyFile(here(name), join(folder, name));
await copyFile(here("../../core/http/page/client.js"), join(folder, "client.js"));
await writeFile(join(folder, "config.capnp"), CONFIG);

const runtime = spawn(resolve(workerd), ["serve", "--control-fd=3", "config.capnp"], {
  cwd: folder, stdio: ["ignore", "inherit", "inherit", "pipe"],
});
runtime.on("exit", (code) => code === null || process.exit(1));
const lines = createInterface({ input: runtime.stdio[3] });
const [line] = await once(lines, "line");
const { port } = JSON.parse(line);
const answer = await fetch(`http://127.0.0.1:${port}`, { method: "POST", body: JSON.stringify({ url, key }) });
console.log(await answer.text());
runtime.kill("SIGKILL");
await rm(folder, { recursive: true });
process.exitCode = answer.ok ? 0 : 1;
