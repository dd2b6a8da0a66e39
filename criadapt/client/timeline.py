"""How far each sandbox and container has come, so that nothing is told twice and what was missed can be told.

Each goes the same way, once: created, started, stopped, deleted. An event that brings one no further is a double; a
list that shows one further than the events have brought it shows what was missed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from criadapt.model.container import Container, ContainerState
from criadapt.model.runtime import ContainerEventResponse, ContainerEventType
from criadapt.model.sandbox import PodSandbox, PodSandboxState, PodSandboxStatus

CREATED, STARTED, STOPPED, DELETED = ContainerEventType

REMEMBERED = 4096
"""Deleted ones of which an event may still come: runtimes keep some for a client that was away."""

_OF_POD: Mapping[PodSandboxState, ContainerEventType] = {
    PodSandboxState.READY: STARTED,
    PodSandboxState.NOTREADY: STOPPED,
}
_OF_CONTAINER: Mapping[ContainerState, ContainerEventType] = {
    ContainerState.CREATED: CREATED,
    ContainerState.RUNNING: STARTED,
    ContainerState.EXITED: STOPPED,
}


@dataclass(frozen=True, slots=True)
class Thing:
    """A sandbox or container and how far it has come."""

    id: str
    reached: ContainerEventType
    pod_id: str
    """The sandbox; of a sandbox, itself."""
    pod: PodSandboxStatus | None
    """What was last known of the sandbox."""
    created_at: int = 0


@dataclass(frozen=True, slots=True)
class Missed:
    """Something that happened unseen."""

    type: ContainerEventType
    thing: Thing
    gone: bool
    """Whether the runtime does not know it any more."""


class Timeline:
    """What was told so far."""

    def __init__(self) -> None:
        self._known: dict[str, Thing] = {}
        self._deleted: dict[str, None] = {}
        self._began = 0

    def begin(self, pods: Sequence[PodSandbox], containers: Sequence[Container], now: int) -> None:
        """Take what there is at `now`, in nanoseconds since the epoch, as told."""
        self._began = now
        self._known = {thing.id: thing for thing in _things(pods, containers)}

    def news(self, event: ContainerEventResponse) -> bool:
        """Whether an event tells something new. From now on it is told."""
        id, type = event.container_id, event.container_event_type
        known = self._known.get(id)
        if id in self._deleted or (known is not None and type <= known.reached):
            return False
        # A runtime may have kept old events for whoever comes.
        if known is None and (type is DELETED or event.created_at < self._began):
            return False
        pod = event.pod_sandbox_status or (known.pod if known else None)
        self._told(Thing(id, type, pod.id if pod else "", pod))
        return True

    def missed(self, pods: Sequence[PodSandbox], containers: Sequence[Container]) -> Iterator[Missed]:
        """What lists of everything show to have happened. Each is told once the next is asked for."""
        there = {pod.id for pod in pods} | {container.id for container in containers}
        gone = [thing for thing in self._known.values() if thing.id not in there]
        found = [_ended(thing) for thing in gone if thing.id != thing.pod_id]
        found += [_ended(thing) for thing in gone if thing.id == thing.pod_id]
        now = [thing for thing in _things(pods, containers) if thing.id not in self._deleted]
        found += [self._steps(thing, (CREATED, STARTED)) for thing in now if thing.id == thing.pod_id]
        found += [self._steps(thing, (CREATED, STARTED, STOPPED)) for thing in now if thing.id != thing.pod_id]
        found += [self._steps(thing, (STOPPED,)) for thing in now if thing.id == thing.pod_id]
        for steps in found:
            for missed in steps:
                yield missed
                self._told(Thing(missed.thing.id, missed.type, missed.thing.pod_id, missed.thing.pod))

    def _steps(self, thing: Thing, among: Sequence[ContainerEventType]) -> list[Missed]:
        known = self._known.get(thing.id)
        after = -1 if known is None else known.reached
        return [Missed(type, thing, gone=False) for type in among if after < type <= thing.reached]

    def _told(self, thing: Thing) -> None:
        if thing.reached is not DELETED:
            self._known[thing.id] = thing
            return
        self._known.pop(thing.id, None)
        self._deleted[thing.id] = None
        if len(self._deleted) > REMEMBERED:
            del self._deleted[next(iter(self._deleted))]


def _ended(thing: Thing) -> list[Missed]:
    """How one that is gone has ended: of one that ran, the end was missed as well."""
    types = (STOPPED, DELETED) if thing.reached is STARTED else (DELETED,)
    return [Missed(type, thing, gone=True) for type in types]


def _things(pods: Sequence[PodSandbox], containers: Sequence[Container]) -> Iterator[Thing]:
    """Everything that lists show, but containers of which the runtime does not know the state."""
    statuses = {pod.id: _status(pod) for pod in pods}
    for pod in pods:
        yield Thing(pod.id, _OF_POD[pod.state], pod.id, statuses[pod.id], pod.created_at)
    for container in containers:
        reached = _OF_CONTAINER.get(container.state)
        if reached is not None:
            pod_id = container.pod_sandbox_id
            yield Thing(container.id, reached, pod_id, statuses.get(pod_id), container.created_at)


def _status(pod: PodSandbox) -> PodSandboxStatus:
    """As much of a status as a row tells."""
    return PodSandboxStatus(
        id=pod.id,
        metadata=pod.metadata,
        state=pod.state,
        created_at=pod.created_at,
        labels=pod.labels,
        annotations=pod.annotations,
        runtime_handler=pod.runtime_handler,
    )
