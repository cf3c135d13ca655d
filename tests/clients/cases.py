"""The shared parts of the Python scripts: named cases, their comparisons, and the HTTP API."""

import http.client
import json
import os
import re
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

# Far above what a busy machine needs: passing it is a failure, never a measurement.
DEADLINE_S = 20.0


class Failed(Exception):
    """A case saw something unexpected."""


def show(value):
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 600 else f"{text[:600]}… ({len(text)})"


def equal(got, expected, what):
    if got != expected:
        raise Failed(f"{what}\n    expected {show(expected)}\n    got      {show(got)}")


def holds(condition, what):
    if not condition:
        raise Failed(what)


def every(check, items):
    """Checks each of the items and reports all that fail, not only the first."""
    failures = []
    for item in items:
        try:
            check(item)
        except Failed as failure:
            failures.append(f"{show(item)}: {failure}")
    holds(not failures, "\n  ".join(failures))


def until(look, what, deadline_s=DEADLINE_S):
    """Asks again until the answer is true; returns it."""
    end = time.monotonic() + deadline_s
    while not (answer := look()):
        if time.monotonic() > end:
            raise Failed(f"waited {deadline_s:g} s for {what}")
        time.sleep(0.01)
    return answer


def compact(value):
    """JSON as the server writes it: no white space, no escapes beyond the necessary."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def push(event, room, conn, data="null"):
    """The push of a publish by `conn`; `data` is raw JSON."""
    return f'{{"event":{compact(event)},"room":{compact(room)},"from":{{"conn":"{conn}"}},"data":{data}}}'


def bye(code, reconnect):
    return compact({"event": "$bye", "data": {"code": code, "reconnect": reconnect, "after_ms": 0}})


def check_error(text, head, code, secret=None):
    """`text` is the error frame with this head and code, and its message does not repeat `secret`."""
    frame = json.loads(text)
    error = frame.get("error", {})
    message = error.get("message")
    wanted = {"code": code, "message": message}
    if "details" in error:
        wanted["details"] = check_details(error["details"], message)
    equal(text, compact({**head, "error": wanted}), "an error frame")
    holds(isinstance(message, str) and message, f"an error needs a message: {text}")
    holds(secret is None or secret not in message, f"an error repeats what was refused: {message}")


def check_details(details, message):
    """The limit in an error's details is a number, and equals the number in its message, if any."""
    limit = details.get("limit")
    same = str(limit) in message or not re.search(r"\d", message)
    holds(isinstance(limit, int) and same, f"{details} must have the limit of: {message}")
    return details


def check_problem(answer, status, code=None):
    """The answer is a problem document with this status, its members in order."""
    equal(answer.status, status, f"the status; the body was {show(answer.text)}")
    kind = answer.headers.get("content-type", "").split(";")[0]
    equal(kind, "application/problem+json", f"the content type of {show(answer.text)}")
    body = json.loads(answer.text)
    members = ["type", "title", "status", "detail", "code"]
    if "details" in body:
        members.append("details")
        holds(isinstance(body["details"]["limit"], int), f"a limit in {answer.text}")
    equal(list(body), members, "the members of the problem")
    equal((body["type"], body["status"]), ("about:blank", status), "the problem")
    for member in ("title", "detail", "code"):
        holds(isinstance(body[member], str) and body[member], f"`{member}` in {answer.text}")
    if code is not None:
        equal(body["code"], code, "the problem's code")
    return body


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.text = response.read().decode()


class Api:
    """The HTTP API of the server at a port of this machine."""

    def __init__(self, port, key=None, host="127.0.0.1", tls=False):
        self.connection = http.client.HTTPSConnection if tls else http.client.HTTPConnection
        self.host, self.port, self.key = host, port, key

    def call(self, method, path, body=None, headers=None):
        headers = dict(headers or {})
        if self.key and "Authorization" not in headers:
            headers["Authorization"] = f"Bearer {self.key}"
        if body is not None and not isinstance(body, (str, bytes)):
            body = compact(body)
        if isinstance(body, str):
            body = body.encode()
        connection = self.connection(self.host, self.port, timeout=DEADLINE_S)
        try:
            connection.request(method, path, body=body, headers=headers)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def json(self, path):
        answer = self.call("GET", path)
        equal(answer.status, 200, f"GET {path}: {show(answer.text)}")
        return json.loads(answer.text)

    def gives(self, method, path, expected, body=None, headers=None):
        answer = self.call(method, path, body, headers)
        equal(f"{answer.status} {answer.text}", f"200 {expected}", f"{method} {path}")

    def refuses(self, method, path, status, body=None, headers=None, code=None):
        try:
            return check_problem(self.call(method, path, body, headers), status, code)
        except Failed as failure:
            raise Failed(f"{method} {path} {show(body or '')}: {failure}") from None

    def members(self, room, namespace="default"):
        """The number of members of a room."""
        answer = self.call("GET", f"/api/v1/{namespace}/rooms/{room}")
        return json.loads(answer.text)["members"] if answer.status == 200 else 0

    def connections(self, namespace="default"):
        """The number of connections, at most 1,000."""
        return len(self.json(f"/api/v1/{namespace}/connections?limit=1000")["connections"])


def run(cases, wanted, workers=1):
    """Runs the cases (name -> function without arguments), prints a line for each; the exit code."""
    if unknown := [name for name in wanted if name not in cases]:
        print(f"no such case: {', '.join(unknown)}; there are: {', '.join(cases)}", file=sys.stderr)
        return 2
    chosen = {name: case for name, case in cases.items() if not wanted or name in wanted}
    failed = 0
    with ThreadPoolExecutor(workers) as pool:
        for name, outcome in zip(chosen, pool.map(outcome_of, chosen.values())):
            failed += outcome is not None
            print(f"ok {name}" if outcome is None else f"FAILED {name}: {outcome}", flush=True)
    print(f"{len(chosen) - failed} passed, {failed} failed")
    return 1 if failed else 0


def run_with_binary(parser, cases, prepare=lambda arguments: None):
    """Runs the cases (name -> function of the binary) as the arguments say; the exit code."""
    parser.add_argument("--binary", required=True, help="the roomcast binary")
    parser.add_argument("--workers", type=int, default=6, help="cases at one time")
    parser.add_argument("cases", nargs="*", metavar="CASE", help="only these")
    arguments = parser.parse_args()
    binary = os.path.abspath(arguments.binary)
    if not os.access(binary, os.X_OK):
        parser.error(f"--binary {binary} cannot be run")
    prepare(arguments)
    bound = {name: lambda case=case: case(binary) for name, case in cases.items()}
    return run(bound, arguments.cases, arguments.workers)


def outcome_of(case):
    """None when the case passed, otherwise why it did not."""
    try:
        case()
    except Failed as failure:
        return str(failure)
    except Exception as error:  # a fault of the case or a socket error: as much a failure
        where = traceback.extract_tb(error.__traceback__)
        line = next((f for f in reversed(where) if "/clients/" in f.filename), where[-1])
        return f"{type(error).__name__}: {error} ({line.name}, line {line.lineno})"
    return None
