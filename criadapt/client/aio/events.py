"""Events without gaps: a stream that comes back, and lists for what it has missed."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from criadapt.client.aio import io
from criadapt.client.aio.rpc import AsyncCalls
from criadapt.client.failures import is_broken
from criadapt.client.table import RPCS
from criadapt.client.timeline import CREATED, DELETED, STARTED, STOPPED, Missed, Timeline
from criadapt.cri.v1 import api_pb2 as pb
from criadapt.errors import DeadlineExceeded, FailedPrecondition, NotFound, ResourceExhausted, Unavailable, Unsupported
from criadapt.model.container import Container, ContainerFilter, ContainerStatus
from criadapt.model.runtime import ContainerEventResponse
from criadapt.model.sandbox import PodSandbox, PodSandboxState, PodSandboxStatus

SETTLE = 0.5
"""Seconds until a runtime surely listens to itself for us. Some say so at once, others with the first event only."""

PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds between attempts to get the stream back; the last is repeated."""

SHORT = 1.0 + SETTLE
"""Seconds: a stream that ends sooner, and without an event, was none."""

EMPTY = 2
"""So many of those in a row that end well: the runtime has its events turned off (CRI-O)."""

ATTEMPTS = 3
"""Times that lists are taken if they do not fit together."""

START_FAILED = "StartError"
"""Reason of a container that never ran; some runtimes give it a time of start all the same."""

_LOST = (Unavailable, DeadlineExceeded, ResourceExhausted)


class AsyncEvents(AsyncCalls):
    """What happens to containers and sandboxes."""

    async def events(
        self, *, resync: bool = True, existing: bool = False, interval: float = 2.0
    ) -> AsyncGenerator[ContainerEventResponse, None]:
        """What happens to containers and sandboxes from the first step on, each thing once, for ever.

        When the stream breaks, it is taken up again for as long as it takes, and what happened in between is found
        by comparing lists: such an event has the time of what it tells where the runtime knows it, and the pod as it
        is now. A container that came and went unseen is not told. Of one that ended and is gone, the exit code is
        unknown. With `existing`, what there is at the beginning is told first, as if it had just happened.

        A runtime without events is asked for its lists every `interval` seconds instead. The stream ends when the
        client is closed. Raises Unavailable if the runtime cannot be reached from the start.

        With `resync` off this is the bare stream: it ends when the runtime ends it, and breaks when that breaks.
        """
        if not resync:
            async for event in self.get_container_events():
                yield event
            return
        timeline = Timeline()
        if not existing:
            now = time.time_ns()
            timeline.begin(*await self._everything(), now)
        try:
            async with aclosing(self._compared(timeline)) as compared:  # the first must not fail in silence
                async for event in compared:
                    yield event
            while True:
                async with aclosing(self._streamed(timeline)) as streamed:
                    async for event in streamed:
                        yield event
                async with aclosing(self._polled(timeline, interval)) as polled:
                    async for event in polled:
                        yield event
        except FailedPrecondition:
            if not self._closed:
                raise

    async def _streamed(self, timeline: Timeline) -> AsyncGenerator[ContainerEventResponse, None]:
        """Events from streams and from lists in between; ends when the runtime turns out to have no streams."""
        rpc = RPCS[pb.GetEventsRequest]
        failures, empty = 0, 0
        while empty < EMPTY:
            away, heard, began = False, False, time.monotonic()
            call = self._start(pb.GetEventsRequest(), None)
            try:
                await io.acknowledged(call, SETTLE)
                async with aclosing(self._compared(timeline)) as compared:
                    async for event in compared:
                        yield event
                with self._told(rpc, None):
                    async for message in call:
                        heard = True
                        event = self._decode(ContainerEventResponse, message)
                        if timeline.news(event):
                            yield event
                empty += 1
            except Unsupported:
                return
            except _LOST as error:
                away, empty = is_broken(error), 0
            finally:
                self._stop(call)
            if heard or time.monotonic() - began > SHORT:
                failures, empty = 0, 0
            pause = PAUSES[min(failures, len(PAUSES) - 1)]
            failures += 1
            await io.sleep(PAUSES[0] if away else pause)
            if away:
                await self._connected(rpc, pause)

    async def _polled(self, timeline: Timeline, interval: float) -> AsyncGenerator[ContainerEventResponse, None]:
        """Events from lists alone; ends when the runtime is away, for what comes back may be another."""
        try:
            while True:
                await io.sleep(interval)
                async with aclosing(self._compared(timeline)) as compared:
                    async for event in compared:
                        yield event
        except _LOST:
            await io.sleep(interval)

    async def _compared(self, timeline: Timeline) -> AsyncGenerator[ContainerEventResponse, None]:
        """What happened since the last event, as far as lists show it."""
        for missed in timeline.missed(*await self._everything()):
            event = await self._event(missed)
            if event is not None:
                yield event

    async def _everything(self) -> tuple[tuple[PodSandbox, ...], tuple[Container, ...]]:
        """Lists that belong together: a container without its pod was listed before the pod was removed."""
        for _ in range(ATTEMPTS):
            containers = await self.list_containers()
            pods = await self.list_pod_sandbox()
            if {container.pod_sandbox_id for container in containers} <= {pod.id for pod in pods}:
                break
        return pods, containers

    async def _event(self, missed: Missed) -> ContainerEventResponse | None:
        """The event that was missed, as near as can be told now. None for a start that never was."""
        thing = missed.thing
        pod, statuses = await self._pod_now(missed)
        status = next((status for status in statuses if status.id == thing.id), None)
        if missed.type is STARTED and status is not None and (not status.started_at or status.reason == START_FAILED):
            return None
        at = time.time_ns()
        if missed.type is CREATED:
            at = thing.created_at or at
        elif status is not None and missed.type is STARTED:
            at = status.started_at
        elif status is not None and missed.type is STOPPED:
            at = status.finished_at or at
        return ContainerEventResponse(
            container_id=thing.id,
            container_event_type=missed.type,
            created_at=at,
            pod_sandbox_status=pod,
            containers_statuses=statuses,
        )

    async def _pod_now(self, missed: Missed) -> tuple[PodSandboxStatus | None, tuple[ContainerStatus, ...]]:
        """The pod and its containers; of a pod that is gone, what was last known of it."""
        thing, known = missed.thing, missed.thing.pod
        is_pod = thing.id == thing.pod_id
        if thing.pod_id and not (is_pod and missed.gone):
            try:
                answer = await self.pod_sandbox_status(thing.pod_id)
                return answer.status, answer.containers_statuses or await self._statuses(thing.pod_id)
            except NotFound:
                pass
        if known is not None and missed.type in (STOPPED, DELETED) and is_pod:
            known = replace(known, state=PodSandboxState.NOTREADY)
        return known, ()

    async def _statuses(self, pod_id: str) -> tuple[ContainerStatus, ...]:
        found = []
        for container in await self.list_containers(ContainerFilter(pod_sandbox_id=pod_id)):
            try:
                found.append((await self.container_status(container.id)).status)
            except NotFound:
                continue
        return tuple(found)
