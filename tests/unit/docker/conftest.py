"""A Docker Engine to be tested against, where there is one."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import docker.errors
import pytest

from criadapt.backends.docker import wire
from criadapt.errors import NotFound

from ...engines import busybox
from ...engines.daemon import accepts

SOCKET = os.environ.get("CRIADAPT_DOCKER_SOCKET", "/var/run/docker.sock")
IMAGE = "criadapt.test/busybox-streams:1"
LABEL = "criadapt.test"
SECONDS = 30.0
_numbers = itertools.count(1)


@dataclass
class Workshop:
    """An engine, and containers that are removed at the end."""

    socket: str
    version: str
    made: list[str] = field(default_factory=list)

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        return await wire.request(self.socket, method, f"/v{self.version}{path}", body)

    async def create(self, script: str, *, driver: str = "json-file", **config: Any) -> str:
        """A container that runs a shell script."""
        body = {
            "Image": IMAGE,
            "Cmd": ["sh", "-c", script],
            "Labels": {LABEL: "streams"},
            "HostConfig": {"NetworkMode": "none", "Init": True, "LogConfig": {"Type": driver, "Config": {}}},
        }
        name = f"streams-{os.getpid()}-{next(_numbers)}"
        made = await self.call("POST", f"/containers/create?name={name}", {**body, **config})
        self.made.append(made["Id"])
        return str(made["Id"])

    async def start(self, id: str) -> None:
        await self.call("POST", f"/containers/{id}/start")

    async def run(self, script: str, **config: Any) -> str:
        id = await self.create(script, **config)
        await self.start(id)
        return id

    async def kill(self, id: str) -> None:
        await self.call("POST", f"/containers/{id}/kill")

    async def ended(self, id: str) -> None:
        await self.call("POST", f"/containers/{id}/wait")

    async def processes(self, id: str) -> list[str]:
        """Command lines of what runs in it."""
        return [row[-1] for row in (await self.call("GET", f"/containers/{id}/top"))["Processes"]]

    async def clean_up(self) -> None:
        for id in self.made:
            with suppress(NotFound):
                await self.call("DELETE", f"/containers/{id}?force=1&v=1")


@pytest.fixture(scope="session")
def docker_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Path of the socket and API version of an engine that has :data:`IMAGE`."""
    if not accepts(Path(SOCKET)):
        pytest.skip(f"no Docker Engine at {SOCKET} (CRIADAPT_DOCKER_SOCKET)")
    with socket.socket(socket.AF_UNIX) as tried:  # a client of the SDK that finds nobody leaves its socket open
        try:
            tried.connect(SOCKET)
        except OSError as error:
            pytest.skip(f"no Docker Engine at {SOCKET} (CRIADAPT_DOCKER_SOCKET): {error.strerror}")
    api = docker.APIClient(f"unix://{SOCKET}", version="auto", timeout=SECONDS)
    program = busybox.find()
    if program is None:
        api.close()
        pytest.skip("no static busybox, of which an image could be made")
    archive = tmp_path_factory.mktemp("image") / "busybox.tar"
    busybox.write(archive, program, [IMAGE])
    with archive.open("rb") as file:
        api.load_image(file)
    yield SOCKET, api.api_version
    with suppress(docker.errors.APIError):
        api.remove_image(IMAGE)
    api.close()


@pytest.fixture
async def workshop(docker_engine: tuple[str, str]) -> AsyncIterator[Workshop]:
    """An engine; whatever a test leaves of sockets and tasks is an error."""
    made = Workshop(*docker_engine)
    sockets = open_sockets()
    yield made
    async with asyncio.timeout(SECONDS):
        await made.clean_up()
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task() and "docker" in repr(task)]
    assert not left
    assert open_sockets() == sockets


def open_sockets() -> int:
    """How many sockets this process holds."""
    count = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            count += os.readlink(descriptor).startswith("socket:")
    return count
