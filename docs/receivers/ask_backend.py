"""A backend that is asked: `docs/hooks.md`."""

import json, os
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from standardwebhooks import Webhook, WebhookVerificationError

webhook = Webhook(os.environ["HOOK_KEY"])
sessions = {"s3cret": "ann"}
can = ["join", "publish"]

def decide(question):
    if question["type"] == "join":
        room = question["room"]
        if room != f"team:{question.get('user')}":
            return 403, {"message": "not your team"}
        return 200, {"grants": [{"rooms": room, "can": can}]}
    try:
        user = sessions[SimpleCookie(question["headers"].get("cookie"))["session"].value]
    except (CookieError, KeyError):
        return 401, {"message": "log in first"}
    return 200, {"user": user, "grants": [{"rooms": "lobby", "can": can}], "ttl_s": 5}

class Backend(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        status, answer = 400, {}
        try:
            webhook.verify(body, {name.lower(): value for name, value in self.headers.items()})
            status, answer = decide(json.loads(body))
        except WebhookVerificationError:
            pass
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", 8080))), Backend)
print(f"port {server.server_port}", flush=True)
server.serve_forever()
