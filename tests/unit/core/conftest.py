"""The core on a fake engine, without a server: every await is a place where the test may step in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from criadapt.core import engine as engine_module
from criadapt.core import exits as exits_module
from criadapt.core.containers import Containers
from criadapt.core.events import EventBus
from criadapt.core.images import ImagePolicy, Images
from criadapt.core.monitor import Monitor
from criadapt.core.sandboxes import Sandboxes
from criadapt.core.store import Store
from criadapt.journal import Journal
from criadapt.logs.pump import Pumps
from criadapt.model.container import ContainerState
from criadapt.model.runtime import ContainerEventType
from criadapt.model.sandbox import PodSandboxConfig
from criadapt.network.base import Network, Readiness
from criadapt.testing.factories import (
    PAUSE,
    SECOND,
    START,
    FakeEngine,
    Gate,
    container_config,
    sandbox_config,
)


class FakeNetwork(Network):
    """Notes who is attached; calls can be failed and held like the engine's."""

    def __init__(self) -> None:
        self.attached: set[str] = set()
        self.calls: list[tuple[str, str]] = []
        self.errors: dict[str, BaseException] = {}
        self.gates: dict[str, Gate] = {}

    async def attach(self, id: str, config: PodSandboxConfig) -> tuple[str, ...]:
        self.attached.add(id)  # an address may be taken although the call fails later
        await self._step("attach", id)
        return ("10.0.0.1", "fd00::1")

    async def detach(self, id: str, config: PodSandboxConfig) -> None:
        await self._step("detach", id)
        self.attached.discard(id)

    async def readiness(self) -> Readiness:
        return Readiness(ready=True)

    def hold(self, method: str) -> Gate:
        gate = self.gates[method] = Gate(asyncio.Event(), asyncio.Event())
        return gate

    async def _step(self, method: str, id: str) -> None:
        self.calls.append((method, id))
        if method in self.gates:
            await self.gates.pop(method).wait()
        await asyncio.sleep(0)
        if method in self.errors:
            raise self.errors[method]


class Core:
    """Everything between a servicer and an engine."""

    def __init__(self, state_dir: Path, journal: Journal) -> None:
        self.state_dir = state_dir
        self.journal = journal
        self.logs = state_dir / "logs"
        self.engine = FakeEngine(state_dir)
        self.network = FakeNetwork()
        self.now = count(START + 10 * SECOND, SECOND).__next__
        self.store = Store(journal)
        self.events = EventBus(self.store, self.now)
        self.images = Images(self.engine, self.store, ImagePolicy(pause=PAUSE))
        self.pumps = Pumps(self.engine)
        common: dict[str, Any] = {
            "store": self.store,
            "backend": self.engine,
            "images": self.images,
            "events": self.events,
            "now": self.now,
            "state_dir": state_dir,
        }
        self.containers = Containers(pumps=self.pumps, **common)
        self.sandboxes: Sandboxes
        self._common = common
        self.subscription = self.events.subscribe()

    async def open(self) -> None:
        self.sandboxes = Sandboxes(
            info=await self.engine.info(),
            network=self.network,
            containers=self.containers,
            pause=PAUSE,
            **self._common,
        )
        self.monitor = Monitor(
            store=self.store,
            backend=self.engine,
            sandboxes=self.sandboxes,
            containers=self.containers,
            relist_seconds=1000.0,
        )
        self.engine.listener = self.monitor._apply
        self.engine.calls.clear()

    async def close(self) -> None:
        await self.settled()
        await self.containers.close()
        await self.sandboxes.close()
        await self.pumps.close()

    # ------------------------------------------------------------------ given

    async def pod(self, name: str = "web", **fields: Any) -> str:
        """A ready sandbox."""
        config = sandbox_config(name, **{"log_directory": str(self.logs), **fields})
        return await self.sandboxes.run(config, "")

    async def created(self, pod: str = "", name: str = "app", **fields: Any) -> str:
        """A created container, in a sandbox of its own unless told otherwise."""
        pod = pod or await self.pod()
        return await self.containers.create(pod, container_config(name, **{"log_path": f"{name}.log", **fields}))

    async def running(self, pod: str = "", name: str = "app", **fields: Any) -> str:
        """A running container."""
        id = await self.created(pod, name, **fields)
        await self.containers.start(id)
        return id

    # ------------------------------------------------------------------ then

    def state(self, id: str) -> ContainerState:
        return self.store.container(id).state

    async def settled(self) -> None:
        """All engine events that were sent have been dealt with."""
        while self.monitor._tasks:
            await asyncio.wait(self.monitor._tasks)

    def seen(self) -> list[tuple[ContainerEventType, str]]:
        """Events since the last call."""
        queue = self.subscription._queue
        events = [(event.container_event_type, event.container_id) for event in queue]
        queue.clear()
        return events

    def nothing_left(self) -> bool:
        """No trace of anything, anywhere."""
        files = list((self.state_dir / "pods").glob("*")) if (self.state_dir / "pods").exists() else []
        return not (
            self.engine.rows
            or self.network.attached
            or list(self.store.sandboxes())
            or list(self.store.containers())
            or list(self.journal.load("sandbox"))
            or list(self.journal.load("container"))
            or files
        )


@pytest.fixture
async def core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Core]:
    monkeypatch.setattr(engine_module, "EXIT_AFTER_KILL_SECONDS", 0.05)
    monkeypatch.setattr(exits_module, "LOG_DRAIN_SECONDS", 0.05)
    with closing(Journal(Path(":memory:"))) as journal:
        core = Core(tmp_path, journal)
        await core.open()
        yield core
        await core.close()
