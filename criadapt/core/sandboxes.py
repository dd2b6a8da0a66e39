"""Pod sandboxes: run, stop, remove, update."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from criadapt.backends.base import Backend, EngineEvent, EngineInfo
from criadapt.core import engine, names, spec, validate
from criadapt.core.containers import Containers
from criadapt.core.events import EventBus
from criadapt.core.flights import Flights
from criadapt.core.images import Images
from criadapt.core.podfiles import PodFiles, hostname, make_log_directory, pod_files
from criadapt.core.records import SandboxRecord
from criadapt.core.store import Store
from criadapt.core.undo import Undo
from criadapt.errors import AlreadyExists, ContainerNotFound, EngineError, InvalidArgument, Unsupported, storage_failed
from criadapt.model.linux import LinuxContainerResources, NamespaceMode
from criadapt.model.runtime import ContainerEventType
from criadapt.model.sandbox import PodSandboxConfig, PodSandboxMetadata, PodSandboxState
from criadapt.model.signals import Signal
from criadapt.network.base import Network


class Sandboxes:
    """All pods. A sandbox is an infra container plus a network plus a record."""

    def __init__(
        self,
        *,
        store: Store,
        backend: Backend,
        info: EngineInfo,
        network: Network,
        images: Images,
        containers: Containers,
        events: EventBus,
        now: Callable[[], int],
        state_dir: Path,
        pause: str,
    ) -> None:
        self._store = store
        self._backend = backend
        self._handlers = {handler.name: handler for handler in info.handlers}
        self._network = network
        self._images = images
        self._containers = containers
        self._events = events
        self._now = now
        self._state_dir = state_dir
        self._pause = pause
        self._flights = Flights()
        self._making: dict[str, EngineEvent | None] = {}

    async def run(self, config: PodSandboxConfig | None, handler: str, *, new: bool = False) -> str:
        """Make a sandbox and return its id once it is READY.

        A retry of the same joins the attempt under way, or gets the id of the ready sandbox it made, unless the
        sandbox has to be `new`. Raises AlreadyExists when another sandbox holds the name.
        """
        config = validate.sandbox(config)
        self._demand_handler(handler, config)
        key = names.sandbox_key(config.metadata or PodSandboxMetadata())
        holder = self._store.named(key)
        if holder is not None:
            record = self._store.sandbox(holder)
            same = (record.config, record.handler) == (config, handler)
            if same and not new and record.state is PodSandboxState.READY:
                return record.id
            self._demand_free(key)
        # A new one is nobody else's: it equals no other attempt, and whoever comes meanwhile is refused.
        what = (config, handler, object() if new else None)
        return await self._flights.join(key, lambda: self._make(config, handler), what)

    def _demand_free(self, key: tuple[str, ...]) -> None:
        holder = self._store.named(key)
        if holder is not None:
            raise AlreadyExists(
                f"pod sandbox name {key[1]!r} in namespace {key[0]!r} (uid {key[2]!r}, attempt {key[3]}) "
                f"is taken by sandbox {holder[:13]!r}; remove that one first"
            )

    def _demand_handler(self, handler: str, config: PodSandboxConfig) -> None:
        found = self._handlers.get(handler)
        if found is None:
            known = ", ".join(repr(name) for name in self._handlers if name)
            raise InvalidArgument(f"runtime_handler {handler[:80]!r} is not known; the engine has {known or 'none'}")
        context = config.linux.security_context if config.linux else None
        userns = context.namespace_options.userns_options if context and context.namespace_options else None
        wanted = userns is not None and userns.mode is NamespaceMode.POD
        if wanted and not (found.features and found.features.user_namespaces):
            raise Unsupported(f"backend {self._backend.name!r} has no user namespaces for pods")

    async def _make(self, config: PodSandboxConfig, handler: str) -> str:
        # Looked at inside the attempt: whoever waited for a rollback may find its remains holding the name.
        self._demand_free(names.sandbox_key(config.metadata or PodSandboxMetadata()))
        image = await self._images.ensure(self._pause)
        draft = SandboxRecord(id="", config=config, handler=handler, created_at=self._now())
        pod_name = hostname(config, host_network=draft.host_network)
        async with Undo("RunPodSandbox") as undo:
            connected = self._network.engine_connects
            wanted = spec.infra(config, handler, image, pod_name, connected=connected)
            id = await engine.create(self._backend, self._store, wanted, undo)
            record = replace(draft, id=id, network_up=not draft.host_network)
            self._making[id] = None
            try:
                record = await self._bring_up(record, undo)
            finally:
                del self._making[id]
            self._store.put_sandbox(record)
            undo.keep()
        self._events.publish(ContainerEventType.CREATED, record)
        self._events.publish(ContainerEventType.STARTED, record)
        return id

    async def _bring_up(self, record: SandboxRecord, undo: Undo) -> SandboxRecord:
        """From a created infra container to a ready sandbox. Each step's undo stands beside it."""

        async def forget() -> None:
            if not undo.failures:
                self._store.forget_pending(record.id)

        # If something cannot be taken back, the caller must be able to see and remove the remains.
        undo.on_failure = lambda failures: self._store.put_sandbox(
            record.stopped(self._now(), "rolled back in part: " + "; ".join(failures))
        )
        # Journaled before anything is held: after a crash from here on, recovery takes it all back.
        self._store.note_pending(record)
        undo.push("forget the sandbox", forget)
        undo.push("remove the infra container", partial(self._backend.remove, record.id))
        await self._backend.start(record.id)
        ips: tuple[str, ...] = ()
        if not record.host_network:
            undo.push("release the network", partial(self._network.detach, record.id, record.config))
            ips = await self._network.attach(record.id, record.config)
        files = self._files(record)

        async def remove_files() -> None:
            files.remove()

        undo.push("remove the pod's files", remove_files)
        try:
            files.write(record.config, ips, host_network=record.host_network)
        except OSError as error:
            raise storage_failed(f"the pod's files in {files.folder} cannot be written", error) from error
        make_log_directory(record.config)
        early = self._making[record.id]
        if early is not None:
            raise EngineError(f"the infra process ended at once with exit code {early.exit_code}")
        return record.ready(self._now(), ips)

    async def infra_exited(self, event: EngineEvent) -> None:
        """An infra process ended: its pod is NOTREADY for good."""
        if event.id in self._making:
            self._making[event.id] = event
            return
        await self.lost(event.id, f"the infra process ended with exit code {event.exit_code}")

    async def lost(self, id: str, reason: str) -> None:
        """The namespaces are gone; kubelet will stop what is left of the pod and make a new one."""
        record = self._store.find_sandbox(id)
        if record is None or record.state is not PodSandboxState.READY:
            return
        self._put_stopped(record, reason)

    def _put_stopped(self, record: SandboxRecord, reason: str = "") -> SandboxRecord:
        stopped = record.stopped(self._now(), reason)
        self._store.put_sandbox(stopped)
        self._events.publish(ContainerEventType.STOPPED, stopped)
        return stopped

    async def stop(self, id: str) -> None:
        """Kill the pod's processes and release its network; success if it is unknown or stopped.

        If a step fails the sandbox is NOTREADY all the same, and the next call goes on where this one failed.
        """
        record = self._store.find_sandbox(id)
        if record is not None:
            await self._flights.join(("stop", record.id), lambda: self._stop(record.id))

    async def _stop(self, id: str) -> None:
        try:
            await self._containers.stop_all(id)
        finally:
            # Not ready any more, even if a process could not be ended; the caller sees why, and calls again.
            record = self._store.find_sandbox(id)
            if record is not None and record.state is PodSandboxState.READY:
                record = self._put_stopped(record)
        if record is None:
            return
        with suppress(ContainerNotFound):
            await self._backend.kill(id, Signal.SIGKILL)
        if record.network_up:
            await self._network.detach(id, record.config)
            self._store.put_sandbox(self._store.sandbox(id).released())

    async def remove(self, id: str) -> None:
        """Remove the sandbox and its containers, stopping them first; success if it is unknown."""
        record = self._store.find_sandbox(id)
        if record is not None:
            await self._flights.join(("remove", record.id), lambda: self._remove(record.id))

    async def _remove(self, id: str) -> None:
        await self.stop(id)
        await self._containers.remove_all(id)
        await self._backend.remove(id)
        record = self._store.find_sandbox(id)
        if record is None:
            return
        self._files(record).remove()
        self._store.drop_sandbox(id)
        self._events.publish(ContainerEventType.DELETED, record)

    def update_resources(
        self, id: str, overhead: LinuxContainerResources | None, resources: LinuxContainerResources | None
    ) -> None:
        """Remember what kubelet set on the pod's cgroup; the cgroup itself is kubelet's."""
        record = self._store.sandbox(id)
        validate.resources(overhead, "overhead")
        validate.resources(resources, "resources")
        self._store.put_sandbox(
            replace(record, overhead=overhead or record.overhead, resources=resources or record.resources)
        )

    def _files(self, record: SandboxRecord) -> PodFiles:
        return pod_files(self._state_dir, record.id, record.config, host_network=record.host_network)

    async def close(self) -> None:
        """Cancel and roll back what is under way; ready sandboxes stay as they are."""
        await self._flights.settle()
