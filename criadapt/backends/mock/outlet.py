"""Output on its way out of a machine."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable

from criadapt.backends.base import Chunk
from criadapt.backends.base import Stream as StreamName
from criadapt.backends.mock.clock import Clock
from criadapt.backends.mock.streams import BUFFER, SPEED, Bell, Stream

RETAINED = 1024 * 1024  # bytes of a container's output kept for the log before its program has to wait


class Outlet:
    """Output on its way out of the machine: one main reader whose reading is kept up with, and live listeners."""

    __slots__ = (
        "_backlog",
        "_changed",
        "_ended",
        "_last",
        "_limit",
        "_listeners",
        "_live",
        "_room",
        "_size",
        "total",
        "unheard",
    )

    def __init__(self, limit: int, *, live: bool = False) -> None:
        """At most `limit` bytes wait for the main reader. What goes out `live` is never replayed, like an exec's."""
        self._limit = limit
        self._live = live
        self._backlog: deque[Chunk] | None = None
        self._size = 0
        self._last = 0
        self._changed = Bell()
        self._room = Bell()
        self._listeners: list[Listener] | None = None
        self._ended = False
        self.total = 0
        self.unheard = False
        """Whether the main reader has gone away for good."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self._ended

    async def write(self, stream: StreamName, data: bytes, clock: Clock) -> None:
        """Hand `data` to all readers, waiting while one of them lags behind."""
        view = memoryview(data)
        for start in range(0, len(data), BUFFER):
            if self._crowded():
                while self._crowded() and not self._ended:
                    await self._room.heard(clock)
                if self._live:
                    clock.reach_present()
            self.put(stream, bytes(view[start : start + BUFFER]), clock.now_ns)

    def put(self, stream: StreamName, data: bytes, time_ns: int) -> None:
        """Hand `data` to all readers, room or not. Chunks get ever later times: a time names one chunk."""
        if self._ended or not data:
            return
        self._last = max(time_ns, self._last + 1)
        chunk = Chunk(stream, data, self._last)
        self.total += len(data)
        if not self.unheard:
            if self._backlog is None:
                self._backlog = deque()
            self._backlog.append(chunk)
            self._size += len(data)
            self._changed.ring()
        for listener in self._listeners or ():
            listener.put(chunk)

    async def chunks(self, since_ns: int = 0) -> AsyncIterator[Chunk]:
        """For the main reader: everything later than `since_ns` that was not read yet."""
        while True:
            while self._backlog:
                chunk = self._backlog.popleft()
                self._size -= len(chunk.data)
                if not self._backlog:
                    self._backlog = None
                self.make_room()
                if chunk.time_ns > since_ns:
                    yield chunk
            if self._ended:
                return
            await self._changed.heard()

    def abandon(self) -> None:
        """The main reader goes away for good; nothing is kept for it."""
        self.unheard = True
        self._backlog = None
        self._size = 0
        self.make_room()

    def listen(self) -> Listener:
        """A further reader, from now on."""
        if self._listeners is None:
            self._listeners = []
        listener = Listener(self)
        self._listeners.append(listener)
        return listener

    def drop(self, listener: Listener) -> None:
        """A listener goes away."""
        if self._listeners and listener in self._listeners:
            self._listeners.remove(listener)
        self.make_room()

    def make_room(self) -> None:
        """Let writers look again."""
        self._room.ring()

    def end(self) -> None:
        """Nothing more will come."""
        self._ended = True
        self._changed.ring()
        self.make_room()
        for listener in self._listeners or ():
            listener.end()

    def _crowded(self) -> bool:
        return self._size >= self._limit or any(listener.size >= BUFFER for listener in self._listeners or ())


class Listener:
    """One live reader of an outlet."""

    def __init__(self, outlet: Outlet) -> None:
        self.size = 0
        self._outlet = outlet
        self._chunks: deque[Chunk] = deque()
        self._changed = Bell()
        self._ended = outlet.ended

    def put(self, chunk: Chunk) -> None:
        """Something to read."""
        if not self._ended:
            self._chunks.append(chunk)
            self.size += len(chunk.data)
            self._changed.ring()

    def end(self) -> None:
        """Nothing more will come."""
        self._ended = True
        self._changed.ring()

    def close(self) -> None:
        """Stop listening; what was not read is dropped."""
        self.end()
        self._chunks.clear()
        self._outlet.drop(self)

    async def chunks(self) -> AsyncIterator[Chunk]:
        """Output since the beginning of listening."""
        while True:
            while self._chunks:
                chunk = self._chunks.popleft()
                self.size -= len(chunk.data)
                self._outlet.make_room()
                yield chunk
            if self._ended:
                return
            await self._changed.heard()


class OutletWriter(Stream):
    """A process's end of an outlet."""

    __slots__ = ("_on_close", "name", "outlet")

    def __init__(self, outlet: Outlet, name: StreamName, on_close: Callable[[], None] | None = None) -> None:
        super().__init__()
        self.outlet = outlet
        self.name: StreamName = name
        self._on_close = on_close

    def closed(self) -> None:
        """Tell whoever counts the writers."""
        if self._on_close is not None:
            self._on_close()

    async def write(self, data: bytes, clock: Clock) -> None:
        """Write all of `data`."""
        await clock.work(len(data) // SPEED)
        await self.outlet.write(self.name, data, clock)
