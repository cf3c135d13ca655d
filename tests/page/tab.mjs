// A tab that is driven by the protocol of the browser alone. Playwright's own pages are always visible, so none of
// them is hidden or frozen.

import process from "node:process";
import { chromium } from "playwright-core";
import { withDeadline } from "../clients/ws_client.mjs";
import { BROWSER_ARGS } from "./browser.mjs";

/** A browser that keeps pages for the way back, to be closed. */
export function launch() {
  const ignoreDefaultArgs = ["--disable-back-forward-cache"];
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: BROWSER_ARGS, ignoreDefaultArgs });
}

export class Tab {
  #root;
  #session;
  #calls = new Map();
  #listeners = new Map();
  #serial = 0;

  /** Opens a tab in the one window of the browser; it comes to the front. */
  static async open(root, url) {
    const tab = new Tab();
    tab.#root = root;
    const { targetId } = await root.send("Target.createTarget", { url });
    tab.target = targetId;
    const { sessionId } = await root.send("Target.attachToTarget", { targetId, flatten: false });
    tab.#session = sessionId;
    root.on("Target.receivedMessageFromTarget", (event) => {
      if (event.sessionId === sessionId) tab.#take(JSON.parse(event.message));
    });
    return tab;
  }

  #take({ id, method, params, result, error }) {
    if (id === undefined) return this.#listeners.get(method)?.(params);
    const { resolve, reject } = this.#calls.get(id);
    this.#calls.delete(id);
    if (error) reject(new Error(error.message));
    else resolve(result);
  }

  on(method, listener) {
    this.#listeners.set(method, listener);
  }

  async send(method, params = {}) {
    const id = (this.#serial += 1);
    const answered = new Promise((resolve, reject) => this.#calls.set(id, { resolve, reject }));
    const message = JSON.stringify({ id, method, params });
    await this.#root.send("Target.sendMessageToTarget", { sessionId: this.#session, message });
    return withDeadline(answered, `the answer to ${method} ${params.expression ?? ""}`);
  }

  /** The value of an expression in the document of the tab. */
  async value(expression) {
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
    if (exceptionDetails) throw new Error(`${expression}: ${exceptionDetails.exception?.description ?? exceptionDetails.text}`);
    return result.value;
  }

  bringToFront() {
    return this.#root.send("Target.activateTarget", { targetId: this.target });
  }

  close() {
    return this.#root.send("Target.closeTarget", { targetId: this.target });
  }
}
