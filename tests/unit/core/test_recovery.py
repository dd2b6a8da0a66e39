"""The recovery plan as tables, one for each assumption about what happened while criadapt was away."""

from __future__ import annotations

from typing import Any

import pytest

from criadapt.backends.base import EngineContainer, EngineState
from criadapt.core import names, recovery
from criadapt.core.records import ContainerRecord, SandboxRecord
from criadapt.core.recovery import Discard, Keep, RemoveOrphan, plan
from criadapt.model.container import ContainerMetadata, ContainerState
from criadapt.model.sandbox import PodSandboxMetadata, PodSandboxState
from criadapt.testing.factories import SECOND, START, container_record, engine_container, sandbox_record

NOW = START + 100 * SECOND
CREATED, RUNNING, EXITED = EngineState.CREATED, EngineState.RUNNING, EngineState.EXITED
POD = PodSandboxMetadata(name="web/1", uid="u1", namespace="ns", attempt=3)


def infra(state: EngineState = RUNNING, **fields: Any) -> EngineContainer:
    return engine_container("s1", state, **{"labels": names.sandbox_labels(POD), **fields})


def member(state: EngineState = RUNNING, **fields: Any) -> EngineContainer:
    labels = names.container_labels("s1", POD, ContainerMetadata(name="app/x", attempt=2))
    return engine_container("c1", state, **{"labels": labels, **fields})


def pod_after(record: SandboxRecord, *engine: EngineContainer) -> SandboxRecord:
    (step,) = plan([record], [], engine, NOW)
    assert isinstance(step, Keep)
    assert isinstance(step.record, SandboxRecord)
    return step.record


def container_after(record: ContainerRecord, *engine: EngineContainer) -> Keep:
    *_, step = plan([sandbox_record()], [record], [infra(), *engine], NOW)
    assert isinstance(step, Keep)
    assert isinstance(step.record, ContainerRecord)
    return step


# ------------------------------------------------------------------ nothing happened


def test_nothing_to_do_without_anything() -> None:
    assert plan([], [], [], NOW) == []


def test_what_is_as_it_was_is_kept_as_the_same_object() -> None:
    pod, app = sandbox_record(), container_record(started_at=START + SECOND)
    steps = plan([pod], [app], [infra(), member()], NOW)
    assert [step.record for step in steps if isinstance(step, Keep)] == [pod, app]
    assert all(a is b for a, b in zip([s.record for s in steps if isinstance(s, Keep)], [pod, app], strict=True))


# ------------------------------------------------------------------ 1: killed between any two steps of any call


@pytest.mark.parametrize("engine", [[], [infra(CREATED)], [infra(RUNNING)], [infra(EXITED)]])
def test_a_sandbox_cut_short_in_the_making_is_discarded_whatever_the_engine_has(engine: list[EngineContainer]) -> None:
    pending = sandbox_record(ready_at=0)
    assert plan([pending], [], engine, NOW) == [Discard(pending)]


def test_a_sandbox_rolled_back_in_part_stays_visible() -> None:
    remains = sandbox_record(ready_at=0).stopped(START, "rolled back in part")
    assert pod_after(remains) is remains


def test_an_engine_container_that_was_never_recorded_is_removed() -> None:
    assert plan([sandbox_record()], [], [infra(), member(CREATED)], NOW)[1:] == [RemoveOrphan("c1")]


def test_an_infra_container_that_was_never_recorded_is_removed() -> None:
    assert plan([], [], [infra(CREATED)], NOW) == [RemoveOrphan("s1")]


def test_a_start_nobody_recorded_is_believed() -> None:
    step = container_after(container_record(), member())
    assert (step.record.state, step.record.started_at, step.resume) == (ContainerState.RUNNING, START + SECOND, True)


def test_a_start_that_failed_unseen_is_a_start_error() -> None:
    step = container_after(container_record(), member(EXITED, error="no such file", exit_code=127))
    assert step.record.status().reason == "StartError"
    assert (step.record.exit_code, step.record.message) == (127, "no such file")


def test_a_container_not_started_yet_can_still_be_started() -> None:
    record = container_record()
    step = container_after(record, member(CREATED))
    assert step == Keep(record, resume=False)
    assert step.record.started(NOW).state is ContainerState.RUNNING


# ------------------------------------------------------------------ 2: containers went on without us

EXIT = {"finished_at": START + 9 * SECOND}


@pytest.mark.parametrize(
    ("engine", "exit_code", "reason", "finished_at", "resume"),
    [
        ([member(EXITED, exit_code=0, **EXIT)], 0, "Completed", START + 9 * SECOND, True),
        ([member(EXITED, exit_code=3, **EXIT)], 3, "Error", START + 9 * SECOND, True),
        ([member(EXITED, exit_code=137, oom_killed=True, **EXIT)], 137, "OOMKilled", START + 9 * SECOND, True),
        ([member(EXITED, exit_code=0, finished_at=0)], 0, "Completed", NOW, True),
        ([], 255, "Unknown", NOW, False),
    ],
    ids=["exited", "failed", "oom", "without a time", "removed by somebody"],
)
def test_a_running_container_that_ended_while_away(
    engine: list[EngineContainer], exit_code: int, reason: str, finished_at: int, resume: bool
) -> None:
    step = container_after(container_record(started_at=START + SECOND), *engine)
    status = step.record.status()
    assert (status.state, status.exit_code, status.reason) == (ContainerState.EXITED, exit_code, reason)
    assert (status.finished_at, step.resume) == (finished_at, resume)


def test_a_container_that_runs_on_has_its_log_resumed() -> None:
    record = container_record(started_at=START + SECOND)
    assert container_after(record, member()) == Keep(record, resume=True)


@pytest.mark.parametrize("engine", [[], [member(CREATED)], [member(RUNNING)], [member(EXITED, exit_code=1)]])
def test_an_exit_once_recorded_is_never_taken_back(engine: list[EngineContainer]) -> None:
    record = container_record(started_at=START).exited(START + SECOND, 7)
    assert container_after(record, *engine) == Keep(record, resume=False)


@pytest.mark.parametrize(
    ("engine", "reason"),
    [
        ([], "its infra container is gone"),
        ([infra(EXITED)], "its infra process ended while criadapt was away"),
        ([infra(CREATED)], "its infra process ended while criadapt was away"),
    ],
)
def test_a_sandbox_whose_infra_process_ended_is_not_ready(engine: list[EngineContainer], reason: str) -> None:
    record = pod_after(sandbox_record(), *engine)
    assert (record.state, record.stopped_at, record.reason) == (PodSandboxState.NOTREADY, NOW, reason)


def test_a_stopped_sandbox_stays_as_it_was_even_if_its_infra_process_runs() -> None:
    stopped = sandbox_record(stopped_at=START + SECOND, reason="mine")
    assert pod_after(stopped, infra()) is stopped


# ------------------------------------------------------------------ 3: the machine was rebooted


def test_after_a_reboot_all_has_ended_and_networks_are_still_to_be_released() -> None:
    pod, app = sandbox_record(), container_record(started_at=START + SECOND)
    first, second = plan([pod], [app], [infra(EXITED), member(EXITED, exit_code=255)], NOW)
    assert isinstance(first, Keep)
    assert isinstance(second, Keep)
    assert first.record.state is PodSandboxState.NOTREADY
    assert isinstance(first.record, SandboxRecord)
    assert first.record.network_up
    assert second.record.state is ContainerState.EXITED


# ------------------------------------------------------------------ 4: journal or engine lost their memory


def test_a_lost_journal_gives_sandboxes_that_can_only_be_removed() -> None:
    (step,) = plan([], [], [infra(created_at=START + 7)], NOW)
    assert isinstance(step, Keep)
    record = step.record
    assert isinstance(record, SandboxRecord)
    assert (record.id, record.metadata, record.created_at) == ("s1", POD, START + 7)
    assert (record.state, record.network_up) == (PodSandboxState.NOTREADY, True)


def test_a_lost_journal_gives_containers_with_an_unknown_end() -> None:
    _, step = plan([], [], [infra(), member()], NOW)
    assert isinstance(step, Keep)
    record = step.record
    assert isinstance(record, ContainerRecord)
    assert (record.id, record.sandbox_id) == ("c1", "s1")
    assert record.metadata == ContainerMetadata(name="app/x", attempt=2)
    assert (record.status().exit_code, record.status().reason, step.resume) == (255, "Unknown", False)


@pytest.mark.parametrize("labels", [{}, {names.KIND: "other"}])
def test_a_running_stranger_is_left_alone(labels: dict[str, str]) -> None:
    assert plan([], [], [engine_container("x", labels=labels)], NOW) == []


def test_an_older_journal_knows_the_pod_but_not_the_container() -> None:
    pod = sandbox_record()
    first, second = plan([pod], [], [infra(), member()], NOW)
    assert first == Keep(pod)
    assert isinstance(second, Keep)
    assert isinstance(second.record, ContainerRecord)
    assert second.record.sandbox_id == "s1"


@pytest.mark.parametrize(
    ("containers", "engine"),
    [([container_record(started_at=START + 1)], []), ([container_record()], [member(CREATED)]), ([], [member()])],
    ids=["journaled", "not started", "adopted"],
)
def test_a_container_without_its_pod_gets_one_through_which_it_can_be_removed(
    containers: list[ContainerRecord], engine: list[EngineContainer]
) -> None:
    first, second = plan([], containers, engine, NOW)
    assert isinstance(first, Keep)
    assert isinstance(second, Keep)
    assert (first.record.id, first.record.state) == ("s1", PodSandboxState.NOTREADY)
    assert second.record.id == "c1"


def test_several_containers_without_their_pod_share_the_one_made_up_for_them() -> None:
    containers = [container_record(id, started_at=START) for id in ("c1", "c2")]
    assert [step.record.id for step in plan([], containers, [], NOW) if isinstance(step, Keep)] == ["s1", "c1", "c2"]


def test_an_engine_that_was_reset_leaves_nothing_running() -> None:
    steps = plan([sandbox_record()], [container_record(started_at=START + SECOND), container_record("c2")], [], NOW)
    states = [step.record.state for step in steps if isinstance(step, Keep)]
    assert states == [PodSandboxState.NOTREADY, ContainerState.EXITED, ContainerState.EXITED]


def test_no_sandbox_has_an_empty_id() -> None:
    stranger = member(labels={names.KIND: names.KIND_CONTAINER})
    assert all(step.record.id for step in plan([], [], [stranger], NOW) if isinstance(step, Keep))


def test_a_label_somebody_wrote_does_not_stop_the_start() -> None:
    plan([], [], [infra(labels={names.KIND: names.KIND_SANDBOX, names.POD: "ns/uid/²/name"})], NOW)


# ------------------------------------------------------------------ 5: nothing is killed because of a restart


@pytest.mark.parametrize("journaled", [True, False])
def test_nothing_that_runs_is_removed(journaled: bool) -> None:
    pods = [sandbox_record()] if journaled else []
    apps = [container_record(started_at=START)] if journaled else []
    assert all(isinstance(step, Keep) for step in plan(pods, apps, [infra(), member()], NOW))


# ------------------------------------------------------------------ order


def test_sandboxes_come_before_their_containers() -> None:
    steps = plan(
        [sandbox_record("s2"), sandbox_record("s3")],
        [container_record("c2", "s2"), container_record("c9", "s9")],
        [infra(created_at=START + 2), member()],
        NOW,
    )
    seen: set[str] = set()
    for step in steps:
        assert isinstance(step, Keep)
        if isinstance(step.record, ContainerRecord):
            assert step.record.sandbox_id in seen
        seen.add(step.record.id)
    assert seen == {"s1", "s2", "s3", "s9", "c1", "c2", "c9"}


@pytest.mark.parametrize(
    ("record", "engine", "state"),
    [
        (container_record(), member(CREATED), ContainerState.CREATED),
        (container_record(), member(RUNNING), ContainerState.RUNNING),
        (container_record(), member(EXITED), ContainerState.EXITED),
        (container_record(started_at=START), member(CREATED), ContainerState.RUNNING),
        (container_record(started_at=START), member(EXITED), ContainerState.EXITED),
        (container_record(started_at=START, finished_at=START), member(RUNNING), ContainerState.EXITED),
    ],
)
def test_the_engine_moves_a_record_forward_never_backward(
    record: ContainerRecord, engine: EngineContainer, state: ContainerState
) -> None:
    assert recovery.as_engine_says(record, engine, NOW).state is state
