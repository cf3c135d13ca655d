// npm `ws`, with a map of sets for rooms: the usual chat server in Node.
import { createServer } from "node:http";
import { WebSocket, WebSocketServer } from "ws";

const rooms = new Map();

function join(socket, room) {
  if (!rooms.has(room)) rooms.set(room, new Set());
  rooms.get(room).add(socket);
  socket.rooms.add(room);
}

function leave(socket, room) {
  const members = rooms.get(room);
  members?.delete(socket);
  if (members?.size === 0) rooms.delete(room);
  socket.rooms.delete(room);
}

function publish(room, text) {
  for (const member of rooms.get(room) ?? []) {
    if (member.readyState === WebSocket.OPEN) member.send(text);
  }
}

const server = createServer();
const sockets = new WebSocketServer({ server, perMessageDeflate: false });
sockets.on("connection", (socket) => {
  socket.rooms = new Set();
  socket.on("message", (data) => {
    const text = data.toString();
    const operand = text.slice(1);
    if (text[0] === "+") {
      join(socket, operand);
      socket.send("+");
    } else if (text[0] === "-") {
      leave(socket, operand);
      socket.send("-");
    } else if (text[0] === "?") {
      socket.send("?");
    } else if (text[0] === "!") {
      const space = operand.indexOf(" ");
      publish(operand.slice(0, space), `!${operand.slice(space + 1)}`);
    }
  });
  socket.on("close", () => socket.rooms.forEach((room) => leave(socket, room)));
  socket.on("error", () => {});
});
server.listen({ port: Number(process.env.PORT), host: "127.0.0.1", backlog: 1024 });
