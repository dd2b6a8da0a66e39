"""Docker Engine's socket without the SDK, in the event loop: for what streams, and for small questions beside it.

One connection per call: on a unix socket that costs less than keeping connections in order.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import h11

from criadapt.backends.docker.errors import by_status
from criadapt.backends.docker.frames import Chunked
from criadapt.errors import EngineError, PermissionDenied, Unavailable
from criadapt.remote.aio.io import Socket

ANSWER_SECONDS = 120.0
"""For the engine to begin its answer; with a question that it answers at once, to end it."""

_MAX_ERROR = 64 * 1024  # bytes of an error message
_HEADERS = (("Host", "docker"), ("User-Agent", "criadapt"))


async def request(
    socket: str, method: str, path: str, body: Any = None, *, timeout: float | None = ANSWER_SECONDS
) -> Any:
    """Ask for something small; the answer's JSON, None without one. `path` begins with the version, ``/v1.41/…``.

    Raises what :func:`criadapt.backends.docker.errors.by_status` gives for a refusal, and Unavailable.
    """
    try:
        async with asyncio.timeout(timeout), stream(socket, method, path, body) as answer:
            data = b"".join([piece async for piece in answer])
    except TimeoutError:
        raise Unavailable(f"Docker Engine did not answer {method} {path} within {timeout:g} s") from None
    try:
        return json.loads(data) if data.strip() else None
    except ValueError:
        raise EngineError(f"Docker Engine answers {method} {path} with what is not JSON: {data[:80]!r}") from None


@asynccontextmanager
async def stream(
    socket: str,
    method: str,
    path: str,
    body: Any = None,
    *,
    headers: Mapping[str, str] | None = None,
    timeout: float | None = ANSWER_SECONDS,
) -> AsyncIterator[Answer]:
    """Ask for something that goes on. Whenever it is left, the connection is closed. Raises as :func:`request` does.

    `timeout` is for the beginning of the answer.
    """
    connection = await _connect(socket)
    try:
        head = await _ask(connection, method, path, body, {"Connection": "close", **(headers or {})}, timeout)
        if not isinstance(head, h11.Response):
            raise EngineError(f"Docker Engine switches protocols on {method} {path}, which nobody asked for")
        yield Answer(connection, head)
    finally:
        await _cut(connection)


async def hijack(socket: str, path: str, body: Any = None) -> Hijacked:
    """Ask (POST) for a connection's bytes themselves; to be closed by the caller. Raises as :func:`request` does."""
    connection = await _connect(socket)
    try:
        head = await _ask(connection, "POST", path, body, {"Connection": "Upgrade", "Upgrade": "tcp"})
        if isinstance(head, h11.Response):
            raise EngineError(f"Docker Engine does not hand over the connection on POST {path}")
    except BaseException:
        await _cut(connection)
        raise
    return Hijacked(connection)


class Answer:
    """The body of an answer: bytes, as ``async for`` gives them. A chunk of the engine's comes whole if not large."""

    def __init__(self, connection: EngineSocket, head: h11.Response) -> None:
        fields = dict(head.headers)
        self.headers: Mapping[bytes, bytes] = fields
        """By lower-case names."""
        self._connection = connection
        self._chunked = Chunked() if fields.get(b"transfer-encoding", b"").lower() == b"chunked" else None
        self._left = 0 if head.status_code in (204, 304) else int(fields.get(b"content-length", -1))

    async def some(self) -> list[bytes]:
        """What has come, none at the end. Raises Unavailable when the engine breaks off."""
        pieces: list[bytes] = []
        while not pieces and not self._over():
            data = await self._connection.read()
            if not data:
                if self._chunked is None and self._left < 0:  # the end of the connection is the end of the answer
                    break
                raise Unavailable("Docker Engine broke off its answer; it may have been stopped")
            if self._chunked is not None:
                pieces = self._chunked.feed(data)
            else:
                pieces = [data]
                self._left -= len(data) if self._left >= 0 else 0
        return pieces

    def _over(self) -> bool:
        return self._chunked.ended if self._chunked is not None else self._left == 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while pieces := await self.some():
            for piece in pieces:
                yield piece


class Hijacked:
    """A connection that carries bytes of a process both ways. What is not read holds the other side back."""

    def __init__(self, connection: EngineSocket) -> None:
        self._connection = connection

    @property
    def ended(self) -> asyncio.Future[None]:
        """Done when the other side has sent all, read or not."""
        return self._connection.ended

    @property
    def head(self) -> bytes:
        """The first bytes that came, read or not."""
        return self._connection.head

    async def read(self) -> bytes:
        """Some bytes, none at the end. One reader at a time."""
        return await self._connection.read()

    async def write(self, data: bytes) -> None:
        """Send bytes; waits while the other side does not read. Raises Unavailable when the connection is over."""
        self._connection.put([data])
        await self._connection.drain()

    def end(self) -> None:
        """Send nothing more; the other side may go on."""
        self._connection.write_eof()

    def take_all(self) -> None:
        """From now on take what comes, read or not."""
        self._connection.take_all()

    async def close(self) -> None:
        """End both directions at once."""
        await _cut(self._connection)


class EngineSocket(Socket):
    """A connection to the engine's unix socket."""

    def __init__(self) -> None:
        super().__init__()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the engine has sent all, read or not."""
        self.head = b""
        """The first bytes behind the answer's head, read or not."""

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        self.head = self.head or data[:512]
        super().data_received(data)

    def eof_received(self) -> bool:
        """The engine sends nothing more."""
        self._end()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        super().connection_lost(exc)
        self._end()

    def begin(self, rest: bytes) -> None:
        """The answer's head has been read; `rest` came behind it."""
        if rest:
            self._inbox.appendleft(rest)
            self._held += len(rest)
        self.head = self._inbox[0][:512] if self._inbox else b""

    def take_all(self) -> None:
        """Hold nothing back any more."""
        self.inbox_limit = math.inf
        if self._paused_reading and self._transport is not None:
            self._paused_reading = False
            self._transport.resume_reading()

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


async def _connect(socket: str) -> EngineSocket:
    try:
        _, made = await asyncio.get_running_loop().create_unix_connection(EngineSocket, socket)
    except PermissionError as error:
        raise PermissionDenied(f"Docker Engine's socket {socket} may not be used: {error.strerror}") from error
    except OSError as error:
        raise Unavailable(f"Docker Engine cannot be reached at {socket}: {error.strerror or error}") from error
    return made


async def _cut(connection: EngineSocket) -> None:
    connection.kill()
    await connection.close()


async def _ask(
    connection: EngineSocket,
    method: str,
    path: str,
    body: Any,
    headers: Mapping[str, str],
    timeout: float | None = ANSWER_SECONDS,
) -> h11.Response | h11.InformationalResponse:
    """Send a request; the head of the answer, or the 101 that was asked for."""
    content = b"" if body is None else json.dumps(body).encode()
    fields = [*_HEADERS, *headers.items(), ("Content-Length", str(len(content)))]
    if body is not None:
        fields.append(("Content-Type", "application/json"))
    parser = h11.Connection(h11.CLIENT)
    connection.put(
        [
            parser.send(h11.Request(method=method, target=path, headers=fields)) or b"",
            parser.send(h11.Data(data=content)) or b"",
            parser.send(h11.EndOfMessage()) or b"",
        ]
    )
    try:
        async with asyncio.timeout(timeout):
            while True:
                event = parser.next_event()
                if event is h11.NEED_DATA:
                    data = await connection.read()
                    if not data:
                        raise Unavailable("Docker Engine closed the connection without an answer")
                    parser.receive_data(data)
                elif isinstance(event, h11.Response) or (
                    isinstance(event, h11.InformationalResponse) and event.status_code == 101
                ):
                    break
    except TimeoutError:
        raise Unavailable(f"Docker Engine did not answer {method} {path} within {timeout:g} s") from None
    except h11.ProtocolError as error:
        raise EngineError(f"Docker Engine answers {method} {path} with what is not HTTP: {error}") from error
    connection.begin(parser.trailing_data[0])
    if isinstance(event, h11.Response) and event.status_code >= 300:
        raise by_status(event.status_code, await _message(Answer(connection, event)))
    return event


async def _message(answer: Answer) -> str:
    """What an engine says is wrong: JSON, or text from where it has given up HTTP."""
    data = b""
    async for piece in answer:
        data += piece
        if len(data) > _MAX_ERROR:
            break
    try:
        return str(json.loads(data)["message"])
    except (ValueError, TypeError, KeyError):
        return data.decode("utf-8", "replace").strip() or "no reason given"
