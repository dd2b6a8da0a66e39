"""From entries to the lines that a container wrote."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from criadapt.logs.format import Entry, parse_entry, parse_timestamp

STREAMS = ("stdout", "stderr")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line that a container wrote, without its newline; or, if `partial`, a piece that no newline follows.

    Where a file holds something that is no log entry, `problem` says what is wrong with it, `stream` is empty and
    `data` is what stands there.
    """

    time_ns: int
    """When the line began, in nanoseconds since the epoch; 0 if nobody knows."""
    stream: str
    """``stdout`` or ``stderr``."""
    data: bytes
    partial: bool = False
    problem: str = ""

    @property
    def text(self) -> str:
        """`data` as text; what is not UTF-8 becomes U+FFFD."""
        return self.data.decode("utf-8", "replace")

    @property
    def time(self) -> datetime:
        """`time_ns` in UTC, cut to microseconds."""
        return EPOCH + timedelta(microseconds=self.time_ns // 1000)


class Joiner:
    """Makes lines of pieces, of up to `limit` bytes."""

    __slots__ = ("_begun", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._begun: dict[str, tuple[int, bytearray]] = {}

    def add(self, entry: Entry) -> list[LogLine]:
        """The line that the entry ends, or what has become too long of it."""
        time_ns, data = self._begun.pop(entry.stream, (entry.time_ns, bytearray()))
        data += entry.content
        if entry.partial and len(data) < self._limit:
            self._begun[entry.stream] = (time_ns, data)
            return []
        return [LogLine(time_ns=time_ns, stream=entry.stream, data=bytes(data), partial=entry.partial)]

    def flush(self) -> list[LogLine]:
        """What is not ended."""
        begun, self._begun = self._begun, {}
        return [
            LogLine(time_ns=time_ns, stream=stream, data=bytes(data), partial=True)
            for stream, (time_ns, data) in begun.items()
        ]


def parse(line: bytes) -> Entry:
    """An entry of CRI's format, or of Docker's, whose files cri-dockerd passes off as logs. Raises ValueError."""
    if not line.startswith(b"{"):
        return parse_entry(line)
    try:
        row = json.loads(line)
        text, stream, stamp = row["log"], row["stream"], row["time"]
        if stream not in STREAMS:
            raise ValueError("its stream is neither stdout nor stderr")
        ended = text.endswith("\n")
        content = text.removesuffix("\n").encode("utf-8", "replace")
        return Entry(parse_timestamp(stamp), stream, not ended, content)
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"it is neither CRI's nor Docker's format ({error})") from None
