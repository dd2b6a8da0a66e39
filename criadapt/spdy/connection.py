"""The connection: which streams there are, and what frames do to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, IntEnum
from typing import TypeVar

from criadapt.spdy import frames
from criadapt.spdy.events import (
    DataReceived,
    Event,
    GoneAway,
    PingAnswered,
    StreamEnded,
    StreamOpened,
    StreamReplied,
    StreamReset,
)
from criadapt.spdy.frames import FIN, HEAD, UNIDIRECTIONAL, GoAwayStatus, Kind, ResetStatus
from criadapt.spdy.headers import MAX_BLOCK, BadHeaders, Compressor, Decompressor

Buffer = bytes | bytearray | memoryview

DATA_FRAME = 64 * 1024
"""Bytes of one data frame at most that we send; we take any size."""

MAX_STREAMS = 256
"""Streams that may be open at once, both ends' together; what a peer opens beyond is refused."""

E = TypeVar("E", bound=IntEnum)


class Role(Enum):
    """Which end this is: a client numbers its streams and pings 1, 3, 5..., a server 2, 4, 6..."""

    CLIENT = 1
    SERVER = 2


class ProtocolError(Exception):
    """The peer does not speak SPDY/3.1: send what :meth:`Connection.data_to_send` still has, then hang up.

    `events` is what happened before, in the same bytes.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.events: list[Event] = []


class _Stream:
    """The two directions of a stream."""

    __slots__ = ("receiving", "sending")

    def __init__(self, *, sending: bool = True, receiving: bool = True) -> None:
        self.sending = sending
        self.receiving = receiving


class Connection:
    """One end of a SPDY/3.1 connection.

    Calls queue bytes that :meth:`data_to_send` hands out; calls for a stream that has gone do nothing, as it may
    have gone a moment ago. Safe for one thread at a time.
    """

    def __init__(self, role: Role, *, max_streams: int = MAX_STREAMS) -> None:
        self._role = role
        self._max_streams = max_streams
        self._streams: dict[int, _Stream] = {}
        self._next_stream = self._next_ping = role.value
        self._last_opened = 0  # by the peer
        self._compressor = Compressor()
        self._decompressor = Decompressor()
        self._outgoing: list[Buffer] = []
        self._leaving = False
        self._failed = False
        # What is being received: a head, the payload of a control frame, data, or bytes to pass over.
        self._partial = bytearray()
        self._control: tuple[int, int, int] | None = None  # type, flags, length
        self._data: tuple[int, bool] = (0, False)  # stream, whether it ends it
        self._left = 0
        self._skip = 0
        self._handlers: Mapping[int, Callable[[bytes, int], Event | None]] = {
            Kind.SYN_STREAM: self._syn_stream,
            Kind.SYN_REPLY: self._syn_reply,
            Kind.RST_STREAM: self._rst_stream,
            Kind.PING: self._ping,
            Kind.GOAWAY: self._go_away,
            Kind.HEADERS: self._more_headers,
        }

    @property
    def streams(self) -> frozenset[int]:
        """Streams that are open in at least one direction."""
        return frozenset(self._streams)

    @property
    def closed(self) -> bool:
        """Nothing more can be understood of what the peer sends."""
        return self._failed

    # ------------------------------------------------------------------ sending

    def data_to_send(self) -> list[Buffer]:
        """All that was queued since the last call, in order, uncopied."""
        pieces, self._outgoing = self._outgoing, []
        return pieces

    def open_stream(self, headers: Mapping[str, str]) -> int:
        """Open a stream; it is accepted once StreamReplied arrives. Returns its number."""
        block = self._compressor.block(headers)
        stream = self._next_stream
        self._next_stream += 2
        self._streams[stream] = _Stream()
        self._outgoing.append(frames.syn_stream(stream, block))
        return stream

    def reply(self, stream: int, headers: Mapping[str, str] | None = None) -> None:
        """Accept a stream. Peers drop data of a stream that was not accepted yet."""
        if stream in self._streams:
            self._outgoing.append(frames.syn_reply(stream, self._compressor.block(headers or {})))

    def send_data(self, stream: int, data: Buffer, *, fin: bool = False) -> None:
        """Send bytes; `fin` ends our direction. The buffer must not change until it is on its way."""
        state = self._streams.get(stream)
        if state is None or not state.sending:
            return
        if len(data) <= DATA_FRAME:
            self._outgoing.append(frames.data_head(stream, len(data), FIN if fin else 0))
            if data:
                self._outgoing.append(data)
        else:
            view = memoryview(data)
            for at in range(0, len(view), DATA_FRAME):
                piece = view[at : at + DATA_FRAME]
                last = fin and at + DATA_FRAME >= len(view)
                self._outgoing += (frames.data_head(stream, len(piece), FIN if last else 0), piece)
        if fin:
            state.sending = False
            self._forget_ended(stream, state)

    def end_stream(self, stream: int) -> None:
        """End our direction."""
        self.send_data(stream, b"", fin=True)

    def reset_stream(self, stream: int, status: ResetStatus = ResetStatus.CANCEL) -> None:
        """Give a stream up, both directions."""
        if self._streams.pop(stream, None) is not None:
            self._outgoing.append(frames.rst_stream(stream, status))

    def ping(self) -> int:
        """Ask for an echo; PingAnswered brings the number that is returned here."""
        number = self._next_ping
        self._next_ping += 2
        self._outgoing.append(frames.ping(number))
        return number

    def go_away(self, status: GoAwayStatus = GoAwayStatus.OK) -> None:
        """Take no more streams; those that are open go on. Once is enough."""
        if not self._leaving:
            self._leaving = True
            self._outgoing.append(frames.go_away(self._last_opened, status))

    # ------------------------------------------------------------------ receiving

    def receive_data(self, data: bytes) -> list[Event]:
        """What `data`, as it came from the peer, means. Raises ProtocolError, once and for all."""
        if self._failed:
            raise ProtocolError("the connection has failed before")
        events: list[Event] = []
        try:
            self._receive(memoryview(data), events)
        except ProtocolError as error:
            self._failed = True
            self.go_away(GoAwayStatus.PROTOCOL_ERROR)
            error.events = events
            raise
        return events

    def _receive(self, data: memoryview, events: list[Event]) -> None:
        at, size = 0, len(data)
        while at < size:
            if self._left:
                piece = data[at : at + self._left]
                at += len(piece)
                self._left -= len(piece)
                stream, fin = self._data
                state = self._streams.get(stream)
                if state is not None and state.receiving:
                    events.append(DataReceived(stream, bytes(piece)))
                    if fin and not self._left:
                        events.append(self._ended(stream, state))
            elif self._skip:
                skipped = min(self._skip, size - at)
                at += skipped
                self._skip -= skipped
            else:
                wanted = (HEAD if self._control is None else self._control[2]) - len(self._partial)
                piece = data[at : at + wanted]
                at += len(piece)
                self._partial += piece
                if len(piece) == wanted:
                    whole, self._partial = bytes(self._partial), bytearray()
                    if self._control is None:
                        self._begin(whole, events)
                    else:
                        self._finish(whole, events)

    def _begin(self, head: bytes, events: list[Event]) -> None:
        """A frame begins."""
        word, flags, length = frames.head(head)
        if not word & 0x80000000:
            self._data, self._left = (word, bool(flags & FIN)), length
            state = self._streams.get(word)
            if not length and flags & FIN and state is not None and state.receiving:
                events.append(self._ended(word, state))
            return
        version, kind = word >> 16 & 0x7FFF, word & 0xFFFF
        if version != frames.VERSION:
            raise ProtocolError(f"a frame of version {version}; only {frames.VERSION} is spoken here")
        if kind not in self._handlers:  # settings, windows, and what later versions may bring
            self._skip = length
        elif length > MAX_BLOCK:
            raise ProtocolError(f"a control frame of {length} bytes; {MAX_BLOCK} are enough for anybody")
        else:
            self._control = (kind, flags, length)
            if not length:
                self._finish(b"", events)

    def _finish(self, payload: bytes, events: list[Event]) -> None:
        """A control frame is complete."""
        assert self._control is not None
        kind, flags, _ = self._control
        self._control = None
        fixed = _FIXED[kind]
        if len(payload) < fixed or (kind in _EXACT and len(payload) != fixed):
            raise ProtocolError(f"a {Kind(kind).name} frame of {len(payload)} bytes")
        event = self._handlers[kind](payload, flags)
        if event is not None:
            events.append(event)
        if flags & FIN and isinstance(event, StreamOpened | StreamReplied):
            state = self._streams.get(event.stream)
            if state is not None and state.receiving:
                events.append(self._ended(event.stream, state))

    def _ended(self, stream: int, state: _Stream) -> StreamEnded:
        state.receiving = False
        self._forget_ended(stream, state)
        return StreamEnded(stream)

    def _forget_ended(self, stream: int, state: _Stream) -> None:
        if not state.sending and not state.receiving:
            del self._streams[stream]

    def _ours(self, number: int) -> bool:
        """Numbers of streams and pings tell which end began them."""
        return number % 2 == self._role.value % 2

    def _headers(self, block: bytes) -> dict[str, str]:
        try:
            return self._decompressor.headers(block)
        except BadHeaders as error:
            raise ProtocolError(str(error)) from error

    def _syn_stream(self, payload: bytes, flags: int) -> Event | None:
        stream = frames.number(payload) & 0x7FFFFFFF
        headers = self._headers(payload[frames.SYN_STREAM_FIXED :])
        if self._leaving:
            return None
        if stream <= self._last_opened or self._ours(stream):
            self._outgoing.append(frames.rst_stream(stream, ResetStatus.PROTOCOL_ERROR))
            return None
        self._last_opened = stream
        if len(self._streams) >= self._max_streams:
            self._outgoing.append(frames.rst_stream(stream, ResetStatus.REFUSED_STREAM))
            return None
        self._streams[stream] = _Stream(sending=not flags & UNIDIRECTIONAL)
        return StreamOpened(stream, headers)

    def _syn_reply(self, payload: bytes, flags: int) -> Event | None:
        stream = frames.number(payload) & 0x7FFFFFFF
        headers = self._headers(payload[frames.SYN_REPLY_FIXED :])
        return StreamReplied(stream, headers) if stream in self._streams and self._ours(stream) else None

    def _rst_stream(self, payload: bytes, flags: int) -> Event | None:
        stream, status = frames.pair(payload)
        if self._streams.pop(stream, None) is None:
            return None
        return StreamReset(stream, _named(ResetStatus, status))

    def _ping(self, payload: bytes, flags: int) -> Event | None:
        number = frames.number(payload)
        if self._ours(number):
            return PingAnswered(number)
        self._outgoing.append(frames.ping(number))
        return None

    def _go_away(self, payload: bytes, flags: int) -> Event | None:
        last, status = frames.pair(payload)
        return GoneAway(last, _named(GoAwayStatus, status))

    def _more_headers(self, payload: bytes, flags: int) -> Event | None:
        self._headers(payload[frames.SYN_REPLY_FIXED :])  # of no use, but the compression goes on from it
        return None


_FIXED: Mapping[int, int] = {
    Kind.SYN_STREAM: frames.SYN_STREAM_FIXED,
    Kind.SYN_REPLY: frames.SYN_REPLY_FIXED,
    Kind.RST_STREAM: 8,
    Kind.PING: 4,
    Kind.GOAWAY: 8,
    Kind.HEADERS: frames.SYN_REPLY_FIXED,
}
_EXACT = frozenset({Kind.RST_STREAM, Kind.PING, Kind.GOAWAY})


def _named(kind: type[E], number: int) -> E | int:
    try:
        return kind(number)
    except ValueError:
        return number
