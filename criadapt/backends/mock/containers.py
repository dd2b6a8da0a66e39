"""One container of the mock, and how it is written down.

A container has two records: how it was made, written once (and when its limits change), and what became of it,
written at every step. All else, the running program included, is computed from them.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from criadapt.backends.base import ContainerSpec, EngineContainer, EngineState
from criadapt.backends.mock.machine import Machine
from criadapt.journal import Journal
from criadapt.model.linux import LinuxContainerResources

_MADE, _LIFE, _CLOSED = "made", "life", "closed"
FIRST_PID = 100_000


class Made(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a container was made. `elapsed_ns` is the age of the checkpoint that it resumes."""

    spec: ContainerSpec
    created_at: int
    elapsed_ns: int = 0


class Life(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of a container. `pauses` are past, `paused_at` is a pause that still lasts."""

    started_at: int = 0
    finished_at: int = 0
    exit_code: int = 0
    oom_killed: bool = False
    error: str = ""
    pid: int = 0
    ips: tuple[str, ...] = ()
    pauses: tuple[tuple[int, int], ...] = ()
    paused_at: int = 0
    written_bytes: int = 0
    written_files: int = 0


UNBORN = Life()
_ENCODER = msgspec.json.Encoder()
_MADE_DECODER = msgspec.json.Decoder(Made)
_LIFE_DECODER = msgspec.json.Decoder(Life)


class Container:
    """A container and, once it was started in this process, its machine."""

    __slots__ = (
        "_waiting",
        "created_at",
        "elapsed_ns",
        "id",
        "life",
        "machine",
        "output_read",
        "peak",
        "spec",
    )

    def __init__(self, id: str, made: Made, life: Life = UNBORN) -> None:
        self.id = id
        self.spec = made.spec
        self.created_at = made.created_at
        self.elapsed_ns = made.elapsed_ns
        self.life = life
        self.machine: Machine | None = None
        self.output_read = False
        """Whether somebody began to read the machine's output, which can be read once."""
        self.peak = 0
        """Most memory ever measured."""
        self._waiting: list[asyncio.Future[None]] | None = None

    @property
    def state(self) -> EngineState:
        """Follows from the times, so the two cannot contradict each other."""
        if self.life.finished_at:
            return EngineState.EXITED
        return EngineState.RUNNING if self.life.started_at else EngineState.CREATED

    @property
    def running(self) -> bool:
        """Whether its program runs, perhaps paused."""
        return bool(self.life.started_at and not self.life.finished_at)

    @property
    def made(self) -> Made:
        """Its first record."""
        return Made(self.spec, self.created_at, self.elapsed_ns)

    @property
    def machine_started_at(self) -> int:
        """When its program began, as that program sees it: earlier than the start if it resumed a checkpoint."""
        return self.life.started_at - self.elapsed_ns

    def age_ns(self, now: int) -> int:
        """For how long its program has run, pauses not counted."""
        end = self.life.finished_at or self.life.paused_at or now
        return max(0, end - self.machine_started_at - sum(stop - start for start, stop in self.life.pauses))

    def row(self, ips: tuple[str, ...]) -> EngineContainer:
        """It, as the port describes a container."""
        life = self.life
        return EngineContainer(
            id=self.id,
            name=self.spec.name,
            labels=self.spec.labels,
            image_id=self.spec.image_id,
            state=self.state,
            created_at=self.created_at,
            started_at=life.started_at,
            finished_at=life.finished_at,
            exit_code=life.exit_code,
            oom_killed=life.oom_killed,
            error=life.error,
            pid=life.pid if self.running else 0,
            ips=ips,
        )

    @property
    def images(self) -> Iterator[str]:
        """Ids of the images it uses."""
        yield self.spec.image_id
        for mount in self.spec.mounts:
            if mount.image is not None:
                yield mount.image.image

    async def started(self) -> None:
        """Wait until it has started, or never will."""
        if self.state is EngineState.CREATED:
            waiter = asyncio.get_running_loop().create_future()
            self._waiting = [*(self._waiting or ()), waiter]
            await waiter

    def wake(self) -> None:
        """Tell those who wait in :meth:`started`."""
        for waiter in self._waiting or ():
            if not waiter.done():
                waiter.set_result(None)
        self._waiting = None


class Records:
    """Containers in the journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def load(self, sharing: Sharing) -> Iterator[Container]:
        """All containers, oldest first."""
        lives = {id: _LIFE_DECODER.decode(body) for id, body in self._journal.load(_LIFE)}
        found = []
        for id, body in self._journal.load(_MADE):
            made = _MADE_DECODER.decode(body)
            made = msgspec.structs.replace(made, spec=sharing.spec(made.spec))
            found.append(Container(id, made, lives.get(id, UNBORN)))
        yield from sorted(found, key=lambda container: container.created_at)

    def put_made(self, container: Container) -> None:
        """Remember how it was made."""
        self._journal.put(_MADE, container.id, _ENCODER.encode(container.made))

    def put_life(self, id: str, life: Life) -> None:
        """Remember what became of it."""
        self._journal.put(_LIFE, id, _ENCODER.encode(life))

    def put_closed(self, now: int) -> None:
        """Remember when this process let go of the containers."""
        self._journal.put(_CLOSED, "", b"%d" % now)

    def take_closed(self) -> int:
        """When the last process let go of them, 0 if it died instead."""
        found = max((int(body) for _, body in self._journal.load(_CLOSED)), default=0)
        self._journal.delete(_CLOSED, "")
        return found

    def delete(self, id: str) -> None:
        """Forget it."""
        with self._journal.together():
            self._journal.delete(_MADE, id)
            self._journal.delete(_LIFE, id)


class Sharing:
    """Keeps one copy of what thousands of containers have in common: arguments, environments, profiles.

    Bounded: when it knows too many values it forgets them, which costs memory and nothing else.
    """

    _FIELDS = (
        "image_id", "args", "env", "cwd", "user", "handler", "namespaces", "capabilities", "masked_paths",
        "readonly_paths", "seccomp", "apparmor", "selinux", "devices", "cdi_devices", "port_mappings",
    )  # fmt: skip
    _MAPPINGS = ("labels", "annotations", "sysctls")

    def __init__(self) -> None:
        self._known: dict[tuple[str, Any], Any] = {}
        self._resources: dict[str, LinuxContainerResources] = {}

    def spec(self, spec: ContainerSpec) -> ContainerSpec:
        """An equal spec that shares its parts with others."""
        if len(self._known) + len(self._resources) > 10_000:
            self.__init__()  # type: ignore[misc]
        known = self._known
        changes: dict[str, Any] = {}
        for name in self._FIELDS:
            value = getattr(spec, name)
            changes[name] = known.setdefault((name, value), value)
        for name in self._MAPPINGS:
            mapping = getattr(spec, name)
            changes[name] = {sys.intern(str(key)): value for key, value in mapping.items()} if mapping else _EMPTY
        changes["resources"] = self._resources.setdefault(repr(spec.resources), spec.resources)
        return replace(spec, **changes)


_EMPTY: Mapping[str, str] = {}
