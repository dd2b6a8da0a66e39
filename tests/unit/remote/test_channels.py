"""The channel.k8s.io family, both roles, against websockets' own frames at the other end."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, SERVER, Protocol

from criadapt.remote.channels import MAX_PAYLOAD, REMOTE_COMMAND, Channels, remote_command
from criadapt.spdy import (
    DataReceived,
    Event,
    GoAwayStatus,
    GoneAway,
    ProtocolError,
    Role,
    StreamEnded,
    StreamOpened,
    StreamReplied,
)

STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
NORMAL = b"\x03\xe8"


def channels(role: Role = Role.SERVER, *, base64: bool = False, half_close: bool = False) -> Channels:
    """One end with all streams, whose beginning was told."""
    end = remote_command(role, REMOTE_COMMAND, base64=base64, half_close=half_close)
    end.receive_data(b"")
    return end


def peer_of(role: Role) -> Protocol:
    """An independent other end."""
    return Protocol(CLIENT if role is Role.SERVER else SERVER, max_size=None)


def said(peer: Protocol) -> bytes:
    return b"".join(peer.data_to_send())


def sent(end: Channels) -> bytes:
    return b"".join(end.data_to_send())


def heard(peer: Protocol, data: bytes) -> list[tuple[Opcode, bytes]]:
    """The frames in bytes of ours."""
    peer.receive_data(data)
    assert peer.parser_exc is None
    frames = peer.events_received()
    assert all(isinstance(frame, Frame) and frame.fin for frame in frames)
    return [(frame.opcode, bytes(frame.data)) for frame in frames if isinstance(frame, Frame)]


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    marks = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[begin:end] for begin, end in pairwise(marks)]


def singly(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def joined(events: Sequence[Event]) -> list[Event]:
    """The events, with neighbouring data of a stream in one piece: how data is cut has no meaning."""
    result: list[Event] = []
    for event in events:
        last = result[-1] if result else None
        if isinstance(event, DataReceived) and isinstance(last, DataReceived) and event.stream == last.stream:
            result[-1] = DataReceived(event.stream, last.data + event.data)
        else:
            result.append(event)
    return result


# ---------------------------------------------------------------------- what streams there are


def test_a_server_tells_of_all_streams_before_any_data() -> None:
    end = remote_command(Role.SERVER, ("error", "stdout", "stdin"), base64=False, half_close=True)
    peer = peer_of(Role.SERVER)
    peer.send_binary(b"\0in")
    assert end.receive_data(said(peer)) == [
        StreamOpened(STDIN, {"streamtype": "stdin"}),
        StreamOpened(STDOUT, {"streamtype": "stdout"}),
        StreamOpened(ERROR, {"streamtype": "error"}),
        DataReceived(STDIN, b"in"),
    ]
    assert end.receive_data(b"") == []


def test_a_client_opens_streams_that_are_there_and_is_accepted_at_once() -> None:
    end = remote_command(Role.CLIENT, ("error", "stdin", "resize"), base64=False, half_close=True)
    numbers = [end.open_stream({"streamtype": kind}) for kind in ("error", "stdin", "resize")]
    assert numbers == [ERROR, STDIN, RESIZE]
    assert sent(end) == b""
    assert end.receive_data(b"") == [StreamReplied(number, {}) for number in numbers]
    with pytest.raises(ValueError, match="no 'stderr' stream"):
        end.open_stream({"streamtype": "stderr"})


def test_a_reply_is_not_said_on_this_wire() -> None:
    end = channels()
    end.reply(STDIN)
    end.reply(99, {"a": "b"})
    assert sent(end) == b""


# ---------------------------------------------------------------------- sending


@pytest.mark.parametrize("role", Role)
def test_a_message_begins_with_the_number_of_its_stream(role: Role) -> None:
    end, peer = channels(role), peer_of(role)
    end.send_data(STDOUT, b"out\n")
    end.send_data(STDERR, bytearray(b"err\n"))
    end.send_data(ERROR, memoryview(b'{"status":"Success"}'))
    assert heard(peer, sent(end)) == [
        (Opcode.BINARY, b"\x01out\n"),
        (Opcode.BINARY, b"\x02err\n"),
        (Opcode.BINARY, b'\x03{"status":"Success"}'),
    ]


@pytest.mark.parametrize("role", Role)
def test_in_base64_a_message_is_a_digit_and_text(role: Role) -> None:
    end, peer = channels(role, base64=True), peer_of(role)
    end.send_data(STDERR, b"err\n")
    end.send_data(STDOUT, memoryview(b"out\n"))
    end.send_data(STDOUT, b"\xff\0")
    assert heard(peer, sent(end)) == [
        (Opcode.TEXT, b"2ZXJyCg=="),
        (Opcode.TEXT, b"1b3V0Cg=="),
        (Opcode.TEXT, b"1/wA="),
    ]


def test_servers_send_bare_frames_as_go_does() -> None:
    end = channels()
    end.greet(STDOUT)
    end.send_data(STDERR, b"err\n")
    end.go_away()
    assert sent(end) == b"\x82\x01\x01" + b"\x82\x05\x02err\n" + b"\x88\x02\x03\xe8"


def test_an_empty_message_greets() -> None:
    for base64, greeting in ((False, (Opcode.BINARY, b"\x01")), (True, (Opcode.TEXT, b"1"))):
        end = channels(base64=base64)
        end.greet(STDOUT)
        assert heard(peer_of(Role.SERVER), sent(end)) == [greeting]


@pytest.mark.parametrize("base64", [False, True])
def test_channels_beyond_the_ninth_are_named_as_go_names_them(base64: bool) -> None:
    streams = {number: {"streamtype": "data"} for number in range(12)}
    end, client = Channels(Role.SERVER, streams, base64=base64), Channels(Role.CLIENT, streams, base64=base64)
    end.send_data(9, b"nine")
    end.send_data(10, b"ten")
    end.send_data(11, b"")
    end.greet(11)
    data = sent(end)
    numbers = [payload[0] for _, payload in heard(peer_of(Role.SERVER), data)]
    assert numbers == ([*b"9:;"] if base64 else [9, 10, 11])
    assert client.receive_data(data) == [DataReceived(9, b"nine"), DataReceived(10, b"ten")]


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("base64", [False, True])
def test_large_data_is_sent_in_messages_that_go_can_take(role: Role, base64: bool) -> None:
    end, peer = channels(role, base64=base64), peer_of(role)
    data = bytes(range(256)) * 257  # 65,792 bytes
    end.send_data(STDIN, data)
    messages = [payload for _, payload in heard(peer, sent(end))]
    sizes = [len(b64decode(message[1:]) if base64 else message[1:]) for message in messages]
    assert sizes == [MAX_PAYLOAD, MAX_PAYLOAD, 256]
    assert b"".join(b64decode(message[1:]) if base64 else message[1:] for message in messages) == data


@pytest.mark.parametrize("role", Role)
def test_no_message_is_sent_for_no_data(role: Role) -> None:
    end = channels(role, half_close=True)
    end.send_data(STDIN, b"")
    assert sent(end) == b""


def test_a_client_of_version_5_ends_a_stream_with_two_bytes() -> None:
    end, peer = channels(Role.CLIENT, half_close=True), peer_of(Role.CLIENT)
    end.send_data(STDIN, b"last", fin=True)
    end.send_data(STDIN, b"too late", fin=True)
    end.send_data(RESIZE, b"", fin=True)
    assert heard(peer, sent(end)) == [
        (Opcode.BINARY, b"\0last"),
        (Opcode.BINARY, b"\xff\0"),
        (Opcode.BINARY, b"\xff\x04"),
    ]


@pytest.mark.parametrize(("role", "half_close"), [(Role.CLIENT, False), (Role.SERVER, True), (Role.SERVER, False)])
def test_others_cannot_say_that_a_stream_ended(role: Role, half_close: bool) -> None:
    end, peer = channels(role, half_close=half_close), peer_of(role)
    end.send_data(STDOUT, b"last", fin=True)
    end.send_data(STDOUT, b"too late")
    assert heard(peer, sent(end)) == [(Opcode.BINARY, b"\x01last")]


def test_calls_on_streams_that_are_not_there_do_nothing() -> None:
    end = remote_command(Role.CLIENT, ("stdin",), base64=False, half_close=True)
    for stream in (STDOUT, 255, 1000, -1):
        end.send_data(stream, b"x", fin=True)
        end.reset_stream(stream)
    assert sent(end) == b""


def test_a_stream_given_up_is_heard_and_spoken_no_more() -> None:
    end, peer = channels(half_close=True), peer_of(Role.SERVER)
    end.reset_stream(STDIN)
    end.send_data(STDIN, b"x")
    assert sent(end) == b""
    peer.send_binary(b"\0more")
    peer.send_binary(b"\xff\0")
    assert end.receive_data(said(peer)) == []


# ---------------------------------------------------------------------- receiving


@pytest.mark.parametrize("role", Role)
def test_messages_are_told_by_their_number(role: Role) -> None:
    end, peer = channels(role), peer_of(role)
    peer.send_binary(b"\x00in")
    peer.send_binary(b'\x04{"Width":1')
    peer.send_binary(b"\x00\xff\x01")
    assert end.receive_data(said(peer)) == [
        DataReceived(STDIN, b"in"),
        DataReceived(RESIZE, b'{"Width":1'),
        DataReceived(STDIN, b"\xff\x01"),
    ]


@pytest.mark.parametrize("role", Role)
def test_in_base64_as_well(role: Role) -> None:
    end, peer = channels(role, base64=True), peer_of(role)
    peer.send_text(b"0aW4K")
    peer.send_text(b"1/wA=")
    assert end.receive_data(said(peer)) == [DataReceived(STDIN, b"in\n"), DataReceived(STDOUT, b"\xff\0")]


@pytest.mark.parametrize("base64", [False, True])
def test_empty_messages_mean_nothing(base64: bool) -> None:
    end, peer = channels(base64=base64), peer_of(Role.SERVER)
    send = peer.send_text if base64 else peer.send_binary
    for message in (b"", b"0" if base64 else b"\0", b""):
        send(message)
    assert end.receive_data(said(peer)) == []
    assert not end.closed


@pytest.mark.parametrize("half_close", [False, True])
def test_unknown_channels_are_ignored(half_close: bool) -> None:
    end, peer = remote_command(Role.SERVER, ("stdin",), base64=False, half_close=half_close), peer_of(Role.SERVER)
    end.receive_data(b"")
    for message in (b"\x01x", b"\x05x", b"\xfex", b"\xffx", b"\xff\x01", b"\xff", b"\xff\0\0"):
        peer.send_binary(message)
    peer.send_binary(b"\0known")
    assert end.receive_data(said(peer)) == [DataReceived(STDIN, b"known")]


def test_unknown_channels_are_ignored_in_base64() -> None:
    end, peer = channels(base64=True), peer_of(Role.SERVER)
    for message in (b"5eA==", b"9eA==", b"xeA==", b"/eA==", b" eA==", b"\xffeA=="):
        peer.send_text(message)
    assert end.receive_data(said(peer)) == []


def test_in_version_5_a_client_ends_a_stream() -> None:
    end, peer = channels(half_close=True), peer_of(Role.SERVER)
    peer.send_binary(b"\0last")
    peer.send_binary(b"\xff\0")
    peer.send_binary(b"\0too late")
    peer.send_binary(b"\xff\0")
    peer.send_binary(b"\x04more")
    assert end.receive_data(said(peer)) == [
        DataReceived(STDIN, b"last"),
        StreamEnded(STDIN),
        DataReceived(RESIZE, b"more"),
    ]
    end.send_data(STDIN, b"the other direction is open")
    assert sent(end) != b""


def test_before_version_5_no_stream_ends() -> None:
    end, peer = channels(), peer_of(Role.SERVER)
    peer.send_binary(b"\xff\0")
    peer.send_binary(b"\0on")
    assert end.receive_data(said(peer)) == [DataReceived(STDIN, b"on")]


def test_only_the_first_fragment_has_a_number() -> None:
    end, peer = channels(half_close=True), peer_of(Role.SERVER)
    peer.send_binary(b"\0a", fin=False)
    peer.send_continuation(b"\x01b", fin=False)
    peer.send_ping(b"between")
    peer.send_continuation(b"", fin=False)
    peer.send_continuation(b"c", fin=True)
    assert joined(end.receive_data(said(peer))) == [DataReceived(STDIN, b"a\x01bc")]
    assert heard(peer, sent(end)) == [(Opcode.PONG, b"between")]


def test_fragments_are_told_as_they_arrive() -> None:
    end, peer = channels(), peer_of(Role.SERVER)
    peer.send_binary(b"\0a", fin=False)
    assert end.receive_data(said(peer)) == [DataReceived(STDIN, b"a")]
    peer.send_continuation(b"b", fin=False)
    assert end.receive_data(said(peer)) == [DataReceived(STDIN, b"b")]


def test_the_number_may_come_behind_empty_fragments() -> None:
    end, peer = channels(half_close=True), peer_of(Role.SERVER)
    peer.send_binary(b"\x04x")
    peer.send_binary(b"", fin=False)
    peer.send_continuation(b"", fin=False)
    peer.send_continuation(b"\0a", fin=False)
    peer.send_continuation(b"b", fin=True)
    peer.send_binary(b"", fin=True)
    assert joined(end.receive_data(said(peer))) == [DataReceived(RESIZE, b"x"), DataReceived(STDIN, b"ab")]


def test_fragments_of_unknown_channels_are_ignored() -> None:
    end, peer = channels(half_close=True), peer_of(Role.SERVER)
    peer.send_binary(b"\x09", fin=False)
    peer.send_continuation(b"\0a", fin=True)
    assert end.receive_data(said(peer)) == []


def test_an_end_may_be_fragmented() -> None:
    end, peer = channels(half_close=True), peer_of(Role.SERVER)
    peer.send_binary(b"\xff", fin=False)
    peer.send_continuation(b"\0", fin=True)
    assert end.receive_data(said(peer)) == [StreamEnded(STDIN)]


def test_base64_is_read_when_the_message_is_whole() -> None:
    end, peer = channels(base64=True), peer_of(Role.SERVER)
    for piece, last in ((b"0a", False), (b"", False), (b"W4", False), (b"K", True)):
        peer.send_continuation(piece, fin=last) if peer.expect_continuation_frame else peer.send_text(piece, fin=last)
        assert end.receive_data(said(peer)) == ([DataReceived(STDIN, b"in\n")] if last else [])
    peer.send_text(b"1aW4K")
    assert end.receive_data(said(peer)) == [DataReceived(STDOUT, b"in\n")]


@pytest.mark.parametrize("role", Role)
def test_pings_are_answered_whatever_else_goes_on(role: Role) -> None:
    end, peer = channels(role), peer_of(role)
    peer.send_ping(b"1")
    assert end.receive_data(said(peer)) == []
    assert end.ping() == 0
    assert heard(peer, sent(end)) == [(Opcode.PONG, b"1"), (Opcode.PING, b"criadapt")]
    assert end.receive_data(said(peer)) == []


# ---------------------------------------------------------------------- the end


ALL_ENDED: list[Event] = [*(StreamEnded(number) for number in range(5)), GoneAway(0, GoAwayStatus.OK)]


@pytest.mark.parametrize("role", Role)
def test_a_normal_close_ends_all_streams_once(role: Role) -> None:
    end, peer = channels(role), peer_of(role)
    peer.send_binary(b"\x01out")
    peer.send_close(1000)
    assert end.receive_data(said(peer)) == [DataReceived(STDOUT, b"out"), *ALL_ENDED]
    assert end.closed
    assert heard(peer, sent(end)) == [(Opcode.CLOSE, NORMAL)]
    assert end.receive_data(b"more") == []
    end.send_data(STDIN, b"late", fin=True)
    end.greet(STDOUT)
    end.ping()
    end.go_away()
    assert sent(end) == b""


def test_streams_that_ended_before_end_no_second_time() -> None:
    end, peer = channels(half_close=True), peer_of(Role.SERVER)
    peer.send_binary(b"\xff\0")
    peer.send_close(1000)
    assert end.receive_data(said(peer)) == [StreamEnded(STDIN), *ALL_ENDED[1:]]


@pytest.mark.parametrize("code", [None, 1001, 1011, 1002, 3000, 4999])
def test_to_a_client_any_other_close_is_an_error(code: int | None) -> None:
    end, peer = channels(Role.CLIENT), peer_of(Role.CLIENT)
    peer.send_close(code, "" if code is None else "why not")
    data = said(peer)
    said_code = "1005" if code is None else f"{code} why not"
    for piece in (data, b""):
        with pytest.raises(ProtocolError, match=f"closed the connection with {said_code}$"):
            end.receive_data(piece)
        assert end.closed
    ((opcode, _),) = heard(peer, sent(end))
    assert opcode is Opcode.CLOSE


def test_what_came_before_an_error_is_not_lost() -> None:
    end, peer = channels(Role.CLIENT), peer_of(Role.CLIENT)
    peer.send_binary(b"\x03failed")
    peer.send_close(1011)
    with pytest.raises(ProtocolError) as caught:
        end.receive_data(said(peer))
    assert caught.value.events == [DataReceived(3, b"failed")]


@pytest.mark.parametrize("code", [None, 1000, 1001, 1006 + 5])
def test_to_a_server_any_close_is_the_clients_end(code: int | None) -> None:
    end, peer = channels(), peer_of(Role.SERVER)
    peer.send_close(code)
    assert end.receive_data(said(peer)) == ALL_ENDED


@pytest.mark.parametrize(
    ("status", "code"),
    [(GoAwayStatus.OK, 1000), (GoAwayStatus.PROTOCOL_ERROR, 1002), (GoAwayStatus.INTERNAL_ERROR, 1011)],
)
def test_going_away_closes_with_a_code(status: GoAwayStatus, code: int) -> None:
    end, peer = channels(), peer_of(Role.SERVER)
    end.go_away(status)
    end.go_away()
    assert heard(peer, sent(end)) == [(Opcode.CLOSE, code.to_bytes(2, "big"))]
    assert not end.closed
    assert end.receive_data(said(peer)) == ALL_ENDED
    assert end.closed


def breaks(end: Channels, data: bytes, said: str) -> None:
    with pytest.raises(ProtocolError, match=said):
        end.receive_data(data)
    assert end.closed
    for more in (b"", data):
        with pytest.raises(ProtocolError, match=said):
            end.receive_data(more)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("base64", [False, True])
def test_the_wrong_kind_of_message_breaks_the_protocol(role: Role, base64: bool) -> None:
    end, peer = channels(role, base64=base64), peer_of(role)
    (peer.send_binary if base64 else peer.send_text)(b"\0")
    breaks(end, said(peer), "a binary message" if base64 else "a text message")
    assert heard(peer, sent(end)) == [(Opcode.CLOSE, b"\x03\xea")]


@pytest.mark.parametrize("message", [b"0x", b"0a===", b"0aW4K ", b"0aW\n4K", b"0\xc3\xbc", b"0-_-_"])
def test_what_is_no_base64_breaks_the_protocol(message: bytes) -> None:
    end, peer = channels(base64=True), peer_of(Role.SERVER)
    peer.send_text(message)
    breaks(end, said(peer), "not base64")
    assert heard(peer, sent(end)) == [(Opcode.CLOSE, b"\x03\xea")]


def test_a_client_that_does_not_mask_breaks_the_protocol() -> None:
    breaks(channels(), b"\x82\x02\0x", "mask")


def test_a_server_that_masks_breaks_the_protocol() -> None:
    breaks(channels(Role.CLIENT), b"\x82\x82\0\0\0\0\0x", "mask")


def test_a_message_without_a_beginning_breaks_the_protocol() -> None:
    breaks(channels(Role.CLIENT), b"\x80\x02\0x", "continuation")


# ---------------------------------------------------------------------- conversations


PIECES = st.lists(st.tuples(st.binary(max_size=50), st.booleans()), min_size=1, max_size=4)
"""Fragments of a message, each with whether a ping follows."""


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(Role),
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 6), PIECES), max_size=8),
    st.lists(st.integers(0, 2000), max_size=8),
)
def test_fragments_and_cuts_do_not_change_what_is_said(
    role: Role, base64: bool, messages: list[tuple[int, list[tuple[bytes, bool]]]], places: list[int]
) -> None:
    peer = peer_of(role)
    wanted: list[Event] = []
    for number, pieces in messages:
        data = b"".join(piece for piece, _ in pieces)
        wanted += [DataReceived(number, data)] if data and number < 5 else []
        whole = b"%d" % number + b64encode(data) if base64 else bytes((number,)) + data
        sizes = [len(piece) for piece, _ in pieces][:-1]
        parts = cut(whole, [sum(sizes[: at + 1]) for at in range(len(sizes))])
        for at, part in enumerate(parts):
            last = at == len(parts) - 1
            if at:
                peer.send_continuation(part, fin=last)
            elif base64:
                peer.send_text(part, fin=last)
            else:
                peer.send_binary(part, fin=last)
            if pieces[at][1]:
                peer.send_ping(b"x")
    peer.send_close(1000)
    wire = said(peer)
    for delivered in ([wire], singly(wire), cut(wire, places)):
        end = channels(role, base64=base64)
        events = [event for piece in delivered for event in end.receive_data(piece)]
        assert joined(events) == joined([*wanted, *ALL_ENDED])
        pongs = [payload for opcode, payload in heard(peer_of(role), sent(end)) if opcode is Opcode.PONG]
        assert pongs == [b"x"] * sum(ping for _, pieces in messages for _, ping in pieces)


FORMS = st.sampled_from([{"half_close": True}, {"half_close": False}, {"base64": True}])
"""Versions 5, 4, and 4 in base64."""

Call = Callable[[Channels], object]
OPERATIONS = st.one_of(
    st.tuples(
        st.just("send_data"),
        st.integers(0, 5),
        st.binary(max_size=60) | st.integers(30_000, 70_000).map(bytes),
        st.booleans(),
    ),
    st.tuples(st.just("greet"), st.integers(0, 4)),
    st.tuples(st.just("reset_stream"), st.integers(0, 4)),
    st.tuples(st.just("ping")),
    st.tuples(st.just("go_away")),
)


def call(operation: tuple[object, ...]) -> Call:
    name, *values = operation
    if name == "send_data":
        stream, data, fin = values
        return lambda end: end.send_data(stream, data, fin=fin)  # type: ignore[arg-type]
    return lambda end: getattr(end, str(name))(*values)


@settings(max_examples=80, deadline=None)
@given(
    FORMS,
    st.lists(st.tuples(st.sampled_from(Role), OPERATIONS, st.booleans()), min_size=8, max_size=25),
    st.lists(st.integers(0, 1_000_000), max_size=8),
)
def test_a_conversation_means_the_same_however_it_is_cut(
    form: dict[str, bool], steps: list[tuple[Role, tuple[object, ...], bool]], places: list[int]
) -> None:
    ends = {role: channels(role, **form) for role in Role}
    scripts: dict[Role, list[Call | bytes]] = {role: [] for role in Role}
    told: dict[Role, list[Event]] = {role: [] for role in Role}
    for role, operation, arrives in steps:
        step = call(operation)
        step(ends[role])
        scripts[role].append(step)
        if arrives:
            other = Role.SERVER if role is Role.CLIENT else Role.CLIENT
            data = sent(ends[role])
            told[other] += ends[other].receive_data(data)
            scripts[other].append(data)
    for role, script in scripts.items():
        for cutter in (lambda data: cut(data, places), lambda data: [*singly(data[:2000]), data[2000:]]):
            end = channels(role, **form)
            events: list[Event] = []
            for entry in script:
                if isinstance(entry, bytes):
                    events += [event for piece in cutter(entry) for event in end.receive_data(piece)]
                else:
                    entry(end)
            assert joined(events) == joined(told[role])


class TwoEnds(RuleBasedStateMachine):
    """Both ends write as they like while bytes are on their way; all of it arrives, in order, until somebody closes."""

    @initialize(form=FORMS)
    def begin(self, form: dict[str, bool]) -> None:
        self.half_close = form.get("half_close", False)
        self.ends = {role: channels(role, **form) for role in Role}
        self.wire = dict.fromkeys(Role, b"")  # to that end
        self.written = {(role, number): b"" for role in Role for number in range(5)}
        self.read = dict(self.written)
        self.finished: set[tuple[Role, int]] = set()
        self.ended: set[tuple[Role, int]] = set()
        self.closing: set[Role] = set()

    @staticmethod
    def other(role: Role) -> Role:
        return Role.SERVER if role is Role.CLIENT else Role.CLIENT

    @rule(role=st.sampled_from(Role), number=st.integers(0, 4), data=st.binary(max_size=99), fin=st.booleans())
    def write(self, role: Role, number: int, data: bytes, fin: bool) -> None:
        self.ends[role].send_data(number, data, fin=fin)
        silent = role in self.closing or self.ends[role].closed
        if not silent and (role, number) not in self.finished:
            self.written[role, number] += data
            if fin:
                self.finished.add((role, number))
        self.wire[self.other(role)] += sent(self.ends[role])

    @rule(role=st.sampled_from(Role))
    def greet_and_ping(self, role: Role) -> None:
        self.ends[role].greet(STDOUT)
        self.ends[role].ping()
        self.wire[self.other(role)] += sent(self.ends[role])

    @rule(role=st.sampled_from(Role), really=st.integers(0, 4))
    def close(self, role: Role, really: int) -> None:
        if really == 0:
            self.ends[role].go_away()
            self.closing.add(role)
            self.wire[self.other(role)] += sent(self.ends[role])

    @rule(role=st.sampled_from(Role), size=st.integers(1, 300))
    def arrive(self, role: Role, size: int) -> None:
        data, self.wire[role] = self.wire[role][:size], self.wire[role][size:]
        for event in self.ends[role].receive_data(data):
            match event:
                case DataReceived(stream=number, data=piece):
                    assert (role, number) not in self.ended
                    self.read[role, number] += piece
                case StreamEnded(stream=number):
                    assert (role, number) not in self.ended
                    over = (self.other(role), number) in self.finished and self.half_close and role is Role.SERVER
                    assert over or self.ends[role].closed
                    self.ended.add((role, number))
                case _:
                    assert event == GoneAway(0, GoAwayStatus.OK)
                    assert self.ends[role].closed
        self.wire[self.other(role)] += sent(self.ends[role])

    @invariant()
    def what_arrived_is_what_was_written(self) -> None:
        for (role, number), data in self.read.items():
            assert self.written[self.other(role), number].startswith(data)

    def teardown(self) -> None:
        while any(self.wire.values()):
            for role in Role:
                self.arrive(role, max(1, len(self.wire[role])))
        for role, end in self.ends.items():
            assert end.closed is bool(self.closing)
            if not self.closing:
                assert all(self.read[role, number] == self.written[self.other(role), number] for number in range(5))
            if end.closed:
                assert {(role, number) for number in range(5)} <= self.ended
        if not self.closing and self.half_close:
            assert {number for role, number in self.finished if role is Role.CLIENT} == {
                number for role, number in self.ended if role is Role.SERVER
            }
        super().teardown()


TwoEnds.TestCase.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
test_two_ends_understand_each_other = TwoEnds.TestCase


# ---------------------------------------------------------------------- garbage


FRAMES = st.builds(
    lambda first, mask, payload, lie: (
        bytes([first, (0x80 if mask else 0) | max(0, min(125, len(payload) + lie))])
        + (b"\0\0\0\0" if mask else b"")
        + payload
    ),
    st.sampled_from([0x82, 0x02, 0x80, 0x00, 0x81, 0x01, 0x88, 0x89, 0x8A]) | st.integers(0, 255),
    st.booleans(),
    st.binary(max_size=30) | st.sampled_from([b"\xff\0", b"\0x", b"0eA==", b"1", NORMAL, b"\x03\xf3"]),
    st.sampled_from([0, 0, 0, 0, -1, 1]),
)


def survives(end: Channels, pieces: Sequence[bytes]) -> None:
    """Nothing but a ProtocolError, after which there is nothing but that."""
    failed = False
    for piece in pieces:
        try:
            events = end.receive_data(piece)
        except ProtocolError:
            failed = True
            assert end.closed
        else:
            assert not failed
            assert all(not isinstance(event, DataReceived) or event.data for event in events)
    end.send_data(STDIN, b"x", fin=True)
    end.go_away()
    assert b"".join(end.data_to_send())


@settings(max_examples=250, deadline=None)
@given(
    st.sampled_from(Role),
    FORMS,
    st.lists(FRAMES | st.binary(max_size=20), max_size=10),
    st.lists(st.integers(0, 500), max_size=4),
)
def test_garbage_breaks_the_protocol_and_nothing_else(
    role: Role, form: dict[str, bool], frames: list[bytes], places: list[int]
) -> None:
    survives(channels(role, **form), cut(b"".join(frames), places))


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(Role),
    FORMS,
    st.lists(st.tuples(st.integers(0, 200), st.sampled_from(["flip", "drop", "add"]), st.integers(1, 255)), max_size=4),
    st.lists(st.integers(0, 200), max_size=4),
)
def test_messages_damaged_on_the_way_break_the_protocol_and_nothing_else(
    role: Role, form: dict[str, bool], damages: list[tuple[int, str, int]], places: list[int]
) -> None:
    peer = channels(Role.SERVER if role is Role.CLIENT else Role.CLIENT, **form)
    peer.greet(STDOUT)
    peer.send_data(STDIN, b"some input", fin=True)
    peer.ping()
    peer.send_data(ERROR, b'{"status":"Success"}', fin=True)
    peer.go_away()
    data = bytearray(sent(peer))
    for place, how, value in damages:
        at = place % len(data)
        if how == "flip":
            data[at] ^= value
        elif how == "drop":
            del data[at]
        else:
            data.insert(at, value)
    survives(channels(role, **form), [*cut(bytes(data), places), b"\x88\x80\0\0\0\0"])
