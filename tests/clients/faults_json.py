"""Text that is not an envelope, or hides something in one."""

import json

from cases import compact, equal, every, holds, push
from raw_peer import TEXT, frame
from server_process import QUICK_CLOSE, fault

FAST = ("--inbound-rate", "off", "--inbound-bytes-rate", "off", *QUICK_CLOSE)
NOTHING = {"event": "$error"}


def nested(depth, inner=""):
    return "[" * depth + inner + "]" * depth


def all_refused(server, code, cases):
    """Each text gets one error addressed by its head; then the connection works as before."""
    peer = server.open()
    for text, head in cases:
        peer.refused(text, head, code)
    peer.nothing_more()


def passes(peer, text, data, event="e"):
    """The text, an echoed publish to `r`, comes back with this payload."""
    peer.ask(text, push(event, "r", peer.conn, data))


@fault(*FAST)
def depth_of_100000_is_1009(server):
    for text in (nested(100_000), '{"event":"e","x":' + nested(100_000) + "}", "[" * 100_000):
        peer = server.open()
        peer.flood(frame(TEXT, text))
        peer.expect_close(1009)


@fault(*FAST)
def depth_of_30000_in_the_envelope_is_bad_envelope(server):
    deep = nested(30_000)
    objects = '{"event":' * 6000 + "1" + "}" * 6000
    all_refused(server, "bad_envelope", [
        (deep, NOTHING),
        ("[" * 60_000, NOTHING),
        ("{" * 60_000, NOTHING),
        (objects, NOTHING),
        (f'{{"event":{deep},"id":1}}', {**NOTHING, "id": 1}),
        (f'{{"event":"e","id":{deep}}}', {"event": "e"}),
        (f'{{"event":"e","id":1,"room":{deep}}}', {"event": "e", "id": 1}),
        (f'{{"event":"e","id":1,"echo":{deep}}}', {"event": "e", "id": 1}),
    ])  # fmt: skip


@fault(*FAST)
def depth_in_an_ignored_member_is_ignored(server):
    peer = server.open()
    peer.join("r")
    for deep in (nested(30_000), '{"a":' * 9000 + "1" + "}" * 9000):
        passes(peer, f'{{"x":{deep},"event":"e","room":"r","echo":true}}', "null")
    peer.refused('{"event":"e","x":' + "[" * 30_000 + "}", NOTHING, "bad_envelope")
    peer.nothing_more()


@fault(*FAST)
def depth_in_the_payload_is_bad_payload(server):
    peer, other = server.open(), server.open()
    for each in (peer, other):
        each.join("r")
    for deep in (nested(65), nested(30_000), '{"a":' * 65 + "1" + "}" * 65, "[" + nested(64, "1") + "]"):
        head = {"event": "e", "id": 1, "room": "r"}
        peer.refused(f'{{"event":"e","id":1,"room":"r","data":{deep}}}', head, "bad_payload")
    for fine in (nested(64), '"' + "[" * 1000 + '"', "[" + "[]," * 500 + "[]]", '{"a":' * 64 + "1" + "}" * 64):
        peer.send(f'{{"event":"e","room":"r","data":{fine}}}')
        other.expect(push("e", "r", peer.conn, fine))
    peer.nothing_more()


@fault(*FAST)
def duplicate_members_are_bad_envelope(server):
    peer = server.open()

    def refused(text):
        # Which of the members can be read of such a text is left open.
        peer.send(text)
        answer = json.loads(peer.next())
        holds("error" in answer, f"it was taken: {answer}")
        equal(
            (answer["event"] in ("e", "$error"), answer["error"]["code"]),
            (True, "bad_envelope"),
            f"the answer {answer}",
        )
        message = answer["error"]["message"]
        holds("repeated" in message or "twice" in message, f"the message must say what is wrong: {message}")

    every(refused, [
        '{"event":"e","event":"e"}',
        '{"event":"e","room":"r","room":"r"}',
        '{"event":"e","room":"r","room":null}',
        '{"event":"e","id":1,"id":2}',
        '{"event":"e","id":null,"id":2}',
        '{"event":"e","room":"r","data":1,"data":2}',
        '{"event":"e","room":"r","data":null,"data":null}',
        '{"event":"e","room":"r","echo":true,"echo":true}',
        '{"event":"e","room":"r","\\u0072oom":"q"}',
    ])  # fmt: skip
    peer.nothing_more()
    peer.join("r")
    passes(peer, '{"event":"e","room":"r","echo":true,"x":1,"x":2,"data":{"a":1,"a":2}}', '{"a":1,"a":2}')
    passes(peer, '{"event":"e","room":"r","echo":true,"Room":"q","EVENT":"f"}', "null")


@fault(*FAST)
def numbers_that_are_no_ids_are_bad_envelope(server):
    ids = ["18446744073709551616", "18446744073709551615", "9007199254740992", "-9007199254740992", "1e3", "1.0", "-0.5",
           "1e999", "-1e999", "1" * 5000, "true", "{}", "[1]", compact("x" * 65), compact("é" * 33)]  # fmt: skip
    all_refused(
        server, "bad_envelope", [(f'{{"event":"e","room":"r","id":{id}}}', {"event": "e", "room": "r"}) for id in ids]
    )
    peer = server.open()
    for id in ("9007199254740991", "-9007199254740991", "0", compact("x" * 64), compact("é" * 32), '""'):
        peer.ask(
            f'{{"event":"e","room":"r","id":{id}}}', f'{{"event":"e","id":{id},"room":"r","data":{{"reached":0}}}}'
        )


@fault(*FAST)
def numbers_in_the_payload_pass_as_they_are(server):
    peer = server.open()
    peer.join("r")
    for number in ("1e999", "-1e999", "18446744073709551616", "0.1e-9999", "1" * 5000, "-0", "1E5", "9007199254740993"):
        passes(peer, f'{{"event":"e","room":"r","echo":true,"data":{number}}}', number)


@fault(*FAST)
def what_only_looks_like_json_is_bad_envelope(server):
    texts = ["NaN", '{"event":"e","data":NaN}', '{"event":"e","data":-Infinity}', '{"event":"e","data":01}', '{"event":"e","data":+1}',
             '{"event":"e","data":.5}', '{"event":"e","data":1.}', '{"event":"e","data":0x10}', '\ufeff{"event":"e"}',
             '{"event":"e"}\ufeff', "{'event':'e'}", "{event:1}", '{"event":"e",}', '{"event":"e"} // x',
             '{"event":"e"}{}',
             '{"event":"e"}\x00', '{"event":"a\x00b"}', '{"event":"a\tb"}', '{"event":"\\x41"}', '{"event":"\\u00"}',
             '{"event":"e","data":"\\ud8"}', '{"event":"e","data":[1}}', '{"event":"e","data":tru}', '{"event" "e"}',
             '{"event":"e"', '{"event":"e","data":"', "{", "\u00a0{}"]  # fmt: skip
    all_refused(server, "bad_envelope", [(text, NOTHING) for text in texts])


@fault(*FAST)
def what_is_no_object_is_bad_envelope(server):
    texts = [
        "",
        " ",
        "\n",
        "null",
        "true",
        "0",
        '"e"',
        "[]",
        '["e",1,"r",true,1]',
        '[{"event":"e"}]',
        "{}",
        '{"data":{"event":"e"}}',
    ]
    all_refused(server, "bad_envelope", [(text, NOTHING) for text in texts])


@fault(*FAST)
def lone_surrogates_are_refused(server):
    payloads = [
        '"\\ud800"',
        '"\\udfff"',
        '"\\ud83d\\ud83d\\ude00"',
        '"\\ud83dx"',
        '"\\ud83d\\n"',
        '{"\\ud800":1}',
        '["\\uD83D"]',
    ]
    head = {"event": "e", "id": 1, "room": "r"}
    peer = server.open()
    for data in payloads:
        peer.refused(f'{{"event":"e","id":1,"room":"r","data":{data}}}', head, "bad_payload")
    peer.refused('{"event":"\\ud800","id":1}', {**NOTHING, "id": 1}, "bad_envelope")
    peer.refused('{"event":"e","id":"\\ud800"}', {"event": "e"}, "bad_envelope")
    peer.refused('{"event":"e","id":1,"room":"\\ud800"}', {"event": "e", "id": 1}, "bad_envelope")
    peer.join("r")
    for data in ('"\\ud83d\\ude00"', '"\\\\ud800"', '"\\u0000\\u001f"'):
        passes(peer, f'{{"event":"e","room":"r","echo":true,"data":{data}}}', data)


BAD_ROOMS = [
    "",
    "a\u0000b",
    "a\nb",
    "\t",
    "\u001f",
    "\u007f",
    "\u0080",
    "\u0085",
    "\u009f",
    "x" * 201,
    "é" * 101,
    "🎲" * 51,
    "x" * 60_000,
]
GOOD_ROOMS = ["__proto__", "constructor", "toString", "\u202egnol", "\u200f\u05d0", "\u2066a\u2069", " ", "x" * 200, "é" * 100, "🎲" * 50,
              "a/b/../c", "%00", "*", "\u2028", "$room", "\ufeff", "\ufffd"]  # fmt: skip


@fault(*FAST)
def room_names_that_are_malformed_are_bad_room(server):
    for event in ("e", "$join", "$leave"):
        head = {"event": event, "id": 1}
        all_refused(server, "bad_room", [({**head, "room": room}, head) for room in BAD_ROOMS])
    all_refused(server, "bad_room", [('{"event":"e","id":1,"room":"a\\u0000b"}', {"event": "e", "id": 1})])
    equal(server.api.json("/api/v1/default/rooms"), {"rooms": []}, "the rooms that refused joins left behind")


@fault(*FAST)
def room_names_that_look_dangerous_are_names(server):
    peer = server.open()
    for room in GOOD_ROOMS:
        peer.join(room)
        peer.ask({"event": "e", "room": room, "echo": True}, push("e", room, peer.conn))
    rooms = sorted(GOOD_ROOMS, key=lambda room: room.encode())
    peer.ask('{"event":"$rooms"}', compact({"event": "$rooms", "data": rooms}))
    listed = server.api.json("/api/v1/default/rooms?limit=1000")["rooms"]
    equal([row["room"] for row in listed], rooms, "the rooms in the API")
    for room in GOOD_ROOMS:
        peer.ask({"event": "$leave", "room": room}, compact({"event": "$leave", "room": room, "data": {"was": True}}))


@fault(*FAST)
def event_of_128_bytes_works_and_of_129_is_bad_envelope(server):
    peer = server.open()
    peer.join("r")
    for event in ("x", "x" * 128, "é" * 64, "__proto__", "a\nb\u0000", " ", '"\\'):
        peer.ask({"event": event, "room": "r", "echo": True}, push(event, "r", peer.conn))
    for event in ("", "x" * 129, "é" * 64 + "x", "x" * 60_000, "$" + "x" * 128):
        peer.refused({"event": event, "id": 1}, {**NOTHING, "id": 1}, "bad_envelope")
    peer.refused({"event": "$" + "x" * 127, "id": 1}, {"event": "$" + "x" * 127, "id": 1}, "unknown_verb")


@fault(*FAST)
def unknown_verbs_are_unknown_verb(server):
    events = [
        "$",
        "$$join",
        "$JOIN",
        "$join ",
        "$auth",
        "$bye",
        "$welcome",
        "$error",
        "$\u0000",
    ]
    all_refused(
        server,
        "unknown_verb",
        [({"event": event, "id": 1, "room": "r"}, {"event": event, "id": 1, "room": "r"}) for event in events],
    )


@fault(*FAST)
def members_of_the_wrong_type_are_bad_envelope(server):
    wrong = {
        "event": ["1", "null", "true", "[]", "{}"],
        "id": ["1.5", "true", "[]", "{}"],
        "room": ["1", "false", '["r"]', '{"room":"r"}'],
        "echo": ["1", "0", '"true"', "[]", "{}"],
    }
    cases = []
    for member, values in wrong.items():
        for value in values:
            raw = {"event": '"e"', "id": "7", member: value}
            text = "{" + ",".join(f'"{name}":{raw_value}' for name, raw_value in raw.items()) + "}"
            head = {"event": "$error" if member == "event" else "e"}
            cases.append((text, head if member == "id" else {**head, "id": 7}))
    all_refused(server, "bad_envelope", cases)


@fault(*FAST)
def data_of_the_wrong_type_for_a_verb_is_bad_payload(server):
    shapes = ["1", '"since"', "true", "[]", '[{"since":1}]', '{"since":1}', '{"since":[]}', '{"since":{"offset":1}}',
              '{"since":{"epoch":null,"offset":1}}', '{"since":{"epoch":"e","offset":1e999}}',
              '{"since":{"epoch":"e","offset":18446744073709551616}}']  # fmt: skip
    head = {"event": "$join", "id": 1, "room": "r"}
    cases = [(f'{{"event":"$join","id":1,"room":"r","data":{shape}}}', head) for shape in shapes]
    all_refused(server, "bad_payload", cases)
    equal(server.api.members("r"), 0, "the members that refused joins left behind")


@fault(*FAST)
def a_reused_id_gets_an_answer_each_time(server):
    peer = server.open()
    peer.write(frame(TEXT, '{"event":"$rooms","id":1}') * 50 + frame(TEXT, '{"event":"nobody","id":1}'))
    peer.expect(*['{"event":"$rooms","id":1,"data":[]}'] * 50)
    error = peer.next()
    holds(error.startswith('{"event":"nobody","id":1,"error":{"code":"unknown_event",'), error)


@fault(*FAST)
def refusals_never_repeat_what_was_refused(server):
    secret = "classified"
    peer = server.open()
    for text, head, code in [
        (secret, NOTHING, "bad_envelope"),
        (f'{{"event":["{secret}"]}}', NOTHING, "bad_envelope"),
        (f'{{"event":"e","id":["{secret}"]}}', {"event": "e"}, "bad_envelope"),
        (f'{{"event":"e","room":"{secret}\\n"}}', {"event": "e"}, "bad_room"),
        (f'{{"event":"$join","room":"r","data":"{secret}"}}', {"event": "$join", "room": "r"}, "bad_payload"),
        (f'{{"event":"e","data":"{secret}"}}', {"event": "e"}, "unknown_event"),
    ]:
        peer.refused(text, head, code, secret)
    holds(not any(secret in line for line in server.log), "the log must not show a payload")
