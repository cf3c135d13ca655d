"""Bad handshakes and bad requests of the HTTP API."""

import gzip
import json
import socket
import time

from cases import Api, check_error, check_problem, compact, equal, every, holds, until
from raw_peer import PING, PONG, TEXT, frame, upgrade_request
from server_process import fault


def refused(server, status, path="/ws", body=True, **changes):
    """The handshake gets this status and a problem, and no socket."""
    peer = server.tcp()
    peer.flood(upgrade_request(server.port, path, **changes))
    response = peer.response()
    equal(response.status, status, f"the status for {path} {changes}"[:300])
    if body:
        check_problem(response, status)
    return response


def limited(response, code, limit):
    """The problem names the limit, for people and for programs."""
    body = json.loads(response.text)
    equal(body["code"], code, "the code")
    equal(body["details"], {"limit": limit}, "the details")
    holds(str(limit) in body["detail"], f"the detail must name {limit}: {body['detail']}")


def accepted(server, path="/ws", **changes):
    server.open(path, **changes).nothing_more()


def timed_out(peer):
    data = peer.read_to_end()
    holds(data.startswith(b"HTTP/1.1 408 "), f"408 had to come, this did: {data[:200]}")


@fault("--keep-alive-ms", "500", "--handshake-time-ms", "60000")
def silent_connection_is_ended_without_a_word(server):
    """A proxy that connects in advance would take any bytes for the answer to its next request."""
    equal(server.tcp().read_to_end(), b"", "what came at the end of a silent connection")


@fault("--handshake-time-ms", "500")
def handshake_byte_by_byte_that_never_finishes_is_408(server):
    peer = server.tcp()
    request = upgrade_request(server.port)[:-2]
    for at in range(len(request)):
        try:
            peer.write(request[at : at + 1])
        except ConnectionError:
            break
        if peer.ended_after(0.02):
            break
    else:
        holds(len(request) * 0.02 > 2, "the request must take longer than the handshake may")
    timed_out(peer)


@fault()
def handshake_byte_by_byte_in_time_works(server):
    peer = server.tcp()
    request = upgrade_request(server.port, extra=[("Sec-WebSocket-Protocol", "roomcast.v1")])
    for at in range(len(request)):
        peer.write(request[at : at + 1])
    peer.upgraded().nothing_more()


@fault()
def frames_in_the_packet_of_the_handshake_are_read(server):
    peer = server.tcp()
    peer.write(upgrade_request(server.port) + frame(TEXT, PING))
    peer.upgraded(subprotocol=False).expect(PONG)


@fault()
def header_of_70_kb_is_431(server):
    for extra in ([("X-Long", "x" * 70_000)], [(f"X-{n}", "x" * 1000) for n in range(70)]):
        limited(refused(server, 431, extra=extra), "head_too_large", 8192)
    accepted(server)


@fault()
def header_64_works_and_65_are_431(server):
    many = [(f"X-{n}", "1") for n in range(59)]
    peer = server.tcp()
    peer.write(upgrade_request(server.port, extra=many))
    peer.upgraded(subprotocol=False).nothing_more()
    limited(refused(server, 431, extra=[*many, ("X-Last", "1")]), "head_too_large", 64)


@fault()
def namespace_of_64_characters_works_and_65_are_404(server):
    accepted(server, f"/ws/{'n' * 64}")
    limited(refused(server, 404, f"/ws/{'n' * 65}"), "not_found", 64)


@fault()
def no_or_malformed_key_is_400(server):
    for key in (None, "", "short", "x" * 24, "dGhlIHNhbXBsZSBub25jZQ==dGhlIHNhbXBsZSBub25jZQ=="):
        refused(server, 400, **{"Sec-WebSocket-Key": key})


@fault()
def wrong_version_is_426(server):
    for version in ("12", "8", "x", "13.0"):
        response = refused(server, 426, **{"Sec-WebSocket-Version": version})
        equal(response.headers.get("sec-websocket-version"), "13", "Sec-WebSocket-Version")


@fault()
def post_is_405(server):
    for method in ("POST", "PUT", "DELETE", "BREW"):
        holds("GET" in refused(server, 405, method=method).headers.get("allow", ""), "Allow must name GET")


@fault()
def no_upgrade_is_426(server):
    response = refused(server, 426, Upgrade=None, Connection=None)
    equal(response.headers.get("upgrade", "").lower(), "websocket", "Upgrade")


@fault()
def bad_upgrade_or_connection_is_400(server):
    refused(server, 400, Connection="close")
    refused(server, 400, Upgrade="h2c")
    accepted(server, Connection="keep-alive, UPGRADE", Upgrade="WebSocket")


@fault()
def no_host_is_400(server):
    refused(server, 400, body=False, Host=None)
    refused(server, 400, body=False, extra=[("Host", "elsewhere.example")])


@fault()
def a_field_twice_is_400(server):
    for name, value in (
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ):
        refused(server, 400, extra=[(name, value)])
    refused(server, 400, extra=[("Authorization", "Bearer a"), ("Authorization", "Bearer b")])


@fault()
def upgrade_with_a_body_is_400(server):
    for name, value in (("Content-Length", "10"), ("Transfer-Encoding", "chunked")):
        response = refused(server, 400, extra=[(name, value)])
        equal(response.headers.get("connection"), "close", "Connection")
    accepted(server, extra=[("Content-Length", "0")])


@fault()
def authority_of_the_target_counts(server):
    here = f"127.0.0.1:{server.port}"
    accepted(server, path=f"http://{here}/ws")
    refused(server, 403, path="http://evil.example/ws")
    refused(server, 403, path="http://evil.example/ws", Origin=f"http://{here}")
    refused(server, 403, path=f"http://{here}/ws", Host="evil.example", Origin="http://evil.example")


@fault()
def http_1_0_needs_no_host(server):
    """HAProxy checks health by such requests."""
    for path in ("/healthz", "/readyz", "/client.js"):
        for method in ("GET", "HEAD"):
            peer = server.tcp()
            peer.write(f"{method} {path} HTTP/1.0\r\n\r\n".encode())
            data = peer.read_to_end()
            holds(data.startswith(b"HTTP/1.0 200 "), f"200 had to come for {method} {path}, this did: {data[:200]}")
            equal(data.endswith(b"\r\n\r\n"), method == "HEAD", f"whether {method} {path} leaves the body out")
    for target in ("/", "/healthz", "/readyz", "/metrics", "*", "/ws", "/api/v1/default/rooms"):
        peer = server.tcp()
        peer.write(f"OPTIONS {target} HTTP/1.0\r\n\r\n".encode())
        data = peer.read_to_end()
        holds(data.startswith(b"HTTP/1.0 204 "), f"204 had to come for {target}, this did: {data[:200]}")
        holds(b"\r\nallow: GET, HEAD, " in data, f"Allow in {data}")
    peer = server.tcp()
    peer.write(b"GET /healthz HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n")
    equal(peer.response().status, 400, "the status for two Hosts")


@fault("--api-key", "key")
def http_1_0_without_a_host_uses_the_api_with_a_key(server):
    for key, status in (("key", b"200"), ("other", b"401")):
        peer = server.tcp()
        peer.write(f"GET /api/v1/default/rooms HTTP/1.0\r\nAuthorization: Bearer {key}\r\n\r\n".encode())
        data = peer.read_to_end()
        holds(data.startswith(b"HTTP/1.0 " + status), f"{status} had to come, this did: {data[:200]}")
    peer = server.tcp()
    peer.write(upgrade_request(server.port, version="HTTP/1.0", Host=None))
    equal(peer.response().status, 400, "the status of a handshake in HTTP/1.0")


@fault()
def head_is_answered_wherever_get_is(server):
    server.open().join("r")
    paths = ["/", "/healthz", "/readyz", "/metrics", "/ws", "/ws/a"]
    paths += [f"/api/v1/default/{path}" for path in ("rooms", "rooms/r", "room?room=r", "rooms/r/members",
              "rooms/r/history", "connections", "rooms/none")]  # fmt: skip
    for path in paths:
        get, head = server.api.call("GET", path), server.api.call("HEAD", path)
        equal((head.status, head.text), (get.status, ""), f"HEAD {path}")
        equal(head.headers["content-type"], get.headers["content-type"], f"the content type of HEAD {path}")
        allow = server.api.call("OPTIONS", path)
        equal((allow.status, allow.text), (204, ""), f"OPTIONS {path}")
        holds({"GET", "HEAD", "OPTIONS"} <= set(allow.headers["allow"].split(", ")), f"Allow of {path}: {allow.headers}")
        refused = server.api.refuses("BREW", path, 405)
        holds("HEAD" in refused["detail"], f"what {path} takes: {refused}")
    equal(server.api.call("OPTIONS", SEND).headers["allow"], "POST, OPTIONS", "Allow of send")
    server.api.refuses("OPTIONS", "/nothing", 404)


@fault()
def who_has_said_all_is_answered(server):
    """`nc -N` and others end their half of the connection behind the request."""
    server.open().join("r")
    body = compact({"audience": {"rooms": ["r"]}, "event": "e", "data": "x" * 1000})
    host = f"Host: 127.0.0.1:{server.port}"
    requests = [
        (f"GET / HTTP/1.1\r\n{host}\r\n\r\n", 200),
        (f"GET /metrics HTTP/1.1\r\n{host}\r\n\r\n", 200),
        (f"GET /healthz HTTP/1.0\r\n\r\n", 200),
        (f"GET /api/v1/default/connections HTTP/1.1\r\n{host}\r\n\r\n", 200),
        (f"GET /api/v1/default/rooms/r HTTP/1.1\r\n{host}\r\n\r\n", 200),
        (f"POST {SEND} HTTP/1.1\r\n{host}\r\nContent-Length: {len(body)}\r\n\r\n{body}", 200),
        (f"POST {SEND} HTTP/1.1\r\n{host}\r\nTransfer-Encoding: chunked\r\n\r\n"
         f"{len(body):x}\r\n{body}\r\n0\r\n\r\n", 200),
        (f"GET /nothing HTTP/1.1\r\n{host}\r\n\r\n", 404),
        ("GET /healthz HTTP/1.1\r\n\r\n", 400),
        # The body is incomplete.
        (f"POST {SEND} HTTP/1.1\r\n{host}\r\nContent-Length: {len(body)}\r\n\r\n{body[:-1]}", 400),
        (f"POST {SEND} HTTP/1.1\r\n{host}\r\nTransfer-Encoding: chunked\r\n\r\n{len(body):x}\r\n{body}\r\n", 400),
        (f"GET /healthz HTTP/1.1\r\n{host}\r\n", 400),
        ("GET /heal", 400),
        ("not http\r\n\r\n", 400),
    ]  # fmt: skip

    def asked(request, status):
        for _ in range(25):
            peer = server.tcp()
            peer.write(request.encode())
            peer.socket.shutdown(socket.SHUT_WR)
            data = peer.read_to_end()
            holds(b"%d" % status == data[9:12], f"{status} had to come for {request[:80]!r}, this did: {data[:200]}")
            peer.end()

    every(lambda case: asked(*case), requests)
    # Several at once: each has its answer.
    peer = server.tcp()
    peer.write(requests[3][0].encode() * 5)
    peer.socket.shutdown(socket.SHUT_WR)
    equal(peer.read_to_end().count(b"HTTP/1.1 200 "), 5, "the answers")


@fault("--handshake-time-ms", "300", "--message-time-ms", "300")
def what_is_late_is_answered_with_408_before_and_behind_an_answer(server):
    host = f"Host: 127.0.0.1:{server.port}"
    whole = f"GET /healthz HTTP/1.1\r\n{host}\r\n\r\n".encode()
    late = [b"GET /heal", f"POST {SEND} HTTP/1.1\r\n{host}\r\nContent-Length: 100\r\n\r\n{{".encode()]
    for part in late:
        peer = server.tcp()
        peer.write(part)
        timed_out(peer)
    for part in late:
        peer = server.tcp()
        peer.write(whole)
        equal(peer.response().status, 200, "the status of what was whole")
        peer.write(part)
        timed_out(peer)


@fault("--handshake-time-ms", "300", "--keep-alive-ms", "5000")
def idle_connection_is_kept_alive_for_a_time_of_its_own(server):
    peer = server.tcp()
    request = f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode()
    for _ in range(3):
        peer.write(request)
        equal(peer.response().status, 200, "the status")
        holds(not peer.ended_after(0.6), "the connection must outlive the time for a head")
    # Before the server is idle: the answer may be read much later than it was written.
    began = time.monotonic()
    peer.write(request)
    peer.response()
    equal(peer.read_to_end(), b"", "what came at the end of an idle connection")
    idled = time.monotonic() - began
    holds(idled > 4.9, f"it had to be kept for 5 s, and was for {idled:.2f} s")


@fault()
def idle_connection_outlives_those_of_a_proxy(server):
    """nginx keeps idle connections for 60 s. An earlier version of the server kept them for 5 s."""
    peer = server.tcp()
    request = f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode()
    peer.write(request)
    equal(peer.response().status, 200, "the status")
    holds(not peer.ended_after(6), "an idle connection must be kept alive")
    peer.write(request)
    equal(peer.response().status, 200, "the status after the pause")


@fault("--api-key", "key", "--api-body-bytes-max", "1000000")
def refusal_of_a_request_with_a_large_body_is_read(server):
    """A client that writes everything before it reads must not be cut off."""
    key = "Authorization: Bearer key"
    body = b"x" * 8_000_000
    cases = [
        (f"POST {SEND}", "", 401), (f"POST {SEND}", "Authorization: Bearer wrong", 401),
        ("POST /api/v1/no.dots/send", key, 404), ("POST /nothing", "", 404), ("POST /healthz", "", 405),
        ("PUT /ws", "", 405), (f"POST {SEND}?x=1", key, 400), (f"POST {SEND}", f"{key}\r\nContent-Encoding: gzip", 415),
        (f"POST {SEND}", f"{key}\r\nIdempotency-Key: a\r\nIdempotency-Key: b", 400),
        (f"POST {SEND}", key, 413), ("GET /ws", "", 426), ("GET /healthz", "", 200),
    ]  # fmt: skip

    def written_blindly(call, fields, status):
        for framing in (f"Content-Length: {len(body)}", "Transfer-Encoding: chunked"):
            peer = server.tcp()
            head = f"{call} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n{fields}\r\n{framing}\r\n\r\n"
            peer.write(head.replace("\r\n\r\n", "\r\n", 1).encode() if not fields else head.encode())
            if framing.startswith("T"):
                peer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
            else:
                peer.write(body)
            equal(peer.response().status, status, f"the status of {call} {fields} {framing}")
            # And the connection is good for another one.
            peer.write(f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode())
            equal(peer.response().text, "ok\n", f"the answer behind {call}")
            peer.end()

    every(lambda case: written_blindly(*case), cases)
    # Bytes that are not HTTP are answered too.
    for garbage, status in ((b"BAD\x00 " + body, 400), (b"GET / HTTP/1.1\r\nX: " + body[:200_000], 431)):
        peer = server.tcp()
        peer.write(garbage)
        equal(peer.response().status, status, "the status of what is no request")
    # A client that asks with `Expect` gets the refusal before it sends the body.
    peer = server.tcp()
    peer.write(f"POST {SEND} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n".encode())
    equal(peer.response().status, 401, "the status")
    holds(server.memory_peak_mib() < 64, f"memory must stay bounded, the peak is {server.memory_peak_mib():.0f} MiB")


@fault()
def what_the_api_cannot_read_in_one_way_is_refused(server):
    body = {"audience": {"all": True}, "event": "e"}
    packed = gzip.compress(compact(body).encode())
    server.api.refuses("POST", SEND, 415, packed, {"Content-Encoding": "gzip"}, code="unsupported_media_type")
    equal(server.api.call("POST", SEND, packed, {"Content-Encoding": "gzip"}).headers["accept-encoding"], "identity", "it")
    server.api.gives("POST", SEND, '{"matched":0,"queued":0,"dropped":0}', body, {"Content-Encoding": "identity"})
    text = compact(body)
    peer = server.tcp()
    peer.write(f"POST {SEND} HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: a\r\nIdempotency-Key: a\r\n"
               f"Content-Length: {len(text)}\r\n\r\n{text}".encode())  # fmt: skip
    check_problem(peer.response(), 400, "bad_request")
    for query in ("limti=5", "limit=5&limit=5", "limit=%2B5", "limit=+5", "limit=%205", "prefix=%FF", "x"):
        server.api.refuses("GET", f"/api/v1/default/rooms?{query}", 400, code="bad_request")
    detail = server.api.refuses("GET", "/api/v1/default/rooms?limti=5", 400)["detail"]
    equal(detail, "unknown parameter `limti`: this call takes prefix, after, limit", "the detail")
    detail = server.api.refuses("GET", "/api/v1/default/rooms?%3Cb%3E%00=5", 400)["detail"]
    holds("<" not in detail and "\0" not in detail, f"nothing that a client sent: {detail!r}")


@fault()
def what_is_not_http_is_ended(server):
    for garbage in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
        b"hello\r\n\r\n",
        b"\r\n" * 5000 + b"\x00",
    ):
        peer = server.tcp()
        peer.flood(garbage)
        data = peer.read_to_end()
        holds(data == b"" or data.startswith(b"HTTP/1.1 4"), f"an end or a 4xx had to come, this did: {data[:200]}")
    accepted(server)


@fault()
def foreign_origin_is_403(server):
    elsewhere = ["https://elsewhere.example", f"http://127.0.0.1.elsewhere.example:{server.port}",
                 "http://localhost.elsewhere.example",
                 "http://localhost@elsewhere.example", "", "x", "file://", "null", "NULL"]  # fmt: skip
    every(lambda origin: refused(server, 403, Origin=origin), elsewhere)
    for origin in (f"http://127.0.0.1:{server.port}", "http://localhost:5173", "http://[::1]:8080", None):
        accepted(server, Origin=origin)


@fault("--allow-origin", "https://app.example.org", "--allow-origin", "https://*.example.com")
def origin_by_a_suffix_trick_is_403(server):
    every(lambda origin: refused(server, 403, Origin=origin), [
        "https://badexample.com", "https://example.com", "https://a.example.com.evil.example",
        "https://a.example.com:8443",
        "http://a.example.com", "https://evil.example/.example.com", "https://evil.example?.example.com",
        "https://evil.example#.example.com", "https://user@a.example.com", "https://.example.com",
        "https://app.example.org.evil.example", "https://xapp.example.org", "http://app.example.org",
        "https://app.example.org:444",
        "https://*.example.com", "https://evil.example:443.example.com", "https://evil.example\\.example.com", "null",
    ])  # fmt: skip
    for origin in ("https://app.example.org", "https://a.example.com", "https://a.b.example.com"):
        accepted(server, Origin=origin)
    two = [("Origin", "https://app.example.org"), ("Origin", "https://evil.example")]
    for extra in (two, two[::-1]):
        peer = server.tcp()
        peer.write(upgrade_request(server.port, extra=extra))
        holds(peer.response().status in (400, 403), f"two origins, one of them foreign, must be refused: {extra}")


@fault("--namespaces", "alpha,beta")
def namespace_not_in_the_list_is_404(server):
    accepted(server, "/ws/alpha")
    for path in ("/ws", "/ws/default", "/ws/gamma", "/ws/Alpha", "/ws/alpha2"):
        refused(server, 404, path)


@fault()
def malformed_namespace_is_404(server):
    for name in ("a.b", "a%20b", "..", "%2e%2e", "a%2Fb", "x" * 65, "%C3%A9", "a/b"):
        refused(server, 404, f"/ws/{name}")
    accepted(server, "/ws/" + "x" * 64)
    accepted(server, "/ws/A-z_09")


def limits_to_two(server, path):
    first, second = server.open("/ws/a"), server.open("/ws/b")
    response = refused(server, 503, path)
    holds(int(response.headers.get("retry-after", "-1")) >= 1, f"Retry-After in {response.headers}")
    told = server.open(f"{path}?refuse=close", subprotocol=False)
    check_error(told.next(), {"event": "$error"}, "overloaded")
    told.expect_close(1013)
    first.nothing_more()
    second.end()

    def fits():
        peer = server.tcp()
        peer.write(upgrade_request(server.port, path))
        return peer.response().status == 101

    until(fits, "a place after one connection ended")


@fault("--connections-max", "2")
def connection_limit_is_503_with_retry_after(server):
    limits_to_two(server, "/ws/a")


@fault("--namespaces-max", "2")
def namespace_limit_is_503_with_retry_after(server):
    limits_to_two(server, "/ws/c")


@fault()
def refuse_close_tells_the_reason_on_the_socket(server):
    for path, origin in (("/ws/a.b?refuse=close", None), ("/ws?refuse=close", "https://elsewhere.example")):
        peer = server.open(path, subprotocol=False, Origin=origin)
        check_error(peer.next(), {"event": "$error"}, "forbidden")
        peer.expect_close(4403)
    refused(server, 400, "/ws?refuse=close", **{"Sec-WebSocket-Key": None})


SEND = "/api/v1/default/send"


@fault()
def api_body_of_2_mib_is_413(server):
    body = compact({"audience": {"all": True}, "event": "e", "data": "x" * (2 << 20)})
    head = f"POST {SEND} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: application/json\r\n"
    declared = server.tcp()
    declared.flood(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
    check_problem(declared.response(), 413)
    chunked = server.tcp()
    chunks = "".join(
        f"{len(part):x}\r\n{part}\r\n" for part in (body[at : at + 60_000] for at in range(0, len(body), 60_000))
    )
    chunked.flood(f"{head}Transfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n".encode())
    check_problem(chunked.response(), 413)
    huge = server.tcp()
    huge.flood(f"{head}Content-Length: {1 << 62}\r\n\r\n".encode())
    check_problem(huge.response(), 413)
    holds(server.memory_peak_mib() < 64, f"memory must stay bounded, the peak is {server.memory_peak_mib():.0f} MiB")


@fault()
def api_body_that_is_slow_holds_up_nobody(server):
    body = compact({"audience": {"all": True}, "event": "e"})
    slow = [server.tcp() for _ in range(20)]
    for peer in slow:
        head = f"POST {SEND} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Length: {len(body)}\r\n\r\n"
        peer.write(head.encode() + body[:5].encode())
    member = server.open()
    server.api.gives("POST", SEND, '{"matched":1,"queued":1,"dropped":0}', body)
    member.expect('{"event":"e","data":null}')
    slow[0].write(body[5:].encode())
    equal(slow[0].response().status, 200, "the status when the slow body is complete")
    member.expect('{"event":"e","data":null}')


@fault("--message-time-ms", "500")
def api_body_that_never_ends_is_408(server):
    peer = server.tcp()
    peer.write(f"POST {SEND} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Length: 100\r\n\r\n{{".encode())
    check_problem(peer.response(), 408)


@fault()
def api_body_of_the_wrong_type_is_400(server):
    every_one = {"all": True}
    every(lambda body: server.api.refuses("POST", SEND, 400, body), [
        b"\xff\xfe", b"", "[]", "5", '"x"', "null", "{}", {"event": "e"}, {"audience": every_one},
        {"audience": "all", "event": "e"},
        {"audience": {"all": "yes"}, "event": "e"}, {"audience": {"rooms": "r"}, "event": "e"},
        {"audience": {"rooms": [None]}, "event": "e"}, {"audience": {"conns": [1.5]}, "event": "e"},
        {"audience": {"users": {}}, "event": "e"}, {"audience": {"__proto__": {}}, "event": "e"},
        {"audience": every_one, "event": ["e"]}, {"audience": every_one, "event": None},
        {"audience": every_one, "event": "$join"},
        {"audience": every_one, "event": "x" * 129}, {"audience": every_one, "event": "e", "more": 1},
        "[" * 100_000,
        '{"audience":' * 50_000, f'{{"audience":{{"all":true}},"event":"e","data":{"[" * 30_000}{"]" * 30_000}}}',
        {"audience": [], "event": "e"}, {"audience": [True], "event": "e"}, [every_one, "e", 1],
    ])  # fmt: skip
    for key in ("", "x" * 129):
        server.api.refuses("POST", SEND, 400, {"audience": every_one, "event": "e"}, {"Idempotency-Key": key})


@fault("--api-key", "first-key", "--api-key", "second-key")
def api_without_or_with_a_wrong_key_is_401(server):
    path = "/api/v1/default/rooms"
    for value in (
        None,
        "Bearer ",
        "Bearer wrong",
        "Bearer first-ke",
        "Bearer first-keyx",
        "Basic first-key",
        "first-key",
        "Bearer FIRST-KEY",
    ):
        headers = {"Authorization": value} if value else None
        problem = server.api.refuses("GET", path, 401, headers=headers, code="unauthorized")
        key = (value or "").rpartition(" ")[2]
        holds(not key or key not in problem["detail"], "a refusal must not repeat the key")
    for key in ("first-key", "second-key"):
        Api(server.port, key).gives("GET", path, '{"rooms":[]}')
    equal(server.api.call("GET", "/healthz").text.strip(), "ok", "/healthz")
    holds(not any("first-key" in line for line in server.log), "the log must not show a key")
    accepted(server)


@fault()
def api_without_a_key_is_for_this_machine_only(server):
    path = "/api/v1/default/rooms"
    for host in (f"127.0.0.1:{server.port}", "localhost", f"localhost:{server.port}", "[::1]:3000"):
        server.api.gives("GET", path, '{"rooms":[]}', headers={"Host": host})
    for host in ("elsewhere.example", "localhost.elsewhere.example", "127.0.0.1.elsewhere.example", "10.0.0.1", ""):
        status = server.api.call("GET", path, headers={"Host": host}).status
        holds(status in (400, 401, 403), f"a Host {host!r} must be refused, the status is {status}")
    body = {"audience": {"all": True}, "event": "e"}
    for origin in ("https://elsewhere.example", "null"):
        headers = {"Origin": origin, "Content-Type": "text/plain"}
        status = server.api.call("POST", SEND, body, headers=headers).status
        holds(
            status in (401, 403),
            f"a page of {origin!r} must not send with the rights of this machine, the status is {status}",
        )


@fault()
def api_paths_that_do_not_exist_are_problems(server):
    every(lambda case: server.api.refuses(*case), [
        ("GET", "/api", 404), ("GET", "/api/v2/default/rooms", 404), ("GET", "/api/v1/default", 404),
        ("GET", "/api/v1/a.b/rooms", 404), ("GET", "/api/v1/default/rooms/%00", 400),
        ("GET", "/api/v1/default/rooms/%FF", 400),
        ("GET", "/api/v1/default/rooms?limit=x", 400), ("GET", "/api/v1/default/rooms/r/history", 404),
        ("GET", "/api/v1/default/send", 405), ("PATCH", "/api/v1/default/rooms", 405),
        ("DELETE", "/api/v1/default/connections", 400),
        ("GET", "/nothing", 404), ("POST", "/healthz", 405),
    ])  # fmt: skip


@fault()
def api_requests_share_a_connection(server):
    peer = server.tcp()
    request = f"GET /api/v1/default/rooms HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode()
    peer.write(request * 3)
    for _ in range(3):
        equal(json.loads(peer.response().text), {"rooms": []}, "an answer")
