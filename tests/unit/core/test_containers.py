"""Containers: their life, and everything that can come between two of its steps."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from criadapt.backends.base import Chunk, EngineEvent, EngineState, EventKind
from criadapt.core.containers import merge
from criadapt.errors import (
    AlreadyExists,
    ContainerNotFound,
    DeadlineExceeded,
    EngineError,
    FailedPrecondition,
    ImageNotFound,
    ImageVolumeMountFailed,
    InvalidArgument,
    ResourceExhausted,
    SandboxNotFound,
    StartFailed,
    Unavailable,
)
from criadapt.model.container import ContainerState, LinuxContainerConfig, Mount
from criadapt.model.image import ImageSpec
from criadapt.model.linux import (
    LinuxContainerResources,
    LinuxContainerSecurityContext,
    NamespaceMode,
    NamespaceOption,
)
from criadapt.model.runtime import ContainerEventType as Event
from criadapt.model.signals import Signal
from criadapt.testing.asynchronous import turns
from criadapt.testing.factories import SECOND, START, container_config

CREATED, RUNNING, EXITED = ContainerState.CREATED, ContainerState.RUNNING, ContainerState.EXITED


def pid(mode: NamespaceMode, target_id: str = "") -> dict[str, Any]:
    options = NamespaceOption(pid=mode, target_id=target_id)
    return {"linux": LinuxContainerConfig(security_context=LinuxContainerSecurityContext(namespace_options=options))}


OWN_PID = pid(NamespaceMode.CONTAINER)


# ---------------------------------------------------------------------------------------------- create


async def test_a_created_container_is_listed_and_told(core: Any) -> None:
    pod = await core.pod()
    core.seen()
    id = await core.created(pod)
    record = core.store.container(id)
    assert (record.state, record.sandbox_id, record.log_path) == (CREATED, pod, str(core.logs / "app.log"))
    assert core.engine.specs[id].infra == pod
    assert core.seen() == [(Event.CREATED, id)]


async def test_a_retry_joins_the_container_being_made(core: Any) -> None:
    pod = await core.pod()
    gate = core.engine.hold("create")
    tasks = [asyncio.ensure_future(core.created(pod)) for _ in range(2)]
    await gate.reached.wait()
    gate.open()
    first, second = await asyncio.gather(*tasks)
    assert first == second
    assert len(core.engine.called("create")) == 2  # the infra container and this one


async def test_a_name_is_taken_by_a_container_of_the_pod(core: Any) -> None:
    pod = await core.pod()
    id = await core.created(pod)
    with pytest.raises(AlreadyExists, match=rf"taken in its pod by container '{id[:13]}'; remove that one first"):
        await core.created(pod)
    await core.containers.remove(id)
    assert await core.created(pod) != id


async def test_a_name_is_taken_by_another_call_under_way(core: Any) -> None:
    pod = await core.pod()
    gate = core.engine.hold("create")
    task = asyncio.ensure_future(core.created(pod))
    await gate.reached.wait()
    with pytest.raises(AlreadyExists, match="being made by another call"):
        await core.created(pod, command=("other",))
    gate.open()
    await task


async def test_names_are_free_in_other_pods_and_attempts(core: Any) -> None:
    pods = [await core.pod(), await core.pod("other")]
    ids = {await core.created(pods[0]), await core.created(pods[1])}
    ids.add(await core.containers.create(pods[0], container_config(attempt=1)))
    assert len(ids) == 3


async def test_a_pod_that_is_not_ready_takes_no_container(core: Any) -> None:
    pod = await core.pod()
    await core.sandboxes.stop(pod)
    with pytest.raises(FailedPrecondition, match=r"is not ready; run a new one"):
        await core.created(pod)
    with pytest.raises(SandboxNotFound):
        await core.created("nope")


@pytest.mark.parametrize("verb", ["stop", "remove"])
async def test_a_pod_stopped_meanwhile_gets_no_container(core: Any, verb: str) -> None:
    pod = await core.pod()
    gate = core.engine.hold("create")
    task = asyncio.ensure_future(core.created(pod))
    await gate.reached.wait()
    await getattr(core.sandboxes, verb)(pod)
    gate.open()
    with pytest.raises((FailedPrecondition, SandboxNotFound)):
        await task
    assert list(core.store.containers()) == []
    assert set(core.engine.rows) <= {pod}


async def test_a_caller_who_hangs_up_leaves_nothing(core: Any) -> None:
    pod = await core.pod()
    gate = core.engine.hold("create")
    task = asyncio.ensure_future(core.created(pod))
    await gate.reached.wait()
    task.cancel()
    await asyncio.wait([task])
    assert await core.created(pod) in core.engine.rows  # a retry waits for the rollback
    assert len(core.engine.rows) == 2


async def test_what_the_engine_made_although_it_failed_is_removed(core: Any) -> None:
    pod = await core.pod()
    core.engine.lost["create"] = Unavailable("connection reset")
    with pytest.raises(Unavailable):
        await core.created(pod)
    assert list(core.engine.rows) == [pod]


async def test_remains_nobody_knows_give_way(core: Any) -> None:
    pod = await core.pod()
    core.engine.lost["create"] = Unavailable("connection reset")
    core.engine.errors["containers"] = Unavailable("still away")
    with pytest.raises(Unavailable):
        await core.created(pod)
    assert len(core.engine.rows) == 2
    core.engine.lost.clear()
    core.engine.errors.clear()
    id = await core.created(pod)
    assert set(core.engine.rows) == {pod, id}


async def test_images_must_be_there(core: Any) -> None:
    pod = await core.pod()
    with pytest.raises(ImageNotFound):
        await core.created(pod, image="nope")
    volume = Mount(container_path="/v", image=ImageSpec(image="nope"), readonly=True)
    with pytest.raises(ImageVolumeMountFailed, match=r"^ImageVolumeMountFailed: mount '/v': image 'nope' not found"):
        await core.created(pod, mounts=(volume,))
    assert list(core.engine.rows) == [pod]


async def test_a_pid_target_must_run_in_the_same_pod(core: Any) -> None:
    pod, other = await core.pod(), await core.pod("other")
    target, elsewhere = await core.created(pod), await core.running(other)
    for id, error in ((target, FailedPrecondition), (elsewhere, InvalidArgument), ("nope", ContainerNotFound)):
        with pytest.raises(error):
            await core.created(pod, "debug", **pid(NamespaceMode.TARGET, id))
    await core.containers.start(target)
    debug = await core.created(pod, "debug", **pid(NamespaceMode.TARGET, target))
    await core.containers.stop(target, 0)
    with pytest.raises(FailedPrecondition, match="target container"):
        await core.containers.start(debug)


async def test_the_engine_learns_the_full_id_of_a_pid_target(core: Any) -> None:
    pod = await core.pod()
    target = await core.running(pod)
    debug = await core.created(pod, "debug", **pid(NamespaceMode.TARGET, target[:13]))
    assert core.engine.specs[debug].namespaces.target_id == target


# ---------------------------------------------------------------------------------------------- start


async def test_a_started_container_runs_and_has_its_log(core: Any) -> None:
    id = await core.created()
    core.seen()
    await core.containers.start(id)
    assert core.state(id) is RUNNING
    assert (core.logs / "app.log").read_bytes() == b""
    assert core.seen() == [(Event.STARTED, id)]


@pytest.mark.parametrize("state", [RUNNING, EXITED])
async def test_only_a_created_container_can_be_started(core: Any, state: ContainerState) -> None:
    id = await core.running()
    if state is EXITED:
        await core.containers.stop(id, 0)
    with pytest.raises(FailedPrecondition, match=rf"is {state.name.lower()}; only a created container can be started"):
        await core.containers.start(id)


async def test_a_container_is_started_by_one_call_only(core: Any) -> None:
    id = await core.created()
    gate = core.engine.hold("start")
    task = asyncio.ensure_future(core.containers.start(id))
    await gate.reached.wait()
    with pytest.raises(FailedPrecondition, match="is being started already"):
        await core.containers.start(id)
    with pytest.raises(FailedPrecondition, match="is being started; stop it first"):
        await core.containers.remove(id)
    gate.open()
    await task
    assert core.state(id) is RUNNING


async def test_a_pod_that_was_stopped_starts_nothing(core: Any) -> None:
    pod = await core.pod()
    id = await core.created(pod)
    await core.sandboxes.stop(pod)
    with pytest.raises(FailedPrecondition, match="is not ready"):
        await core.containers.start(id)
    assert core.engine.rows[id].state is EngineState.CREATED


async def test_a_program_that_cannot_run_leaves_an_exited_container(core: Any) -> None:
    id = await core.created()
    core.seen()
    core.engine.errors["start"] = StartFailed("exec: no such file", exit_code=127)
    with pytest.raises(StartFailed, match="no such file"):
        await core.containers.start(id)
    status = core.store.container(id).status()
    assert (status.state, status.exit_code, status.reason) == (EXITED, 127, "StartError")
    assert core.seen() == [(Event.STOPPED, id)]
    assert not core.pumps.is_running(id)


async def test_a_start_the_engine_refused_can_be_tried_again(core: Any) -> None:
    id = await core.created()
    core.engine.errors["start"] = Unavailable("away")
    with pytest.raises(Unavailable):
        await core.containers.start(id)
    assert core.state(id) is CREATED
    assert not core.pumps.is_running(id)
    core.engine.errors.clear()
    await core.containers.start(id)
    assert core.state(id) is RUNNING


async def test_a_start_whose_answer_was_lost_is_believed_and_its_retry_succeeds(core: Any) -> None:
    id = await core.created()
    core.engine.lost["start"] = Unavailable("connection reset")
    with pytest.raises(Unavailable):
        await core.containers.start(id)
    assert core.state(id) is RUNNING
    await core.containers.start(id)
    with pytest.raises(FailedPrecondition):
        await core.containers.start(id)
    assert core.engine.called("start").count(id) == 1


async def test_a_cancelled_start_leaves_what_the_engine_says(core: Any) -> None:
    id = await core.created()
    gate = core.engine.hold("start")
    task = asyncio.ensure_future(core.containers.start(id))
    await gate.reached.wait()
    core.engine.rows[id] = replace(core.engine.rows[id], state=EngineState.RUNNING)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert core.state(id) is RUNNING
    await core.containers.start(id)


async def test_a_log_that_cannot_be_opened_is_said_before_anything_runs(core: Any) -> None:
    core.logs.mkdir()
    (core.logs / "app.log").mkdir()
    id = await core.created()
    with pytest.raises(EngineError, match=r"log file .*app\.log cannot be opened: Is a directory"):
        await core.containers.start(id)
    assert core.engine.rows[id].state is EngineState.CREATED


async def test_a_program_that_ends_at_once_is_exited_when_start_returns(core: Any, monkeypatch: Any) -> None:
    id = await core.created()
    core.seen()
    start = core.engine.start

    async def start_and_end(id: str) -> None:
        await start(id)
        core.engine.end(id, 3)
        await turns()  # the event is there before the answer

    monkeypatch.setattr(core.engine, "start", start_and_end)
    await core.containers.start(id)
    assert (core.state(id), core.store.container(id).exit_code) == (EXITED, 3)
    assert core.seen() == [(Event.STARTED, id), (Event.STOPPED, id)]


async def test_limits_changed_while_starting_are_kept(core: Any) -> None:
    id = await core.created()
    gate = core.engine.hold("start")
    task = asyncio.ensure_future(core.containers.start(id))
    await gate.reached.wait()
    await core.containers.update(id, LinuxContainerResources(cpu_shares=77))
    gate.open()
    await task
    assert core.store.container(id).resources.cpu_shares == 77


async def test_limits_changed_while_a_start_fails_are_kept(core: Any) -> None:
    id = await core.created()
    core.engine.errors["start"] = StartFailed("no such file")
    gate = core.engine.hold("start")
    task = asyncio.ensure_future(core.containers.start(id))
    await gate.reached.wait()
    await core.containers.update(id, LinuxContainerResources(cpu_shares=77))
    gate.open()
    await asyncio.wait([task])
    assert isinstance(task.exception(), StartFailed)
    assert core.store.container(id).resources.cpu_shares == 77


async def start_while_the_pod_is_stopped(core: Any, pod: str, id: str) -> asyncio.Task[None]:
    gate = core.engine.hold("start")
    task = asyncio.ensure_future(core.containers.start(id))
    await gate.reached.wait()
    await core.sandboxes.stop(pod)
    gate.open()
    await asyncio.wait([task])
    await core.settled()
    return task


async def test_a_container_being_started_does_not_outlive_its_pod(core: Any) -> None:
    pod = await core.pod()
    id = await core.created(pod)
    core.seen()
    task = await start_while_the_pod_is_stopped(core, pod, id)
    with pytest.raises(FailedPrecondition, match="is not ready"):
        task.result()
    assert core.engine.rows[id].state is EngineState.EXITED
    assert (core.state(id), core.store.container(id).exit_code) == (EXITED, 137)
    assert core.seen() == [(Event.STOPPED, pod), (Event.STARTED, id), (Event.STOPPED, id)]
    assert not core.pumps.is_running(id)
    await core.sandboxes.remove(pod)
    assert core.nothing_left()


async def test_a_start_whose_answer_was_lost_does_not_outlive_its_pod_either(core: Any) -> None:
    pod = await core.pod()
    id = await core.created(pod)
    core.engine.lost["start"] = Unavailable("connection reset")
    task = await start_while_the_pod_is_stopped(core, pod, id)
    assert isinstance(task.exception(), (Unavailable, FailedPrecondition))
    assert core.engine.rows[id].state is EngineState.EXITED


async def test_a_second_try_has_one_pump(core: Any, monkeypatch: Any) -> None:
    open_streams: set[object] = set()

    async def output(id: str, since_ns: int) -> Any:
        open_streams.add(stream := object())
        try:
            await asyncio.get_running_loop().create_future()
            yield
        finally:
            open_streams.discard(stream)

    monkeypatch.setattr(core.engine, "output", output)
    id = await core.created()
    core.engine.errors.update({"start": Unavailable("away"), "inspect": Unavailable("away")})
    with pytest.raises(Unavailable):
        await core.containers.start(id)
    core.engine.errors.clear()
    await core.containers.start(id)
    await turns()
    assert len(open_streams) == 1


# ---------------------------------------------------------------------------------------------- end


async def test_an_exit_is_told_with_all_its_data(core: Any) -> None:
    id = await core.running()
    core.seen()
    core.engine.end(id, 137, time_ns=START + 60 * SECOND, oom_killed=True)
    await core.settled()
    status = core.store.container(id).status()
    assert (status.state, status.exit_code, status.reason) == (EXITED, 137, "OOMKilled")
    assert status.finished_at == START + 60 * SECOND
    assert core.seen() == [(Event.STOPPED, id)]


async def test_the_log_is_complete_before_anybody_sees_the_exit(core: Any) -> None:
    id = await core.created()
    core.engine.chunks[id] = [Chunk("stdout", b"line\nlast without newline", START)]
    logs: list[bytes] = []
    core.store.listeners.append(
        lambda record, dropped: (
            logs.append((core.logs / "app.log").read_bytes()) if record.id == id and record.state is EXITED else None
        )
    )
    await core.containers.start(id)
    core.engine.end(id)
    await core.settled()
    (log,) = logs
    assert b"stdout P last without newline\n" in log
    assert log.endswith(b"stdout F \n")


async def test_an_output_that_does_not_end_does_not_hold_up_the_exit(core: Any, monkeypatch: Any) -> None:
    async def endless(id: str, since_ns: int) -> Any:
        yield Chunk("stdout", b"x\n", START)
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(core.engine, "output", endless)
    id = await core.running()
    core.engine.end(id)
    await core.settled()
    assert core.state(id) is EXITED
    assert not core.pumps.is_running(id)


async def test_a_last_line_is_not_lost_where_the_output_does_not_end(core: Any, monkeypatch: Any) -> None:
    async def endless(id: str, since_ns: int) -> Any:
        yield Chunk("stdout", b"panic: no newline", START)
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(core.engine, "output", endless)
    id = await core.running()
    core.engine.end(id)
    await core.settled()
    assert b"panic" in (core.logs / "app.log").read_bytes()


@pytest.mark.parametrize(("fields", "kills"), [({}, 1), (OWN_PID, 0), (pid(NamespaceMode.NODE), 1)])
async def test_in_a_shared_pid_namespace_the_rest_is_killed(core: Any, fields: dict[str, Any], kills: int) -> None:
    id = await core.running(**fields)
    core.engine.end(id)
    await core.settled()
    assert core.engine.called("kill") == [id] * kills


async def test_a_repeated_exit_changes_nothing(core: Any) -> None:
    id = await core.running()
    core.engine.end(id, 1)
    await core.settled()
    before = core.store.container(id)
    core.seen()
    await core.containers.exits.told(EngineEvent(kind=EventKind.EXITED, id=id, time_ns=START, exit_code=9))
    assert core.store.container(id) is before
    assert core.seen() == []


async def test_a_container_that_vanished_without_an_exit_is_lost(core: Any) -> None:
    id = await core.running()
    await core.containers.exits.lost(id, "gone")
    status = core.store.container(id).status()
    assert (status.state, status.exit_code, status.reason, status.message) == (EXITED, 255, "Unknown", "gone")
    await core.containers.exits.lost(id, "again")
    await core.containers.exits.lost("unknown", "gone")
    assert core.store.container(id).message == "gone"


@pytest.mark.parametrize("fields", [{}, OWN_PID], ids=["shared pid", "own pid"])
async def test_the_exit_code_of_a_container_removed_by_somebody_is_kept(core: Any, fields: dict[str, Any]) -> None:
    id = await core.running(**fields)
    core.seen()
    core.engine.vanish(id)
    await core.settled()
    assert core.store.container(id).exit_code == 137
    assert core.seen() == [(Event.STOPPED, id)]


# ---------------------------------------------------------------------------------------------- stop


async def test_stopping_sends_the_stop_signal_and_waits_for_the_exit(core: Any) -> None:
    id = await core.running(stop_signal=Signal.SIGQUIT, **OWN_PID)
    await core.containers.stop(id, 30)
    assert core.engine.signals == [(id, Signal.SIGQUIT)]
    assert (core.state(id), core.store.container(id).exit_code) == (EXITED, 131)


@pytest.mark.parametrize("grace", [0, -1])
async def test_without_grace_it_is_killed_at_once(core: Any, grace: int) -> None:
    id = await core.running(**OWN_PID)
    await core.containers.stop(id, grace)
    assert core.engine.signals == [(id, Signal.SIGKILL)]
    assert core.state(id) is EXITED


async def test_after_the_grace_it_is_killed(core: Any) -> None:
    id = await core.running(**OWN_PID)
    core.engine.deaf.add(id)
    await core.containers.stop(id, 0.01)
    assert core.engine.signals == [(id, Signal.SIGTERM), (id, Signal.SIGKILL)]
    assert core.state(id) is EXITED


async def test_a_second_call_shortens_the_wait_of_the_first(core: Any) -> None:
    id = await core.running(**OWN_PID)
    core.engine.deaf.add(id)
    patient = asyncio.ensure_future(core.containers.stop(id, 1000))
    await turns()
    await core.containers.stop(id, 0.01)
    await patient
    assert core.engine.signals == [(id, Signal.SIGTERM), (id, Signal.SIGKILL)]  # the stop signal once


async def test_a_stop_signal_that_failed_is_sent_again(core: Any) -> None:
    id = await core.running(**OWN_PID)
    core.engine.errors["kill"] = Unavailable("away")
    with pytest.raises(Unavailable):
        await core.containers.stop(id, 30)
    core.engine.errors.clear()
    await core.containers.stop(id, 30)
    assert core.engine.signals == [(id, Signal.SIGTERM)]


async def test_who_hangs_up_while_stopping_stops_nothing_but_the_waiting(core: Any) -> None:
    id = await core.running(**OWN_PID)
    core.engine.deaf.add(id)
    task = asyncio.ensure_future(core.containers.stop(id, 1000))
    await turns()
    task.cancel()
    await asyncio.wait([task])
    assert core.state(id) is RUNNING
    await core.containers.stop(id, 0)
    assert core.state(id) is EXITED


@pytest.mark.parametrize("state", [CREATED, EXITED, None])
async def test_stopping_what_does_not_run_succeeds(core: Any, state: ContainerState | None) -> None:
    id = "unknown"
    if state is not None:
        id = await core.created()
    if state is EXITED:
        await core.containers.start(id)
        await core.containers.stop(id, 0)
    core.engine.calls.clear()
    await core.containers.stop(id, 0)
    assert core.engine.calls == []


async def test_an_exit_event_that_never_came_is_looked_up(core: Any) -> None:
    id = await core.running()
    core.engine.listener = lambda event: None
    await core.containers.stop(id, 0)
    assert (core.state(id), core.store.container(id).exit_code) == (EXITED, 137)


async def test_what_survives_sigkill_is_said(core: Any) -> None:
    id = await core.running()
    core.engine.stubborn.add(id)
    with pytest.raises(DeadlineExceeded, match=r"does not end .* after SIGKILL"):
        await core.containers.stop(id, 0)
    assert core.state(id) is RUNNING


@pytest.mark.parametrize("verb", ["stop", "remove"])
async def test_what_somebody_removed_can_be_stopped_and_removed(core: Any, verb: str) -> None:
    id = await core.running()
    core.engine.listener = lambda event: None  # the event was lost
    core.engine.vanish(id)
    await (core.containers.stop(id, 0) if verb == "stop" else core.containers.remove(id))
    found = core.store.find_container(id)
    assert found is None or found.state is EXITED


async def test_all_containers_of_a_pod_are_killed_at_once(core: Any) -> None:
    pod = await core.pod()
    ids = [await core.running(pod, name, **OWN_PID) for name in ("a", "b", "c")]
    gate = core.engine.hold("kill")  # the first kill hangs, the others go on
    task = asyncio.ensure_future(core.containers.stop_all(pod))
    await gate.reached.wait()
    await turns()
    assert len(core.engine.signals) == 2
    gate.open()
    await task
    assert [core.state(id) for id in ids] == [EXITED] * 3


async def test_a_failure_to_kill_one_of_several_is_an_error_of_ours(core: Any) -> None:
    pod = await core.pod()
    for name in ("a", "b"):
        await core.running(pod, name)
    core.engine.errors["kill"] = Unavailable("away")
    with pytest.raises(Unavailable):
        await core.containers.stop_all(pod)


async def test_one_that_cannot_be_killed_does_not_keep_the_others(core: Any, monkeypatch: Any) -> None:
    pod = await core.pod()
    bad, good = [await core.running(pod, name) for name in ("bad", "good")]
    kill = core.engine.kill

    async def fails_for_one(id: str, signal: Signal) -> None:
        if id == bad:
            raise EngineError("stuck")
        await turns()
        await kill(id, signal)

    monkeypatch.setattr(core.engine, "kill", fails_for_one)
    with pytest.raises((EngineError, ExceptionGroup)):
        await core.containers.stop_all(pod)
    assert core.state(good) is EXITED


# ---------------------------------------------------------------------------------------------- a full disk


def fill_the_disk(core: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*_: object) -> None:
        raise ResourceExhausted("journal.sqlite cannot be written: database or disk is full")

    monkeypatch.setattr(core.journal, "put", no_space)


async def test_an_exit_is_told_although_it_cannot_be_journaled(
    core: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    id = await core.running()
    core.seen()
    fill_the_disk(core, monkeypatch)
    core.engine.end(id, 3)
    await core.settled()
    assert (core.state(id), core.store.container(id).exit_code) == (EXITED, 3)
    assert core.seen() == [(Event.STOPPED, id)]
    assert "exit is not journaled" in caplog.text
    assert [record.state for record in core.store.journaled_containers()] == [RUNNING]


async def test_a_start_that_cannot_be_journaled_does_not_outlive_its_pod(
    core: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = await core.pod()
    id = await core.created(pod)
    with monkeypatch.context() as full:
        fill_the_disk(core, full)
        with pytest.raises(ResourceExhausted):
            await core.containers.start(id)
    await core.sandboxes.stop(pod)
    assert core.engine.rows[id].state is not EngineState.RUNNING


@pytest.mark.parametrize("end", ["exit", "remove"])
async def test_nothing_is_remembered_of_a_container_that_ended(core: Any, end: str) -> None:
    id = await core.created()
    core.engine.lost["start"] = Unavailable("connection reset")
    with pytest.raises(Unavailable):
        await core.containers.start(id)
    core.engine.deaf.add(id)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await core.containers.stop(id, 1000)
    await (core.containers.stop(id, 0) if end == "exit" else core.containers.remove(id))
    await core.settled()
    notes = (core.containers._signalled, core.containers._unanswered, core.containers._doubtful)
    assert notes == (set(), set(), set())


# ---------------------------------------------------------------------------------------------- remove


@pytest.mark.parametrize("state", [CREATED, RUNNING, EXITED])
async def test_a_removed_container_is_nowhere_and_its_log_stays(core: Any, state: ContainerState) -> None:
    pod = await core.pod()
    id = await (core.created(pod) if state is CREATED else core.running(pod))
    if state is EXITED:
        await core.containers.stop(id, 0)
    core.seen()
    await core.containers.remove(id)
    await core.settled()
    assert core.store.find_container(id) is None
    assert list(core.engine.rows) == [pod]
    assert list(core.journal.load("container")) == []
    assert core.seen()[-1] == (Event.DELETED, id)
    assert (core.logs / "app.log").exists() is (state is not CREATED)


async def test_removing_what_is_not_there_succeeds(core: Any) -> None:
    await core.containers.remove("unknown")
    assert core.engine.calls == []


async def test_removals_at_the_same_time_both_succeed(core: Any) -> None:
    id = await core.running()
    await asyncio.gather(*(core.containers.remove(id) for _ in range(3)))
    assert core.engine.called("remove") == [id]


async def test_a_removal_the_engine_refused_can_be_tried_again(core: Any) -> None:
    id = await core.created()
    core.engine.errors["remove"] = Unavailable("away")
    with pytest.raises(Unavailable):
        await core.containers.remove(id)
    assert core.store.has_container(id)
    core.engine.errors.clear()
    await core.containers.remove(id)
    assert not core.store.has_container(id)


async def test_what_is_being_removed_is_not_started(core: Any) -> None:
    id = await core.created()
    gate = core.engine.hold("remove")
    task = asyncio.ensure_future(core.containers.remove(id))
    await gate.reached.wait()
    starting = asyncio.ensure_future(core.containers.start(id))
    await turns()
    gate.open()
    await asyncio.wait([task, starting])
    starting.exception()
    assert core.engine.called("start").count(id) == 0


# ---------------------------------------------------------------------------------------------- update

LIMITS = LinuxContainerResources


def limited(**limits: Any) -> dict[str, Any]:
    return {"linux": LinuxContainerConfig(resources=LIMITS(**limits))}


async def test_only_what_is_set_changes(core: Any) -> None:
    id = await core.created(**limited(cpu_shares=5, cpuset_cpus="0-1"))
    await core.containers.update(id, LIMITS(cpu_shares=7))
    resources = core.store.container(id).status().resources.linux
    assert (resources.cpu_shares, resources.cpuset_cpus) == (7, "0-1")
    assert core.engine.updates == [LIMITS(cpu_shares=7)]


async def test_an_update_the_engine_refused_changes_nothing(core: Any) -> None:
    id = await core.created(**limited(cpu_shares=5))
    core.engine.errors["update"] = EngineError("no")
    with pytest.raises(EngineError):
        await core.containers.update(id, LIMITS(cpu_shares=7))
    assert core.store.container(id).resources.cpu_shares == 5


async def test_an_exited_containers_record_is_updated_without_the_engine(core: Any) -> None:
    id = await core.running()
    await core.containers.stop(id, 0)
    await core.containers.update(id, LIMITS(cpu_shares=7))
    assert core.store.container(id).resources.cpu_shares == 7
    assert core.engine.updates == []


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (None, "linux is missing"),
        (LIMITS(cpu_shares=-1), "linux.cpu_shares"),
        (LIMITS(memory_swap_limit_in_bytes=10), "linux.memory_swap_limit_in_bytes"),
    ],
)
async def test_a_bad_update_is_refused_before_the_engine_is_asked(core: Any, changes: Any, text: str) -> None:
    id = await core.created(**limited(memory_limit_in_bytes=100))
    with pytest.raises(InvalidArgument, match=text):
        await core.containers.update(id, changes)
    assert core.engine.updates == []
    with pytest.raises(ContainerNotFound):
        await core.containers.update("unknown", LIMITS(cpu_shares=1))


async def test_the_engine_is_told_of_the_swap_limit_that_follows(core: Any) -> None:
    id = await core.created(**limited(memory_limit_in_bytes=100))
    await core.containers.update(id, LIMITS(memory_limit_in_bytes=200))
    assert core.store.container(id).resources.memory_swap_limit_in_bytes == 200
    assert core.engine.updates[0].memory_swap_limit_in_bytes == 200


@pytest.mark.parametrize(
    ("limits", "changes", "expected"),
    [
        (LIMITS(), LIMITS(), LIMITS()),
        (LIMITS(cpu_quota=5), LIMITS(cpu_quota=-1), LIMITS(cpu_quota=-1)),
        (LIMITS(unified={"a": "1", "b": "2"}), LIMITS(unified={"b": "3"}), LIMITS(unified={"a": "1", "b": "3"})),
        (LIMITS(cpuset_cpus="0"), LIMITS(cpuset_mems="1"), LIMITS(cpuset_cpus="0", cpuset_mems="1")),
        (
            LIMITS(memory_limit_in_bytes=1, memory_swap_limit_in_bytes=1),
            LIMITS(memory_limit_in_bytes=2),
            LIMITS(memory_limit_in_bytes=2, memory_swap_limit_in_bytes=2),
        ),
        (
            LIMITS(memory_limit_in_bytes=1, memory_swap_limit_in_bytes=5),
            LIMITS(memory_limit_in_bytes=2),
            LIMITS(memory_limit_in_bytes=2, memory_swap_limit_in_bytes=5),
        ),
        (
            LIMITS(memory_limit_in_bytes=1, memory_swap_limit_in_bytes=5),
            LIMITS(memory_limit_in_bytes=9),
            LIMITS(memory_limit_in_bytes=9, memory_swap_limit_in_bytes=9),
        ),
        (
            LIMITS(memory_limit_in_bytes=1, memory_swap_limit_in_bytes=-1),
            LIMITS(memory_limit_in_bytes=9),
            LIMITS(memory_limit_in_bytes=9, memory_swap_limit_in_bytes=-1),
        ),
        (
            LIMITS(),
            LIMITS(memory_limit_in_bytes=9),
            LIMITS(memory_limit_in_bytes=9, memory_swap_limit_in_bytes=9),
        ),
        (
            LIMITS(memory_limit_in_bytes=1, memory_swap_limit_in_bytes=1),
            LIMITS(memory_limit_in_bytes=2, memory_swap_limit_in_bytes=3),
            LIMITS(memory_limit_in_bytes=2, memory_swap_limit_in_bytes=3),
        ),
    ],
)
def test_limits_and_changes_become_one(
    limits: LinuxContainerResources, changes: LinuxContainerResources, expected: LinuxContainerResources
) -> None:
    assert merge(limits, changes) == expected


# ---------------------------------------------------------------------------------------------- log


async def test_a_reopened_log_goes_on_in_a_new_file(core: Any) -> None:
    id = await core.running()
    (core.logs / "app.log").rename(core.logs / "app.log.1")
    core.containers.reopen_log(id)
    assert (core.logs / "app.log").exists()


async def test_only_a_running_containers_log_is_reopened(core: Any) -> None:
    id = await core.created()
    with pytest.raises(FailedPrecondition, match="does not run"):
        core.containers.reopen_log(id)
    with pytest.raises(ContainerNotFound):
        core.containers.reopen_log("unknown")
    assert not (core.logs / "app.log").exists()


async def test_a_container_without_a_log_has_none_to_reopen(core: Any) -> None:
    id = await core.running(log_path="")
    with pytest.raises(FailedPrecondition, match="keeps no log"):
        core.containers.reopen_log(id)
    assert not (core.logs / "app.log").exists()
