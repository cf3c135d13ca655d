/** Names of events with the types of their data. */
export type Events = Record<string, any>;

/** Names of application events with the types of their requests and answers. */
export type Calls = Record<string, { ask: unknown; answer: unknown }>;

/** A message that was published to a room, or pushed to this connection. */
export type Message<E extends Events = Events> = {
  [K in keyof E & string]: {
    readonly event: K;
    readonly data: E[K];
    /** The room; absent when a backend sent it to more than one, or to users. */
    readonly room?: string;
    /** The application's label. */
    readonly path?: string;
    /** The publisher; absent when a backend sent the message. */
    readonly from?: { readonly conn: string; readonly user?: string };
    /** The place in the room's history, where the room keeps one. */
    readonly offset?: number;
    /** True for a message of this client, on this connection or on an earlier one. */
    readonly own: boolean;
  };
}[keyof E & string];

/** A place in a room's history. Opaque: keep it, and give it back as `from`. */
export interface Position {
  readonly epoch: string;
  readonly offset: number;
}

/** A member of a room: a user with any number of connections, or one connection without a user. */
export interface Member {
  /** The user; empty without one. */
  readonly user: string;
  /** The connection of a member without a user. */
  readonly conn?: string;
  /** The `meta` that the member's first connection gave. */
  readonly meta?: unknown;
}

/** Numbers of users and connections in a room, as the server last said. */
export interface Counts {
  readonly users: number;
  readonly conns: number;
}

/** The states of a room, see {@link Room.state}. */
export type RoomState = "idle" | "joining" | "joined" | "filling" | "refused" | "left";

/** A frame of the server. */
export interface Frame {
  event: string;
  id?: number;
  room?: string;
  path?: string;
  from?: { conn: string; user?: string };
  offset?: number;
  data?: any;
  error?: { code: string; message: string; details?: any };
}
