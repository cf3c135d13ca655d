// The line between a client and the server: a `WebSocket` that is watched, and can be cut or sleep.

/** A socket for the time in which there is no line. */
class NoSocket {
  readyState = WebSocket.CLOSED;
  onopen = null;
  onmessage = null;
  onclose = null;
  onerror = null;

  constructor(watcher) {
    setTimeout(() => {
      watcher.closed({ code: 1006, reason: "" });
      this.onclose?.({ code: 1006, reason: "" });
    });
  }

  send() {}
  close() {}
}

/**
 * The line of one client. `watcher` is told what passes, before the client: `opened(url)`, `sent(text)`,
 * `received(data)`, `closed({ code, reason })`.
 */
export class Line {
  isCut = false;
  // What happens meanwhile waits, in its order; `null` while it is awake.
  #asleep = null;
  #alarm;
  #socket = null;
  #awake = () => {};
  /** The time between two frames for a slow reader, or 0; those that wait, and the timer of the next. */
  #slowMs = 0;
  #unread = [];
  #reading;

  constructor(watcher) {
    this.watcher = watcher;
  }

  /** The class of sockets that the client gets in its options. */
  get WebSocket() {
    const line = this;
    const { watcher } = this;
    class Watched extends WebSocket {
      isOver = false;

      constructor(url, protocols) {
        super(url, protocols);
        this.binaryType = "arraybuffer";
        line.#socket = this;
        // These listeners come before those of the client.
        const on = (type, act) => this.addEventListener(type, (event) => {
          if (line.isAsleep) {
            event.stopImmediatePropagation();
            line.#whenAwake(() => this.isOver || (act(event), this[`on${type}`]?.(event)));
          } else if (line.isSlow || line.#unread.length > 0) {
            event.stopImmediatePropagation();
            line.#unread.push(() => this.isOver || (act(event), this[`on${type}`]?.(event)));
            line.#read();
          } else if (!this.isOver) act(event);
        });
        on("open", () => watcher.opened(this.url));
        on("message", ({ data }) => watcher.received(data));
        on("close", (event) => watcher.closed(event));
      }

      send(text) {
        line.#whenAwake(() => {
          if (this.isOver) return;
          watcher.sent(text);
          super.send(text);
        });
      }

      /** Ends as a lost line does: without a word to the client's side of what follows. */
      lose() {
        const { onclose } = this;
        this.isOver = true;
        this.onmessage = this.onclose = null;
        super.close();
        watcher.closed({ code: 1006, reason: "" });
        onclose?.({ code: 1006, reason: "" });
      }
    }
    return class {
      constructor(url, protocols) {
        return line.isCut ? new NoSocket(watcher) : new Watched(url, protocols);
      }
    };
  }

  /** The clock of the client: timers that are due in its sleep are late, as they are when a machine sleeps. */
  get clock() {
    return {
      now: () => Date.now(),
      set: (act, ms) => {
        const timer = { isSet: true };
        timer.handle = setTimeout(() => this.#whenAwake(() => timer.isSet && act()), ms);
        return timer;
      },
      clear(timer) {
        timer.isSet = false;
        clearTimeout(timer.handle);
      },
    };
  }

  get isAsleep() {
    return this.#asleep !== null;
  }

  #whenAwake(act) {
    if (this.isAsleep) this.#asleep.push(act);
    else act();
  }

  get isSlow() {
    return this.#slowMs > 0;
  }

  /** Handles a frame in so many milliseconds; with 0 all that wait, and the others as they come. */
  slow(ms) {
    this.#slowMs = ms;
    clearTimeout(this.#reading);
    this.#reading = undefined;
    if (ms > 0) this.#read();
    else for (const act of this.#unread.splice(0)) this.#whenAwake(act);
  }

  #read() {
    this.#reading ??= setTimeout(() => {
      this.#reading = undefined;
      const act = this.#unread.shift();
      if (act) this.#whenAwake(act);
      if (this.#unread.length > 0) this.#read();
    }, this.#slowMs);
  }

  /** For so long the client handles nothing that comes, and sends nothing. Its socket stays. */
  sleep(ms, woken) {
    this.#asleep = [];
    this.#alarm = setTimeout(() => {
      woken();
      this.wake();
    }, ms);
  }

  wake() {
    clearTimeout(this.#alarm);
    const waiting = this.#asleep ?? [];
    this.#asleep = null;
    for (const act of waiting) act();
  }

  /** The events by which the client knows that there may be a network again. */
  get page() {
    return {
      listen: (awake) => {
        const removed = new AbortController();
        this.#awake = awake;
        document.addEventListener("visibilitychange", () => document.hidden || awake(), removed);
        for (const type of ["online", "pageshow"]) addEventListener(type, awake, removed);
        return () => removed.abort();
      },
    };
  }

  /** Sends a text as it is, past the client. False when there is no connection. */
  send(text) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(text);
    return true;
  }

  /** Cuts the line: the connection is lost, and no other can be made. */
  cut() {
    this.wake();
    this.#unread.length = 0;
    this.isCut = true;
    if (this.#socket && this.#socket.readyState <= WebSocket.OPEN) this.#socket.lose();
    this.#socket = null;
  }

  mend() {
    this.isCut = false;
    this.#awake();
  }
}
