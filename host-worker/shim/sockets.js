// The sockets of an object, by the slots that its hub gave their connections. The hub says who
// receives a message; it becomes one string or byte array of JavaScript, however many those are.

const OPEN = 1;
const PING = '{"event":"$ping"}';
const PONG = '{"event":"$pong"}';
const NO_SLOT = 0xffff_ffff;
const NO_ATTACHMENT = 0xffff_ffff;
const INTERNAL = 1011;
const BYE_INTERNAL = '{"event":"$bye","data":{"code":1011,"reconnect":true,"after_ms":0}}';

// From so many recipients on, what follows is worth waiting for: see `#deliver`.
const MANY = 32;
// Recipients, counted once for each text, that are kept waiting at most: some 0.1 s of sending.
const HELD_MAX = 32_768;

export class Sockets {
  #ctx;
  #bySlot = [];
  #slots = new Map();
  // The attachments, as they are saved; by slot.
  #saved = [];
  // Those that have no slot yet, and their attachments.
  #unassigned = [];
  // What the input that is being done wants sent and closed: pairs of slots and a message, or of a
  // slot and a close.
  #wanted = [];
  // Requests to backends that the input that is being done wants sent, and what sends one.
  #posts = [];
  #post;
  // What is done when a client that wants to connect was asked for.
  #answered;
  // What the input has saved: whose attachment, and what it was before.
  #undo = [];
  // Pairs of slots and a message that wait for the next turn; null when nothing is to wait.
  #held = null;
  #heldRecipients = 0;
  // Characters sent to each slot since it was last heard of, and when that was; and what is done with
  // a slot that was sent more than `outboxMax` of them, unless that is 0.
  #outstanding = [];
  #heard = [];
  #tooSlow;
  outboxMax = 0;
  // What is done with a slot whose socket failed.
  #failed;
  // Does what the application wants beside its inputs.
  #turn;
  #called = false;
  // The way to other namespaces.
  #namespaces;
  // Work that is under way: by its number the socket that it is for, and what that is sent should the
  // work be lost.
  #work = new Map();
  // Sockets whose messages wait for work.
  #waiting = new Set();
  // Work that is lost, and what is not sent of it yet.
  #lost = [];
  // Tells the platform that nothing is under way any more.
  #workDone = null;
  // The one that is being opened.
  opening = null;
  // Those that the platform has said to have ended.
  #ended = new WeakSet();
  // Whether messages are the application's own, without envelopes.
  #raw = false;
  // Lets the platform answer pings while the object sleeps.
  #pong = new WebSocketRequestResponsePair(PING, PONG);

  constructor(ctx, namespaces, tooSlow, failed, turn, post, answered) {
    this.#ctx = ctx;
    this.#namespaces = namespaces;
    this.#tooSlow = tooSlow;
    this.#failed = failed;
    this.#turn = turn;
    this.#post = post;
    this.#answered = answered;
    // Forgotten at each restart, so set at each start.
    ctx.setWebSocketAutoResponse(this.#pong);
  }

  get raw() {
    return this.#raw;
  }

  set raw(raw) {
    if (raw === this.#raw) return;
    this.#raw = raw;
    if (raw) this.#ctx.setWebSocketAutoResponse();
    else this.#ctx.setWebSocketAutoResponse(this.#pong);
  }

  slotOf(socket) {
    return this.#slots.get(socket);
  }

  // What the module calls, while it does an input.

  attachments() {
    const all = this.#ctx.getWebSockets().map((socket) => [socket, socket.deserializeAttachment()]);
    // One that ended is a member until the platform has said so, as it would be had nobody slept. One
    // that the server closed has nothing attached any more.
    this.#unassigned = all.filter(
      ([socket, attachment]) => socket.readyState === OPEN || (attachment && !this.#ended.has(socket)),
    );
    return this.#unassigned.map(([, attachment]) => attachment);
  }

  assign(slots) {
    this.flush();
    const unassigned = this.#unassigned;
    this.#unassigned = [];
    this.#bySlot = [];
    this.#saved = [];
    this.#slots.clear();
    unassigned.forEach(([socket, attachment], index) => {
      if (slots[index] === NO_SLOT) this.abort(socket);
      else this.#put(slots[index], socket, attachment);
    });
    this.#lose();
  }

  // The namespace begins anew: nobody works on what was under way.
  #lose() {
    for (const { socket, lost } of this.#work.values()) this.#lost.push(socket, lost);
    for (const socket of this.#waiting) this.#lost.push(socket, null);
    this.#waiting.clear();
    this.#work.clear();
    this.#rest();
  }

  open(slot, bytes) {
    this.flush();
    // A copy: the view would be saved with all the memory behind it.
    const attachment = bytes.slice();
    this.opening.serializeAttachment(attachment);
    this.#ctx.acceptWebSocket(this.opening);
    this.#put(slot, this.opening, attachment);
  }

  #put(slot, socket, attachment) {
    // No holes: they would make the arrays slow ones.
    while (this.#bySlot.length <= slot) {
      this.#bySlot.push(null);
      this.#saved.push(null);
      this.#outstanding.push(0);
      this.#heard.push(0);
    }
    this.#bySlot[slot] = socket;
    this.#saved[slot] = attachment;
    this.heard(slot);
    this.#slots.set(socket, slot);
  }

  save(slots, lengths, bytes) {
    let start = 0;
    try {
      for (let index = 0; index < slots.length; index++) {
        const length = lengths[index];
        const attachment = length === NO_ATTACHMENT ? null : bytes.slice(start, (start += length));
        this.#save(slots[index], attachment);
      }
    } catch (fault) {
      this.#putBack();
      throw fault;
    }
  }

  #save(slot, attachment) {
    const socket = this.#bySlot[slot];
    if (!socket) return; // it failed in the meantime
    socket.serializeAttachment(attachment);
    this.#undo.push(slot, this.#saved[slot]);
    this.#saved[slot] = attachment;
  }

  transaction(act) {
    this.#ctx.storage.transactionSync(() => {
      if (!act()) throw new Error("a statement failed");
    });
  }

  undo() {
    this.rollback();
  }

  send(slots, text) {
    this.#wanted.push(slots.slice(), text);
  }

  sendBytes(slots, bytes) {
    this.#wanted.push(slots.slice(), bytes.slice());
  }

  post(number, url, headers, body) {
    this.#posts.push([number, url, headers, body]);
  }

  question(number, url, headers, body, timeMs) {
    this.#posts.push([number, url, headers, body, timeMs]);
  }

  answered(client) {
    this.#answered(client);
  }

  close(slot, code, reason) {
    this.#wanted.push(slot, { code, reason });
  }

  soon() {
    if (this.#called) return;
    this.#called = true;
    queueMicrotask(() => {
      this.#called = false;
      this.#turn();
    });
  }

  // Never throws: the promise does.
  async ask(namespace, question) {
    return this.#namespaces.getByName(namespace).ask(question);
  }

  workBegan(id, slot, lost) {
    this.#work.set(id, { socket: this.#bySlot[slot], lost });
    // The object must not sleep over it.
    if (!this.#workDone) this.#ctx.waitUntil(new Promise((done) => (this.#workDone = done)));
  }

  workEnded(id) {
    this.#work.delete(id);
    this.#rest();
  }

  #rest() {
    if (this.#work.size > 0) return;
    this.#workDone?.();
    this.#workDone = null;
  }

  wait(slot, waits) {
    const socket = this.#bySlot[slot];
    if (waits && socket) this.#waiting.add(socket);
    else this.#waiting.delete(socket);
  }

  get works() {
    return this.#work.size > 0;
  }

  // What the object calls, when an input is done or has failed.

  // Sends and closes what the input wanted.
  commit() {
    this.#undo.length = 0;
    for (const post of this.#posts.splice(0)) this.#post(...post);
    if (this.#lost.length > 0) this.#tell();
    if (this.#wanted.length === 0) return;
    const wanted = this.#wanted;
    this.#wanted = [];
    for (let index = 0; index < wanted.length; index += 2) {
      const to = wanted[index];
      const what = wanted[index + 1];
      if (what.code === undefined) this.#deliver(to, what);
      else this.#end(to, what);
    }
  }

  // Answers in place of work that is lost. Messages that waited for it are lost as well, and who sent
  // them is closed.
  #tell() {
    this.flush();
    const lost = this.#lost;
    this.#lost = [];
    for (let index = 0; index < lost.length; index += 2) {
      const socket = lost[index];
      const text = lost[index + 1];
      if (!socket || socket.readyState !== OPEN) continue;
      if (text === null) this.#giveUp(socket);
      else if (text !== undefined) this.#sendTo(socket, text);
    }
  }

  #sendTo(socket, text) {
    try {
      socket.send(text);
    } catch (fault) {
      this.#notSent(this.#slots.get(socket), fault);
    }
  }

  // Makes the input never have been.
  rollback() {
    this.#wanted = [];
    this.#posts = [];
    this.#putBack();
  }

  #putBack() {
    while (this.#undo.length > 0) {
      const attachment = this.#undo.pop();
      const slot = this.#undo.pop();
      const socket = this.#bySlot[slot];
      try {
        socket.serializeAttachment(attachment);
        this.#saved[slot] = attachment;
      } catch (fault) {
        console.error("roomcast: an attachment cannot be put back, its connection is closed:", fault);
        this.abort(socket);
      }
    }
  }

  // A first text to a socket costs the platform three times what a second one in the same turn does.
  // So what follows a text to many waits for the turn after those that are ready to run, and leaves
  // together; when nothing follows, nothing has waited. Inputs are saved before they get here, and
  // their answers wait with the rest: what is kept waiting is not yet acknowledged.
  #deliver(slots, message) {
    if (this.#held) {
      this.#held.push(slots, message);
      this.#heldRecipients += slots.length;
      if (this.#heldRecipients > HELD_MAX) this.flush();
      return;
    }
    this.#send(slots, message);
    if (slots.length >= MANY) this.#hold();
  }

  #hold() {
    this.#held = [];
    this.#heldRecipients = 0;
    // A pong of the platform's would overtake what waits; the hub's waits behind it.
    this.#ctx.setWebSocketAutoResponse();
    this.#nextTurn();
  }

  #nextTurn() {
    setTimeout(() => {
      if (this.#held.length > 0) {
        this.flush();
        this.#nextTurn();
      } else {
        this.#held = null;
        if (!this.#raw) this.#ctx.setWebSocketAutoResponse(this.#pong);
      }
    }, 0);
  }

  // Sends what waits.
  flush() {
    const held = this.#held;
    if (!held?.length) return;
    this.#held = [];
    this.#heldRecipients = 0;
    for (let index = 0; index < held.length; index += 2) this.#send(held[index], held[index + 1]);
  }

  #send(slots, message) {
    if (this.outboxMax > 0) this.#count(slots, message.length);
    const bySlot = this.#bySlot;
    for (let index = 0; index < slots.length; index++) {
      try {
        bySlot[slots[index]].send(message);
      } catch (fault) {
        this.#notSent(slots[index], fault);
      }
    }
  }

  // A member gets every message or is closed.
  #notSent(slot, fault) {
    const socket = this.#bySlot[slot];
    if (socket?.readyState !== OPEN) return; // its close event is on the way
    console.error("roomcast: a message cannot be sent, its connection is closed:", fault);
    this.#giveUp(socket);
  }

  // Ends a connection that the hub still has.
  #giveUp(socket) {
    const slot = this.#slots.get(socket);
    this.abort(socket);
    queueMicrotask(() => this.#failed(slot));
  }

  // The platform queues without a bound, and says nothing of it. So what was sent is held against
  // the last sign of life: a message, or a ping that the platform answered.
  #count(slots, length) {
    for (const slot of slots) {
      this.#outstanding[slot] += length;
      if (this.#outstanding[slot] <= this.outboxMax || !this.#bySlot[slot]) continue;
      const pinged = this.#pinged(this.#bySlot[slot]);
      if (pinged > this.#heard[slot]) this.heard(slot, pinged);
      else queueMicrotask(() => this.#tooSlow(slot));
    }
  }

  // A sign of life.
  heard(slot, at = Date.now()) {
    if (this.outboxMax === 0) return;
    this.#outstanding[slot] = 0;
    this.#heard[slot] = at;
  }

  // When the platform last answered a ping of this socket; 0 is never.
  #pinged(socket) {
    return this.#ctx.getWebSocketAutoResponseTimestamp(socket)?.getTime() ?? 0;
  }

  #end(slot, { code, reason }) {
    this.flush();
    const socket = this.#bySlot[slot];
    if (!socket) return; // it failed in the meantime
    this.remove(socket);
    end(socket, code, reason);
  }

  // A socket that ended by itself.
  remove(socket) {
    const slot = this.#slots.get(socket);
    if (slot === undefined) return;
    this.#bySlot[slot] = null;
    this.#saved[slot] = null;
    this.#slots.delete(socket);
    this.#waiting.delete(socket);
  }

  // The platform has said that this one ended, and that was dealt with.
  forget(socket) {
    this.#ended.add(socket);
    this.remove(socket);
  }

  // Ends a connection after a fault of the server.
  abort(socket) {
    this.flush();
    this.remove(socket);
    try {
      // Should the close frame get lost, nobody wakes.
      socket.serializeAttachment(null);
      if (!this.#raw) socket.send(BYE_INTERNAL);
    } catch {
      // It has ended.
    }
    end(socket, INTERNAL, "internal server error");
  }

  // When the platform last answered a ping, by slot.
  lastHeard() {
    const times = new Float64Array(this.#bySlot.length);
    this.#bySlot.forEach((socket, slot) => {
      if (socket) times[slot] = this.#pinged(socket);
    });
    return times;
  }

  wakeAt(at) {
    this.#ctx.storage.setAlarm(at).catch((fault) => {
      console.error("roomcast: the alarm cannot be set:", fault);
    });
  }
}

export function end(socket, code, reason) {
  try {
    socket.close(code, reason);
  } catch {
    // It has ended.
  }
}
