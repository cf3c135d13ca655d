"""A backend that knows the users of a chat, and signs tokens for them with PyJWT: what a page asks for
before it connects. Prints its address. ROOMCAST_SECRET is the secret that the server has too."""

import http.server
import os
import time
import urllib.parse

import jwt

SECRET = os.environ["ROOMCAST_SECRET"]
CHAT = {"rooms": "chat:*", "can": ["join", "publish", "presence", "history"]}
OWN = {"rooms": "home:{user}", "can": ["join"]}
# What each user may do. A real backend looks into its database.
USERS = {"ann": [CHAT, OWN], "bob": [CHAT, OWN], "eve": [OWN]}


def token(user, seconds):
    now = int(time.time())
    claims = {"sub": user, "iat": now, "exp": now + seconds, "grants": USERS[user]}
    claims["meta"] = {"name": user.title()}
    return jwt.encode(claims, SECRET, algorithm="HS256")


class Backend(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
        # A real backend takes the user from its own session cookie.
        body = token(query["user"], int(query.get("seconds", 3600))).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
