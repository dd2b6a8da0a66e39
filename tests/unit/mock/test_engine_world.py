"""The mock as a whole: what runs inside its containers outlives the process that runs it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from criadapt.backends.base import Chunk, ContainerSpec, EngineState, EventKind
from criadapt.backends.mock import MockBackend, MockOptions
from criadapt.backends.mock.catalogue import FAMILIES
from criadapt.model.linux import LinuxContainerResources
from criadapt.model.reference import ImageRef
from criadapt.model.signals import Signal

COUNT = "i=0; while true; do i=$((i+1)); echo $i; sleep 0.02; done"
Reopen = Callable[[], AbstractAsyncContextManager[MockBackend]]


@pytest.fixture
def reopen(tmp_path: Path) -> Reopen:
    @asynccontextmanager
    async def make() -> AsyncIterator[MockBackend]:
        async with (
            asyncio.timeout(20),
            MockBackend(MockOptions(preload=("busybox",)), state_dir=tmp_path) as backend,
        ):
            yield backend

    return make


async def create(backend: MockBackend, script: str, **changes: object) -> str:
    (image,) = [image for image in await backend.images() if "busybox" in image.repo_tags[0]]
    given = {"name": "c", "image_id": image.id, "args": ("sh", "-c", script), **changes}
    return await backend.create(ContainerSpec(**given))  # type: ignore[arg-type]


async def run(backend: MockBackend, script: str, **changes: object) -> str:
    id = await create(backend, script, **changes)
    await backend.start(id)
    return id


async def exited(backend: MockBackend, id: str) -> None:
    events = backend.events()
    while (await backend.inspect(id)).state is not EngineState.EXITED:
        await anext(events)


async def read(backend: MockBackend, id: str, since_ns: int = 0, lines: int = 1 << 30) -> list[Chunk]:
    """Chunks of a container: so many, or all until it ends."""
    found = []
    async for chunk in backend.output(id, since_ns):
        found.append(chunk)
        if len(found) == lines:
            break
    return found


def text(chunks: list[Chunk]) -> str:
    return b"".join(chunk.data for chunk in chunks).decode()


async def test_output_of_an_ended_container_is_there_after_a_restart(reopen: Reopen) -> None:
    async with reopen() as backend:
        id = await run(backend, "for i in 1 2 3; do echo $i; sleep 0.01; done; echo oops >&2; exit 4")
        await exited(backend, id)
        before = await read(backend, id)
    async with reopen() as backend:
        assert await read(backend, id) == before
        assert await read(backend, id, before[1].time_ns) == before[2:]
        assert (await backend.inspect(id)).exit_code == 4


async def test_output_of_a_killed_container_ends_where_it_was_killed(reopen: Reopen) -> None:
    async with reopen() as backend:
        id = await run(backend, COUNT)
        reading = asyncio.create_task(read(backend, id))
        await read_some(backend, id)
        await backend.kill(id, Signal.SIGKILL)
        before = await reading
    async with reopen() as backend:
        assert await read(backend, id) == before


async def read_some(backend: MockBackend, id: str) -> None:
    """Wait until the container has written something."""
    process = await backend.attach(id, stdin=False, tty=False)
    await anext(process.output())
    await process.close()


async def test_a_lot_of_output_can_be_read_again(reopen: Reopen) -> None:
    async with reopen() as backend:
        id = await run(backend, "head -c 3000000 /dev/zero | tr '\\0' x; echo END")
        first = text(await read(backend, id))
        await exited(backend, id)
        assert len(first) == 3_000_004
        assert text(await read(backend, id)) == first


async def test_a_program_goes_on_where_it_was(reopen: Reopen) -> None:
    async with reopen() as backend:
        id = await run(backend, COUNT)
        first = await read(backend, id, lines=3)
    async with reopen() as backend:
        more = await read(backend, id, first[-1].time_ns, lines=3)
        assert text(first + more).split() == ["1", "2", "3", "4", "5", "6"]
        assert (await backend.inspect(id)).state is EngineState.RUNNING


async def test_an_exit_between_two_processes_has_its_own_time(reopen: Reopen) -> None:
    async with reopen() as backend:
        id = await run(backend, "sleep 0.1; exit 4")
        started_at = (await backend.inspect(id)).started_at
    await asyncio.sleep(0.5)  # nobody is there to see it
    async with reopen() as backend:
        await exited(backend, id)
        found = await backend.inspect(id)
        assert found.exit_code == 4
        assert 0.1 <= (found.finished_at - started_at) / 1e9 < 0.4


async def test_a_paused_program_stays_paused(reopen: Reopen) -> None:
    async with reopen() as backend:
        id = await run(backend, "sleep 0.2; exit 4")
        await backend.pause(id)
    await asyncio.sleep(0.4)
    async with reopen() as backend:
        assert (await backend.inspect(id)).state is EngineState.RUNNING
        await backend.resume(id)
        await exited(backend, id)
        assert (await backend.inspect(id)).exit_code == 4


async def test_more_memory_than_allowed_is_an_oom_kill(reopen: Reopen) -> None:
    async with reopen() as backend:
        limits = LinuxContainerResources(memory_limit_in_bytes=15 << 20, memory_swap_limit_in_bytes=15 << 20)
        events = backend.events()
        id = await run(backend, "dd if=/dev/zero of=/dev/null bs=20M", resources=limits)
        event = await anext(events)
        assert (event.kind, event.id, event.exit_code, event.oom_killed) == (EventKind.EXITED, id, 137, True)
        assert (await backend.inspect(id)).oom_killed


async def test_a_checkpoint_goes_on_counting(reopen: Reopen, tmp_path: Path) -> None:
    async with reopen() as backend:
        id = await run(backend, COUNT)
        last = int(text(await read(backend, id, lines=5)).split()[-1])
        await backend.checkpoint(id, tmp_path / "saved")
        copy = await run(backend, "ignored", name="copy", checkpoint=str(tmp_path / "saved"))
        (first,) = await read(backend, copy, lines=1)
        assert int(first.data) > last


@pytest.mark.parametrize("name", sorted(FAMILIES))
async def test_every_image_of_the_catalogue_runs(reopen: Reopen, name: str) -> None:
    async with reopen() as backend:
        id = await backend.pull(ImageRef.parse(f"example.com/{name}"), None)
        (image,) = [image for image in await backend.images() if image.id == id]
        args = image.config.entrypoint + image.config.cmd
        container = await backend.create(ContainerSpec(name="c", image_id=id, args=args))
        await backend.start(container)
        if name in ("nginx", "httpd", "redis", "postgres", "pause", "coredns"):
            assert (await backend.usage(container)).cpu is not None
            await asyncio.sleep(0)
            assert (await backend.inspect(container)).state is EngineState.RUNNING


CHILD = """
import asyncio, os, signal, sys
from pathlib import Path
from criadapt.backends.base import ContainerSpec
from criadapt.backends.mock import MockBackend
from criadapt.model.reference import ImageRef

async def main():
    async with MockBackend(state_dir=Path(sys.argv[1])) as backend:
        image = await backend.pull(ImageRef.parse("registry.k8s.io/pause:3.9"), None)
        for n in range(20):
            id = await backend.create(ContainerSpec(name=f"c{n}", image_id=image, args=("/pause",)))
            if n % 2:
                await backend.start(id)
            print(id, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_what_was_acknowledged_survives_kill_9(reopen: Reopen, tmp_path: Path) -> None:
    command = [sys.executable, "-c", CHILD, str(tmp_path)]
    child = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, env=dict(os.environ))
    assert child.returncode == -signal.SIGKILL, child.stderr
    ids = child.stdout.split()
    async with reopen() as backend:
        found = {container.id: container for container in await backend.containers()}
        assert list(found) == ids
        states = [found[id].state for id in ids]
        assert states == [EngineState.CREATED, EngineState.RUNNING] * 10
        assert len({found[id].ips for id in ids[1::2]}) == 10
