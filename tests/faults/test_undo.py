"""When taking back fails too: what remains is visible as NOTREADY, holds its name, and can be ended."""

import asyncio

import grpc
import grpc.aio
import pytest

from criadapt.config import FaultRule
from criadapt.cri.v1 import api_pb2 as pb
from criadapt.testing.inprocess import InProcess, refused

FAILURES = (grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE)


def broken(*calls: str, error: str = "EngineError") -> list[FaultRule]:
    return [FaultRule(call=call, error=error) for call in calls]


@pytest.mark.parametrize("first", ["start", "inspect"])
async def test_a_sandbox_that_cannot_be_taken_back_stays_visible_until_it_can(server: InProcess, first: str) -> None:
    empty = server.traces()
    server.backend.set_rules(broken(first, "remove"))
    with refused(*FAILURES):
        await server.run_pod()
    (row,) = (await server.rpc.ListPodSandbox()).items
    assert row.state == pb.SANDBOX_NOTREADY
    assert row.metadata.name == "web"
    with refused(grpc.StatusCode.ALREADY_EXISTS, saying=row.id[:13]):
        await server.run_pod()
    await server.rpc.StopPodSandbox(pod_sandbox_id=row.id)
    with refused(*FAILURES):
        await server.rpc.RemovePodSandbox(pod_sandbox_id=row.id)
    server.backend.clear()
    await server.rpc.RemovePodSandbox(pod_sandbox_id=row.id)
    await server.leaves(empty)
    assert await server.run_pod()


async def test_remains_survive_a_crash(server: InProcess) -> None:
    empty = server.traces()
    server.backend.set_rules(broken("inspect", "remove"))
    with refused(*FAILURES):
        await server.run_pod()
    await server.crash()
    (row,) = (await server.rpc.ListPodSandbox()).items
    assert row.state == pb.SANDBOX_NOTREADY
    await server.rpc.StopPodSandbox(pod_sandbox_id=row.id)
    await server.rpc.RemovePodSandbox(pod_sandbox_id=row.id)
    await server.leaves(empty)


async def test_a_discard_that_fails_after_a_crash_stays_visible(server: InProcess) -> None:
    empty = server.traces()
    gate = server.backend.hold("inspect")
    running = asyncio.ensure_future(server.run_pod())
    await asyncio.wait_for(gate.reached.wait(), 5)
    await server.crash(rules=broken("remove"))
    with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)):
        await running
    (row,) = (await server.rpc.ListPodSandbox()).items
    assert row.state == pb.SANDBOX_NOTREADY
    server.backend.clear()
    await server.rpc.RemovePodSandbox(pod_sandbox_id=row.id)
    await server.leaves(empty)


async def test_remains_of_a_failed_create_do_not_hold_the_name(server: InProcess) -> None:
    """The engine made the container, said it did not, and could not remove it: the next attempt clears it away."""
    pod = await server.run_pod()
    before = server.traces()
    server.backend.set_rules([FaultRule(call="create", error="EngineError", after=True), *broken("remove")])
    with refused(*FAILURES):
        await server.create(pod)
    assert not (await server.rpc.ListContainers()).containers
    server.backend.clear()
    app = await server.create(pod)
    assert server.traces().engine - before.engine == {app}


async def test_remains_of_a_failed_create_go_with_their_pod(server: InProcess) -> None:
    empty = server.traces()
    pod = await server.run_pod()
    server.backend.set_rules([FaultRule(call="create", error="EngineError", after=True), *broken("remove")])
    with refused(*FAILURES):
        await server.create(pod)
    server.backend.clear()
    await server.rpc.StopPodSandbox(pod_sandbox_id=pod)
    await server.rpc.RemovePodSandbox(pod_sandbox_id=pod)
    await server.crash()  # at the latest, recovery removes what nobody knows
    await server.leaves(empty)


async def test_an_undo_runs_to_its_end_although_the_caller_has_left(server: InProcess) -> None:
    before = server.traces()
    gate = server.backend.hold("inspect")
    undo = server.backend.hold("remove")
    call = server.rpc.RunPodSandbox(config={"metadata": {"name": "x"}})
    await asyncio.wait_for(gate.reached.wait(), 5)
    call.cancel()
    await asyncio.wait_for(undo.reached.wait(), 5)
    undo.open()
    await server.leaves(before)


async def test_a_retry_during_the_undo_waits_for_its_end(server: InProcess) -> None:
    gate = server.backend.hold("inspect")
    undo = server.backend.hold("remove")
    call = server.rpc.RunPodSandbox(config={"metadata": {"name": "x"}})
    await asyncio.wait_for(gate.reached.wait(), 5)
    call.cancel()
    await asyncio.wait_for(undo.reached.wait(), 5)
    retry = asyncio.ensure_future(server.rpc.RunPodSandbox(config={"metadata": {"name": "x"}}))
    await server.rpc.Version()
    assert not retry.done()
    undo.open()
    pod = (await retry).pod_sandbox_id
    assert server.traces().engine == {pod}


async def test_a_pod_is_stopped_step_by_step_over_several_calls(server: InProcess) -> None:
    pod = await server.run_pod()
    app = await server.run(pod)
    server.backend.set_rules([FaultRule(call="kill", error="EngineError", match={"id": pod})])
    with refused(*FAILURES):
        await server.rpc.StopPodSandbox(pod_sandbox_id=pod)
    assert (await server.pod(pod)).state == pb.SANDBOX_NOTREADY  # all the same
    assert (await server.container(app)).state == pb.CONTAINER_EXITED
    server.backend.clear()
    await server.rpc.StopPodSandbox(pod_sandbox_id=pod)
    assert not server.traces().addresses


@pytest.mark.parametrize("error", ["EngineError", "Unavailable"])
async def test_a_start_of_which_nothing_is_known_is_cleared_up_by_the_next(server: InProcess, error: str) -> None:
    """The engine started it, said it did not, and could not be asked: the log must still have each line once."""
    pod = await server.run_pod()
    app = await server.create(pod, command=["sh", "-c", "for i in $(seq 20); do echo line $i; sleep 0.01; done"])
    server.backend.set_rules([FaultRule(call="start", error=error, after=True), *broken("inspect", error=error)])
    with refused(*FAILURES):
        await server.rpc.StartContainer(container_id=app)
    server.backend.clear()
    await server.rpc.StartContainer(container_id=app)
    status = await server.exited(app)
    with open(status.log_path) as log:
        assert [int(line.split()[-1]) for line in log] == list(range(1, 21))


async def test_a_start_of_which_nothing_is_known_is_found_by_the_monitor(server: InProcess) -> None:
    pod = await server.run_pod()
    app = await server.create(pod)
    server.backend.set_rules([FaultRule(call="start", error="EngineError", after=True), *broken("inspect")])
    with refused(*FAILURES):
        await server.rpc.StartContainer(container_id=app)
    server.backend.clear()
    await server.runtime.monitor.relist()
    assert (await server.container(app)).state == pb.CONTAINER_RUNNING


async def test_what_runs_although_its_start_failed_ends_with_its_pod(server: InProcess) -> None:
    empty = server.traces()
    pod = await server.run_pod()
    app = await server.create(pod)
    server.backend.set_rules([FaultRule(call="start", error="EngineError", after=True), *broken("inspect")])
    with refused(*FAILURES):
        await server.rpc.StartContainer(container_id=app)
    server.backend.clear()
    await server.rpc.StopPodSandbox(pod_sandbox_id=pod)
    assert not server.mock._life.get(app).running
    await server.rpc.RemovePodSandbox(pod_sandbox_id=pod)
    await server.leaves(empty)
