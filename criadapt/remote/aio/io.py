"""What waits, for asyncio. Its twin with the same names, for threads, is :mod:`criadapt.remote.sync.io`."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import ParamSpec, TypeVar

from criadapt.errors import FailedPrecondition, Unavailable
from criadapt.remote.mux import Buffer
from criadapt.remote.tcp import unacknowledged

P = ParamSpec("P")
T = TypeVar("T")

Doing = Callable[P, Coroutine[object, object, T]]
"""A function that takes its time."""

INBOX = 256 * 1024
"""Bytes that may have come and not been read; with more, the peer has to wait."""

OUTBOX = 256 * 1024
"""Bytes that may wait to be sent before :meth:`Socket.drain` waits."""

_CLOSE, _CLOSE_WAIT = 7, 8  # states of TCP_INFO (linux/tcp.h, tcp_states.h) in which the peer has closed

Lock = asyncio.Lock
Condition = asyncio.Condition


async def wait(condition: Condition, seconds: float) -> bool:
    """Wait for a condition that is held; False if nobody notified it in time."""
    try:
        async with asyncio.timeout(seconds):
            await condition.wait()
    except TimeoutError:
        return False
    return True


class Worker:
    """Work that goes on beside the caller's; it ends by itself."""

    def __init__(self, work: Doing[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        self._task = asyncio.get_running_loop().create_task(work(*args, **kwargs))

    async def join(self) -> None:
        """Wait until it has ended, also if the waiter is cancelled."""
        while not self._task.done():
            await asyncio.wait([self._task])


class Socket(asyncio.Protocol):
    """A TCP connection, over TLS or not, or one of a unix socket."""

    def __init__(self, on_made: Callable[[Socket], None] = lambda made: None) -> None:
        self._on_made = on_made
        self._transport: asyncio.Transport | None = None
        self._raw: socket.socket | None = None
        self._inbox: deque[bytes] = deque()
        self._held = 0  # bytes in the inbox
        self.inbox_limit: float = INBOX
        """Bytes that may have come and not been read; with more, the peer has to wait."""
        self._paused_reading = False
        self._ended = False
        self._said_all = False
        self._error: Exception | None = None
        self._broken: Exception | None = None  # what it ended by instead of an end
        self._reader: asyncio.Future[None] | None = None
        self._writers: list[asyncio.Future[None]] = []
        self._full = False
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.active = time.monotonic()
        """When something was last received or sent."""

    # ------------------------------------------------------------------ for the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=OUTBOX)
        raw: socket.socket = transport.get_extra_info("socket")
        if raw.family != socket.AF_UNIX:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._raw = raw  # a transport over TLS forgets it before it says that the connection is lost
        self._on_made(self)

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        self.active = time.monotonic()
        self._inbox.append(data)
        self._held += len(data)
        if self._held > self.inbox_limit and not self._paused_reading and self._transport is not None:
            self._paused_reading = True
            self._transport.pause_reading()
        self._wake_reader()

    def eof_received(self) -> bool:
        """The peer sends nothing more; what we have to say can still be said."""
        self._ended = True
        self._wake_reader()
        return self._transport is not None and self._transport.can_write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        if not self._ended:
            self._broken = exc
        self._ended = True
        self._error = exc or ConnectionResetError("closed")
        self._wake_reader()
        self.resume_writing()
        if not self._gone.done():
            self._gone.set_result(None)

    def pause_writing(self) -> None:
        """Too much waits to be sent."""
        self._full = True

    def resume_writing(self) -> None:
        """There is room again."""
        self._full = False
        writers, self._writers = self._writers, []
        for writer in writers:
            if not writer.done():
                writer.set_result(None)

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    # ------------------------------------------------------------------ for the user

    async def read(self, timeout: float | None = None) -> bytes:
        """Some bytes, none at the end. One reader at a time. Raises TimeoutError, OSError."""
        if not self._inbox and not self._ended:
            self._reader = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(timeout):
                    await self._reader
            finally:
                self._reader = None
        if not self._inbox:
            if self._broken is not None:
                raise self._broken
            return b""
        data = self._inbox.popleft()
        self._held -= len(data)
        if self._paused_reading and self._held <= self.inbox_limit // 2 and self._transport is not None:
            self._paused_reading = False
            self._transport.resume_reading()
        return data

    def put(self, pieces: Sequence[Buffer]) -> None:
        """Queue bytes, none after :meth:`write_eof`; :meth:`drain` waits where there are too many."""
        if pieces and self._transport is not None and self._error is None and not self._said_all:
            self.active = time.monotonic()
            self._transport.writelines(pieces)

    async def drain(self) -> None:
        """Wait while too much waits to be sent. Raises Unavailable when the connection is lost."""
        while self._full and self._error is None:
            writer = asyncio.get_running_loop().create_future()
            self._writers.append(writer)
            await writer
        if self._error is not None:
            raise Unavailable(f"the connection was lost: {self._error}")

    async def flush(self) -> None:
        """Wait until all has been handed to the kernel. Raises Unavailable when the connection is lost."""
        if self._transport is not None:
            self._transport.set_write_buffer_limits(high=0)
        await self.drain()

    def write_eof(self) -> None:
        """Say that nothing more will be sent, where the connection can say so."""
        self._said_all = True
        if self._transport is not None and self._transport.can_write_eof() and not self._transport.is_closing():
            with suppress(OSError):  # the peer has cut the connection, and we are yet to hear of it
                self._transport.write_eof()

    def unsent(self) -> bool:
        """Whether the peer has not got all yet that was put."""
        if self._transport is None or self._raw is None or self._error is not None:
            return False
        return self._transport.get_write_buffer_size() > 0 or unacknowledged(self._raw.fileno())

    def peer_gone(self) -> bool:
        """Whether the peer has closed, which goes unnoticed while nothing is read."""
        if self._raw is None or self._error is not None:
            return True
        try:
            (state,) = struct.unpack_from("B", self._raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8))
        except OSError:
            return True
        return state in (_CLOSE, _CLOSE_WAIT)

    def kill(self) -> None:
        """Cut the connection; what waits to be sent is lost. A reader comes to the end."""
        if self._transport is not None:
            self._transport.abort()
        self._ended = True
        self._wake_reader()

    async def close(self) -> None:
        """Send what waits to be sent, then close, and wait for it to be closed."""
        if self._transport is not None:
            self._transport.close()
            await asyncio.shield(self._gone)


async def connect(host: str, port: int, tls: ssl.SSLContext | None, timeout: float) -> Socket:
    """Connect. Raises Unavailable."""
    try:
        async with asyncio.timeout(timeout):
            _, made = await asyncio.get_running_loop().create_connection(Socket, host, port, ssl=tls)
    except TimeoutError:
        raise Unavailable(f"{host}:{port} did not accept a connection within {timeout:g} s") from None
    except OSError as error:
        raise Unavailable(f"{host}:{port} cannot be connected to: {error.strerror or error}") from error
    return made


class Listener:
    """Takes connections, each with work of its own, until it is closed."""

    def __init__(self, serve: Doing[[Socket], None]) -> None:
        self._serve = serve
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def open(self, host: str, port: int) -> None:
        """Listen. Raises FailedPrecondition."""
        made = partial(Socket, self._made)
        try:
            self._server = await asyncio.get_running_loop().create_server(made, host, port)
        except OSError as error:
            raise FailedPrecondition(f"{host}:{port} cannot be listened on: {error.strerror or error}") from error
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Listen no more; what is being served is cut."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _made(self, made: Socket) -> None:
        task = asyncio.get_running_loop().create_task(self._run(made))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, made: Socket) -> None:
        try:
            await self._serve(made)
        finally:
            made.kill()
            await made.close()


async def listen(host: str, port: int, serve: Doing[[Socket], None]) -> Listener:
    """Listen, on a free port if it is 0. Raises FailedPrecondition."""
    listener = Listener(serve)
    await listener.open(host, port)
    return listener
