"""Docker Engine behind the port: blocking calls of the docker SDK in a few threads, streams in the event loop."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import docker

from criadapt.backends import dialing
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
    ExecSpec,
    Process,
)
from criadapt.backends.docker import streams, wire
from criadapt.backends.docker.containers import Known
from criadapt.backends.docker.describe import facts_of, info_of
from criadapt.backends.docker.errors import translated
from criadapt.backends.docker.events import following_events
from criadapt.backends.docker.facts import EngineFacts
from criadapt.backends.docker.images import Images
from criadapt.backends.docker.options import DockerOptions
from criadapt.backends.docker.pool import Pool
from criadapt.backends.docker.spec import AfterStart, after_start, create_body, notes, resources_update
from criadapt.errors import (
    ContainerNotFound,
    EngineError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    StartFailed,
)
from criadapt.metering import writing
from criadapt.metering.meter import Meter, Subject
from criadapt.model.image import AuthConfig, FilesystemUsage
from criadapt.model.linux import LinuxContainerResources
from criadapt.model.reference import ImageRef
from criadapt.model.signals import Signal
from criadapt.model.usage import Usage

log = logging.getLogger(__name__)

OWNER = "criadapt.io/owner"
"""Label of the engine's containers that are ours; its value tells several criadapts on one engine apart."""

GONE_SECONDS = 30.0  # for a removal that somebody else has begun

_NOT_RUNNING = re.compile(r"is not running|is already stopped|not running", re.IGNORECASE)
_NOT_FOUND = re.compile(r"executable file not found|no such file or directory", re.IGNORECASE)
_DENIED = re.compile(r"permission denied|is a directory|exec format error", re.IGNORECASE)


class DockerBackend(Backend):
    """Docker Engine on this machine."""

    name = "docker"
    Options = DockerOptions
    options: DockerOptions

    def __init__(self, options: DockerOptions | None = None, *, state_dir: Path) -> None:
        super().__init__(options or DockerOptions(), state_dir=state_dir)
        self.socket = self.options.socket.removeprefix("unix://")
        self.owner = hashlib.sha256(str(state_dir.resolve()).encode()).hexdigest()[:16]
        self._known = Known()
        self._noted: set[str] = set()
        self._unstarted: dict[str, AfterStart] = {}

    async def __aenter__(self) -> Self:
        self.pool = Pool(self.options.workers)
        try:
            self.api = await asyncio.to_thread(self._client)
            answer = await self.pool.call(self.api.info)
        except BaseException:
            self.pool.close()
            raise
        self.version = str(self.api.api_version)
        self.facts: EngineFacts = facts_of(answer, self.version, self.options, self.socket)
        self._info: EngineInfo = info_of(answer, self.facts)
        self.images_ = Images(self)
        self._meter = Meter()
        return self

    def _client(self) -> docker.APIClient:
        """A client of the version that both sides know."""
        options = self.options
        with translated():
            return docker.APIClient(
                base_url=options.socket,
                version="auto",
                timeout=int(options.call_timeout),
                max_pool_size=options.workers,
            )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.images_.close()
        self.pool.close()
        self._meter.close()
        self.api.close()

    async def info(self) -> EngineInfo:
        await self.pool.call(self.api.ping)
        return self._info

    # ------------------------------------------------------------------ containers

    async def create(self, spec: ContainerSpec) -> str:
        body = create_body(spec, self.facts)
        for note in notes(spec, self.facts):
            if note not in self._noted:  # the same for many containers
                self._noted.add(note)
                log.warning("a container gets less than it asks for", extra={"note": note})
        body["Labels"] = {**body.get("Labels", {}), OWNER: self.owner}
        try:
            answer = await self.pool.call(self.api.create_container_from_config, body, spec.name)
        except NotFound as error:
            if spec.infra is not None and spec.infra in str(error):
                raise ContainerNotFound(spec.infra) from error
            raise
        id = str(answer["Id"])
        for warning in answer.get("Warnings") or ():
            log.info("engine warns", extra={"container": id, "warning": warning})
        self._unstarted[id] = after_start(spec.resources, self.facts)
        return id

    async def start(self, id: str) -> None:
        limits = await self._limits_to_write(id)
        self._known.forget(id)
        try:
            await self.pool.call(self.api.start, id)
        except NotFound as error:
            if "no such container" in str(error).lower():
                raise ContainerNotFound(id) from error
            raise _start_failed(error) from error
        except (EngineError, InvalidArgument) as error:
            raise _start_failed(error) from error
        await self._write_limits(id, limits)

    async def _limits_to_write(self, id: str) -> AfterStart:
        """What a start has to bring along. Raises FailedPrecondition for a container that was started before.

        The engine would start such a one again.
        """
        limits = self._unstarted.pop(id, None)
        if limits is not None:
            return limits
        found = await self._inspect(id)
        if found.state is not EngineState.CREATED:
            raise FailedPrecondition(f"container {id[:13]!r} is {found.state.value}; only a created one can be started")
        return AfterStart()

    async def kill(self, id: str, signal: Signal) -> None:
        try:
            await self.pool.call(self.api.kill, id, signal.number)
        except NotFound as error:
            raise ContainerNotFound(id) from error
        except FailedPrecondition as error:
            if not _NOT_RUNNING.search(str(error)):
                raise

    async def remove(self, id: str) -> None:
        self.forget(id)
        try:
            await self.pool.call(self.api.remove_container, id, v=True, force=True)
        except NotFound:
            return
        except FailedPrecondition:  # somebody else is removing it
            path = f"/v{self.version}/containers/{id}/wait?condition=removed"
            with suppress(NotFound):
                await wire.request(self.socket, "POST", path, timeout=GONE_SECONDS)

    async def update(self, id: str, resources: LinuxContainerResources) -> None:
        body = resources_update(resources, self.facts)
        try:
            if body:
                await wire.request(self.socket, "POST", f"/v{self.version}/containers/{id}/update", body)
            await self._write_limits(id, after_start(resources, self.facts))
        except NotFound as error:
            raise ContainerNotFound(id) from error

    async def _write_limits(self, id: str, limits: AfterStart) -> None:
        """Write into the container's cgroup what the engine has no field for."""
        if not limits:
            return
        group = self._meter.cgroup(await self._pid(id), id)
        if group is None:
            raise FailedPrecondition(f"container {id[:13]!r} has no cgroup")
        writing.write(group, limits.settings(group))

    async def pause(self, id: str) -> None:
        await self._of_running(self.api.pause, id)

    async def resume(self, id: str) -> None:
        await self._of_running(self.api.unpause, id)

    async def _of_running(self, call: Any, id: str) -> None:
        self._known.forget(id)
        try:
            await self.pool.call(call, id)
        except NotFound as error:
            raise ContainerNotFound(id) from error

    async def containers(self) -> Sequence[EngineContainer]:
        rows: list[Mapping[str, Any]] = await self.pool.call(
            self.api.containers, all=True, filters={"label": f"{OWNER}={self.owner}"}
        )
        self._known.keep(rows)
        found = await asyncio.gather(*(self._of_row(row) for row in rows))
        return [_without_owner(each) for each in found if each is not None]

    async def _of_row(self, row: Mapping[str, Any]) -> EngineContainer | None:
        known = self._known.get(row)
        if known is not None:
            return known
        try:
            return await self._inspect(row["Id"])
        except ContainerNotFound:
            return None  # gone since the list was made

    async def inspect(self, id: str) -> EngineContainer:
        return _without_owner(await self._inspect(id))

    async def _inspect(self, id: str) -> EngineContainer:
        try:
            return self._known.put(await self.pool.call(self.api.inspect_container, id))
        except NotFound as error:
            self._known.forget(id)
            raise ContainerNotFound(id) from error

    def events(self) -> AsyncIterator[EngineEvent]:
        return following_events(self)

    def is_ours(self, labels: Mapping[str, str]) -> bool:
        """Whether a container with these labels was made by this criadapt."""
        return labels.get(OWNER) == self.owner

    def forget(self, id: str) -> None:
        """The container is gone."""
        self._known.forget(id)
        self._meter.forget(id)
        self._unstarted.pop(id, None)

    def images_changed(self) -> None:
        """The set of images has changed."""
        self.images_.changed()

    async def ended(self, id: str) -> EngineContainer:
        """The container as it is after its end, for whoever hears of that first. Raises ContainerNotFound."""
        self._known.forget(id)
        return await self._inspect(id)

    # ------------------------------------------------------------------ streams

    def output(self, id: str, since_ns: int) -> AsyncIterator[Chunk]:
        return streams.output(self, id, since_ns)

    async def exec(self, id: str, spec: ExecSpec) -> Process:
        return await streams.execute(self, id, spec)

    async def attach(self, id: str, *, stdin: bool, tty: bool) -> Process:
        return await streams.attach(self, id, stdin=stdin, tty=tty)

    async def dial(self, id: str, port: int) -> Connection:
        return await dialing.dial(f"/proc/{await self._pid(id)}/ns/net", port)

    async def _pid(self, id: str) -> int:
        found = self._known.running(id) or await self._inspect(id)
        if not found.pid:
            raise FailedPrecondition(f"container {id[:13]!r} is not running")
        return found.pid

    # ------------------------------------------------------------------ figures

    async def usage(self, id: str) -> Usage:
        found = self._known.running(id) or await self._inspect(id)
        subject = Subject(
            id=id,
            pid=found.pid,
            network=bool(found.ips),
            layer=await self.images_.layer(id),
            mountpoint=self.facts.root_dir,
        )
        return self._meter.usage(subject)

    # ------------------------------------------------------------------ images

    async def pull(self, ref: ImageRef, auth: AuthConfig | None) -> str:
        return await self.images_.pull(ref, auth)

    async def images(self) -> Sequence[EngineImage]:
        return await self.images_.list()

    async def remove_image(self, id: str) -> None:
        await self.images_.remove(id)

    async def image_filesystem(self) -> FilesystemUsage:
        return await self.images_.filesystem()

    async def image_file(self, image_id: str, path: str) -> bytes | None:
        return await self.images_.file(image_id, path)


def _without_owner(found: EngineContainer) -> EngineContainer:
    return replace(found, labels={key: value for key, value in found.labels.items() if key != OWNER})


def _start_failed(error: Exception) -> StartFailed:
    """A start that the engine refused, with the exit code that a shell would give for the cause."""
    text = str(error)
    code = 127 if _NOT_FOUND.search(text) else 126 if _DENIED.search(text) else 128
    return StartFailed(text, exit_code=code)
