// A typical server on npm `ws` with a Map of Sets, without limits, histories and checks: to compare
// with.

import { createServer } from "node:http";
import { WebSocketServer } from "ws";

const rooms = new Map();
const http = createServer();
let conns = 0;
new WebSocketServer({ server: http }).on("connection", (socket) => {
  const conn = String((conns += 1));
  const mine = new Set();
  socket.on("message", (message) => {
    const { event, id, room, data } = JSON.parse(message.toString());
    const members = rooms.get(room) ?? new Set();
    rooms.set(room, members);
    if (event === "$join") {
      members.add(socket);
      mine.add(members);
      return socket.send(JSON.stringify({ event, id, room }));
    }
    const frame = JSON.stringify({ event, room, from: { conn }, data });
    for (const member of members) if (member !== socket) member.send(frame);
  });
  socket.on("close", () => mine.forEach((members) => members.delete(socket)));
});
http.listen(0, "127.0.0.1", () => console.error(`listening on http://127.0.0.1:${http.address().port}`));
