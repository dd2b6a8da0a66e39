"""Bytes of Docker Engine's streams → pieces of them. No I/O.

Three layers may lie upon each other: HTTP's chunks (RFC 9112 §7.1), the engine's frames (API reference,
"Attach to a container", stream format), the entries of a log.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from criadapt.backends.base import Stream
from criadapt.errors import EngineError

LARGE = 64 * 1024
"""A chunk of more bytes is handed out in pieces; so no size that the engine names makes us wait or hold it all."""

HEADER = 8  # of a frame: its stream, three zeros, four bytes of length
STDERR, SYSTEM = 2, 3
_LONGEST_HEAD = 4096  # of a chunk: its length and extensions
_STAMP = len("2006-01-02T15:04:05.000000000Z ")
_PIECE = 16 * 1024  # the longest entry; a longer line is cut into such pieces and a shorter one, which may be empty
_TROUBLE = b"Error grabbing logs: "


class Chunked:
    """HTTP's chunks, whole where they are not large.

    The engine sends each log entry as one chunk, and nothing else separates those of a terminal; h11, which parses the
    head of an answer, does not keep chunks together and takes ten times as long for each.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._left = 0  # bytes of a large chunk yet to come
        self._in_large = False
        self.ended = False
        """The last chunk has come; without it the answer is broken off."""

    def feed(self, data: bytes) -> list[bytes]:
        """The pieces that are there now. Raises EngineError."""
        if self._rest:
            data = self._rest + data
        pieces: list[bytes] = []
        position, size = 0, len(data)
        while not self.ended:
            if self._in_large:
                stop = min(position + self._left, size)
                if stop > position:
                    pieces.append(data[position:stop])
                    self._left -= stop - position
                    position = stop
                if self._left or size - position < 2:
                    break
                position += 2
                self._in_large = False
            end = data.find(b"\r\n", position)
            if end < 0:
                if size - position > _LONGEST_HEAD:
                    raise EngineError(f"the engine's answer is not chunked as HTTP is: {data[position:][:80]!r}")
                break
            try:
                length = int(data[position:end].partition(b";")[0], 16)
            except ValueError:
                raise EngineError(f"the engine's answer is not chunked as HTTP is: {data[position:][:80]!r}") from None
            start, stop = end + 2, end + 2 + length
            if not length:
                self.ended = True
            elif stop + 2 <= size:
                pieces.append(data[start:stop])
                position = stop + 2
            elif length > LARGE:
                self._in_large, self._left, position = True, length, start
            else:
                break
        self._rest = data[position:]
        return pieces


class Frames:
    """The engine's frames of two streams in one; a frame is handed out as it comes, in pieces if need be."""

    def __init__(self) -> None:
        self._header = b""
        self._kind = 0
        self._left = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Which stream, and what came of it. Raises EngineError."""
        pieces: list[tuple[int, bytes]] = []
        position, size = 0, len(data)
        while position < size:
            if self._left:
                stop = min(position + self._left, size)
                pieces.append((self._kind, data[position:stop]))
                self._left -= stop - position
                position = stop
                continue
            stop = min(position + HEADER - len(self._header), size)
            self._header += data[position:stop]
            position = stop
            if len(self._header) == HEADER:
                self._kind, self._left = _header(self._header)
                self._header = b""
        return pieces


def _header(header: bytes) -> tuple[int, int]:
    if header[0] > SYSTEM or header[1:4] != b"\0\0\0":
        raise EngineError(f"the engine's stream has no frame where one must begin: {header!r}")
    return header[0], int.from_bytes(header[4:], "big")


class Entry(NamedTuple):
    """What a container wrote, up to the end of a line, or 16 KiB of a longer one."""

    stream: Stream
    time_ns: int
    data: bytes


class Trouble(Exception):
    """The engine says within the log that it cannot read the log."""


class Entries:
    """Log entries with the engine's time stamps. Without a terminal, one frame is one entry.

    `driver` is the one that keeps the log. In Docker 20.10 ``local`` forgets the newline of every line that it had to
    cut into pieces. It is put back: pieces have the stamp of the first, and only the last is short. So is the end of
    output that stops within such a line, which thus gets a newline, too.
    """

    def __init__(self, *, tty: bool, driver: str = "") -> None:
        self._tty = tty
        self._forgetful = driver == "local"
        self._cut: dict[Stream, int] = {}  # stamps of lines that were cut and are to go on
        self._rest = b""
        self._second = b""
        self._second_ns = 0

    def feed(self, chunk: bytes) -> list[Entry]:
        """Entries of one of HTTP's chunks, and of what was left of the one before. Raises EngineError, Trouble."""
        if self._tty:
            return self._typed(chunk)
        if self._rest:
            chunk = self._rest + chunk
        entries: list[Entry] = []
        position, size = 0, len(chunk)
        while size - position >= HEADER:
            kind, length = _header(chunk[position : position + HEADER])
            start, stop = position + HEADER, position + HEADER + length
            if stop > size:
                break
            position = stop
            if kind == SYSTEM:
                raise Trouble(chunk[start:stop].decode("utf-8", "replace").strip())
            entries.append(self._entry("stderr" if kind == STDERR else "stdout", chunk[start:stop]))
        self._rest = chunk[position:]
        return entries

    def _typed(self, chunk: bytes) -> list[Entry]:
        """Entries of a terminal begin where a chunk begins, and behind each newline, since none holds two lines."""
        entries: list[Entry] = []
        for line in _lines(chunk):
            if line.startswith(_TROUBLE):
                raise Trouble(line.decode("utf-8", "replace").strip())
            entries.append(self._entry("stdout", line))
        return entries

    def _entry(self, stream: Stream, text: bytes) -> Entry:
        time_ns, data = self._stamped(text)
        if self._forgetful:
            cut = self._cut.pop(stream, 0)
            if not data.endswith(b"\n"):
                if len(data) == _PIECE:
                    self._cut[stream] = time_ns
                elif cut == time_ns:
                    data += b"\n"
        return Entry(stream, time_ns, data)

    def _stamped(self, entry: bytes) -> tuple[int, bytes]:
        """Time and text of an entry. The stamp is RFC 3339 with nine digits, in UTC or, of some drivers, local time."""
        if entry[_STAMP - 2 : _STAMP] == b"Z ":
            second = entry[:19]
            if second != self._second:
                self._second, self._second_ns = second, _nanoseconds(second + b"Z")
            try:
                return self._second_ns + int(entry[20 : _STAMP - 2]), entry[_STAMP:]
            except ValueError:
                pass
        stamp, _, data = entry.partition(b" ")
        return _nanoseconds(stamp), data


def _lines(data: bytes) -> list[bytes]:
    *lines, rest = data.split(b"\n")
    whole = [line + b"\n" for line in lines]
    return [*whole, rest] if rest else whole


def _nanoseconds(stamp: bytes) -> int:
    """A stamp of the engine as nanoseconds since the epoch. Raises EngineError."""
    head, _, rest = stamp.partition(b".")
    digits = rest[: len(rest) - len(rest.lstrip(b"0123456789"))]
    zone = rest[len(digits) :] if digits else b""
    try:
        whole = datetime.fromisoformat((head + zone).decode("ascii"))
        if whole.tzinfo is None:
            raise ValueError
        return int(whole.timestamp()) * 1_000_000_000 + int(digits[:9].ljust(9, b"0"))
    except ValueError:
        raise EngineError(f"a log entry of the engine does not begin with a time: {stamp[:40]!r}") from None
