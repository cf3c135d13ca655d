// The sockets of an object, by the slots that its hub gave their connections. The hub says who
// receives a text; the text becomes one string of JavaScript, whoever many those are.

const OPEN = 1;
const NO_SLOT = 0xffff_ffff;
const NO_ATTACHMENT = 0xffff_ffff;
const INTERNAL = 1011;
const BYE_INTERNAL = '{"event":"$bye","data":{"code":1011,"reconnect":true,"after_ms":0}}';

export class Sockets {
  #ctx;
  #bySlot = [];
  #slots = new Map();
  // Those whose attachments were read and that have no seat yet.
  #standing = [];
  // The one that is being opened.
  opening = null;

  constructor(ctx) {
    this.#ctx = ctx;
  }

  slotOf(socket) {
    return this.#slots.get(socket);
  }

  attachments() {
    // A socket whose close is under way is no member any more.
    this.#standing = this.#ctx.getWebSockets().filter((socket) => socket.readyState === OPEN);
    return this.#standing.map((socket) => socket.deserializeAttachment());
  }

  seat(slots) {
    this.#bySlot = [];
    this.#slots.clear();
    this.#standing.forEach((socket, index) => {
      if (slots[index] === NO_SLOT) abort(socket);
      else this.#put(slots[index], socket);
    });
    this.#standing = [];
  }

  #put(slot, socket) {
    // No holes: an array with holes is a slow one.
    while (this.#bySlot.length <= slot) this.#bySlot.push(null);
    this.#bySlot[slot] = socket;
    this.#slots.set(socket, slot);
  }

  open(slot, attachment) {
    const socket = this.opening;
    socket.serializeAttachment(attachment.slice());
    this.#ctx.acceptWebSocket(socket);
    this.#put(slot, socket);
  }

  save(slots, lengths, bytes) {
    const before = [];
    let start = 0;
    try {
      for (let index = 0; index < slots.length; index++) {
        const socket = this.#bySlot[slots[index]];
        // What is written last needs no way back: a write that fails changes nothing.
        if (index + 1 < slots.length) before.push([socket, socket.deserializeAttachment()]);
        if (lengths[index] === NO_ATTACHMENT) {
          socket.serializeAttachment(null);
        } else {
          // A copy: the view would be saved with all the memory behind it.
          socket.serializeAttachment(bytes.slice(start, start + lengths[index]));
          start += lengths[index];
        }
      }
    } catch (fault) {
      for (const [socket, attachment] of before) {
        try {
          socket.serializeAttachment(attachment);
        } catch (again) {
          console.error("roomcast: an attachment cannot be put back, its connection is closed:", again);
          abort(socket);
        }
      }
      throw fault;
    }
  }

  send(slots, text) {
    const bySlot = this.#bySlot;
    for (let index = 0; index < slots.length; index++) {
      try {
        bySlot[slots[index]].send(text);
      } catch {
        // It ends, and its close event is on the way.
      }
    }
  }

  close(slot, code, reason) {
    const socket = this.#bySlot[slot];
    this.#forget(slot, socket);
    try {
      socket.close(code, reason);
    } catch {
      // It has ended.
    }
  }

  // A socket that ended by itself.
  remove(socket) {
    const slot = this.#slots.get(socket);
    if (slot !== undefined) this.#forget(slot, socket);
  }

  #forget(slot, socket) {
    this.#bySlot[slot] = null;
    this.#slots.delete(socket);
  }

  signsOfLife() {
    const times = new Float64Array(this.#bySlot.length);
    this.#bySlot.forEach((socket, slot) => {
      if (socket) times[slot] = this.#ctx.getWebSocketAutoResponseTimestamp(socket)?.getTime() ?? 0;
    });
    return times;
  }

  wakeAt(at) {
    this.#ctx.storage.setAlarm(at).catch((fault) => {
      console.error("roomcast: the alarm cannot be set:", fault);
    });
  }
}

// Ends a connection after a fault of the server.
export function abort(socket) {
  try {
    socket.serializeAttachment(null);
    socket.send(BYE_INTERNAL);
    socket.close(INTERNAL, "a fault of the server");
  } catch {
    // It has ended.
  }
}
