import type { Clock } from "./clock.js";
import type { Why } from "./output.js";
import type { PageEvents } from "./page.js";

/** The parts of a `WebSocket` that are used. */
export interface Socket {
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  /** Above 1 once the connection is closing: nothing more is sent. */
  readonly readyState?: number;
  send(text: string): void;
  close(code?: number): void;
  /** Ends the connection at once, where the class has this method. */
  terminate?(): void;
}

/** A constructor of sockets: the browser's `WebSocket`, or that of npm `ws`. */
export type SocketClass = new (url: string, protocols: string[]) => Socket;

/** Options of a client. */
export interface Options {
  /**
   * The user's token, or a function that gets one. The function is called before every connection:
   * with `"connect"`, or `"refused"` after the server rejected the last token; and with
   * `"expiring"` a minute before the current token ends. `null` connects without a token. When it
   * throws, it is called again later.
   */
  token?: string | ((why: Why, signal: AbortSignal) => string | null | Promise<string | null>) | undefined;
  /** The class of sockets. Default: the global `WebSocket`. */
  WebSocket?: SocketClass | undefined;
  /** Milliseconds for a connection, its token included, and for the answer to a request. Default: 15,000. */
  timeout?: number | undefined;
  /** False: connects when {@link Roomcast.connect} is called. Default: true. */
  connect?: boolean | undefined;
  /** Limits of the messages that wait to be sent. Default: 100 messages and 262,144 bytes. */
  buffer?: { messages?: number; bytes?: number } | undefined;
  /** Time and timers. Default: those of the runtime. */
  clock?: Clock | undefined;
  /** Random numbers from 0 to below 1. Default: `Math.random`. */
  random?: (() => number) | undefined;
  /** Events of the page. Default: those of the browser. */
  page?: PageEvents | null | undefined;
}

/** The address of the server's WebSocket. */
export const addressOf = (url: string | URL): string => {
  const address = new URL(url, globalThis.location as unknown as URL | undefined);
  address.protocol = address.protocol.replace("http", "ws");
  if (address.pathname === "/") address.pathname = "/ws";
  address.searchParams.set("refuse", "close");
  address.hash = "";
  return address.href;
};
