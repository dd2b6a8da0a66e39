"""However the bytes of a conversation are cut, both ends understand the same; garbage hurts nobody."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

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
)
from criadapt.spdy.frames import Kind
from criadapt.spdy.headers import Compressor

Call = Callable[[Connection], object]
Script = list[Call | bytes]
"""What one end does and what it is sent, in order."""

HEADERS = st.dictionaries(
    st.sampled_from(["streamtype", "port", "requestid"]), st.sampled_from(["error", "data", "80", ""]), max_size=3
)
DATA = st.binary(max_size=40) | st.integers(60_000, 140_000).map(lambda size: (b"0123456789" * 14_001)[:size])


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


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    marks = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[begin:end] for begin, end in pairwise(marks)]


def singly(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def play(role: Role, script: Script, cutter: Callable[[bytes], list[bytes]]) -> tuple[list[Event], bytes]:
    """What an end is told and what it sends."""
    connection, events, out = Connection(role, max_streams=3), [], b""
    for step in script:
        if isinstance(step, bytes):
            for piece in cutter(step):
                events += connection.receive_data(piece)
        else:
            step(connection)
        out += b"".join(connection.data_to_send())
    return joined(events), out


OPERATIONS = st.one_of(
    st.tuples(st.just("open_stream"), HEADERS),
    st.tuples(st.just("reply"), st.integers(1, 8), HEADERS),
    st.tuples(st.just("send_data"), st.integers(1, 8), st.binary(max_size=300), st.booleans()),
    st.tuples(st.just("end_stream"), st.integers(1, 8)),
    st.tuples(st.just("reset_stream"), st.integers(1, 8), st.sampled_from(ResetStatus)),
    st.tuples(st.just("ping")),
    st.tuples(st.just("go_away"), st.sampled_from(GoAwayStatus)),
)


def call(operation: tuple[object, ...]) -> Call:
    name, *values = operation
    if name == "send_data":
        stream, data, fin = values
        return lambda connection: connection.send_data(stream, data, fin=fin)  # type: ignore[arg-type]
    return lambda connection: getattr(connection, str(name))(*values)


@st.composite
def conversations(draw: st.DrawFn) -> dict[Role, Script]:
    """Both ends do what comes to their minds; bytes are on their way for a while."""
    ends = {role: Connection(role, max_streams=3) for role in Role}
    scripts: dict[Role, Script] = {role: [] for role in Role}
    for role, operation, arrives in draw(
        st.lists(st.tuples(st.sampled_from(Role), OPERATIONS, st.booleans()), min_size=10, max_size=30)
    ):
        step = call(operation)
        step(ends[role])
        scripts[role].append(step)
        if arrives:
            other = Role.SERVER if role is Role.CLIENT else Role.CLIENT
            data = b"".join(ends[role].data_to_send())
            ends[other].receive_data(data)
            scripts[other].append(data)
    return scripts


@settings(max_examples=120, deadline=None)
@given(conversations(), st.lists(st.integers(0, 3000), max_size=12))
def test_a_conversation_means_the_same_however_it_is_cut(scripts: dict[Role, Script], places: list[int]) -> None:
    for role, script in scripts.items():
        whole = play(role, script, lambda data: [data])
        assert play(role, script, singly) == whole
        assert play(role, script, lambda data: cut(data, places)) == whole


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), DATA, st.booleans()), max_size=15),
    st.lists(st.integers(0, 2_000_000), max_size=12),
)
def test_data_arrives_intact_on_each_stream(writes: list[tuple[int, bytes, bool]], places: list[int]) -> None:
    client, server = Connection(Role.CLIENT), Connection(Role.SERVER)
    streams = [client.open_stream({}) for _ in range(4)]
    sent = dict.fromkeys(streams, b"")
    ended: set[int] = set()
    for index, data, fin in writes:
        client.send_data(streams[index], data, fin=fin)
        if streams[index] not in ended:
            sent[streams[index]] += data
            ended |= {streams[index]} if fin else set()
    arrived, ends = dict.fromkeys(streams, b""), []
    for piece in cut(b"".join(client.data_to_send()), places):
        for event in server.receive_data(piece):
            if isinstance(event, DataReceived):
                arrived[event.stream] += event.data
            elif isinstance(event, StreamEnded):
                ends.append(event.stream)
    assert arrived == sent
    assert sorted(ends) == sorted(ended)


# ---------------------------------------------------------------------- garbage

FRAMES = st.builds(
    lambda word, flags, payload, lie: struct.pack(">II", word, flags << 24 | max(0, len(payload) + lie)) + payload,
    st.sampled_from([0x80030000 | kind for kind in (*Kind, 0, 5, 10)]) | st.integers(0, 5) | st.integers(0, 2**32 - 1),
    st.integers(0, 255),
    st.binary(max_size=30)
    | st.builds(lambda stream, rest: struct.pack(">I", stream) + rest, st.integers(0, 5), st.binary(max_size=20)),
    st.sampled_from([0, 0, 0, 0, -1, 1, 70_000]),
)


def valid(role: Role) -> bytes:
    """What a well-behaved peer of `role` may send; all kinds of frames are in it."""
    client, server = Connection(Role.CLIENT), Connection(Role.SERVER)
    client.open_stream({"streamtype": "error"})
    client.open_stream({"streamtype": "data", "port": "80", "requestid": "1"})
    client.send_data(1, b"one")
    client.ping()
    there = b"".join(client.data_to_send())
    server.receive_data(there)
    server.reply(1)
    server.reply(3, {"a": "b"})
    server.send_data(1, b"answer", fin=True)
    server.reset_stream(3)
    server.ping()
    server.go_away()
    client.receive_data(back := b"".join(server.data_to_send()))
    client.end_stream(1)
    client.reset_stream(3)
    client.go_away()
    return there + b"".join(client.data_to_send()) if role is Role.SERVER else back


VALID = {role: valid(role) for role in Role}


def survives(role: Role, pieces: Sequence[bytes]) -> None:
    """Nothing but a ProtocolError, after which there is nothing but that; the end stays usable for its owner."""
    connection = Connection(role, max_streams=4)
    if role is Role.CLIENT:
        connection.open_stream({})
        connection.open_stream({})
    failed = False
    for piece in pieces:
        try:
            events = connection.receive_data(piece)
        except ProtocolError:
            failed = True
        else:
            assert not failed
            assert all(not isinstance(event, DataReceived) or event.data for event in events)
        assert connection.closed is failed
    assert len(connection.streams) <= 4
    for stream in connection.streams:
        connection.reply(stream)
        connection.send_data(stream, b"x", fin=True)
        connection.reset_stream(stream)
    connection.go_away()
    assert b"".join(connection.data_to_send())
    assert connection.streams == frozenset()


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(Role), st.booleans(), st.lists(st.binary(max_size=60), max_size=6))
def test_garbage_breaks_the_protocol_and_nothing_else(role: Role, after_valid: bool, pieces: list[bytes]) -> None:
    survives(role, [*([VALID[role]] if after_valid else []), *pieces])


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(Role), st.lists(FRAMES, max_size=12), st.lists(st.integers(0, 1000), max_size=4))
def test_frames_of_any_content_break_the_protocol_and_nothing_else(
    role: Role, made: list[bytes], places: list[int]
) -> None:
    survives(role, cut(b"".join(made), places))


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(Role),
    st.lists(st.tuples(st.integers(0, 400), st.sampled_from(["flip", "drop", "add"]), st.integers(1, 255)), max_size=4),
    st.lists(st.integers(0, 1000), max_size=4),
)
def test_frames_damaged_on_the_way_break_the_protocol_and_nothing_else(
    role: Role, damages: list[tuple[int, str, int]], places: list[int]
) -> None:
    data = bytearray(VALID[role])
    for place, how, value in damages:
        at = place % len(data)
        if how == "flip":
            data[at] ^= value
        elif how == "drop":
            del data[at]
        else:
            data.insert(at, value)
    survives(role, cut(bytes(data), places))


def test_a_flood_of_tiny_frames_leaves_nothing_behind() -> None:
    connection, compressor = Connection(Role.SERVER), Compressor()
    for number in range(1, 4001, 2):
        block = compressor.block({"streamtype": "data"})
        opened = struct.pack(">IIIIBB", 0x80030001, len(block) + 10, number, 0, 0, 0) + block
        connection.receive_data(opened + struct.pack(">IIII", 0x80030003, 8, number, 5))
    assert connection.streams == frozenset()
    assert connection.data_to_send() == []


# ---------------------------------------------------------------------- a model of both ends


class TwoEnds(RuleBasedStateMachine):
    """Both ends do as they like while bytes are on their way; a simple model knows what has to arrive."""

    def __init__(self) -> None:
        super().__init__()
        self.ends = {role: Connection(role) for role in Role}
        self.wire = dict.fromkeys(Role, b"")  # what is on its way to that end
        self.written: dict[tuple[Role, int], bytes] = {}  # by the writing end and stream
        self.read: dict[tuple[Role, int], bytes] = {}  # by the reading end and stream
        self.finished: set[tuple[Role, int]] = set()
        self.heard_end: set[tuple[Role, int]] = set()
        self.disturbed: set[int] = set()  # streams somebody gave up
        self.opened: dict[int, dict[str, str]] = {}
        self.heard: dict[int, dict[str, str]] = {}
        self.pings: dict[Role, list[int]] = {role: [] for role in Role}
        self.left: set[Role] = set()

    @staticmethod
    def other(role: Role) -> Role:
        return Role.SERVER if role is Role.CLIENT else Role.CLIENT

    def collect(self, role: Role) -> None:
        self.wire[self.other(role)] += b"".join(self.ends[role].data_to_send())

    @precondition(lambda self: not self.left)
    @rule(role=st.sampled_from(Role), headers=HEADERS)
    def open(self, role: Role, headers: dict[str, str]) -> None:
        stream = self.ends[role].open_stream(headers)
        assert stream not in self.opened
        self.opened[stream] = headers
        self.collect(role)

    @precondition(lambda self: self.opened)
    @rule(role=st.sampled_from(Role), data=st.data(), payload=DATA, fin=st.booleans())
    def write(self, role: Role, data: st.DataObject, payload: bytes, fin: bool) -> None:
        stream = data.draw(st.sampled_from(sorted(self.opened)))
        knows = stream in self.ends[role].streams
        self.ends[role].send_data(stream, payload, fin=fin)
        if knows and (role, stream) not in self.finished:
            self.written[role, stream] = self.written.get((role, stream), b"") + payload
            if fin:
                self.finished.add((role, stream))
        self.collect(role)

    @precondition(lambda self: self.opened)
    @rule(role=st.sampled_from(Role), data=st.data())
    def reset(self, role: Role, data: st.DataObject) -> None:
        stream = data.draw(st.sampled_from(sorted(self.opened)))
        if stream in self.ends[role].streams:
            self.disturbed.add(stream)
        self.ends[role].reset_stream(stream)
        assert stream not in self.ends[role].streams
        self.collect(role)

    @rule(role=st.sampled_from(Role))
    def ping(self, role: Role) -> None:
        self.pings[role].append(self.ends[role].ping())
        self.collect(role)

    @precondition(lambda self: len(self.opened) > 3)
    @rule(role=st.sampled_from(Role))
    def leave(self, role: Role) -> None:
        self.ends[role].go_away()
        self.left.add(role)
        self.collect(role)

    @rule(role=st.sampled_from(Role), size=st.integers(1, 200_000))
    def arrive(self, role: Role, size: int) -> None:
        data, self.wire[role] = self.wire[role][:size], self.wire[role][size:]
        for event in self.ends[role].receive_data(data):
            self.told(role, event)
        self.collect(role)

    def told(self, role: Role, event: Event) -> None:
        match event:
            case StreamOpened(stream=stream, headers=headers):
                assert stream % 2 != role.value % 2
                assert stream not in self.heard
                self.heard[stream] = dict(headers)
                self.ends[role].reply(stream)
            case StreamReplied(stream=stream):
                assert stream in self.heard
                assert stream % 2 == role.value % 2
            case DataReceived(stream=stream, data=data):
                assert (role, stream) not in self.heard_end
                self.read[role, stream] = self.read.get((role, stream), b"") + data
            case StreamEnded(stream=stream):
                assert (self.other(role), stream) in self.finished
                assert (role, stream) not in self.heard_end
                self.heard_end.add((role, stream))
            case StreamReset(stream=stream, status=status):
                assert stream in self.disturbed
                assert status is ResetStatus.CANCEL
            case PingAnswered(number=number):
                assert self.pings[role].pop(0) == number
            case GoneAway():
                assert self.other(role) in self.left

    @invariant()
    def what_arrived_is_what_was_written(self) -> None:
        for (role, stream), data in self.read.items():
            assert self.written[self.other(role), stream].startswith(data)

    def teardown(self) -> None:
        while any(self.wire.values()):
            for role in Role:
                self.arrive(role, len(self.wire[role]))
        assert not any(self.pings.values())
        taken = {stream: headers for stream, headers in self.opened.items() if stream in self.heard}
        assert self.heard == taken
        if not self.left:
            assert taken == self.opened
        for (role, stream), data in self.written.items():
            if stream in taken and stream not in self.disturbed:
                assert self.read.get((self.other(role), stream), b"") == data
        for role, stream in self.finished:
            if stream in taken and stream not in self.disturbed:
                assert (self.other(role), stream) in self.heard_end
        for stream in set(taken) - self.disturbed:
            over = {(role, stream) for role in Role} <= self.finished
            assert all((stream in end.streams) is not over for end in self.ends.values())
        super().teardown()


TwoEnds.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
test_two_ends_understand_each_other = TwoEnds.TestCase
