"""Checkpoint and restore: one container, or all chosen containers of a pod as they were at one moment.

A pod's checkpoint is a folder: ``pod.json`` names the containers and what they ran; each ``<n>.checkpoint`` beside
it is the engine's own format. CRI v1 leaves the format to the runtime.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec

from criadapt.backends.base import Backend
from criadapt.core import validate
from criadapt.core.containers import Containers
from criadapt.core.records import ContainerRecord
from criadapt.core.sandboxes import Sandboxes
from criadapt.core.store import Store
from criadapt.core.undo import Undo
from criadapt.errors import DeadlineExceeded, FailedPrecondition, InvalidArgument, storage_failed
from criadapt.model.container import ContainerConfig, ContainerState
from criadapt.model.sandbox import PodSandboxConfig, RestoredContainer

MANIFEST = "pod.json"
FORMAT = "criadapt-pod-checkpoint-v1"

_IDENTITY = ("command", "args", "working_dir", "tty", "stdin")
"""Fields that say which process was saved; a restore may not change them."""


class _Saved(msgspec.Struct, frozen=True):
    name: str
    file: str
    image_id: str
    config: ContainerConfig


class _Manifest(msgspec.Struct, frozen=True):
    format: str
    backend: str
    containers: tuple[_Saved, ...]


class Checkpoints:
    """Saves running containers and brings them back."""

    def __init__(self, store: Store, backend: Backend, sandboxes: Sandboxes, containers: Containers) -> None:
        self._store = store
        self._backend = backend
        self._sandboxes = sandboxes
        self._containers = containers

    async def container(self, id: str, location: str, timeout: int) -> None:
        """Write a running container's state to the file `location`; it runs on. Nothing is left on failure.

        `timeout` is seconds, 0 for no limit of our own.
        """
        record = self._running(id)
        validate.absolute(location, "location")
        path = Path(location)
        _demand_place(path)
        await self._save(record, path, timeout)

    async def _save(self, record: ContainerRecord, path: Path, timeout: int) -> None:
        partial_path = path.with_name(f".{record.id[:13]}.partial")
        try:
            async with asyncio.timeout(timeout if timeout > 0 else None):
                await self._backend.checkpoint(record.id, partial_path)
            partial_path.rename(path)
        except TimeoutError:
            raise DeadlineExceeded(f"container {record.id[:13]!r}: no checkpoint within {timeout} s") from None
        except OSError as error:
            raise storage_failed(f"checkpoint {path} cannot be written", error) from error
        finally:
            partial_path.unlink(missing_ok=True)

    async def pod(self, sandbox_id: str, output_path: str, ids: Sequence[str], options: Mapping[str, str]) -> None:
        """Save the named running containers of a pod, all frozen before the first is saved and resumed at the end."""
        _refuse_options(options)
        sandbox = self._store.sandbox(sandbox_id)
        validate.absolute(output_path, "output_path")
        folder = Path(output_path)
        if not ids:
            raise InvalidArgument("container_ids is empty; name the containers to save")
        records = [self._running(id) for id in ids]
        if len({record.id for record in records}) != len(records):
            raise InvalidArgument("container_ids names a container twice")
        for record in records:
            if record.sandbox_id != sandbox.id:
                raise InvalidArgument(f"container_ids: {record.id[:13]!r} is not in pod {sandbox.id[:13]!r}")
        _demand_empty_folder(folder)
        async with Undo("CheckpointPod") as undo, Undo("CheckpointPod") as frozen:
            for record in records:
                frozen.push("resume", partial(self._backend.resume, record.id))
                await self._backend.pause(record.id)
            saved = []
            for number, record in enumerate(records):
                path = folder / f"{number}.checkpoint"
                undo.push("remove the partial checkpoint", partial(_unlink, path))
                await self._save(record, path, 0)
                saved.append(_Saved(record.metadata.name, path.name, record.image_id, record.config))
            manifest = _Manifest(FORMAT, self._backend.name, tuple(saved))
            undo.push("remove the partial checkpoint", partial(_unlink, folder / MANIFEST))
            _write_private(folder / MANIFEST, msgspec.json.encode(manifest))
            undo.keep()
            # `frozen` is never kept: whatever happened, the containers go on.

    async def restore(
        self,
        path: str,
        config: PodSandboxConfig | None,
        handler: str,
        options: Mapping[str, str],
        configs: Sequence[ContainerConfig],
    ) -> tuple[str, list[RestoredContainer]]:
        """A new sandbox with the saved containers, CREATED; starting one resumes it. All or nothing."""
        _refuse_options(options)
        validate.absolute(path, "checkpoint_path")
        manifest = self._read(Path(path))
        wanted = _match(manifest, configs)
        sandbox_id = await self._sandboxes.run(config, handler, new=True)
        restored = []
        async with Undo("RestorePod") as undo:
            undo.push("remove the restored sandbox", partial(self._sandboxes.remove, sandbox_id))
            for saved, container in wanted:
                file = str(Path(path) / saved.file)
                id = await self._containers.create(sandbox_id, container, checkpoint=file)
                restored.append(RestoredContainer(name=saved.name, container_id=id))
            undo.keep()
        return sandbox_id, restored

    def _read(self, folder: Path) -> _Manifest:
        try:
            manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=_Manifest)
        except OSError as error:
            raise InvalidArgument(f"checkpoint_path: {folder / MANIFEST} cannot be read: {error.strerror}") from error
        except msgspec.MsgspecError as error:
            raise InvalidArgument(f"checkpoint_path: {folder / MANIFEST} is damaged: {error}") from error
        if manifest.format != FORMAT or manifest.backend != self._backend.name:
            raise InvalidArgument(
                f"checkpoint_path: made as {manifest.format!r} by backend {manifest.backend!r}; "
                f"this is {FORMAT!r} of {self._backend.name!r}"
            )
        return manifest

    def _running(self, id: str) -> ContainerRecord:
        record = self._store.container(id)
        if record.state is not ContainerState.RUNNING:
            raise FailedPrecondition(f"container {record.id[:13]!r} is not running; only running ones can be saved")
        return record


def _match(manifest: _Manifest, configs: Sequence[ContainerConfig]) -> list[tuple[_Saved, ContainerConfig]]:
    """Pair saved containers with configs by name; both sets must be equal."""
    by_name: dict[str, ContainerConfig] = {}
    for number, config in enumerate(configs):
        name = config.metadata.name if config.metadata else ""
        if not name or name in by_name:
            raise InvalidArgument(f"container_configs[{number}].metadata.name {name!r} is missing or stands twice")
        by_name[name] = config
    saved = {container.name for container in manifest.containers}
    if saved != set(by_name):
        raise InvalidArgument(
            f"container_configs names {sorted(by_name)}, the checkpoint holds {sorted(saved)}; both must be the same"
        )
    for container in manifest.containers:
        for field in _IDENTITY:
            if getattr(container.config, field) != getattr(by_name[container.name], field):
                raise InvalidArgument(f"container_configs: {field} of {container.name!r} differs from what was saved")
    return [(container, by_name[container.name]) for container in manifest.containers]


def _refuse_options(options: Mapping[str, str]) -> None:
    if options:
        raise InvalidArgument(f"options: {sorted(options)[0][:80]!r} is not known; there are none")


def _demand_place(path: Path) -> None:
    """A file can be made at `path`."""
    try:
        if path.is_dir():
            raise InvalidArgument(f"location: {path} is a folder; name the file to write")
        if not path.parent.is_dir():
            raise InvalidArgument(f"location: the folder {path.parent} does not exist")
    except OSError as error:  # a name too long, a loop of links
        raise InvalidArgument(f"location cannot be used: {error.strerror}") from error


def _demand_empty_folder(folder: Path) -> None:
    try:
        empty = not any(folder.iterdir())
    except OSError as error:
        raise InvalidArgument(f"output_path {folder} is not a folder that can be read: {error.strerror}") from error
    if not empty:
        raise InvalidArgument(f"output_path {folder} is not empty")


def _write_private(path: Path, data: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)


async def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)  # noqa: ASYNC240 - one unlink
