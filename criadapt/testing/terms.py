"""What a backend's author may set, and the fixtures that all parts of the contract share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import ClassVar

import pytest

from criadapt.backends.base import Backend
from criadapt.model.reference import ImageRef
from criadapt.testing.harness import Bench

UNKNOWN = "0" * 64


class ContractBase:
    """Class attributes to set where the defaults do not fit."""

    image: ClassVar[str] = "docker.io/library/busybox:latest"
    """An image with a shell; pulled for the tests, and left there."""
    other_image: ClassVar[str] = "docker.io/library/alpine:latest"
    """Another one, which the tests pull and remove."""
    same_images: ClassVar[tuple[str, str] | None] = None
    """Two references to one image, if there are any."""
    missing_image: ClassVar[str] = "localhost:1/no/such-image:latest"
    slow_image: ClassVar[str] = ""
    """An image whose pull takes seconds, for a pull that is given up; empty if there is none."""
    sleep: ClassVar[tuple[str, ...]] = ("sleep", "3600")
    """Runs for long and dies of SIGTERM or of SIGKILL; the first process of a real container ignores SIGTERM."""
    echo: ClassVar[tuple[str, ...]] = ("nc", "-lk", "-p", "8080", "-e", "cat")
    """Sends back on port 8080 what it gets, for any number of connections."""
    sink: ClassVar[tuple[str, ...]] = ("nc", "-l", "-p", "8080")
    """Takes one connection on port 8080, and exits with 0 once the other side has ended."""
    unknown_program: ClassVar[tuple[str, ...]] = ("/no/such/program",)
    timeout: ClassVar[float] = 20.0
    """Seconds that any one thing may take."""

    def sh(self, script: str) -> tuple[str, ...]:
        """Arguments that make the image's shell run `script`."""
        return ("sh", "-c", script)

    @pytest.fixture
    async def backend(self) -> Backend:
        """To be given by the subclass."""
        raise NotImplementedError("give a fixture 'backend' that yields an opened backend")

    @pytest.fixture
    async def bench(self, backend: Backend) -> AsyncIterator[Bench]:
        """The backend with the image pulled."""
        async with asyncio.timeout(10 * self.timeout):
            ref = ImageRef.parse(self.image)
            present = [i.id for i in await backend.images() if str(ref) in (*i.repo_tags, *i.repo_digests)]
            image_id = present[0] if present else await backend.pull(ref, None)
        bench = Bench(backend, image_id, self.timeout)
        yield bench
        await bench.clean_up()
