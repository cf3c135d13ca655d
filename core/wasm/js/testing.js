// A namespace and its clients in memory, with a clock that a test moves. Declarations and
// documentation are in `testing.d.ts`.

import { Namespace, init } from "./inline.js";

/** A client, and the frames sent to it. */
class Client {
  #world;
  #inbox = [];

  constructor(world) {
    this.#world = world;
    this.conn = undefined;
    this.closed = undefined;
  }

  send(message) {
    const isPlain = typeof message === "string" || message instanceof Uint8Array;
    return this.#world.namespace.receive(this.conn, isPlain ? message : JSON.stringify(message));
  }

  take() {
    return this.#inbox.splice(0);
  }

  disconnect(code = 1000) {
    if (this.closed === undefined) {
      this.closed = { code, reason: "" };
      this.#world.leave(this);
      this.#world.namespace.disconnect(this.conn, code);
    }
  }

  push(frame) {
    this.#inbox.push(typeof frame === "string" ? JSON.parse(frame) : frame);
  }
}

export class World {
  #clients = new Map();

  static async start(options) {
    await init();
    return new World(options);
  }

  constructor({ now = 0, answersPings = true, ...options } = {}) {
    this.now = now;
    const pinged = [];
    this.namespace = new Namespace({
      epoch: "test",
      ...options,
      clock: () => this.now,
      send: (to, frame) => to.forEach((conn) => this.#clients.get(conn)?.push(frame)),
      close: (conn, code, reason) => {
        const client = this.#clients.get(conn);
        this.#clients.delete(conn);
        if (client !== undefined) client.closed = { code, reason };
      },
      ping: (conn) => pinged.push(conn),
    });
    this.#pongs = () => {
      for (const conn of pinged.splice(0)) if (answersPings && this.#clients.has(conn)) this.namespace.noteActivity(conn);
    };
  }

  #pongs;

  connect(caller) {
    const client = new Client(this);
    this.namespace.connect(caller, (conn) => {
      client.conn = conn;
      this.#clients.set(conn, client);
    });
    return client;
  }

  leave({ conn }) {
    this.#clients.delete(conn);
  }

  advance(ms) {
    const end = this.now + ms;
    for (let at; (at = this.namespace.nextTimeout) !== undefined && at <= end; ) {
      this.now = Math.max(this.now, at);
      this.namespace.timeout();
      this.#pongs();
    }
    this.now = end;
  }
}
