// A server of rooms on npm `ws`: the functions of the native server, for an application on Node.
//
//     node examples/server.mjs                   ws://127.0.0.1:3000/ws and the HTTP API
//
// Limits and policies by ROOMCAST_SETTINGS and ROOMCAST_POLICIES, JSON; the key of the API by
// ROOMCAST_API_KEY; the secret of tokens (HS256) by ROOMCAST_TOKEN_SECRET; the port by PORT.

import { createServer } from "node:http";
import { Namespace, RoomcastError, init, slot } from "roomcast-wasm";
import { WebSocketServer } from "ws";
import { identityOf } from "./token.mjs";

const { ROOMCAST_SETTINGS = "{}", ROOMCAST_POLICIES = "{}", ROOMCAST_API_KEY: apiKey, ROOMCAST_TOKEN_SECRET: secret, PORT = 3000 } = process.env;
const [settings, policies] = [JSON.parse(ROOMCAST_SETTINGS), JSON.parse(ROOMCAST_POLICIES)];
const QUEUED_BYTES_MAX = 1 << 20; // of a client that does not read
const names = /^[A-Za-z0-9_-]{1,64}$/;
const namespaces = new Map();
await init();

function open(name) {
  let timer;
  const sockets = []; // by slot
  const namespace = new Namespace({
    settings,
    policies,
    send(to, frame, about) {
      for (const conn of to) {
        const socket = sockets[slot(conn)];
        socket?.send(frame);
        if (socket?.bufferedAmount > QUEUED_BYTES_MAX && about !== "control") {
          queueMicrotask(() => sockets[slot(conn)] === socket && namespace.close(conn, 4409, "too slow"));
        }
      }
    },
    close(conn, code, reason) {
      sockets[slot(conn)]?.close(code, reason);
      sockets[slot(conn)] = undefined;
    },
    ping: (conn) => sockets[slot(conn)]?.ping(),
    wake(at) {
      clearTimeout(timer);
      if (at !== undefined) timer = setTimeout(() => namespace.timeout(), Math.max(at - Date.now(), 0));
    },
    authenticate: secret && ((conn, token, text) => namespace.authenticate(conn, text, identityOf(token, secret))),
  });
  namespaces.set(name, { namespace, sockets });
  return namespaces.get(name);
}

const http = createServer(async (request, response) => {
  const [, api, , name] = request.url.split("/");
  const isAllowed = api === "api" && apiKey !== undefined && request.headers.authorization === `Bearer ${apiKey}`;
  if (!isAllowed || !names.test(name)) return response.writeHead(isAllowed ? 404 : 401).end();
  const body = Buffer.concat(await request.toArray()).toString();
  const { namespace } = namespaces.get(name) ?? open(name);
  const answer = namespace.api({ method: request.method, target: request.url, headers: request.headers, body });
  response.writeHead(answer.status, answer.headers).end(answer.body);
});

const server = new WebSocketServer({ noServer: true, maxPayload: (settings.message_bytes_max ?? 65_536) * 2 });
http.on("upgrade", (request, stream, head) => {
  const { pathname, searchParams } = new URL(request.url, "http://localhost");
  const [, ws, name = "default"] = pathname.split("/");
  if (ws !== "ws" || !names.test(name)) return stream.end("HTTP/1.1 404 Not Found\r\n\r\n");
  const { namespace, sockets } = namespaces.get(name) ?? open(name);
  const welcome = /\broomcast\.v1\b/.test(request.headers["sec-websocket-protocol"]);
  const user = searchParams.get("user") ?? undefined; // in truth by a session or a token
  try {
    namespace.connect({ user, welcome, unidentified: secret !== undefined }, (conn) => {
      server.handleUpgrade(request, stream, head, (socket) => {
        const live = () => sockets[slot(conn)] === socket; // not closed by the namespace
        sockets[slot(conn)] = socket;
        socket.on("message", (message, isBinary) => live() && namespace.receive(conn, message, isBinary));
        socket.on("pong", () => live() && namespace.noteActivity(conn));
        socket.on("error", () => {}); // the close follows
        socket.on("close", (code) => {
          if (!live()) return;
          sockets[slot(conn)] = undefined;
          namespace.disconnect(conn, code);
        });
      });
      if (sockets[slot(conn)] === undefined) queueMicrotask(() => namespace.disconnect(conn)); // no WebSocket
    });
  } catch (fault) {
    if (!(fault instanceof RoomcastError)) throw fault;
    stream.end(`HTTP/1.1 ${fault.status ?? 500} ${fault.code}\r\n\r\n`);
  }
});
http.listen(PORT, "127.0.0.1", () => console.error(`listening on http://127.0.0.1:${http.address().port}`));
