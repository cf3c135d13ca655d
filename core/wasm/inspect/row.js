// A line of a journal as the list shows it. The core parses the line itself.

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
    // Names of the invariants that do not hold after it.
    this.broken = [];
  }

  // Parsed when needed: most lines are never shown.
  get fields() {
    return (this.#fields ??= fieldsOf(this.text));
  }
}

function fieldsOf(text) {
  const { at = 0, namespace = "", start, input } = parsed(text);
  if (input === undefined) return { at, namespace, kind: start ? "start" : "open", conn: "", event: "", from: "", rooms: [] };
  const kind = typeof input === "string" ? input : Object.keys(input)[0];
  let body = input[kind] ?? {};
  if (typeof body !== "object") body = { conn: body };
  const said = (typeof body.text === "string" && parsed(body.text)) || {};
  const rooms = [body.room, said.room, ...(body.audience?.rooms ?? [])].filter((room) => typeof room === "string");
  const [conn, event] = [String(body.conn ?? ""), String(said.event ?? body.event ?? "")];
  return { at, namespace, kind, isInput: true, conn, event, rooms, from: publisher({ kind, conn, event, rooms }) };
}

// A connection that publishes to a room, or `backend`; empty when the input publishes nothing.
function publisher({ kind, conn, event, rooms }) {
  if (kind.startsWith("send")) return "backend";
  return kind === "text" && rooms.length > 0 && !event.startsWith("$") ? conn : "";
}
