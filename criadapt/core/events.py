"""Container events: who asked gets every one, in order, with the pod as it was at that moment.

A subscriber that does not read is dropped, with an error, when its queue is full: it can list and subscribe again,
the runtime cannot wait for it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from criadapt.core.records import ContainerRecord, SandboxRecord
from criadapt.core.store import Store
from criadapt.errors import ResourceExhausted
from criadapt.model.runtime import ContainerEventResponse, ContainerEventType

QUEUE_LIMIT = 4096


class Subscription:
    """One reader's queue. Iterate over it; close it when done."""

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        self._queue: deque[ContainerEventResponse] = deque()
        self._wake = asyncio.Event()
        self._closed = False
        self._overrun = False

    def offer(self, event: ContainerEventResponse) -> None:
        """Queue an event; past the limit the subscription ends with an error."""
        if len(self._queue) >= QUEUE_LIMIT:
            self._overrun = True
            self._bus.drop(self)
        else:
            self._queue.append(event)
        self._wake.set()

    def close(self) -> None:
        """Stop; iteration ends."""
        self._closed = True
        self._bus.drop(self)
        self._wake.set()

    async def __aiter__(self) -> AsyncIterator[ContainerEventResponse]:
        while True:
            while self._queue:
                yield self._queue.popleft()
            if self._overrun:
                raise ResourceExhausted(
                    f"more than {QUEUE_LIMIT} events were waiting to be read; list the containers and subscribe again"
                )
            if self._closed:
                return
            self._wake.clear()
            await self._wake.wait()


class EventBus:
    """Publishes to every subscription; builds an event only when somebody listens."""

    def __init__(self, store: Store, now: Callable[[], int]) -> None:
        self._store = store
        self._now = now
        self._last = 0
        self._subscriptions: list[Subscription] = []
        self.dropped = 0
        """Subscriptions dropped because they did not read."""

    def subscribe(self) -> Subscription:
        """Events from now on."""
        subscription = Subscription(self)
        self._subscriptions.append(subscription)
        return subscription

    def drop(self, subscription: Subscription) -> None:
        """Forget a subscription."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)
            self.dropped += subscription._overrun

    def close(self) -> None:
        """End all subscriptions."""
        for subscription in list(self._subscriptions):
            subscription.close()

    def publish(self, kind: ContainerEventType, record: SandboxRecord | ContainerRecord) -> None:
        """Tell what happened to `record`; call it after the store was changed."""
        if not self._subscriptions:
            return
        # Times must not run backwards within a pod, even when the clock is set back.
        self._last = max(self._now(), self._last)
        sandbox_id = record.sandbox_id if isinstance(record, ContainerRecord) else record.id
        sandbox = self._store.find_sandbox(sandbox_id) if sandbox_id else None
        event = ContainerEventResponse(
            container_id=record.id,
            container_event_type=kind,
            created_at=self._last,
            pod_sandbox_status=sandbox.status() if sandbox else None,
            containers_statuses=tuple(container.status() for container in self._store.containers_of(sandbox_id)),
        )
        for subscription in list(self._subscriptions):
            subscription.offer(event)
