// The object of a namespace, as the platform calls it. Its events go to the module; when the module
// cannot continue, the object restarts from its saved state.

import { DurableObject } from "cloudflare:workers";

import { Front, Namespace, current, inOrder, restart } from "./runtime.js";
import { fetchKeys } from "./keys.js";
import { ask, post } from "./posts.js";
import { Sockets, end } from "./sockets.js";

// Close codes of sockets that end without a close frame, or without a code in it.
const NO_CODE = 1005;
const LOST = 1006;
const TLS_FAILED = 1015;

// The most panics of the application over messages of one connection before it is closed: each
// panic restarts the module, for all its objects.
const PANICS_MAX = 16;
// The most inputs of the application itself that follow each other without a pause.
const TURNS_MAX = 100;
// The most messages of one connection, and their bytes or characters, that wait while keys are
// fetched. With more the connection is closed.
const WAITING_MAX = 256;
const WAITING_SIZE_MAX = 1 << 20;
// The interval at which an object that waits for work checks whether the module was restarted.
const WATCH_MS = 1000;

// The namespaces of this isolate's objects, by id. The garbage collector could free the namespace
// of an evicted object, but does not see how much memory it holds in the module.
const namespaces = new Map();
const collected = new FinalizationRegistry((id) => {
  if (!namespaces.get(id)?.namespace.deref()) namespaces.delete(id);
});

export class NamespaceObject extends DurableObject {
  #sockets;
  #namespace = null;
  #generation = -1;
  #hasApplication = false;
  // True when an issuer of tokens publishes its keys.
  #hasPublishedKeys;
  // Messages that wait for published keys, or behind one that does; by socket.
  #lines = new WeakMap();
  // True when a backend is asked who connects; and the clients that wait for the decision of the
  // backend or the application, by their numbers.
  #asksConnect = false;
  #asking = new Map();
  #watching = false;
  // The number of panics of the application over messages of a socket.
  #panics = new WeakMap();

  constructor(ctx, env) {
    super(ctx, env);
    this.#hasPublishedKeys = Boolean(env.ROOMCAST_JWKS);
    this.#sockets = new Sockets(
      ctx,
      env.NAMESPACES,
      (slot) => this.#also((namespace) => namespace.tooSlow(slot)),
      (slot) => this.#also((namespace) => namespace.disconnect(slot, LOST)),
      () => this.#turn(),
      (...request) => this.ctx.waitUntil(this.#post(...request)),
      (client) => this.#answered(client),
    );
  }

  // Returns the namespace, after waking it if necessary. Throws the faults of waking.
  #awake() {
    if (this.#generation !== current()) {
      this.#begin();
      this.#generation = current();
      this.#namespace.wake();
      this.#sockets.raw = this.#namespace.isRaw;
    }
    return this.#namespace;
  }

  #begin() {
    const id = this.ctx.id.toString();
    const old = namespaces.get(id);
    // The namespace of an earlier instance of the module was lost with that instance.
    if (old?.generation === current()) old.namespace.deref()?.free();
    const random = crypto.getRandomValues(new BigUint64Array(1))[0];
    this.#namespace = new Namespace(this.ctx, this.env, this.#sockets, this.ctx.id.name ?? "", random);
    this.#hasApplication = this.#namespace.hasApplication;
    this.#asksConnect = this.#namespace.asksConnect;
    // Clients that wait for a decision are refused: it would go to the earlier namespace.
    for (const client of [...this.#asking.keys()]) this.#answered(client);
    if (this.#hasPublishedKeys) this.#namespace.restoreKeys();
    this.#sockets.outboxMax = this.#namespace.outboxBytesMax;
    namespaces.set(id, { namespace: new WeakRef(this.#namespace), generation: current() });
    collected.register(this.#namespace, id);
  }

  // Runs an input: all of it or nothing. A fault is rethrown, after the module was restarted where
  // necessary; the namespace wakes again with the next input.
  #input(act) {
    try {
      const result = act(this.#awake());
      this.#sockets.commit();
      return result;
    } catch (fault) {
      this.#sockets.rollback();
      this.#generation = -1;
      if (inOrder(fault)) console.error(`roomcast: ${fault}`);
      else restart(fault);
      throw fault;
    }
  }

  // Runs an input that follows from another one, and that nobody waits for; returns false when it
  // failed. Then the namespace wakes from the saved state and the open sockets.
  #also(act) {
    try {
      this.#input(act);
      return true;
    } catch {
      return false; // it has been logged
    }
  }

  // Runs pending work beside inputs of clients, piece by piece: each is an input of its own.
  #turn() {
    this.#watch();
    for (let count = 0; count < TURNS_MAX; count++) {
      let more = false;
      const done = this.#also((namespace) => {
        more = namespace.turn();
      });
      // A restarted namespace reports the work that is lost.
      if (!done && (this.#sockets.works || this.#asking.size > 0)) this.#also(() => {});
      if (!done || !more) return;
    }
    // Other events run in between.
    setTimeout(() => this.#turn(), 0);
  }

  // Checks for restarts of the module: another object can cause one while this object waits for its
  // work, and nothing else would report it.
  #watch() {
    if (this.#watching || !(this.#sockets.works || this.#asking.size > 0)) return;
    this.#watching = true;
    setTimeout(() => {
      this.#watching = false;
      if (this.#generation !== current()) this.#also(() => {});
      this.#watch();
    }, WATCH_MS);
  }

  // Sends a request to a backend, and passes its outcome to the namespace that sent it. A namespace
  // that was restarted meanwhile sends events again, and reports lost answers to their clients.
  async #post(number, url, headers, body, askMs) {
    const namespace = this.#namespace;
    const asks = askMs !== undefined;
    const told = asks ? await ask(url, headers, body, askMs) : await post(url, headers, body);
    const done = this.#also((current) => {
      if (current !== namespace) return;
      if (asks) current.asked(number, told.status, told.body, told.fault, Boolean(told.isLate));
      else current.posted(number, told.status, told.retryAfter, told.fault);
    });
    if (!done && (this.#sockets.works || this.#asking.size > 0)) this.#also(() => {});
  }

  // Asks a backend who a connecting client is, where the settings want that, and waits for the
  // answer. Returns the namespace that has it, and its number there.
  async #askWho(request) {
    if (!this.#input(() => this.#asksConnect)) return {};
    let answered;
    const asked = this.#input((namespace) => {
      const client = namespace.askWho(request);
      if (client !== undefined) answered = new Promise((done) => this.#asking.set(client, done));
      return { namespace, client };
    });
    await answered;
    return asked;
  }

  #answered(client) {
    this.#asking.get(client)?.();
    this.#asking.delete(client);
  }

  // Answers a request of another namespace.
  ask(question) {
    return this.#input((namespace) => namespace.ask(question));
  }

  // True when an input failed because the application panicked, or may have.
  #panicked(fault) {
    return this.#hasApplication && !inOrder(fault);
  }

  // Rolls back the storage when a later step fails.
  #transaction(act) {
    let done = false;
    try {
      return this.ctx.storage.transactionSync(() => {
        const result = act();
        done = true;
        return result;
      });
    } catch (fault) {
      // The module is intact, but its state is ahead of the storage.
      throw done ? `the storage cannot be written: ${fault}` : fault;
    }
  }

  async fetch(request) {
    const call = new URL(request.url).pathname.startsWith("/api/");
    const body = call ? new Uint8Array(await request.arrayBuffer()) : null;
    try {
      if (call) return this.#call(request, body);
      await this.#bringKeys((namespace) => namespace.wantsKeys(request));
      return await this.#connect(request, await this.#askWho(request));
    } catch (fault) {
      return inOrder(fault) ? Front.unavailable(request) : Front.failed(request);
    }
  }

  async #connect(request, asked) {
    let waiting = null;
    const response = this.#input((namespace) => {
      // A number of another namespace belongs to another client.
      const number = namespace === asked.namespace ? asked.client : undefined;
      const said = namespace.upgrade(request, number);
      if (typeof said !== "bigint") return this.#open(namespace, request, said);
      const done = new Promise((done) => this.#asking.set(said, done));
      waiting = { namespace, number: said, done };
    });
    if (!waiting) return response;
    const isGone = await this.#decided(waiting, request.signal);
    return this.#input((namespace) => {
      if (namespace !== waiting.namespace) return Front.unavailable(request);
      if (!isGone) return this.#open(namespace, request, namespace.upgraded(request, waiting.number));
      namespace.upgradeDropped(waiting.number);
      return Front.unavailable(request); // nobody reads it
    });
  }

  // Waits for the application's decision on a client, within the time limit and while the client is
  // connected. Returns true when the client has gone.
  async #decided({ namespace, number, done }, signal) {
    const end = new AbortController();
    const isGone = await Promise.race([
      done,
      scheduler.wait(namespace.admissionMs, { signal: end.signal }).catch(() => {}),
      new Promise((leave) => {
        if (signal.aborted) leave(true);
        signal.addEventListener("abort", () => leave(true), { signal: end.signal });
      }),
    ]);
    end.abort();
    this.#answered(number);
    return isGone;
  }

  // Opens the socket of an admitted client, with this protocol if any; or returns the response that
  // refuses it.
  #open(namespace, request, protocol) {
    if (protocol instanceof Response) return protocol;
    const headers = protocol ? { "sec-websocket-protocol": protocol } : {};
    const [client, server] = Object.values(new WebSocketPair());
    this.#sockets.opening = server;
    try {
      const refused = this.#transaction(() => namespace.connect(request));
      if (refused) return refused;
    } catch (fault) {
      // It may have been accepted already.
      this.#sockets.abort(server);
      throw fault;
    }
    // Nothing may fail from here on: the open socket would have no client at the other end.
    return new Response(null, { status: 101, webSocket: client, headers });
  }

  // Waits for published keys, when a token needs them. Old keys are fetched again in the
  // background.
  async #bringKeys(wants) {
    if (!this.#hasPublishedKeys) return;
    const ask = (question) => this.#input(question);
    const [wanted, due] = ask((namespace) => [wants(namespace), namespace.keysAreDue]);
    if (wanted) await fetchKeys(ask);
    else if (due) this.ctx.waitUntil(fetchKeys(ask).catch(() => {})); // it has been logged
  }

  #call(request, body) {
    const response = this.#input((namespace) =>
      this.#transaction(() => namespace.call(request, body)),
    );
    // The caller may rely on the delivery once it is answered.
    this.#sockets.flush();
    return response;
  }

  webSocketMessage(socket, message) {
    const line = this.#lines.get(socket);
    if (line) return this.#wait(line, socket, message);
    if (this.#wantsKeys(socket, message)) return this.#waitForKeys(socket, message);
    this.#message(socket, message);
  }

  #wantsKeys(socket, message) {
    if (!this.#hasPublishedKeys || typeof message !== "string") return false;
    let wants = false;
    this.#also((namespace) => {
      const slot = this.#sockets.slotOf(socket);
      const most = namespace.messageBytesMax;
      if (slot === undefined || message.length > most) return;
      wants = namespace.messageWantsKeys(slot, message);
    });
    return wants;
  }

  // Holds back a message, and those behind it, until the keys have arrived.
  async #waitForKeys(socket, message) {
    const line = { messages: [], size: message.length, end: null };
    const done = new Promise((end) => (line.end = end));
    line.done = done;
    this.#lines.set(socket, line);
    try {
      await fetchKeys((question) => this.#input(question));
    } catch {
      // It has been logged; the token is refused.
    }
    this.#lines.delete(socket);
    this.#message(socket, message);
    for (const next of line.messages) this.webSocketMessage(socket, next);
    line.end();
  }

  #wait(line, socket, message) {
    line.size += message.length ?? message.byteLength;
    line.messages.push(message);
    if (line.messages.length <= WAITING_MAX && line.size <= WAITING_SIZE_MAX) return;
    line.messages.length = 0;
    this.#sockets.abort(socket);
  }

  #message(socket, message) {
    try {
      this.#input((namespace) => {
        const slot = this.#sockets.slotOf(socket);
        if (slot === undefined) return; // closed meanwhile
        this.#sockets.heard(slot);
        // A message that is too large is cut, but stays longer than the limit.
        const most = namespace.messageBytesMax + 1;
        if (typeof message === "string") {
          namespace.text(slot, message.length > most ? message.slice(0, most) : message);
        } else {
          namespace.binary(slot, new Uint8Array(message, 0, Math.min(message.byteLength, most)));
        }
      });
    } catch (fault) {
      if (this.#panicked(fault) && this.#failed(socket, message)) return;
      // The same message would cause the same panic again.
      this.#sockets.abort(socket);
    }
  }

  // Tells the sender of a message that the application panicked over it; false when the sender must
  // be closed. The charge to its rate for the message was rolled back too.
  #failed(socket, message) {
    const panics = (this.#panics.get(socket) ?? 0) + 1;
    this.#panics.set(socket, panics);
    if (panics > PANICS_MAX) return false;
    return this.#also((namespace) => {
      const slot = this.#sockets.slotOf(socket);
      if (slot !== undefined) namespace.failed(slot, typeof message === "string" ? message : "");
    });
  }

  webSocketClose(socket, code, reason) {
    const line = this.#lines.get(socket);
    // The messages came before the end of the socket.
    if (line) return line.done.then(() => this.webSocketClose(socket, code, reason));
    this.#gone(socket, code);
    // The platform does not answer the close frame by itself.
    if (code === NO_CODE) end(socket);
    else if (code !== LOST && code !== TLS_FAILED) end(socket, code, reason);
  }

  webSocketError(socket) {
    const line = this.#lines.get(socket);
    if (line) return line.done.then(() => this.webSocketError(socket));
    this.#gone(socket, LOST);
  }

  #gone(socket, code) {
    // Messages that wait for the next turn were accepted before the socket ended.
    this.#sockets.flush();
    const leave = (namespace) => {
      const slot = this.#sockets.slotOf(socket);
      if (slot === undefined) return; // the server closed it, or woke without restoring it
      this.#sockets.remove(socket);
      namespace.disconnect(slot, code);
    };
    try {
      this.#input(leave);
    } catch (fault) {
      // The platform reports an end only once: a failed save is retried while the socket is listed.
      // The fault was logged.
      if (inOrder(fault)) this.#also(leave);
    }
    this.#sockets.forget(socket);
  }

  alarm() {
    try {
      this.#input((namespace) => namespace.alarm());
    } catch (fault) {
      // A thrown fault makes the platform call again.
      if (!this.#panicked(fault)) throw fault;
      this.#input((namespace) => namespace.skipDue());
    }
  }
}
