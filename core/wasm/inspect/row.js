// A line of a journal as the list shows it. The rules read the line themselves.

const parsed = (text) => {
  try { return JSON.parse(text); } catch { return {}; }
};

export class Row {
  #fields;

  constructor(number, text, deliveries) {
    this.number = number;
    this.text = text;
    this.deliveries = deliveries;
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

// Words of a filter: `conn:`, `room:`, `event:` and `namespace:` are exact, others are looked for.
export function matcher(filter) {
  const words = filter.trim().split(/\s+/).filter(Boolean).map((word) => {
    const [, key, value] = /^(conn|room|event|namespace):(.+)$/.exec(word) ?? [];
    if (key === "room") return (row) => row.fields.rooms.includes(value);
    if (key) return (row) => row.fields[key] === value;
    const low = word.toLowerCase();
    return (row) => row.text.toLowerCase().includes(low);
  });
  return (row) => words.every((word) => word(row));
}
