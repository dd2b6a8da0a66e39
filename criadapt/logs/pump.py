"""Carries a container's output from the engine to its log file, from before its start until its streams end."""

from __future__ import annotations

import asyncio
import logging
from contextvars import Context
from pathlib import Path

from criadapt.backends.base import Backend
from criadapt.errors import CriadaptError, FailedPrecondition, Unsupported
from criadapt.logs.resume import mend, resume_point
from criadapt.logs.writer import LogWriter

log = logging.getLogger(__name__)


class Pumps:
    """The pumps of all running containers, by container id."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._writers: dict[str, LogWriter] = {}
        self._broken: set[str] = set()
        self.dropped = 0
        """Log entries lost because a file could not be written."""

    def start(self, id: str, path: str) -> None:
        """Pump from the container's beginning into `path`; with an empty path the output is read and dropped."""
        self._launch(id, LogWriter(path) if path else None, since=0)

    def resume(self, id: str, path: str) -> None:
        """Pump on after a restart, without losing or repeating a line."""
        if not path:
            self._launch(id, None, since=0)
            return
        mend(Path(path))
        since, count = resume_point(Path(path))
        # Several chunks may carry the last time: ask for them again, skip the entries that are there.
        self._launch(id, LogWriter(path, skip=(since, count)), since=max(0, since - 1))

    def take_up(self, id: str, path: str) -> None:
        """Like :meth:`resume`, for a container that runs anyway: a log that cannot be continued is only told."""
        try:
            self.resume(id, path)
        except OSError as error:
            log.warning("log cannot be continued", extra={"container": id, "error": str(error)})

    def reopen(self, id: str) -> None:
        """Go on in a new file. Raises FailedPrecondition when the container's output is not logged."""
        writer = self._writers.get(id)
        if writer is None:
            raise FailedPrecondition(f"container {id[:13]!r} keeps no log: it has no log_path, or it does not run")
        try:
            writer.reopen()
        except OSError as error:
            raise FailedPrecondition(f"log file {writer.path} cannot be opened: {error.strerror}") from error

    async def finished(self, id: str) -> None:
        """Wait until all the container wrote is in its file."""
        task = self._tasks.get(id)
        if task is not None:
            await asyncio.wait([task])

    def is_running(self, id: str) -> bool:
        """Whether output may still be on its way."""
        return id in self._tasks

    def is_broken(self, id: str) -> bool:
        """Whether the output ended because the engine failed, so that there may be more of it."""
        return id in self._broken

    async def stop(self, id: str) -> None:
        """Stop pumping: the container is gone or did not start."""
        self._broken.discard(id)
        task = self._tasks.get(id)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def close(self) -> None:
        """Stop all; the containers write on."""
        for id in list(self._tasks):
            await self.stop(id)

    def _launch(self, id: str, writer: LogWriter | None, since: int) -> None:
        self._broken.discard(id)
        if writer is not None:
            self._writers[id] = writer
        task = asyncio.get_running_loop().create_task(
            self._pump(id, writer, since),
            context=Context(),  # it outlives the request that started it: its log lines are not about that request
        )
        self._tasks[id] = task
        task.add_done_callback(lambda _: self._landed(id, writer, task))

    def _landed(self, id: str, writer: LogWriter | None, task: asyncio.Task[None]) -> None:
        if self._tasks.get(id) is task:
            del self._tasks[id]
            self._writers.pop(id, None)
        if writer is not None:
            self.dropped += writer.dropped
            writer.close()

    async def _pump(self, id: str, writer: LogWriter | None, since: int) -> None:
        try:
            async for stream, data, time_ns in self._backend.output(id, since):
                if writer is not None:
                    writer.write(stream, data, time_ns)
            if writer is not None:
                writer.finish()
                if writer.dropped:
                    log.warning("log entries lost", extra={"container": id, "lost": writer.dropped})
        except Unsupported:
            log.debug("engine gives no output", extra={"container": id})
        except CriadaptError as error:  # the monitor starts the pump anew when the engine is back
            self._broken.add(id)
            log.warning("log pump stopped", extra={"container": id, "error": str(error)})
        except Exception:
            self._broken.add(id)
            log.exception("log pump failed", extra={"container": id})
