// A namespace's object, as the platform calls it. What it says goes to the module; when the module
// cannot go on, the object begins anew from what it had saved.

import { DurableObject } from "cloudflare:workers";

import { Front, Namespace, current, inOrder, restart } from "./runtime.js";
import { fetchKeys } from "./keys.js";
import { ask, post } from "./posts.js";
import { Sockets, end } from "./sockets.js";

// Ends without a close frame, or without a code in it.
const NO_CODE = 1005;
const LOST = 1006;
const TLS_FAILED = 1015;

// Messages of one connection that the application may panic over before it is closed: each makes the
// module begin anew, for all its objects.
const PANICS_MAX = 16;
// Inputs of an application's own that follow each other without a pause.
const TURNS_MAX = 100;
// Messages of one connection, and their bytes or letters, that wait while keys are fetched. With more it
// is closed.
const WAITING_MAX = 256;
const WAITING_SIZE_MAX = 1 << 20;
// How often an object that waits for work looks whether the module is still the same.
const WATCH_MS = 1000;

// The namespaces of this isolate's objects, by id. The collector would find that an evicted object's
// is not needed any more, but does not see how much memory it holds in the module.
const namespaces = new Map();
const collected = new FinalizationRegistry((id) => {
  if (!namespaces.get(id)?.namespace.deref()) namespaces.delete(id);
});

export class NamespaceObject extends DurableObject {
  #sockets;
  #namespace = null;
  #generation = -1;
  #hasApplication = false;
  // Whether an issuer of tokens publishes its keys.
  #hasPublishedKeys;
  // By their sockets: messages that wait for published keys, or behind one that does.
  #lines = new WeakMap();
  // Whether a backend is asked who connects; and clients that wait for its word or the application's,
  // by their numbers.
  #asksConnect = false;
  #asking = new Map();
  #watching = false;
  // How often the application panicked over messages of a socket.
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

  // The namespace, awake. Throws what waking throws.
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
    // What lived in another instance of the module went with it.
    if (old?.generation === current()) old.namespace.deref()?.free();
    const random = crypto.getRandomValues(new BigUint64Array(1))[0];
    this.#namespace = new Namespace(this.ctx, this.env, this.#sockets, this.ctx.id.name ?? "", random);
    this.#hasApplication = this.#namespace.hasApplication;
    this.#asksConnect = this.#namespace.asksConnect;
    // Those who wait for a word on them are refused: it would be told to the one before.
    for (const client of [...this.#asking.keys()]) this.#answered(client);
    if (this.#hasPublishedKeys) this.#namespace.restoreKeys();
    this.#sockets.outboxMax = this.#namespace.outboxBytesMax;
    namespaces.set(id, { namespace: new WeakRef(this.#namespace), generation: current() });
    collected.register(this.#namespace, id);
  }

  // Does an input: all of it or nothing. What is thrown is passed on, after the module was put in
  // order; the namespace wakes again with the next input.
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

  // Does an input that another one made necessary, and that nobody waits for; says whether it could
  // be done. When it fails, the namespace wakes from what is saved, and from the sockets that are
  // open.
  #also(act) {
    try {
      this.#input(act);
      return true;
    } catch {
      return false; // it has been logged
    }
  }

  // Does what there is beside inputs of clients, one by one: each is an input.
  #turn() {
    this.#watch();
    for (let count = 0; count < TURNS_MAX; count++) {
      let more = false;
      const done = this.#also((namespace) => {
        more = namespace.turn();
      });
      // It says what is lost.
      if (!done && (this.#sockets.works || this.#asking.size > 0)) this.#also(() => {});
      if (!done || !more) return;
    }
    // Others have their turn in between.
    setTimeout(() => this.#turn(), 0);
  }

  // Another object can make the module begin anew while this one waits for its work, and nothing
  // else would tell.
  #watch() {
    if (this.#watching || !(this.#sockets.works || this.#asking.size > 0)) return;
    this.#watching = true;
    setTimeout(() => {
      this.#watching = false;
      if (this.#generation !== current()) this.#also(() => {});
      this.#watch();
    }, WATCH_MS);
  }

  // Sends a request to a backend, and tells its outcome to the namespace that wants it. One that began
  // anew in the meantime sends events again; who waits for an answer is told that it is lost.
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

  // Asks a backend who wants to connect, where the settings say so, and waits for its word: the
  // namespace that has it, and the number under which.
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

  // What another namespace asks.
  ask(question) {
    return this.#input((namespace) => namespace.ask(question));
  }

  // Whether an input failed by a panic of the application, or what looks like one.
  #panicked(fault) {
    return this.#hasApplication && !inOrder(fault);
  }

  // Gives back what the storage took when anything behind it fails.
  #transaction(act) {
    let done = false;
    try {
      return this.ctx.storage.transactionSync(() => {
        const result = act();
        done = true;
        return result;
      });
    } catch (fault) {
      // The module is in order; it only knows too much.
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
      // A number of another namespace is somebody else's.
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

  // Waits for the word of the application on a client, as long as that may take, and while the client
  // is there: says whether it is gone.
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

  // Opens the socket of a client that may come in, with this protocol if any; or gives the response
  // that refuses it.
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
    // Nothing may fail from here on: nobody would be at the other end of a socket that is open.
    return new Response(null, { status: 101, webSocket: client, headers });
  }

  // Waits until published keys are there, when a token wants them. What is old is fetched anew
  // meanwhile.
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
    // Whoever is answered may rely on it.
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

  // Keeps a message, and what comes behind it, until keys are there.
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
        if (slot === undefined) return; // closed while this was under way
        this.#sockets.heard(slot);
        // Of what is too large no more is passed on than shows that it is.
        const most = namespace.messageBytesMax + 1;
        if (typeof message === "string") {
          namespace.text(slot, message.length > most ? message.slice(0, most) : message);
        } else {
          namespace.binary(slot, new Uint8Array(message, 0, Math.min(message.byteLength, most)));
        }
      });
    } catch (fault) {
      if (this.#panicked(fault) && this.#failed(socket, message)) return;
      // The same message would do the same again.
      this.#sockets.abort(socket);
    }
  }

  // Tells the sender of a message that the application panicked over it; false when it is to be
  // closed. What its rate was charged for the message went with the rest.
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
    // Its messages came before its end.
    if (line) return line.done.then(() => this.webSocketClose(socket, code, reason));
    this.#gone(socket, code);
    // The platform leaves the answer to us.
    if (code === NO_CODE) end(socket);
    else if (code !== LOST && code !== TLS_FAILED) end(socket, code, reason);
  }

  webSocketError(socket) {
    const line = this.#lines.get(socket);
    if (line) return line.done.then(() => this.webSocketError(socket));
    this.#gone(socket, LOST);
  }

  #gone(socket, code) {
    // What waits for it was accepted before it went.
    this.#sockets.flush();
    const leave = (namespace) => {
      const slot = this.#sockets.slotOf(socket);
      if (slot === undefined) return; // the server closed it, or woke without it
      this.#sockets.remove(socket);
      namespace.disconnect(slot, code);
    };
    try {
      this.#input(leave);
    } catch (fault) {
      // The platform says it once: what could not be saved is tried again while the socket is there.
      // It was logged.
      if (inOrder(fault)) this.#also(leave);
    }
    this.#sockets.forget(socket);
  }

  alarm() {
    try {
      this.#input((namespace) => namespace.alarm());
    } catch (fault) {
      // What is thrown makes the platform call again.
      if (!this.#panicked(fault)) throw fault;
      this.#input((namespace) => namespace.skipDue());
    }
  }
}
