"""Connections to ports inside a pod."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from criadapt.errors import CriadaptError, Unavailable
from criadapt.remote.aio.io import Doing, Listener, Socket, Worker, listen
from criadapt.remote.aio.session import AsyncSession, AsyncStream
from criadapt.remote.mux import Buffer

log = logging.getLogger(__name__)

REASON_SECONDS = 1.0
"""For the reason to come after a connection was given up."""

MAX_REASON = 4096  # bytes


class AsyncForwardedStream:
    """One connection to a port inside a pod. Reading and writing may go on at the same time."""

    def __init__(self, session: AsyncSession, port: int, error: AsyncStream, data: AsyncStream) -> None:
        self.port = port
        self._session = session
        self._error = error
        self._data = data
        self._answered = False
        self._checked = False

    async def read(self) -> bytes:
        """Some bytes, none at the end. Raises Unavailable with the runtime's words when it could not connect."""
        data = await self._data.read()
        if data:
            self._answered = True
        elif not self._checked:
            self._checked = True
            # A stream that was given up has a reason; one that ended well after some data has hardly any.
            expected = self._data.was_reset or not self._answered
            reason = await self._reason(REASON_SECONDS if expected else 0.0)
            if reason:
                raise Unavailable(reason)
        return data

    async def write(self, data: Buffer) -> None:
        """Send all of `data`; waits while the pod does not read. Raises Unavailable when the connection is lost."""
        await self._data.write(data)

    async def end(self) -> None:
        """Send nothing more; the pod may go on."""
        await self._data.end()

    async def chunks(self) -> AsyncIterator[bytes]:
        """All that comes, to the end."""
        while data := await self.read():
            yield data

    async def aclose(self) -> None:
        """Cut it."""
        await self._session.cut()

    async def _reason(self, seconds: float) -> str:
        """What went wrong, if the runtime says so in time."""
        text = b""
        with suppress(CriadaptError):
            while len(text) < MAX_REASON and (data := await self._error.read(seconds)):
                text += data
        return text.decode("utf-8", "replace")


class AsyncPortForward:
    """Local listeners that lead into a pod; use it with ``async with``."""

    def __init__(
        self, dial: Doing[[int], AsyncForwardedStream], ports: Sequence[tuple[int, int]], address: str
    ) -> None:
        self.address = address
        self.ports: dict[int, int] = {}
        """Local port by port of the pod."""
        self._dial = dial
        self._wanted = ports
        self._listeners: list[Listener] = []
        self._closed = False

    async def __aenter__(self) -> Self:
        try:
            for local, remote in self._wanted:
                listener = await listen(self.address, local, self._serving(remote))
                self._listeners.append(listener)
                self.ports[remote] = listener.port
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Listen no more, and cut all connections."""
        self._closed = True
        for listener in self._listeners:
            await listener.close()

    def _serving(self, port: int) -> Doing[[Socket], None]:
        async def serve(socket: Socket) -> None:
            try:
                stream = await self._dial(port)
                try:
                    await _carry(socket, stream)
                finally:
                    await stream.aclose()
            except CriadaptError as error:
                if not self._closed:
                    log.warning("a forwarded connection failed", extra={"port": port, "error": str(error)})

        return serve


async def _carry(socket: Socket, stream: AsyncForwardedStream) -> None:
    """Both directions, until the pod's side has ended."""
    outwards = Worker(_outwards, socket, stream)
    try:
        while data := await stream.read():
            socket.put([data])
            await socket.drain()
        await socket.flush()
        socket.write_eof()
    finally:
        await stream.aclose()
        socket.kill()
        await outwards.join()


async def _outwards(socket: Socket, stream: AsyncForwardedStream) -> None:
    with suppress(CriadaptError, OSError):
        while data := await socket.read():
            await stream.write(data)
        await stream.end()
