// The page in a real browser, by its hooks. CHROMIUM names the browser.

import process from "node:process";
import { chromium } from "playwright-core";

/** Far above what a busy machine needs: passing it is a failure, never a measurement. */
export const WAIT_MS_MAX = 30_000;
export const BROWSER_ARGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** A browser, to be closed. */
export const launch = () => chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: BROWSER_ARGS });

/** A page that keeps a list of everything that must not happen. It shows frames; messages without `raw`. */
export async function openPage(browser, url, { raw = true, ...options } = {}) {
  const context = await browser.newContext({ colorScheme: "light", viewport: { width: 1280, height: 800 }, ...options });
  if (raw) await context.addInitScript(() => localStorage.setItem("roomcast-raw", "on"));
  const page = await context.newPage();
  page.setDefaultTimeout(WAIT_MS_MAX);
  const faults = [];
  const { host } = new URL(url);
  const check = (address) => {
    const target = new URL(address);
    if (target.protocol !== "data:" && target.host !== host) faults.push(`request to another origin: ${address}`);
  };
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") faults.push(`console ${message.type()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => faults.push(`page error: ${error.message}`));
  page.on("request", (request) => check(request.url()));
  page.on("websocket", (socket) => check(socket.url()));
  return { page, faults, context };
}

let settled = 0;

/** The hooks of one client's pane. */
export function pane(page, letter) {
  const root = page.getByTestId(`pane-${letter}`);
  const part = (name) => root.getByTestId(name);
  return {
    root,
    part,
    row: (filter) => part("log").locator(`.row${filter}`),
    async connected() {
      await root.getByTestId("state").getByText("Connected", { exact: true }).waitFor();
      // Where there is little room it is not to be seen.
      await part("conn").and(page.locator(":not([hidden])")).waitFor({ state: "attached" });
    },
    async isIn(room) {
      await part("chips").locator('[data-state="joined"] bdi').getByText(room, { exact: true }).waitFor();
    },
    async join(room) {
      await part("room-input").fill(room);
      await part("join").click();
      await part("chips").locator("bdi").getByText(room, { exact: true }).waitFor();
    },
    async leave(room) {
      await part("chips").getByRole("button", { name: `Leave ${room}`, exact: true }).click();
      await part("chips").locator("bdi").getByText(room, { exact: true }).waitFor({ state: "detached" });
    },
    async publish(event, data, { room, echo = false } = {}) {
      if (room !== undefined) await part("publish-room-input").fill(room);
      await part("event-input").fill(event);
      await part("data-input").fill(data);
      await part("echo").setChecked(echo);
      await part("publish").click();
    },
    async sendRaw(text) {
      if (!(await part("raw-input").isVisible())) await part("raw-toggle").click();
      await part("raw-input").fill(text);
      await part("raw-send").click();
    },
    /** All that the server sent before the pong is in the log when this returns. */
    async settle() {
      // The client pings, too.
      const id = `settled-${(settled += 1)}`;
      await this.sendRaw(`{"event":"$ping","id":"${id}"}`);
      await this.row('[data-dir="in"][data-event="$pong"]').filter({ hasText: `"${id}"` }).waitFor();
    },
  };
}
