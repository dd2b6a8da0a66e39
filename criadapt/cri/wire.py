"""The little of the protobuf wire format that joining ready-made parts needs.

A message is the concatenation of its fields in any order, and a repeated message field is its items one after the
other, so a list answer can be put together from rows encoded once.
Source: protobuf.dev, "Encoding".
"""

from __future__ import annotations

_VARINT, _DELIMITED = 0, 2


def varint(number: int) -> bytes:
    """A non-negative integer, seven bits a byte, lowest first."""
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def message_field(number: int, payload: bytes) -> bytes:
    """An encoded message (or bytes, or string) as field `number`."""
    return varint(number << 3 | _DELIMITED) + varint(len(payload)) + payload


def integer_field(number: int, value: int) -> bytes:
    """A non-negative int64 as field `number`; nothing for 0, which is what an absent field means."""
    return varint(number << 3 | _VARINT) + varint(value) if value else b""
