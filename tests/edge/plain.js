// Rooms in a Durable Object, in plain JavaScript: what the benchmark compares the worker with.
//
// It speaks as much of the protocol as the benchmark needs, and checks what a publish has to be
// checked for. It has no limits, no API and no idempotency.

import { DurableObject } from "cloudflare:workers";

const ROOM_NAME_MAX = 200;
const EVENT_MAX = 128;

export class NamespaceObject extends DurableObject {
  #nextId = 0;
  // Room name -> the sockets of its members.
  #rooms = new Map();
  // Socket -> what is attached to it: { id, rooms }.
  #conns = new Map();

  constructor(ctx, env) {
    super(ctx, env);
    for (const socket of ctx.getWebSockets()) {
      const conn = socket.deserializeAttachment();
      this.#conns.set(socket, conn);
      this.#nextId = Math.max(this.#nextId, conn.id + 1);
      for (const room of conn.rooms) this.#enter(room, socket);
    }
  }

  fetch(request) {
    const { 0: client, 1: server } = new WebSocketPair();
    const offered = request.headers.get("Sec-WebSocket-Protocol")?.split(",") ?? [];
    const greets = offered.some((protocol) => protocol.trim() === "roomcast.v1");
    this.ctx.acceptWebSocket(server);
    const conn = { id: this.#nextId++, rooms: [] };
    this.#conns.set(server, conn);
    server.serializeAttachment(conn);
    if (greets) server.send(JSON.stringify({ event: "$welcome", data: { conn: String(conn.id), user: "" } }));
    const headers = greets ? { "Sec-WebSocket-Protocol": "roomcast.v1" } : {};
    return new Response(null, { status: 101, webSocket: client, headers });
  }

  webSocketMessage(socket, message) {
    let envelope;
    try {
      envelope = JSON.parse(message);
    } catch {
      return refuse(socket, { event: "$error" }, "bad_envelope", "not JSON");
    }
    const { event, id, room, echo, data } = envelope ?? {};
    if (typeof event !== "string" || event === "" || event.length > EVENT_MAX) {
      return refuse(socket, { event: "$error", id }, "bad_envelope", "`event` has to be a string of 1 to 128 bytes");
    }
    if (event === "$ping") return socket.send(JSON.stringify({ event: "$pong", id }));
    if (typeof room !== "string" || room === "" || room.length > ROOM_NAME_MAX) {
      return refuse(socket, { event, id }, "bad_room", "`room` has to be a string of 1 to 200 bytes");
    }
    const conn = this.#conns.get(socket);
    switch (event) {
      case "$join":
        return this.#join(socket, conn, id, room);
      case "$leave":
        return this.#leave(socket, conn, id, room);
      default:
        if (event.startsWith("$")) return refuse(socket, { event, id, room }, "unknown_verb", "no such verb");
        return this.#publish(socket, conn, { event, id, room, echo, data });
    }
  }

  webSocketClose(socket, code, reason) {
    for (const room of this.#conns.get(socket)?.rooms ?? []) this.#exit(room, socket);
    this.#conns.delete(socket);
    if (code === 1005) socket.close();
    else if (code !== 1006 && code !== 1015) socket.close(code, reason);
  }

  #join(socket, conn, id, room) {
    const already = conn.rooms.includes(room);
    if (!already) {
      conn.rooms.push(room);
      socket.serializeAttachment(conn);
      this.#enter(room, socket);
    }
    socket.send(JSON.stringify({ event: "$join", id, room, data: { epoch: "plain", offset: 0, already } }));
  }

  #leave(socket, conn, id, room) {
    const was = conn.rooms.includes(room);
    if (was) {
      conn.rooms = conn.rooms.filter((other) => other !== room);
      socket.serializeAttachment(conn);
      this.#exit(room, socket);
    }
    socket.send(JSON.stringify({ event: "$leave", id, room, data: { was } }));
  }

  #publish(socket, conn, { event, id, room, echo, data = null }) {
    const members = this.#rooms.get(room);
    const frame = JSON.stringify({ event, room, from: { conn: String(conn.id) }, data });
    let reached = 0;
    for (const member of members ?? []) {
      if (member === socket && echo !== true) continue;
      try {
        member.send(frame);
        reached += 1;
      } catch {
        // It is closing; `webSocketClose` follows.
      }
    }
    if (id !== undefined) socket.send(JSON.stringify({ event, id, room, data: { reached } }));
  }

  #enter(room, socket) {
    const members = this.#rooms.get(room);
    if (members) members.add(socket);
    else this.#rooms.set(room, new Set([socket]));
  }

  #exit(room, socket) {
    const members = this.#rooms.get(room);
    members?.delete(socket);
    if (members?.size === 0) this.#rooms.delete(room);
  }
}

function refuse(socket, head, code, message) {
  socket.send(JSON.stringify({ ...head, error: { code, message } }));
}

export default {
  fetch(request, env) {
    const match = new URL(request.url).pathname.match(/^\/ws(?:\/([A-Za-z0-9_-]{1,64}))?$/);
    if (!match) return new Response("not found\n", { status: 404 });
    return env.NAMESPACES.getByName(match[1] ?? "default").fetch(request);
  },
};
