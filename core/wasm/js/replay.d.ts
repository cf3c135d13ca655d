/** The id of a connection, as in journals. */
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

/** The frames that a connection gets in a step with the skipped input, and without it. */
export interface Difference {
  line: number;
  conn: ConnId;
  with: string[];
  without: string[];
}

/**
 * An invariant of docs/invariants.md that does not hold after a line, by its name. `room` is empty
 * for none.
 */
export interface Violation {
  line: number;
  invariant: string;
  conn: ConnId | null;
  room: string;
  text: string;
}

/**
 * A journal, step by step. Lines are counted from 1. A method throws an `Error` for a line that
 * does not exist or cannot be read, and for a namespace with an application, whose answers are not
 * in the journal.
 *
 * ```js
 * const replay = await Replay.open(await readFile("1.000001.jsonl"));
 * for (let line = 1; line <= replay.lines; line += 1) console.log(replay.step(line));
 * ```
 */
export class Replay {
  /** Opens a whole journal, at most 256 MiB; concatenate the parts of a run. */
  static open(journal: string | Uint8Array): Promise<Replay>;
  private constructor();
  readonly lines: number;
  /** True when the last line was cut off: it is left out. */
  readonly cutOff: boolean;
  /** The commands of any line. The lines before it are replayed, from a snapshot on. */
  step(line: number): Output[];
  /** The state of the line's namespace after the line; `null` for a line without a namespace. */
  state(line: number): State | null;
  /**
   * The differences from a line to the end when its input is skipped. `count` counts all; the first
   * 500 are listed.
   */
  skip(line: number): { count: number; differences: Difference[] };
  /**
   * The lines that publish a message of others to a room while a connection is open and does not
   * get it.
   */
  missed(conn: ConnId): number[];
  /** The violations of invariants in the journal. `count` counts all; the first 500 are listed. */
  violations(): { count: number; violations: Violation[] };
  /** Frees the memory. The replay cannot be used any more. */
  close(): void;
}
