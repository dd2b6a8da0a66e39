"""The CRI log line: ``<RFC 3339 time, nanoseconds> <stream> <tag> <content>`` and a newline.

Tag F ends a line; P marks a piece of a line that goes on in the next entry of the same stream. Content is bytes and
stays as it is, except for a carriage return before the newline, which is dropped (containerd does the same).
"""

from __future__ import annotations

from datetime import UTC, datetime

MAX_CONTENT = 16384  # bytes of one entry; longer lines are split, as containerd does by default


def timestamp(time_ns: int) -> str:
    """``2016-10-06T00:17:09.669794202Z``, always nine digits, always UTC."""
    seconds, nanos = divmod(time_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanos:09d}Z"


def parse_timestamp(text: str) -> int:
    """Nanoseconds since the epoch; raises ValueError. Understands what :func:`timestamp` writes, and offsets."""
    head, _, rest = text.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    zone = rest[len(digits) :] if rest else ""
    if not digits:
        head, zone = text, ""
    whole = datetime.fromisoformat(head + zone)
    return int(whole.timestamp()) * 1_000_000_000 + int(digits.ljust(9, "0")[:9] or "0")


class LineSplitter:
    """Cuts the bytes of one stream into log entries. Feed it, then flush it at the end of the stream."""

    __slots__ = ("_full", "_partial", "_rest")

    def __init__(self, stream: str) -> None:
        self._full = f" {stream} F ".encode()
        self._partial = f" {stream} P ".encode()
        self._rest = b""

    def feed(self, data: bytes, stamp: bytes) -> list[bytes]:
        """Complete entries in `data`, each stamped with `stamp`; an unfinished line is kept for the next call."""
        lines = (self._rest + data if self._rest else data).split(b"\n")
        rest = lines.pop()
        entries: list[bytes] = []
        for line in lines:
            if line.endswith(b"\r"):
                line = line[:-1]
            while len(line) > MAX_CONTENT:
                entries.append(b"".join((stamp, self._partial, line[:MAX_CONTENT], b"\n")))
                line = line[MAX_CONTENT:]
            entries.append(b"".join((stamp, self._full, line, b"\n")))
        while len(rest) > MAX_CONTENT:
            entries.append(b"".join((stamp, self._partial, rest[:MAX_CONTENT], b"\n")))
            rest = rest[MAX_CONTENT:]
        self._rest = rest
        return entries

    def flush(self, stamp: bytes) -> list[bytes]:
        """The last line, where the stream ended without a newline. It is whole: nothing follows it."""
        rest, self._rest = self._rest, b""
        return [b"".join((stamp, self._full, rest, b"\n"))] if rest else []
