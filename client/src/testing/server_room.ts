/** A connection, as a room sees it. */
export interface Connection {
  conn: string;
  user: string;
  send(frame: object): void;
}

/** The end of an answer. */
export type Answer = { data: unknown; error?: undefined } | { data?: undefined; error: { code: string; message: string } };

/** A request that is answered with an error. */
export class Refusal extends Error {
  constructor(readonly code: string) {
    super(code);
  }
}

interface Kept {
  frame: { offset?: number; event: string; room: string; from?: object | undefined; data: unknown };
  /** The publisher that does not get it. */
  except: string | undefined;
}

const PAGE = 100;

/** A room of a {@link TestServer}. */
export class ServerRoom {
  readonly #name: string;
  readonly #epoch: string;
  readonly #keep: number;
  readonly #replay: number;
  readonly #members = new Map<Connection, unknown>();
  #kept: Kept[] = [];
  #offset = 0;

  constructor(name: string, epoch: string, keep: number, replay: number) {
    this.#name = name;
    this.#epoch = epoch;
    this.#keep = keep;
    this.#replay = replay;
  }

  publish({ event, data }: { event: string; data: unknown }, by?: Connection, echo = false): object {
    const from = by && { conn: by.conn, user: by.user || undefined };
    const frame = { event, room: this.#name, from, offset: this.#keep ? ++this.#offset : undefined, data } as Kept["frame"];
    const except = echo ? undefined : by?.conn;
    if (this.#keep) this.#kept = [...this.#kept, { frame, except }].slice(-this.#keep);
    const reached = [...this.#members.keys()].filter(({ conn }) => conn !== except);
    for (const member of reached) member.send(frame);
    return { reached: reached.length, offset: frame.offset };
  }

  join(peer: Connection, data: any, after: (() => void)[]): object {
    const already = this.#members.has(peer);
    if (!already) {
      const isFirst = !peer.user || ![...this.#members.keys()].some(({ user }) => user === peer.user);
      if (isFirst) this.#tell({ event: "$joined", room: this.#name, data: this.#shown(peer, data?.meta) });
      this.#members.set(peer, data?.meta);
    }
    const position = { epoch: this.#epoch, offset: this.#offset, already };
    if (!data?.since) return position;
    const { epoch, offset, conn } = data.since;
    const first = this.#offset - this.#kept.length;
    if (!this.#keep || epoch !== this.#epoch || offset < first || offset > this.#offset) return { ...position, recovered: false };
    const missed = this.#since(offset, conn);
    if (missed.length > this.#replay) return { ...position, recovered: false };
    after.push(() => missed.forEach((frame) => peer.send(frame)));
    return { ...position, recovered: true, missed: missed.length };
  }

  leave(peer: Connection): boolean {
    const meta = this.#members.get(peer);
    const was = this.#members.delete(peer);
    const isLast = !peer.user || ![...this.#members.keys()].some(({ user }) => user === peer.user);
    if (was && isLast) this.#tell({ event: "$left", room: this.#name, data: { ...this.#shown(peer, meta), meta: undefined } });
    return was;
  }

  list(peer: Connection): object {
    this.#check(peer);
    const members = new Map([...this.#members].map(([peer, meta]) => [peer.user || peer.conn, { ...this.#shown(peer, meta), conns: 1 }]));
    return { members: [...members.values()], users: members.size, conns: this.#members.size };
  }

  page(peer: Connection, { after, before, limit, conn }: any): object {
    this.#check(peer);
    if (!this.#keep) throw new Refusal("forbidden");
    const size = Math.min(limit ?? PAGE, PAGE);
    const all = this.#since(after ?? 0, conn).filter(({ offset }) => offset! < (before ?? Infinity));
    const messages = after == null ? all.slice(-size) : all.slice(0, size);
    return { epoch: this.#epoch, offset: this.#offset, messages, first: this.#offset - this.#kept.length + 1 };
  }

  #check(peer: Connection) {
    if (!this.#members.has(peer)) throw new Refusal("forbidden");
  }

  #since(offset: number, conns: string | string[] = []) {
    const own = [conns].flat();
    const wanted = this.#kept.filter(({ frame, except }) => frame.offset! > offset && !(except && own.includes(except)));
    return wanted.map(({ frame }) => frame);
  }

  #tell(frame: object) {
    for (const member of this.#members.keys()) member.send(frame);
  }

  #shown({ user, conn }: Connection, meta: unknown) {
    return user ? { user, meta } : { user, conn, meta };
  }
}
