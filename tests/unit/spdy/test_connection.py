"""What a connection does with calls and with frames."""

from __future__ import annotations

import struct
import tracemalloc
import zlib

import pytest

from criadapt.spdy import (
    Connection,
    DataReceived,
    Event,
    GoAwayStatus,
    GoneAway,
    PingAnswered,
    ProtocolError,
    ResetStatus,
    Role,
    StreamEnded,
    StreamOpened,
    StreamReplied,
    StreamReset,
    frames,
)
from criadapt.spdy.dictionary import DICTIONARY
from criadapt.spdy.frames import FIN, UNIDIRECTIONAL, Kind
from criadapt.spdy.headers import Compressor

RST = "80030003 00000008"
GOAWAY = "80030007 00000008"


def sent(connection: Connection) -> bytes:
    return b"".join(connection.data_to_send())


def server(streams: int = 0, **options: int) -> tuple[Connection, Compressor]:
    """A server and what its client compresses with, after the client opened some streams and the server agreed."""
    connection, compressor = Connection(Role.SERVER, **options), Compressor()
    for number in range(streams):
        connection.receive_data(frames.syn_stream(2 * number + 1, compressor.block({})))
        connection.reply(2 * number + 1)
    connection.data_to_send()
    return connection, compressor


def feed(connection: Connection, data: bytes, size: int) -> None:
    for at in range(0, len(data), size):
        assert connection.receive_data(data[at : at + size]) == []


def exchange(one: Connection, other: Connection) -> tuple[list[Event], list[Event]]:
    """Carry bytes until both are silent; what each was told."""
    told: tuple[list[Event], list[Event]] = ([], [])
    while True:
        there, back = sent(one), sent(other)
        if not there and not back:
            return told
        told[1].extend(other.receive_data(there))
        told[0].extend(one.receive_data(back))


# ---------------------------------------------------------------------- opening


def test_an_opened_stream_looks_on_the_wire_as_go_expects_it() -> None:
    client = Connection(Role.CLIENT)
    assert client.open_stream({"streamtype": "error"}) == 1
    data = sent(client)
    assert data[:4] == bytes.fromhex("80030001")
    assert data[4] == 0
    assert int.from_bytes(data[5:8], "big") == len(data) - 8
    assert data[8:18] == bytes.fromhex("00000001 00000000 00 00")
    assert data[18:24] == bytes.fromhex("78f9e3c6a7c2")
    assert data[-4:] == bytes.fromhex("0000ffff")
    plain = zlib.decompressobj(15, zdict=DICTIONARY).decompress(data[18:])
    assert plain == b"\0\0\0\1\0\0\0\x0astreamtype\0\0\0\5error"


def test_an_empty_reply_is_28_bytes_the_first_time() -> None:
    connection = Connection(Role.SERVER)
    connection.receive_data(frames.syn_stream(1, Compressor().block({})))
    connection.reply(1)
    reply = sent(connection)
    assert len(reply) == 28
    assert reply[:18] == bytes.fromhex("80030002 00000014 00000001 78f9e3c6a7c2")


def test_streams_are_odd_from_a_client_and_even_from_a_server() -> None:
    client, served = Connection(Role.CLIENT), Connection(Role.SERVER)
    assert [client.open_stream({}) for _ in range(3)] == [1, 3, 5]
    assert [served.open_stream({}) for _ in range(3)] == [2, 4, 6]
    there, back = exchange(client, served)
    assert there == [StreamOpened(2, {}), StreamOpened(4, {}), StreamOpened(6, {})]
    assert back == [StreamOpened(1, {}), StreamOpened(3, {}), StreamOpened(5, {})]
    assert client.streams == served.streams == {1, 2, 3, 4, 5, 6}


def test_headers_travel_both_ways() -> None:
    client, served = Connection(Role.CLIENT), Connection(Role.SERVER)
    client.open_stream({"streamtype": "data", "Port": "80"})
    assert served.receive_data(sent(client)) == [StreamOpened(1, {"streamtype": "data", "port": "80"})]
    served.reply(1, {"x": "y"})
    assert client.receive_data(sent(served)) == [StreamReplied(1, {"x": "y"})]


def test_headers_that_cannot_be_sent_open_nothing() -> None:
    client = Connection(Role.CLIENT)
    with pytest.raises(UnicodeEncodeError):
        client.open_stream({"name": "日本"})
    assert (client.streams, sent(client), client.open_stream({})) == (frozenset(), b"", 1)


def test_a_stream_may_end_with_the_frame_that_opens_it() -> None:
    connection = Connection(Role.SERVER)
    events = connection.receive_data(frames.syn_stream(1, Compressor().block({}), FIN))
    assert events == [StreamOpened(1, {}), StreamEnded(1)]
    connection.end_stream(1)
    assert connection.streams == frozenset()


def test_a_stream_may_end_with_the_reply() -> None:
    client = Connection(Role.CLIENT)
    client.open_stream({})
    assert client.receive_data(frames.syn_reply(1, Compressor().block({}), FIN)) == [
        StreamReplied(1, {}),
        StreamEnded(1),
    ]


def test_on_a_stream_of_one_direction_nothing_is_sent_back() -> None:
    connection, compressor = server()
    assert connection.receive_data(frames.syn_stream(1, compressor.block({}), UNIDIRECTIONAL)) == [StreamOpened(1, {})]
    connection.send_data(1, b"x", fin=True)
    assert sent(connection) == b""
    assert connection.receive_data(frames.data_head(1, 0, FIN)) == [StreamEnded(1)]
    assert connection.streams == frozenset()


def test_a_stream_of_one_direction_that_ends_at_once_is_gone() -> None:
    connection, compressor = server()
    events = connection.receive_data(frames.syn_stream(1, compressor.block({}), UNIDIRECTIONAL | FIN))
    assert events == [StreamOpened(1, {}), StreamEnded(1)]
    assert connection.streams == frozenset()


@pytest.mark.parametrize("number", [1, 3])
def test_a_number_used_before_is_a_protocol_error_of_the_stream_alone(number: int) -> None:
    connection, compressor = server(streams=2)
    assert connection.receive_data(frames.syn_stream(number, compressor.block({"a": "b"}))) == []
    assert sent(connection) == bytes.fromhex(f"{RST} {number:08x} 00000001")
    assert connection.receive_data(frames.syn_stream(5, compressor.block({"a": "b"}))) == [StreamOpened(5, {"a": "b"})]
    assert connection.receive_data(frames.data_head(1, 2) + b"on") == [DataReceived(1, b"on")]


@pytest.mark.parametrize("number", [0, 2, 0x7FFFFFFE])
def test_a_number_that_is_not_the_peers_to_give_is_refused(number: int) -> None:
    connection, compressor = server()
    assert connection.receive_data(frames.syn_stream(number, compressor.block({}))) == []
    assert sent(connection) == bytes.fromhex(f"{RST} {number:08x} 00000001")
    assert connection.open_stream({}) == 2
    assert connection.receive_data(frames.syn_stream(1, compressor.block({}))) == [StreamOpened(1, {})]


def test_a_peer_cannot_take_a_number_before_its_owner_does() -> None:
    client = Connection(Role.CLIENT)
    client.receive_data(frames.syn_stream(1, Compressor().block({})))
    assert client.streams == frozenset()
    assert client.open_stream({}) == 1
    client.send_data(1, b"x")
    assert sent(client).endswith(b"\0\0\0\1\0\0\0\1x")


def test_too_many_streams_are_refused_and_the_rest_go_on() -> None:
    connection, compressor = server(streams=2, max_streams=2)
    assert connection.receive_data(frames.syn_stream(5, compressor.block({}))) == []
    assert sent(connection) == bytes.fromhex(f"{RST} 00000005 00000003")
    assert connection.receive_data(frames.data_head(5, 4) + b"lost") == []
    connection.reset_stream(1)
    assert connection.receive_data(frames.syn_stream(7, compressor.block({}))) == [StreamOpened(7, {})]


def test_by_default_256_streams_may_be_open() -> None:
    connection, compressor = server(streams=256)
    assert connection.receive_data(frames.syn_stream(513, compressor.block({}))) == []
    assert sent(connection) == bytes.fromhex(f"{RST} 00000201 00000003")


def test_replies_to_streams_that_are_not_ours_are_ignored() -> None:
    connection, compressor = server(streams=1)
    assert connection.receive_data(frames.syn_reply(1, compressor.block({}), FIN)) == []
    assert connection.receive_data(frames.syn_reply(2, compressor.block({}))) == []
    assert connection.receive_data(frames.data_head(1, 1) + b"x") == [DataReceived(1, b"x")]


# ---------------------------------------------------------------------- data


def test_data_before_the_reply_is_delivered() -> None:
    client, served = Connection(Role.CLIENT), Connection(Role.SERVER)
    client.open_stream({})
    client.send_data(1, b"early", fin=True)
    assert served.receive_data(sent(client)) == [StreamOpened(1, {}), DataReceived(1, b"early"), StreamEnded(1)]
    served.send_data(1, b"early too")
    served.reply(1)
    assert client.receive_data(sent(served)) == [DataReceived(1, b"early too"), StreamReplied(1, {})]


def test_a_half_closed_stream_carries_data_the_other_way_until_it_ends_there_too() -> None:
    client, served = Connection(Role.CLIENT), Connection(Role.SERVER)
    client.open_stream({})
    served.receive_data(sent(client))
    client.end_stream(1)
    assert sent(client) == bytes.fromhex("00000001 01000000")
    client.send_data(1, b"too late")
    client.end_stream(1)
    assert sent(client) == b""
    assert served.receive_data(bytes.fromhex("00000001 01000000")) == [StreamEnded(1)]
    assert served.streams == {1}
    served.send_data(1, b"answer", fin=True)
    assert served.streams == frozenset()
    assert client.receive_data(sent(served)) == [DataReceived(1, b"answer"), StreamEnded(1)]
    assert client.streams == frozenset()


def test_data_behind_the_end_is_dropped() -> None:
    connection, _ = server(streams=1)
    assert connection.receive_data(frames.data_head(1, 0, FIN)) == [StreamEnded(1)]
    assert connection.receive_data(frames.data_head(1, 1) + b"x" + frames.data_head(1, 1, FIN) + b"y") == []
    assert connection.receive_data(frames.data_head(1, 0, FIN)) == []
    assert connection.streams == {1}


def test_data_of_unknown_streams_is_dropped() -> None:
    connection, _ = server(streams=1)
    junk = frames.data_head(9, 300, FIN) + bytes(300) + frames.data_head(0, 1) + b"x" + frames.data_head(9, 0, FIN)
    assert connection.receive_data(junk + frames.data_head(1, 2) + b"ok") == [DataReceived(1, b"ok")]


def test_flags_of_data_that_nobody_knows_are_ignored() -> None:
    connection, _ = server(streams=1)
    assert connection.receive_data(frames.data_head(1, 1, 0xFE) + b"x") == [DataReceived(1, b"x")]


def test_data_is_delivered_as_it_arrives() -> None:
    connection, _ = server(streams=1)
    assert connection.receive_data(frames.data_head(1, 6, FIN)) == []
    assert connection.receive_data(b"ab") == [DataReceived(1, b"ab")]
    assert connection.receive_data(b"c") == [DataReceived(1, b"c")]
    assert connection.receive_data(b"def") == [DataReceived(1, b"def"), StreamEnded(1)]


def test_the_largest_data_frame_is_never_collected() -> None:
    connection, _ = server(streams=1)
    piece = bytes(64 * 1024)
    left = 0xFFFFFF
    connection.receive_data(frames.data_head(1, left))
    tracemalloc.start()
    try:
        while left:
            events = connection.receive_data(piece[:left])
            assert events == [DataReceived(1, piece[:left])]
            left -= len(piece[:left])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 512 * 1024
    assert connection.receive_data(frames.ping(1)) == []


def test_what_was_received_does_not_change_with_the_buffer() -> None:
    connection, _ = server(streams=1)
    buffer = bytearray(frames.data_head(1, 3) + b"abc")
    events = connection.receive_data(buffer)  # type: ignore[arg-type]
    buffer[:] = bytes(len(buffer))
    assert events == [DataReceived(1, b"abc")]


def test_data_is_sent_uncopied() -> None:
    connection, _ = server(streams=1)
    data = bytes(64 * 1024)
    connection.send_data(1, data)
    head, payload = connection.data_to_send()
    assert head == bytes.fromhex("00000001 00010000")
    assert payload is data
    assert connection.data_to_send() == []


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_large_data_is_split_without_a_copy(kind: type) -> None:
    connection, _ = server(streams=1)
    data = kind(bytes(range(256)) * 513)  # 131,328 bytes
    connection.send_data(1, data, fin=True)
    pieces = connection.data_to_send()
    assert pieces[::2] == [
        bytes.fromhex("00000001 00010000"),
        bytes.fromhex("00000001 00010000"),
        bytes.fromhex("00000001 01000100"),
    ]
    original = data.obj if isinstance(data, memoryview) else data
    assert all(isinstance(piece, memoryview) and piece.obj is original for piece in pieces[1::2])
    assert b"".join(pieces[1::2]) == data


@pytest.mark.parametrize("size", [64 * 1024, 128 * 1024])
def test_the_last_piece_ends_the_stream_and_no_other(size: int) -> None:
    connection, _ = server(streams=1)
    connection.send_data(1, bytes(size), fin=True)
    flags = [head[4] for head in connection.data_to_send()[::2]]
    assert flags == [0] * (len(flags) - 1) + [FIN]
    assert len(flags) == size // (64 * 1024)


# ---------------------------------------------------------------------- reset


def test_a_reset_ends_both_directions() -> None:
    client, served = Connection(Role.CLIENT), Connection(Role.SERVER)
    client.open_stream({})
    served.receive_data(sent(client))
    served.reset_stream(1)
    data = sent(served)
    assert data == bytes.fromhex(f"{RST} 00000001 00000005")
    assert client.receive_data(data) == [StreamReset(1, ResetStatus.CANCEL)]
    assert client.streams == served.streams == frozenset()
    assert client.receive_data(data) == []


@pytest.mark.parametrize(("number", "status"), [(0, 0), (11, ResetStatus.FRAME_TOO_LARGE), (12, 12), (2**32 - 1,) * 2])
def test_a_status_without_a_name_stays_a_number(number: int, status: int) -> None:
    connection, _ = server(streams=1)
    (event,) = connection.receive_data(frames.rst_stream(1, number))
    assert event == StreamReset(1, status)
    assert isinstance(event, StreamReset)
    assert type(event.status) is type(status)


def test_data_of_a_stream_given_up_is_passed_over() -> None:
    connection, _ = server(streams=2)
    assert connection.receive_data(frames.data_head(1, 10, FIN) + b"begin") == [DataReceived(1, b"begin")]
    connection.reset_stream(1, ResetStatus.INTERNAL_ERROR)
    assert sent(connection) == bytes.fromhex(f"{RST} 00000001 00000006")
    assert connection.receive_data(b"never" + frames.data_head(3, 1) + b"x") == [DataReceived(3, b"x")]


def test_calls_on_streams_that_have_gone_do_nothing() -> None:
    connection, _ = server(streams=1)
    connection.receive_data(frames.rst_stream(1, 5))
    for stream in (0, 1, 2, 99):
        connection.reply(stream)
        connection.send_data(stream, b"x", fin=True)
        connection.send_data(stream, bytes(100_000))
        connection.end_stream(stream)
        connection.reset_stream(stream)
    assert connection.data_to_send() == []


# ---------------------------------------------------------------------- ping, goaway, what is skipped


def test_pings_are_numbered_like_streams_and_echoed() -> None:
    client, served = Connection(Role.CLIENT), Connection(Role.SERVER)
    assert [client.ping(), client.ping()] == [1, 3]
    assert [served.ping(), served.ping()] == [2, 4]
    there = sent(client)
    assert there == bytes.fromhex("80030006 00000004 00000001 80030006 00000004 00000003")
    sent_by_server = sent(served)
    assert served.receive_data(there) == []
    assert sent(served) == there
    assert client.receive_data(there) == [PingAnswered(1), PingAnswered(3)]
    assert sent(client) == b""
    assert client.receive_data(sent_by_server) == []
    assert served.receive_data(sent(client)) == [PingAnswered(2), PingAnswered(4)]


def test_after_goaway_no_stream_is_taken_and_the_open_ones_go_on() -> None:
    connection, compressor = server(streams=2)
    connection.go_away()
    assert sent(connection) == bytes.fromhex(f"{GOAWAY} 00000003 00000000")
    assert connection.receive_data(frames.syn_stream(5, compressor.block({"a": "b"}))) == []
    assert connection.receive_data(frames.data_head(5, 1) + b"x") == []
    assert sent(connection) == b""
    assert connection.streams == {1, 3}
    connection.send_data(1, b"on")
    assert sent(connection) == frames.data_head(1, 2) + b"on"
    assert connection.receive_data(frames.data_head(1, 2) + b"on") == [DataReceived(1, b"on")]
    # What nobody wanted has gone through the decompressor all the same.
    assert connection.receive_data(frames.syn_reply(2, compressor.block({"a": "b"}))) == []


def test_goaway_is_sent_once() -> None:
    connection, _ = server()
    connection.go_away(GoAwayStatus.INTERNAL_ERROR)
    connection.go_away()
    assert sent(connection) == bytes.fromhex(f"{GOAWAY} 00000000 00000002")


def test_the_peers_goaway_is_told() -> None:
    connection, _ = server()
    assert connection.receive_data(frames.go_away(4, 0)) == [GoneAway(4, GoAwayStatus.OK)]
    assert connection.receive_data(frames.go_away(4, 77)) == [GoneAway(4, 77)]
    assert not connection.closed


def test_the_end_of_a_go_server_is_understood() -> None:
    client = Connection(Role.CLIENT)
    for kind in ("error", "stdin", "stdout"):
        client.open_stream({"streamtype": kind})
    data = frames.data_head(5, 4) + b"out\n" + frames.data_head(5, 0, FIN)
    data += frames.data_head(1, 20) + b'{"status":"Success"}'
    data += frames.rst_stream(3, 5) + frames.rst_stream(1, 5) + frames.rst_stream(5, 5) + frames.go_away(5, 0)
    assert client.receive_data(data) == [
        DataReceived(5, b"out\n"),
        StreamEnded(5),
        DataReceived(1, b'{"status":"Success"}'),
        StreamReset(3, ResetStatus.CANCEL),
        StreamReset(1, ResetStatus.CANCEL),
        StreamReset(5, ResetStatus.CANCEL),
        GoneAway(5, GoAwayStatus.OK),
    ]
    assert client.streams == frozenset()


SKIPPED = [Kind.SETTINGS, Kind.WINDOW_UPDATE, 0, 5, 10, 0xFFFF]


def control(kind: int, payload: bytes, flags: int = 0, version: int = 3) -> bytes:
    return struct.pack(">HHI", 0x8000 | version, kind, flags << 24 | len(payload)) + payload


@pytest.mark.parametrize("kind", SKIPPED)
@pytest.mark.parametrize("size", [0, 1, 8, 70_000])
def test_frames_of_no_use_are_skipped(kind: int, size: int) -> None:
    connection, _ = server(streams=1)
    data = control(kind, b"\xff" * size, flags=1) + frames.data_head(1, 1) + b"x"
    assert connection.receive_data(data) == [DataReceived(1, b"x")]
    assert sent(connection) == b""


def test_the_largest_settings_frame_takes_no_memory() -> None:
    connection, _ = server(streams=1)
    piece, left = b"\xff" * 64 * 1024, 0xFFFFFF
    connection.receive_data(struct.pack(">HHI", 0x8003, Kind.SETTINGS, left))
    tracemalloc.start()
    try:
        while left:
            assert connection.receive_data(piece[:left]) == []
            left -= len(piece[:left])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 256 * 1024
    assert connection.receive_data(frames.data_head(1, 1) + b"x") == [DataReceived(1, b"x")]


def test_headers_of_a_stream_are_of_no_use_but_compression_goes_on_from_them() -> None:
    connection, compressor = server(streams=1)
    headers = {"streamtype": "data", "anything": "at all"}
    data = control(Kind.HEADERS, b"\0\0\0\1" + compressor.block(headers))
    data += control(Kind.HEADERS, b"\0\0\0\x63" + compressor.block({}))
    assert connection.receive_data(data + frames.syn_stream(3, compressor.block(headers))) == [StreamOpened(3, headers)]


# ---------------------------------------------------------------------- broken peers


def block(content: bytes, flush: int = zlib.Z_SYNC_FLUSH) -> bytes:
    stream = zlib.compressobj(9, zlib.DEFLATED, 15, zdict=DICTIONARY)
    return stream.compress(content) + stream.flush(flush)


BROKEN = {
    "version 2": control(Kind.PING, b"\0\0\0\1", version=2),
    "version 4 of a type to be skipped": control(Kind.SETTINGS, b"\0\0\0\0", version=4),
    "all bits set": b"\xff" * 100,
    "control frame too long": struct.pack(">HHI", 0x8003, Kind.SYN_STREAM, 64 * 1024 + 1),
    "ping too long by far": struct.pack(">HHI", 0x8003, Kind.PING, 0xFFFFFF),
    "rst of 7": control(Kind.RST_STREAM, bytes(7)),
    "rst of 9": control(Kind.RST_STREAM, bytes(9)),
    "rst of 0": control(Kind.RST_STREAM, b""),
    "ping of 3": control(Kind.PING, bytes(3)),
    "ping of 8": control(Kind.PING, bytes(8)),
    "goaway of 4": control(Kind.GOAWAY, bytes(4)),
    "goaway of 12": control(Kind.GOAWAY, bytes(12)),
    "syn_stream of 9": control(Kind.SYN_STREAM, bytes(9)),
    "syn_stream without headers": control(Kind.SYN_STREAM, bytes(10)),
    "syn_reply of 3": control(Kind.SYN_REPLY, bytes(3)),
    "headers of 0": control(Kind.HEADERS, b""),
    "headers that are no zlib": frames.syn_stream(1, b"garbage!"),
    "zip bomb": frames.syn_stream(1, block(b"\0\0\0\1\0\0\0\1a\0\x10\0\0" + bytes(0x100000))),
    "zip bomb for nobody": frames.syn_reply(9, block(b"\0\0\0\1\0\0\0\1a\0\x10\0\0" + bytes(0x100000))),
    "101 headers": frames.syn_stream(1, block(b"\0\0\0\x65" + b"".join(b"\0\0\0\1%c\0\0\0\0" % n for n in range(101)))),
    "name cut off": frames.syn_stream(1, block(b"\0\0\0\1\0\0\0\4abc")),
    "value cut off": frames.syn_stream(1, block(b"\0\0\0\1\0\0\0\1a\0\0\0\2b")),
    "a header twice": frames.syn_stream(1, block(b"\0\0\0\2" + b"\0\0\0\1a\0\0\0\0" * 2)),
    "upper case": frames.syn_stream(1, block(b"\0\0\0\1" + b"\0\0\0\1A\0\0\0\0")),
    "trailing bytes": frames.syn_stream(1, block(b"\0\0\0\0more")),
    "compression ended": frames.syn_stream(1, block(b"\0\0\0\0", zlib.Z_FINISH)),
    "bytes behind compression": frames.syn_stream(1, block(b"\0\0\0\0", zlib.Z_FINISH) + b"x"),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("pieces", [False, True])
def test_a_peer_that_breaks_the_protocol_is_told_and_heard_no_more(data: bytes, pieces: bool) -> None:
    connection = Connection(Role.SERVER)
    with pytest.raises(ProtocolError):
        feed(connection, data, 1 if pieces else len(data))
    assert sent(connection) == bytes.fromhex(f"{GOAWAY} 00000000 00000001")
    assert connection.closed
    for more in (b"", frames.ping(1), data):
        with pytest.raises(ProtocolError, match="failed before"):
            connection.receive_data(more)
    assert sent(connection) == b""


def test_a_header_block_of_the_largest_size_is_read() -> None:
    connection = Connection(Role.SERVER)
    value = "v" * (64 * 1024 - 4 - 4 - 1 - 4)
    assert connection.receive_data(frames.syn_stream(1, Compressor().block({"a": value}))) == [
        StreamOpened(1, {"a": value})
    ]


def test_the_length_is_judged_before_the_payload_is_there() -> None:
    connection = Connection(Role.SERVER)
    with pytest.raises(ProtocolError, match="65537 bytes"):
        connection.receive_data(BROKEN["control frame too long"])


def test_after_a_goaway_a_failure_sends_no_second_one() -> None:
    connection, _ = server()
    connection.go_away()
    sent(connection)
    with pytest.raises(ProtocolError):
        connection.receive_data(BROKEN["ping of 3"])
    assert sent(connection) == b""


def test_nothing_received_means_nothing() -> None:
    connection, _ = server()
    assert connection.receive_data(b"") == []
    assert not connection.closed
