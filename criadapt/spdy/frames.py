"""Frames as bytes. All integers are big-endian.

    control: 1|version:15 | type:16 | flags:8 | length:24 | payload
    data:    0|stream:31            | flags:8 | length:24 | payload

Source: SPDY Protocol, draft 3.1, section 2.
"""

from __future__ import annotations

import struct
from enum import IntEnum

VERSION = 3
HEAD = 8  # bytes before the payload of any frame
MAX_LENGTH = 0xFFFFFF  # what 24 bits hold

FIN = 0x01
UNIDIRECTIONAL = 0x02

_HEAD = struct.Struct(">II")
_SYN_STREAM = struct.Struct(">IIBB")
_PAIR = struct.Struct(">II")
_NUMBER = struct.Struct(">I")

SYN_STREAM_FIXED = _SYN_STREAM.size
SYN_REPLY_FIXED = _NUMBER.size


class Kind(IntEnum):
    """Types of control frames."""

    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    HEADERS = 8
    WINDOW_UPDATE = 9


class ResetStatus(IntEnum):
    """Why a stream was given up (RST_STREAM)."""

    PROTOCOL_ERROR = 1
    INVALID_STREAM = 2
    REFUSED_STREAM = 3
    UNSUPPORTED_VERSION = 4
    CANCEL = 5
    INTERNAL_ERROR = 6
    FLOW_CONTROL_ERROR = 7
    STREAM_IN_USE = 8
    STREAM_ALREADY_CLOSED = 9
    INVALID_CREDENTIALS = 10
    FRAME_TOO_LARGE = 11


class GoAwayStatus(IntEnum):
    """Why a connection ends (GOAWAY)."""

    OK = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2


def control(kind: Kind, payload: bytes, flags: int = 0) -> bytes:
    """A control frame."""
    return _HEAD.pack((0x8000 | VERSION) << 16 | kind, flags << 24 | len(payload)) + payload


def data_head(stream: int, length: int, flags: int = 0) -> bytes:
    """What stands before `length` bytes of data."""
    return _HEAD.pack(stream, flags << 24 | length)


def head(data: bytes | bytearray | memoryview) -> tuple[int, int, int]:
    """The first word, flags and length of a frame."""
    word, rest = _HEAD.unpack_from(data)
    return word, rest >> 24, rest & MAX_LENGTH


def syn_stream(stream: int, block: bytes, flags: int = 0) -> bytes:
    """Open a stream. It depends on no other, and all have the same priority."""
    return control(Kind.SYN_STREAM, _SYN_STREAM.pack(stream, 0, 0, 0) + block, flags)


def syn_reply(stream: int, block: bytes, flags: int = 0) -> bytes:
    """Accept a stream."""
    return control(Kind.SYN_REPLY, _NUMBER.pack(stream) + block, flags)


def rst_stream(stream: int, status: int) -> bytes:
    """Give a stream up."""
    return control(Kind.RST_STREAM, _PAIR.pack(stream, status))


def ping(number: int) -> bytes:
    """Ask for an echo, or be one."""
    return control(Kind.PING, _NUMBER.pack(number))


def go_away(last_stream: int, status: int) -> bytes:
    """Take no more streams than those up to `last_stream`."""
    return control(Kind.GOAWAY, _PAIR.pack(last_stream, status))


def number(payload: bytes | bytearray) -> int:
    """The integer a payload begins with: a stream, mostly (its top bit is reserved), or a ping."""
    return int(_NUMBER.unpack_from(payload)[0])


def pair(payload: bytes | bytearray) -> tuple[int, int]:
    """The two integers of RST_STREAM and GOAWAY."""
    first, second = _PAIR.unpack(payload)
    return first & 0x7FFFFFFF, second
