"""Reads a container's log: the past, the present, and what is still being written, across rotation.

    with LogReader(path, tail=10) as reader:
        while not reader.at_end:
            for line in reader.poll():
                print(line.time, line.text)

Nothing here waits: :meth:`LogReader.poll` gives what is there, and whoever follows a log asks again. The files may be
renamed, compressed, truncated and removed meanwhile; every line is given once, in the order it was written.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

from criadapt.errors import EngineError, InvalidArgument, NotFound, PermissionDenied
from criadapt.logs.files import LogFile, age, backwards, rotated
from criadapt.logs.format import Entry
from criadapt.logs.lines import EPOCH, STREAMS, Joiner, LogLine, parse
from criadapt.logs.tail import TailSearch

LINE_LIMIT = 1 << 20
"""Bytes of a line that are held until its end comes."""

Moment: TypeAlias = datetime | timedelta | int
"""A time with its zone, how long ago it was, or nanoseconds since the epoch."""


def nanoseconds(moment: Moment, name: str) -> int:
    """A moment in nanoseconds since the epoch. Raises InvalidArgument with `name` for a time without a zone."""
    if isinstance(moment, int):
        return moment
    if isinstance(moment, timedelta):
        return time.time_ns() - moment // timedelta(microseconds=1) * 1000
    if moment.tzinfo is None:
        raise InvalidArgument(f"{name} {moment} has no time zone; say which one, such as datetime.now(UTC)")
    return (moment - EPOCH) // timedelta(microseconds=1) * 1000


class LogReader:
    """The log at `path`.

    `since` and `until` bound the time at which lines began, `tail` gives the last so many of them to begin with,
    `streams` leaves out others. `rotated` begins with the oldest rotated file instead of the current one; rotation
    from then on is followed either way. With `pieces` the pieces of long lines are given as they stand in the file;
    otherwise they are joined, up to `limit` bytes: what is longer comes in several, all but the last one `partial`.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        since: Moment | None = None,
        until: Moment | None = None,
        tail: int | None = None,
        streams: Collection[str] = STREAMS,
        rotated: bool = False,
        pieces: bool = False,
        limit: int = LINE_LIMIT,
    ) -> None:
        """Opens nothing yet. Raises InvalidArgument."""
        if isinstance(streams, str) or not set(streams) <= set(STREAMS):
            raise InvalidArgument(f"streams is {streams!r}; it must be a collection of 'stdout' and 'stderr'")
        if tail is not None and tail < 0:
            raise InvalidArgument(f"tail is {tail}; it must not be negative")
        self.path = Path(path)
        self.at_end = False
        """Whether the last :meth:`poll` came to the end of what has been written; if so it gave nothing."""
        self.done = False
        """Whether nothing will come any more: after `until`, or after :meth:`finish`."""
        self._since = 0 if since is None else nanoseconds(since, "since")
        self._until = (1 << 63) if until is None else nanoseconds(until, "until")
        self._tail = tail
        self._streams = frozenset(streams)
        self._rotated = rotated
        self._pieces = pieces
        self._joiner = Joiner(0 if pieces else limit)
        self._file: LogFile | None = None
        self._begun: Entry | None = None
        self._skip = 0
        self._last_ns = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self.done = True

    def open(self) -> None:
        """Open the file to begin with, at the place to begin at; :meth:`poll` does it otherwise. Raises the same."""
        if self._file is None and not self.done:
            with self._told():
                self._file = self._first()

    def poll(self) -> list[LogLine]:
        """Some of the lines that are there, in order; with none and `at_end` there are no more for now.

        Raises NotFound when there is no file to begin with, PermissionDenied when it may not be read, and EngineError
        when the disk fails.
        """
        self.at_end = False
        if self.done:
            self.at_end = True
            return []
        self.open()
        with self._told():
            return self._poll()

    def read(self) -> list[LogLine]:
        """All lines up to the present end, the unfinished ones included; nothing comes after them."""
        found: list[LogLine] = []
        while not self.at_end:
            found += self.poll()
        return found + self.finish()

    def finish(self) -> list[LogLine]:
        """What no newline has ended yet, to be called when nobody writes any more; nothing comes after it."""
        if self.done or self._file is None:
            self.close()
            return []
        found = self._rest(self._file) + self._chosen(self._joiner.flush())
        self.close()
        return found

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise NotFound(f"log file {str(self.path)!r} does not exist") from None
        except PermissionError as error:
            raise PermissionDenied(
                f"log file {error.filename or str(self.path)!r} may not be read; logs belong to root as a rule"
            ) from error
        except OSError as error:
            raise EngineError(f"log file {str(self.path)!r} cannot be read: {error.strerror or error}") from error

    def _poll(self) -> list[LogLine]:
        assert self._file is not None
        file = self._file
        found = self._take(file)
        if found or not file.drained:
            return found
        following = self._following(file)
        if following is None:
            self.at_end = True
            return []
        # The writer has gone over to another file: what it wrote before that is all there by now.
        found = self._take(file)
        if found or not file.drained:
            following.close()
            return found
        found = self._rest(file)
        file.close()
        self._file = following
        return found

    # ------------------------------------------------------------------ which file

    def _first(self) -> LogFile:
        """The file to begin with, at the place to begin at."""
        self.path = Path(os.path.realpath(self.path))  # rotated files lie beside the file, not beside a link to it
        older = rotated(self.path) if self._rotated else []
        try:
            current = LogFile(self.path)
        except FileNotFoundError:
            if not older:
                raise
            current = LogFile(older.pop())
        older = [path for path in older if not current.lies_at(path)]
        if self._tail is not None:
            return self._from_tail(current, older, self._tail)
        for path in older:
            if (first := LogFile.opened(path)) is not None:
                current.close()
                return first
        return current

    def _following(self, file: LogFile) -> LogFile | None:
        """The file that the log goes on in behind `file`; None while `file` may get more."""
        if file.lies_at(self.path):
            return None
        current = LogFile(self.path) if self.path.exists() else None
        name = file.name()
        if name.startswith(self.path.name + "."):
            for path in rotated(self.path):
                if age(self.path, path.name) <= age(self.path, name):
                    continue
                if current is not None and current.lies_at(path):
                    return current  # renamed since it was opened
                if (between := LogFile.opened(path)) is not None:
                    if current is not None:
                        current.close()
                    return between
        if current is not None and not current.size():  # its writer may not have gone over to it yet
            current.close()
            return None
        return current

    def _from_tail(self, current: LogFile, older: list[Path], wanted: int) -> LogFile:
        """The file in which the last lines begin, at the place where they do."""
        search = TailSearch(wanted=wanted, joined=not self._pieces)
        chosen, start = current, _end(current)
        file: LogFile | None = current
        while file is not None:
            for offset, line in backwards(file.fileno()):
                if search.is_over:
                    break
                try:
                    entry = parse(line)
                except ValueError:
                    entry = Entry(self._since, "", False, line)
                if (entry.stream and entry.stream not in self._streams) or entry.time_ns > self._until:
                    continue
                if entry.time_ns < self._since:
                    older = []
                    break
                if search.passes(entry):
                    if chosen is not file:
                        chosen.close()
                    chosen, start = file, offset
            if chosen is not file:
                file.close()
            file = LogFile.opened(older.pop()) if older and not search.is_over else None
        chosen.offset = start
        self._skip = search.others
        return chosen

    # ------------------------------------------------------------------ from bytes to lines

    def _take(self, file: LogFile) -> list[LogLine]:
        """What the next bytes of `file` give."""
        found = self._chosen(self._joiner.flush()) if file.rewound() else []
        *lines, rest = file.read().split(b"\n")
        for line in lines:
            found += self._entry(line)
        if rest:
            found += self._entry(rest, ended=False)
        return found

    def _rest(self, file: LogFile) -> list[LogLine]:
        """What stands behind the last newline of a file that gets no more."""
        found: list[LogLine] = []
        if rest := file.rest():
            found = self._entry(rest, ended=False) + self._chosen(self._joiner.flush())
        self._begun = None
        if file.problem:
            found.append(LogLine(time_ns=self._last_ns, stream="", data=b"", problem=file.problem))
        return found

    def _entry(self, line: bytes, *, ended: bool = True) -> list[LogLine]:
        """What an entry gives, or a piece of one that is too long to be read at once."""
        if self.done:
            return []
        begun, self._begun = self._begun, None
        try:
            entry = begun._replace(content=line) if begun is not None else parse(line)
        except ValueError as error:
            problem = f"this is no log entry: {error}"
            return self._chosen([LogLine(time_ns=self._last_ns, stream="", data=line, problem=problem)])
        self._last_ns = entry.time_ns
        if entry.time_ns > self._until:
            self.done = True
            return self._chosen(self._joiner.flush())
        if not ended:
            self._begun = entry
            entry = entry._replace(partial=True)
        return self._chosen(self._joiner.add(entry)) if entry.stream in self._streams else []

    def _chosen(self, lines: list[LogLine]) -> list[LogLine]:
        if self._skip and lines:
            self._skip -= sum(not line.partial for line in lines)
            return []
        return [line for line in lines if line.time_ns >= self._since or line.problem]


def _end(file: LogFile) -> int:
    """Offset behind the last whole line."""
    for offset, line in backwards(file.fileno()):
        return offset + len(line) + 1
    return 0
