"""Images of Docker Engine: kept in mind as long as the engine's events tell what changes, asked for otherwise."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from criadapt.backends.base import EngineImage, ImageConfig
from criadapt.backends.docker import layers, pulling, wire
from criadapt.backends.docker.archives import Archives
from criadapt.backends.docker.containers import nanoseconds
from criadapt.errors import (
    ContainerNotFound,
    FailedPrecondition,
    ImageNotFound,
    InvalidArgument,
    NotFound,
    PullFailed,
    storage_failed,
)
from criadapt.metering.disk import Layers
from criadapt.model.image import AuthConfig, FilesystemIdentifier, FilesystemUsage
from criadapt.model.reference import ImageRef

if TYPE_CHECKING:
    from criadapt.backends.docker.engine import DockerBackend

TRUSTED = 10.0
"""Seconds after which the engine is asked even if it has not told of a change: its events may be late."""

STORES = (
    "{root}/overlay2",
    "{root}/containerd/daemon/io.containerd.snapshotter.v1.overlayfs",
    "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs",
)
"""Where images are unpacked: by the engine itself, by its own containerd, by the machine's."""

_AT_ONCE = 8  # images looked at in parallel
_MAX_FILES = 1024  # kept in memory


@dataclass(frozen=True, slots=True)
class _Details:
    """What never changes of an image."""

    config: ImageConfig
    created_at: int
    layers: tuple[str, ...]


class Images:
    """The local images."""

    def __init__(self, engine: DockerBackend) -> None:
        self._engine = engine
        self._details: dict[str, _Details] = {}
        self._rows: dict[str, EngineImage] = {}
        self._files: dict[tuple[str, str], bytes | None] = {}
        self._upper: dict[str, str] = {}
        self._asking = asyncio.Lock()
        self._generation = 0
        self._listed: tuple[int, float] | None = None  # generation and time of the last list
        self._watchers = 0
        self._sizes = Layers()
        self._archives = Archives(engine)

    async def close(self) -> None:
        """Stop measuring; finish what cleans up."""
        await self._archives.close()
        await asyncio.to_thread(self._sizes.close)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """As long as it lasts, :meth:`changed` is called for whatever the engine's events tell of images."""
        self.changed()
        self._watchers += 1
        try:
            yield
        finally:
            self._watchers -= 1

    def changed(self) -> None:
        """The engine's set of images, or what they are called, is not what it was."""
        self._generation += 1

    # ------------------------------------------------------------------ the port's methods

    async def pull(self, ref: ImageRef, auth: AuthConfig | None) -> str:
        """Fetch an image; returns its id, under which it is listed now. Raises what :func:`pulling.pull` does."""
        try:
            await pulling.pull(self._engine, ref, auth)
        finally:
            self.changed()
        try:
            answer = await self._ask("GET", f"/images/{_quoted(str(ref))}/json")
        except NotFound:
            raise PullFailed(f"image {str(ref)!r} was removed as soon as it was pulled; pull it again") from None
        return str(answer["Id"])

    async def list(self) -> Sequence[EngineImage]:
        """All images, one entry per id."""
        if not self._is_current():
            async with self._asking:
                if not self._is_current():
                    await self._list()
        return list(self._rows.values())

    async def remove(self, id: str) -> None:
        """Remove an image with all its names; success if it is unknown. FailedPrecondition while it is in use."""
        try:
            await self._ask("DELETE", f"/images/{_quoted(id)}?force=1")
        except NotFound:
            pass
        except FailedPrecondition as error:
            if await self._exists(id):  # else somebody else was faster
                raise FailedPrecondition(f"image {id[:80]!r} is in use: {error}") from error
        finally:
            self.changed()

    async def filesystem(self) -> FilesystemUsage:
        """Disk that holds the images, with what containers write to their layers, which is beside them.

        What the images would take without sharing layers, until it has been measured for the first time.
        """
        root = self._engine.facts.root_dir
        point = _existing(root)
        store = _store(root)
        disk = self._sizes.counters("images", store) if store else None
        if disk is not None:
            return _usage(point, disk.used_bytes, disk.inodes_used)
        return _usage(point, sum(image.size for image in await self.list()), None)

    async def file(self, image_id: str, path: str) -> bytes | None:
        """A file of an image, None if there is none. Raises ImageNotFound, Unsupported if it is larger than 1 MiB."""
        key = (image_id, path)
        if key not in self._files:
            details = self._details.get(image_id) or _details(await self._inspect(image_id))
            if details.layers:
                try:
                    content = await asyncio.to_thread(layers.read, details.layers, path)
                except OSError as error:
                    raise storage_failed(f"{path} of image {image_id[:19]!r} cannot be read", error) from error
            else:
                content = await self._archives.read(image_id, path)
            if len(self._files) >= _MAX_FILES:
                self._files.clear()
            self._files[key] = content
        return self._files[key]

    async def layer(self, id: str) -> str:
        """Directory of a container's writable layer; empty where it is none of this machine's."""
        if id not in self._upper:
            try:
                answer = await self._ask("GET", f"/containers/{id}/json")
            except NotFound:
                raise ContainerNotFound(id) from None
            if len(self._upper) >= _MAX_FILES:
                self._upper.clear()
            found = layers.of_driver(answer.get("GraphDriver"))
            self._upper[id] = found[0] if found else ""
        return self._upper[id]

    # ------------------------------------------------------------------ the engine's answers

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        engine = self._engine
        timeout = engine.options.call_timeout
        return await wire.request(engine.socket, method, f"/v{engine.version}{path}", body, timeout=timeout)

    async def _inspect(self, id: str) -> Mapping[str, Any]:
        try:
            answer: Mapping[str, Any] = await self._ask("GET", f"/images/{_quoted(id)}/json")
        except NotFound:
            raise ImageNotFound(id) from None
        return answer

    async def _exists(self, id: str) -> bool:
        try:
            await self._inspect(id)
        except ImageNotFound:
            return False
        return True

    def _is_current(self) -> bool:
        if not self._watchers or self._listed is None:
            return False
        generation, at = self._listed
        return generation == self._generation and time.monotonic() - at < TRUSTED

    async def _list(self) -> None:
        """Ask for the list, and for the details of images that are new in it."""
        listed = (self._generation, time.monotonic())
        answer: Sequence[Mapping[str, Any]] = await self._ask("GET", "/images/json?digests=1")
        turns = asyncio.Semaphore(_AT_ONCE)

        async def look(id: str) -> None:
            async with turns:
                with suppress(ImageNotFound):  # gone since the list was made
                    self._details[id] = _details(await self._inspect(id))

        async with asyncio.TaskGroup() as group:
            for id in {row["Id"] for row in answer} - self._details.keys():
                group.create_task(look(id))
        ids = {row["Id"] for row in answer}
        self._details = {id: found for id, found in self._details.items() if id in ids}
        self._files = {key: content for key, content in self._files.items() if key[0] in ids}
        rows = [image_of(row, self._details[row["Id"]]) for row in answer if row["Id"] in self._details]
        self._rows = {row.id: row for row in rows}
        self._listed = listed


def image_of(row: Mapping[str, Any], details: _Details) -> EngineImage:
    """What the list says of an image, with the details."""
    tags, digests = names_of(row)
    return EngineImage(
        id=row["Id"],
        size=row["Size"],
        repo_tags=tags,
        repo_digests=digests,
        config=details.config,
        created_at=details.created_at,
    )


def names_of(row: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Tags and digests of an image in the list, in full: the engine leaves out docker.io, and writes ``<none>``.

    Where containerd keeps the images, an image's id is the digest that registries know it by. There Docker 26 lists
    an image pulled by digest as if that were a tag, and gives the digest for one of several repositories only.
    """
    tags: dict[str, None] = {}
    digests: dict[str, None] = {}
    for text in (*(row.get("RepoTags") or ()), *(row.get("RepoDigests") or ())):
        with suppress(InvalidArgument):
            ref = ImageRef.parse(text)
            (digests if ref.digest else tags)[str(ref)] = None
    if any(name.endswith(f"@{row['Id']}") for name in digests):
        for tag in tags:
            digests[f"{ImageRef.parse(tag).name}@{row['Id']}"] = None
    return tuple(tags), tuple(digests)


def _details(answer: Mapping[str, Any]) -> _Details:
    return _Details(
        config=config_of(answer.get("Config") or {}),
        created_at=nanoseconds(answer.get("Created") or ""),
        layers=layers.of_driver(answer.get("GraphDriver")),
    )


def config_of(config: Mapping[str, Any]) -> ImageConfig:
    """An image's configuration."""
    return ImageConfig(
        entrypoint=tuple(config.get("Entrypoint") or ()),
        cmd=tuple(config.get("Cmd") or ()),
        env=tuple(config.get("Env") or ()),
        user=config.get("User") or "",
        working_dir=config.get("WorkingDir") or "",
        stop_signal=config.get("StopSignal") or "",
        volumes=tuple(config.get("Volumes") or ()),
        labels=config.get("Labels") or {},
    )


def _existing(path: str) -> str:
    """The directory, or the first one above it that there is."""
    return next(str(each) for each in (Path(path), *Path(path).parents) if each.is_dir())


def _store(root: str) -> str:
    """Where the engine unpacks images, empty if that cannot be seen from here."""
    return next((path for store in STORES if os.path.isdir(path := store.format(root=root))), "")


def _usage(point: str, used_bytes: int, inodes: int | None) -> FilesystemUsage:
    return FilesystemUsage(
        timestamp=time.time_ns(),
        fs_id=FilesystemIdentifier(mountpoint=point),
        used_bytes=used_bytes,
        inodes_used=inodes,
    )


def _quoted(name: str) -> str:
    """A name as part of a path."""
    return quote(name, safe="/:@")
