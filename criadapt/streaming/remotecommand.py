"""Exec and attach: a process on one side, the streams of a connection on the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from criadapt.backends.base import Process
from criadapt.core.exec import let_go
from criadapt.core.sessions import AttachSession, ExecSession
from criadapt.errors import CriadaptError
from criadapt.remote import status
from criadapt.remote.aio.session import AsyncSession, AsyncStream
from criadapt.remote.mux import STREAM_TYPE
from criadapt.remote.protocols import Version
from criadapt.remote.resize import Sizes
from criadapt.remote.status import Outcome
from criadapt.spdy import GoAwayStatus

log = logging.getLogger(__name__)

CREATION_SECONDS = 30.0
"""For a client to open all its streams (k8s.io/cri-streaming, DefaultStreamCreationTimeout)."""

_HELD_STEP = 0.1  # seconds after which a client that holds output up is looked at again


class ConnectionGone(Exception):
    """The client has left; there is nobody to tell how it ended."""


@dataclass(frozen=True, slots=True)
class Command:
    """What a client is connected with."""

    request: ExecSession | AttachSession
    open: Callable[[], Awaitable[Process]]
    stdin_ends_it: Callable[[], bool] = lambda: False
    """Whether the end of the client's input ends the session: so for a container whose stdin stays open."""

    @property
    def what(self) -> str:
        """For messages."""
        is_exec = isinstance(self.request, ExecSession)
        return "executing command in container" if is_exec else "attaching to container"


def stream_types(request: ExecSession | AttachSession, version: Version) -> tuple[str, ...]:
    """The streams that a client of this request opens."""
    wanted = {
        "stdin": request.stdin,
        "stdout": request.stdout,
        "stderr": request.stderr,
        "error": True,
        "resize": request.tty and version.resize,
    }
    return tuple(name for name, is_wanted in wanted.items() if is_wanted)


async def serve(session: AsyncSession, version: Version, command: Command, drain: float) -> None:
    """Connect the client with the process until it ends, and tell the client how it ended.

    `drain` limits, in seconds, how long output is read after the end: a grandchild may hold it open for ever.
    Raises ConnectionGone when the client leaves first.
    """
    wanted = stream_types(command.request, version)
    streams = await _streams(session, wanted)
    error = streams.pop("error", None)
    if error is None:
        await session.finish(GoAwayStatus.PROTOCOL_ERROR)
        return
    missing = [kind for kind in wanted if kind != "error" and kind not in streams]
    if missing:
        outcome = Outcome(None, f"Internal error occurred: no {', '.join(missing)} stream was opened in time")
    else:
        for kind in ("stdout", "stderr"):
            if kind in streams:
                await streams[kind].discard()  # nothing is expected on it, and nothing must hold up the others
        await error.discard()
        refusing = asyncio.get_running_loop().create_task(_refuse_more(session))
        try:
            outcome = await _outcome(session, command, streams, drain)
        finally:
            refusing.cancel()
            await asyncio.gather(refusing, return_exceptions=True)
    for stream in streams.values():
        await stream.end()
    await error.end(status.encode(version, outcome))
    await session.finish()


async def _streams(session: AsyncSession, wanted: Iterable[str]) -> dict[str, AsyncStream]:
    """The client's streams by type, those that come in time. What it did not ask for beforehand is refused."""
    missing, found = set(wanted), dict[str, AsyncStream]()
    with suppress(TimeoutError):
        async with asyncio.timeout(CREATION_SECONDS):
            while missing:
                stream = await session.accept()
                kind = stream.headers.get(STREAM_TYPE, "")
                if kind in missing:
                    missing.discard(kind)
                    found[kind] = stream
                else:
                    await stream.reset()
    return found


async def _refuse_more(session: AsyncSession) -> None:
    """Refuse the streams that come when all that were asked for are there."""
    while True:
        await (await session.accept()).reset()


async def _outcome(session: AsyncSession, command: Command, streams: dict[str, AsyncStream], drain: float) -> Outcome:
    try:
        stdin_ends_it = command.stdin_ends_it()
        process = await command.open()
        try:
            code = await _Traffic(session, streams, process, drain).until_end(stdin_ends_it=stdin_ends_it)
        finally:
            # Whatever ends the session, a client that vanished included: no process stays, an attachment is cut.
            await asyncio.shield(let_go(process))
    except CriadaptError as error:
        return Outcome(None, f"Internal error occurred: error {command.what}: {error}")
    # Attaching ends well in any case: the container's exit code is in its status (k8s.io/cri-streaming).
    return Outcome(0 if isinstance(command.request, AttachSession) else code)


class _Traffic:
    """Input, output and sizes between a client and a process."""

    def __init__(self, session: AsyncSession, streams: dict[str, AsyncStream], process: Process, drain: float) -> None:
        self._session = session
        self._streams = streams
        self._process = process
        self._drain = drain
        self._held = 0.0
        """Seconds that output has waited for the client, and since when it does so again."""
        self._held_since: float | None = None

    async def until_end(self, *, stdin_ends_it: bool) -> int:
        """Carry all until the process ends, and return its exit code.

        With `stdin_ends_it`, the end of input is the end, too. Raises ConnectionGone when the client leaves first.
        """
        loop = asyncio.get_running_loop()
        lost = loop.create_task(self._session.lost())
        ended = loop.create_task(self._process.wait())
        output = loop.create_task(self._output())
        stdin = loop.create_task(self._input())
        tasks: set[asyncio.Task[Any]] = {lost, ended, output, stdin, loop.create_task(self._sizes())}
        try:
            pending = tasks
            while not ended.done():
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                if lost.done():
                    raise ConnectionGone(str(lost.result()))
                for task in done:
                    task.result()  # raises what it failed for
                if stdin in done and stdin_ends_it and "stdin" in self._streams:
                    return 0
            if "stdin" in self._streams:
                await self._streams["stdin"].discard()
            await self._drained(output, lost)
            if lost.done():
                raise ConnectionGone(str(lost.result()))
            if output.done():
                output.result()
            return ended.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _drained(self, output: asyncio.Task[None], lost: asyncio.Task[Any]) -> None:
        """Wait for the rest of the output; the time that the client takes to read it does not count."""
        clock = asyncio.get_running_loop().time
        end, held = clock() + self._drain, self._held_seconds()
        while not output.done() and not lost.done():
            left = end + self._held_seconds() - held - clock()
            if left <= 0 and self._held_since is None:
                return
            await asyncio.wait([output, lost], timeout=max(left, _HELD_STEP), return_when=asyncio.FIRST_COMPLETED)

    def _held_seconds(self) -> float:
        now = asyncio.get_running_loop().time()
        return self._held + (now - self._held_since if self._held_since is not None else 0.0)

    async def _output(self) -> None:
        """Until both of the process's streams have ended."""
        clock = asyncio.get_running_loop().time
        async for kind, data, _ in self._process.output():
            stream = self._streams.get(kind)
            if stream is not None:
                self._held_since = clock()
                await stream.write(data)
                self._held, self._held_since = self._held_seconds(), None

    async def _input(self) -> None:
        """Until the client's input ends."""
        stream = self._streams.get("stdin")
        if stream is None:
            return
        while data := await stream.read():
            await self._process.write(data)
        await self._process.close_stdin()

    async def _sizes(self) -> None:
        """For as long as the client sends sizes."""
        stream = self._streams.get("resize")
        if stream is None:
            return
        sizes = Sizes()
        try:
            while data := await stream.read():
                for width, height in sizes.feed(data):
                    await self._resize(width, height)
        except ValueError as error:
            log.debug("a client's resize stream is ignored", extra={"error": str(error)})
            await stream.discard()

    async def _resize(self, width: int, height: int) -> None:
        try:
            await self._process.resize(width, height)
        except CriadaptError as error:  # a wrong size is no reason to end a session
            log.info("a terminal cannot be resized", extra={"error": str(error)})
