"""From creation to removal: the table of containers, and every way in which one changes.

A change is written down before it takes effect, so that what was acknowledged outlives this process. Nothing here
waits: each method is one step, which is what makes concurrent calls safe.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

from msgspec.structs import replace

from criadapt.backends.base import Chunk, ContainerSpec, EngineEvent, EngineState, EventKind
from criadapt.backends.mock import checkpoint
from criadapt.backends.mock.containers import FIRST_PID, UNBORN, Container, Life, Made, Records, Sharing
from criadapt.backends.mock.feed import Feed
from criadapt.backends.mock.images import Images
from criadapt.backends.mock.machine import Exit, Machine
from criadapt.backends.mock.options import MockOptions
from criadapt.backends.mock.pods import Pods
from criadapt.backends.mock.resources import check_resources, merge_resources
from criadapt.errors import (
    AlreadyExists,
    ContainerNotFound,
    FailedPrecondition,
    ImageNotFound,
    InvalidArgument,
    ResourceExhausted,
    StartFailed,
)
from criadapt.journal import Journal
from criadapt.model.linux import LinuxContainerResources
from criadapt.model.signals import Signal

log = logging.getLogger(__name__)


class Lifecycle:
    """All containers of the engine."""

    def __init__(
        self,
        journal: Journal,
        images: Images,
        feed: Feed,
        options: MockOptions,
        *,
        now: Callable[[], int],
        new_id: Callable[[], str],
    ) -> None:
        self.containers: dict[str, Container] = {}
        self.pods = Pods(self.containers, options, images, self._exited)
        self._records = Records(journal)
        self._images = images
        self._feed = feed
        self._handlers = options.handlers
        self._now = now
        self._new_id = new_id
        self._by_name: dict[str, str] = {}
        self._sharing = Sharing()
        self._next_pid = FIRST_PID
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    # ------------------------------------------------------------------ from one process to the next

    def load(self) -> None:
        """Take up where the last process left off."""
        with _no_collections():
            self._load()

    def _load(self) -> None:
        for container in self._records.load(self._sharing):
            self._add(container)
            self._next_pid = max(self._next_pid, container.life.pid + 1)
        running = [container for container in self.containers.values() if container.running]
        alive_until = self._records.take_closed() or self._now()  # killed: what it wrote to volumes is there already
        for container in running:
            container.machine = self.pods.machine(container, alive_until=alive_until)
        for container in running:
            self._restart(container)

    def _restart(self, container: Container) -> None:
        """Let the program of a container that ran when the last process ended catch up with the present."""
        machine = container.machine
        assert machine is not None
        try:
            machine.start()
        except StartFailed as error:  # such as a module of programs that is no longer configured
            log.warning("container does not come back", extra={"container": container.id, "error": str(error)})
            self._exited(container.id, Exit(code=255, time_ns=self._now()))
            return
        if container.life.paused_at:
            task = asyncio.create_task(self._freeze_again(container, machine), name="mock freeze")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _freeze_again(self, container: Container, machine: Machine) -> None:
        await machine.settled()
        if container.life.paused_at:
            machine.freeze()

    async def close(self) -> None:
        """Let go of all machines; their containers stay as they are."""
        self._closed = True
        self._records.put_closed(self._now())
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for container in self.containers.values():
            if container.machine is not None:
                container.machine.close()
            container.wake()
        await self.pods.close()

    # ------------------------------------------------------------------ steps

    def create(self, spec: ContainerSpec) -> str:
        """See :meth:`Backend.create`."""
        if spec.name in self._by_name:
            raise AlreadyExists(f"the name {spec.name!r} is in use by container {self._by_name[spec.name]!r}")
        if spec.handler not in self._handlers:
            raise InvalidArgument(f"no runtime handler {spec.handler!r}; there are {list(self._handlers)}")
        if spec.infra is not None and spec.infra not in self.containers:
            raise ContainerNotFound(spec.infra)
        check_resources(spec.resources)
        elapsed_ns = 0
        if spec.checkpoint:
            saved = checkpoint.read(spec.checkpoint)
            spec, elapsed_ns = checkpoint.resumed(spec, saved), saved.elapsed_ns
        container = Container(self._new_id(), Made(self._sharing.spec(spec), self._now(), elapsed_ns))
        for image_id in container.images:
            if image_id not in self._images:
                raise ImageNotFound(image_id)
        self._records.put_made(container)
        self._add(container)
        return container.id

    def _add(self, container: Container) -> None:
        self.containers[container.id] = container
        self._by_name[container.spec.name] = container.id
        self.pods.add(container)

    def start(self, id: str) -> None:
        """See :meth:`Backend.start`."""
        container = self.get(id)
        if container.state is not EngineState.CREATED:
            raise FailedPrecondition(
                f"container {id!r} is {container.state.value}; only a created container can be started"
            )
        try:
            self._start(container)
        except (StartFailed, ResourceExhausted) as error:
            failure = error if isinstance(error, StartFailed) else StartFailed(str(error))
            self.pods.release(container)
            container.machine = None
            self._change(container, Life(finished_at=self._now(), exit_code=failure.exit_code, error=str(failure)))
            container.wake()
            raise failure from error

    def _start(self, container: Container) -> None:
        """All or nothing: a failure leaves the container as it was."""
        ips = self.pods.take(container)
        container.life = Life(started_at=self._now(), pid=self._next_pid, ips=ips)
        try:
            container.machine = self.pods.machine(container)
            container.machine.check()
            self._records.put_life(container.id, container.life)
        except BaseException:
            self.pods.release(container)
            container.life, container.machine = UNBORN, None
            raise
        self._next_pid += 1
        container.machine.start()
        container.wake()

    def kill(self, id: str, signal: Signal) -> None:
        """See :meth:`Backend.kill`."""
        container = self.get(id)
        machine = self._running(container)
        if machine is None:
            return
        if signal is Signal.SIGKILL and container.life.paused_at:
            self._thaw(container, machine)  # as cgroup v2 has it: a frozen process can be killed
        machine.signal(signal)

    def remove(self, id: str) -> None:
        """See :meth:`Backend.remove`."""
        container = self.containers.get(id)
        if container is None:
            return
        machine = self._running(container)
        if machine is not None:
            if container.life.paused_at:
                machine.thaw()
            machine.signal(Signal.SIGKILL)  # it takes its processes, and whoever waits for them, along
            self._exited(id, Exit(code=137, time_ns=self._now()))  # unless it was that quick
        elif container.machine is not None:
            container.machine.close()
        self._records.delete(id)
        del self.containers[id]
        del self._by_name[container.spec.name]
        self.pods.remove(container)
        container.wake()
        self._feed.publish(EngineEvent(kind=EventKind.GONE, id=id, time_ns=self._now()))

    def _exited(self, id: str, exit: Exit) -> None:
        """Note the end of a container's first process; later reports of the same change nothing."""
        container = self.containers.get(id)
        if container is None or self._closed or not container.running:
            return
        machine = container.machine
        self.pods.release(container)
        container.life = life = replace(
            container.life,
            finished_at=max(exit.time_ns, container.life.started_at + 1),
            exit_code=exit.code,
            oom_killed=exit.oom_killed,
            ips=(),
            paused_at=0,
            written_bytes=machine.written_bytes if machine else 0,
            written_files=machine.written_files if machine else 0,
        )
        try:
            self._records.put_life(id, life)
        except sqlite3.Error:  # the exit is a fact all the same; the next process finds it again by replay
            log.exception("cannot write down an exit", extra={"container": id})
        self._feed.publish(
            EngineEvent(
                kind=EventKind.EXITED,
                id=id,
                time_ns=life.finished_at,
                exit_code=life.exit_code,
                oom_killed=life.oom_killed,
            )
        )

    def update(self, id: str, resources: LinuxContainerResources) -> None:
        """See :meth:`Backend.update`."""
        container = self.get(id)
        if container.state is EngineState.EXITED:
            raise FailedPrecondition(f"container {id!r} is exited; only a created or running one can be updated")
        old = container.spec
        container.spec = dataclasses.replace(old, resources=merge_resources(old.resources, resources))
        try:
            self._records.put_made(container)
        except BaseException:
            container.spec = old
            raise
        machine = self._running(container)
        if machine is not None:
            machine.update(container.spec.resources)

    def pause(self, id: str) -> None:
        """See :meth:`Backend.pause`."""
        container = self.get(id)
        machine = self._running(container)
        if machine is None:
            raise FailedPrecondition(f"container {id!r} is {container.state.value}; only a running one can be paused")
        if not container.life.paused_at:
            self._change(container, replace(container.life, paused_at=self._now()))
            machine.freeze()

    def resume(self, id: str) -> None:
        """See :meth:`Backend.resume`."""
        container = self.get(id)
        machine = self._running(container)
        if machine is None:
            raise FailedPrecondition(f"container {id!r} is {container.state.value}; only a paused one can be resumed")
        if container.life.paused_at:
            self._thaw(container, machine)

    def _thaw(self, container: Container, machine: Machine) -> None:
        pauses = (*container.life.pauses, (container.life.paused_at, self._now()))
        self._change(container, replace(container.life, paused_at=0, pauses=pauses))
        machine.thaw()

    # ------------------------------------------------------------------ looking

    async def output(self, container: Container, since_ns: int) -> AsyncIterator[Chunk]:
        """What its machine writes; once that was read, or the machine is gone, what a second run of it writes."""
        await container.started()
        machine, life = container.machine, container.life
        if container.elapsed_ns:  # what the program wrote before its checkpoint is the old container's output
            since_ns = max(since_ns, life.started_at)
        if machine is not None and (container.running or not container.output_read):
            container.output_read = True
            source = machine.output(since_ns)
        elif life.started_at and life.finished_at:
            source = self.pods.replay(container, since_ns)
        else:
            return
        async for chunk in source:
            yield chunk

    def get(self, id: str) -> Container:
        """The container. Raises ContainerNotFound."""
        try:
            return self.containers[id]
        except KeyError:
            raise ContainerNotFound(id) from None

    def active(self, id: str, what: str) -> Machine:
        """Machine of a container that runs and is not paused. Raises FailedPrecondition."""
        container = self.get(id)
        machine = self._running(container)
        if machine is None:
            raise FailedPrecondition(f"cannot {what} container {id!r}: it is {container.state.value}, not running")
        if container.life.paused_at:
            raise FailedPrecondition(f"cannot {what} container {id!r}: it is paused; resume it first")
        return machine

    def user_of(self, image_id: str) -> str | None:
        """Name of a container that uses the image."""
        return next((c.spec.name for c in self.containers.values() if image_id in c.images), None)

    def _running(self, container: Container) -> Machine | None:
        return container.machine if container.running else None

    def _change(self, container: Container, life: Life) -> None:
        """Write the change down, then let it be."""
        self._records.put_life(container.id, life)
        container.life = life


@contextmanager
def _no_collections() -> Iterator[None]:
    """Keep the garbage collector from walking, again and again, what is just being built to stay: half the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
