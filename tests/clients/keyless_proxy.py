"""The API without a key, the names of a server on loopback, and the refusals of a public server,
against a real nginx and plain sockets.

    python3 keyless_proxy.py --binary PATH_TO_ROOMCAST [--workers N] [CASE]...

Each case starts servers of its own on free ports. Needs Python and nginx. Prints one line per case; the
exit code is 0 when all passed.
"""

import argparse
import json
import os
import socket
import sys

from cases import Api, check_error, equal, every, holds, run_with_binary, until
from proxies import UPGRADES, Nginx
from raw_peer import Peer, upgrade_request
from server_process import Server, command

SEND = "/api/v1/default/send"
ROOMS = "/api/v1/default/rooms"
MESSAGE = {"audience": {"all": True}, "event": "e"}
CHAT = "chat.example"
CASES = {}


def case(*flags, **options):
    """Registers a case that gets a server started with these flags, and the binary."""

    def register(function):
        def started(binary):
            with Server(binary, *flags, **options) as server:
                function(server)
                server.check_alive()

        CASES[function.__name__] = started
        return function

    return register


def warnings(server, words):
    return [line for line in server.log if "WARN" in line and words in line]


def mounted(server):
    """The start-up line that says what there is: it comes after the one with the address."""
    return until(lambda: next((line for line in server.log if "mounted:" in line), None), "the start-up line")


def one_warning(server, words):
    """There is one warning with these words, even once all earlier requests are logged."""
    until(lambda: warnings(server, words), f"a warning of {words!r} in {server.log}")
    # Lines come in order: a second warning would precede the server's last line.
    server.terminate()
    until(lambda: any("shut down" in line for line in server.log), "the end")
    equal(len(warnings(server, words)), 1, f"warnings of {words!r} in {server.log}")
    equal(server.exit_code(), 0, "the exit code")
    return warnings(server, words)[0]


def send(api, status, **headers):
    """Sends through the API: the status has to be this one, and a refusal names the fix."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    if status == 200:
        equal(api.call("POST", SEND, MESSAGE, headers).status, 200, f"the status of a send {headers}")
        return
    problem = api.refuses("POST", SEND, status, body=MESSAGE, headers=headers, code="forbidden")
    holds("ROOMCAST_API_KEY (--api-key)" in problem["detail"], f"the fix has to be named: {problem}")


def refused_counts(server, key=None):
    """The counters of refusals that are not 0, by reason."""
    text = Api(server.port, key).call("GET", "/metrics").text
    counts = {}
    for line in text.splitlines():
        if line.startswith("roomcast_refused_total{"):
            reason, count = line.split('"')[1], int(line.split()[-1])
            counts[reason] = count
    holds("origin" in counts and "keyless_api" in counts, f"all reasons are there from the start: {counts}")
    return {reason: count for reason, count in counts.items() if count}


def handshake(server, path="/ws", **changes):
    """The response to a handshake."""
    peer = server.tcp()
    peer.write(upgrade_request(server.port, path, **changes))
    return peer.response()


# The API without a key.


@case()
def without_a_proxy_the_keyless_api_answers(server):
    for _ in range(3):
        send(server.api, 200)
    equal(server.api.call("GET", "/healthz").status, 200, "/healthz")
    send(server.api, 200)
    equal(warnings(server, "proxy"), [], "warnings")


@case()
def bare_proxy_pass_is_refused_and_ends_the_keyless_api(server):
    with Nginx(server.port) as nginx:
        send(server.api, 200)
        send(nginx.api, 403)
        send(nginx.api, 403, Host="127.0.0.1")
        # Applies to every client from now on.
        send(server.api, 403)
    line = one_warning(server, "a proxy stands before this server")
    holds("HTTP/1.0" in line and "--api-key" in line, f"the sign and the fix: {line}")


NOBODY = 65534


def other_user_case(name, *directives):
    """nginx runs as its own user, as usual, and nothing in the forwarded request reveals the proxy."""

    def refused(server):
        if os.geteuid() != 0:
            return print(f"SKIPPED {name}: only root has other users")
        with Nginx(server.port, *directives, user=NOBODY) as nginx:
            send(nginx.api, 403)
            every(lambda path: nginx.api.refuses("GET", path, 403, code="forbidden"), (ROOMS, "/", "/page/page.js"))
            send(server.api, 200)
            equal(server.api.call("GET", "/").status, 200, "the page")

    refused.__name__ = name
    case()(refused)


# As nginx does by default since 1.29.7.
other_user_case("keep_alive_of_another_user_is_refused", "proxy_http_version 1.1", 'proxy_set_header Connection ""')
other_user_case("upgrades_of_another_user_are_no_calls", *UPGRADES)


@case()
def page_through_a_bare_proxy_ends_the_keyless_api(server):
    with Nginx(server.port) as nginx:
        for path in ("/", "/metrics"):
            nginx.api.refuses("GET", path, 403, code="forbidden")
        equal(nginx.api.call("GET", "/client.js").status, 200, "the client")
    send(server.api, 403)
    one_warning(server, "a proxy stands before this server")


def http_host_case(sign, directive):
    @case()
    def forwarded(server):
        directives = ("proxy_http_version 1.1", "proxy_set_header Host $http_host", f"proxy_set_header {directive}")
        with Nginx(server.port, *directives) as nginx:
            send(nginx.api, 403, Host="127.0.0.1")
            send(nginx.api, 403, Host="localhost:3000")
        send(server.api, 403)
        one_warning(server, f"({sign.lower()})")

    name = f"loopback_name_through_http_host_with_{sign.lower().replace('-', '_')}_is_refused"
    CASES[name] = CASES.pop("forwarded")


for sign, directive in (
    ("X-Forwarded-For", "X-Forwarded-For $proxy_add_x_forwarded_for"),
    ("X-Real-IP", "X-Real-IP $remote_addr"),
    ("Forwarded", 'Forwarded "for=$remote_addr"'),
    ("Via", 'Via "1.1 nginx"'),
):
    http_host_case(sign, directive)


@case("--threads", "2")
def websocket_through_a_proxy_ends_the_keyless_api(server):
    directives = (*UPGRADES, "proxy_set_header Host $http_host", "proxy_set_header X-Forwarded-For $remote_addr")
    with Nginx(server.port, *directives) as nginx:
        send(server.api, 200)
        visitor = Peer(nginx.port)
        visitor.upgrade(Host=CHAT, Origin=f"https://{CHAT}").nothing_more()
        # Whichever thread has it.
        for _ in range(20):
            send(server.api, 403)
        visitor.end()
    one_warning(server, "a proxy stands before this server")


@case()
def health_check_that_carries_a_proxy_header_ends_the_keyless_api(server):
    peer = server.tcp()
    peer.write(b"GET /healthz HTTP/1.0\r\nHost: a\r\n\r\n")
    equal(peer.response().status, 200, "a monitor")
    send(server.api, 200)
    equal(server.api.call("GET", "/readyz", headers={"Via": "1.1 a"}).status, 200, "/readyz")
    send(server.api, 403)
    one_warning(server, "(via)")


@case("--api-key", "key")
def with_a_key_the_api_answers_behind_any_proxy(server):
    for directives in ((), ("proxy_http_version 1.1", "proxy_set_header X-Forwarded-For $remote_addr")):
        with Nginx(server.port, *directives) as nginx:
            send(Api(nginx.port, "key"), 200)
            nginx.api.refuses("POST", SEND, 401, body=MESSAGE, code="unauthorized")
    equal(warnings(server, "proxy"), [], "warnings")


def keyless_is_off(server):
    send(server.api, 403)
    line = mounted(server)
    holds("off: no --api-key" in line, f"the start-up line: {line}")


@case("--allow-origin", "http://localhost:5173", "--allow-origin", "https://app.example")
def foreign_allowed_origin_ends_the_keyless_api(server):
    keyless_is_off(server)


@case("--allow-host", CHAT)
def foreign_allowed_host_ends_the_keyless_api(server):
    keyless_is_off(server)


@case("--allow-origin", "http://localhost:5173", "--allow-host", "app.localhost")
def loopback_names_leave_the_keyless_api_on(server):
    send(server.api, 200)
    send(server.api, 200, Host="app.localhost")


@case("--keyless-api", "off")
def keyless_api_can_be_off_for_good(server):
    keyless_is_off(server)
    # The same if nothing reveals the proxy.
    with Nginx(server.port, "proxy_http_version 1.1", "proxy_set_header Host $http_host") as nginx:
        send(nginx.api, 403, Host="127.0.0.1")


def switches_take_on_and_off_only(binary):
    for flag in ("--keyless-api", "--page", "--metrics"):
        for word in ("yes", "true", "", "ON"):
            variable = "ROOMCAST_" + flag[2:].upper().replace("-", "_")
            for done in (command(binary, flag, word), command(binary, "serve", **{variable: word})):
                said = done.stderr.decode()
                equal(done.returncode, 2, f"the exit code of {flag} {word!r}: {said}")
                holds(flag in said and "on or off" in said, f"{flag} {word!r}: {said}")


CASES["switches_take_on_and_off_only"] = switches_take_on_and_off_only


# The names of a server on loopback.

PATHS = ("/", "/metrics", "/nothing", ROOMS)


def foreign_names_are_refused(server, key=None):
    evil = f"evil.example:{server.port}"
    response = handshake(server, Host=evil, Origin=f"http://{evil}")
    equal(response.status, 403, f"/ws: {response.text}")
    holds("--allow-host" in response.text, f"the fix has to be named: {response.text}")
    equal(handshake(server, Host=evil).status, 403, "/ws without an Origin")
    peer = server.open("/ws?refuse=close", subprotocol=False, Host=evil, Origin=f"http://{evil}")
    check_error(peer.next(), {"event": "$error"}, "forbidden")
    peer.expect_close(4403)
    api = Api(server.port, key)
    for host in (evil, "localhost.evil.example", "127.0.0.1.evil.example", "evillocalhost", "10.0.0.1"):
        every(lambda path: api.refuses("GET", path, 403, headers={"Host": host}, code="forbidden"), PATHS)
    # The endpoint reveals nothing, and monitors use any name.
    for path in ("/healthz", "/readyz"):
        equal(api.call("GET", path, headers={"Host": evil}).status, 200, path)


@case()
def foreign_name_from_loopback_is_refused_on_every_path(server):
    foreign_names_are_refused(server)
    for host in ("localhost", "app.localhost:3000", f"127.0.0.1:{server.port}", "[::1]:3000"):
        for path in ("/", "/metrics", ROOMS):
            equal(server.api.call("GET", path, headers={"Host": host}).status, 200, f"{path} of {host}")
        server.open(Host=host, Origin=f"http://{host}").nothing_more()
    line = one_warning(server, f"evil.example:{server.port}")
    holds("--allow-host evil.example" in line, f"the fix: {line}")


@case("--api-key", "key")
def foreign_name_is_refused_with_a_key_too(server):
    foreign_names_are_refused(server, "key")


@case("--allow-host", CHAT, "--allow-host", "*.lan.example", "--api-key", "key")
def allowed_hosts_are_taken(server):
    api = Api(server.port, "key")
    for host in (CHAT, f"{CHAT}:8080", "Chat.Example", "a.lan.example"):
        every(
            lambda path: equal(api.call("GET", path, headers={"Host": host}).status, 200, host),
            ("/", "/metrics", ROOMS),
        )
        server.open(Host=host, Origin=f"http://{host}").nothing_more()
    equal(handshake(server, Host="lan.example").status, 403, "a name that is not listed")


@case()
def behind_a_proxy_that_says_so_any_name_is_taken(server):
    directives = (*UPGRADES, "proxy_set_header Host $http_host", "proxy_set_header X-Forwarded-For $remote_addr")
    with Nginx(server.port, *directives) as nginx:
        equal(nginx.api.call("GET", "/client.js", headers={"Host": CHAT}).status, 200, "the client")
        visitor = Peer(nginx.port)
        visitor.upgrade(Host=CHAT, Origin=f"https://{CHAT}").nothing_more()
        visitor.end()


@case("--insecure", listen="0.0.0.0:0")
def beyond_loopback_any_name_is_taken(server):
    server.open(Host=CHAT, Origin=f"http://{CHAT}").nothing_more()
    equal(server.api.call("GET", "/", headers={"Host": CHAT}).status, 200, "the page")


# Addresses.


@case("--insecure", "--connections-per-address-max", "2", listen="[::]:0")
def ipv4_peers_of_an_ipv6_listener_are_ipv4_peers(server):
    send(server.api, 200)
    held = [server.tcp() for _ in range(2)]
    for peer in held:
        peer.upgrade(Origin="http://localhost:5173").nothing_more()
    response = handshake(server)
    equal(response.status, 503, "the third from one address")
    holds("--connections-per-address-max" in response.text, response.text)
    other = socket.create_connection(("127.0.0.1", server.port), source_address=("127.0.0.2", 0))
    other.sendall(upgrade_request(server.port))
    holds(other.recv(100).startswith(b"HTTP/1.1 101 "), "another address has places of its own")
    other.close()
    equal(refused_counts(server), {"connections_per_address": 1}, "refusals")


@case(listen="[::ffff:127.0.0.1]:0")
def mapped_loopback_address_is_loopback(server):
    send(server.api, 200)
    equal(handshake(server, Host="evil.example").status, 403, "a foreign name")


# The page and the metrics.


@case("--admin-listen", "127.0.0.1:0")
def public_listener_has_no_administration_through_a_proxy_either(server):
    words = "administration at http://127.0.0.1:"
    line = until(lambda: next((line for line in server.log if words in line), None), "the other address")
    admin = Api(int(line.split(words)[1].split(":")[0]))
    directives = (*UPGRADES, "proxy_set_header Host $http_host", "proxy_set_header X-Forwarded-For $remote_addr")
    with Nginx(server.port, *directives) as nginx:
        for path in PATHS:
            for api in (server.api, nginx.api):
                for method in ("GET", "POST"):
                    equal(api.call(method, path).status, 404, f"{method} {path}")
        visitor = Peer(nginx.port)
        visitor.upgrade(Host=CHAT, Origin=f"https://{CHAT}").nothing_more()
        visitor.end()
    for path in ("/", "/metrics", ROOMS):
        equal(admin.call("GET", path).status, 200, path)


@case("--page", "off", "--metrics", "off")
def page_and_metrics_that_are_off_are_unknown_paths(server):
    unknown = server.api.refuses("GET", "/nothing", 404, code="not_found")
    holds("/metrics" not in unknown["detail"], f"what is off is not listed: {unknown}")
    for path in ("/", "/metrics"):
        for method in ("GET", "POST"):
            equal(server.api.refuses(method, path, 404, code="not_found"), unknown, f"{method} {path}")
    equal(server.api.call("GET", "/readyz").status, 200, "/readyz")
    server.open().nothing_more()
    line = mounted(server)
    holds("try it" not in line and "/metrics" not in line, line)


@case(ROOMCAST_PAGE="off")
def page_is_off_by_its_variable(server):
    server.api.refuses("GET", "/", 404, code="not_found")
    equal(server.api.call("GET", "/metrics").status, 200, "/metrics")


@case(ROOMCAST_METRICS="off")
def metrics_are_off_by_their_variable(server):
    server.api.refuses("GET", "/metrics", 404, code="not_found")
    equal(server.api.call("GET", "/").status, 200, "the page")


# Refusals are visible to the operator.


@case()
def refused_origin_is_logged_once_with_the_flag_to_add(server):
    for _ in range(5):
        equal(handshake(server, Origin="https://app.example:8443").status, 403, "the status")
    holds("proxy_set_header Host" in handshake(server, Origin="https://app.example:8443").text, "the likely cause")
    line = one_warning(server, "https://app.example:8443")
    holds("--allow-origin https://app.example:8443" in line and "Host header" in line, f"the fix: {line}")


@case()
def rewritten_host_is_named_behind_a_proxy(server):
    with Nginx(server.port, *UPGRADES) as nginx:
        visitor = Peer(nginx.port)
        visitor.write(upgrade_request(nginx.port, Host=CHAT, Origin=f"https://{CHAT}"))
        response = visitor.response()
        equal(response.status, 403, "the Host was rewritten")
        holds("rewritten the Host header" in response.text, response.text)
        visitor.end()


@case()
def crowd_of_origins_does_not_fill_the_log(server):
    long = "https://" + "a" * 1500
    peer = server.tcp()
    for number in range(300):
        peer.write(upgrade_request(server.port, Origin=f"https://{number}.example"))
        equal(peer.response().status, 403, "the status")
    for origin in ("https://\x7f\xc3\xa9\x1b[31m.example", long):
        fields = upgrade_request(server.port, Origin=origin)
        peer = server.tcp()
        peer.write(fields)
        peer.response()
    equal(refused_counts(server)["origin"] >= 301, True, "refused origins")
    until(lambda: warnings(server, "not all of them are named"), "the notice of a crowd")
    named = warnings(server, "refused the origin")
    holds(len(named) <= 64, f"{len(named)} origins were logged")
    holds(all(len(line) < 600 and "\x1b[31m" not in line for line in server.log), "lines are short and escaped")


@case("--api-key", "key", "--namespaces", "default", "--connections-max", "1")
def refusals_are_counted_by_reason(server):
    handshake(server, Origin="https://app.example")
    handshake(server, Host="evil.example")
    server.api.call("GET", "/", headers={"Host": "evil.example"})
    handshake(server, "/ws/other")
    server.api.call("GET", ROOMS)
    Api(server.port, "wrong").call("GET", ROOMS)
    api = Api(server.port, "key")
    api.call("GET", "/api/v1/other/rooms")
    server.open()
    for path in ("/ws", "/ws?refuse=close"):
        handshake(server, path)
    # Mistakes do not count as refusals.
    api.call("GET", "/nothing")
    api.call("POST", SEND, "no JSON")
    counts = {"origin": 1, "host": 2, "namespace": 2, "key": 2, "connections": 2}
    equal(refused_counts(server, "key"), counts, "refusals")


@case("--namespaces-max", "1")
def refusals_without_a_key_and_over_limits_are_counted(server):
    server.open("/ws/a")
    equal(handshake(server, "/ws/b").status, 503, "a namespace too many")
    server.api.call("GET", ROOMS, headers={"Origin": "https://app.example"})
    server.api.call("GET", ROOMS, headers={"X-Real-IP": "203.0.113.7"})
    equal(refused_counts(server), {"namespaces": 1, "keyless_api": 2}, "refusals")


@case("--close-wait-ms", "60000")
def refusals_of_a_server_that_drains_are_counted(server):
    peers = [server.tcp() for _ in range(3)]  # each has one more answer when the server drains

    def ask(peer, path):
        peer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return peer.response()

    holds(all(ask(peer, "/readyz").status == 200 for peer in peers), "/readyz")
    # The peer does not answer the close, which delays the shutdown.
    server.open()
    server.terminate()
    until(lambda: ask(peers[0], "/readyz").status == 503, "the drain")
    equal(json.loads(ask(peers[1], ROOMS).text)["code"], "unavailable", "the API")
    holds('roomcast_refused_total{reason="draining"} 1\n' in ask(peers[2], "/metrics").text, "the counter")


@case("--inbound-rate", "1", "--inbound-burst", "5")
def messages_over_the_rate_are_counted(server):
    peer = server.open()
    for number in range(8):
        peer.send({"event": "$rooms", "id": number})
    told = [json.loads(peer.next()) for _ in range(8)]
    refused = sum(1 for answer in told if answer.get("error", {}).get("code") == "rate_limited")
    holds(refused > 0, f"{told}")
    equal(refused_counts(server), {"rate": refused}, "refusals")


@case("--log", "debug")
def each_refusal_is_logged_at_debug(server):
    server.api.call("GET", ROOMS, headers={"Origin": "https://app.example"})
    handshake(server, Origin="null")
    for reason in ("keyless_api", "origin"):
        until(lambda: any("refused" in line and reason in line for line in server.log), f"{reason} in {server.log}")


def main():
    parser = argparse.ArgumentParser(description="Who reaches a server, and what is seen of refusals")
    return run_with_binary(parser, CASES)


if __name__ == "__main__":
    sys.exit(main())
