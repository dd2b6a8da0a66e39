"""The runtime: builds the parts, recovers the state, opens and closes them. Also the in-process API.

async with opened(config, backend, state_dir) as runtime:
    id = await runtime.sandboxes.run(sandbox_config, handler="")
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from criadapt.backends.base import Backend, EngineInfo
from criadapt.config import Config
from criadapt.core import recovery
from criadapt.core.checkpoints import Checkpoints
from criadapt.core.containers import Containers
from criadapt.core.events import EventBus
from criadapt.core.exec import Execs
from criadapt.core.exits import LOG_DRAIN_SECONDS
from criadapt.core.images import ImagePolicy, Images
from criadapt.core.monitor import Monitor
from criadapt.core.podfiles import pod_files
from criadapt.core.records import ContainerRecord, SandboxRecord
from criadapt.core.sandboxes import Sandboxes
from criadapt.core.sessions import Sessions
from criadapt.core.stats import Stats
from criadapt.core.store import Store
from criadapt.errors import CriadaptError
from criadapt.journal import Journal
from criadapt.logs.pump import Pumps
from criadapt.model.container import ContainerState
from criadapt.model.runtime import RuntimeCondition, RuntimeStatus
from criadapt.network.base import READY, EngineNetwork, Network

log = logging.getLogger(__name__)

JOURNAL_CHECKPOINT_SECONDS = 30.0

_ALL_READY = RuntimeStatus(
    conditions=(
        RuntimeCondition(type="RuntimeReady", status=True),
        RuntimeCondition(type="NetworkReady", status=True),
    )
)


@dataclass(slots=True)
class Runtime:
    """The parts of an open runtime, ready for use."""

    config: Config
    state_dir: Path
    backend: Backend
    info: EngineInfo
    network: Network
    store: Store
    events: EventBus
    images: Images
    sandboxes: Sandboxes
    containers: Containers
    execs: Execs
    sessions: Sessions
    stats: Stats
    checkpoints: Checkpoints
    monitor: Monitor
    pumps: Pumps
    pod_cidr: str = ""

    async def status(self) -> RuntimeStatus:
        """The two conditions that kubelet insists on. Never fails: what is wrong is the answer."""
        trouble = self.monitor.trouble
        network = await self.network.readiness()
        if not trouble and network == READY:
            return _ALL_READY
        engine = RuntimeCondition(
            type="RuntimeReady", status=not trouble, reason="EngineUnavailable" if trouble else "", message=trouble
        )
        pods = RuntimeCondition(
            type="NetworkReady", status=network.ready, reason=network.reason, message=network.message
        )
        return RuntimeStatus(conditions=(engine, pods))

    def set_pod_cidr(self, cidr: str) -> None:
        """The node was given this pod address range; empty means nothing."""
        if cidr:
            self.pod_cidr = cidr
            self.network.set_pod_cidr(cidr)


@asynccontextmanager
async def opened(
    config: Config,
    backend: Backend,
    state_dir: Path,
    *,
    network: Network | None = None,
    now: Callable[[], int] = time.time_ns,
) -> AsyncIterator[Runtime]:
    """Open the runtime on an open backend: recovery is finished when this yields. Containers outlive it."""
    async with AsyncExitStack() as stack:
        journal = Journal(state_dir / "journal.sqlite")
        stack.callback(journal.close)
        runtime = _build(config, backend, await backend.info(), state_dir, journal, network, now)
        stack.push_async_callback(runtime.pumps.close)
        await _recover(runtime, now)
        stack.callback(runtime.events.close)
        stack.push_async_callback(runtime.containers.close)
        stack.push_async_callback(runtime.sandboxes.close)
        stack.push_async_callback(runtime.images.close)
        await stack.enter_async_context(runtime.monitor)
        folding = asyncio.get_running_loop().create_task(_fold_journal(journal))
        stack.push_async_callback(_cancelled, folding)
        yield runtime


def _build(
    config: Config,
    backend: Backend,
    info: EngineInfo,
    state_dir: Path,
    journal: Journal,
    network: Network | None,
    now: Callable[[], int],
) -> Runtime:
    store = Store(journal)
    events = EventBus(store, now)
    images = Images(backend, store, ImagePolicy(pause=config.images.pause, pinned=config.images.pinned))
    pumps = Pumps(backend)
    network = network or _network(config, backend, state_dir)
    containers = Containers(
        store=store, backend=backend, images=images, pumps=pumps, events=events, now=now, state_dir=state_dir
    )
    sandboxes = Sandboxes(
        store=store,
        backend=backend,
        info=info,
        network=network,
        images=images,
        containers=containers,
        events=events,
        now=now,
        state_dir=state_dir,
        pause=config.images.pause,
    )
    execs = Execs(store, backend, config.runtime.exec_drain_seconds)
    return Runtime(
        config=config,
        state_dir=state_dir,
        backend=backend,
        info=info,
        network=network,
        store=store,
        events=events,
        images=images,
        sandboxes=sandboxes,
        containers=containers,
        execs=execs,
        sessions=Sessions(
            execs=execs,
            clock=time.monotonic,
            ttl_seconds=config.streaming.token_ttl,
            max_pending=config.streaming.max_pending,
        ),
        stats=Stats(store, backend, now),
        checkpoints=Checkpoints(store, backend, sandboxes, containers),
        monitor=Monitor(
            store=store,
            backend=backend,
            sandboxes=sandboxes,
            containers=containers,
            relist_seconds=config.runtime.relist_seconds,
        ),
        pumps=pumps,
    )


def _network(config: Config, backend: Backend, state_dir: Path) -> Network:
    if config.network.kind == "engine":
        return EngineNetwork(backend)
    from criadapt.host import netns  # most servers need neither
    from criadapt.network.cni import CNINetwork

    async def namespace_of(id: str) -> str:
        return netns.path_of((await backend.inspect(id)).pid)

    return CNINetwork(
        netns_of=namespace_of,
        state_dir=state_dir,
        pin=True,
        config_dir=Path(config.network.cni_config_dir),
        plugin_dirs=tuple(map(Path, config.network.cni_plugin_dirs)),
    )


async def _recover(runtime: Runtime, now: Callable[[], int]) -> None:
    """Carry out the recovery plan. Only a dead engine stops the start; one bad object does not."""
    store = runtime.store
    sandboxes, containers = store.journaled_sandboxes(), store.journaled_containers()
    unchanged = {id(record) for record in (*sandboxes, *containers)}
    steps = recovery.plan(sandboxes, containers, await runtime.backend.containers(), now())
    for step in steps:
        match step:
            case recovery.Keep(record=SandboxRecord() as sandbox):
                store.put_sandbox(sandbox, journaled=id(sandbox) in unchanged)
            case recovery.Keep(record=ContainerRecord() as container, resume=resume):
                if resume:
                    await _resume_log(runtime, container)
                store.put_container(container, journaled=id(container) in unchanged)
            case recovery.Discard(record=sandbox):
                await _discard(runtime, sandbox)
            case recovery.RemoveOrphan(id=orphan):
                with suppress(CriadaptError):
                    await runtime.backend.remove(orphan)
    connected = {sandbox.id for sandbox in store.sandboxes() if sandbox.network_up}
    for failure in await runtime.network.clean_up(connected):
        log.warning("a pod's network could not be cleaned up", extra={"error": failure})
    if steps:
        log.info("recovered", extra={"steps": len(steps)})


async def _resume_log(runtime: Runtime, container: ContainerRecord) -> None:
    runtime.pumps.take_up(container.id, container.log_path)
    if container.state is ContainerState.EXITED:
        # It ended while we were away: its log must be whole before anybody sees EXITED.
        with suppress(TimeoutError):
            async with asyncio.timeout(LOG_DRAIN_SECONDS):
                await runtime.pumps.finished(container.id)


async def _discard(runtime: Runtime, sandbox: SandboxRecord) -> None:
    """Take back a sandbox whose making was cut short; what cannot be taken back stays visible as NOTREADY."""
    try:
        if sandbox.network_up:
            await runtime.network.detach(sandbox.id, sandbox.config)
        await runtime.backend.remove(sandbox.id)
    except CriadaptError as error:
        runtime.store.put_sandbox(sandbox.stopped(sandbox.created_at, f"half made when criadapt ended: {error}"))
        return
    pod_files(runtime.state_dir, sandbox.id, sandbox.config, host_network=sandbox.host_network).remove()
    runtime.store.forget_pending(sandbox.id)


async def _fold_journal(journal: Journal) -> None:
    while True:
        await asyncio.sleep(JOURNAL_CHECKPOINT_SECONDS)
        try:
            await asyncio.to_thread(journal.checkpoint)
        except sqlite3.Error as error:  # a busy or full disk; the log only grows until the next time
            log.warning("journal cannot be folded", extra={"error": str(error)})


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
