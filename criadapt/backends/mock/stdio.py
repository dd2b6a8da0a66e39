"""The first three descriptors of a process that somebody outside talks to."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from criadapt.backends.mock.outlet import Outlet, OutletWriter
from criadapt.backends.mock.streams import Pipe, PipeReader, Stream
from criadapt.backends.mock.tty import Tty, TtyStream


class Standard(NamedTuple):
    """Descriptors, and where input goes in."""

    fds: dict[int, Stream]
    tty: Tty | None
    stdin: Pipe | None
    closings: int
    """How often `on_close` will be called before nobody can write any more."""


def standard_streams(
    outlet: Outlet, *, tty: bool, stdin: bool, signal: Callable[[int], None], on_close: Callable[[], None] | None = None
) -> Standard:
    """Make them. `signal` is called for the terminal's keys that signal, `on_close` for each stream that closes."""
    if tty:
        terminal = Tty(outlet, signal)
        stream = TtyStream(terminal, on_close)
        return Standard({0: stream, 1: stream, 2: stream}, terminal, None, 1)
    out, err = OutletWriter(outlet, "stdout", on_close), OutletWriter(outlet, "stderr", on_close)
    if not stdin:
        return Standard({0: Stream(), 1: out, 2: err}, None, None, 2)
    pipe = Pipe()
    pipe.add_writer()
    return Standard({0: PipeReader(pipe, outside=True), 1: out, 2: err}, None, pipe, 2)
