"""A receiver of webhooks: `docs/hooks.md`."""

import json, os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from standardwebhooks import Webhook, WebhookVerificationError

webhook = Webhook(os.environ["HOOK_KEY"])
told = {}

def handle(event):
    print(json.dumps(event), flush=True)

class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            webhook.verify(body, headers)
        except WebhookVerificationError:
            return self.answer(401)
        batch = json.loads(body)
        for event in batch["events"]:
            if event["seq"] > told.get(batch["epoch"], 0):
                handle(event)
                told[batch["epoch"]] = event["seq"]
        self.answer(204)

    def answer(self, status):
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", 8080))), Receiver)
print(f"port {server.server_port}", flush=True)
server.serve_forever()
