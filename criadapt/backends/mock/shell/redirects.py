"""Redirections: from words to open streams."""

from __future__ import annotations

import errno
from typing import NamedTuple

from criadapt.backends.mock.clock import Clock
from criadapt.backends.mock.descriptors import Mode, open_stream
from criadapt.backends.mock.process import Proc
from criadapt.backends.mock.shell.expand import Expander
from criadapt.backends.mock.shell.syntax import Redirect
from criadapt.backends.mock.streams import Stream

_MODES: dict[str, Mode] = {"<": "r", ">": "w", ">|": "w", ">>": "a", "<>": "rw", "&>": "w", "&>>": "a"}


Undo = list[tuple[int, Stream | None]]  # what descriptors were before


class Opened(NamedTuple):
    """A redirection whose target is expanded, so that it can be applied in another process."""

    fd: int
    op: str
    target: str


class Document(Stream):
    """The text of a here-document."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._data = data

    async def read(self, size: int, clock: Clock) -> bytes:
        """The next part of it."""
        data, self._data = self._data[:size], self._data[size:]
        return data

    def unread(self, data: bytes, clock: Clock) -> None:
        """Put back."""
        self._data = data + self._data


async def expand_redirects(expander: Expander, redirects: list[Redirect]) -> list[Opened]:
    """Expand the targets."""
    return [Opened(one.fd, one.op, await expander.text(one.target)) for one in redirects]


def apply(proc: Proc, redirects: list[Opened]) -> Undo:
    """Redirect descriptors of `proc`; returns what restore() wants. Raises OSError, with nothing left redirected.

    The error's file name is the whole message as shells word it, its text is empty.
    """
    undo: Undo = []
    try:
        for redirect in redirects:
            stream = _open(proc, redirect)
            if stream is not None:
                stream.retain()
            for fd in (1, 2) if redirect.op in ("&>", "&>>") else (redirect.fd,):
                undo.append((fd, proc.fds.get(fd)))
                _set(proc, fd, stream)
                if stream is not None:
                    stream.retain()
            if stream is not None:
                stream.release()
    except OSError as error:
        restore(proc, undo)
        raise _worded(redirect, error) from None
    return undo


def restore(proc: Proc, undo: Undo) -> None:
    """Put descriptors back; the redirected streams are closed if nobody else has them."""
    for fd, before in reversed(undo):
        now = proc.fds.get(fd)
        _set(proc, fd, before)
        if now is not None:
            now.release()


def keep(undo: Undo) -> None:
    """Make redirections last: what was there before is let go of."""
    for _, before in undo:
        if before is not None:
            before.release()


def _set(proc: Proc, fd: int, stream: Stream | None) -> None:
    proc.fds = dict(proc.fds)
    if stream is None:
        proc.fds.pop(fd, None)
    else:
        proc.fds[fd] = stream


def _open(proc: Proc, redirect: Opened) -> Stream | None:
    if redirect.op in ("<<", "<<-", "<<<"):
        text = redirect.target + ("\n" if redirect.op == "<<<" else "")
        return Document(text.encode(errors="surrogateescape"))
    if redirect.op in ("<&", ">&"):
        if redirect.target == "-":
            return None
        if redirect.target.isdigit():
            source = proc.fds.get(int(redirect.target))
            if source is None:
                raise OSError(errno.EBADF, "Bad file descriptor", redirect.target)
            return source
        return open_stream(proc, redirect.target, "w")
    return open_stream(proc, redirect.target, _MODES[redirect.op])


def _worded(redirect: Opened, error: OSError) -> OSError:
    reading = redirect.op in ("<", "<>")
    if isinstance(error, FileNotFoundError):
        reason = "no such file" if reading else "nonexistent directory"
    else:
        reason = error.strerror or "error"
    if error.errno == errno.EBADF:
        return OSError(f"{redirect.target}: Bad file descriptor")
    return OSError(f"can't {'open' if reading else 'create'} {redirect.target}: {reason}")
