"""A machine lives through restarts of criadapt, and through being frozen."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

from criadapt.backends.base import Chunk
from criadapt.model.container import Mount
from criadapt.model.linux import (
    NamespaceMode,
    NamespaceOption,
)
from criadapt.testing.asynchronous import turns

SECOND = 10**9
POD_PIDS = NamespaceOption(pid=NamespaceMode.POD)


_TWO_LOOPS = """(while true; do echo a $(date +%T); sleep 0.7; done) &
i=0; while [ $i -lt 20 ]; do echo b $i; i=$((i+1)); sleep 1; done; exit 3"""


async def test_every_line_once_over_restarts(world: Any) -> None:
    whole = await world.sh(_TWO_LOOPS)
    start, exit = world.machines[0].started_at, world.exits.pop()
    source = random.Random(1)
    for _ in range(5):
        lines: list[Chunk] = []
        for stop in [*sorted(source.uniform(0, 19) for _ in range(3)), 60]:
            world.wall = type(world.wall)(start + round(stop * SECOND))
            world.wall.running = False
            machine = world.start("sh", "-c", _TWO_LOOPS, started_at=start, wall=world.wall)
            since = lines[-1].time_ns if lines else 0
            reading = asyncio.create_task(_read(machine, since, lines))
            await machine.settled()
            await turns()
            machine.close()
            await reading
        assert tuple(lines) == whole.chunks
        assert world.exits.pop() == exit


async def _read(machine: Any, since: int, into: list[Chunk]) -> None:
    async for chunk in machine.output(since):
        into.append(chunk)


async def test_exec_sees_the_present_after_a_restart(world: Any) -> None:
    start = world.wall.time_ns
    world.wall.time_ns += 100 * SECOND
    machine = world.start("sh", "-c", "sleep 50; echo done > /tmp/f; exec pause", started_at=start)
    assert (await world.exec(machine, "cat", "/tmp/f")).stdout == b"done\n"


async def test_host_files_are_not_written_twice(world: Any, tmp_path: Path) -> None:
    mounts = (Mount(container_path="/data", host_path=str(tmp_path)),)
    script = "mkdir /data/d || exit 9; echo a >> /data/d/log; sleep 10; echo b >> /data/d/log; sleep 10; rm -r /data/d"
    start = world.wall.time_ns
    world.wall.running = False
    first = world.start("sh", "-c", script, mounts=mounts)
    await world.wall.until(start + 5 * SECOND)
    first.close()
    assert (tmp_path / "d/log").read_text() == "a\n"
    world.start("sh", "-c", script, mounts=mounts, started_at=start, replay_until=start + 5 * SECOND)
    await world.wall.until(start + 15 * SECOND)
    assert (tmp_path / "d/log").read_text() == "a\nb\n"
    await world.wall.until(start + 25 * SECOND)
    assert not (tmp_path / "d").exists()
    assert [exit.code for exit in world.exits] == [0]


async def test_frozen_time_passes_for_nobody(world: Any) -> None:
    world.wall.running = False
    start = world.wall.time_ns
    machine = world.start("sh", "-c", "while true; do echo x; sleep 1; done")
    await world.wall.until(start + 5 * SECOND)
    machine.freeze()
    written = machine.stdout_bytes
    await world.wall.until(start + 60 * SECOND)
    assert machine.stdout_bytes == written
    machine.thaw()
    await world.wall.until(start + 63 * SECOND)
    assert written + 2 * 3 <= machine.stdout_bytes <= written + 2 * 5
    assert machine.pauses == ((start + 5 * SECOND, start + 60 * SECOND),)


async def test_closing_ends_the_wait_for_the_present(world: Any) -> None:
    start = world.wall.time_ns
    world.wall.time_ns += 10_000 * SECOND
    machine = world.start("sh", "-c", "while true; do sleep 1; done", started_at=start)
    waiting = asyncio.create_task(machine.settled())
    await turns()
    machine.close()
    await waiting
