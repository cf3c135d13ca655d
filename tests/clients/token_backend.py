"""A backend with the users of a chat: it signs their tokens with PyJWT, and serves a page that
fetches one before it connects. Prints the address of the page.

ROOMCAST_SECRET is the secret that the server has too, ROOMCAST_URL the server, PORT that of this backend,
and ALLOW_ORIGIN the origin of pages elsewhere that may ask for tokens."""

import http.server
import os
import time
import urllib.parse

import jwt

SECRET = os.environ["ROOMCAST_SECRET"]
SERVER = os.environ.get("ROOMCAST_URL", "http://127.0.0.1:3000")
PORT = int(os.environ.get("PORT", 4000))
ALLOW_ORIGIN = os.environ.get("ALLOW_ORIGIN", SERVER)
CHAT = {"rooms": "chat:*", "can": ["join", "publish", "presence", "history"]}
OWN = {"rooms": "home:{user}", "can": ["join"]}
# What each user may do. A real backend looks into its database.
USERS = {"ann": [CHAT, OWN], "bob": [CHAT, OWN], "eve": [OWN]}

PAGE = """<!doctype html>
<html lang="en">
  <meta charset="utf-8">
  <link rel="icon" href="data:,">
  <title>A chat with tokens</title>
  <p><output id="state"></output>, here: <output id="here"></output></p>
  <ol id="messages"></ol>
  <form id="form"><label>Message <input id="text" autocomplete="off" required></label></form>
  <script type="module">
    import { Roomcast } from "SERVER/client.js";

    const $ = (id) => document.getElementById(id);
    const client = new Roomcast("SERVER", {
      token: async (why, signal) => (await fetch(`/token${location.search}`, { signal })).text(),
    });
    const room = client.room("chat:1", { presence: true });
    client.onState(({ name }) => ($("state").value = name));
    room.onMembers((members) => ($("here").value = members?.map(({ user }) => user).sort().join(" ") ?? ""));
    room.on("said", ({ text }, { from }) => $("messages").append(
      Object.assign(document.createElement("li"), { textContent: `${from.user}: ${text}` })));
    $("form").onsubmit = (event) => {
      event.preventDefault();
      room.publish("said", { text: $("text").value }, { echo: true });
      $("form").reset();
    };
  </script>
</html>
""".replace("SERVER", SERVER)


def token(user, seconds):
    now = int(time.time())
    claims = {"sub": user, "iat": now, "exp": now + seconds, "grants": USERS[user]}
    claims["meta"] = {"name": user.title()}
    return jwt.encode(claims, SECRET, algorithm="HS256")


class Backend(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        address = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(address.query))
        # A real backend takes the user from its own session cookie.
        user = query.get("user")
        if user not in USERS:
            return self.answer(403, "text/plain", f"add ?user= with one of {', '.join(USERS)}")
        if address.path == "/":
            return self.answer(200, "text/html", PAGE)
        if address.path == "/token":
            seconds = query.get("seconds", "3600")
            if not seconds.isdecimal():
                return self.answer(400, "text/plain", "seconds is a number")
            return self.answer(200, "text/plain", token(user, int(seconds)))
        return self.answer(404, "text/plain", "there are / and /token")

    def answer(self, status, kind, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        if self.headers["Origin"] == ALLOW_ORIGIN:
            self.send_header("Access-Control-Allow-Origin", ALLOW_ORIGIN)
        self.send_header("Vary", "Origin")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Backend)
    print(f"http://127.0.0.1:{server.server_port}/?user=ann", flush=True)
    server.serve_forever()
