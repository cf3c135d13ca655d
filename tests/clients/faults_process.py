"""The process: wrong settings, the end, recording and replaying."""

import json
import os
import re
import socket
import struct
import tempfile

from cases import Api, compact, equal, every, holds, until
from raw_peer import CLOSE, TEXT, frame, upgrade_request
from server_process import Server, command, fault, fault_of_the_binary


def stops_at_once(binary, arguments, codes, *words, **env):
    """The binary must not start: in the time that `command` gives it, with one line that has the words."""
    done = command(binary, *arguments, **env)
    text = done.stderr.decode()
    what = f"{' '.join(arguments)} {env or ''}"
    holds(done.returncode in codes, f"{what}: exit code {done.returncode}, not one of {codes}: {text}")
    equal(len([line for line in text.splitlines() if line.strip()]), 1, f"{what}: lines on stderr ({text!r})")
    for word in words:
        holds(word in text, f"{what}: the line must name {word}: {text!r}")


@fault_of_the_binary
def bad_flag_values_exit_2_and_name_the_flag(binary):
    # With `=`, since a value may begin with a hyphen.
    every(lambda case: stops_at_once(binary, ["serve", "=".join(case)], [2], case[0]), [
        ("--listen", "nonsense"), ("--listen", "127.0.0.1"), ("--listen", "127.0.0.1:99999"),
        ("--threads", "0"), ("--threads", "x"), ("--allow-origin", "app.example.com"),
        ("--allow-origin", "https://app.example.com/path"),
        ("--allow-origin", "*"), ("--namespaces", "a b"), ("--namespaces", "a,,b"), ("--namespaces-max", "0"),
        ("--connections-max", "0"), ("--connections-max", "-1"), ("--inbound-rate", "fast"), ("--inbound-rate", "-5"),
        ("--inbound-burst", "0"), ("--message-bytes-max", "64k"), ("--fragments-max", "0"), ("--heartbeat-ms", "soon"),
        ("--heartbeat-ms", "0"), ("--handshake-time-ms", "5s"), ("--handshake-time-ms", "0"),
        ("--outbox-bytes-max", ""),
        ("--api-key", ""), ("--room-name-bytes-max", "1e3"), ("--close-wait-ms", "99999999999999999999"),
    ])  # fmt: skip


@fault_of_the_binary
def a_malformed_key_is_not_shown(binary):
    done = command(binary, "serve", "--api-key", "not a valid key")
    equal(done.returncode, 2, f"the exit code: {done.stderr.decode()}")
    holds("not a valid key" not in done.stderr.decode(), f"the message shows the key: {done.stderr.decode()!r}")


@fault_of_the_binary
def unknown_flags_and_commands_exit_2(binary):
    for arguments in (["serve", "--liste", "127.0.0.1:0"], ["--nonsense"], ["nonsense"]):
        done = command(binary, *arguments)
        equal(done.returncode, 2, f"the exit code of {arguments}: {done.stderr.decode()}")
        holds(arguments[-1] in done.stderr.decode() or "--liste" in done.stderr.decode(), "the message must name it")


@fault_of_the_binary
def bad_environment_values_exit_2_and_name_the_setting(binary):
    for name, value in [("ROOMCAST_LISTEN", "x"), ("ROOMCAST_HEARTBEAT_MS", "soon"), ("ROOMCAST_INBOUND_RATE", "x")]:
        flag = "--" + name.removeprefix("ROOMCAST_").lower().replace("_", "-")
        done = command(binary, "serve", **{name: value})
        text = done.stderr.decode()
        equal(done.returncode, 2, f"the exit code with {name}={value}: {text}")
        holds(flag in text or name in text, f"the message must name {flag} or {name}: {text!r}")


@fault_of_the_binary
def settings_come_from_the_environment_and_flags_win(binary):
    with Server(
        binary,
        "--rooms-per-connection-max",
        "7",
        ROOMCAST_ROOMS_PER_CONNECTION_MAX="5",
        ROOMCAST_ROOM_NAME_BYTES_MAX="9",
    ) as server:
        limits = json.loads(server.open().welcome)["data"]["limits"]
        equal((limits["rooms_per_connection"], limits["room_name_bytes"]), (7, 9), "the limits")


@fault_of_the_binary
def a_bad_file_of_policies_is_refused_with_its_line(binary):
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        for text, line, *words in [
            ('[[rooms]]\nmatch = "a"\nmtach = 1\n', 3, "mtach", "match"),
            ('[[rooms]]\nmatch = "a"\nhistory.age = 5\n', 3, "age", "age_s"),
            ('[[rooms]]\nmatch = "a"\noverflow = "drop"\n', 3, "drop", "drop-oldest"),
            ('[[rooms]]\n\nmatch = ""\n', 3, "1 to 256 bytes"),
            ('[[rooms]]\nmatch = "*"\n[[rooms]]\nmatch = "a"\n', 3, "never reached"),
        ]:
            file.seek(0)
            file.truncate()
            file.write(text)
            file.flush()
            stops_at_once(binary, ["serve", "--config", file.name], [2], "--config", f"{file.name}:{line}:", *words)
    stops_at_once(binary, ["serve", "--config", "/nonexistent"], [2], "--config", "/nonexistent")


@fault_of_the_binary
def listening_to_the_network_needs_a_key(binary):
    for address in ("0.0.0.0:0", "[::]:0"):
        stops_at_once(binary, ["serve", "--listen", address], [1, 2], "--api-key", "--insecure")


@fault_of_the_binary
def an_address_in_use_is_named(binary):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        stops_at_once(binary, ["serve", "--listen", address], [1, 2], "--listen")


@fault_of_the_binary
def a_record_folder_that_cannot_be_made_is_named(binary):
    with tempfile.NamedTemporaryFile() as file:
        for path in (file.name, os.path.join(file.name, "journal")):
            stops_at_once(binary, ["serve", "--listen", "127.0.0.1:0", "--record", path], [1, 2], "--record")


def says_goodbye(peer):
    """The rest of a client's session: `$bye` 1001 and a close frame."""
    text = peer.next()
    data = json.loads(text)["data"]
    after_ms = data["after_ms"]
    equal(text, compact({"event": "$bye", "data": {"code": 1001, "reconnect": True, "after_ms": after_ms}}), "$bye")
    holds(isinstance(after_ms, int) and 0 <= after_ms <= 300_000, f"after_ms: {after_ms}")
    peer.expect_close(1001)


@fault()
def sigterm_says_bye_and_exits_0(server):
    peers = [server.open(), server.open("/ws/other"), server.open(subprotocol=False)]
    peers[0].join("r")
    server.terminate()
    for peer in peers:
        says_goodbye(peer)
    equal(server.exit_code(), 0, "the exit code")


@fault_of_the_binary
def sigterm_right_after_the_upgrade_says_bye(binary):
    for _ in range(4):
        with Server(binary) as server:
            peers = [server.tcp() for _ in range(20)]
            for peer in peers:
                peer.write(upgrade_request(server.port))
            for peer in peers:
                peer.upgraded(subprotocol=False)
            server.terminate()
            for peer in peers:
                says_goodbye(peer)
            equal(server.exit_code(), 0, "the exit code")


@fault("--close-wait-ms", "500", "--handshake-time-ms", "60000", "--write-stall-ms", "60000", "--inbound-rate", "off",
       "--outbox-bytes-max", "67108864", "--outbox-frames-max", "1000000")  # fmt: skip
def sigterm_does_not_wait_for_the_silent(server):
    server.open()
    server.tcp()
    stuck = server.tcp()
    stuck.write(b"GET /ws HTT")
    reader, publisher = server.open(receive_buffer=4096), server.open()
    reader.join("r")
    message = frame(TEXT, compact({"event": "e", "room": "r", "data": "x" * 60_000}))
    while server.api.json(f"/api/v1/default/connections/{reader.conn}")["queued_bytes"] == 0:
        publisher.write(message * 8)
        publisher.nothing_more()
    server.terminate()
    equal(server.exit_code(), 0, "the exit code")


@fault("--close-wait-ms", "60000")
def sigterm_twice_ends_at_once(server):
    peer = server.open()
    server.terminate()
    while peer.next_frame()[0] != CLOSE:
        pass
    server.terminate()
    server.exit_code()


@fault("--inbound-rate", "off", "--inbound-bytes-rate", "off")
def sigterm_loses_no_accepted_publish(server):
    member, publisher = server.open(), server.open()
    member.join("r")
    publisher.flood(b"".join(frame(TEXT, f'{{"event":"e","id":{n},"room":"r","data":{n}}}') for n in range(300)))
    for number in range(100):
        publisher.expect(f'{{"event":"e","id":{number},"room":"r","data":{{"reached":1}}}}')
    server.terminate()
    answered = 100
    while (text := publisher.next()).startswith('{"event":"e"'):
        answered += 1
    delivered = 0
    while (text := member.next()).startswith('{"event":"e"'):
        holds(text.endswith(f'"data":{delivered}}}'), f"message {delivered} had to come, this did: {text}")
        delivered += 1
    holds(delivered >= answered, f"{answered} publishes were answered, {delivered} delivered")
    equal(server.exit_code(), 0, "the exit code")


@fault("--api-key", "key")
def readyz_is_200_while_serving(server):
    for path, text in (("/healthz", "ok"), ("/readyz", "ready")):
        answer = server.api.call("GET", path)
        equal((answer.status, answer.text.strip()), (200, text), path)
    holds("roomcast" in server.api.call("GET", "/metrics").text, "/metrics must have the server's metrics")


def recorded_session(server):
    """Clients that do every kind of thing; returns them by namespace."""
    ann, bob, eve, kim = (server.open() for _ in range(4))
    far, near = server.open("/ws/other"), server.open("/ws/other")
    for peer in (ann, bob, eve, far, near):
        peer.join("r")
        peer.nothing_more()
    api, path = Api(server.port, "key"), "/api/v1/default"
    for number, data in enumerate(['{ "b":1,\n\t"a":[1e999] }', '"é 🎲 \\ud83c\\udfb2"', "12345678901234567890"]):
        ann.send(f'{{"event":"said","id":{number},"room":"r","echo":true,"data":{data}}}')
        ann.next(), ann.next(), bob.next(), eve.next()
    far.publish("r", '"far"', reached=1)
    near.next()
    for bad in (
        "nonsense",
        '{"event":"$nothing","id":1}',
        '{"event":"e","room":""}',
        '{"event":"e"}',
        '{"event":"e","room":"r","data":"\\ud800"}',
    ):
        kim.send(bad)
        kim.next()
    answer = api.call("PUT", f"{path}/rooms/s/members/{kim.conn}")
    equal(answer.status, 200, f"the answer to PUT ({answer.text})")
    body = {"audience": {"all": True, "except_conns": [bob.conn]}, "event": "all", "data": {"n": 1}}
    for _ in range(2):
        api.gives("POST", f"{path}/send", '{"matched":3,"queued":3,"dropped":0}', body, {"Idempotency-Key": "once"})
    for peer in (ann, eve, kim):
        peer.expect('{"event":"all","data":{"n":1}}')
    api.gives("DELETE", f"{path}/rooms/r/members/{eve.conn}", '{"was":true}')
    ann.publish("r", "1", reached=1)
    bob.next()
    api.gives("DELETE", f"{path}/connections/{bob.conn}?code=4001&reason=out", '{"disconnected":1}')
    bob.next()
    bob.expect_close(4001)
    eve.write(frame(CLOSE, struct.pack("!H", 1000)))
    eve.expect_close_frame(1000)
    kim.flood(frame(TEXT, '{"event":"$rooms","id":1}') * 300)
    while "$bye" not in kim.next():
        pass
    kim.expect_close(4429)
    until(lambda: api.connections() == 1, "the others to be gone")
    ann.publish("r", "2", reached=0)
    server.terminate()
    for peer in (ann, far, near):
        says_goodbye(peer)
    equal(server.exit_code(), 0, "the exit code")
    return {"default": [ann, bob, eve, kim], "other": [far, near]}


def replayed_frames(output):
    """The frames that each connection of each namespace received, according to `replay`."""
    frames = {}
    for line in output.splitlines():
        match line.split("\t", 5):
            case [_, namespace, _, "send", conns, text]:
                for conn in conns.split(","):
                    frames.setdefault((namespace, conn), []).append(text)
    return frames


@fault_of_the_binary
def a_recorded_session_replays_to_the_same_bytes(binary):
    with tempfile.TemporaryDirectory() as directory:
        journal = os.path.join(directory, "journal")
        with Server(binary, "--api-key", "key", "--record", journal) as server:
            sessions = recorded_session(server)
        done = command(binary, "replay", journal)
        equal(done.returncode, 0, f"the exit code of replay ({done.stderr.decode()})")
        whole = done.stdout.decode()
        frames = replayed_frames(whole)
        for namespace, peers in sessions.items():
            for peer in peers:
                what = f"the frames of {peer.conn} in {namespace}"
                # One line each, in columns: line breaks and tabs, which can only be white space of a payload, are spaces.
                seen = [re.sub(r"[\n\r\t]", " ", text) for text in peer.seen]
                equal(frames.get((namespace, peer.conn)), seen, f"{what} in the whole replay")
                # Ids are given out per namespace.
                one = command(binary, "replay", "--namespace", namespace, "--conn", peer.conn, journal)
                equal(one.returncode, 0, f"the exit code of replay --conn ({one.stderr.decode()})")
                equal(one.stdout.decode(), "".join(f"{text}\n" for text in seen), f"{what} by replay --conn")
        for conn, code, reason in [
            (sessions["default"][1].conn, 4001, "out"),
            (sessions["default"][3].conn, 4429, None),
        ]:
            lines = [line.split("\t") for line in whole.splitlines()]
            closes = [line[4:] for line in lines if line[1] == "default" and line[3:5] == ["close", conn]]
            equal([line[1] for line in closes], [str(code)], f"the closes of {conn} in the replay")
            holds(reason is None or closes[0][2] == reason, f"the reason of the close: {closes}")
        equal(command(binary, "replay", journal).stdout.decode(), whole, "a second replay")


@fault_of_the_binary
def a_journal_cut_short_replays_what_is_whole(binary):
    with tempfile.TemporaryDirectory() as directory:
        journal = os.path.join(directory, "journal")
        with Server(binary, "--record", journal) as server:
            peer = server.open()
            peer.join("r")
            server.terminate()
            says_goodbye(peer)
            server.exit_code()
        one = command(binary, "replay", "--conn", peer.conn, journal)
        equal(one.stdout.decode(), "".join(f"{text}\n" for text in peer.seen), "the frames by replay --conn")
        (part,) = os.listdir(journal)
        part = os.path.join(journal, part)
        with open(part, "rb") as file:
            data = file.read()
        with open(part, "wb") as file:
            file.write(data[:-3])
        done = command(binary, "replay", journal)
        equal(done.returncode, 0, f"the exit code of a replay without the last line ({done.stderr.decode()})")
        frames = replayed_frames(done.stdout.decode()).get(("default", peer.conn), [])
        equal(frames, peer.seen[: len(frames)], "the frames that are left")
        holds(len(frames) >= 2, f"what is whole must be replayed: {frames}")
        holds(b"panicked" not in done.stderr, done.stderr.decode())


@fault_of_the_binary
def a_file_that_is_no_journal_is_named(binary):
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"\xff\x00nonsense\n")
        file.flush()
        for path in (file.name, file.name + ".missing"):
            done = command(binary, "replay", path)
            holds(done.returncode in (1, 2), f"the exit code {done.returncode}")
            text = done.stderr.decode()
            holds(text.strip() and "panicked" not in text, f"a line had to say what is wrong: {text!r}")
