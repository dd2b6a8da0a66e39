"""What containers have written, and go on writing."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Collection

from criadapt.client.aio import io
from criadapt.client.aio.lookups import AsyncLookups
from criadapt.errors import DeadlineExceeded, FailedPrecondition, NotFound, Unavailable
from criadapt.logs.lines import STREAMS, LogLine
from criadapt.logs.reader import LogReader, Moment
from criadapt.model.container import ContainerState, ContainerStatus

STATUS_SECONDS = 0.5
"""How often a runtime is asked at most whether a followed container still runs."""
ROTATION_SECONDS = 2.0
"""For how long a log may be missing while it is being rotated."""


class AsyncLogs(AsyncLookups):
    """Logs, which no RPC carries: the files that the runtime writes are read, so they must be on this machine."""

    async def logs(
        self,
        container: str,
        *,
        follow: bool = False,
        since: Moment | None = None,
        until: Moment | None = None,
        tail: int | None = None,
        streams: Collection[str] = STREAMS,
        rotated: bool = False,
        pieces: bool = False,
        poll: float = 0.1,
    ) -> AsyncGenerator[LogLine, None]:
        """Lines of a container's log, in order; `container` is what :meth:`container` takes.

        `follow` goes on, over rotations and restarts of the runtime, until the container has exited and all it wrote
        was given; the file is looked at every `poll` seconds. A container that is yet to be started is waited for.
        `since` and `until` are a time with its zone, how long ago it was, or nanoseconds since the epoch. `tail` gives
        the last so many lines only, `rotated` begins with the oldest file that kubelet has kept, `pieces` gives the
        parts of long lines as they stand in the file.

        Raises NotFound when there is no container or no file, PermissionDenied when the file may not be read,
        FailedPrecondition for a container without a log, and InvalidArgument.
        """
        status = (await self.container_status((await self.container(container)).id)).status
        if not status.log_path:
            raise FailedPrecondition(
                f"container {status.id[:13]!r} keeps no log: it has no log_path, or its pod has no log_directory"
            )
        with LogReader(
            status.log_path, since=since, until=until, tail=tail, streams=streams, rotated=rotated, pieces=pieces
        ) as reader:
            if not await self._has_begun(reader, status, follow, poll):
                return
            over = not follow
            asked = 0.0
            while not reader.done:
                for line in reader.poll():
                    yield line
                if not reader.at_end:
                    await io.sleep(0)  # a long log must not keep others waiting
                    continue
                if over:
                    break
                if time.monotonic() >= asked + STATUS_SECONDS:
                    asked = time.monotonic()
                    over = await self._is_over(status.id)
                if not over:
                    await io.sleep(poll)
            for line in reader.finish():
                yield line

    async def _has_begun(self, reader: LogReader, status: ContainerStatus, follow: bool, poll: float) -> bool:
        """Whether there is a log to read; a follower waits for it to come, or to come back."""
        given_up = time.monotonic() + ROTATION_SECONDS
        while True:
            try:
                reader.open()
                return True
            except NotFound:
                status = (await self.container_status(status.id)).status
                begins = status.state is ContainerState.CREATED
                if begins and not follow:
                    return False
                if not begins and (time.monotonic() > given_up or status.state is not ContainerState.RUNNING):
                    raise NotFound(
                        f"log file {status.log_path!r} of container {status.id[:13]!r} does not exist here; if "
                        f"{self.endpoint} leads to another machine, or out of this container, the file is there"
                    ) from None
                if begins:
                    given_up = time.monotonic() + ROTATION_SECONDS
            await io.sleep(poll)

    async def _is_over(self, container_id: str) -> bool:
        """Whether the container writes no more. A runtime that does not answer now is no reason to end."""
        try:
            status = (await self.container_status(container_id)).status
        except NotFound:
            return True
        except (Unavailable, DeadlineExceeded):
            return False
        return status.state is ContainerState.EXITED
