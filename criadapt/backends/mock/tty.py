"""Terminals: a line discipline between somebody outside and the processes of a session."""

from __future__ import annotations

import re
from collections.abc import Callable

from criadapt.backends.mock.clock import Clock
from criadapt.backends.mock.outlet import Outlet
from criadapt.backends.mock.streams import SPEED, Pipe, Stream

_SIGINT, _SIGQUIT, _SIGWINCH = 2, 3, 28
_INTERRUPT, _QUIT, _END, _WORD, _KILL, _REDRAW = b"\x03", b"\x1c", b"\x04", b"\x17", b"\x15", b"\x12"
_ERASE = (b"\x7f", b"\x08")
_PIECES = re.compile(rb"[^\x03\x04\x08\x0a\x0d\x12\x15\x17\x1c\x7f]+|[\x00-\xff]")


class Tty:
    """A terminal in cooked mode with echo: what is typed is edited here and read a line at a time."""

    def __init__(self, outlet: Outlet, signal: Callable[[int], None]) -> None:
        self.outlet = outlet
        self.width = 80
        self.height = 24
        self.echo = True
        self.raw = False
        self.input = Pipe()
        self.input.readers += 1  # the terminal outlives its readers
        self.input.add_writer()
        self._signal = signal
        self._line = b""
        self._hung_up = False

    async def type(self, data: bytes, now: Callable[[], int]) -> None:
        """Keys pressed outside."""
        if self._hung_up:
            return
        if self.raw:
            await self.input.feed(data, now)
            return
        for piece in _PIECES.findall(data):
            await self._key(piece, now)

    async def _key(self, key: bytes, now: Callable[[], int]) -> None:
        if key in (b"\r", b"\n"):
            self._show(b"\r\n", now())
            line, self._line = self._line + b"\n", b""
            await self.input.feed(line, now)
        elif key in _ERASE:
            if self._line:
                self._line = self._line.decode("utf-8", "surrogateescape")[:-1].encode("utf-8", "surrogateescape")
                self._show(b"\b \b", now())
        elif key in (_KILL, _WORD):
            kept = b"" if key == _KILL else re.sub(rb"\S*\s*$", b"", self._line)
            self._show(b"\b \b" * (len(self._line) - len(kept)), now())
            self._line = kept
        elif key == _END:
            line, self._line = self._line, b""
            if line:
                await self.input.feed(line, now)
            else:
                self.hang_up()
        elif key in (_INTERRUPT, _QUIT):
            self._line = b""
            self._show(b"^C" if key == _INTERRUPT else b"^\\", now())
            self._signal(_SIGINT if key == _INTERRUPT else _SIGQUIT)
            self.input.interrupt()
        elif key != _REDRAW:
            self._line += key
            self._show(key, now())

    def hang_up(self) -> None:
        """End of input, for good."""
        if not self._hung_up:
            self._hung_up = True
            self.input.drop_writer()

    def resize(self, width: int, height: int) -> None:
        """Someone changed the window."""
        if width > 0 and height > 0:
            self.width, self.height = width, height
            self._signal(_SIGWINCH)

    def _show(self, data: bytes, time_ns: int) -> None:
        if self.echo:
            self.outlet.put("stdout", data, time_ns)


class TtyStream(Stream):
    """A process's descriptor of a terminal, good for reading and writing."""

    __slots__ = ("_on_close", "tty")

    def __init__(self, tty: Tty, on_close: Callable[[], None] | None = None) -> None:
        super().__init__()
        self.tty = tty
        self._on_close = on_close

    def closed(self) -> None:
        """Tell whoever counts the writers."""
        if self._on_close is not None:
            self._on_close()

    async def read(self, size: int, clock: Clock) -> bytes:
        """The next line."""
        while True:
            try:
                data = await self.tty.input.read(size, clock)
            except InterruptedError:
                continue
            clock.reach_present()
            return data

    async def read_typed(self, clock: Clock) -> bytes:
        """The next line. Raises InterruptedError when the interrupt key is pressed."""
        line = await self.tty.input.read(4096, clock)
        clock.reach_present()
        head, newline, rest = line.partition(b"\n")
        if rest:
            self.unread(rest, clock)
        return head + newline

    def unread(self, data: bytes, clock: Clock) -> None:
        """Put back what was read too much."""
        self.tty.input.unread(data, clock)

    async def write(self, data: bytes, clock: Clock) -> None:
        """Write all of `data`, line ends as terminals want them."""
        await clock.work(len(data) // SPEED)
        await self.tty.outlet.write("stdout", data if self.tty.raw else data.replace(b"\n", b"\r\n"), clock)
