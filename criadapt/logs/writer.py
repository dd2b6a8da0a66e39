"""One container's log file: appended to, reopened by name after somebody renamed it."""

from __future__ import annotations

import os

from criadapt.logs.format import LineSplitter, timestamp

FILE_MODE = 0o640
FOLDER_MODE = 0o755


class LogWriter:
    """Writes entries with one write per chunk, so that a reader and a rename see whole lines only.

    The file exists from the start and is opened for good with the first output: a thousand silent containers hold
    no descriptors. A full disk loses entries (counted in `dropped`), never the container.
    """

    __slots__ = ("_fd", "_last", "_skip", "_skip_time", "_splitters", "dropped", "path")

    def __init__(self, path: str, *, skip: tuple[int, int] = (0, 0)) -> None:
        """`skip`: (time, n): the first n entries with this time are in the file already."""
        self.path = path
        self.dropped = 0
        self._fd = -1
        self._splitters: dict[str, LineSplitter] = {}
        self._skip_time, self._skip = skip
        self._last = 0
        os.makedirs(os.path.dirname(path), mode=FOLDER_MODE, exist_ok=True)
        os.close(self._open())

    def write(self, stream: str, data: bytes, time_ns: int) -> None:
        """Append what a process wrote to `stream` at `time_ns`."""
        self._last = time_ns
        splitter = self._splitters.get(stream)
        if splitter is None:
            splitter = self._splitters[stream] = LineSplitter(stream)
        self._append(splitter.feed(data, timestamp(time_ns).encode()), time_ns)

    def finish(self) -> None:
        """The streams ended: end their last lines and close the file."""
        stamp = timestamp(self._last).encode()
        entries = [entry for splitter in self._splitters.values() for entry in splitter.finish(stamp)]
        self._append(entries, self._last)
        self.close()

    def reopen(self) -> None:
        """Go on in a file of the old name. When this returns the file exists and the renamed one gets no more.

        If the new file cannot be made the old one stays open.
        """
        fd = self._open()
        self.close()
        self._fd = fd

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _append(self, entries: list[bytes], time_ns: int) -> None:
        if self._skip:
            entries = self._without_written(entries, time_ns)
        if not entries:
            return
        try:
            if self._fd < 0:
                self._fd = self._open()
            self._write_whole(self._fd, b"".join(entries))
        except OSError:
            self.dropped += len(entries)

    def _without_written(self, entries: list[bytes], time_ns: int) -> list[bytes]:
        if time_ns > self._skip_time:
            self._skip = 0
            return entries
        skipped = min(self._skip, len(entries))
        self._skip -= skipped
        return entries[skipped:]

    def _write_whole(self, fd: int, data: bytes) -> None:
        """All of `data` or nothing of it: half an entry would be joined to the next one."""
        written = os.write(fd, data)
        try:
            while written < len(data):
                written += os.write(fd, data[written:])
        except OSError:
            os.ftruncate(fd, os.fstat(fd).st_size - written)
            raise

    def _open(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, FILE_MODE)
