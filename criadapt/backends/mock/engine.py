"""The mock engine: the port's methods, each handed to the part of the pretended world that it is about."""

from __future__ import annotations

import asyncio
import importlib
import logging
import posixpath
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from ipaddress import ip_network
from pathlib import Path
from types import TracebackType
from typing import Self

import criadapt
from criadapt.backends.base import (
    Backend,
    Chunk,
    Connection,
    ContainerSpec,
    EngineContainer,
    EngineEvent,
    EngineImage,
    EngineInfo,
    EventKind,
    ExecSpec,
    Process,
)
from criadapt.backends.mock import checkpoint, usage
from criadapt.backends.mock.doors import check_local
from criadapt.backends.mock.feed import Feed
from criadapt.backends.mock.images import Images
from criadapt.backends.mock.lifecycle import Lifecycle
from criadapt.backends.mock.options import MockOptions
from criadapt.backends.mock.registry import Registry
from criadapt.errors import FailedPrecondition, InvalidArgument
from criadapt.journal import Journal
from criadapt.model.image import AuthConfig, FilesystemIdentifier, FilesystemUsage
from criadapt.model.linux import LinuxContainerResources
from criadapt.model.reference import ImageRef
from criadapt.model.runtime import CgroupDriver, RuntimeFeatures, RuntimeHandler, RuntimeHandlerFeatures
from criadapt.model.signals import Signal
from criadapt.model.usage import Usage

log = logging.getLogger(__name__)
_FOLD_INTERVAL = 20  # seconds
_FOLD_SIZE = 4 << 20  # bytes of write-ahead log that are worth folding


class MockBackend(Backend):
    """An engine in memory. What it acknowledged is in ``mock.sqlite`` under its state directory."""

    name = "mock"
    Options = MockOptions
    options: MockOptions

    def __init__(
        self,
        options: MockOptions | None = None,
        *,
        state_dir: Path,
        now: Callable[[], int] = time.time_ns,
        new_id: Callable[[], str] = lambda: secrets.token_hex(32),
    ) -> None:
        super().__init__(options or MockOptions(), state_dir=state_dir)
        self._now = now
        self._new_id = new_id
        self._disk = state_dir / "mock-disk"
        self._feed = Feed()
        self._registry = Registry(self.options.pull_delay)

    async def __aenter__(self) -> Self:
        for module in self.options.programs:
            try:
                importlib.import_module(module)
            except ImportError as error:
                raise InvalidArgument(f"programs: cannot import {module!r}: {error}") from error
        if self.options.reachable and self.options.network:
            check_local(str(ip_network(self.options.network)[-2]))
        self._disk.mkdir(parents=True, exist_ok=True)
        self._journal = Journal(self.state_dir / "mock.sqlite")
        try:
            self._images = Images(
                self._journal,
                size=self.options.image_size,
                capacity=self.options.disk_size,
                changed=lambda: self._feed.publish(EngineEvent(kind=EventKind.IMAGES, time_ns=self._now())),
            )
            for text in self.options.preload:
                self._images.add(ImageRef.parse(text), self._now())
            self._life = Lifecycle(
                self._journal, self._images, self._feed, self.options, now=self._now, new_id=self._new_id
            )
            self._life.load()
        except BaseException:
            self._journal.close()
            raise
        self._folding = asyncio.create_task(self._fold_journal(), name="mock journal")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folding.cancel()
        await asyncio.wait([self._folding])
        await self._life.close()
        self._feed.close()
        self._journal.close()

    async def info(self) -> EngineInfo:
        options = self.options
        features = RuntimeHandlerFeatures(recursive_read_only_mounts=True, user_namespaces=False)
        return EngineInfo(
            name="mock",
            version=criadapt.__version__,
            cgroup_driver=CgroupDriver[options.cgroup_driver.upper()],
            handlers=tuple(RuntimeHandler(name=name, features=features) for name in options.handlers),
            features=RuntimeFeatures(supplemental_groups_policy=True, mount_options=True),
            details={"seed": options.seed, "subnet": options.network, "subnet_v6": options.subnet_v6},
        )

    # ------------------------------------------------------------------ containers

    async def create(self, spec: ContainerSpec) -> str:
        return self._life.create(spec)

    async def start(self, id: str) -> None:
        self._life.start(id)

    async def kill(self, id: str, signal: Signal) -> None:
        self._life.kill(id, signal)

    async def remove(self, id: str) -> None:
        self._life.remove(id)

    async def update(self, id: str, resources: LinuxContainerResources) -> None:
        self._life.update(id, resources)

    async def pause(self, id: str) -> None:
        self._life.pause(id)

    async def resume(self, id: str) -> None:
        self._life.resume(id)

    async def checkpoint(self, id: str, path: Path) -> None:
        container = self._life.get(id)
        if not container.running:
            raise FailedPrecondition(
                f"container {id!r} is {container.state.value}; only a running one can be checkpointed"
            )
        now = self._now()
        checkpoint.write(path, container.spec, elapsed_ns=container.age_ns(now), taken_at=now)

    async def containers(self) -> Sequence[EngineContainer]:
        ips = self._life.pods.ips
        return [container.row(ips(container)) for container in self._life.containers.values()]

    async def inspect(self, id: str) -> EngineContainer:
        container = self._life.get(id)
        return container.row(self._life.pods.ips(container))

    def events(self) -> AsyncIterator[EngineEvent]:
        return self._feed.listen()

    async def usage(self, id: str) -> Usage:
        container = self._life.get(id)
        return usage.measure(
            container,
            self._now(),
            options=self.options,
            mountpoint=str(self._disk),
            has_network=container.spec.infra is None and bool(container.life.ips),
        )

    # ------------------------------------------------------------------ streams

    def output(self, id: str, since_ns: int) -> AsyncIterator[Chunk]:
        return self._life.output(self._life.get(id), since_ns)

    async def exec(self, id: str, spec: ExecSpec) -> Process:
        return self._life.active(id, "run a process in").exec(spec)

    async def attach(self, id: str, *, stdin: bool, tty: bool) -> Process:
        return self._life.active(id, "attach to").attach(stdin=stdin, tty=tty)

    async def dial(self, id: str, port: int) -> Connection:
        return self._life.active(id, "connect to a port of").dial(port)

    # ------------------------------------------------------------------ images

    async def pull(self, ref: ImageRef, auth: AuthConfig | None) -> str:
        await self._registry.fetch(ref, auth)
        return self._images.add(ref, self._now())

    async def images(self) -> Sequence[EngineImage]:
        return self._images.rows()

    async def remove_image(self, id: str) -> None:
        self._images.remove(id, user=self._life.user_of(id))

    async def image_filesystem(self) -> FilesystemUsage:
        return FilesystemUsage(
            timestamp=self._now(),
            fs_id=FilesystemIdentifier(mountpoint=str(self._disk)),
            used_bytes=self._images.used_bytes,
            inodes_used=self._images.inodes_used,
        )

    async def image_file(self, image_id: str, path: str) -> bytes | None:
        return self._images.files(image_id).get(posixpath.normpath(f"/{path.lstrip('/')}"))

    # ------------------------------------------------------------------ within

    async def _fold_journal(self) -> None:
        """Keep the write-ahead log short."""
        while True:
            await asyncio.sleep(_FOLD_INTERVAL)
            try:
                await asyncio.to_thread(_fold, self._journal)
            except (sqlite3.Error, OSError) as error:
                facts = {"path": str(self._journal.path), "error": str(error)}
                log.warning("cannot fold the journal", extra=facts)


def _fold(journal: Journal) -> None:
    log_file = Path(f"{journal.path}-wal")
    if log_file.exists() and log_file.stat().st_size > _FOLD_SIZE:
        journal.checkpoint()
