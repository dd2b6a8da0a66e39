"""Sandboxes: made whole or not at all, stopped step by step, removed without remains."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from criadapt.backends.base import EngineState
from criadapt.errors import (
    AlreadyExists,
    DeadlineExceeded,
    EngineError,
    InvalidArgument,
    SandboxNotFound,
    StartFailed,
    Unavailable,
    Unsupported,
)
from criadapt.model.container import ContainerState
from criadapt.model.linux import (
    IDMapping,
    LinuxContainerResources,
    LinuxSandboxSecurityContext,
    NamespaceOption,
    UserNamespace,
)
from criadapt.model.runtime import ContainerEventType as Event
from criadapt.model.sandbox import LinuxPodSandboxConfig, PodSandboxState
from criadapt.testing.asynchronous import turns
from criadapt.testing.factories import on_host_network, sandbox_config

READY, NOTREADY = PodSandboxState.READY, PodSandboxState.NOTREADY


# ---------------------------------------------------------------------------------------------- run


async def test_a_sandbox_is_ready_when_its_id_is_known(core: Any) -> None:
    id = await core.pod(hostname="web-0")
    status = core.store.sandbox(id).status()
    assert (status.state, status.network.ip, status.network.additional_ips[0].ip) == (READY, "10.0.0.1", "fd00::1")
    assert core.engine.rows[id].state is EngineState.RUNNING
    assert core.logs.is_dir()
    assert (core.state_dir / "pods").exists()
    assert core.seen() == [(Event.CREATED, id), (Event.STARTED, id)]


async def test_nobody_sees_a_sandbox_before_it_is_ready(core: Any) -> None:
    gate = core.network.hold("attach")
    task = asyncio.ensure_future(core.pod())
    await gate.reached.wait()
    assert list(core.store.sandboxes()) == []
    assert [record.state for record in core.store.journaled_sandboxes()] == [NOTREADY]  # but a crash is cleaned up
    gate.open()
    await task
    assert [record.state for record in core.store.journaled_sandboxes()] == [READY]


async def test_a_retry_joins_the_sandbox_being_made(core: Any) -> None:
    gate = core.network.hold("attach")
    tasks = [asyncio.ensure_future(core.pod()) for _ in range(3)]
    await gate.reached.wait()
    gate.open()
    assert len(set(await asyncio.gather(*tasks))) == 1
    assert len(core.engine.called("create")) == 1


async def test_a_retry_gets_the_sandbox_that_was_made(core: Any) -> None:
    assert await core.pod() == await core.pod()
    assert len(core.engine.called("create")) == 1


@pytest.mark.parametrize("change", [{"labels": {"a": "b"}}, {"hostname": "other"}])
async def test_another_config_under_the_same_name_is_refused(core: Any, change: dict[str, Any]) -> None:
    id = await core.pod()
    with pytest.raises(AlreadyExists, match=rf"is taken by sandbox '{id[:13]}'; remove that one first"):
        await core.pod(**change)


async def test_a_stopped_sandbox_still_holds_its_name(core: Any) -> None:
    id = await core.pod()
    await core.sandboxes.stop(id)
    with pytest.raises(AlreadyExists):
        await core.pod()
    await core.sandboxes.remove(id)
    assert await core.pod() != id


async def test_another_config_under_way_is_refused(core: Any) -> None:
    gate = core.network.hold("attach")
    task = asyncio.ensure_future(core.pod())
    await gate.reached.wait()
    with pytest.raises(AlreadyExists, match="being made by another call"):
        await core.pod(labels={"a": "b"})
    gate.open()
    await task


async def test_a_new_sandbox_is_not_one_that_is_there(core: Any) -> None:
    id = await core.pod()
    config = core.store.sandbox(id).config
    core.engine.calls.clear()
    with pytest.raises(AlreadyExists, match=rf"is taken by sandbox '{id[:13]}'; remove that one first"):
        await core.sandboxes.run(config, "", new=True)
    assert core.engine.calls == []
    assert core.store.sandbox(id).state is READY


@pytest.mark.parametrize("new", [True, False])
async def test_a_new_sandbox_is_not_one_that_is_being_made(core: Any, new: bool) -> None:
    gate = core.network.hold("attach")
    first = asyncio.ensure_future(core.sandboxes.run(sandbox_config(), "", new=not new))
    await gate.reached.wait()
    second = asyncio.ensure_future(core.sandboxes.run(sandbox_config(), "", new=new))
    await turns()
    gate.open()
    await asyncio.wait([first, second])
    assert first.exception() is None
    assert isinstance(second.exception(), AlreadyExists)


async def test_the_pause_image_is_pulled_when_it_is_missing(core: Any) -> None:
    core.engine.local = []
    await core.pod()
    assert core.engine.called("pull") == ["registry.k8s.io/pause:3.10"]


async def test_a_pod_on_the_hosts_network_needs_no_network_of_its_own(core: Any) -> None:
    id = await core.sandboxes.run(on_host_network(sandbox_config()), "")
    await core.sandboxes.stop(id)
    assert core.network.calls == []
    assert core.store.sandbox(id).status().network.ip == ""


async def test_what_cannot_be_run_has_no_side_effect(core: Any) -> None:
    one = (IDMapping(host_id=100000, length=65536),)
    options = NamespaceOption(userns_options=UserNamespace(uids=one, gids=one))
    userns = LinuxPodSandboxConfig(security_context=LinuxSandboxSecurityContext(namespace_options=options))
    for config, handler, error in (
        (None, "", InvalidArgument),
        (sandbox_config(""), "", InvalidArgument),
        (sandbox_config(), "kata", InvalidArgument),
        (sandbox_config(linux=userns), "", Unsupported),
    ):
        with pytest.raises(error):
            await core.sandboxes.run(config, handler)
    assert core.engine.calls == []


# ---------------------------------------------------------------------------------------------- rollback


@pytest.mark.parametrize(
    ("where", "step", "error"),
    [
        ("engine.errors", "create", Unavailable("away")),
        ("engine.lost", "create", Unavailable("connection reset")),
        ("engine.errors", "start", StartFailed("no /pause")),
        ("engine.lost", "start", Unavailable("connection reset")),
        ("network.errors", "attach", EngineError("no address left")),
        ("engine.errors", "images", Unavailable("away")),
    ],
)
async def test_a_failure_at_any_step_leaves_nothing_and_a_retry_succeeds(
    core: Any, where: str, step: str, error: Exception
) -> None:
    part, table = where.split(".")
    faults = getattr(getattr(core, part), table)
    faults[step] = error
    with pytest.raises(type(error)):
        await core.pod()
    assert core.nothing_left()
    assert core.seen() == []
    faults.clear()
    assert core.store.sandbox(await core.pod()).state is READY


@pytest.mark.parametrize("step", ["images", "create", "start", "attach"])
async def test_a_caller_who_hangs_up_at_any_step_leaves_nothing(core: Any, step: str) -> None:
    gate = (core.network if step == "attach" else core.engine).hold(step)
    task = asyncio.ensure_future(core.pod())
    await gate.reached.wait()
    task.cancel()
    await asyncio.wait([task])
    await core.sandboxes.close()
    assert core.nothing_left()


async def test_a_log_directory_that_cannot_be_made_leaves_nothing(core: Any) -> None:
    (core.state_dir / "file").touch()
    with pytest.raises(EngineError, match="log_directory"):
        await core.pod(log_directory=str(core.state_dir / "file" / "x"))
    assert core.nothing_left()


async def test_a_retry_waits_for_the_rollback(core: Any) -> None:
    attach, detach = core.network.hold("attach"), core.network.hold("detach")
    task = asyncio.ensure_future(core.pod())
    await attach.reached.wait()
    task.cancel()
    await detach.reached.wait()
    retry = asyncio.ensure_future(core.pod())
    await turns()
    assert len(core.engine.called("create")) == 1
    detach.open()
    assert core.store.sandbox(await retry).state is READY
    assert len(core.engine.rows) == 1


@pytest.mark.parametrize(("part", "step"), [("network", "detach"), ("engine", "remove")])
async def test_what_cannot_be_taken_back_stays_visible_until_it_is_removed(core: Any, part: str, step: str) -> None:
    core.network.errors["attach"] = EngineError("no address left")
    getattr(core, part).errors[step] = EngineError("stuck")
    with pytest.raises(EngineError, match="no address left"):
        await core.pod()
    (record,) = core.store.sandboxes()
    assert record.state is NOTREADY
    assert record.reason.startswith("rolled back in part: ")
    assert "stuck" in record.reason
    assert [row.id for row in core.store.journaled_sandboxes()] == [record.id]
    getattr(core, part).errors.clear()
    if step == "remove":
        await core.sandboxes.remove(record.id)
        assert core.nothing_left()


async def test_remains_without_an_infra_container_can_be_removed(core: Any) -> None:
    core.network.errors.update({"attach": EngineError("no address left"), "detach": EngineError("stuck")})
    with pytest.raises(EngineError):
        await core.pod()
    (record,) = core.store.sandboxes()
    core.network.errors.clear()
    await core.sandboxes.remove(record.id)
    assert core.nothing_left()


async def test_a_retry_does_not_run_beside_the_remains_of_the_first(core: Any) -> None:
    attach, detach = core.network.hold("attach"), core.network.hold("detach")
    core.network.errors["detach"] = EngineError("stuck")
    task = asyncio.ensure_future(core.pod())
    await attach.reached.wait()
    task.cancel()
    await detach.reached.wait()
    retry = asyncio.ensure_future(core.pod())
    await turns()
    detach.open()
    await asyncio.wait([retry])
    assert isinstance(retry.exception(), AlreadyExists)


async def test_an_infra_process_that_ends_while_the_pod_is_made_fails_it(core: Any) -> None:
    gate = core.network.hold("attach")
    task = asyncio.ensure_future(core.pod())
    await gate.reached.wait()
    (id,) = core.engine.rows
    core.engine.end(id, 3)
    await core.settled()
    gate.open()
    with pytest.raises(EngineError, match="ended at once with exit code 3"):
        await task
    assert core.nothing_left()


# ---------------------------------------------------------------------------------------------- end


async def test_a_sandbox_whose_infra_process_ends_is_not_ready_for_good(core: Any) -> None:
    id = await core.pod()
    core.seen()
    core.engine.end(id, 1)
    await core.settled()
    record = core.store.sandbox(id)
    assert (record.state, record.reason) == (NOTREADY, "the infra process ended with exit code 1")
    assert core.seen() == [(Event.STOPPED, id)]
    await core.sandboxes.lost(id, "again")
    assert core.store.sandbox(id) is record


async def test_stopping_kills_everything_and_releases_the_network(core: Any) -> None:
    id = await core.pod()
    ids = [await core.running(id, name) for name in ("a", "b")]
    created = await core.created(id, "c")
    await core.sandboxes.stop(id)
    await core.settled()
    record = core.store.sandbox(id)
    assert (record.state, record.network_up, record.ips) == (NOTREADY, False, ())
    assert [core.state(c) for c in ids] == [ContainerState.EXITED] * 2
    assert core.state(created) is ContainerState.CREATED
    assert core.engine.rows[id].state is EngineState.EXITED
    assert core.network.attached == set()


async def test_stopping_again_does_only_what_is_left_to_do(core: Any) -> None:
    id = await core.pod()
    core.network.errors["detach"] = EngineError("plugin is away")
    with pytest.raises(EngineError, match="plugin is away"):
        await core.sandboxes.stop(id)
    assert core.store.sandbox(id).state is NOTREADY
    stopped = core.store.sandbox(id).stopped_at
    core.network.errors.clear()
    for _ in range(2):
        await core.sandboxes.stop(id)
    assert [call for call, _ in core.network.calls] == ["attach", "detach", "detach"]
    assert core.store.sandbox(id).stopped_at == stopped


async def test_stopping_or_removing_what_is_not_there_succeeds(core: Any) -> None:
    await core.sandboxes.stop("unknown")
    await core.sandboxes.remove("unknown")
    assert core.engine.calls == []


async def test_stops_at_the_same_time_are_one(core: Any) -> None:
    id = await core.pod()
    core.engine.calls.clear()
    await asyncio.gather(*(core.sandboxes.stop(id) for _ in range(3)))
    assert core.engine.called("kill") == [id]


async def test_a_removed_sandbox_leaves_nothing_but_its_logs(core: Any) -> None:
    id = await core.pod()
    await core.running(id, "a")
    await core.created(id, "b")
    core.seen()
    await core.sandboxes.remove(id)
    await core.settled()
    assert core.nothing_left()
    assert core.logs.is_dir()
    assert core.seen()[-1] == (Event.DELETED, id)
    with pytest.raises(SandboxNotFound):
        core.store.sandbox(id)


async def test_removals_at_the_same_time_all_succeed(core: Any) -> None:
    id = await core.pod()
    await core.running(id)
    await asyncio.gather(*(core.sandboxes.remove(id) for _ in range(3)), core.sandboxes.stop(id))
    assert core.nothing_left()


async def test_a_removal_that_failed_can_be_tried_again(core: Any) -> None:
    id = await core.pod()
    core.network.errors["detach"] = EngineError("plugin is away")
    with pytest.raises(EngineError):
        await core.sandboxes.remove(id)
    assert core.store.has_sandbox(id)
    core.network.errors.clear()
    await core.sandboxes.remove(id)
    assert core.nothing_left()


async def test_a_removal_whose_caller_hangs_up_can_be_tried_again(core: Any) -> None:
    id = await core.pod()
    gate = core.network.hold("detach")
    task = asyncio.ensure_future(core.sandboxes.remove(id))
    await gate.reached.wait()
    task.cancel()
    await asyncio.wait([task])
    await core.sandboxes.remove(id)
    assert core.nothing_left()


@pytest.mark.parametrize("verb", ["stop", "remove"])
async def test_a_sandbox_whose_infra_container_is_gone_can_be_stopped_and_removed(core: Any, verb: str) -> None:
    id = await core.pod()
    core.engine.vanish(id)
    await core.settled()
    await getattr(core.sandboxes, verb)(id)


async def test_a_sandbox_is_not_ready_even_if_a_container_cannot_be_killed(core: Any) -> None:
    id = await core.pod()
    stuck, other = await core.running(id, "stuck"), await core.running(id, "other")
    core.engine.stubborn.add(stuck)
    core.seen()
    with pytest.raises(DeadlineExceeded, match="after SIGKILL"):
        await core.sandboxes.stop(id)
    assert core.store.sandbox(id).state is NOTREADY
    assert [core.state(c) for c in (stuck, other)] == [ContainerState.RUNNING, ContainerState.EXITED]
    assert (Event.STOPPED, id) in core.seen()
    assert core.network.attached == {id}  # what still runs may still talk


@pytest.mark.parametrize("verb", ["stop", "remove"])
async def test_a_stop_goes_on_when_the_stuck_container_ends(core: Any, verb: str) -> None:
    id = await core.pod()
    stuck = await core.running(id)
    core.engine.stubborn.add(stuck)
    for _ in range(2):
        with pytest.raises(DeadlineExceeded):
            await getattr(core.sandboxes, verb)(id)
    assert core.store.has_sandbox(id)
    assert core.engine.called("remove") == []
    stopped = core.store.sandbox(id).stopped_at
    core.engine.stubborn.clear()
    await core.sandboxes.stop(id)
    record = core.store.sandbox(id)
    assert (record.stopped_at, record.network_up) == (stopped, False)
    assert core.state(stuck) is ContainerState.EXITED
    await core.sandboxes.remove(id)
    assert core.nothing_left()


# ---------------------------------------------------------------------------------------------- update


async def test_the_pods_resources_are_remembered_each_for_itself(core: Any) -> None:
    id = await core.pod()
    one, two = LinuxContainerResources(cpu_shares=2), LinuxContainerResources(cpu_shares=5)
    core.sandboxes.update_resources(id, one, None)
    core.sandboxes.update_resources(id, None, two)
    record = core.store.sandbox(id)
    assert (record.overhead, record.resources) == (one, two)
    with pytest.raises(InvalidArgument, match=r"resources\.cpu_shares"):
        core.sandboxes.update_resources(id, None, LinuxContainerResources(cpu_shares=-1))
    with pytest.raises(SandboxNotFound):
        core.sandboxes.update_resources("unknown", one, two)
