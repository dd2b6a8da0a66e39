"""The files of one log: the current one, those it was rotated to, and their lines from the end backwards."""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Self

_BLOCK = 64 * 1024
READ = 128 * 1024
"""Bytes that are read at once."""


def rotated(path: Path) -> list[Path]:
    """What the log at `path` was rotated to, oldest first; a file that is being compressed is listed once.

    kubelet renames to ``<path>.<time>`` and compresses all but the newest to ``<path>.<time>.gz``; Docker and logrotate
    count upwards from ``<path>.1``, the newest.
    """
    found: dict[str, Path] = {}
    try:
        names = sorted(os.listdir(path.parent), reverse=True)  # the plain file comes last, and stays
    except OSError:
        return []
    for name in names:
        if name.startswith(path.name + ".") and not name.endswith(".tmp"):
            found[name.removesuffix(".gz")] = path.parent / name
    return [found[name] for name in sorted(found, key=lambda name: age(path, name))]


def age(path: Path, name: str) -> tuple[int, int, str]:
    """Sorts the names of a log's rotated files, oldest first."""
    suffix = name.removesuffix(".gz").removeprefix(path.name + ".")
    return (0, -int(suffix), "") if suffix.isdecimal() and len(suffix) < 4 else (1, 0, suffix)


def backwards(fd: int) -> Iterator[tuple[int, bytes]]:
    """Offset and content of a file's lines, last one first, leaving out an unfinished one at its end.

    A chunk may have given thousands of entries: there is no fixed tail.
    """
    position = os.fstat(fd).st_size
    rest = b""
    torn = True  # what stands behind the last newline was never finished
    while position:
        step = min(_BLOCK, position)
        position -= step
        first, *lines = (os.pread(fd, step, position) + rest).split(b"\n")
        end = position + len(first) + sum(len(line) + 1 for line in lines)
        rest = first
        for line in reversed(lines):
            start = end - len(line)
            if not torn:
                yield start, line
            torn = False
            end = start - 1
    if rest and not torn:
        yield 0, rest


class LogFile:
    """An open file of a log, and how far it has been read. A compressed one is unpacked into a nameless file."""

    __slots__ = ("_file", "_name", "drained", "offset", "problem")

    def __init__(self, path: Path) -> None:
        """Raises OSError. What cannot be unpacked is told by `problem`."""
        self.offset = 0
        self.drained = False
        """Whether :meth:`read` has come to the end."""
        self.problem = ""
        self._name = ""
        self._file: IO[bytes] = path.open("rb")
        if path.suffix == ".gz":
            self._name = path.name
            self._file, self.problem = _unpacked(self._file)

    @classmethod
    def opened(cls, path: Path) -> Self | None:
        """The file at `path`, or what it was compressed to just now; None if there is neither."""
        for candidate in (path, Path(f"{path}.gz")):
            with suppress(FileNotFoundError):
                return cls(candidate)
        return None

    def close(self) -> None:
        """Let go of it."""
        self._file.close()

    def fileno(self) -> int:
        """Its descriptor."""
        return self._file.fileno()

    def size(self) -> int:
        """Its bytes by now."""
        return os.fstat(self.fileno()).st_size

    def name(self) -> str:
        """Its present name, whatever it was opened as, or its last one if it has been removed; empty if unknown."""
        if self._name:
            return self._name
        try:  # the kernel follows a file through all its renames, which looking for its inode in the folder does not
            return os.path.basename(os.readlink(f"/proc/self/fd/{self.fileno()}")).removesuffix(" (deleted)")
        except OSError:
            return ""

    def lies_at(self, path: Path) -> bool:
        """Whether `path` leads to this file."""
        try:
            return not self._name and os.path.samestat(path.stat(), os.fstat(self.fileno()))
        except FileNotFoundError:
            return False

    def rewound(self) -> bool:
        """Begin anew if the file has become shorter than what was read of it; whether it has."""
        if self.size() >= self.offset:
            return False
        self.offset = 0
        return True

    def read(self) -> bytes:
        """The next whole lines, as many as are there and fit; a line that does not fit comes in pieces.

        An unfinished line at the end is left for the next time: a writer that died in it cuts it off when it is back.
        """
        data = os.pread(self.fileno(), READ, self.offset)
        self.drained = len(data) < READ
        end = data.rfind(b"\n") + 1
        if end or self.drained:
            data = data[:end]
        self.offset += len(data)
        return data

    def rest(self) -> bytes:
        """The unfinished line at the end."""
        data = os.pread(self.fileno(), READ, self.offset)
        self.offset += len(data)
        return data


def _unpacked(packed: IO[bytes]) -> tuple[IO[bytes], str]:
    plain = tempfile.TemporaryFile()  # noqa: SIM115 - it is handed on
    problem = ""
    try:
        with packed, gzip.open(packed) as content:
            shutil.copyfileobj(content, plain)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        problem = f"the rest of {os.path.basename(packed.name)!r} cannot be unpacked: {error}"
    except BaseException:
        plain.close()
        raise
    plain.flush()
    return plain, problem
