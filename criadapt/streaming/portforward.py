"""Port-forward: pairs of streams on one side, TCP connections inside a pod on the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass

from criadapt.backends.base import Connection
from criadapt.errors import CriadaptError
from criadapt.remote.aio.session import AsyncSession, AsyncStream
from criadapt.remote.mux import PORT, REQUEST_ID, STREAM_TYPE

log = logging.getLogger(__name__)

PAIR_SECONDS = 30.0
"""For the second stream of a pair to come (k8s.io/cri-streaming, DefaultStreamCreationTimeout)."""

Dial = Callable[[int], Awaitable[Connection]]
"""Connects to a port inside the pod."""


async def serve(session: AsyncSession, dial: Dial, *, connections: int | None = None) -> None:
    """Forward until the client leaves, or until so many `connections` have ended.

    Where their number is known, streams are WebSocket channels, and the client cannot end one of them.
    """
    forwarder = _Forwarder(session, dial, half_close=connections is None)
    try:
        while connections is None or forwarder.begun < connections:
            await forwarder.take(await session.accept())
        await forwarder.idle()
        await session.finish()
    finally:
        await forwarder.stop()


@dataclass(frozen=True, slots=True)
class _Half:
    """A stream that waits for its partner."""

    kind: str
    stream: AsyncStream
    giving_up: asyncio.Task[None]


class _Forwarder:
    """The connections forwarded over one session."""

    def __init__(self, session: AsyncSession, dial: Dial, *, half_close: bool) -> None:
        self.begun = 0
        self._half_close = half_close
        self._session = session
        self._dial = dial
        self._halves: dict[str, _Half] = {}  # pairs that are not complete, by request id
        self._tasks: set[asyncio.Task[None]] = set()

    async def take(self, stream: AsyncStream) -> None:
        """A stream has been opened; with its partner it makes a connection."""
        kind, port = stream.headers.get(STREAM_TYPE, ""), _port(stream.headers.get(PORT, ""))
        if kind not in ("error", "data") or not port:
            await stream.reset()
            return
        # Clients of old send no id: a data stream comes right after its error stream.
        id = stream.headers.get(REQUEST_ID) or str(stream.number - (2 if kind == "data" else 0))
        half = self._halves.get(id)
        if half is None:
            self._halves[id] = _Half(kind, stream, self._start(self._give_up(id)))
            return
        if half.kind == kind:
            await self._refuse(half.stream, f"request {id} has two {kind} streams")
            await stream.reset()
            return
        del self._halves[id]
        half.giving_up.cancel()
        self.begun += 1
        error, data = (half.stream, stream) if kind == "data" else (stream, half.stream)
        self._start(self._forward(port, error, data))

    async def idle(self) -> None:
        """Wait until all connections have ended, or the client has left."""
        lost = asyncio.get_running_loop().create_task(self._session.lost())
        try:
            while self._tasks and not lost.done():
                await asyncio.wait([lost, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        finally:
            lost.cancel()

    async def stop(self) -> None:
        """Cut what is still connected."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _give_up(self, id: str) -> None:
        await asyncio.sleep(PAIR_SECONDS)
        half = self._halves.pop(id)
        with suppress(CriadaptError):  # the client is gone
            await self._refuse(half.stream, f"request {id}: timed out waiting for its second stream")
            await half.stream.reset()

    async def _refuse(self, stream: AsyncStream, why: str) -> None:
        if stream.headers.get(STREAM_TYPE) == "error":
            await stream.end(why.encode())

    async def _forward(self, port: int, error: AsyncStream, data: AsyncStream) -> None:
        try:
            await error.discard()  # clients send nothing on it, and what nobody reads must not hold up the others
            try:
                connection = await self._dial(port)
            except CriadaptError as problem:
                await error.end(f"error forwarding port {port}: {problem}".encode())
                await data.reset()
                return
            try:
                await self._carry(connection, data)
            finally:
                await asyncio.shield(connection.close())
            await error.end()
        except CriadaptError as problem:  # the client's connection is gone, and with it everybody to tell
            log.debug("forwarded connection cut", extra={"port": port, "reason": str(problem)})

    async def _carry(self, connection: Connection, data: AsyncStream) -> None:
        """Both directions, each until its own end. A connection that breaks is an end, not a failure to report."""

        async def outwards() -> None:
            while piece := await data.read():
                await connection.write(piece)
            if data.was_reset:
                await connection.close()
            else:
                await connection.end()

        async def inwards() -> None:
            while piece := await connection.read():
                await data.write(piece)
            await data.end()

        there = asyncio.get_running_loop().create_task(outwards())
        try:
            try:
                await inwards()
            except OSError as broken:
                log.debug("connection in the pod broke", extra={"error": str(broken)})
                await data.end()
                there.cancel()
            if not self._half_close:
                there.cancel()
            await asyncio.wait([there])
            if not there.cancelled():
                try:
                    there.result()
                except OSError as broken:
                    log.debug("connection in the pod broke", extra={"error": str(broken)})
            await data.discard()
        finally:
            there.cancel()
            await asyncio.gather(there, return_exceptions=True)


def _port(text: str) -> int:
    """A port number, 0 if it is none."""
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else 0
    return number if number <= 65535 else 0
