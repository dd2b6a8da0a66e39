"""After a restart: what the journal remembers against what the engine has.

Assumptions, all of which may hold at once:

1. criadapt may have been killed between any two steps of any call.
2. Containers went on without us: they may have exited, been OOM-killed, or been removed by somebody else.
3. The machine may have been rebooted: nothing runs, networks are gone.
4. The journal may be lost or older than the engine's containers; the engine may have been reset under the journal.
5. Nothing may be killed merely because criadapt restarted.

:func:`plan` is pure: it decides; :class:`criadapt.core.runtime.Runtime` acts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from criadapt.backends.base import EngineContainer, EngineState
from criadapt.core import names
from criadapt.core.records import ContainerRecord, SandboxRecord
from criadapt.model.container import ContainerConfig, ContainerState
from criadapt.model.image import ImageSpec
from criadapt.model.sandbox import PodSandboxConfig, PodSandboxState


@dataclass(frozen=True, slots=True)
class Keep:
    """Put this record into the store as it now stands. `resume` asks for its log to be pumped on."""

    record: SandboxRecord | ContainerRecord
    resume: bool = False


@dataclass(frozen=True, slots=True)
class Discard:
    """A sandbox whose making was cut short: release its network, remove its infra container, forget it."""

    record: SandboxRecord


@dataclass(frozen=True, slots=True)
class RemoveOrphan:
    """An engine container that was created and never recorded: it never ran, nobody knows its id."""

    id: str


Step = Keep | Discard | RemoveOrphan


def plan(
    sandboxes: Iterable[SandboxRecord],
    containers: Iterable[ContainerRecord],
    engine: Sequence[EngineContainer],
    now: int,
) -> list[Step]:
    """Steps that make the store true, sandboxes before their containers, oldest first."""
    found = {container.id: container for container in engine}
    known: set[str] = set()
    steps: list[Step] = []
    for sandbox in sandboxes:
        known.add(sandbox.id)
        steps.append(_sandbox_step(sandbox, found.get(sandbox.id), now))
    pods = {step.record.id for step in steps if isinstance(step, Keep)}
    members: list[tuple[ContainerRecord, bool]] = []
    for container in containers:
        known.add(container.id)
        members.append(_container_step(container, found.get(container.id), now))
    for stranger in sorted(engine, key=lambda container: container.created_at):
        if stranger.id in known:
            continue
        kind = stranger.labels.get(names.KIND)
        if stranger.state is EngineState.CREATED:
            steps.append(RemoveOrphan(stranger.id))
        elif kind == names.KIND_SANDBOX:
            pods.add(stranger.id)
            steps.append(Keep(_adopted_sandbox(stranger, now)))
        elif kind == names.KIND_CONTAINER and stranger.labels.get(names.SANDBOX):
            members.append((_adopted_container(stranger, now), False))
    for record, resume in members:
        if record.sandbox_id not in pods:  # without its pod nobody could remove it through the pod
            pods.add(record.sandbox_id)
            steps.append(Keep(_lost_sandbox(record, now)))
        steps.append(Keep(record, resume))
    return steps


def _sandbox_step(record: SandboxRecord, container: EngineContainer | None, now: int) -> Step:
    if not record.ready_at and not record.stopped_at:
        return Discard(record)
    if record.state is PodSandboxState.READY and (container is None or container.state is not EngineState.RUNNING):
        why = "its infra container is gone" if container is None else "its infra process ended while criadapt was away"
        return Keep(record.stopped(now, why))
    return Keep(record)


def _container_step(
    record: ContainerRecord, container: EngineContainer | None, now: int
) -> tuple[ContainerRecord, bool]:
    """The record as it now stands, and whether output may be missing in its log."""
    if record.state is ContainerState.EXITED:
        return record, False
    if container is None:
        return record.lost(now, "the engine no longer has this container"), False
    return as_engine_says(record, container, now), container.state is not EngineState.CREATED


def as_engine_says(record: ContainerRecord, container: EngineContainer, now: int) -> ContainerRecord:
    """The record moved on to the engine's state; never backwards."""
    if container.state is EngineState.CREATED:
        return record
    if record.state is ContainerState.CREATED:
        if container.error and container.state is EngineState.EXITED:
            return record.start_failed(container.finished_at or now, container.error, container.exit_code)
        record = record.started(container.started_at or now)
    if container.state is EngineState.EXITED:
        return record.exited(container.finished_at or now, container.exit_code, oom_killed=container.oom_killed)
    return record


def _adopted_sandbox(container: EngineContainer, now: int) -> SandboxRecord:
    """NOTREADY, because its config is lost: kubelet will remove it and make a new one."""
    config = PodSandboxConfig(metadata=names.adopted_pod(container.labels.get(names.POD, "")))
    record = SandboxRecord(
        id=container.id,
        config=config,
        handler="",
        created_at=container.created_at or now,
        network_up=True,
    )
    return record.stopped(now, "adopted from the engine; what was asked for is not known any more")


def _adopted_container(container: EngineContainer, now: int) -> ContainerRecord:
    """EXITED with an unknown code, because its config is lost; removing it ends it if it still runs."""
    config = ContainerConfig(
        metadata=names.adopted_container(container.labels.get(names.CONTAINER, "")),
        image=ImageSpec(image=container.image_id),
    )
    record = ContainerRecord(
        id=container.id,
        sandbox_id=container.labels.get(names.SANDBOX, ""),
        config=config,
        image_id=container.image_id,
        image_ref=container.image_id,
        image_name=container.image_id,
        created_at=container.created_at or now,
        started_at=container.started_at,
    )
    return record.lost(now, "adopted from the engine; what was asked for is not known any more")


def _lost_sandbox(container: ContainerRecord, now: int) -> SandboxRecord:
    config = PodSandboxConfig(metadata=names.adopted_pod(""))
    record = SandboxRecord(id=container.sandbox_id, config=config, handler="", created_at=container.created_at)
    return record.stopped(now, "its infra container and its record are gone")
