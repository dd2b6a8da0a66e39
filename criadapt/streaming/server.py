"""One listener, by default on the loopback interface. Connections are not served yet: they get a 501 in words."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import h11

from criadapt.core.sessions import Sessions
from criadapt.errors import NotFound

log = logging.getLogger(__name__)

HEAD_SECONDS = 10.0  # for a client to send its request head
MAX_HEAD = 16 * 1024  # bytes

NOT_YET = "criadapt cannot carry exec, attach and port-forward connections yet; ExecSync (crictl exec --sync) works\n"


@asynccontextmanager
async def listening(sessions: Sessions, address: str, port: int) -> AsyncIterator[str]:
    """Listen, and tell `sessions` the address its URLs begin with; yields it too."""
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            await _answer(sessions, reader, writer)
        except (ConnectionError, TimeoutError) as error:
            log.debug("streaming connection lost", extra={"error": repr(error)})
        finally:
            connections.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, address, port)
    async with server:
        bound = server.sockets[0].getsockname()
        host = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
        sessions.base_url = f"http://{host}:{bound[1]}"
        try:
            yield sessions.base_url
        finally:
            for task in list(connections):
                task.cancel()
            if connections:
                await asyncio.wait(connections)


async def _answer(sessions: Sessions, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
    try:
        async with asyncio.timeout(HEAD_SECONDS):
            request = await _head(http, reader)
    except h11.RemoteProtocolError as error:
        await _reply(http, writer, error.error_status_hint, f"{error}\n")
        return
    if request is None:
        return
    if request.method not in (b"GET", b"POST"):
        await _reply(http, writer, 405, "only GET and POST\n")
        return
    kind, _, token = request.target.decode("ascii", "replace").strip("/").partition("/")
    try:
        if kind not in ("exec", "attach", "portforward"):
            raise NotFound("no such page")
        sessions.redeem(token)
    except NotFound as error:
        await _reply(http, writer, 404, f"{error}\n")
        return
    await _reply(http, writer, 501, NOT_YET)


async def _head(http: h11.Connection, reader: asyncio.StreamReader) -> h11.Request | None:
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await reader.read(4096))
        elif isinstance(event, h11.Request):
            return event
        else:
            return None  # the client left


async def _reply(http: h11.Connection, writer: asyncio.StreamWriter, status: int, text: str) -> None:
    body = text.encode()
    headers = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
    ]
    for event in (h11.Response(status_code=status, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
        data = http.send(event)
        if data:
            writer.write(data)
    await writer.drain()
