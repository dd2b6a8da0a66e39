"""Scripted servers inside pods: who listens where, and connections to them that never leave the process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from criadapt.backends.mock.process import Proc
from criadapt.backends.mock.streams import BUFFER, Bell


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
    """The TCP ports that the processes of one container listen on."""

    def __init__(self) -> None:
        self._tcp: dict[int, tuple[Proc, Service]] = {}

    def listen(self, proc: Proc, port: int, service: Service) -> bool:
        """Claim a port; False if it is taken."""
        if port in self._tcp:
            return False
        self._tcp[port] = (proc, service)
        return True

    def unlisten(self, port: int) -> None:
        """Give a port back."""
        self._tcp.pop(port, None)

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
            del self._tcp[port]


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

    return back, there, asyncio.get_running_loop().create_task(serve())
