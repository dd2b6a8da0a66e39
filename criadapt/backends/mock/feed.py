"""Events for everybody who listens."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Self
from weakref import WeakSet

from criadapt.backends.base import EngineEvent
from criadapt.errors import Unavailable

LIMIT = 100_000


class Subscription(AsyncIterator[EngineEvent]):
    """Events since it was made. One that falls :data:`LIMIT` events behind is cut off with Unavailable."""

    def __init__(self) -> None:
        self._events: deque[EngineEvent] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._end: Exception | None = None

    def put(self, event: EngineEvent) -> None:
        """Add an event."""
        if self._end is not None:
            return
        if len(self._events) >= LIMIT:
            self._events.clear()
            self.end(Unavailable(f"a listener was {LIMIT} events behind; list the containers and listen again"))
            return
        self._events.append(event)
        self._wake()

    def end(self, error: Exception | None = None) -> None:
        """Let the listener finish, with `error` if there is one, after what it has not read yet."""
        self._end = self._end or error or StopAsyncIteration()
        self._wake()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> EngineEvent:
        while not self._events:
            if self._end is not None:
                error, self._end = self._end, StopAsyncIteration()
                raise error
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._events.popleft()

    async def aclose(self) -> None:
        """Stop listening, as an asynchronous generator would."""
        self._events.clear()
        self.end()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Feed:
    """Hands every event to every listener; one that was dropped without closing is forgotten by itself."""

    def __init__(self) -> None:
        self._listeners: WeakSet[Subscription] = WeakSet()

    def listen(self) -> Subscription:
        """A new listener, which hears what happens from now on."""
        listener = Subscription()
        self._listeners.add(listener)
        return listener

    def publish(self, event: EngineEvent) -> None:
        """Tell all."""
        for listener in self._listeners:
            listener.put(event)

    def close(self) -> None:
        """End all listeners."""
        for listener in self._listeners:
            listener.end()
