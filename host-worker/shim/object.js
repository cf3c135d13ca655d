// A namespace's object, as the platform calls it. What it says goes to the module; when the module
// cannot go on, the object begins anew from what it had saved.

import { DurableObject } from "cloudflare:workers";

import { Front, Namespace, current, inOrder, restart } from "./runtime.js";
import { Sockets, abort } from "./sockets.js";

const PING = '{"event":"$ping"}';
const PONG = '{"event":"$pong"}';

// Closes that were no close frames, and have no answer: no code, lost, broken TLS.
const NO_CODE = 1005;
const LOST = 1006;
const TLS = 1015;

export class NamespaceObject extends DurableObject {
  #sockets;
  #namespace = null;
  #generation = -1;

  constructor(ctx, env) {
    super(ctx, env);
    this.#sockets = new Sockets(ctx);
    // Forgotten at each restart, so set at each start.
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair(PING, PONG));
  }

  // The namespace, awake. Throws what `wake` throws.
  #awake() {
    if (this.#generation !== current()) {
      const random = crypto.getRandomValues(new BigUint64Array(1))[0];
      this.#namespace = new Namespace(this.ctx, this.env, this.#sockets, random);
      this.#generation = current();
      this.#namespace.wake();
    }
    return this.#namespace;
  }

  // Runs an input. What is thrown is passed on, after the module was put in order.
  #input(act) {
    try {
      return act(this.#awake());
    } catch (fault) {
      // Woken again with the next input.
      this.#generation = -1;
      if (!inOrder(fault)) restart(fault);
      else console.error(`roomcast: ${fault}`);
      throw fault;
    }
  }

  async fetch(request) {
    const upgrade = request.headers.has("upgrade");
    const body = upgrade ? null : new Uint8Array(await request.arrayBuffer());
    try {
      return upgrade ? this.#connect(request) : this.#call(request, body);
    } catch (fault) {
      return inOrder(fault) ? Front.unavailable(request) : Front.internal(request, "a fault of the server");
    }
  }

  #connect(request) {
    const [client, server] = Object.values(new WebSocketPair());
    return this.#input((namespace) => {
      this.#sockets.opening = server;
      // What the storage took is given back when anything after it fails.
      const refused = this.ctx.storage.transactionSync(() => namespace.connect(request));
      if (refused) return refused;
      namespace.deliver();
      const headers = {};
      const protocol = namespace.subprotocol(request);
      if (protocol) headers["sec-websocket-protocol"] = protocol;
      return new Response(null, { status: 101, webSocket: client, headers });
    });
  }

  #call(request, body) {
    return this.#input((namespace) => {
      const response = this.ctx.storage.transactionSync(() => namespace.call(request, body));
      namespace.deliver();
      return response;
    });
  }

  webSocketMessage(socket, message) {
    try {
      this.#input((namespace) => {
        const slot = this.#sockets.slotOf(socket);
        if (slot === undefined) return; // closed while this was under way
        // Of what is too large no more is passed on than shows that it is.
        const most = namespace.messageBytesMax + 1;
        if (typeof message === "string") {
          namespace.text(slot, message.length > most ? message.slice(0, most) : message);
        } else {
          namespace.binary(slot, new Uint8Array(message, 0, Math.min(message.byteLength, most)));
        }
      });
    } catch {
      // It would do the same again.
      this.#sockets.remove(socket);
      abort(socket);
    }
  }

  webSocketClose(socket, code, reason) {
    this.#gone(socket, code);
    try {
      if (code === NO_CODE) socket.close();
      else if (code !== LOST && code !== TLS) socket.close(code, reason);
    } catch {
      // It has ended.
    }
  }

  webSocketError(socket) {
    this.#gone(socket, LOST);
  }

  #gone(socket, code) {
    try {
      this.#input((namespace) => {
        const slot = this.#sockets.slotOf(socket);
        this.#sockets.remove(socket);
        if (slot !== undefined) namespace.disconnect(slot, code);
      });
    } catch {
      // What wakes next does not find it any more.
    }
  }

  alarm() {
    // What is thrown makes the platform call again.
    this.#input((namespace) => namespace.alarm());
  }
}
