"""The monitor: what the engine tells, and what comparing with its list brings to light."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from criadapt.backends.base import Chunk, EngineEvent, EngineState, EventKind
from criadapt.core import monitor as monitor_module
from criadapt.errors import FailedPrecondition, Unavailable
from criadapt.model.container import ContainerState
from criadapt.model.runtime import ContainerEventType as Event
from criadapt.model.sandbox import PodSandboxState
from criadapt.testing.asynchronous import turns
from criadapt.testing.factories import SECOND, START

CREATED, RUNNING, EXITED = ContainerState.CREATED, ContainerState.RUNNING, ContainerState.EXITED


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


class Flaky:
    """The output of a container on an engine that goes away after so many chunks."""

    def __init__(self, core: Any, *data: bytes) -> None:
        self.chunks = [Chunk("stdout", piece, START + 1 + number) for number, piece in enumerate(data)]
        self.reach: int | None = None
        self._output = core.engine.output
        self._engine = core.engine
        core.engine.output = self.output

    async def output(self, id: str, since_ns: int) -> AsyncIterator[Chunk]:
        self._engine.chunks[id] = self.chunks if self.reach is None else self.chunks[: self.reach]
        if self.reach is not None:
            for chunk in self._engine.chunks[id]:
                yield chunk
            raise Unavailable("connection reset")
        async for chunk in self._output(id, since_ns):
            yield chunk


def logged(core: Any) -> list[str]:
    return [line.partition(" ")[2] for line in (core.logs / "app.log").read_text().splitlines()]


async def test_logs_go_on_when_the_engine_is_back(core: Any) -> None:
    flaky = Flaky(core, b"a\nb", b"c\n", b"d\n")
    flaky.reach = 1
    id = await core.running()
    await turns()
    assert not core.pumps.is_running(id)
    flaky.reach = None
    await core.monitor.relist()
    assert core.pumps.is_running(id)
    await turns()
    assert logged(core) == ["stdout F a", "stdout P b", "stdout F c", "stdout F d"]
    await core.monitor.relist()
    assert len(logged(core)) == 4


async def test_an_exit_found_by_the_list_has_the_output_that_nobody_carried(core: Any) -> None:
    flaky = Flaky(core, b"a\n", b"last words\n")
    flaky.reach = 1
    id = await core.running()
    await turns()
    flaky.reach = None
    deaf(core)
    core.engine.end(id, 3)
    await core.monitor.relist()
    assert core.state(id) is EXITED
    assert logged(core) == ["stdout F a", "stdout F last words"]


@pytest.mark.parametrize("how", ["told", "stopped"])
async def test_an_exit_before_the_next_look_has_the_output_that_nobody_carried(core: Any, how: str) -> None:
    flaky = Flaky(core, b"a\n", b"last words\n")
    flaky.reach = 1
    id = await core.running()
    await turns()
    flaky.reach = None  # the engine is back, and the container ends before the list is looked at
    if how == "told":
        core.engine.end(id, 3)
        await core.settled()
    else:
        await core.containers.stop(id, 0)
    await core.monitor.relist()
    assert core.state(id) is EXITED
    assert logged(core) == ["stdout F a", "stdout F last words"]


# ---------------------------------------------------------------------------------------------- caught up


async def started_unseen(core: Any, **row: Any) -> str:
    """A container that is CREATED for us, while the engine has something else to say."""
    id = await core.created()
    core.seen()
    core.engine.rows[id] = replace(core.engine.rows[id], **row)
    return id


async def caught_up(core: Any, id: str) -> None:
    await core.containers.caught_up(id, core.engine.rows[id])


async def test_a_start_that_the_list_knows_is_told_and_its_retry_succeeds(core: Any) -> None:
    id = await started_unseen(core, state=EngineState.RUNNING)
    await caught_up(core, id)
    assert core.state(id) is RUNNING
    assert core.seen() == [(Event.STARTED, id)]
    assert core.pumps.is_running(id)
    await core.containers.start(id)
    assert core.engine.called("start").count(id) == 0
    await caught_up(core, id)
    assert core.seen() == []


async def test_a_whole_life_that_nobody_saw_is_told_in_order(core: Any) -> None:
    id = await started_unseen(core, state=EngineState.EXITED, exit_code=4, finished_at=START + 99 * SECOND)
    core.engine.chunks[id] = [Chunk("stdout", b"all of it\n", START)]
    await caught_up(core, id)
    record = core.store.container(id)
    assert (record.state, record.exit_code, record.finished_at) == (EXITED, 4, START + 99 * SECOND)
    assert core.seen() == [(Event.STARTED, id), (Event.STOPPED, id)]
    assert logged(core) == ["stdout F all of it"]


@pytest.mark.parametrize("who", ["list", "inspect"])
async def test_a_start_that_failed_unseen_is_a_start_error(core: Any, who: str) -> None:
    id = await core.created()
    core.seen()
    failed = {"state": EngineState.EXITED, "exit_code": 127, "finished_at": START + SECOND, "error": "no such file"}
    if who == "list":
        core.engine.rows[id] = replace(core.engine.rows[id], **failed)
        await caught_up(core, id)
    else:
        gate = core.engine.hold("start")
        task = asyncio.ensure_future(core.containers.start(id))
        await gate.reached.wait()
        core.engine.rows[id] = replace(core.engine.rows[id], **failed)
        core.engine.errors["start"] = Unavailable("connection reset")
        gate.open()
        await asyncio.wait([task])
        assert isinstance(task.exception(), Unavailable)
    status = core.store.container(id).status()
    assert (status.state, status.exit_code) == (EXITED, 127)
    assert (status.reason, status.message) == ("StartError", "no such file")


async def test_what_both_know_is_left_alone(core: Any) -> None:
    pod = await core.pod()
    created, running = await core.created(pod, "a"), await core.running(pod, "b")
    before = [core.store.container(id) for id in (created, running)]
    core.seen()
    for id in (created, running):
        await caught_up(core, id)
    assert [core.store.container(id) for id in (created, running)] == before
    assert core.seen() == []
    assert not core.pumps.is_running(created)


@pytest.mark.parametrize("state", list(EngineState))
async def test_the_list_does_not_move_a_record_backward(core: Any, state: EngineState) -> None:
    id = await core.running()
    core.engine.end(id, 3)
    await core.settled()
    before = core.store.container(id)
    core.seen()
    await core.containers.caught_up(id, replace(core.engine.rows[id], state=state, exit_code=9))
    assert core.store.container(id) is before
    assert core.seen() == []
    assert not core.pumps.is_running(id)


async def test_an_old_list_does_not_make_a_running_container_a_created_one(core: Any) -> None:
    id = await core.created()
    old = core.engine.rows[id]
    await core.containers.start(id)
    await core.containers.caught_up(id, old)
    assert core.state(id) is RUNNING


async def test_a_list_with_a_stranger_changes_nothing(core: Any) -> None:
    id = await core.running()
    row = core.engine.rows[id]
    await core.containers.caught_up("stranger", replace(row, id="stranger"))
    assert [record.id for record in core.store.containers()] == [id]


@pytest.mark.parametrize("state", [EngineState.RUNNING, EngineState.EXITED])
async def test_a_container_being_started_is_left_to_its_start(core: Any, state: EngineState) -> None:
    id = await core.created()
    core.seen()
    gate = core.engine.hold("start")
    task = asyncio.ensure_future(core.containers.start(id))
    await gate.reached.wait()
    await core.containers.caught_up(id, replace(core.engine.rows[id], state=state))
    assert (core.state(id), core.seen()) == (CREATED, [])
    gate.open()
    await task
    assert core.seen() == [(Event.STARTED, id)]
    with pytest.raises(FailedPrecondition):  # this one was answered
        await core.containers.start(id)


async def test_a_log_that_cannot_be_gone_on_with_does_not_hide_the_exit(
    core: Any, caplog: pytest.LogCaptureFixture
) -> None:
    id = await started_unseen(core, state=EngineState.EXITED, exit_code=4)
    (core.logs / "app.log").mkdir(parents=True)
    await caught_up(core, id)
    assert core.state(id) is EXITED
    assert "log cannot be continued" in caplog.text


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
@pytest.mark.parametrize("where", ["list", "stream"])
async def test_an_unexpected_error_is_trouble_and_does_not_end_the_following(
    core: Any, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    bug = KeyError("a bug in a backend")
    id = await core.running()
    async with core.monitor:
        if where == "list":
            core.engine.errors["containers"] = bug
        core.engine.feed.put_nowait(bug if where == "stream" else Unavailable("engine restarts"))
        await turns(4 if where == "stream" else 20)
        assert core.monitor.trouble == "'a bug in a backend'"
        assert any(row.message == "monitor failed unexpectedly" and row.exc_info[1] is bug for row in caplog.records)
        core.engine.errors.clear()
        core.engine.feed.put_nowait(Unavailable("engine restarts"))
        await turns()
        assert core.monitor.trouble == ""
        core.engine.feed.put_nowait(EngineEvent(kind=EventKind.EXITED, id=id, time_ns=START, exit_code=7))
        await core.store.exited(id)


@pytest.mark.usefixtures("hasty")
async def test_in_trouble_the_list_is_looked_at_again_and_again(core: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor_module, "FIRST_RELIST_SECONDS", 0.0)
    core.engine.errors["containers"] = Unavailable("the engine is away")
    async with core.monitor:
        while len(core.engine.called("containers")) < 4:
            await asyncio.sleep(0)
        assert core.monitor.trouble == "the engine is away"
        core.engine.errors.clear()
        while core.monitor.trouble:  # no event and no new stream is needed
            await asyncio.sleep(0)
        seen = len(core.engine.called("containers"))
        await turns(50)
        assert len(core.engine.called("containers")) == seen  # now every relist_seconds only


async def test_after_a_broken_stream_the_list_is_looked_at_when_the_new_one_is_open(
    core: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor_module, "RETRY_SECONDS", (0.0,))
    monkeypatch.setattr(monitor_module, "SETTLE_SECONDS", 0.03)
    monkeypatch.setattr(monitor_module, "FIRST_RELIST_SECONDS", 1000.0)
    async with core.monitor:
        core.engine.feed.put_nowait(Unavailable("engine restarts"))
        await turns(50)
        assert core.engine.called("containers") == []
        assert core.monitor.trouble == "engine restarts"
        while core.monitor.trouble:
            await asyncio.sleep(0.005)
        assert core.engine.called("containers") == [""]


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
