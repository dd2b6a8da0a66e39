"""Small helpers for tests of concurrent code."""

from __future__ import annotations

import asyncio

from criadapt.backends.base import Chunk, Process


async def turns(count: int = 60) -> None:
    """Let everything that is ready to run go on; no time passes."""
    for _ in range(count):
        await asyncio.sleep(0)


async def collect(process: Process) -> list[Chunk]:
    """All that a process writes, to its end."""
    return [chunk async for chunk in process.output()]
