"""Reading and writing, as programs of the mock do it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from criadapt.backends.mock.descriptors import Mode, open_stream
from criadapt.backends.mock.outlet import OutletWriter
from criadapt.backends.mock.process import Proc
from criadapt.backends.mock.streams import Stream
from criadapt.backends.mock.tty import TtyStream

CHUNK = 64 * 1024
_NOTHING = Stream()


class Streams:
    """A program's streams and files."""

    __slots__ = ("_out", "_size", "failed", "name", "proc")

    def __init__(self, proc: Proc, name: str) -> None:
        self.proc = proc
        self.name = name
        """How the program was called, without directory."""
        self.failed = False
        """Whether an input could not be read."""
        self._out: list[tuple[int, bytes]] | None = None
        self._size = 0

    # ------------------------------------------------------------------ output

    def print(self, *values: object, sep: str = " ", end: str = "\n") -> None:
        """Write text to stdout; it leaves with the next await of the context, or at the end."""
        self.put(1, (sep.join(map(str, values)) + end).encode(errors="surrogateescape"))

    def error(self, message: str) -> None:
        """Write ``name: message`` to stderr."""
        self.put(2, f"{self.name}: {message}\n".encode(errors="surrogateescape"))

    def put(self, fd: int, data: bytes) -> None:
        """Write bytes to a descriptor, like print()."""
        if self._out is None:
            self._out = []
        if self._out and self._out[-1][0] == fd and self._size < CHUNK:
            data = self._out.pop()[1] + data
        self._out.append((fd, data))
        self._size = len(data)

    async def flush(self) -> None:
        """Let what was printed leave."""
        while self._out:
            out, self._out = self._out, None
            for fd, data in out:
                stream = self.proc.fds.get(fd)
                if stream is not None:
                    await stream.write(data, self.proc.clock)

    async def write(self, data: bytes, fd: int = 1) -> None:
        """Write bytes now; waits while nobody reads them."""
        self.put(fd, data)
        await self.flush()

    # ------------------------------------------------------------------ input

    async def read(self, size: int = CHUNK) -> bytes:
        """Some bytes of stdin, none at the end."""
        await self.flush()
        stdin = self.proc.fds.get(0)
        return await stdin.read(size, self.proc.clock) if stdin is not None else b""

    async def chunks(self, paths: Sequence[str] = (), message: str = "{0}: {1}") -> AsyncIterator[bytes]:
        """Bytes of the named files one after the other, ``-`` and no name being stdin.

        A file that cannot be read is complained about, as `message` words it, and sets :attr:`failed`.
        """
        for path in paths or ["-"]:
            try:
                stream = self.proc.fds.get(0, _NOTHING) if path == "-" else self.open(path)
            except OSError as error:
                self.error(message.format(path, error.strerror))
                self.failed = True
                continue
            stream.retain()
            try:
                await self.flush()
                while data := await stream.read(CHUNK, self.proc.clock):
                    yield data
                    await self.flush()
            finally:
                stream.release()

    async def lines(self, paths: Sequence[str] = (), message: str = "{0}: {1}") -> AsyncIterator[bytes]:
        """Lines without their ends, of the same as chunks()."""
        rest = b""
        async for data in self.chunks(paths, message):
            *whole, rest = (rest + data).split(b"\n")
            for line in whole:
                yield line
        if rest:
            yield rest

    async def read_all(self, path: str = "-") -> bytes:
        """All of a file, or of stdin. Raises OSError."""
        stream = self.proc.fds.get(0, _NOTHING) if path == "-" else self.open(path)
        stream.retain()
        try:
            await self.flush()
            pieces = []
            while data := await stream.read(CHUNK, self.proc.clock):
                pieces.append(data)
            return b"".join(pieces)
        finally:
            stream.release()

    def open(self, path: str, mode: Mode = "r") -> Stream:
        """Open a file or device; retain and release the stream. Raises OSError."""
        return open_stream(self.proc, path, mode)

    def emit(self, text: str) -> None:
        """Write to stdout now, from a service, which has no turn of its own to wait in."""
        stream, now = self.proc.fds.get(1), self.proc.machine.scheduler.wall.now()
        if isinstance(stream, OutletWriter):
            stream.outlet.put(stream.name, text.encode(errors="surrogateescape"), now)
        elif isinstance(stream, TtyStream):
            stream.tty.outlet.put("stdout", text.replace("\n", "\r\n").encode(errors="surrogateescape"), now)
