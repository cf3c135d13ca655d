"""Clients that ask for too much, too fast, or read too slowly."""

import json
import select
import socket
from concurrent.futures import ThreadPoolExecutor

from cases import bye, check_error, compact, equal, holds, push, until
from raw_peer import TEXT, Peer, frame, upgrade_request
from server_process import fault

FAST = ("--inbound-rate", "off", "--inbound-bytes-rate", "off")


@fault(*FAST)
def joining_one_room_10000_times_is_one_membership(server):
    peer, other = server.open(), server.open()
    epoch = compact(peer.join("r"))
    before = server.memory_mib()
    ask = frame(TEXT, '{"event":"$join","id":1,"room":"r"}')
    answer = f'{{"event":"$join","id":1,"room":"r","data":{{"epoch":{epoch},"offset":0,"already":true}}}}'
    for _ in range(20):
        peer.flood(ask * 500)
        peer.expect(*[answer] * 500)
    equal(server.api.members("r"), 1, "the members")
    other.publish("r", reached=1)
    peer.expect(push("e", "r", other.conn))
    peer.ask('{"event":"$leave","room":"r"}', '{"event":"$leave","room":"r","data":{"was":true}}')
    equal(server.api.members("r"), 0, "the members after one leave")
    growth = server.memory_mib() - before
    holds(growth < 8, f"memory grew by {growth:.1f} MiB")


@fault(*FAST)
def five_thousand_joins_and_leaves_are_answered_in_order(server):
    member, peer = server.open(), server.open()
    epoch = compact(member.join("r"))
    pair = frame(TEXT, '{"event":"$join","room":"r"}') + frame(TEXT, '{"event":"$leave","room":"r"}')
    answers = [
        f'{{"event":"$join","room":"r","data":{{"epoch":{epoch},"offset":0,"already":false}}}}',
        '{"event":"$leave","room":"r","data":{"was":true}}',
    ]
    for _ in range(10):
        peer.flood(pair * 500)
        peer.expect(*answers * 500)
    equal(server.api.members("r"), 1, "the members")
    member.nothing_more()


@fault(*FAST)
def room_129_is_room_limit(server):
    peer = server.open()
    for number in range(128):
        peer.join(f"room {number}")
    one_more = {"event": "$join", "id": 1, "room": "one more"}
    peer.refused(one_more, one_more, "room_limit")
    equal(peer.join("room 5") is not None, True, "joining again at the limit")
    path = f"/api/v1/default/rooms/one%20more/members/{peer.conn}"
    server.api.refuses("PUT", path, 409, code="room_limit")
    equal(server.api.members("one%20more"), 0, "the members that refused joins left behind")
    peer.ask('{"event":"$leave","room":"room 0"}', '{"event":"$leave","room":"room 0","data":{"was":true}}')
    peer.join("one more")


@fault(*FAST, "--rooms-per-connection-max", "4000")
def rooms_created_and_dropped_again_and_again_take_no_memory(server):
    peer = server.open()
    joins = [frame(TEXT, f'{{"event":"$join","room":"a room with a long name {n}"}}') for n in range(4000)]
    leaves = [frame(TEXT, f'{{"event":"$leave","room":"a room with a long name {n}"}}') for n in range(4000)]
    after_round = []
    for _ in range(5):
        for asks in (joins, leaves):
            for at in range(0, len(asks), 500):
                peer.flood(b"".join(asks[at : at + 500]))
                for _ in range(500):
                    peer.next()
        equal(server.api.json("/api/v1/default/rooms"), {"rooms": []}, "the rooms that are left")
        after_round.append(server.memory_mib())
    holds(after_round[-1] <= after_round[1] * 1.05 + 0.5, f"memory after each round: {after_round} MiB")


def flood_takes_no_memory(server, data):
    """Clients that write these bytes until they block, and read nothing, are closed."""
    witness = server.open()
    peers = [server.open(f"/ws/flooded-{number % 4}", receive_buffer=4096) for number in range(12)]
    before = server.memory_mib()
    with ThreadPoolExecutor(len(peers)) as pool:
        ended = list(pool.map(lambda peer: peer.write_blindly(data), peers))
    growth = server.memory_peak_mib() - before
    # Each has an outbox of 1 MiB at most.
    holds(growth < 32, f"memory grew by {growth:.0f} MiB")
    equal(ended, [True] * len(peers), "which connections ended")
    witness.nothing_more()


@fault("--close-wait-ms", "1500")
def message_flood_without_reading_takes_no_memory(server):
    flood_takes_no_memory(server, frame(TEXT, "x") * 5000)


@fault(*FAST, "--close-wait-ms", "1500", "--write-stall-ms", "1000")
def message_flood_without_a_rate_is_bounded_by_the_outbox(server):
    flood_takes_no_memory(server, frame(TEXT, '{"event":"$rooms","id":1}') * 2000)


@fault("--inbound-rate", "50", "--inbound-burst", "100")
def too_many_messages_are_rate_limited_then_4429(server):
    member, peer = server.open(), server.open()
    member.join("r")
    peer.flood(b"".join(frame(TEXT, f'{{"event":"e","id":{n},"room":"r","data":{n}}}') for n in range(1000)))
    passed, refused = [], []
    while True:
        text = peer.next()
        answer = json.loads(text)
        if answer["event"] == "$bye":
            break
        number = answer["id"]
        if "data" in answer:
            equal(text, f'{{"event":"e","id":{number},"room":"r","data":{{"reached":1}}}}', "an answer")
            passed.append(number)
        else:
            check_error(text, {"event": "e", "id": number, "room": "r"}, "rate_limited")
            equal(answer["error"]["details"]["limit"], 50, "the rate in the details")
            refused.append(number)
    equal(text, bye(4429, True), "the last frame")
    peer.expect_close(4429)
    equal(sorted(passed + refused), list(range(len(passed) + len(refused))), "each message is answered once")
    equal(passed[:100], list(range(100)), "what the burst lets pass")
    holds(100 <= len(refused) <= 200, f"100 refusals and one more for each second, these were {len(refused)}")
    member.expect(*[push("e", "r", peer.conn, str(number)) for number in passed])
    member.nothing_more()


def bytes_are_rate_limited(server):
    peer = server.open()
    # So many that some are refused even if the server pauses for seconds while it reads.
    peer.flood(frame(TEXT, compact({"event": "e", "id": 1, "room": "r", "data": "x" * 60_000})) * 40)
    answers = [json.loads(peer.next()) for _ in range(40)]
    holds(all("data" in answer for answer in answers[:4]), f"the burst of 256 KiB must pass: {answers}")
    codes = [answer["error"]["code"] for answer in answers if "error" in answer]
    holds(codes and set(codes) == {"rate_limited"}, f"something must be rate_limited: {answers}")


@fault("--inbound-rate", "1000", "--inbound-burst", "1000")
def too_many_bytes_are_rate_limited(server):
    bytes_are_rate_limited(server)


@fault("--inbound-rate", "off", "--inbound-bytes-rate", "262144")
def too_many_bytes_without_a_message_rate_are_rate_limited(server):
    bytes_are_rate_limited(server)


@fault()
def the_welcome_tells_the_limits(server):
    peer = server.open()
    limits = {"message_bytes": 65536, "rooms_per_connection": 128, "room_name_bytes": 200,
              "inbound_messages_per_s": 50, "inbound_burst_messages": 100}  # fmt: skip
    data = {"conn": peer.conn, "user": "", "heartbeat_ms": 25000, "limits": limits}
    equal(peer.welcome, compact({"event": "$welcome", "data": data}), "$welcome")


def crowd(server, count):
    """Members of the room `crowd`, and one that has a small receive buffer and does not read."""
    members = [server.open() for _ in range(count)]
    slow = server.open(receive_buffer=4096)
    for member in [*members, slow]:
        member.join("crowd")
    return members, slow


def received_in_order(slow, conn):
    """Checks that the slow reader got the first messages without a gap; gives their number, and `$bye`."""
    count = 0
    while True:
        text = slow.next()
        if f'"from":{{"conn":"{conn}"}},"data":"' not in text:
            return count, text
        number = text[text.index('"data":"') + 8 :].partition(" ")[0]
        equal(number, str(count), "the number of the next message at the slow reader")
        count += 1


@fault(*FAST, "--outbox-bytes-max", "262144", "--write-stall-ms", "60000", "--close-wait-ms", "60000")
def slow_reader_among_50_is_4409_and_others_get_everything(server):
    members, slow = crowd(server, 49)
    publisher = server.open()
    before = server.memory_mib()
    filling, number = "x" * 8000, 0
    while server.api.members("crowd") == 50:
        holds(number < 4000, "32 MB must be more than the outbox and the socket buffers hold")
        batch = [f'"{n} {filling}"' for n in range(number, number + 16)]
        for data in batch:
            publisher.write(frame(TEXT, f'{{"event":"e","room":"crowd","data":{data}}}'))
        expected = [push("e", "crowd", publisher.conn, data) for data in batch]
        for member in members:
            member.expect(*expected)
            member.seen.clear()
        number += len(batch)
    growth = server.memory_peak_mib() - before
    holds(growth < 16, f"memory grew by {growth:.1f} MiB")
    equal(publisher.publish("crowd", '"last"'), 49, "the members that are left")
    for member in members:
        member.expect(push("e", "crowd", publisher.conn, '"last"'))
        member.nothing_more()
    count, last = received_in_order(slow, publisher.conn)
    holds(0 < count <= number, f"{count} messages of {number} at the slow reader")
    equal(last, bye(4409, True), "the frame after the messages")
    slow.expect_close(4409)


@fault(*FAST, "--outbox-bytes-max", "262144", "--write-stall-ms", "60000", "--close-wait-ms", "60000")
def slow_reader_gets_the_first_messages_and_no_later_one(server):
    publisher = server.open()
    data = "x" * 8000
    for _ in range(8):
        # Two rooms in turn, so consecutive messages have different recipients.
        readers, slow = {room: server.open() for room in ("even", "odd")}, server.open(receive_buffer=4096)
        for room, reader in readers.items():
            reader.join(room)
            slow.join(room)
        number = 0
        while server.api.members("even") == 2:
            holds(number < 8000, "64 MB must be more than the outbox and the socket buffers hold")
            batch = zip(("even", "odd") * 15, range(number, number + 30))
            publisher.flood(
                b"".join(frame(TEXT, f'{{"event":"e","room":"{room}","data":"{n} {data}"}}') for room, n in batch)
            )
            number += 30
            for reader in readers.values():
                for _ in range(15):
                    reader.next()
                reader.seen.clear()
        _, last = received_in_order(slow, publisher.conn)
        equal(last, bye(4409, True), "the frame after the messages")
        slow.expect_close(4409)
        for reader in readers.values():
            reader.end()
        until(lambda: server.api.connections() == 1, "the readers to be gone")


@fault(*FAST, "--outbox-bytes-max", "262144", "--room-name-bytes-max", "4000", "--write-stall-ms", "60000")
def slow_reader_of_its_own_large_answers_gets_whole_frames(server):
    for _ in range(4):
        slow = server.open(receive_buffer=4096)
        rooms = [f"{number:03}" + "x" * 3990 for number in range(10)]
        for room in rooms:
            slow.join(room)
        answer = compact({"event": "$rooms", "data": rooms})
        asked = 0
        while server.api.connections() == 1:
            holds(asked < 2000, "80 MB must be more than the outbox and the socket buffers hold")
            # Sent singly: each answer bypasses the queue while it is empty.
            slow.write(frame(TEXT, compact({"event": "$rooms"})))
            asked += 1
        while (text := slow.next()) == answer:
            pass
        equal(text, bye(4409, True), "the frame after the answers")
        slow.expect_close(4409)


@fault(*FAST, "--outbox-frames-max", "50", "--write-stall-ms", "60000")
def outbox_of_many_small_frames_is_4409(server):
    members, slow = crowd(server, 1)
    publisher = server.open()
    ask, number = frame(TEXT, '{"event":"e","room":"crowd","data":"' + "x" * 400 + '"}'), 0
    while server.api.members("crowd") == 2:
        holds(number < 100_000, "40 MB must be more than the outbox and the socket buffers hold")
        publisher.flood(ask * 20)
        for _ in range(20):
            members[0].next()
        members[0].seen.clear()
        number += 20


@fault(*FAST, "--write-stall-ms", "500", "--outbox-bytes-max", "67108864", "--outbox-frames-max", "1000000")
def write_without_progress_is_4409(server):
    (member,), slow = crowd(server, 1)
    publisher = server.open()
    ask, number = frame(TEXT, '{"event":"e","room":"crowd","data":"' + "x" * 8000 + '"}'), 0

    def queued():
        answer = server.api.call("GET", f"/api/v1/default/connections/{slow.conn}")
        # More than one batch, since bytes in flight do not count.
        return answer.status == 404 or json.loads(answer.text)["queued_bytes"] > 500_000

    while not queued():
        holds(number < 8000, "64 MB must be more than the socket buffers hold")
        publisher.flood(ask * 16)
        for _ in range(16):
            member.next()
        member.seen.clear()
        number += 16
    until(lambda: server.api.members("crowd") == 1, "the slow reader to be gone")
    publisher.publish("crowd", reached=1)


@fault(*FAST)
def slow_reader_that_catches_up_loses_nothing(server):
    (member,), slow = crowd(server, 1)
    publisher = server.open()
    expected = [push("e", "crowd", publisher.conn, f'"{n} {"x" * 1000}"') for n in range(500)]
    for number in range(500):
        publisher.send(f'{{"event":"e","room":"crowd","data":"{number} {"x" * 1000}"}}')
    for reader in (member, slow):
        reader.expect(*expected)
        reader.nothing_more()


@fault("--inbound-rate", "off")
def five_hundred_accepts_at_once_are_all_served(server):
    peers = [server.tcp(connect=False) for _ in range(500)]
    for peer in peers:
        peer.socket.setblocking(False)
        peer.socket.connect_ex(("127.0.0.1", server.port))
    for peer in peers:
        connected = select.poll()
        connected.register(peer.socket, select.POLLOUT)
        holds(connected.poll(20_000), "the TCP connection must be made")
        equal(peer.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), 0, "the error of connect")
        peer.socket.settimeout(20)
        peer.write(upgrade_request(server.port, extra=[("Sec-WebSocket-Protocol", "roomcast.v1")]))
    for peer in peers:
        peer.upgraded()
        peer.send({"event": "$join", "room": "r"})
    for peer in peers:
        peer.next()
    equal(len({peer.conn for peer in peers}), 500, "the ids")
    equal(server.api.members("r"), 500, "the members")
    equal(server.api.connections(), 500, "the connections")
    peers[0].publish("r", reached=499)
    for peer in peers[1:]:
        peer.expect(push("e", "r", peers[0].conn))


@fault("--handshake-time-ms", "60000", files_max=100)
def emfile_on_accept_does_not_spin_and_heals(server):
    early = server.open()
    silent = []
    for _ in range(200):
        # The kernel's backlog holds connections without a descriptor; beyond it, connects wait.
        peer = Peer(server.port, connect=False)
        peer.socket.settimeout(0.2)
        silent.append(peer)
        try:
            peer.socket.connect(("127.0.0.1", server.port))
        except (TimeoutError, ConnectionError):
            break
    share = server.cpu_share_over(1.0)
    holds(share < 0.2, f"a server without files used {share:.0%} of a core")
    early.nothing_more()
    for peer in silent:
        peer.end()

    def accepts():
        peer = server.tcp()
        try:
            peer.upgrade()
        except Exception:
            return False
        peer.nothing_more()
        return True

    until(accepts, "a connection to be accepted again")
    early.nothing_more()


@fault("--connections-max", "100000", files_max=100)
def connections_never_pass_the_limit_of_files(server):
    statuses = []
    for _ in range(60):
        peer = server.tcp()
        peer.write(upgrade_request(server.port))
        response = peer.response()
        statuses.append(response.status)
        if response.status == 503:
            holds("retry-after" in response.headers, "Retry-After must be there")
            peer.end()
    equal(set(statuses), {101, 503}, "the statuses")
    accepted = statuses.count(101)
    holds(accepted <= 36, f"100 files less 64 are 36 connections, {accepted} were accepted")
    equal(server.api.call("GET", "/healthz").status, 200, "/healthz of a full server")
