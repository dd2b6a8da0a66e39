"""Small builders for tests: configs, records and engine rows with every field filled in that a test does not care for,
and an engine of a few lines whose calls can be held, failed and counted.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from criadapt.backends.base import (
    Backend,
    Chunk,
    Connection,
    ContainerSpec,
    EngineContainer,
    EngineEvent,
    EngineImage,
    EngineInfo,
    EngineState,
    EventKind,
    ExecSpec,
    ImageConfig,
    Process,
)
from criadapt.core.records import ContainerRecord, SandboxRecord
from criadapt.errors import AlreadyExists, ContainerNotFound, StartFailed
from criadapt.model.container import ContainerConfig, ContainerMetadata
from criadapt.model.image import AuthConfig, FilesystemIdentifier, FilesystemUsage, ImageSpec
from criadapt.model.linux import (
    LinuxContainerResources,
    LinuxSandboxSecurityContext,
    NamespaceMode,
    NamespaceOption,
)
from criadapt.model.reference import ImageRef
from criadapt.model.runtime import CgroupDriver, RuntimeHandler
from criadapt.model.sandbox import LinuxPodSandboxConfig, PodSandboxConfig, PodSandboxMetadata
from criadapt.model.signals import Signal

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND  # 2023-11-14T22:13:20Z: long ago, so that nothing depends on the real clock

PAUSE = "registry.k8s.io/pause:3.10"
BUSYBOX = "registry.k8s.io/e2e-test-images/busybox:1.29-2"


# ---------------------------------------------------------------------------------------------- what callers send


def sandbox_config(
    name: str = "web", *, namespace: str = "default", uid: str = "uid-1", attempt: int = 0, **fields: Any
) -> PodSandboxConfig:
    """A pod's config; further fields as :class:`PodSandboxConfig` has them."""
    metadata = PodSandboxMetadata(name=name, namespace=namespace, uid=uid, attempt=attempt)
    return PodSandboxConfig(**{"metadata": metadata, **fields})


def on_host_network(config: PodSandboxConfig) -> PodSandboxConfig:
    """The same pod on the host's network."""
    context = LinuxSandboxSecurityContext(namespace_options=NamespaceOption(network=NamespaceMode.NODE))
    return replace(config, linux=LinuxPodSandboxConfig(security_context=context))


def container_config(name: str = "app", *, attempt: int = 0, image: str = BUSYBOX, **fields: Any) -> ContainerConfig:
    """A container's config; further fields as :class:`ContainerConfig` has them."""
    return ContainerConfig(
        **{
            "metadata": ContainerMetadata(name=name, attempt=attempt),
            "image": ImageSpec(image=image),
            "command": ("top",),
            **fields,
        }
    )


# ---------------------------------------------------------------------------------------------- what is remembered


def sandbox_record(id: str = "s1", config: PodSandboxConfig | None = None, **fields: Any) -> SandboxRecord:
    """A READY sandbox; ``ready_at=0`` makes it a pending one, ``stopped_at=…`` a NOTREADY one."""
    given = {"handler": "", "created_at": START, "ready_at": START + SECOND, "network_up": True, "ips": ("10.0.0.1",)}
    return SandboxRecord(id=id, config=config or sandbox_config(), **{**given, **fields})


def container_record(
    id: str = "c1", sandbox_id: str = "s1", config: ContainerConfig | None = None, **fields: Any
) -> ContainerRecord:
    """A CREATED container; ``started_at`` and ``finished_at`` make it a RUNNING or an EXITED one."""
    given = {"image_id": "sha256:" + "b" * 64, "image_ref": BUSYBOX, "image_name": BUSYBOX, "created_at": START}
    return ContainerRecord(id=id, sandbox_id=sandbox_id, config=config or container_config(), **{**given, **fields})


# ---------------------------------------------------------------------------------------------- what an engine says


def engine_container(id: str = "c1", state: EngineState = EngineState.RUNNING, **fields: Any) -> EngineContainer:
    """A row of an engine's list, with times that fit its state."""
    given: dict[str, Any] = {"name": f"k8s_{id}", "labels": {}, "image_id": "sha256:" + "b" * 64, "created_at": START}
    if state is not EngineState.CREATED:
        given["started_at"] = START + SECOND
    if state is EngineState.EXITED:
        given["finished_at"] = START + 2 * SECOND
    return EngineContainer(id=id, state=state, **{**given, **fields})


def engine_image(letter: str = "b", *tags: str, **fields: Any) -> EngineImage:
    """A local image whose id is `letter` 64 times."""
    return EngineImage(**{"id": "sha256:" + letter * 64, "size": 1000, "repo_tags": tags, **fields})


@dataclass(slots=True)
class Gate:
    """One call of the engine held open: wait until it is `reached`, then let it go on with :meth:`open`."""

    reached: asyncio.Event
    _open: asyncio.Event

    def open(self) -> None:
        """Let the call go on."""
        self._open.set()

    async def wait(self) -> None:
        """Stand in the call's way."""
        self.reached.set()
        await self._open.wait()


class FakeEngine(Backend):
    """An engine that does nothing but keep rows. Every call is written to `calls` as (method, id or name).

    `errors` makes a method fail, `lost` lets it succeed and fail afterwards; :meth:`hold` stops it half-way.
    """

    name = "fake"
    Options = type("Options", (), {})

    def __init__(self, state_dir: Path = Path("unused")) -> None:
        super().__init__(None, state_dir=state_dir)
        self.rows: dict[str, EngineContainer] = {}
        self.specs: dict[str, ContainerSpec] = {}
        self.calls: list[tuple[str, str]] = []
        self.signals: list[tuple[str, Signal]] = []
        self.errors: dict[str, BaseException] = {}
        self.lost: dict[str, BaseException] = {}
        self.local = [engine_image("a", PAUSE, config=ImageConfig(entrypoint=("/pause",))), engine_image("b", BUSYBOX)]
        self.files: dict[str, bytes] = {}
        self.chunks: dict[str, list[Chunk]] = {}
        self.processes: list[Process] = []
        """What exec and attach give, in order."""
        self.attached: list[tuple[bool, bool]] = []
        """Whether stdin was asked for, and a tty."""
        self.connections: list[Connection] = []
        self.updates: list[LinuxContainerResources] = []
        self.deaf: set[str] = set()
        """Containers that only SIGKILL ends."""
        self.stubborn: set[str] = set()
        """Containers that not even SIGKILL ends."""
        self.listener: Callable[[EngineEvent], None] = lambda event: None
        self.feed: asyncio.Queue[EngineEvent | Exception] = asyncio.Queue()
        self._gates: dict[str, Gate] = {}
        self._wakes: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._numbers = 0

    # ------------------------------------------------------------------ for the test

    def hold(self, method: str) -> Gate:
        """Hold the next call of `method`, before it has an effect."""
        gate = self._gates[method] = Gate(asyncio.Event(), asyncio.Event())
        return gate

    def called(self, method: str) -> list[str]:
        """Whom `method` was called for, in order."""
        return [id for name, id in self.calls if name == method]

    def end(self, id: str, exit_code: int = 0, *, time_ns: int = START + 5 * SECOND, oom_killed: bool = False) -> None:
        """The container's process ends by itself, and the listener hears of it."""
        row = self.rows[id]
        if row.state is EngineState.RUNNING:
            self.rows[id] = replace(
                row, state=EngineState.EXITED, finished_at=time_ns, exit_code=exit_code, oom_killed=oom_killed
            )
            self._wakes[id].set()
            self.listener(
                EngineEvent(kind=EventKind.EXITED, id=id, time_ns=time_ns, exit_code=exit_code, oom_killed=oom_killed)
            )

    def vanish(self, id: str) -> None:
        """Somebody removes the container behind criadapt's back: its process dies, then it is gone."""
        self.end(id, 137)
        self.rows.pop(id)
        self.listener(EngineEvent(kind=EventKind.GONE, id=id))

    async def _step(self, method: str, what: str = "") -> None:
        self.calls.append((method, what))
        gate = self._gates.pop(method, None)
        if gate is not None:
            await gate.wait()
        else:
            await asyncio.sleep(0)  # as any real engine gives way to others
        if method in self.errors:
            raise self.errors[method]

    def _answer(self, method: str) -> None:
        if method in self.lost:
            raise self.lost[method]

    def _row(self, id: str) -> EngineContainer:
        if id not in self.rows:
            raise ContainerNotFound(id)
        return self.rows[id]

    # ------------------------------------------------------------------ for criadapt

    async def info(self) -> EngineInfo:
        await self._step("info")
        return EngineInfo(
            name="fake", version="1.0.0", cgroup_driver=CgroupDriver.CGROUPFS, handlers=(RuntimeHandler(name=""),)
        )

    async def create(self, spec: ContainerSpec) -> str:
        await self._step("create", spec.name)
        if any(row.name == spec.name for row in self.rows.values()):
            raise AlreadyExists(f"name {spec.name!r} is taken")
        self._numbers += 1
        id = hashlib.sha256(str(self._numbers).encode()).hexdigest()  # reproducible, and told apart by a short prefix
        self.specs[id] = spec
        self.rows[id] = engine_container(id, EngineState.CREATED, name=spec.name, labels=spec.labels)
        self._answer("create")
        return id

    async def start(self, id: str) -> None:
        try:
            await self._step("start", id)
        except StartFailed as error:
            self.rows[id] = replace(self._row(id), state=EngineState.EXITED, error=str(error), exit_code=128)
            raise
        self.rows[id] = replace(self._row(id), state=EngineState.RUNNING, started_at=START + SECOND, ips=("10.0.0.1",))
        self._answer("start")

    async def kill(self, id: str, signal: Signal) -> None:
        await self._step("kill", id)
        self._row(id)
        self.signals.append((id, signal))
        if id not in self.stubborn and (id not in self.deaf or signal is Signal.SIGKILL):
            self.end(id, 128 + signal.number)

    async def remove(self, id: str) -> None:
        await self._step("remove", id)
        if id in self.rows:
            self.end(id, 137)
            del self.rows[id]
            self.listener(EngineEvent(kind=EventKind.GONE, id=id))

    async def containers(self) -> Sequence[EngineContainer]:
        await self._step("containers")
        return list(self.rows.values())

    async def inspect(self, id: str) -> EngineContainer:
        await self._step("inspect", id)
        return self._row(id)

    async def events(self) -> AsyncIterator[EngineEvent]:
        while True:
            event = await self.feed.get()
            if isinstance(event, Exception):
                raise event
            yield event

    async def exec(self, id: str, spec: ExecSpec) -> Process:
        await self._step("exec", id)
        return self.processes.pop(0)

    async def attach(self, id: str, *, stdin: bool, tty: bool) -> Process:
        await self._step("attach", id)
        self.attached.append((stdin, tty))
        return self.processes.pop(0)

    async def dial(self, id: str, port: int) -> Connection:
        await self._step("dial", f"{id}:{port}")
        return self.connections.pop(0)

    async def pull(self, ref: ImageRef, auth: AuthConfig | None) -> str:
        await self._step("pull", str(ref))
        image = engine_image("c", str(ref))
        self.local.append(image)
        return image.id

    async def images(self) -> Sequence[EngineImage]:
        await self._step("images")
        return list(self.local)

    async def remove_image(self, id: str) -> None:
        await self._step("remove_image", id)
        self.local = [image for image in self.local if image.id != id]

    async def image_filesystem(self) -> FilesystemUsage:
        return FilesystemUsage(timestamp=START, fs_id=FilesystemIdentifier(mountpoint="/"), used_bytes=1)

    async def image_file(self, image_id: str, path: str) -> bytes | None:
        await self._step("image_file", path)
        return self.files.get(path)

    async def update(self, id: str, resources: LinuxContainerResources) -> None:
        await self._step("update", id)
        self.updates.append(resources)

    async def checkpoint(self, id: str, path: Path) -> None:
        await self._step("checkpoint", id)
        path.write_bytes(b"saved")  # noqa: ASYNC240 - one small file
        self._answer("checkpoint")

    async def pause(self, id: str) -> None:
        await self._step("pause", id)

    async def resume(self, id: str) -> None:
        await self._step("resume", id)

    async def output(self, id: str, since_ns: int) -> AsyncIterator[Chunk]:
        """The chunks of `chunks`; then, while the container runs or is yet to start, it waits for its end."""
        for chunk in self.chunks.get(id, []):
            if chunk.time_ns > since_ns:
                yield chunk
        if id in self.rows and self.rows[id].state is not EngineState.EXITED:
            await self._wakes[id].wait()
