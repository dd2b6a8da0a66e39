"""How containers end: the log is completed before anybody sees EXITED, and the first report of an exit counts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from criadapt.backends.base import Backend, EngineContainer, EngineEvent
from criadapt.core.events import EventBus
from criadapt.core.records import ContainerRecord
from criadapt.core.store import Store
from criadapt.errors import CriadaptError, ResourceExhausted
from criadapt.logs.pump import Pumps
from criadapt.model.container import ContainerState
from criadapt.model.runtime import ContainerEventType
from criadapt.model.signals import Signal

log = logging.getLogger(__name__)

LOG_DRAIN_SECONDS = 10.0
"""How long an exit may wait for the rest of the output: a process that left the container may hold its pipes."""


class Exits:
    """Turns what the engine says of ended processes into records."""

    def __init__(
        self, *, store: Store, backend: Backend, pumps: Pumps, events: EventBus, now: Callable[[], int]
    ) -> None:
        self._store = store
        self._backend = backend
        self._pumps = pumps
        self._events = events
        self._now = now
        self._parked: dict[str, EngineEvent | None] = {}

    @asynccontextmanager
    async def parked(self, id: str) -> AsyncIterator[None]:
        """While the block starts the container its exit waits: RUNNING comes first, however short it is."""
        self._parked[id] = None
        try:
            yield
        finally:
            early = self._parked.pop(id)
            if early is not None:
                await asyncio.shield(self.told(early))  # nobody tells us a second time

    def is_parked(self, id: str) -> bool:
        """Whether the container is being started."""
        return id in self._parked

    async def told(self, event: EngineEvent) -> None:
        """The engine's event says that a process has ended."""
        if event.id in self._parked:
            self._parked[event.id] = event
        else:
            await self._end(event.id, event.time_ns, event.exit_code, event.oom_killed)

    async def found(self, id: str, container: EngineContainer) -> None:
        """The engine's list says so."""
        await self._end(id, container.finished_at, container.exit_code, container.oom_killed)

    async def lost(self, id: str, message: str) -> None:
        """The engine does not know the container any more."""
        if self._living(id) is None:
            return
        await self._pumps.stop(id)
        record = self._living(id)  # an exit may have been recorded meanwhile
        if record is not None:
            self._put(record.lost(self._now(), message))

    async def _end(self, id: str, at: int, exit_code: int, oom_killed: bool) -> None:
        record = self._living(id)
        if record is None:
            return
        if record.kills_group:
            await self._kill_rest(id)
        if self._pumps.is_broken(id):  # the engine was away: the rest of the output comes first
            self._pumps.take_up(id, record.log_path)
        if self._pumps.is_running(id):
            try:
                async with asyncio.timeout(LOG_DRAIN_SECONDS):
                    await self._pumps.finished(id)
            except TimeoutError:
                await self._pumps.stop(id)
        record = self._living(id)
        if record is not None:
            self._put(record.exited(at or self._now(), exit_code, oom_killed=oom_killed))

    async def _kill_rest(self, id: str) -> None:
        """In a shared pid namespace the death of the first process leaves its children behind."""
        try:
            await self._backend.kill(id, Signal.SIGKILL)
        except CriadaptError:
            return  # the container is gone, or the engine is; either way nothing is left to end from here

    def _living(self, id: str) -> ContainerRecord | None:
        record = self._store.find_container(id)
        return None if record is None or record.state is ContainerState.EXITED else record

    def _put(self, record: ContainerRecord) -> None:
        try:
            self._store.put_container(record)
        except ResourceExhausted as error:  # the disk is full: an exit is a fact, and the engine will tell it again
            log.warning("exit is not journaled", extra={"container": record.id, "error": str(error)})
            self._store.put_container(record, journaled=True)
        self._events.publish(ContainerEventType.STOPPED, record)
