"""Files of an image whose layers cannot be seen: out of a container that is made for it and never started."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re
import tarfile
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from criadapt.backends.docker import wire
from criadapt.backends.docker.layers import LIMIT, checked
from criadapt.errors import EngineError, ImageNotFound, InvalidArgument, NotFound

if TYPE_CHECKING:
    from criadapt.backends.docker.engine import DockerBackend

READER = "criadapt.io/reader"
"""Label of those containers. The value is the owner's, as of other containers."""

_NO_FILE = re.compile(r"too many links|not a directory$")
_MAX_ARCHIVE = LIMIT + 64 * 1024  # with what tar adds


class Archives:
    """Files of images, one at a time."""

    def __init__(self, engine: DockerBackend) -> None:
        self._engine = engine
        self._reading = asyncio.Lock()
        self._swept = False
        self._cleaning: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Finish removing containers."""
        if self._cleaning:
            await asyncio.wait(self._cleaning)

    async def read(self, image_id: str, path: str) -> bytes | None:
        """A file, out of a container that is never started."""
        async with self._reading:
            await self._sweep()
            body = {
                "Image": image_id,
                "Entrypoint": ["/never-started"],
                "NetworkDisabled": True,
                "Labels": {READER: self._engine.owner},
                "HostConfig": {"NetworkMode": "none"},
            }
            # Whoever asks may leave meanwhile, and the container must go whatever happens.
            making = asyncio.ensure_future(self._ask("POST", "/containers/create", body))
            try:
                made = (await asyncio.shield(making))["Id"]
                return await self._archived(made, path)
            except NotFound as error:
                raise ImageNotFound(image_id) from error
            finally:
                task = asyncio.create_task(self._discard(making))
                self._cleaning.add(task)
                task.add_done_callback(self._cleaning.discard)
                await asyncio.shield(task)

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        engine = self._engine
        timeout = engine.options.call_timeout
        return await wire.request(engine.socket, method, f"/v{engine.version}{path}", body, timeout=timeout)

    async def _discard(self, making: asyncio.Future[Any]) -> None:
        with suppress(Exception):  # it is swept away by the next criadapt
            await self._ask("DELETE", f"/containers/{(await making)['Id']}?force=1&v=1")

    async def _sweep(self) -> None:
        """Remove what a criadapt that was killed has left."""
        if not self._swept:
            wanted = json.dumps({"label": [f"{READER}={self._engine.owner}"]})
            query = urlencode({"all": 1, "filters": wanted})
            for row in await self._ask("GET", f"/containers/json?{query}"):
                with suppress(NotFound):
                    await self._ask("DELETE", f"/containers/{row['Id']}?force=1&v=1")
            self._swept = True

    async def _archived(self, container: str, path: str) -> bytes | None:
        """A file of a container; the engine follows links, the last one when it is asked to, and stays inside."""
        for _ in range(2):
            query = f"/v{self._engine.version}/containers/{container}/archive?{urlencode({'path': path})}"
            data = b""
            try:
                async with wire.stream(self._engine.socket, "GET", query) as answer:
                    status = _status(answer.headers.get(b"x-docker-container-path-stat", b""))
                    async for piece in answer:
                        data += piece
                        if len(data) > _MAX_ARCHIVE:
                            break
            except (NotFound, InvalidArgument):  # nothing, or a file where a directory was to be
                return None
            except EngineError as error:
                if _NO_FILE.search(str(error)) is None:
                    raise
                return None
            if not status.get("linkTarget"):
                return _only_file(data, path)
            path = status["linkTarget"]
        return None


def _status(text: bytes) -> Mapping[str, Any]:
    """What an archive's header says of the file: JSON in base64."""
    status: Mapping[str, Any] = json.loads(base64.b64decode(text) or b"{}")
    return status


def _only_file(archive: bytes, path: str) -> bytes | None:
    """The content of the only file in an archive, perhaps cut off behind the limit."""
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as files:
            member = files.next()
            if member is None or not member.isreg():
                return None
            if member.size > LIMIT:
                return checked(bytes(LIMIT + 1), path)
            file = files.extractfile(member)
            return file.read() if file else None
    except tarfile.TarError:
        return None
