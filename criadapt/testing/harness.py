"""What the contract's tests work with: containers that are cleaned up, and waiting that has a bound."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from criadapt.backends.base import (
    Backend,
    Chunk,
    ContainerSpec,
    EngineContainer,
    EngineEvent,
    EngineState,
    EventKind,
    ExecSpec,
    Process,
)
from criadapt.errors import Unsupported
from criadapt.model.signals import Signal

_POLL = 0.2  # seconds after which the engine is asked even when it has not told anything
_names = itertools.count(1)


@contextlib.contextmanager
def optional() -> Iterator[None]:
    """Skip the test, with the backend's own words as the reason, when it cannot do what happens inside."""
    try:
        yield
    except Unsupported as error:
        pytest.skip(str(error))


class Bench:
    """A backend under test. Everything made through it is removed at the end."""

    def __init__(self, backend: Backend, image_id: str, timeout: float) -> None:
        self.backend = backend
        self.image_id = image_id
        self.timeout = timeout
        self._made: list[str] = []

    def name(self) -> str:
        """A name that no other container has."""
        return f"contract-{os.getpid()}-{next(_names)}"

    def spec(self, args: tuple[str, ...], **changes: Any) -> ContainerSpec:
        """A container of its own that runs `args`."""
        return ContainerSpec(**{"name": self.name(), "image_id": self.image_id, "args": args, **changes})

    async def create(self, args: tuple[str, ...], **changes: Any) -> str:
        """Make a container."""
        async with asyncio.timeout(self.timeout):
            id = await self.backend.create(self.spec(args, **changes))
        self._made.append(id)
        return id

    async def run(self, args: tuple[str, ...], **changes: Any) -> str:
        """Make and start a container."""
        id = await self.create(args, **changes)
        async with asyncio.timeout(self.timeout):
            await self.backend.start(id)
        return id

    async def ended(self, id: str) -> EngineContainer:
        """The container once it has exited."""
        async with asyncio.timeout(self.timeout):
            events = self.backend.events()
            async with _reading(events) as news:
                while True:
                    found = await self.backend.inspect(id)
                    if found.state is EngineState.EXITED:
                        return found
                    await news()

    async def run_to_end(self, args: tuple[str, ...], **changes: Any) -> EngineContainer:
        """Make a container, start it and wait for its end."""
        return await self.ended(await self.run(args, **changes))

    async def kill(self, id: str, signal: Signal = Signal.SIGKILL) -> EngineContainer:
        """Signal a container that ends of it."""
        await self.backend.kill(id, signal)
        return await self.ended(id)

    async def chunks(self, id: str, since_ns: int = 0) -> list[Chunk]:
        """All output of a container that ends."""
        with optional():
            async with asyncio.timeout(self.timeout):
                return [chunk async for chunk in self.backend.output(id, since_ns)]

    async def output_of(self, args: tuple[str, ...], **changes: Any) -> list[Chunk]:
        """All output of a new container, read from before its start."""
        id = await self.create(args, **changes)
        reading = asyncio.create_task(self.chunks(id))
        await asyncio.sleep(0)  # let it ask for the output
        await self.backend.start(id)
        return await reading

    async def exec(self, id: str, args: tuple[str, ...], **changes: Any) -> Process:
        """Run a further process."""
        with optional():
            async with asyncio.timeout(self.timeout):
                return await self.backend.exec(id, ExecSpec(args=args, **changes))

    async def finish(self, process: Process) -> tuple[int, bytes, bytes]:
        """Exit code and both streams of a process that ends."""
        streams = {"stdout": bytearray(), "stderr": bytearray()}
        async with asyncio.timeout(self.timeout):
            async for chunk in process.output():
                streams[chunk.stream] += chunk.data
            code = await process.wait()
            await process.close()
        return code, bytes(streams["stdout"]), bytes(streams["stderr"])

    async def read_until(self, process: Process, word: bytes) -> bytes:
        """Output of a process up to the chunk in which `word` appears."""
        seen = b""
        async with asyncio.timeout(self.timeout):
            async for chunk in process.output():
                seen += chunk.data
                if word in seen:
                    return seen
        pytest.fail(f"{word!r} did not appear in {seen[-500:]!r}")

    async def clean_up(self) -> None:
        """Remove everything, the last made first."""
        async with asyncio.timeout(self.timeout):
            for id in reversed(self._made):
                await self.backend.remove(id)


class Listener:
    """Events of a backend, collected from now on."""

    def __init__(self, backend: Backend, timeout: float) -> None:
        self._timeout = timeout
        self._events = backend.events()
        self.seen: list[EngineEvent] = []

    async def __aenter__(self) -> Listener:
        self._task = asyncio.create_task(self._listen())
        await asyncio.sleep(0.05)  # an engine on a socket takes a moment to listen
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _listen(self) -> None:
        async for event in self._events:
            self.seen.append(event)

    async def wait_for(self, kind: EventKind, ids: set[str]) -> list[EngineEvent]:
        """Events of a kind, once each of `ids` had one."""
        async with asyncio.timeout(self._timeout):
            while True:
                found = [event for event in self.seen if event.kind is kind and event.id in ids]
                if {event.id for event in found} == ids:
                    return found
                if self._task.done():
                    pytest.fail(f"the events ended early: {self._task.exception()!r}")
                await asyncio.sleep(0.005)


def is_directory(path: str) -> bool:
    """Whether there is one; a local look that takes no time."""
    return Path(path).is_dir()


@contextlib.asynccontextmanager
async def _reading(events: AsyncIterator[EngineEvent]) -> AsyncIterator[Any]:
    """A function that waits for the next event, or a moment: events may be late, the engine's list decides."""
    task: asyncio.Future[EngineEvent | None] = asyncio.ensure_future(anext(events, None))

    async def news() -> None:
        nonlocal task
        await asyncio.wait([task], timeout=_POLL)
        if task.done() and task.result() is not None:
            task = asyncio.ensure_future(anext(events, None))

    try:
        yield news
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()
