"""Opening what a path names as a stream: regular files, devices, and other processes' descriptors."""

from __future__ import annotations

import errno
import re
from typing import Literal

from criadapt.backends.mock.clock import Clock
from criadapt.backends.mock.pids import visible
from criadapt.backends.mock.process import Proc
from criadapt.backends.mock.streams import SPEED, Full, Random, Stream, Zeros
from criadapt.backends.mock.trees import Handle, fail
from criadapt.backends.mock.tty import TtyStream

Mode = Literal["r", "w", "a", "rw"]
_ACCESS_NS = 20_000
_DESCRIPTOR = re.compile(r"/dev/fd/(?P<own>\d+)|/proc/(?P<pid>self|\d+)/fd/(?P<fd>\d+)")
_STANDARD = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}


class FileStream(Stream):
    """An open regular file with its position."""

    __slots__ = ("_append", "_handle", "_position")

    def __init__(self, handle: Handle, *, append: bool = False) -> None:
        super().__init__()
        self._handle = handle
        self._append = append
        self._position = 0

    def closed(self) -> None:
        """Close the file."""
        self._handle.close()

    async def read(self, size: int, clock: Clock) -> bytes:
        """The next bytes."""
        data = self._handle.read(self._position, size)
        self._position += len(data)
        await clock.work(_ACCESS_NS + len(data) // SPEED)
        return data

    def unread(self, data: bytes, clock: Clock) -> None:
        """Step back."""
        self._position -= len(data)

    async def write(self, data: bytes, clock: Clock) -> None:
        """Write all of `data`."""
        await clock.work(_ACCESS_NS + len(data) // SPEED)
        position = self._handle.size() if self._append else self._position
        self._handle.write(position, data, clock.now_ns)
        self._position = position + len(data)

    def seek(self, position: int) -> None:
        """Go elsewhere."""
        self._position = position


def open_stream(proc: Proc, path: str, mode: Mode = "r") -> Stream:
    """Open `path` for a process; the caller retains it. Raises OSError."""
    absolute = proc.files.absolute(path)
    match = _DESCRIPTOR.fullmatch(absolute)
    if absolute in _STANDARD or match is not None:
        return _descriptor(proc, absolute, match)
    if absolute == "/dev/tty":
        terminal = next((stream for stream in proc.fds.values() if isinstance(stream, TtyStream)), None)
        if terminal is None:
            raise fail(errno.ENXIO, path)
        return terminal
    files = proc.files
    if files.exists(path):
        node = files.stat(path)
        if node.kind == "device":
            return _device(proc, bytes(node.data), path)
        if node.kind == "pipe":
            raise fail(errno.ENXIO, path)
    handle = files.open(path, write=mode != "r", create=mode != "r", truncate=mode == "w")
    return FileStream(handle, append=mode == "a")


def _descriptor(proc: Proc, path: str, match: re.Match[str] | None) -> Stream:
    owner: Proc | None = proc
    if match is None:
        number = _STANDARD[path]
    elif match["own"] is not None:
        number = int(match["own"])
    else:
        number = int(match["fd"])
        if match["pid"] != "self":
            owner = dict(visible(proc.machine)).get(int(match["pid"]))
    if owner is None or number not in owner.fds:
        raise fail(errno.ENOENT, path)
    if owner.user.uid != proc.user.uid and proc.user.uid != 0:
        raise fail(errno.EACCES, path)
    return owner.fds[number]


def _device(proc: Proc, name: bytes, path: str) -> Stream:
    if name == b"null":
        return Stream()
    if name == b"zero":
        return Zeros()
    if name == b"full":
        return Full()
    if name in (b"random", b"urandom"):
        return Random(proc.machine.random(f"{proc.number}{path}"))
    raise fail(errno.ENXIO, path)
