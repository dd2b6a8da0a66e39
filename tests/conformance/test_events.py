"""GetContainerEvents: kubelet's evented PLEG hears of every change, in order, with the pod as it was."""

import asyncio
from typing import Any

import grpc
import pytest

from criadapt.cri.v1 import api_pb2 as pb
from criadapt.testing.inprocess import InProcess, Stub

CREATED, STARTED, STOPPED, DELETED = (
    pb.CONTAINER_CREATED_EVENT,
    pb.CONTAINER_STARTED_EVENT,
    pb.CONTAINER_STOPPED_EVENT,
    pb.CONTAINER_DELETED_EVENT,
)


class Listener:
    """A subscriber; its stream is open when it is made."""

    def __init__(self, call: Any) -> None:
        self.call = call

    async def next(self, count: int) -> list[Any]:
        return [await asyncio.wait_for(self.call.read(), 5) for _ in range(count)]

    async def types(self, count: int) -> list[tuple[str, int]]:
        return [(event.container_id, event.container_event_type) for event in await self.next(count)]


async def listen(server: InProcess) -> Listener:
    call = server.rpc.GetContainerEvents(deadline=None)
    await asyncio.wait_for(call.initial_metadata(), 5)  # it comes at once, before any event
    return Listener(call)


async def test_a_life_is_told_from_beginning_to_end(server: InProcess) -> None:
    events = await listen(server)
    pod = await server.run_pod()
    app = await server.create(pod)
    await server.rpc.StartContainer(container_id=app)
    await server.rpc.StopContainer(container_id=app)
    await server.rpc.RemoveContainer(container_id=app)
    await server.rpc.StopPodSandbox(pod_sandbox_id=pod)
    await server.rpc.RemovePodSandbox(pod_sandbox_id=pod)
    assert await events.types(8) == [
        (pod, CREATED),
        (pod, STARTED),
        (app, CREATED),
        (app, STARTED),
        (app, STOPPED),
        (app, DELETED),
        (pod, STOPPED),
        (pod, DELETED),
    ]


async def test_events_show_the_pod_at_that_moment(server: InProcess) -> None:
    events = await listen(server)
    pod = await server.run_pod()
    app = await server.run(pod, command=["false"])
    await server.exited(app)
    await server.rpc.RemoveContainer(container_id=app)
    await server.rpc.StopPodSandbox(pod_sandbox_id=pod)
    _, ready, created, started, stopped, deleted, notready = await events.next(7)
    assert ready.pod_sandbox_status.state == pb.SANDBOX_READY
    assert ready.pod_sandbox_status.metadata.uid == "uid-of-web"
    assert not ready.containers_statuses
    assert [c.state for c in created.containers_statuses] == [pb.CONTAINER_CREATED]
    assert [c.state for c in started.containers_statuses] == [pb.CONTAINER_RUNNING]
    (final,) = stopped.containers_statuses
    assert (final.state, final.exit_code, final.reason) == (pb.CONTAINER_EXITED, 1, "Error")
    assert final.finished_at > 0
    assert not deleted.containers_statuses
    assert notready.pod_sandbox_status.state == pb.SANDBOX_NOTREADY


async def test_times_do_not_run_backwards(server: InProcess) -> None:
    events = await listen(server)
    for number in range(3):
        await server.rpc.RemovePodSandbox(pod_sandbox_id=await server.run_pod(f"p{number}"))
    times = [event.created_at for event in await events.next(12)]
    assert times == sorted(times)
    assert times[0] > 0


async def test_every_subscriber_hears_everything(server: InProcess) -> None:
    listeners = [await listen(server) for _ in range(3)]
    pod = await server.run_pod()
    for listener in listeners:
        assert await listener.types(2) == [(pod, CREATED), (pod, STARTED)]


async def test_a_new_subscriber_hears_what_happens_from_now_on(server: InProcess) -> None:
    await server.run_pod("old")
    events = await listen(server)
    pod = await server.run_pod("new")
    assert await events.types(1) == [(pod, CREATED)]


async def test_a_subscriber_may_leave_at_any_time(server: InProcess) -> None:
    before = server.traces()
    events = await listen(server)
    events.call.cancel()
    await server.leaves(before)
    await server.run_pod()


async def test_a_failed_start_is_told_as_an_end(server: InProcess) -> None:
    pod = await server.run_pod()
    app = await server.create(pod, command=["/no/such/program"])
    events = await listen(server)
    with pytest.raises(grpc.aio.AioRpcError):
        await server.rpc.StartContainer(container_id=app)
    (event,) = await events.next(1)
    assert (event.container_id, event.container_event_type) == (app, STOPPED)
    assert event.containers_statuses[0].reason == "StartError"


async def test_the_death_of_the_infra_process_is_told(server: InProcess) -> None:
    from criadapt.model.signals import Signal

    pod = await server.run_pod()
    events = await listen(server)
    await server.mock.kill(pod, Signal.SIGKILL)
    (event,) = await events.next(1)
    assert (event.container_id, event.container_event_type) == (pod, STOPPED)
    assert event.pod_sandbox_status.state == pb.SANDBOX_NOTREADY


async def test_the_end_of_the_server_ends_the_stream(server: InProcess) -> None:
    async with server.connect() as channel:
        call = Stub(channel).GetContainerEvents(pb.GetEventsRequest())
        await asyncio.wait_for(call.initial_metadata(), 5)
        await server.restart()
        assert await asyncio.wait_for(call.code(), 5) in (grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE)
