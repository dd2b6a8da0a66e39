"""Both colours of the client behind one face, so that a test is written once.

async with connected("threads", server.endpoint) as cri:
    await cri.version()
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import criadapt

COLOURS = ("asyncio", "threads")
_END = object()


class InThreads:
    """A blocking client, or what it gives, as if it were asynchronous: each call is made in a thread."""

    def __init__(self, blocking: object) -> None:
        self.blocking = blocking

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.blocking, {"aclose": "close"}.get(name, name))
        if inspect.isgeneratorfunction(found):
            return _walking(found)
        if inspect.isgeneratorfunction(getattr(found, "__wrapped__", None)):
            return _entering(found)
        if not callable(found):
            return _wrapped(found)

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await asyncio.to_thread(found, *args, **kwargs)

        return call

    async def __aiter__(self) -> AsyncIterator[Any]:
        async for item in _walking(lambda: (yield from cast(Iterable[Any], self.blocking)))():
            yield item


def _wrapped(value: Any) -> Any:
    """What the blocking client gives: parts of itself behind the same face, anything else as it is."""
    return InThreads(value) if type(value).__module__.startswith("criadapt.client.sync.") else value


def _entering(function: Callable[..., Any]) -> Callable[..., Any]:
    @asynccontextmanager
    async def enter(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        manager = function(*args, **kwargs)
        value = await asyncio.to_thread(manager.__enter__)
        try:
            yield _wrapped(value)
        except BaseException as error:
            if not await asyncio.to_thread(manager.__exit__, type(error), error, error.__traceback__):
                raise
        else:
            await asyncio.to_thread(manager.__exit__, None, None, None)

    return enter


def _walking(function: Callable[..., Any]) -> Callable[..., AsyncIterator[Any]]:
    async def walk(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        items = function(*args, **kwargs)
        try:
            while (item := await asyncio.to_thread(next, items, _END)) is not _END:
                yield item
        finally:
            with suppress(ValueError):  # a thread is still in it; closing the client gets it out
                items.close()

    return walk


@asynccontextmanager
async def connected(colour: str, *args: Any, **kwargs: Any) -> AsyncIterator[criadapt.AsyncClient]:
    """A client of either colour that is closed in the end; the arguments are those of ``connect``."""
    if colour == "asyncio":
        async with criadapt.aconnect(*args, **kwargs) as client:
            yield client
        return
    blocking = await asyncio.to_thread(criadapt.connect, *args, **kwargs)
    try:
        yield cast(criadapt.AsyncClient, InThreads(blocking))
    finally:
        await asyncio.to_thread(blocking.close)
