"""WebSocket messages, and SPDY inside them, against websockets' own frames at the other end."""

from __future__ import annotations

import logging
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Close, CloseCode, Frame, Opcode
from websockets.protocol import CLIENT, SERVER, Protocol

from criadapt.remote.websocket import MAX_MESSAGE, Messages, Tunnel, accept_key
from criadapt.spdy import (
    Connection,
    DataReceived,
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
)

BINARY, TEXT, CONT, CLOSE, PING, PONG = (
    Opcode.BINARY,
    Opcode.TEXT,
    Opcode.CONT,
    Opcode.CLOSE,
    Opcode.PING,
    Opcode.PONG,
)


def peer_of(role: Role) -> Protocol:
    """An independent other end."""
    return Protocol(CLIENT if role is Role.SERVER else SERVER, max_size=None)


def said(peer: Protocol) -> bytes:
    return b"".join(peer.data_to_send())


def sent(end: Messages | Tunnel) -> bytes:
    return b"".join(end.data_to_send())


def heard(peer: Protocol, data: bytes) -> list[tuple[Opcode, bytes]]:
    """The frames in bytes of ours."""
    peer.receive_data(data)
    assert peer.parser_exc is None
    frames = peer.events_received()
    assert all(isinstance(frame, Frame) and frame.fin for frame in frames)
    return [(frame.opcode, bytes(frame.data)) for frame in frames if isinstance(frame, Frame)]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    marks = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[begin:end] for begin, end in pairwise(marks)]


def test_the_key_is_answered_as_in_the_rfc() -> None:
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


# ---------------------------------------------------------------------- messages


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
def test_a_message_of_ours_is_one_frame(role: Role, size: int) -> None:
    messages, peer = Messages(role), peer_of(role)
    messages.send(b"x" * size)
    messages.send(b"y" * size, text=True)
    assert heard(peer, sent(messages)) == [(BINARY, b"x" * size), (TEXT, b"y" * size)]
    assert sent(messages) == b""


def test_a_server_sends_plain_bytes_and_a_client_masks_them() -> None:
    server, client = Messages(Role.SERVER), Messages(Role.CLIENT)
    server.send(b"\x01out\n")
    assert sent(server) == b"\x82\x05\x01out\n"
    client.send(b"\x01out\n")
    data = sent(client)
    assert data[:2] == b"\x82\x85"
    assert bytes(byte ^ data[2 + at % 4] for at, byte in enumerate(data[6:])) == b"\x01out\n"


@pytest.mark.parametrize("role", Role)
def test_pieces_of_messages_are_told_one_by_one(role: Role) -> None:
    messages, peer = Messages(role), peer_of(role)
    peer.send_binary(b"a", fin=False)
    peer.send_ping(b"between")
    peer.send_continuation(b"", fin=False)
    peer.send_continuation(b"b", fin=True)
    peer.send_text(b"t")
    assert list(messages.receive(said(peer))) == [
        (BINARY, b"a", False),
        (CONT, b"", False),
        (CONT, b"b", True),
        (TEXT, b"t", True),
    ]
    assert heard(peer, sent(messages)) == [(PONG, b"between")]


@pytest.mark.parametrize("role", Role)
def test_pings_are_answered_and_pongs_are_not_told(role: Role) -> None:
    messages, peer = Messages(role), peer_of(role)
    peer.send_ping(b"are you there")
    peer.send_pong(b"unasked")
    assert list(messages.receive(said(peer))) == []
    messages.ping()
    assert heard(peer, sent(messages)) == [(PONG, b"are you there"), (PING, b"criadapt")]
    assert list(messages.receive(said(peer))) == []
    assert not messages.closed


@pytest.mark.parametrize("role", Role)
def test_a_close_is_answered_and_ends_all_sending(role: Role) -> None:
    messages, peer = Messages(role), peer_of(role)
    peer.send_close(1000, "done")
    assert list(messages.receive(said(peer))) == []
    assert messages.closed
    assert messages.close is not None
    assert (messages.close.code, messages.close.reason) == (1000, "done")
    assert heard(peer, sent(messages)) == [(CLOSE, b"\x03\xe8done")]
    messages.send(b"late")
    messages.ping()
    messages.go_away(GoAwayStatus.OK)
    assert sent(messages) == b""
    assert list(messages.receive(b"whatever comes")) == []


@pytest.mark.parametrize(
    ("status", "code"),
    [(GoAwayStatus.OK, 1000), (GoAwayStatus.PROTOCOL_ERROR, 1002), (GoAwayStatus.INTERNAL_ERROR, 1011)],
)
@pytest.mark.parametrize("role", Role)
def test_going_away_is_a_close_frame_with_no_reason(role: Role, status: GoAwayStatus, code: int) -> None:
    messages, peer = Messages(role), peer_of(role)
    messages.go_away(status)
    messages.go_away(GoAwayStatus.INTERNAL_ERROR)
    messages.send(b"late")
    assert heard(peer, sent(messages)) == [(CLOSE, code.to_bytes(2, "big"))]
    assert not messages.closed  # until the answer
    assert list(messages.receive(said(peer))) == []
    assert messages.closed


def test_what_comes_between_our_close_and_the_answer_is_told() -> None:
    messages, peer = Messages(Role.SERVER), peer_of(Role.SERVER)
    messages.go_away(GoAwayStatus.OK)
    peer.send_binary(b"\0late")
    assert list(messages.receive(said(peer))) == [(BINARY, b"\0late", True)]


def test_no_message_is_larger_than_the_limit() -> None:
    messages = Messages(Role.CLIENT)
    with pytest.raises(ProtocolError, match="16777217"):
        list(messages.receive(b"\x82\x7f" + (MAX_MESSAGE + 1).to_bytes(8, "big")))
    messages = Messages(Role.CLIENT)
    piece = b"\x02\x7f" + (MAX_MESSAGE // 2).to_bytes(8, "big") + bytes(MAX_MESSAGE // 2)
    assert len(list(messages.receive(piece))) == 1
    with pytest.raises(ProtocolError):
        list(messages.receive(b"\x80\x7f" + (MAX_MESSAGE // 2 + 1).to_bytes(8, "big")))
    assert messages.closed


BROKEN = {
    "unmasked": b"\x82\x01x",
    "unknown opcode": b"\x83\x80\0\0\0\0",
    "reserved bit": b"\xc2\x80\0\0\0\0",
    "continuation of nothing": b"\x80\x80\0\0\0\0",
    "message in a message": b"\x02\x80\0\0\0\0\x82\x80\0\0\0\0",
    "ping in pieces": b"\x09\x80\0\0\0\0",
    "long ping": b"\x89\xfe\0\x7e\0\0\0\0" + bytes(126),
    "close with half a code": b"\x88\x81\0\0\0\0\x03",
    "close with a wrong code": b"\x88\x82\0\0\0\0\x03\xec",
    "close with a broken reason": b"\x88\x83\0\0\0\0\x03\xe8\xff",
    "close in a message": b"\x02\x80\0\0\0\0\x88\x82\0\0\0\0\x03\xe8",
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("kind", [Messages, Tunnel])
def test_a_client_that_breaks_the_protocol_is_told_and_heard_no_more(data: bytes, kind: type) -> None:
    end = Messages(Role.SERVER) if kind is Messages else Tunnel(Role.SERVER, max_streams=9)

    def receive(piece: bytes) -> object:
        return list(end.receive(piece)) if isinstance(end, Messages) else end.receive_data(piece)

    with pytest.raises(ProtocolError):
        receive(data)
    assert end.closed
    ((opcode, payload),) = heard(peer_of(Role.SERVER), sent(end))
    assert opcode is CLOSE
    assert payload[:2] in (b"\x03\xea", b"\x03\xef", b"\x03\xe8")
    for more in (b"", b"\x82\x80\0\0\0\0"):
        with pytest.raises(ProtocolError):
            receive(more)
    assert sent(end) == b""


def test_a_masked_server_is_broken() -> None:
    with pytest.raises(ProtocolError, match="mask"):
        list(Messages(Role.CLIENT).receive(b"\x82\x81\0\0\0\0x"))


def test_what_users_type_is_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        messages, peer = Messages(Role.SERVER), Protocol(CLIENT, logger=logging.Logger("quiet", logging.CRITICAL))
        peer.send_binary(b"\0password")
        list(messages.receive(said(peer)))
        messages.send(b"secret")
        messages.data_to_send()
    assert caplog.records == []


# ---------------------------------------------------------------------- the tunnel


def tunnel_and_client() -> tuple[Tunnel, Protocol, Connection]:
    return Tunnel(Role.SERVER, max_streams=2), peer_of(Role.SERVER), Connection(Role.CLIENT)


def spdy_in(peer: Protocol, data: bytes) -> bytes:
    """What SPDY there is in messages of ours."""
    frames = heard(peer, data)
    assert {opcode for opcode, _ in frames} <= {BINARY}
    return b"".join(payload for _, payload in frames)


def test_spdy_is_understood_in_messages_cut_anywhere() -> None:
    tunnel, peer, client = tunnel_and_client()
    client.open_stream({"streamtype": "error", "port": "80", "requestid": "0"})
    client.open_stream({"streamtype": "data", "port": "80", "requestid": "0"})
    client.send_data(3, b"hello", fin=True)
    for piece in client.data_to_send():
        for byte in bytes(piece):
            peer.send_binary(bytes([byte]))
        peer.send_binary(b"")  # as Go does for an empty data frame
    assert tunnel.receive_data(said(peer)) == [
        StreamOpened(1, {"streamtype": "error", "port": "80", "requestid": "0"}),
        StreamOpened(3, {"streamtype": "data", "port": "80", "requestid": "0"}),
        *(DataReceived(3, bytes([byte])) for byte in b"hello"),
        StreamEnded(3),
    ]
    tunnel.reply(1)
    tunnel.reply(3)
    tunnel.send_data(3, b"answer", fin=True)
    tunnel.reset_stream(1)
    assert client.receive_data(spdy_in(peer, sent(tunnel))) == [
        StreamReplied(1, {}),
        StreamReplied(3, {}),
        DataReceived(3, b"answer"),
        StreamEnded(3),
        StreamReset(1, ResetStatus.CANCEL),
    ]


def test_a_message_in_fragments_is_spdy_all_the_same() -> None:
    tunnel, peer, client = tunnel_and_client()
    client.open_stream({})
    data = b"".join(client.data_to_send())
    peer.send_binary(data[:5], fin=False)
    peer.send_continuation(b"", fin=False)
    peer.send_ping(b"p")
    peer.send_continuation(data[5:], fin=True)
    assert tunnel.receive_data(said(peer)) == [StreamOpened(1, {})]
    assert heard(peer, sent(tunnel)) == [(PONG, b"p")]


def test_what_is_queued_together_is_one_message() -> None:
    tunnel, peer = Tunnel(Role.CLIENT, max_streams=2), peer_of(Role.CLIENT)
    tunnel.open_stream({})
    tunnel.open_stream({})
    assert tunnel.ping() == 1
    assert [opcode for opcode, _ in heard(peer, sent(tunnel))] == [BINARY]
    assert sent(tunnel) == b""


def test_pings_of_the_tunnel_are_those_of_spdy() -> None:
    tunnel, peer, _ = tunnel_and_client()
    peer.send_binary(b"\x80\x03\0\x06\0\0\0\4\0\0\0\1")
    assert tunnel.receive_data(said(peer)) == []
    assert tunnel.ping() == 2
    echo, question = b"\x80\x03\0\x06\0\0\0\4\0\0\0\1", b"\x80\x03\0\x06\0\0\0\4\0\0\0\2"
    assert spdy_in(peer, sent(tunnel)) == echo + question
    peer.send_binary(question)
    assert tunnel.receive_data(said(peer)) == [PingAnswered(2)]


def test_streams_are_limited_inside_the_tunnel() -> None:
    tunnel, peer, client = tunnel_and_client()
    for _ in range(3):
        client.open_stream({})
    peer.send_binary(b"".join(client.data_to_send()))
    assert tunnel.receive_data(said(peer)) == [StreamOpened(1, {}), StreamOpened(3, {})]
    assert client.receive_data(spdy_in(peer, sent(tunnel))) == [StreamReset(5, ResetStatus.REFUSED_STREAM)]


def test_text_has_no_place_in_a_tunnel() -> None:
    tunnel, peer, _ = tunnel_and_client()
    peer.send_text(b"hello")
    with pytest.raises(ProtocolError, match="text"):
        tunnel.receive_data(said(peer))
    assert tunnel.closed
    assert heard(peer, sent(tunnel)) == [(CLOSE, b"\x03\xea")]
    with pytest.raises(ProtocolError, match="text"):
        tunnel.receive_data(b"")


def test_going_away_says_so_to_spdy_and_to_websocket() -> None:
    tunnel, peer, client = tunnel_and_client()
    tunnel.go_away()
    (opcode, payload), close = heard(peer, sent(tunnel))
    assert opcode is BINARY
    assert client.receive_data(payload) == [GoneAway(0, GoAwayStatus.OK)]
    assert close == (CLOSE, b"\x03\xe8")
    tunnel.send_data(1, b"late")
    assert sent(tunnel) == b""
    assert not tunnel.closed
    assert tunnel.receive_data(said(peer)) == []
    assert tunnel.closed


def test_broken_spdy_is_answered_inside_the_tunnel_and_closes_it() -> None:
    tunnel, peer, client = tunnel_and_client()
    client.open_stream({"streamtype": "error"})
    peer.send_binary(b"".join(client.data_to_send()) + b"\xff" * 20)
    with pytest.raises(ProtocolError) as caught:
        tunnel.receive_data(said(peer))
    assert caught.value.events == [StreamOpened(1, {"streamtype": "error"})]  # what came before is not lost
    assert tunnel.closed
    (_, spdy), (opcode, close) = heard(peer, sent(tunnel))
    assert client.receive_data(spdy) == [GoneAway(1, GoAwayStatus.PROTOCOL_ERROR)]
    assert (opcode, Close.parse(close).code) == (CLOSE, CloseCode.PROTOCOL_ERROR)
    with pytest.raises(ProtocolError):
        tunnel.receive_data(b"more")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.binary(max_size=300)), max_size=10),
    st.lists(st.integers(0, 5000), max_size=8),
    st.lists(st.integers(0, 5000), max_size=8),
)
def test_data_comes_through_the_tunnel_intact(
    writes: list[tuple[int, bytes]], messages: list[int], reads: list[int]
) -> None:
    _, peer, client = tunnel_and_client()
    streams = [client.open_stream({}) for _ in range(2)]
    for index, data in writes:
        client.send_data(streams[index], data)
    spdy = b"".join(client.data_to_send())
    for piece in cut(spdy, messages):
        peer.send_binary(piece)
    wire = said(peer)
    for pieces in ([wire], cut(wire, reads), [wire[at : at + 1] for at in range(len(wire))]):
        end = Tunnel(Role.SERVER, max_streams=2)
        events = [event for piece in pieces for event in end.receive_data(piece)]
        for index, stream in enumerate(streams):
            arrived = b"".join(
                event.data for event in events if isinstance(event, DataReceived) and event.stream == stream
            )
            assert arrived == b"".join(data for number, data in writes if number == index)


FRAMES = st.builds(
    lambda first, mask, payload, lie: (
        bytes([first, (0x80 if mask else 0) | max(0, min(125, len(payload) + lie))])
        + (b"\0\0\0\0" if mask else b"")
        + payload
    ),
    st.sampled_from([0x82, 0x02, 0x80, 0x00, 0x81, 0x88, 0x89, 0x8A]) | st.integers(0, 255),
    st.sampled_from([True, True, True, False]),
    st.binary(max_size=30) | st.just(b"\x80\x03\0\x06\0\0\0\4\0\0\0\1") | st.just(b"\x03\xe8"),
    st.sampled_from([0, 0, 0, -1, 1]),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(FRAMES | st.binary(max_size=20), max_size=10), st.lists(st.integers(0, 500), max_size=4))
def test_garbage_breaks_the_protocol_and_nothing_else(frames: list[bytes], places: list[int]) -> None:
    tunnel, failed = Tunnel(Role.SERVER, max_streams=2), False
    for piece in cut(b"".join(frames), places):
        try:
            tunnel.receive_data(piece)
        except ProtocolError:
            failed = True
        assert tunnel.closed or not failed
    tunnel.go_away()
    peer = peer_of(Role.SERVER)
    peer.receive_data(sent(tunnel))
    assert peer.parser_exc is None
    assert peer.close_rcvd is not None
