"""Scripted servers inside pods: who listens where, and connections to them in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from criadapt.backends.base import Connection
from criadapt.backends.mock.process import Proc
from criadapt.backends.mock.streams import BUFFER, Bell

if TYPE_CHECKING:
    from criadapt.backends.mock.doors import Entrance


class Reader(Protocol):
    """What a service needs of an asyncio.StreamReader."""

    async def read(self, n: int = -1) -> bytes:
        """Some bytes, none at the end."""


class Writer(Protocol):
    """What a service needs of an asyncio.StreamWriter."""

    def write(self, data: bytes) -> None:
        """Queue bytes."""

    async def drain(self) -> None:
        """Wait while too much is queued."""

    def write_eof(self) -> None:
        """Nothing more will be written."""

    def close(self) -> None:
        """End the connection."""


Service = Callable[[Reader, Writer], Awaitable[None]]


class Listeners:
    """The TCP ports that the processes of one container listen on, for real where there is an `entrance`."""

    def __init__(self, entrance: Entrance | None = None) -> None:
        self._entrance = entrance
        self._tcp: dict[int, tuple[Proc, Service]] = {}
        self._serving: dict[Proc, set[asyncio.Task[None]]] = {}

    def listen(self, proc: Proc, port: int, service: Service) -> bool:
        """Claim a port; False if it is taken."""
        if port in self._tcp:
            return False
        self._tcp[port] = (proc, self._while_running(proc, service))
        if self._entrance is not None:
            self._entrance.listen(proc, port, service)
        return True

    def unlisten(self, port: int) -> None:
        """Give a port back."""
        self._tcp.pop(port, None)
        if self._entrance is not None:
            self._entrance.unlisten(port)

    def tcp(self, port: int) -> Service | None:
        """Who answers at a port."""
        found = self._tcp.get(port)
        return found[1] if found is not None else None

    def ports(self) -> list[tuple[int, Proc]]:
        """All claimed ports."""
        return sorted(((port, proc) for port, (proc, _) in self._tcp.items()), key=lambda entry: entry[0])

    def drop(self, proc: Proc) -> None:
        """A process has ended."""
        for port in [port for port, (owner, _) in self._tcp.items() if owner is proc]:
            self.unlisten(port)
        for task in self._serving.pop(proc, ()):
            task.cancel()
        if self._entrance is not None:
            self._entrance.drop(proc)

    def _while_running(self, proc: Proc, service: Service) -> Service:
        """The same service, whose connections end with its process."""

        async def serve(reader: Reader, writer: Writer) -> None:
            task = asyncio.get_running_loop().create_task(_done(service(reader, writer)))
            tasks = self._serving.setdefault(proc, set())
            tasks.add(task)
            try:
                await asyncio.wait([task])
                if not task.cancelled():
                    task.result()
            finally:
                task.cancel()
                tasks.discard(task)

        return serve


async def _done(service: Awaitable[None]) -> None:
    await service


class _Half:
    """One direction of a connection."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._ended = False
        self._changed = Bell()

    async def read(self, n: int = -1) -> bytes:
        while not self._data and not self._ended:
            await self._changed.heard()
        data = bytes(self._data if n < 0 else self._data[:n])
        del self._data[: len(data)]
        self._changed.ring()
        return data

    def write(self, data: bytes) -> None:
        if not self._ended:
            self._data += data
            self._changed.ring()

    async def drain(self) -> None:
        while len(self._data) > BUFFER and not self._ended:
            await self._changed.heard()

    def write_eof(self) -> None:
        self._ended = True
        self._changed.ring()

    def close(self) -> None:
        self.write_eof()


def connect(service: Service) -> tuple[Reader, Writer, asyncio.Task[None]]:
    """Connect to a service: what it sends, where to send, and the task that serves (to cancel on the way out)."""
    there, back = _Half(), _Half()

    async def serve() -> None:
        try:
            await service(there, back)
        finally:
            back.close()
            there.close()  # nobody reads it any more, and nobody must wait for that

    return back, there, asyncio.get_running_loop().create_task(serve())


class Dialed(Connection):
    """A connection from outside the pod."""

    def __init__(self, service: Service) -> None:
        self._reader, self._writer, self._task = connect(service)

    async def read(self) -> bytes:
        """What the service sends."""
        return await self._reader.read(BUFFER)

    async def write(self, data: bytes) -> None:
        """Send to the service."""
        self._writer.write(data)
        await self._writer.drain()

    async def end(self) -> None:
        """Send nothing more."""
        self._writer.write_eof()

    async def close(self) -> None:
        """End both directions, and whoever serves."""
        self._task.cancel()
        self._writer.close()
        await asyncio.gather(self._task, return_exceptions=True)
