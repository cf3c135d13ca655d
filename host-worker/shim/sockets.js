// The sockets of an object, by the slots that its hub gave their connections. The hub lists the
// recipients of a message, which becomes only one JavaScript string or byte array for all of them.

const OPEN = 1;
const PING = '{"event":"$ping"}';
const PONG = '{"event":"$pong"}';
const NO_SLOT = 0xffff_ffff;
const NO_ATTACHMENT = 0xffff_ffff;
const INTERNAL = 1011;
const BYE_INTERNAL = '{"event":"$bye","data":{"code":1011,"reconnect":true,"after_ms":0}}';

// The fewest recipients for which waiting for further messages is worth it: see `#deliver`.
const MANY = 32;
// The most recipients, summed over all texts, that wait for the next turn: some 0.1 s of sending.
const HELD_MAX = 32_768;

export class Sockets {
  #ctx;
  #bySlot = [];
  #slots = new Map();
  // The attachments as saved, by slot.
  #saved = [];
  // Sockets without a slot yet, and their attachments.
  #unassigned = [];
  // The sends and closes of the current input: pairs of slots and a message, or of a slot and a
  // close.
  #wanted = [];
  // The requests to backends of the current input, and the function that sends one.
  #posts = [];
  #post;
  // Called when there is an answer for a connecting client.
  #answered;
  // The attachments that the current input has written: the slot, and the attachment before.
  #undo = [];
  // Pairs of slots and a message that wait for the next turn; null when nothing is to wait.
  #held = null;
  #heldRecipients = 0;
  // Characters sent to each slot since its last sign of life, and the time of that; and the
  // function to call for a slot that was sent more than `outboxMax` of them, unless that is 0.
  #outstanding = [];
  #heard = [];
  #tooSlow;
  outboxMax = 0;
  // Called for a slot whose socket failed.
  #failed;
  // Runs the pending work of the application.
  #turn;
  #called = false;
  // The binding to the objects of other namespaces.
  #namespaces;
  // Pending work, by number: its socket, and the message to send should the work be lost.
  #work = new Map();
  // Sockets whose messages wait for work.
  #waiting = new Set();
  // Lost work: sockets, and the messages that were not sent to them yet.
  #lost = [];
  // Tells the platform that no work is pending.
  #workDone = null;
  // The socket that is being opened.
  opening = null;
  // Sockets whose end the platform has reported.
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
    // The platform forgets it at each restart, so each start sets it.
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

  // Methods for the module, called during an input.

  attachments() {
    const all = this.#ctx.getWebSockets().map((socket) => [socket, socket.deserializeAttachment()]);
    // A socket that ended stays a member until the platform reports the end, as it would without
    // the sleep. A socket that the server closed has no attachment.
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

  // Marks all pending work as lost, because the namespace restarts.
  #lose() {
    for (const { socket, lost } of this.#work.values()) this.#lost.push(socket, lost);
    for (const socket of this.#waiting) this.#lost.push(socket, null);
    this.#waiting.clear();
    this.#work.clear();
    this.#rest();
  }

  open(slot, bytes) {
    this.flush();
    // This copies the bytes: a view would be saved with its whole buffer, the module's memory.
    const attachment = bytes.slice();
    this.opening.serializeAttachment(attachment);
    this.#ctx.acceptWebSocket(this.opening);
    this.#put(slot, this.opening, attachment);
  }

  #put(slot, socket, attachment) {
    // The arrays are filled without holes, which would make them slow.
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
    if (!socket) return; // it failed meanwhile
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

  // Never throws: the promise is rejected.
  async ask(namespace, question) {
    return this.#namespaces.getByName(namespace).ask(question);
  }

  workBegan(id, slot, lost) {
    this.#work.set(id, { socket: this.#bySlot[slot], lost });
    // The object must not sleep while work is pending.
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

  // Methods for the object, called when an input is done or has failed.

  // Carries out the sends and closes of the input.
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

  // Answers in place of lost work. Messages that waited for it are lost as well, and their senders
  // are closed.
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

  // Rolls back the input.
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

  // The first text to a socket in a turn costs the platform three times as much as a second one. So
  // after a text to many recipients, further texts wait until the turns that are ready have run,
  // and are sent together; the text itself does not wait. Inputs are saved before they get here,
  // and their answers wait with the other texts: so a text that still waits is not yet
  // acknowledged.
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
    // A pong of the platform would overtake the texts that wait; a pong of the hub waits behind
    // them.
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

  // Sends the texts that wait.
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

  // Closes a connection that the hub still has.
  #giveUp(socket) {
    const slot = this.#slots.get(socket);
    this.abort(socket);
    queueMicrotask(() => this.#failed(slot));
  }

  // Counts the characters sent since the last sign of life, which is a message or a ping that the
  // platform answered: the queues of the platform have no bound, and it does not report their
  // length.
  #count(slots, length) {
    for (const slot of slots) {
      this.#outstanding[slot] += length;
      if (this.#outstanding[slot] <= this.outboxMax || !this.#bySlot[slot]) continue;
      const pinged = this.#pinged(this.#bySlot[slot]);
      if (pinged > this.#heard[slot]) this.heard(slot, pinged);
      else queueMicrotask(() => this.#tooSlow(slot));
    }
  }

  // Records a sign of life.
  heard(slot, at = Date.now()) {
    if (this.outboxMax === 0) return;
    this.#outstanding[slot] = 0;
    this.#heard[slot] = at;
  }

  // Returns the time at which the platform last answered a ping of this socket; 0 is never.
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

  // Removes a socket that ended by itself.
  remove(socket) {
    const slot = this.#slots.get(socket);
    if (slot === undefined) return;
    this.#bySlot[slot] = null;
    this.#saved[slot] = null;
    this.#slots.delete(socket);
    this.#waiting.delete(socket);
  }

  // Records that the platform reported the end of a socket, and that the end was processed.
  forget(socket) {
    this.#ended.add(socket);
    this.remove(socket);
  }

  // Closes a connection after a fault of the server.
  abort(socket) {
    this.flush();
    this.remove(socket);
    try {
      // Without an attachment it is not restored, even if the close frame is lost.
      socket.serializeAttachment(null);
      if (!this.#raw) socket.send(BYE_INTERNAL);
    } catch {
      // It has ended.
    }
    end(socket, INTERNAL, "internal server error");
  }

  // Returns the times at which the platform last answered pings, by slot.
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
