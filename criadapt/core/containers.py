"""Containers of a pod: create, start, stop, remove, update, reopen their log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

from criadapt.backends.base import Backend, EngineContainer, EngineState
from criadapt.core import engine, names, spec, users, validate
from criadapt.core.events import EventBus
from criadapt.core.exits import Exits
from criadapt.core.flights import Flights
from criadapt.core.hostpaths import resolve_mounts
from criadapt.core.images import Images, image_ref
from criadapt.core.podfiles import pod_files
from criadapt.core.records import ContainerRecord, SandboxRecord
from criadapt.core.store import Store
from criadapt.core.undo import Undo
from criadapt.errors import (
    AlreadyExists,
    CriadaptError,
    FailedPrecondition,
    ImageNotFound,
    ImageVolumeMountFailed,
    InvalidArgument,
    StartFailed,
    storage_failed,
)
from criadapt.logs.pump import Pumps
from criadapt.model.container import ContainerConfig, ContainerMetadata, ContainerState
from criadapt.model.linux import LinuxContainerResources, NamespaceMode
from criadapt.model.runtime import ContainerEventType
from criadapt.model.sandbox import PodSandboxState
from criadapt.model.signals import Signal


class Containers:
    """All containers of all pods."""

    def __init__(
        self,
        *,
        store: Store,
        backend: Backend,
        images: Images,
        pumps: Pumps,
        events: EventBus,
        now: Callable[[], int],
        state_dir: Path,
    ) -> None:
        self._store = store
        self._backend = backend
        self._images = images
        self._pumps = pumps
        self._events = events
        self._now = now
        self._state_dir = state_dir
        store.listeners.append(self._forget)
        self.exits = Exits(store=store, backend=backend, pumps=pumps, events=events, now=now)
        self._flights = Flights()
        self._unanswered: set[str] = set()  # started, but the caller never learned of it
        self._doubtful: set[str] = set()  # CREATED for us, but the engine may have started it
        self._signalled: set[str] = set()

    def _forget(self, record: SandboxRecord | ContainerRecord, dropped: bool) -> None:
        """What was noted about a container ends with it."""
        if dropped or (isinstance(record, ContainerRecord) and record.state is ContainerState.EXITED):
            for notes in (self._signalled, self._unanswered, self._doubtful):
                notes.discard(record.id)

    # ------------------------------------------------------------------ create

    async def create(self, sandbox_id: str, config: ContainerConfig | None, *, checkpoint: str = "") -> str:
        """Create a container in a ready sandbox; a retry of the same joins the attempt under way."""
        pod = self._store.sandbox(sandbox_id)
        config = validate.container(config, pod)
        _demand_ready(pod)
        key = names.container_key(pod.id, config.metadata or ContainerMetadata())
        self._demand_free(key)
        return await self._flights.join(key, lambda: self._create(pod, config, checkpoint), config)

    def _demand_free(self, key: tuple[str, ...]) -> None:
        holder = self._store.named(key)
        if holder is not None:
            raise AlreadyExists(
                f"container name {key[1]!r} (attempt {key[2]}) is taken in its pod by container {holder[:13]!r}; "
                "remove that one first"
            )

    async def _create(self, pod: SandboxRecord, config: ContainerConfig, checkpoint: str) -> str:
        # Looked at inside the attempt: whoever waited for a rollback may find its remains holding the name.
        self._demand_free(names.container_key(pod.id, config.metadata or ContainerMetadata()))
        image = await self._images.get(config.image.image if config.image else "")
        context = spec.security(config)
        target = self._demand_target(config, pod)
        user = await users.resolve(context, image.config.user, partial(self._backend.image_file, image.id))
        files = pod_files(self._state_dir, pod.id, pod.config, host_network=pod.host_network)
        plan = spec.container(await resolve_mounts(config), pod, image, user, files, await self._image_mounts(config))
        if target:  # the engine knows full ids only
            plan = replace(plan, namespaces=replace(plan.namespaces, target_id=target))
        async with Undo("CreateContainer") as undo:
            id = await engine.create(self._backend, self._store, replace(plan, checkpoint=checkpoint), undo)
            # The sandbox may have been stopped or removed meanwhile; then nothing may be added to it.
            _demand_ready(self._store.sandbox(pod.id))
            record = ContainerRecord(
                id=id,
                sandbox_id=pod.id,
                config=config,
                image_id=image.id,
                image_ref=image_ref(image),
                image_name=image.repo_tags[0] if image.repo_tags else (config.image.image if config.image else ""),
                created_at=self._now(),
                log_path=spec.log_path(config, pod),
                resources=plan.resources,
                user=user,
                stop_signal=plan.stop_signal,
                kills_group=plan.namespaces.pid is not NamespaceMode.CONTAINER,
            )
            self._store.put_container(record)
            undo.keep()
        self._events.publish(ContainerEventType.CREATED, record)
        return id

    async def _image_mounts(self, config: ContainerConfig) -> dict[int, str]:
        found = {}
        for position, mount in enumerate(config.mounts):
            if mount.image is not None and mount.image.image:
                try:
                    found[position] = (await self._images.get(mount.image.image)).id
                except ImageNotFound as error:
                    raise ImageVolumeMountFailed(f"mount {mount.container_path!r}: {error}") from error
        return found

    def _demand_target(self, config: ContainerConfig, pod: SandboxRecord) -> str:
        """Id of the container whose pid namespace is joined, if any; it must run, and in the same pod."""
        options = spec.security(config).namespace_options
        if options is None or options.pid is not NamespaceMode.TARGET:
            return ""
        target = self._store.container(options.target_id)
        if target.sandbox_id != pod.id:
            raise InvalidArgument(
                f"config.linux.security_context.namespace_options.target_id {options.target_id[:13]!r} "
                "is in another pod"
            )
        if target.state is not ContainerState.RUNNING:
            raise FailedPrecondition(f"target container {target.id[:13]!r} is not running")
        return target.id

    # ------------------------------------------------------------------ start

    async def start(self, id: str) -> None:
        """Start a created container. Raises StartFailed (and the container is EXITED) if its program cannot run."""
        record = self._store.container(id)
        id = record.id
        if id in self._unanswered and record.state is ContainerState.RUNNING:
            self._unanswered.discard(id)
            return
        pod = self._store.sandbox(record.sandbox_id)
        if self.exits.is_parked(id):
            raise FailedPrecondition(f"container {id[:13]!r} is being started already")
        if self._flights.under_way(("remove", id)):
            raise FailedPrecondition(f"container {id[:13]!r} is being removed")
        record.started(self._now())
        _demand_ready(pod)
        self._demand_target(record.config, pod)
        async with self.exits.parked(id):
            await self._start(record)

    async def _start(self, record: ContainerRecord) -> None:
        try:
            # After a start of which nothing is known the log may have its beginning already.
            pump = self._pumps.resume if record.id in self._doubtful else self._pumps.start
            pump(record.id, record.log_path)
        except OSError as error:
            raise storage_failed(f"log file {record.log_path} cannot be opened", error) from error
        async with Undo("StartContainer") as undo:
            undo.push("see what became of the start", partial(self._settle_start, record))
            try:
                await self._backend.start(record.id)
            except FailedPrecondition:
                # An earlier start worked, and nobody could learn of it: the engine has the last word.
                if (await self._backend.inspect(record.id)).state is EngineState.CREATED:
                    raise
            except StartFailed as error:
                undo.keep()
                await self._mark_failed(record.id, str(error), error.exit_code)
                raise
            self._mark_started(record)
            undo.keep()
        if self._store.sandbox(record.sandbox_id).state is not PodSandboxState.READY:
            await self._backend.kill(record.id, Signal.SIGKILL)  # the pod was stopped meanwhile
            _demand_ready(self._store.sandbox(record.sandbox_id))

    async def _mark_failed(self, id: str, message: str, exit_code: int) -> None:
        await self._pumps.stop(id)
        failed = self._store.container(id).start_failed(self._now(), message, exit_code)
        self._store.put_container(failed)
        self._events.publish(ContainerEventType.STOPPED, failed)

    def _mark_started(self, record: ContainerRecord) -> None:
        current = self._store.container(record.id)  # its limits may have been updated meanwhile
        started = current.started(self._now())
        self._store.put_container(started)
        self._doubtful.discard(record.id)  # only now: a full disk may have refused the record
        self._events.publish(ContainerEventType.STARTED, started)

    async def _settle_start(self, record: ContainerRecord) -> None:
        """A start that failed or was cancelled half-way: believe the engine.

        If the process does run, the container is RUNNING, and the caller's next StartContainer succeeds.
        """
        self._doubtful.add(record.id)
        try:
            found = await self._backend.inspect(record.id)
        except CriadaptError:
            await self._pumps.stop(record.id)
            raise
        if found.state is EngineState.CREATED:
            self._doubtful.discard(record.id)
            await self._pumps.stop(record.id)
            return
        if found.state is EngineState.EXITED and found.error:
            await self._mark_failed(record.id, found.error, found.exit_code)
            return
        self._mark_started(record)
        self._unanswered.add(record.id)
        if found.state is EngineState.EXITED:
            await self.exits.found(record.id, found)
        elif self._store.sandbox(record.sandbox_id).state is not PodSandboxState.READY:
            await self._backend.kill(record.id, Signal.SIGKILL)  # the pod was stopped meanwhile

    # ------------------------------------------------------------------ end

    async def caught_up(self, id: str, found: EngineContainer) -> None:
        """Apply what the engine's list says and no event told: a start, an exit, output that nobody carries."""
        record = self._store.find_container(id)
        if record is None or self.exits.is_parked(id) or record.state is ContainerState.EXITED:
            return
        if record.state is ContainerState.CREATED and found.state is EngineState.EXITED and found.error:
            await self._mark_failed(id, found.error, found.exit_code)
            return
        if record.state is ContainerState.CREATED and found.state is not EngineState.CREATED:
            self._mark_started(record)
            self._unanswered.add(id)
        if found.state is not EngineState.CREATED and not self._pumps.is_running(id):
            self._pumps.take_up(id, record.log_path)
        if found.state is EngineState.EXITED:
            await self.exits.found(id, found)

    async def stop(self, id: str, grace: int) -> None:
        """Stop the container; success if it does not run or is unknown.

        Sends its stop signal once and SIGKILL after `grace` seconds (at once for 0 or less). A second call with a
        shorter grace shortens the wait of both.
        """
        record = self._store.find_container(id)
        if record is None or record.state is not ContainerState.RUNNING:
            return
        if grace > 0:
            if record.id not in self._signalled:
                self._signalled.add(record.id)
                try:
                    await self._backend.kill(record.id, record.stop_signal)
                except BaseException:
                    self._signalled.discard(record.id)
                    raise
            try:
                async with asyncio.timeout(grace):
                    await self._store.exited(record.id)
                return
            except TimeoutError:
                pass
        await self._kill(record.id)

    async def _kill(self, id: str) -> None:
        found = await engine.killed(self._backend, self._store, id)
        if found is not None:
            await self.exits.found(id, found)
        else:
            await self.exits.lost(id, "the engine no longer has this container")

    async def stop_all(self, sandbox_id: str) -> None:
        """SIGKILL every running container of a sandbox, all at once."""
        members = self._store.containers_of(sandbox_id)
        running = [member.id for member in members if member.state is ContainerState.RUNNING]
        doubtful = [member.id for member in members if member.id in self._doubtful and member.id not in running]
        ended = await asyncio.gather(
            *map(self._kill, running),
            *(self._backend.kill(id, Signal.SIGKILL) for id in doubtful),
            return_exceptions=True,
        )
        for error in ended:
            if isinstance(error, BaseException):
                raise error

    async def remove(self, id: str) -> None:
        """Remove the container, killing it if it runs; success if it is unknown. Its log file stays."""
        record = self._store.find_container(id)
        if record is None:
            return
        if self.exits.is_parked(record.id):
            raise FailedPrecondition(f"container {record.id[:13]!r} is being started; stop it first")
        await self._flights.join(("remove", record.id), lambda: self._remove(record.id))

    async def _remove(self, id: str) -> None:
        record = self._store.find_container(id)
        if record is None:
            return
        if record.state is ContainerState.RUNNING:
            await self._kill(id)
        await self._backend.remove(id)
        await self._pumps.stop(id)
        self._store.drop_container(id)
        self._events.publish(ContainerEventType.DELETED, record)

    async def remove_all(self, sandbox_id: str) -> None:
        """Remove every container of a sandbox."""
        for record in self._store.containers_of(sandbox_id):
            await self.remove(record.id)

    # ------------------------------------------------------------------ change

    async def update(self, id: str, changes: LinuxContainerResources | None) -> None:
        """Change the limits that are set in `changes`; all or nothing."""
        record = self._store.container(id)
        if changes is None:
            raise InvalidArgument("linux is missing; there is nothing to update")
        validate.resources(changes, "linux")
        merged = merge(record.resources, changes)
        validate.resources(merged, "linux")
        if record.state is not ContainerState.EXITED:
            if changes.memory_limit_in_bytes:  # both at once: engines refuse a memory limit above the swap limit
                changes = replace(changes, memory_swap_limit_in_bytes=merged.memory_swap_limit_in_bytes)
            await self._backend.update(record.id, changes)
        current = self._store.container(record.id)
        self._store.put_container(replace(current, resources=merge(current.resources, changes)))

    def reopen_log(self, id: str) -> None:
        """Go on logging into a new file at the log path; when this returns the file exists."""
        record = self._store.container(id)
        if record.state is not ContainerState.RUNNING:
            raise FailedPrecondition(f"container {record.id[:13]!r} does not run; only a running one's log is reopened")
        self._pumps.reopen(record.id)

    async def close(self) -> None:
        """Cancel and roll back what is under way; running containers stay as they are."""
        await self._flights.settle()


def merge(limits: LinuxContainerResources, changes: LinuxContainerResources) -> LinuxContainerResources:
    """`limits` with every field that is set (non-zero, non-empty) in `changes`; unified files merge by name."""
    set_fields = {
        field.name: value
        for field in fields(changes)
        if (value := getattr(changes, field.name)) and field.name != "unified"
    }
    if changes.memory_limit_in_bytes and not changes.memory_swap_limit_in_bytes:
        # Swap was off (limit = memory) or has no limit of its own: it follows, or the two would contradict.
        follows = limits.memory_swap_limit_in_bytes == limits.memory_limit_in_bytes
        if follows or 0 < limits.memory_swap_limit_in_bytes < changes.memory_limit_in_bytes:
            set_fields["memory_swap_limit_in_bytes"] = changes.memory_limit_in_bytes
    return replace(limits, **set_fields, unified={**limits.unified, **changes.unified})


def _demand_ready(pod: SandboxRecord) -> None:
    if pod.state is not PodSandboxState.READY:
        why = f" ({pod.reason})" if pod.reason else ""
        raise FailedPrecondition(f"pod sandbox {pod.id[:13]!r} is not ready{why}; run a new one")
