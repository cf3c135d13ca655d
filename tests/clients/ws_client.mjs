// A client of the npm library `ws`, a client of the HTTP API, and the comparisons of the sessions.

import { randomBytes } from "node:crypto";
import process from "node:process";
import WebSocket from "ws";

// Far above what a busy machine needs: passing it is a failure, never a measurement.
const DEADLINE_MS = 15_000;

// The time that the library waits for the server to end a closed connection; unset, the library's
// default.
const CLOSE_WAIT = process.env.CLOSE_WAIT_MS ? { closeTimeout: Number(process.env.CLOSE_WAIT_MS) } : {};

// The exit below comes before Node would print it.
process.on("uncaughtExceptionMonitor", (fault) => console.error(fault));
// Node 20 may spin for ever while it frees its sockets at the end. An exit here skips that.
process.on("exit", () => process.exit());

export const SUBPROTOCOL = "roomcast.v1";

export function fail(what, expected, got) {
  throw new Error(`${what}\n    expected ${show(expected)}\n    got      ${show(got)}`);
}

export function equal(got, expected, what) {
  if (got !== expected) fail(what, expected, got);
}

export function matches(got, pattern, what) {
  if (!pattern.test(got)) fail(what, String(pattern), got);
}

function show(value) {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text !== undefined && text.length > 600 ? `${text.slice(0, 600)}… (${text.length})` : text;
}

export function withDeadline(promise, what, deadline = DEADLINE_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${deadline} ms for ${what}`)), deadline);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// Asks again and again until the answer is true; `look` must do I/O, so this does not spin.
export async function until(what, look) {
  const end = Date.now() + DEADLINE_MS;
  while (!(await look())) {
    if (Date.now() > end) throw new Error(`waited ${DEADLINE_MS} ms for ${what}`);
  }
}

// A namespace for one case, so that cases cannot disturb each other.
export const namespace = () => `ws-${randomBytes(8).toString("hex")}`;

export class Client {
  #frames = [];
  #wake = null;
  conn = null;
  welcome = null;
  closed = null;

  constructor(address, protocols, options) {
    this.socket = new WebSocket(address, protocols, { perMessageDeflate: false, ...CLOSE_WAIT, ...options });
    this.socket.on("message", (data, isBinary) => {
      this.#frames.push(isBinary ? `(binary) ${data.toString("hex")}` : data.toString("utf8"));
      this.#wake?.();
    });
    this.socket.on("close", (code, reason) => {
      this.closed = { code, reason: reason.toString("utf8") };
      this.#wake?.();
    });
    this.opened = new Promise((resolve, reject) => {
      this.socket.once("open", resolve);
      this.socket.once("error", reject);
      this.socket.once("unexpected-response", (_, response) => {
        reject(Object.assign(new Error(`HTTP ${response.statusCode}`), { response }));
      });
    });
    // Later faults show as a close.
    this.socket.on("error", () => {});
  }

  // Opens a connection that speaks `roomcast.v1` and knows its id from `$welcome`.
  static async open(address, options) {
    const client = new Client(address, [SUBPROTOCOL], options);
    await withDeadline(client.opened, "the connection to open");
    client.welcome = await client.next();
    client.conn = JSON.parse(client.welcome).data?.conn;
    matches(String(client.conn), /^[0-9]+$/, "the id in $welcome");
    return client;
  }

  // Opens one that offers no subprotocol.
  static async openPlain(address, options) {
    const client = new Client(address, [], options);
    await withDeadline(client.opened, "the connection to open");
    return client;
  }

  send(frame) {
    this.socket.send(typeof frame === "string" ? frame : JSON.stringify(frame));
  }

  // The next frame, as text.
  async next() {
    const arrived = async () => {
      while (this.#frames.length === 0) {
        if (this.closed) fail("a frame", "any", `closed ${show(this.closed)}`);
        await new Promise((resolve) => (this.#wake = resolve));
      }
    };
    await withDeadline(arrived(), "a frame");
    return this.#frames.shift();
  }

  async take(count) {
    const frames = [];
    while (frames.length < count) frames.push(await this.next());
    return frames;
  }

  // The next frames must be these, byte for byte.
  async expect(...frames) {
    for (const frame of frames) equal(await this.next(), frame, "a frame");
  }

  async ask(frame, ...answers) {
    this.send(frame);
    await this.expect(...answers);
  }

  // Nothing else was queued before: the answer to a ping comes next.
  async nothingMore() {
    await this.ask('{"event":"$ping"}', '{"event":"$pong"}');
  }

  // Joins a room and returns the room's epoch.
  async join(room) {
    this.send({ event: "$join", id: "join", room });
    const answer = await this.next();
    const { epoch } = JSON.parse(answer).data ?? {};
    const data = { epoch, offset: 0, already: false };
    equal(answer, JSON.stringify({ event: "$join", id: "join", room, data }), "the answer to $join");
    if (typeof epoch !== "string") fail("the epoch", "a string", epoch);
    return epoch;
  }

  // The frame must be refused with `code`, addressed like `head`, without repeating `secret`.
  async refused(frame, head, code, secret) {
    this.send(frame);
    await this.expectError(head, code, secret);
  }

  async expectError(head, code, secret) {
    const got = await this.next();
    const { message, details } = JSON.parse(got).error ?? {};
    equal(got, JSON.stringify({ ...head, error: { code, message, details } }), "an error frame");
    if (details !== undefined && !message.includes(details.limit)) {
      fail("the message of an error", `the limit of ${JSON.stringify(details)}`, message);
    }
    if (typeof message !== "string" || message === "") fail("the message", "some text", message);
    if (secret !== undefined && message.includes(secret)) {
      fail("the message of an error", `nothing about ${secret}`, message);
    }
  }

  // The server must close: the frames given, then the close frame, then nothing.
  async expectClose(code, ...frames) {
    await this.expect(...frames);
    await withDeadline(
      (async () => {
        while (!this.closed) await new Promise((resolve) => (this.#wake = resolve));
      })(),
      `the close with ${code}`,
    );
    equal(this.closed.code, code, "the close code");
    equal(this.#frames.length, 0, "frames after the close was announced");
    return this.closed.reason;
  }

  async close(code = 1000) {
    this.socket.close(code);
    await this.expectClose(code);
  }
}

// The refusal of a handshake: its status and headers.
export async function refusal(address, options) {
  const client = new Client(address, [SUBPROTOCOL], options);
  try {
    await withDeadline(client.opened, "the answer to the handshake");
  } catch (error) {
    if (!error.response) throw error;
    client.socket.terminate();
    return { status: error.response.statusCode, headers: error.response.headers };
  }
  client.socket.terminate();
  return fail("the handshake", "a refusal", "101");
}

export class Api {
  constructor(base, key) {
    this.base = base.replace(/\/$/, "");
    this.key = key;
  }

  async call(method, path, { body, headers = {}, key = this.key } = {}) {
    const response = await fetch(this.base + path, {
      method,
      headers: {
        ...(key ? { authorization: `Bearer ${key}` } : {}),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      body: body === undefined || typeof body === "string" ? body : JSON.stringify(body),
      signal: AbortSignal.timeout(DEADLINE_MS),
    });
    return { status: response.status, headers: response.headers, text: await response.text() };
  }

  // A call that must succeed with exactly this body.
  async gives(method, path, expected, options) {
    const answer = await this.call(method, path, options);
    equal(`${answer.status} ${answer.text}`, `200 ${expected}`, `${method} ${path}`);
  }

  async json(path) {
    const answer = await this.call("GET", path);
    equal(answer.status, 200, `GET ${path}`);
    return JSON.parse(answer.text);
  }

  // A call that must be refused with a problem document.
  async refuses(method, path, status, options) {
    const answer = await this.call(method, path, options);
    const what = `${method} ${path} ${options?.body === undefined ? "" : show(options.body)}`;
    equal(answer.status, status, `${what}: ${answer.text}`);
    matches(answer.headers.get("content-type") ?? "", /^application\/problem\+json/, what);
    const { title, detail, code, details } = JSON.parse(answer.text);
    const problem = { type: "about:blank", title, status, detail, code, details };
    equal(answer.text, JSON.stringify(problem), `${what}: the problem`);
    for (const [name, value] of Object.entries({ title, detail, code })) {
      if (typeof value !== "string" || value === "") fail(`${what}: ${name}`, "some text", value);
    }
    if (details !== undefined && !detail.includes(details.limit)) {
      fail(`${what}: the detail`, `the limit of ${JSON.stringify(details)}`, detail);
    }
    return problem;
  }

  send(ns, body, expected, headers) {
    return this.gives("POST", `/api/v1/${ns}/send`, expected, { body, headers });
  }
}
