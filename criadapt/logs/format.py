"""The CRI log line: ``<RFC 3339 time, nanoseconds> <stream> <tag> <content>`` and a newline.

Tag F ends a line; P marks a piece of a line that goes on in the next entry of the same stream. Content is bytes and
stays as it is, except for a carriage return before the newline, which is dropped (containerd does the same).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

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


class Entry(NamedTuple):
    """One parsed entry; `partial` says that its line goes on in the stream's next entry."""

    time_ns: int
    stream: str
    partial: bool
    content: bytes


def parse_entry(line: bytes) -> Entry:
    """An entry without its newline. Raises ValueError saying what is wrong with it."""
    stamp, _, rest = line.partition(b" ")
    stream, _, rest = rest.partition(b" ")
    tags, space, content = rest.partition(b" ")
    try:
        time_ns = parse_timestamp(stamp.decode("ascii"))
    except ValueError:
        raise ValueError("it does not begin with an RFC 3339 time") from None
    if stream not in _STREAMS:
        raise ValueError("its stream is neither stdout nor stderr")
    tag = tags.partition(b":")[0]
    if tag not in (b"P", b"F"):
        raise ValueError("its tag is neither P nor F")
    if not space:
        raise ValueError("the space behind its tag is missing")
    return Entry(time_ns, _STREAMS[stream], tag == b"P", content)


_STREAMS = {b"stdout": "stdout", b"stderr": "stderr"}


class LineSplitter:
    """Cuts the bytes of one stream into log entries.

    Entries depend on the chunk alone: what a chunk leaves unfinished becomes a P entry at once instead of waiting for
    its end. So output is in the log as soon as it was read, and a chunk that is read again after a restart gives the
    same entries again, which can then be counted and skipped.
    """

    __slots__ = ("_full", "_open", "_partial")

    def __init__(self, stream: str) -> None:
        self._full = f" {stream} F ".encode()
        self._partial = f" {stream} P ".encode()
        self._open = False

    def feed(self, data: bytes, stamp: bytes) -> list[bytes]:
        """Entries of a chunk, each stamped with `stamp`."""
        if not data:
            return []
        lines = data.split(b"\n")
        rest = lines.pop()
        entries: list[bytes] = []
        for line in lines:
            if line.endswith(b"\r"):
                line = line[:-1]
            line = self._cut(line, stamp, entries)
            entries.append(b"".join((stamp, self._full, line, b"\n")))
        if rest:
            rest = self._cut(rest, stamp, entries)
            entries.append(b"".join((stamp, self._partial, rest, b"\n")))
        self._open = bool(rest)
        return entries

    def _cut(self, line: bytes, stamp: bytes, entries: list[bytes]) -> bytes:
        """Add the full pieces of a long line; returns what is left of it."""
        while len(line) > MAX_CONTENT:
            entries.append(b"".join((stamp, self._partial, line[:MAX_CONTENT], b"\n")))
            line = line[MAX_CONTENT:]
        return line

    def finish(self, stamp: bytes) -> list[bytes]:
        """The stream ended: a line without a newline is ended by an empty F entry, since nothing follows it.

        After a restart this is known of a stream only if it wrote again; readers cope with a P entry at the end.
        """
        was_open, self._open = self._open, False
        return [b"".join((stamp, self._full, b"\n"))] if was_open else []
