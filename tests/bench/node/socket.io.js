// Socket.IO with its own rooms, over WebSocket only.
import { createServer } from "node:http";
import { Server } from "socket.io";

const server = createServer();
const io = new Server(server, { transports: ["websocket"], perMessageDeflate: false });
io.on("connection", (socket) => {
  socket.on("join", (room, done) => {
    socket.join(room);
    done("ok");
  });
  socket.on("leave", (room, done) => {
    socket.leave(room);
    done("ok");
  });
  socket.on("publish", (room, text) => io.to(room).emit("said", text));
  socket.on("ask", (_, done) => done("ok"));
});
server.listen({ port: Number(process.env.PORT), host: "127.0.0.1", backlog: 1024 });
