"""One attempt per key: a caller who asks for what is already under way joins it.

The attempt runs in a task of its own. A caller who gives up leaves; when the last one has left, the attempt is
cancelled and rolls itself back, and a caller who comes meanwhile waits for that end and starts afresh.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from criadapt.errors import AlreadyExists

T = TypeVar("T")


class _Flight(Generic[T]):
    __slots__ = ("passengers", "task", "what")

    def __init__(self, task: asyncio.Task[T], what: object) -> None:
        self.task = task
        self.what = what
        self.passengers = 0


class Flights:
    """Attempts under way, by key."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight[Any]] = {}

    def under_way(self, key: Hashable) -> bool:
        """Whether there is an attempt at `key` that somebody waits for."""
        flight = self._flights.get(key)
        return flight is not None and flight.passengers > 0

    async def join(self, key: Hashable, start: Callable[[], Coroutine[Any, Any, T]], what: object = None) -> T:
        """Result of the attempt at `key`, started now if there is none.

        Raises AlreadyExists if the attempt under way was started with a different `what`.
        """
        while (flight := self._flights.get(key)) is not None and not flight.passengers:
            await _landed(flight.task)
        if flight is None:
            flight = _Flight(asyncio.get_running_loop().create_task(start()), what)
            self._flights[key] = flight
            flight.task.add_done_callback(lambda task: self._end(key, task))
        elif flight.what != what:
            raise AlreadyExists(f"{_shown(key)} is being made by another call, with a different config")
        flight.passengers += 1
        try:
            result: T = await asyncio.shield(flight.task)
        finally:
            flight.passengers -= 1
            if not flight.passengers and not flight.task.done():
                flight.task.cancel()
        return result

    def _end(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        del self._flights[key]
        if not task.cancelled():
            task.exception()  # seen here, in case every caller has left

    async def settle(self) -> None:
        """Cancel what is under way and wait until it has rolled back."""
        tasks = [flight.task for flight in self._flights.values()]
        for task in tasks:
            task.cancel()
        for task in tasks:
            await _landed(task)


def _shown(key: Hashable) -> str:
    return "/".join(filter(None, key)) if isinstance(key, tuple) else str(key)


async def _landed(task: asyncio.Task[Any]) -> None:
    """Wait for the end of a task, whatever it is; only the caller's own cancellation gets through."""
    await asyncio.wait([task])
