"""What a peer did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from criadapt.spdy.frames import GoAwayStatus, ResetStatus


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The peer opened a stream; answer with ``reply`` or ``reset_stream``. Header names are lower case."""

    stream: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class StreamReplied:
    """The peer accepted a stream that we opened."""

    stream: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class DataReceived:
    """Some bytes of a stream, as they came; how they are cut has no meaning."""

    stream: int
    data: bytes


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """The peer will send nothing more on this stream; it may still read."""

    stream: int


@dataclass(frozen=True, slots=True)
class StreamReset:
    """The peer gave the stream up, both directions."""

    stream: int
    status: ResetStatus | int


@dataclass(frozen=True, slots=True)
class PingAnswered:
    """The peer echoed a ping of ours."""

    number: int


@dataclass(frozen=True, slots=True)
class GoneAway:
    """The peer takes no new streams; those up to `last_stream` may go on."""

    last_stream: int
    status: GoAwayStatus | int


Event = StreamOpened | StreamReplied | DataReceived | StreamEnded | StreamReset | PingAnswered | GoneAway
