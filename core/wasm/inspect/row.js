// A line of a journal as the list shows it. The rules read the line themselves.

const parsed = (text) => {
  try { return JSON.parse(text); } catch { return {}; }
};

export class Row {
  constructor(number, text, deliveries) {
    const entry = parsed(text);
    this.number = number;
    this.text = text;
    this.deliveries = deliveries;
    this.at = entry.at ?? 0;
    this.namespace = entry.namespace ?? "";
    this.isInput = entry.input !== undefined;
    this.kind = entry.start ? "start" : entry.open ? "open" : "";
    const input = entry.input;
    let body = {};
    if (typeof input === "string") this.kind = input;
    else if (input) {
      [this.kind] = Object.keys(input);
      body = input[this.kind];
      if (typeof body !== "object" || body === null) body = { conn: body };
    }
    const said = typeof body.text === "string" ? parsed(body.text) ?? {} : {};
    this.conn = body.conn === undefined ? "" : String(body.conn);
    this.event = String(said.event ?? body.event ?? "");
    const rooms = [body.room, said.room, ...(body.audience?.rooms ?? [])];
    this.rooms = rooms.filter((room) => typeof room === "string");
  }
}

// Words of a filter: `conn:`, `room:`, `event:` and `namespace:` are exact, others are looked for.
export function matcher(filter) {
  const words = filter.trim().split(/\s+/).filter(Boolean).map((word) => {
    const [, key, value] = /^(conn|room|event|namespace):(.+)$/.exec(word) ?? [];
    if (key === "room") return (row) => row.rooms.includes(value);
    if (key) return (row) => row[key] === value;
    const low = word.toLowerCase();
    return (row) => row.text.toLowerCase().includes(low);
  });
  return (row) => words.every((word) => word(row));
}
