// Times and limits of a client. A file of its own, without imports: minifiers inline the numbers.

/** Silence after which a client pings, where the server does not say. */
export const HEARTBEAT_MS = 25_000;
/** Wait for any frame after a ping. */
export const PONG_MS = 4_000;
/** A timer that is this late means that the machine slept, or that the page was frozen. */
export const LATE_MS = 2_000;
/** The longest wait for a new attempt once the page is visible again. */
export const AWAKE_MS = 300;
/** Wait for the next call for a token, after one that failed. */
export const RENEW_MS = 5_000;
/** Bounds of the random delay between attempts: it doubles from the first to the longest. */
export const DELAY_MS_FIRST = 1_000;
export const DELAY_MS_MAX = 30_000;
/** A connection that lasts this long is good: delays start over after it. */
export const LASTED_MS = 10_000;
/** Milliseconds until a temporary refusal is tried again, half of it at least. */
export const RETRY_MS = 2_000;
/** The part of the server's rate that is used: the rest is for pings, and for clocks that differ. */
export const RATE_PART = 0.9;
/** The most earlier connections that the client recognises as its own. */
export const CONNS_MAX = 64;
/** The most earlier connections that a frame may name. */
export const NAMED_CONNS_MAX = 16;
/** The most unanswered messages; the server remembers 256 keys of a client. */
export const UNANSWERED_MAX = 200;
/** The close code for a token that is missing, bad, withdrawn or has ended. */
export const UNAUTHORIZED = 4401;
/** The longest timer of all runtimes. */
export const TIMER_MS_MAX = 2_147_483_647;
