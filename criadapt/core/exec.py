"""Commands in containers: collected (ExecSync), or handed on with their streams; and connections into pods."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from criadapt.backends.base import Backend, Connection, ExecSpec, Process
from criadapt.core.records import ContainerRecord, SandboxRecord
from criadapt.core.store import Store
from criadapt.errors import DeadlineExceeded, FailedPrecondition, InvalidArgument
from criadapt.model.container import ContainerState
from criadapt.model.sandbox import PodSandboxState

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
    """Ways into running containers and pods."""

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

    async def start(self, id: str, spec: ExecSpec) -> Process:
        """Run a command whose streams the caller serves. Raises ContainerNotFound, FailedPrecondition."""
        return await self._backend.exec(self.running(id).id, spec)

    async def attach(self, id: str, *, stdin: bool) -> Process:
        """Connect to a container's own streams. Raises ContainerNotFound, FailedPrecondition."""
        record = self.running(id)
        return await self._backend.attach(record.id, stdin=stdin and record.config.stdin, tty=record.config.tty)

    async def dial(self, sandbox_id: str, port: int) -> Connection:
        """Connect to a port inside a pod. Raises SandboxNotFound, FailedPrecondition, Unavailable."""
        return await self._backend.dial(self.ready(sandbox_id).id, port)

    def ready(self, id: str) -> SandboxRecord:
        """The pod sandbox, if it is ready. Raises SandboxNotFound, FailedPrecondition."""
        record = self._store.sandbox(id)
        if record.state is not PodSandboxState.READY:
            raise FailedPrecondition(f"pod sandbox {record.id[:13]!r} is not ready")
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
            await asyncio.shield(let_go(process))

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


async def let_go(process: Process) -> None:
    """Leave nothing of a command behind, whether it has ended or not; an attachment is cut."""
    try:
        await process.kill()
    finally:
        await process.close()
