// Steps through a journal, by the module of the inspector. Declarations and documentation are in
// `replay.d.ts`.

import { gzip } from "../dist/replay-module.js";
import { initSync, Stepper } from "../dist/replay.js";

const encoder = new TextEncoder();
let started;

async function start() {
  const bytes = Uint8Array.from(atob(gzip), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  initSync({ module: await WebAssembly.compile(await new Response(stream).arrayBuffer()) });
}

// The module throws texts: this makes them errors.
function told(act) {
  try {
    return act();
  } catch (fault) {
    throw typeof fault === "string" ? new Error(fault) : fault;
  }
}

export class Replay {
  #stepper;

  static async open(journal) {
    started ??= start();
    await started;
    return new Replay(journal);
  }

  constructor(journal) {
    if (started === undefined) throw new Error("await Replay.open(journal) in place of new Replay(journal)");
    const bytes = typeof journal === "string" ? encoder.encode(journal) : journal;
    this.#stepper = told(() => new Stepper(bytes));
  }

  get lines() {
    return this.#stepper.lines();
  }

  get cutOff() {
    return this.#stepper.cutOff();
  }

  step(line) {
    return told(() => JSON.parse(this.#stepper.step(line)));
  }

  state(line) {
    return told(() => JSON.parse(this.#stepper.state(line)));
  }

  skip(line) {
    return this.#read(() => this.#stepper.skip(line), (comparison) => JSON.parse(comparison.differences()));
  }

  missed(conn) {
    return this.#read(() => this.#stepper.missed(String(conn)), (search) => [...search.take()]);
  }

  violations() {
    return this.#read(() => this.#stepper.invariants(), (invariants) => JSON.parse(invariants.violations()));
  }

  // Runs a search to the end of the journal, and takes its result.
  #read(begin, take) {
    return told(() => {
      const search = begin();
      try {
        search.read(this.lines);
        return take(search);
      } finally {
        search.free();
      }
    });
  }

  close() {
    this.#stepper.free();
  }
}
