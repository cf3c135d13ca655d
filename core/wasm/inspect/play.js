// Playing: line after line, at a rate.

// A page that was hidden does not catch up.
const ELAPSED_MS_MAX = 250;

export class Play {
  isOn = false;
  #step;
  #changed;
  #last = 0;
  #owed = 0;

  /**
   * `step(lines)` moves on by this number of lines, and is false at the end; `changed()` is called
   * at start and stop.
   */
  constructor(step, changed) {
    this.#step = step;
    this.#changed = changed;
  }

  toggle(rate) {
    if (this.isOn) this.stop();
    else this.#start(rate);
  }

  stop() {
    if (!this.isOn) return;
    this.isOn = false;
    this.#changed();
  }

  // `rate()` is the lines per second, which may change while playing.
  #start(rate) {
    this.isOn = true;
    this.#last = performance.now();
    this.#owed = 0;
    this.#changed();
    const frame = (now) => {
      if (!this.isOn) return;
      this.#owed += (Math.min(ELAPSED_MS_MAX, Math.max(0, now - this.#last)) / 1000) * rate();
      this.#last = now;
      const lines = Math.floor(this.#owed);
      this.#owed -= lines;
      if (lines > 0 && !this.#step(lines)) return this.stop();
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }
}
