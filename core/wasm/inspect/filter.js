// A filter: words that must all match a line.

const KEYS = ["conn", "event", "from", "namespace", "not-received-by", "room"];
const NAMED = KEYS.map((key) => `${key}:`).join(", ");
const BACKEND = "backend";
const MISSED = "not-received-by";
const ID = /^\d+$/;

// Text in quotes may contain spaces.
const pieces = (text) => text.match(/(?:"[^"]*"|\S)+/g) ?? [];
const unquoted = (text) => /^"([^"]*)"$/.exec(text)?.[1];

function wordOf(piece) {
  const plain = unquoted(piece);
  if (plain !== undefined) return { text: plain };
  const [, key, rest] = /^([a-z][a-z-]*):(?!\/\/)(.*)$/i.exec(piece) ?? [];
  if (!key) return { text: piece };
  const value = unquoted(rest) ?? rest;
  const low = key.toLowerCase();
  if (!KEYS.includes(low)) throw new Error(`\`${key}:\` is no word of a filter: use ${NAMED}, or look for the text "${piece}" in quotes`);
  if (value && low === "from" && value !== BACKEND && !ID.test(value)) {
    throw new Error(`\`${value}\` is no publisher: give the id of a connection, such as from:0, or from:${BACKEND}`);
  }
  if (value && low === "conn" && !ID.test(value)) throw new Error(`\`${value}\` is no connection: give its id, such as conn:0`);
  return { key: low, value };
}

/** A word in the form in which it is typed. */
export const written = (key, value) => `${key}:${/\s/.test(value) || value === "" ? `"${value}"` : value}`;

export class Filter {
  /** Throws when a word is not valid. */
  constructor(text = "") {
    // A word without a value is still being typed, and matches every line.
    this.words = pieces(text).map(wordOf).filter(({ key, value, text: plain }) => (key ? value !== "" : plain !== ""));
  }

  /** The first value of a key, such as the room of `room:lobby`. */
  value(key) {
    return this.words.find((word) => word.key === key)?.value;
  }

  /** The connections that `not-received-by:` names. */
  get missedBy() {
    return this.words.filter(({ key }) => key === MISSED).map(({ value }) => value);
  }

  /**
   * A function that tells whether a row matches. `missed` has a set of lines for each connection of
   * `missedBy`.
   */
  matcher(missed) {
    const fits = this.words.map(({ key, value, text }) => {
      if (key === MISSED) return (row) => missed.get(value).has(row.number);
      if (key === "room") return (row) => row.fields.rooms.includes(value);
      if (key) return (row) => row.fields[key] === value;
      const low = text.toLowerCase();
      return (row) => row.text.toLowerCase().includes(low);
    });
    return (row) => fits.every((fit) => fit(row));
  }
}
