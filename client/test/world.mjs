// A client, a server in memory and a clock that a test moves.

import { Roomcast } from "roomcast";
import { seeded, TestClock, TestPage, TestServer } from "roomcast/testing";

export class World {
  constructor({ seed = 1, client = {}, ...server } = {}) {
    this.clock = new TestClock();
    this.random = seeded(seed);
    this.server = new TestServer({ clock: this.clock, ...server });
    this.page = new TestPage();
    this.states = [];
    this.errors = [];
    this.client = this.another({ page: this.page, ...client });
    this.client.onState(({ name }) => this.states.push(name));
    this.client.onError(({ code }) => this.errors.push(code));
  }

  another(options = {}) {
    const { clock, random, server } = this;
    return new Roomcast("ws://test", { clock, random, page: null, WebSocket: server.WebSocket, ...options });
  }

  /** A room, and what is heard there. */
  join(name = "lobby", options = {}, client = this.client) {
    const room = client.room(name, options);
    const heard = { said: [], own: [], states: [], recovered: [], lost: 0, members: [] };
    room.on("said", (data, { own }) => heard[own ? "own" : "said"].push(data));
    room.onState((state) => heard.states.push(state));
    room.onRecovered(({ missed }) => heard.recovered.push(missed));
    room.onLost(() => (heard.lost += 1));
    room.onMembers((members) => heard.members.push(members?.map(({ user, conn }) => user || conn).sort()));
    return { room, heard };
  }

  async pass(ms = 100) {
    await this.clock.advance(ms);
  }

  /** Frames of the clients with an event. */
  received(event) {
    return this.server.received.filter(({ frame }) => frame.event === event).map(({ frame }) => frame);
  }

  get open() {
    return this.server.open;
  }

  /** Nothing is left behind. */
  left() {
    return { sockets: this.server.open, timers: this.clock.pending, listeners: this.page.listeners };
  }
}

export const NOTHING = { sockets: 0, timers: 0, listeners: 0 };

/** Follows a promise without waiting for it. */
export const outcome = (promise) => {
  const seen = { state: "pending" };
  promise.then((value) => Object.assign(seen, { state: "done", value }), (error) => Object.assign(seen, { state: error.code ?? "thrown", sent: error.sent, error }));
  return seen;
};
