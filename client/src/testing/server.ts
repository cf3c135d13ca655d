import type { Clock } from "../clock.js";
import type { SocketClass } from "../options.js";
import { type Answer, type Connection, Refusal, ServerRoom } from "./server_room.js";
import { TestSocket } from "./socket.js";

/** Options of a {@link TestServer}. */
export interface TestServerOptions {
  clock: Clock;
  /** Milliseconds that a message takes in either direction. Default: 1. */
  latencyMs?: number;
  /** Messages that each room keeps; 0 for rooms without a history. Default: 100. */
  history?: number;
  /** Messages that one join replays. Default: 500. */
  replay?: number;
  /** The user of a token; throws or gives null for a bad one. Default: the token itself. */
  user?: (token: string) => string | null;
  /** Refuses a join with a code, such as `forbidden`. */
  refuse?: (room: string) => string | undefined;
  /** Answers application events. */
  call?: (event: string, data: unknown) => unknown;
}

interface Peer extends Connection {
  socket: TestSocket;
}

/**
 * A server in memory, for tests of applications: rooms with history, recovery, members and keys, as the real
 * one has them.
 *
 * ```js
 * const clock = new TestClock();
 * const server = new TestServer({ clock });
 * const client = new Roomcast("ws://test", { clock, WebSocket: server.WebSocket, page: null });
 * const room = client.room("lobby");
 * await clock.advance(100);
 * server.publish("lobby", "said", { text: "hi" });
 * await clock.advance(100);
 * ```
 */
export class TestServer {
  /** The class of sockets for the options of a client. */
  readonly WebSocket: SocketClass;
  /** Every socket that was ever opened. */
  readonly sockets: TestSocket[] = [];
  /** False: connections fail. */
  isUp = true;
  /** Every frame of the clients, in the order of its arrival. */
  readonly received: { conn: string; frame: any }[] = [];
  readonly #options: TestServerOptions;
  readonly #rooms = new Map<string, ServerRoom>();
  readonly #peers = new Set<Peer>();
  readonly #keys = new Map<string, unknown>();
  #conns = 0;
  #epochs = 0;

  constructor(options: TestServerOptions) {
    this.#options = options;
    const { clock, latencyMs = 1 } = options;
    const accept = (socket: TestSocket, token?: string) => this.#accept(socket, token);
    const { sockets } = this;
    this.WebSocket = class extends TestSocket {
      constructor(_url: string, protocols: string[]) {
        super(clock, latencyMs);
        sockets.push(this);
        const bearer = protocols.find((protocol) => protocol.startsWith("bearer."));
        clock.set(() => this.isOpen && accept(this, bearer?.slice("bearer.".length)), latencyMs);
      }
    };
  }

  /** Sockets that are open, by the server or by the client. */
  get open(): number {
    return this.sockets.filter(({ isOpen }) => isOpen).length;
  }

  /** Publishes as a backend would. */
  publish(room: string, event: string, data?: unknown): void {
    this.#room(room).publish({ event, data: data ?? null });
  }

  /** Ends all connections: announced by `$bye` with this data, or unannounced as 1006. */
  drop(bye?: { code: number; reconnect: boolean; after_ms: number }): void {
    for (const peer of [...this.#peers]) {
      if (bye) {
        peer.send({ event: "$bye", data: bye });
        peer.socket.end(bye.code);
      } else peer.socket.cut();
    }
  }

  /** Stops all traffic on the open connections: they are half open, as after a sleep. */
  blackhole(): void {
    for (const { socket } of this.#peers) socket.isPassing = false;
  }

  /** Sends a frame to all connections, such as `{ event: "$expiring", data: { expires_in_ms: 60000 } }`. */
  push(frame: object): void {
    for (const peer of this.#peers) peer.send(frame);
  }

  /** Forgets all rooms, as a restart without a store does. */
  forget(): void {
    this.#rooms.clear();
    this.#keys.clear();
  }

  #room(name: string): ServerRoom {
    const { history = 100, replay = 500 } = this.#options;
    const room = this.#rooms.get(name) ?? new ServerRoom(name, `epoch-${++this.#epochs}`, history, replay);
    this.#rooms.set(name, room);
    return room;
  }

  #accept(socket: TestSocket, token?: string) {
    if (!this.isUp) return socket.cut();
    const { user: userOf = (token: string) => token } = this.#options;
    const user = token === undefined ? "" : userOf(token);
    if (user === null) return socket.end(4401);
    const conn = String(++this.#conns);
    const peer: Peer = { conn, user, socket, send: (frame) => socket.deliver(JSON.stringify(frame)) };
    this.#peers.add(peer);
    socket.peer = {
      receive: (text) => this.#peers.has(peer) && this.#receive(peer, JSON.parse(text)),
      ended: () => {
        this.#peers.delete(peer);
        for (const room of this.#rooms.values()) room.leave(peer);
      },
    };
    peer.send({ event: "$welcome", data: { conn, user, heartbeat_ms: 25_000, limits: { message_bytes: 65_536 } } });
  }

  #receive(peer: Peer, frame: any) {
    const { event, id, room } = frame;
    this.received.push({ conn: peer.conn, frame });
    if (event === "$ping") return peer.send({ event: "$pong", id });
    const after: (() => void)[] = [];
    let answer: Answer;
    try {
      answer = { data: this.#act(peer, frame, after) ?? null };
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      answer = { error: { code: error.code, message: error.code } };
    }
    if (id !== undefined || answer.error) peer.send({ event, id, room, ...answer });
    for (const send of after) send();
  }

  #act(peer: Peer, frame: any, after: (() => void)[]): unknown {
    const { event, room, data } = frame;
    const { refuse, call, user: userOf = (token: string) => token } = this.#options;
    if (event === "$auth") {
      const user = userOf(data.token);
      if (user === null) throw new Refusal("unauthorized");
      if (user !== peer.user) throw new Refusal("forbidden");
      return { user };
    }
    if (room === undefined) {
      if (!call) throw new Refusal("unknown_event");
      return call(event, data);
    }
    const at = this.#room(room);
    if (event === "$join") {
      const code = refuse?.(room);
      if (code) throw new Refusal(code);
      return at.join(peer, data, after);
    }
    if (event === "$leave") return { was: at.leave(peer) };
    if (event === "$members") return at.list(peer);
    if (event === "$history") return at.page(peer, data);
    if (event[0] === "$") throw new Refusal("unknown_verb");
    return this.#publish(peer, frame, at);
  }

  /** Publishes a message, but only once for each key. */
  #publish(peer: Peer, { event, data, key, conn = [], echo }: any, room: ServerRoom): unknown {
    const owners = peer.user ? [`user ${peer.user}`] : [peer.conn, ...[conn].flat()];
    const known = key && owners.map((owner) => this.#keys.get(`${owner} ${key}`)).find(Boolean);
    const answer = known ?? room.publish({ event, data: data ?? null }, peer, echo);
    if (key) for (const owner of owners) this.#keys.set(`${owner} ${key}`, answer);
    return answer;
  }
}
