/** The id of a connection, as journals have it. */
export type ConnId = string;

/** A command that a client can notice. */
export type Output =
  | { kind: "send"; to: ConnId[]; frame: string; binary: boolean }
  | { kind: "close"; conn: ConnId; code: number; reason: string }
  | { kind: "ping"; conn: ConnId };

/** The state of a namespace: at most 1,000 of its rooms and connections each, and 20 messages of a history. */
export interface State {
  namespace: string;
  rooms_count: number;
  connections_count: number;
  /** `history` has the frames of the last messages, and is `null` when the room keeps none. */
  rooms: { room: string; members_count: number; members: ConnId[]; offset: number; history: string[] | null }[];
  /** `since` is the time of the journal, in milliseconds. */
  connections: { conn: ConnId; user: string | null; since: number; rooms: string[] }[];
}

/** The frames that a connection gets in a step with an input that is skipped, and without it. */
export interface Difference {
  line: number;
  conn: ConnId;
  with: string[];
  without: string[];
}

/** A statement of docs/invariants.md that does not hold behind a line, by its name there. `room` is empty for none. */
export interface Violation {
  line: number;
  invariant: string;
  conn: ConnId | null;
  room: string;
  text: string;
}

/**
 * A journal, step by step. Lines are counted from 1. A method throws an `Error` for a line that there is not, or
 * that is none of a journal; and for a namespace with an application, whose answers are not in the journal.
 *
 * ```js
 * const replay = await Replay.open(await readFile("1.000001.jsonl"));
 * for (let line = 1; line <= replay.lines; line += 1) console.log(replay.step(line));
 * ```
 */
export class Replay {
  /** Takes a whole journal, at most 256 MiB; the parts of a run behind each other. */
  static open(journal: string | Uint8Array): Promise<Replay>;
  private constructor();
  readonly lines: number;
  /** True when the last line was cut off: it is left out. */
  readonly cutOff: boolean;
  /** The commands that a line led to. A line may be any: what is before it is played, from a snapshot on. */
  step(line: number): Output[];
  /** The state of the line's namespace behind the line; `null` for a line of no namespace. */
  state(line: number): State | null;
  /** The differences from a line to the end when its input is skipped. `count` is of all, and the first 500 are told. */
  skip(line: number): { count: number; differences: Difference[] };
  /** The lines that publish messages of others to rooms, while a connection is there and gets none of them. */
  missed(conn: ConnId): number[];
  /** The invariants that do not hold in the journal. `count` is of all, and the first 500 are told. */
  violations(): { count: number; violations: Violation[] };
  /** Frees the memory. The replay is of no use then. */
  close(): void;
}
