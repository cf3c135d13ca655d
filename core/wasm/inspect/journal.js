// A journal: its rows, and the queries that the module answers about it.

import { Row } from "./row.js";
import { inSlices } from "./slices.js";
import { Stepper } from "./stepper.js";

/** Lines that are read before the first of them is shown. */
const FIRST_LINES = 64;

// Sample lines of every frequent kind.
const SAMPLE = [
  { open: { config: { epoch: "e" }, state: { next_serial: 0 } } },
  { input: { connect: { welcome: true } } },
  { input: { connect: {} } },
  ...["0", "1048577"].map((conn) => ({ input: { text: { conn, text: '{"event":"$join","room":"r"}' } } })),
  ...["0", "1048577"].map((conn) => ({ input: { text: { conn, text: '{"event":"said","room":"r","data":1}' } } })),
  { input: "timeout" },
].map((record) => `${JSON.stringify({ at: 0, namespace: "n", ...record })}\n`).join("");

export class Journal {
  /** Makes the browser compile the code for journals while nobody waits: first calls are slow. */
  static async warmUp() {
    const journal = new Journal(new TextEncoder().encode(SAMPLE));
    const always = () => true;
    const ignore = () => {};
    journal.step(journal.rows.length - 1);
    await journal.skip(2, always, ignore);
    await journal.missed("0", always, ignore);
    await journal.check(always, ignore);
    journal.close();
  }

  /** Lines that were read. */
  read = 0;
  #stepper;
  #isOpen = true;
  // Lines by the connection that did not get their messages.
  #missed = new Map();

  constructor(bytes) {
    this.#stepper = new Stepper(bytes);
    this.cutOff = this.#stepper.cutOff();
    const texts = new TextDecoder().decode(bytes).split("\n");
    texts.length = this.#stepper.lines();
    this.rows = texts.map((text, index) => new Row(index + 1, text));
    try {
      this.#stepper.read(FIRST_LINES);
      this.#take();
    } catch (fault) {
      this.close();
      throw fault;
    }
  }

  close() {
    this.#isOpen = false;
    this.#stepper.free();
  }

  // Takes the deliveries of lines that were read since.
  #take() {
    for (const reached of this.#stepper.deliveries(this.read)) this.rows[this.read++].deliveries = reached;
  }

  /**
   * Reads the remaining lines. At a bad line it throws, and the rows from that line on are dropped.
   */
  async readAll(after) {
    const took = () => {
      this.#take();
      after();
    };
    try {
      await inSlices(this.#stepper, () => this.#isOpen, took, { isPatient: true });
    } catch (fault) {
      if (!this.#isOpen) return;
      this.#take();
      this.rows.length = this.read;
      throw fault;
    }
  }

  /**
   * The commands of a line, the state after it, and the number of lines that were replayed for it.
   */
  step(line) {
    const outputs = JSON.parse(this.#stepper.step(line));
    return { outputs, replayed: this.#stepper.replayed(), state: JSON.parse(this.#stepper.state(line)) };
  }

  /**
   * The differences without a line, with the number of lines that were replayed up to it;
   * `undefined` when they are not wanted any more.
   */
  async skip(line, isWanted, after) {
    const comparison = this.#stepper.skip(line);
    const replayed = this.#stepper.replayed();
    const differences = await this.#answer(comparison, isWanted, after, () => JSON.parse(comparison.differences()));
    return differences && { ...differences, replayed };
  }

  /** The set of lines whose messages a connection did not get; `undefined` as for `skip`. */
  async missed(conn, isWanted, after) {
    if (!this.#missed.has(conn)) {
      const search = this.#stepper.missed(conn);
      const lines = await this.#answer(search, isWanted, after, () => new Set(search.take()));
      if (!lines) return undefined;
      this.#missed.set(conn, lines);
    }
    return this.#missed.get(conn);
  }

  /** The violations of invariants, which are also noted in the rows; `undefined` as for `skip`. */
  async check(isWanted, after) {
    const invariants = this.#stepper.invariants();
    const take = () => JSON.parse(invariants.violations());
    const found = await this.#answer(invariants, isWanted, after, take, { isPatient: true });
    for (const { line, invariant } of found?.violations ?? []) {
      const { broken } = this.rows[line - 1];
      if (!broken.includes(invariant)) broken.push(invariant);
    }
    return found;
  }

  // Runs a search in slices, and returns its result.
  async #answer(search, isWanted, after, take, options) {
    try {
      const still = () => this.#isOpen && isWanted();
      const ended = await inSlices(search, still, () => after(search.at()), options);
      return ended ? take() : undefined;
    } finally {
      search.free();
    }
  }
}
