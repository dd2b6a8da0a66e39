"""The monitor: what the engine tells, and what comparing with its list brings to light."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from criadapt.backends.base import EngineEvent, EngineState, EventKind
from criadapt.core import monitor as monitor_module
from criadapt.errors import Unavailable
from criadapt.model.container import ContainerState
from criadapt.model.sandbox import PodSandboxState
from criadapt.testing.factories import START

CREATED, RUNNING, EXITED = ContainerState.CREATED, ContainerState.RUNNING, ContainerState.EXITED


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def deaf(core: Any) -> None:
    """No event arrives any more."""
    core.engine.listener = lambda event: None


# ---------------------------------------------------------------------------------------------- the list decides


async def test_exits_that_were_missed_are_found(core: Any) -> None:
    pod = await core.pod()
    id = await core.running(pod)
    deaf(core)
    core.engine.end(id, 3, time_ns=START + 77)
    core.engine.end(pod, 1)
    await core.monitor.relist()
    status = core.store.container(id).status()
    assert (status.state, status.exit_code) == (EXITED, 3)
    assert core.store.sandbox(pod).state is PodSandboxState.NOTREADY


async def test_what_is_gone_is_lost(core: Any) -> None:
    pod = await core.pod()
    ids = [await core.created(pod, "a"), await core.running(pod, "b")]
    deaf(core)
    for id in (*ids, pod):
        core.engine.vanish(id)
    await core.monitor.relist()
    assert [core.store.container(id).shown_reason for id in ids] == ["Unknown", "Unknown"]
    assert core.store.sandbox(pod).reason == "the engine no longer has its infra container"


async def test_nothing_changes_where_nothing_happened(core: Any) -> None:
    pod = await core.pod()
    await core.running(pod, "a")
    await core.created(pod, "b")
    revisions = core.store.sandbox_revision, core.store.container_revision
    await core.monitor.relist()
    assert (core.store.sandbox_revision, core.store.container_revision) == revisions


async def test_what_is_made_while_the_engine_answers_is_not_lost(core: Any) -> None:
    pod = await core.pod()
    rows = dict(core.engine.rows)
    gate = core.engine.hold("containers")
    task = asyncio.ensure_future(core.monitor.relist())
    await gate.reached.wait()
    id, other = await core.running(pod), await core.pod("other")
    new, core.engine.rows = core.engine.rows, rows
    gate.open()
    await task
    core.engine.rows = new
    assert core.state(id) is RUNNING
    assert core.store.sandbox(other).state is PodSandboxState.READY


async def test_an_exit_with_its_own_record_is_not_overwritten(core: Any) -> None:
    id = await core.running()
    core.engine.end(id, 3)
    await core.settled()
    core.engine.rows.pop(id)
    before = core.store.container(id)
    await core.monitor.relist()
    assert core.store.container(id) is before


@pytest.mark.parametrize("state", [EngineState.RUNNING, EngineState.EXITED])
async def test_a_start_nobody_learned_of_is_found(core: Any, state: EngineState) -> None:
    id = await core.created()
    core.engine.lost["start"] = Unavailable("connection reset")
    core.engine.errors["inspect"] = Unavailable("still away")
    with pytest.raises(Unavailable):
        await core.containers.start(id)
    core.engine.rows[id] = replace(core.engine.rows[id], state=state, finished_at=START + 9)
    await core.monitor.relist()
    assert core.state(id) is not CREATED


async def test_an_exit_without_a_time_happened_now(core: Any) -> None:
    id = await core.running()
    deaf(core)
    core.engine.end(id, 3, time_ns=0)
    await core.monitor.relist()
    assert core.store.container(id).finished_at > core.store.container(id).started_at


async def test_logs_go_on_when_the_engine_is_back(core: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def breaks(id: str, since_ns: int) -> Any:
        raise Unavailable("connection reset")
        yield

    with monkeypatch.context() as away:
        away.setattr(core.engine, "output", breaks)
        id = await core.running()
        await turns()
    core.monitor.trouble = "connection reset"
    await core.monitor.relist()
    assert core.pumps.is_running(id)


# ---------------------------------------------------------------------------------------------- events


@pytest.mark.parametrize("kind", [EventKind.EXITED, EventKind.GONE, EventKind.IMAGES])
async def test_events_of_strangers_change_nothing(core: Any, kind: EventKind) -> None:
    await core.running()
    revisions = core.store.sandbox_revision, core.store.container_revision
    core.monitor._apply(EngineEvent(kind=kind, id="stranger" if kind is not EventKind.IMAGES else "", time_ns=START))
    await core.settled()
    assert (core.store.sandbox_revision, core.store.container_revision) == revisions


async def test_an_infra_container_removed_by_somebody_takes_its_pod_down(core: Any) -> None:
    pod = await core.pod()
    core.monitor._apply(EngineEvent(kind=EventKind.GONE, id=pod))
    await core.settled()
    assert core.store.sandbox(pod).reason == "the infra container was removed behind criadapt's back"


async def test_a_created_container_removed_by_somebody_is_lost(core: Any) -> None:
    id = await core.created()
    core.engine.vanish(id)
    await core.settled()
    assert core.store.container(id).shown_reason == "Unknown"


# ---------------------------------------------------------------------------------------------- following


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between attempts."""
    monkeypatch.setattr(monitor_module, "RETRY_SECONDS", (0.0,))
    monkeypatch.setattr(monitor_module, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(monitor_module, "FIRST_RELIST_SECONDS", 1000.0)


@pytest.mark.usefixtures("hasty")
async def test_events_are_followed_and_the_stream_is_taken_up_again(core: Any) -> None:
    id = await core.running()
    async with core.monitor:
        core.engine.feed.put_nowait(Unavailable("engine restarts"))
        await turns()
        core.engine.feed.put_nowait(EngineEvent(kind=EventKind.EXITED, id=id, time_ns=START, exit_code=7))
        core.engine.end(id, 7)
        await core.store.exited(id)
    assert core.store.container(id).exit_code == 7


@pytest.mark.usefixtures("hasty")
async def test_trouble_with_the_engine_is_told_until_it_is_over(core: Any) -> None:
    core.engine.errors["containers"] = Unavailable("the engine is away")
    async with core.monitor:
        core.engine.feed.put_nowait(Unavailable("stream broke"))
        await turns()
        assert core.monitor.trouble == "the engine is away"
        core.engine.errors.clear()
        core.engine.feed.put_nowait(Unavailable("stream broke again"))
        await turns()
        assert core.monitor.trouble == ""


@pytest.mark.usefixtures("hasty")
async def test_leaving_ends_every_task(core: Any) -> None:
    async with core.monitor:
        tasks = list(core.monitor._tasks)
        await turns()
    assert all(task.cancelled() for task in tasks)
    assert core.monitor._tasks == set()


@pytest.mark.usefixtures("hasty")
async def test_an_unexpected_error_does_not_end_the_following(core: Any) -> None:
    id = await core.running()
    async with core.monitor:
        core.engine.errors["containers"] = KeyError("a bug in a backend")
        core.engine.feed.put_nowait(Unavailable("engine restarts"))
        await turns()
        core.engine.errors.clear()
        core.engine.feed.put_nowait(EngineEvent(kind=EventKind.EXITED, id=id, time_ns=START, exit_code=7))
        await turns()
        assert len(core.monitor._tasks) >= 2


@pytest.mark.usefixtures("hasty")
async def test_nothing_is_missed_between_comparing_and_listening(core: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    relist, events = core.monitor.relist, core.engine.events

    async def noted_relist() -> None:
        steps.append("compare")
        await relist()

    def noted_events() -> Any:
        steps.append("listen")
        return events()

    monkeypatch.setattr(core.monitor, "relist", noted_relist)
    monkeypatch.setattr(core.engine, "events", noted_events)
    async with core.monitor:
        core.engine.feed.put_nowait(Unavailable("engine restarts"))
        await turns()
    assert steps[0] == "listen"
    assert steps[-1] == "compare"
