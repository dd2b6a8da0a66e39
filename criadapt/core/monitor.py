"""Keeps the store true to the engine: events as they come, and a look at the engine's list now and then.

Events may be late, repeated or lost; the list decides. While the engine is away the runtime is not ready, and says
why; when it is back everything is compared anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from criadapt.backends.base import Backend, EngineEvent, EngineState, EventKind
from criadapt.core.containers import Containers
from criadapt.core.sandboxes import Sandboxes
from criadapt.core.store import Store
from criadapt.errors import CriadaptError, Unavailable
from criadapt.model.container import ContainerState
from criadapt.model.sandbox import PodSandboxState

log = logging.getLogger(__name__)

FIRST_RELIST_SECONDS = 1.0
SETTLE_SECONDS = 0.2  # for an engine's event stream to open
BREATH = 50  # containers looked at in one go
RETRY_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Monitor:
    """Runs beside the server from its start to its end."""

    def __init__(
        self,
        *,
        store: Store,
        backend: Backend,
        sandboxes: Sandboxes,
        containers: Containers,
        relist_seconds: float,
    ) -> None:
        self._store = store
        self._backend = backend
        self._sandboxes = sandboxes
        self._containers = containers
        self._relist = relist_seconds
        self._look_soon = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self.trouble = ""
        """Why the engine cannot be used now; empty while it can."""

    async def __aenter__(self) -> Monitor:
        # Both start before the first request is served, so that no event falls between recovery and listening.
        self._spawn(self._follow())
        self._spawn(self._relist_for_ever())
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._landed)

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("monitor task failed", exc_info=error)

    async def _follow(self) -> None:
        attempt = 0
        while True:
            try:
                async for event in self._backend.events():
                    attempt = 0
                    self._apply(event)
                raise Unavailable("the engine closed its event stream")
            except Exception as error:
                self._lost_touch(error)
            await asyncio.sleep(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
            attempt += 1
            # Looked at a little later, when the new stream is open: what ends in between is seen by one of the two.
            self._look_soon.set()

    def _apply(self, event: EngineEvent) -> None:
        if event.kind is EventKind.EXITED:
            if self._store.has_container(event.id):
                self._spawn(self._containers.exits.told(event))
            else:
                self._spawn(self._sandboxes.infra_exited(event))
        elif event.kind is EventKind.GONE:
            self._spawn(self._gone(event.id))

    async def _gone(self, id: str) -> None:
        await self._containers.exits.lost(id, "the container was removed behind criadapt's back")
        await self._sandboxes.lost(id, "the infra container was removed behind criadapt's back")

    async def _relist_for_ever(self) -> None:
        # The first look is early: it finds what ended between recovery and the begin of the event stream.
        pause = FIRST_RELIST_SECONDS
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._look_soon.wait()
                    self._look_soon.clear()
                    await asyncio.sleep(SETTLE_SECONDS)
            await self._try_relist()
            pause = self._relist if not self.trouble else FIRST_RELIST_SECONDS

    async def _try_relist(self) -> None:
        try:
            await self.relist()
        except Exception as error:
            self._lost_touch(error)

    async def relist(self) -> None:
        """Compare the store with the engine's list and apply what was missed. Raises Unavailable."""
        # Taken before the list: a container made while the engine answers is not in its answer, and not lost.
        before = {record.id for record in self._store.containers()} | {record.id for record in self._store.sandboxes()}
        found = {container.id: container for container in await self._backend.containers()}
        if self.trouble:
            log.info("engine is back")
            self.trouble = ""
        for number, record in enumerate(list(self._store.containers())):
            if number % BREATH == BREATH - 1:
                await asyncio.sleep(0)  # others want to be served meanwhile
            engine = found.get(record.id)
            if record.id not in before or record.state is ContainerState.EXITED:
                continue
            if engine is None:
                await self._containers.exits.lost(record.id, "the engine no longer has this container")
            else:
                await self._containers.caught_up(record.id, engine)
        for sandbox in list(self._store.sandboxes()):
            engine = found.get(sandbox.id)
            if sandbox.id not in before or sandbox.state is not PodSandboxState.READY:
                continue
            if engine is None:
                await self._sandboxes.lost(sandbox.id, "the engine no longer has its infra container")
            elif engine.state is EngineState.EXITED:
                why = f"the infra process ended with exit code {engine.exit_code}"
                await self._sandboxes.lost(sandbox.id, why)

    def _lost_touch(self, error: Exception) -> None:
        """The engine, or our own code, failed; either way the runtime is not ready until the next good look."""
        if not isinstance(error, CriadaptError):
            log.error("monitor failed unexpectedly", exc_info=error)
        elif not self.trouble:
            log.warning("engine is not available", extra={"error": str(error)})
        self.trouble = str(error) or type(error).__name__
