"""A real nginx before a server, for as long as a case needs it."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile

from cases import Api, Failed, until

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
CONFIG = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log warn;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{upstream};
{directives}
        }}
    }}
}}
"""
# What WebSockets need, as everybody writes it.
UPGRADES = (
    "proxy_http_version 1.1",
    "proxy_set_header Upgrade $http_upgrade",
    "proxy_set_header Connection upgrade",
)


HELD = []


def free_port():
    """A free port, which Linux gives to nobody else before this process ends: a socket that does not listen
    holds it. nginx can listen there all the same, as both allow that the address is used again."""
    probe = socket.socket()
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
    if sys.platform == "linux":
        HELD.append(probe)
    else:
        probe.close()
    return port


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Nginx:
    """nginx with these directives beside its `proxy_pass` to a port of this machine."""

    def __init__(self, upstream, *directives, user=None):
        """`user`, the id of another user to run as, wants root."""
        self.folder = tempfile.TemporaryDirectory(prefix="nginx-")
        if user is not None:
            os.chown(self.folder.name, user, user)
        lines = "\n".join(f"            {directive};" for directive in directives)
        # Where the port is not held, somebody else may take it before nginx has it.
        for _ in range(10):
            self.port = free_port()
            config = CONFIG.format(folder=self.folder.name, port=self.port, upstream=upstream, directives=lines)
            path = os.path.join(self.folder.name, "nginx.conf")
            with open(path, "w", encoding="ascii") as file:
                file.write(config)
            errors = os.path.join(self.folder.name, "error.log")
            self.process = subprocess.Popen(
                [NGINX, "-p", self.folder.name, "-c", path, "-e", errors],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                user=user,
                group=user,
            )
            until(lambda: self.process.poll() is not None or listens(self.port), "nginx")
            if self.process.poll() is None:
                self.api = Api(self.port)
                return
        with open(errors, encoding="utf-8") as file:
            raise Failed(f"nginx does not start: {file.read()}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()
