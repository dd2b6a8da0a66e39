"""What processes read and write: pipes and devices.

A stream is an open file description: descriptors share it, and it closes when the last one lets go. Data carries the
writer's time, so that a reader's clock never lies behind what it read.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable

from criadapt.backends.mock.clock import Clock

BUFFER = 64 * 1024  # bytes in a pipe
_STEP = 20_000  # ns that one read or write takes
SPEED = 8  # bytes a ns


class Bell:
    """Wakes those who are waiting for it.

    Whoever rings and then blocks can be sure that the woken run before time goes on: their futures are set directly.
    """

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        self._waiters: list[asyncio.Future[None]] | None = None

    @property
    def awaited(self) -> bool:
        """Whether somebody waits."""
        return self._waiters is not None

    def ring(self) -> None:
        """Wake all who wait now."""
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    async def heard(self, clock: Clock | None = None) -> None:
        """Wait for the next ring; a process of a machine waits by its clock."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._waiters is None:
            self._waiters = []
        self._waiters.append(waiter)
        await (waiter if clock is None else clock.wait(waiter))


class Stream:
    """Base of all streams: reads nothing, takes everything, which makes it ``/dev/null``."""

    __slots__ = ("refs",)

    def __init__(self) -> None:
        self.refs = 0

    def retain(self) -> Stream:
        """One more descriptor refers to the stream."""
        self.refs += 1
        return self

    def release(self) -> None:
        """One descriptor less; the last one closes the stream."""
        self.refs -= 1
        if self.refs == 0:
            self.closed()

    def closed(self) -> None:
        """The last descriptor is gone."""

    async def read(self, size: int, clock: Clock) -> bytes:
        """Up to `size` bytes, empty at the end."""
        await clock.work(_STEP)
        return b""

    async def write(self, data: bytes, clock: Clock) -> None:
        """Write all of `data`."""
        await clock.work(_STEP + len(data) // SPEED)

    def unread(self, data: bytes, clock: Clock) -> None:
        """Put back what was read too much."""

    async def read_line(self, clock: Clock) -> bytes:
        """The next line with its end; empty at the end. Nothing behind the line is consumed."""
        line = b""
        while True:
            data = await self.read(4096, clock)
            head, newline, rest = data.partition(b"\n")
            line += head + newline
            if newline or not data:
                if rest:
                    self.unread(rest, clock)
                return line


class Zeros(Stream):
    """``/dev/zero``."""

    __slots__ = ()

    async def read(self, size: int, clock: Clock) -> bytes:
        """Zeros, as many as asked for."""
        await clock.work(_STEP + size // SPEED)
        return bytes(size)


class Random(Stream):
    """``/dev/urandom``: the same bytes in every run of the same machine."""

    __slots__ = ("_random",)

    def __init__(self, source: random.Random) -> None:
        super().__init__()
        self._random = source

    async def read(self, size: int, clock: Clock) -> bytes:
        """Pseudo-random bytes."""
        await clock.work(_STEP + size)
        return self._random.randbytes(size)


class Full(Zeros):
    """``/dev/full``."""

    __slots__ = ()

    async def write(self, data: bytes, clock: Clock) -> None:
        """Fail as a full disk does."""
        raise OSError(28, "No space left on device")


class Pipe:
    """Bytes on their way between two processes, or from the outside into one."""

    __slots__ = ("_chunks", "_interrupted", "_readable", "_size", "_writable", "readers", "writers")

    def __init__(self) -> None:
        self._chunks: deque[tuple[bytes, int]] | None = None
        self._size = 0
        self.readers = 0
        self.writers = 0
        self._interrupted = False
        self._readable = Bell()
        self._writable = Bell()

    @property
    def ready(self) -> bool:
        """Whether a read would return at once."""
        return self._size > 0 or self.writers == 0

    async def readable(self, clock: Clock) -> None:
        """Wait until there is something to read, or nothing ever."""
        while not self.ready:
            await self._readable.heard(clock)
            if self._interrupted:
                self._interrupted = False
                raise InterruptedError(4, "Interrupted system call")

    async def read(self, size: int, clock: Clock) -> bytes:
        """What one of the next chunks holds, at most `size` bytes of it."""
        await self.readable(clock)
        if not self._chunks:
            return b""
        data, time_ns = self._chunks.popleft()
        if len(data) > size:
            self._chunks.appendleft((data[size:], time_ns))
            data = data[:size]
        self._size -= len(data)
        if not self._chunks:
            self._chunks = None
        clock.reach(time_ns)
        if self._size < BUFFER:
            self._writable.ring()
        return data

    def interrupt(self) -> None:
        """A signal came: who waits for data gets InterruptedError."""
        self._interrupted = self._readable.awaited
        self._readable.ring()

    def unread(self, data: bytes, clock: Clock) -> None:
        """Put back what was read too much."""
        if self._chunks is None:
            self._chunks = deque()
        self._chunks.appendleft((data, clock.now_ns))
        self._size += len(data)

    async def write(self, data: bytes, clock: Clock) -> None:
        """Append `data`, waiting while the pipe is full. Raises BrokenPipeError when nobody reads."""
        view = memoryview(data)
        for start in range(0, len(data), BUFFER):
            while self._size >= BUFFER and self.readers:
                await self._writable.heard(clock)
            self._put(bytes(view[start : start + BUFFER]), clock.now_ns)

    async def feed(self, data: bytes, now: Callable[[], int]) -> None:
        """Write from outside the machine; data that nobody reads is dropped."""
        view = memoryview(data)
        for start in range(0, len(data), BUFFER):
            while self._size >= BUFFER and self.readers:
                await self._writable.heard()
            if self.readers and self.writers:
                self._put(bytes(view[start : start + BUFFER]), now())

    def add_writer(self) -> None:
        """One more end to write into."""
        self.writers += 1

    def drop_writer(self) -> None:
        """One writing end less; the last one ends what the reader sees."""
        self.writers -= 1
        if self.writers == 0:
            self._readable.ring()

    def drop_reader(self) -> None:
        """One reading end less; after the last one, nobody waits for room."""
        self.readers -= 1
        if self.readers == 0:
            self._chunks = None
            self._size = 0
            self._writable.ring()

    def _put(self, data: bytes, time_ns: int) -> None:
        if not self.readers:
            raise BrokenPipeError(32, "Broken pipe")
        if not data:
            return
        if self._chunks is None:
            self._chunks = deque()
        self._chunks.append((data, time_ns))
        self._size += len(data)
        self._readable.ring()


class PipeReader(Stream):
    """The end of a pipe to read from; `outside` when real people write into it."""

    __slots__ = ("outside", "pipe")

    def __init__(self, pipe: Pipe, *, outside: bool = False) -> None:
        super().__init__()
        self.pipe = pipe
        self.outside = outside
        pipe.readers += 1

    def closed(self) -> None:
        """Tell the writers."""
        self.pipe.drop_reader()

    async def read(self, size: int, clock: Clock) -> bytes:
        """What has come, at least one byte unless it is the end."""
        data = await self.pipe.read(size, clock)
        if self.outside:
            clock.reach_present()
        return data

    def unread(self, data: bytes, clock: Clock) -> None:
        """Put back what was read too much."""
        self.pipe.unread(data, clock)


class PipeWriter(Stream):
    """The end of a pipe to write into."""

    __slots__ = ("pipe",)

    def __init__(self, pipe: Pipe) -> None:
        super().__init__()
        self.pipe = pipe
        pipe.add_writer()

    def closed(self) -> None:
        """Tell the readers."""
        self.pipe.drop_writer()

    async def write(self, data: bytes, clock: Clock) -> None:
        """Write all of `data`."""
        await clock.work(len(data) // SPEED)
        await self.pipe.write(data, clock)
