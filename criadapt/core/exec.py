"""ExecSync: run a command, collect what it writes, within a time limit."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from criadapt.backends.base import Backend, ExecSpec, Process
from criadapt.core.records import ContainerRecord
from criadapt.core.store import Store
from criadapt.errors import DeadlineExceeded, FailedPrecondition, InvalidArgument
from criadapt.model.container import ContainerState

MAX_STREAM = 16 * 1024 * 1024
"""Bytes kept of each stream (CRI v1, ExecSyncResponse); what comes after is read and dropped."""

MAX_TOTAL = MAX_STREAM - 64 * 1024
"""Bytes kept of both together: the answer must fit the 16 MiB message that clients accept."""


@dataclass(frozen=True, slots=True)
class ExecResult:
    """What a command wrote and how it ended; 128+n for a death by signal n."""

    stdout: bytes
    stderr: bytes
    exit_code: int


class Execs:
    """Commands in running containers."""

    def __init__(self, store: Store, backend: Backend, drain_seconds: float) -> None:
        self._store = store
        self._backend = backend
        self._drain = drain_seconds

    def running(self, id: str) -> ContainerRecord:
        """The container, if it runs. Raises ContainerNotFound, FailedPrecondition."""
        record = self._store.container(id)
        if record.state is not ContainerState.RUNNING:
            raise FailedPrecondition(f"container {record.id[:13]!r} is {record.state.name.lower()}, not running")
        return record

    async def sync(self, id: str, args: Sequence[str], timeout: int) -> ExecResult:
        """Run to the end; after `timeout` seconds (0: no limit) kill it and raise DeadlineExceeded.

        Output is complete: both streams are read to their end, but for no longer than the drain time after the exit,
        since a grandchild that went into the background may hold them open for ever.
        """
        record = self.running(id)
        if not args or not args[0]:
            raise InvalidArgument("cmd is empty")
        if timeout < 0:
            raise InvalidArgument("timeout is negative; 0 means no limit")
        process = await self._backend.exec(record.id, ExecSpec(args=tuple(args)))
        try:
            async with asyncio.timeout(timeout or None):
                return await self._collect(process)
        except TimeoutError:
            raise DeadlineExceeded(f"command {args[0][:80]!r} timed out after {timeout} s and was killed") from None
        finally:
            # Runs on success, time-out and cancellation alike; killing what has ended does nothing.
            await asyncio.shield(_end(process))

    async def _collect(self, process: Process) -> ExecResult:
        kept: dict[str, list[bytes]] = {"stdout": [], "stderr": []}

        async def read() -> None:
            room = MAX_TOTAL
            async for stream, data, _ in process.output():
                if room:
                    kept[stream].append(data[:room])
                    room -= len(kept[stream][-1])

        reading = asyncio.ensure_future(read())
        try:
            code = await process.wait()
            await asyncio.wait([reading], timeout=self._drain)
            if reading.done():
                reading.result()
        finally:
            reading.cancel()
        return ExecResult(b"".join(kept["stdout"]), b"".join(kept["stderr"]), code)


async def _end(process: Process) -> None:
    await process.kill()
    await process.close()
