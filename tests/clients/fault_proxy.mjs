// A TCP proxy whose faults a script chooses.

import { createServer, connect } from "node:net";
import { once } from "node:events";

export const FAULTS = ["cut", "reset", "blackhole", "half-close", "delay", "slow read"];

export class FaultProxy {
  #pairs = new Set();
  #delayMs = 0;
  /** Counts the faults that met an open connection. */
  met = {};

  static async start(port) {
    const proxy = new FaultProxy();
    proxy.server = createServer({ allowHalfOpen: true }, (client) => proxy.#accept(client, port));
    proxy.server.listen(0, "127.0.0.1");
    await once(proxy.server, "listening");
    proxy.port = proxy.server.address().port;
    return proxy;
  }

  #accept(client, port) {
    const server = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    const pair = { client, server, isHole: false };
    this.#pairs.add(pair);
    this.#pass(pair, client, server);
    this.#pass(pair, server, client);
    for (const socket of [client, server]) {
      socket.on("error", () => {});
      socket.on("close", () => {
        this.#pairs.delete(pair);
        // A black hole reports nothing to either side.
        if (!pair.isHole) this.#end(pair);
      });
    }
  }

  #pass(pair, from, to) {
    // A stream stays in order: later bytes wait for those held back.
    let last = Promise.resolve();
    const later = (f) => {
      const held = this.#delayMs;
      last = last.then(() => held && new Promise((done) => setTimeout(done, held))).then(() => {
        if (!pair.isHole && !to.destroyed) f();
      });
    };
    from.on("data", (bytes) => later(() => to.write(bytes)));
    from.on("end", () => later(() => to.end()));
  }

  #end({ client, server }) {
    client.destroy();
    server.destroy();
  }

  /** Applies a fault to the open connections; resolves when the fault is over. */
  async inflict(fault, ms) {
    const pairs = [...this.#pairs];
    if (pairs.length > 0) this.met[fault] = (this.met[fault] ?? 0) + 1;
    const wait = () => new Promise((done) => setTimeout(done, ms));
    if (fault === "delay") {
      this.#delayMs = ms / 4;
      await wait();
      this.#delayMs = 0;
    }
    for (const pair of pairs) {
      if (fault === "cut") this.#end(pair);
      if (fault === "reset") pair.client.resetAndDestroy();
      if (fault === "blackhole") pair.isHole = true;
      if (fault === "half-close") pair.server.end();
      if (fault === "slow read") pair.server.pause();
    }
    if (fault === "blackhole" || fault === "slow read") await wait();
    for (const pair of pairs) {
      if (fault === "blackhole") this.#end(pair);
      if (fault === "slow read") pair.server.resume();
    }
  }

  close() {
    this.server.close();
    for (const pair of this.#pairs) this.#end(pair);
  }
}
