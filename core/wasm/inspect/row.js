// A line of a journal as the list shows it. The rules read the line themselves.

const parsed = (text) => {
  try { return JSON.parse(text); } catch { return {}; }
};

export class Row {
  #fields;

  constructor(number, text) {
    this.number = number;
    this.text = text;
    // The connections that it reaches; `undefined` until the line is read.
    this.deliveries = undefined;
  }

  // Read when it is looked at: most lines never are.
  get fields() {
    return (this.#fields ??= fieldsOf(this.text));
  }
}

function fieldsOf(text) {
  const { at = 0, namespace = "", start, input } = parsed(text);
  if (input === undefined) return { at, namespace, kind: start ? "start" : "open", conn: "", event: "", rooms: [] };
  const kind = typeof input === "string" ? input : Object.keys(input)[0];
  let body = input[kind] ?? {};
  if (typeof body !== "object") body = { conn: body };
  const said = (typeof body.text === "string" && parsed(body.text)) || {};
  const rooms = [body.room, said.room, ...(body.audience?.rooms ?? [])];
  return {
    at, namespace, kind, isInput: true,
    conn: String(body.conn ?? ""),
    event: String(said.event ?? body.event ?? ""),
    rooms: rooms.filter((room) => typeof room === "string"),
  };
}

const MISSED = "not-received-by:";

const words = (filter) => filter.trim().split(/\s+/).filter(Boolean);

/** The connections that a filter asks about with `not-received-by:`. */
export const askedAbout = (filter) => words(filter).filter((word) => word.startsWith(MISSED) && word !== MISSED).map((word) => word.slice(MISSED.length));

/**
 * Words of a filter: `conn:`, `room:`, `event:` and `namespace:` are exact, others are looked for. `missed` has
 * a set of lines for each connection of `askedAbout`.
 */
export function matcher(filter, missed) {
  const fits = words(filter).map((word) => {
    const lines = word.startsWith(MISSED) && missed.get(word.slice(MISSED.length));
    if (lines) return (row) => lines.has(row.number);
    const [, key, value] = /^(conn|room|event|namespace):(.+)$/.exec(word) ?? [];
    if (key === "room") return (row) => row.fields.rooms.includes(value);
    if (key) return (row) => row.fields[key] === value;
    const low = word.toLowerCase();
    return (row) => row.text.toLowerCase().includes(low);
  });
  return (row) => fits.every((fit) => fit(row));
}
