// Takes the pictures of the README anew: `docs/page.png`, and `docs/screens.png` of page and inspector.
//
//     node screens.mjs http://127.0.0.1:3000
//
// The server has the rooms of `lanes.mjs`.

import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { launch } from "./browser.mjs";

const [url] = process.argv.slice(2);
const DOCS = fileURLToPath(new URL("../../docs", import.meta.url));
const STYLE = `
  body { margin: 0; padding: 20px; width: 1400px; background: #8b9899; display: grid; gap: 20px; }
  .row { display: grid; grid-template-columns: 502px 158px 502px 158px; justify-content: space-between; }
  img { width: 100%; height: 314px; object-fit: cover; object-position: top; border-radius: 6px; display: block; }
`;

const folder = await mkdtemp(join(tmpdir(), "roomcast-screens-"));
const browser = await launch();
try {
  const take = (...args) => execFileSync("node", args, { cwd: import.meta.dirname, stdio: "inherit" });
  take("lanes.mjs", url, folder, join(DOCS, "page.png"));
  take("inspect.mjs", url, "--screenshots", folder);
  const image = async (name) => `<img src="data:image/png;base64,${await readFile(join(folder, `${name}.png`), "base64")}">`;
  const row = async (name) => {
    const names = ["light-1440", "light-390", "dark-1440", "dark-390"].map((kind) => image(`${name}-${kind}`));
    return `<div class="row">${(await Promise.all(names)).join("")}</div>`;
  };
  const page = await browser.newPage({ viewport: { width: 1440, height: 100 } });
  await page.setContent(`<!doctype html><style>${STYLE}</style>${await row("page")}${await row("inspect")}`);
  await page.screenshot({ path: join(DOCS, "screens.png"), fullPage: true });
} finally {
  await browser.close();
  await rm(folder, { recursive: true });
}
