// docs/tutorial.md, followed to the letter in an empty folder and a real browser:
//
//     node tutorial.mjs ../../target/debug/roomcast [PORT PORT PORT]
//
// Each block is written where the text says, and each command run; only ports are others, and what installs
// something is not run. The ports are those given, which the caller keeps from others, or any free
// ones. After each section the pages are what it promises.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { appendFile, mkdtemp, mkdir, readFile, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import { setTimeout as passes } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { launch, openPage, WAIT_MS_MAX } from "./browser.mjs";

const binary = resolve(process.argv[2]);
const TUTORIAL = new URL("../../docs/tutorial.md", import.meta.url);
const VENV = fileURLToPath(new URL("../.venv", import.meta.url));
/** Commands that install something, or change the machine. */
const ELSEWHERE = [
  "cargo install --locked --git https://github.com/roomcast/roomcast roomcast",
  "python3 -m venv venv",
  "venv/bin/pip install PyJWT",
  "sudo cp chat.conf /etc/nginx/conf.d/",
  "sudo nginx -s reload",
];
/** Programs that run until they are stopped, each in a terminal of its own. */
const TERMINALS = { server: /\broomcast --config /, backend: /\bpython3? (-m http\.server|app\.py)/ };

const until = async (what, isSo) => {
  const end = Date.now() + WAIT_MS_MAX;
  while (!(await isSo())) {
    assert.ok(Date.now() < end, `waited for ${what}`);
    await passes(20);
  }
};

const freePort = () => new Promise((found) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const { port } = server.address();
    server.close(() => found(port));
  });
});

const answers = (port) => new Promise((done) => {
  const socket = connect(port, "127.0.0.1", () => done(true)).on("error", () => done(false));
  socket.on("connect", () => socket.end());
});

/** The sections with a number: their blocks, and the paragraph before each. Others change the machine. */
function sections(text) {
  return text.split(/^## /m).filter((section) => /^\d/.test(section)).map((section) => {
    const blocks = [...section.matchAll(/([^]*?)^```(\w+)\n([^]*?)^```$/gm)].map(([, before, language, body]) => {
      const paragraph = before.trim().split("\n\n").at(-1);
      return { language, body, paragraph };
    });
    return { number: Number.parseInt(section), blocks };
  });
}

/** The folder of a reader, and the programs that run there. */
class Reader {
  #running = new Map();
  #changes = 0;

  constructor(folder, ports) {
    Object.assign(this, { folder, ports, cwd: folder });
    this.env = {
      PATH: `${folder}/bin:${process.env.PATH}`, HOME: folder,
      ROOMCAST_LISTEN: `127.0.0.1:${ports.server}`, ROOMCAST_URL: `http://127.0.0.1:${ports.server}`,
    };
  }

  /** A text with this test's ports. */
  ported(text) {
    const { server, backend, nginx } = this.ports;
    const own = [["127.0.0.1:3000", `127.0.0.1:${server}`], ["public 8000", `public ${backend}`], ['"127.0.0.1", 8000', `"127.0.0.1", ${backend}`],
      ["127.0.0.1:8000", `127.0.0.1:${backend}`], ["listen 80;", `listen 127.0.0.1:${nginx};`], ["http://chat.example.com", `http://127.0.0.1:${nginx}`],
      // It would be silent for as long as a heartbeat.
      ["roomcast doctor", "roomcast doctor --wait-s 0"]];
    return own.reduce((ported, [from, to]) => ported.replaceAll(from, to), text);
  }

  /** Does what the paragraph says with the block below it. */
  async follow({ language, body, paragraph }) {
    if (language === "sh") {
      for (const command of body.trim().split("\n")) await this.enter(command);
      return;
    }
    const file = paragraph.match(/`([\w/]+\.\w+)`/)?.[1];
    assert.ok(file, `the text names no file: ${paragraph}`);
    const path = join(this.cwd, file);
    const line = paragraph.match(/replace\s+the\s+line\s+`(.+)`/)?.[1];
    const text = this.ported(body);
    if (line) {
      const before = (await readFile(path, "utf8")).split("\n");
      const at = before.findIndex((other) => other.startsWith(line));
      assert.ok(at >= 0, `no line ${line} in ${file}`);
      await writeFile(path, before.with(at, text.trimEnd()).join("\n"));
    } else if (/Append to/.test(paragraph)) await appendFile(path, text);
    else await writeFile(path, text, { flag: "wx" });
    // A reader takes longer than a second, by which web servers tell versions of a file apart.
    const time = Math.floor(Date.now() / 1000) + (this.#changes += 1);
    await utimes(path, time, time);
  }

  async enter(command) {
    if (ELSEWHERE.includes(command)) {
      if (command.includes("venv venv")) await symlink(VENV, join(this.cwd, "venv"));
      return;
    }
    const [terminal] = Object.entries(TERMINALS).find(([, pattern]) => pattern.test(command)) ?? [];
    if (terminal) return this.start(terminal, this.ported(command));
    // The folder is that of the commands to come.
    const script = `set -e; ${this.ported(command)}\necho; pwd`;
    const { status, stdout, stderr } = spawnSync("bash", ["-c", script], { cwd: this.cwd, env: this.env, encoding: "utf8" });
    assert.equal(status, 0, `${command}: ${stdout}${stderr}`);
    this.cwd = stdout.trimEnd().split("\n").at(-1);
  }

  /** Starts a program, in the place of the one in that terminal. */
  async start(terminal, command) {
    await this.stop(terminal);
    const child = spawn("bash", ["-c", `exec ${command}`], { cwd: this.cwd, env: this.env, stdio: ["ignore", "ignore", "pipe"] });
    const ended = new Promise((done) => child.once("exit", done));
    const running = { child, ended, command, said: "" };
    child.stderr.setEncoding("utf8").on("data", (text) => (running.said += text));
    this.#running.set(terminal, running);
    await until(`${command}: ${running.said}`, () => {
      assert.equal(child.exitCode, null, `${command}: ${running.said}`);
      return answers(this.ports[terminal]);
    });
  }

  /** Presses Ctrl-C. */
  async stop(terminal) {
    const running = this.#running.get(terminal);
    running?.child.kill("SIGINT");
    await running?.ended;
    return running?.command;
  }

  async again(terminal) {
    await this.start(terminal, await this.stop(terminal));
  }

  async nginx() {
    const kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((kind) => `${kind}_temp_path ${this.folder}/${kind};`);
    const site = await readFile(join(this.cwd, "chat.conf"), "utf8");
    const file = join(this.folder, "nginx.conf");
    await writeFile(file, `daemon off; master_process off; pid ${this.folder}/pid; events {} http { access_log off; ${kinds.join(" ")}\n${site}\n}\n`);
    await this.start("nginx", `/usr/sbin/nginx -e stderr -c ${file}`);
  }

  kill() {
    for (const { child } of this.#running.values()) child.kill("SIGKILL");
  }
}

const ALL = 50;
const says = (page, text) => page.locator("li").getByText(text, { exact: true }).waitFor();
const isHere = (page, ...orders) => page.locator("#here").getByText(new RegExp(`^here: (${orders.join("|")})$`)).waitFor();
const lines = (page) => page.locator("li").count();

async function say(page, text) {
  await page.getByLabel("Message").fill(text);
  await page.getByRole("button").click();
}

/** Visitors of the page, each with a name or a login. */
class Tabs {
  #all = [];

  constructor(browser, url) {
    Object.assign(this, { browser, url });
  }

  async open(name, options = {}, url = this.url) {
    const { page, faults } = await openPage(this.browser, url, { raw: false, ...options });
    page.on("dialog", (dialog) => dialog.accept(name));
    await page.goto(url);
    this.#all.push(faults);
    return page;
  }

  /** All that the consoles of the pages complain of, but for lost connections, logins and the icon. */
  faults() {
    const isExpected = (fault) => /^request to another origin|ERR_CONNECTION_REFUSED|ERR_INCOMPLETE|closed before|status of 40[14]/.test(fault);
    return this.#all.flat().filter((fault) => !isExpected(fault));
  }
}

/** The promise of each section, by its number. */
const promises = {
  1: async () => {},

  async 2({ tabs }) {
    tabs.ann = await tabs.open("Ann");
    tabs.bob = await tabs.open("Bob");
    await until("both to listen", async () => {
      await say(tabs.ann, "is anybody here?");
      return (await tabs.bob.locator("li").count()) > 0;
    });
    await say(tabs.bob, "hello");
    for (const page of [tabs.ann, tabs.bob]) await says(page, "Bob: hello");
  },

  async 3({ tabs }) {
    for (const page of [tabs.ann, tabs.bob]) await page.reload();
    for (const page of [tabs.ann, tabs.bob]) await isHere(page, "Ann, Bob", "Bob, Ann");
  },

  async 4({ tabs: { ann } }) {
    await ann.reload();
    await says(ann, `robot: ${ALL}`);
    assert.equal(await lines(ann), 20);
    await until("all messages", async () => {
      await ann.locator("#list").evaluate((list) => (list.scrollTop = -list.scrollHeight));
      return (await lines(ann)) > ALL;
    });
    await says(ann, "Bob: hello");
    const texts = await ann.locator("li").allTextContents();
    const robots = texts.filter((text) => text.startsWith("robot"));
    assert.deepEqual(robots, Array.from({ length: ALL }, (_, index) => `robot: ${ALL - index}`));
  },

  async 5({ tabs: { ann, bob }, reader }) {
    for (const page of [ann, bob]) {
      await page.reload();
      await page.locator("#state").getByText("open").waitFor();
      await says(page, `robot: ${ALL}`);
    }
    const command = await reader.stop("server");
    await ann.locator("#state").getByText(/waiting|connecting/).waitFor();
    await say(ann, "are you there?");
    await reader.start("server", command);
    for (const page of [ann, bob]) {
      await page.locator("li").getByText("Ann: are you there?").waitFor({ timeout: 15_000 });
      assert.equal(await page.locator("li").getByText("Ann: are you there?").count(), 1);
      assert.equal(await lines(page), 21, "the history begins anew");
    }
    await bob.context().setOffline(true);
    await say(ann, "and now?");
    await bob.context().setOffline(false);
    await says(bob, "Ann: and now?");
  },

  async 6({ tabs }) {
    for (const page of [tabs.ann, tabs.bob]) await page.context().close();
    const login = (username, password) => ({ httpCredentials: { username, password } });
    assert.equal((await fetch(tabs.url)).status, 401);
    tabs.ann = await tabs.open("Bob", login("ann", "tulip"));
    const second = await tabs.open("x", login("ann", "tulip"));
    tabs.bob = await tabs.open("Ann", login("bob", "rose"));
    for (const page of [tabs.ann, tabs.bob, second]) await isHere(page, "ann, bob");
    await say(tabs.ann, "it is me");
    for (const page of [tabs.ann, tabs.bob, second]) await says(page, "ann: it is me");
    for (const page of [tabs.ann, tabs.bob, second]) await page.context().close();
  },

  async 7({ tabs, reader }) {
    const url = `http://127.0.0.1:${reader.ports.nginx}/`;
    const ann = await tabs.open("x", { httpCredentials: { username: "ann", password: "tulip" } }, url);
    await isHere(ann, "ann");
    await says(ann, "robot: deployed");
    await says(ann, "ann: it is me");
  },
};

const folder = await mkdtemp(join(tmpdir(), "roomcast-tutorial-"));
const given = process.argv.slice(3).map(Number);
const [server, backend, nginx] = given.length > 0 ? given : await Promise.all([freePort(), freePort(), freePort()]);
const reader = new Reader(folder, { server, backend, nginx });
const browser = await launch();
const tabs = new Tabs(browser, `http://localhost:${backend}`);
try {
  await mkdir(join(folder, "bin"));
  await symlink(binary, join(folder, "bin/roomcast"));
  const all = sections(await readFile(TUTORIAL, "utf8"));
  assert.deepEqual(all.map(({ number }) => number), Object.keys(promises).map(Number));
  for (const { number, blocks } of all) {
    assert.ok(blocks.length > 0);
    for (const block of blocks) {
      if (block.body.includes("roomcast doctor")) {
        for (const terminal of ["server", "backend"]) await reader.again(terminal);
        await reader.nginx();
      }
      await reader.follow(block);
    }
    await promises[number]({ tabs, reader });
    console.log(`section ${number}: as it says`);
  }
  assert.deepEqual(tabs.faults(), []);
} finally {
  await browser.close();
  reader.kill();
  await rm(folder, { recursive: true });
}
