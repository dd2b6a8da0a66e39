"""Carries the streams of a process in a container to and from this process's own."""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from enum import Enum
from queue import SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING

from criadapt.errors import CriadaptError, storage_failed

if TYPE_CHECKING:
    from criadapt.client.sync.process import Input, Output, Process

STDIN, STDOUT, STDERR = 0, 1, 2
CHUNK = 256 * 1024  # bytes

DETACH_KEYS = b"\x10\x11"
"""Ctrl-P, Ctrl-Q, as Docker has it."""


class _News(Enum):
    """What threads and signals tell the thread that waits."""

    ENDED = "an output has ended"
    RESIZED = "the window has another size"
    DETACHED = "the detach keys were pressed"


_Queue = SimpleQueue[_News | OSError]


def carry(process: Process, *, terminal: bool = False, detach: bool = False) -> int | None:
    """Carry until the process has ended; returns its exit code, None when the detach keys were pressed.

    With `terminal` the process has one: its size follows this one's, and keys are passed on as they are pressed, so
    that Ctrl-C is for the process. Raises what the process's ``wait()`` does, BrokenPipeError when the reader of an
    output has gone, and ResourceExhausted or EngineError when it cannot be written for another reason.
    """
    # A signal's handler runs between any two steps of this thread, even where it holds a lock that the handler would
    # need. So it does no more than put a word here, which is safe by this queue's nature.
    news: _Queue = SimpleQueue()
    keys = DETACH_KEYS if detach else b""
    with ExitStack() as stack:
        if terminal:
            stack.enter_context(_noticing_size(news))
            if process.stdin is not None and os.isatty(STDIN):
                stack.enter_context(raw(STDIN))
        going = 0
        for output, descriptor in ((process.stdout, STDOUT), (process.stderr, STDERR)):
            if output is not None:
                going += 1
                _start(_drain, output, descriptor, news)
        if process.stdin is not None:
            _start(feed, process.stdin, keys, news)
        while going:
            word = news.get()
            if isinstance(word, OSError):
                raise _unwritable(word)
            if word is _News.DETACHED:
                return None
            if word is _News.RESIZED:
                _resize(process)
            else:
                going -= 1
        return process.wait()


@contextmanager
def raw(descriptor: int) -> Iterator[None]:
    """A terminal that passes on every key; it is itself again at the end of the block, and of this process."""
    before = termios.tcgetattr(descriptor)
    with ending_well(signal.SIGTERM, signal.SIGHUP):
        tty.setraw(descriptor, termios.TCSADRAIN)
        try:
            yield
        finally:
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


@contextmanager
def ending_well(*signals: signal.Signals) -> Iterator[None]:
    """Signals that would end this process at once make it leave the block and then end."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def feed(stdin: Input, keys: bytes = b"", news: _Queue | None = None) -> None:
    """Pass on what this process reads to its end, or until it reads `keys`."""
    held = b""
    # The process may end without having read all, which is no failure of anybody.
    with suppress(CriadaptError, OSError):
        while data := os.read(STDIN, CHUNK):
            if keys:
                data, pressed, _ = (held + data).partition(keys)
                if pressed and news is not None:
                    stdin.write(data)
                    news.put(_News.DETACHED)
                    return
                held = keys[:1] if data.endswith(keys[:1]) else b""
                data = data.removesuffix(held)
            if data:
                stdin.write(data)
        stdin.write(held)
        stdin.close()


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it, whatever the descriptor is. Raises OSError."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:  # whoever shares it with us wants it so
            select.select([], [descriptor], [])


def _drain(output: Output, descriptor: int, news: _Queue) -> None:
    try:
        for data in output.chunks():
            write_all(descriptor, data)
    except CriadaptError:
        pass  # the process's wait() will say so
    except OSError as error:
        news.put(error)
    news.put(_News.ENDED)


@contextmanager
def _noticing_size(news: _Queue) -> Iterator[None]:
    """Tells of the size of the window, now and whenever it changes."""
    before = signal.signal(signal.SIGWINCH, lambda number, frame: news.put(_News.RESIZED))
    news.put(_News.RESIZED)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


def _resize(process: Process) -> None:
    for descriptor in (STDIN, STDOUT, STDERR):
        with suppress(OSError):
            width, height = os.get_terminal_size(descriptor)
            if width and height:
                with suppress(CriadaptError):  # it may just have ended
                    process.resize(width, height)
                return


def _start(work: object, *args: object) -> None:
    # Daemons, as nobody can wake a thread that reads a terminal.
    threading.Thread(target=work, args=args, name="criadapt streams", daemon=True).start()  # type: ignore[arg-type]


def end_with(code: int | None) -> None:
    """End this process with the exit code of another."""
    sys.stdout.flush()
    raise SystemExit(code or 0)


def _unwritable(error: OSError) -> Exception:
    """What to raise for an output that cannot be written; a reader that has gone is nothing to talk about."""
    return error if error.errno == errno.EPIPE else storage_failed("what the command writes cannot be written", error)
