"""Broken WebSocket framing, peers that flood, stop or vanish."""

import struct

from cases import DEADLINE_S, bye, compact, equal, holds, push, until
from raw_peer import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    WS_PING,
    WS_PONG,
    Ended,
    close_frame,
    frame,
)
from server_process import QUICK_CLOSE, fault

# A peer that has to answer a ping may be held up for seconds.
HEARTBEAT = ("--heartbeat-ms", "500", "--heartbeat-wait-ms", "5000", "--inbound-rate", "off")


def closes(server, code, *pieces):
    """After these bytes the close frame comes, alone, before the TCP connection ends."""
    peer = server.open()
    peer.flood(b"".join(pieces))
    peer.expect_close(code)


# Sizes.


@fault(*QUICK_CLOSE)
def declared_length_of_2_to_63_is_1009_and_takes_no_memory(server):
    before = server.memory_mib()
    for length in ((1 << 63) - 1, 1 << 62, 1 << 40, 1 << 32, (1 << 31) - 1):
        closes(server, 1009, frame(TEXT, b"", length=length))
    for length in (1 << 63, (1 << 64) - 1):
        # The highest bit of a length must be 0.
        closes(server, 1002, frame(TEXT, b"", length=length))
    closes(server, 1009, frame(TEXT, b"x" * 1000, length=1 << 62))
    growth = server.memory_peak_mib() - before
    holds(growth < 8, f"memory grew by {growth:.1f} MiB")


@fault(*QUICK_CLOSE)
def message_over_the_limit_is_1009_by_its_header(server):
    closes(server, 1009, frame(TEXT, b"", length=65_537))
    half = frame(TEXT, b"x" * 40_000, fin=False)
    closes(server, 1009, half, frame(CONTINUATION, b"", length=25_537, fin=False))
    peer = server.open()
    peer.ask(PING + " " * (65_536 - len(PING)), PONG)
    peer.write(frame(TEXT, PING, fin=False) + frame(CONTINUATION, b" " * (65_536 - len(PING))))
    peer.expect(PONG)


@fault(*QUICK_CLOSE)
def fragments_64_work_and_65_are_1008(server):
    peer = server.open()
    middle = frame(CONTINUATION, b"", fin=False)
    peer.write(frame(TEXT, PING, fin=False) + middle * 62 + frame(CONTINUATION))
    peer.expect(PONG)
    peer.flood(frame(TEXT, PING, fin=False) + middle * 63 + frame(CONTINUATION))
    peer.expect_close(1008)


@fault(*QUICK_CLOSE)
def a_million_empty_continuations_are_1008(server):
    before = server.memory_mib()
    closes(server, 1008, frame(TEXT, b"", fin=False), frame(CONTINUATION, b"", fin=False) * 1_000_000)
    growth = server.memory_peak_mib() - before
    holds(growth < 8, f"memory grew by {growth:.1f} MiB")


def trickle_until_closed(peer, piece):
    """Writes the piece again and again, slowly, until the server says something."""
    for _ in range(int(DEADLINE_S / 0.05)):
        try:
            peer.write(piece)
        except ConnectionError:
            return
        if peer.ended_after(0.05) or peer.buffer:
            return


@fault("--message-time-ms", "500", "--fragments-max", "100000")
def message_that_never_ends_is_1008(server):
    peer = server.open()
    peer.write(frame(TEXT, b"x", fin=False))
    trickle_until_closed(peer, frame(CONTINUATION, b"x", fin=False))
    peer.expect_close(1008)


@fault("--message-time-ms", "500", *QUICK_CLOSE)
def frame_that_never_ends_is_1008(server):
    peer = server.open()
    peer.write(frame(TEXT, b"x" * 10, length=10_000))
    trickle_until_closed(peer, b"x")
    peer.expect_close(1008)
    silent = server.open()
    silent.write(frame(TEXT, b"", length=10_000)[:3])
    silent.expect_close_frame(1008)


# Order and kind of frames.


@fault(*QUICK_CLOSE)
def control_frames_between_fragments_work(server):
    peer = server.open()
    peer.write(frame(TEXT, PING[:5], fin=False) + frame(WS_PING, b"a") + frame(CONTINUATION, b"", fin=False))
    equal(peer.next_frame(), (WS_PONG, b"a"), "the answer to a ping")
    peer.write(frame(WS_PONG, b"nobody asked") + frame(CONTINUATION, PING[5:]))
    peer.expect(PONG)
    peer.write(frame(WS_PING, b"x" * 125) + frame(WS_PING))
    equal(peer.next_frame(), (WS_PONG, b"x" * 125), "the answer to the largest ping")
    equal(peer.next_frame(), (WS_PONG, b""), "the answer to the smallest ping")
    peer.write(frame(TEXT, PING[:5], fin=False) + close_frame(1000))
    peer.expect_close_frame(1000)


@fault(*QUICK_CLOSE)
def a_length_that_is_longer_than_it_must_be_is_1002(server):
    for opcode in (TEXT, BINARY, CLOSE, WS_PING, WS_PONG):
        for payload in (b"", PING.encode(), b"x" * 125):
            for head in (bytes([0xFE]) + struct.pack("!H", len(payload)), bytes([0xFF]) + struct.pack("!Q", len(payload))):
                closes(server, 1002, bytes([0x80 | opcode]) + head + bytes(4) + payload)
    closes(server, 1002, bytes([0x81, 0xFF]) + struct.pack("!Q", 65_535) + bytes(4))
    closes(server, 1002, frame(TEXT, PING[:5], fin=False), bytes([0x80, 0xFE, 0, 9]) + bytes(4) + b"x" * 9)


@fault(*QUICK_CLOSE)
def oversize_ping_is_1002(server):
    closes(server, 1002, frame(WS_PING, b"x" * 126))
    closes(server, 1002, frame(WS_PONG, b"", length=1 << 63))
    closes(server, 1002, close_frame(1000, b"x" * 124))


@fault(*QUICK_CLOSE)
def fragmented_ping_is_1002(server):
    for opcode in (WS_PING, WS_PONG, CLOSE):
        closes(server, 1002, frame(opcode, b"\x03\xe8", fin=False))


@fault(*QUICK_CLOSE)
def reserved_opcode_is_1002(server):
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        closes(server, 1002, frame(opcode, PING))
    closes(server, 1002, frame(3, b"", fin=False))


@fault(*QUICK_CLOSE)
def reserved_bit_is_1002(server):
    for bits in (0b100, 0b010, 0b001, 0b111):
        closes(server, 1002, frame(TEXT, PING, rsv=bits))
        closes(server, 1002, frame(WS_PING, b"", rsv=bits))
    closes(server, 1002, frame(TEXT, PING[:5], fin=False), frame(CONTINUATION, PING[5:], rsv=0b100))


@fault(*QUICK_CLOSE)
def unmasked_frame_is_1002(server):
    closes(server, 1002, frame(TEXT, PING, masked=False))
    closes(server, 1002, frame(WS_PING, b"", masked=False))
    closes(server, 1002, frame(CLOSE, b"\x03\xe8", masked=False))


@fault(*QUICK_CLOSE)
def continuation_of_nothing_is_1002(server):
    closes(server, 1002, frame(CONTINUATION, PING))
    closes(server, 1002, frame(CONTINUATION, b"", fin=False))
    closes(server, 1002, frame(TEXT, b"{}", fin=False), frame(TEXT, b"{}"))
    closes(server, 1002, frame(TEXT, b"{}", fin=False), frame(BINARY, b"{}", fin=False))


@fault(*QUICK_CLOSE)
def binary_message_is_1003(server):
    for pieces in ([frame(BINARY, PING)], [frame(BINARY)], [frame(BINARY, b"a", fin=False), frame(CONTINUATION, b"b")]):
        closes(server, 1003, *pieces)


@fault(*QUICK_CLOSE)
def what_came_before_a_broken_frame_is_answered(server):
    peer = server.open()
    peer.write(frame(TEXT, '{"event":"$rooms","id":1}') + frame(TEXT, PING) + frame(3, b""))
    peer.expect_close(1002, '{"event":"$rooms","id":1,"data":[]}', PONG)


# Text.

BAD_UTF8 = {
    "a byte that is none": b"\xff",
    "a lone continuation": b"\x80",
    "overlong": b"\xc0\xaf",
    "a surrogate": b"\xed\xa0\x80",
    "above U+10FFFF": b"\xf4\x90\x80\x80",
    "a cut sequence": b"\xe2\x82",
}


@fault(*QUICK_CLOSE)
def bad_utf8_in_every_position_is_1007(server):
    for bad in BAD_UTF8.values():
        for before, after in ((b"", b""), (b"", b"x" * 20), (b'{"event":"', b'"}'), (b"\xe2\x82\xac" * 9, b"")):
            closes(server, 1007, frame(TEXT, before + bad + after))


@fault(*QUICK_CLOSE)
def bad_utf8_split_over_fragments_is_1007(server):
    for bad in BAD_UTF8.values():
        text = b'{"a":"' + bad + b'"}'
        pieces = [frame(TEXT, text[:1], fin=False)]
        pieces += [frame(CONTINUATION, text[at : at + 1], fin=False) for at in range(1, len(text) - 1)]
        closes(server, 1007, *pieces, frame(CONTINUATION, text[-1:]))
    peer = server.open()
    peer.write(frame(TEXT, b'{"event":"$rooms","id":"\xe2', fin=False) + frame(CONTINUATION, b"\x82", fin=False))
    peer.write(frame(CONTINUATION, b'\xac"}'))
    peer.expect('{"event":"$rooms","id":"€","data":[]}')


@fault(*QUICK_CLOSE)
def utf8_incomplete_at_the_end_is_1007(server):
    closes(server, 1007, frame(TEXT, b'{"event":"\xf0\x9f\x8e'))
    closes(server, 1007, frame(TEXT, b"\xf0\x9f", fin=False), frame(CONTINUATION, b"\x8e"))


# Closing.


@fault(*QUICK_CLOSE)
def bad_close_codes_are_1002(server):
    for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
        closes(server, 1002, close_frame(code))
    closes(server, 1002, frame(CLOSE, b"\x03"))
    closes(server, 1007, close_frame(1000, b"\xff"))


@fault(*QUICK_CLOSE)
def good_close_codes_are_echoed(server):
    for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999):
        peer = server.open()
        peer.write(close_frame(code, "bye é".encode()))
        peer.expect_close_frame(code)
        equal(peer.read_to_end(), b"", "what came after the echoed close frame")
    empty = server.open()
    empty.write(close_frame())
    opcode, payload = empty.next_frame()
    holds(opcode == CLOSE and payload in (b"", b"\x03\xe8"), f"an empty close was answered by {opcode} {payload!r}")
    equal(empty.read_to_end(), b"", "what came after the close frame")


@fault(*QUICK_CLOSE)
def data_after_close_is_ignored(server):
    member, peer = server.open(), server.open()
    member.join("r")
    peer.join("r")
    late = frame(TEXT, '{"event":"late","room":"r","id":1}') + frame(WS_PING, b"late") + frame(3, b"")
    peer.flood(frame(TEXT, '{"event":"e","room":"r"}') + close_frame(1000) + late * 100)
    peer.expect_close_frame(1000)
    equal(peer.read_to_end(), b"", "what came after the close frame")
    member.expect(push("e", "r", peer.conn))
    until(lambda: server.api.members("r") == 1, "the member to be gone")
    member.nothing_more()


@fault("--close-wait-ms", "60000", "--inbound-rate", "1", "--inbound-burst", "1")
def our_close_frame_once_answered_ends_the_tcp_connection(server):
    removed = server.open()
    server.api.gives("DELETE", f"/api/v1/default/connections/{removed.conn}", '{"disconnected":1}')
    removed.expect_close(4410, bye(4410, False))
    closes(server, 1003, frame(BINARY, b"x"))
    closes(server, 1007, frame(TEXT, b"\xff"))
    closes(server, 1008, frame(TEXT, b"", fin=False), frame(CONTINUATION, b"", fin=False) * 64)
    peer = server.open()
    peer.flood(frame(TEXT, PING) * 200)
    while "$bye" not in peer.next():
        pass
    peer.expect_close(4429)


@fault("--close-wait-ms", "60000")
def framing_fault_does_not_keep_the_tcp_connection(server):
    # A client that waits for the server to end TCP, as RFC 6455 says, must not wait for nothing.
    closes(server, 1002, frame(3, b""))
    closes(server, 1009, frame(TEXT, b"x" * 70_000))


@fault(*QUICK_CLOSE)
def peer_silent_after_our_close_is_ended(server):
    peer = server.open()
    server.api.gives("DELETE", f"/api/v1/default/connections/{peer.conn}", '{"disconnected":1}')
    peer.expect(bye(4410, False))
    peer.expect_close_frame(4410)
    equal(peer.read_to_end(), b"", "what came after the close frame")


@fault(*QUICK_CLOSE)
def peer_that_talks_on_after_our_close_is_ended(server):
    member, peer = server.open(), server.open()
    member.join("r")
    server.api.gives("DELETE", f"/api/v1/default/connections/{peer.conn}", '{"disconnected":1}')
    holds(peer.write_blindly(frame(TEXT, '{"event":"late","room":"r"}')), "the connection must end")
    peer.expect(bye(4410, False))
    peer.expect_close_frame(4410)
    member.nothing_more()


# Floods and silence.


@fault(*QUICK_CLOSE)
def ping_flood_without_reading_is_closed(server):
    witness, peer = server.open(), server.open()
    before = server.memory_mib()
    holds(peer.write_blindly(frame(WS_PING, b"x" * 125) * 500), "the connection must end")
    growth = server.memory_peak_mib() - before
    holds(growth < 12, f"memory grew by {growth:.1f} MiB")
    try:
        peer.answers_pings = False
        peer.expect(bye(4429, True))
        peer.expect_close_frame(4429)
    except Ended:
        pass  # a reset may overtake what we did not read
    witness.nothing_more()


@fault("--control-rate", "off", "--write-stall-ms", "500", *QUICK_CLOSE)
def ping_flood_without_a_rate_is_bounded_by_the_outbox(server):
    witness, peer = server.open(), server.open(receive_buffer=4096)
    before = server.memory_mib()
    holds(peer.write_blindly(frame(WS_PING, b"x" * 125) * 500), "the connection must end")
    growth = server.memory_peak_mib() - before
    holds(growth < 12, f"memory grew by {growth:.1f} MiB")
    witness.nothing_more()


@fault("--control-rate", "5")
def pings_over_the_control_rate_close_with_4429(server):
    peer = server.open()
    peer.flood(frame(WS_PING, b"p") * 1000)
    opcode, payload = peer.next_frame()
    while opcode == WS_PONG:
        equal(payload, b"p", "a pong")
        opcode, payload = peer.next_frame()
    equal((opcode, payload.decode()), (TEXT, bye(4429, True)), "the frame after the pongs")
    peer.expect_close(4429)


@fault(*HEARTBEAT)
def half_open_is_4408_and_members_see_it_leave(server):
    member, silent = server.open(), server.open()
    silent.answers_pings = False
    for peer in (member, silent):
        peer.join("r")

    def gone():
        member.nothing_more()
        return server.api.members("r") == 1

    until(gone, "the silent member to be gone")
    equal(server.api.connections(), 1, "the connections that are left")
    silent.expect(bye(4408, True))
    silent.expect_close_frame(4408)
    member.nothing_more()


@fault(*HEARTBEAT)
def a_pong_is_a_sign_of_life(server):
    peer = server.open()
    for _ in range(4):
        opcode, payload = peer.next_frame()
        equal(opcode, WS_PING, "the frame that a silent connection gets")
        peer.write(frame(WS_PONG, payload))
    peer.nothing_more()


@fault(*HEARTBEAT, "--message-time-ms", "60000")
def any_byte_is_a_sign_of_life(server):
    peer = server.open()
    peer.answers_pings = False
    message = frame(TEXT, PING + " " * 50)
    holds(len(message) * 0.1 > 6, "the message must take longer than a silent peer may stay")
    for byte in message:
        peer.write(bytes([byte]))
        holds(not peer.ended_after(0.1), "the connection must not end while bytes arrive")
    peer.expect(PONG)


@fault("--heartbeat-ms", "off")
def without_a_heartbeat_the_welcome_says_0(server):
    peer = server.open()
    holds('"heartbeat_ms":0,' in peer.welcome, f"heartbeat_ms must be 0 in {peer.welcome}")


@fault(*QUICK_CLOSE)
def reset_in_the_middle_of_a_frame_is_one_leave(server):
    member = server.open()
    member.join("r")
    for cut in (1, 3, 7, 100, 5000):
        peer = server.open()
        peer.join("r")
        peer.write(frame(TEXT, compact({"event": "e", "room": "r", "data": "x" * 9000}))[:cut])
        peer.reset()
        until(lambda: server.api.members("r") == 1, "the member to be gone")
        equal(server.api.connections(), 1, "the connections that are left")
    member.publish("r", reached=0)
    member.nothing_more()


@fault(*QUICK_CLOSE)
def end_of_tcp_without_a_close_frame_is_one_leave(server):
    member = server.open()
    member.join("r")
    peer = server.open()
    peer.join("r")
    peer.write(struct.pack("!B", 0x81))
    peer.end()
    until(lambda: server.api.members("r") == 1, "the member to be gone")
    member.publish("r", reached=0)
