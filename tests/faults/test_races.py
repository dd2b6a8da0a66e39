"""Calls that meet: each pair ends in one of the orders in which they could have come, and nobody waits for ever."""

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest

from criadapt.cri.v1 import api_pb2 as pb
from criadapt.testing.inprocess import InProcess, container_config, pod_config, refused, until

FAILED_PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
NOT_FOUND = grpc.StatusCode.NOT_FOUND


async def reached(gate: Any) -> None:
    await asyncio.wait_for(gate.reached.wait(), 5)


def run(server: InProcess) -> Any:
    return server.rpc.RunPodSandbox(config=pod_config())


# ------------------------------------------------------------------ the same twice


async def test_two_identical_runs_at_once_make_one_sandbox(server: InProcess) -> None:
    server.backend.history.clear()
    gate = server.backend.hold("create")
    calls = [run(server) for _ in range(5)]
    await reached(gate)
    await server.rpc.Version()
    gate.open()
    ids = {(await call).pod_sandbox_id for call in calls}
    assert len(ids) == 1
    assert server.backend.history.count("create") == 1


@pytest.mark.parametrize("leaver", [0, 1])
async def test_one_caller_leaves_and_the_other_gets_the_sandbox(server: InProcess, leaver: int) -> None:
    gate = server.backend.hold("start")
    calls = [run(server), run(server)]
    await reached(gate)
    await server.rpc.Version()
    calls[leaver].cancel()
    await server.rpc.Version()
    gate.open()
    pod = (await calls[1 - leaver]).pod_sandbox_id
    assert (await server.pod(pod)).state == pb.SANDBOX_READY
    assert server.traces().engine == {pod}


async def test_both_callers_leave_and_nothing_is_left(server: InProcess) -> None:
    before = server.traces()
    gate = server.backend.hold("start")
    calls = [run(server), run(server)]
    await reached(gate)
    await server.rpc.Version()
    for call in calls:
        call.cancel()
    await server.leaves(before)


async def test_another_config_of_that_name_is_refused_meanwhile(server: InProcess) -> None:
    gate = server.backend.hold("start")
    first = run(server)
    await reached(gate)
    with refused(grpc.StatusCode.ALREADY_EXISTS, saying="being made"):
        await server.rpc.RunPodSandbox(config=pod_config(hostname="other"))
    with refused(grpc.StatusCode.ALREADY_EXISTS, saying="being made"):
        await server.rpc.RunPodSandbox(config=pod_config(), runtime_handler="mock")
    gate.open()
    await first


async def test_two_identical_creates_at_once_make_one_container(server: InProcess) -> None:
    pod = await server.run_pod()
    gate = server.backend.hold("create")
    calls = [server.rpc.CreateContainer(pod_sandbox_id=pod, config=container_config()) for _ in range(3)]
    await reached(gate)
    await server.rpc.Version()
    gate.open()
    ids = {(await call).container_id for call in calls}
    assert len(ids) == 1
    assert len((await server.rpc.ListContainers()).containers) == 1


async def test_two_starts_at_once_start_it_once(server: InProcess) -> None:
    app = await server.create(await server.run_pod())
    gate = server.backend.hold("start")
    first = server.rpc.StartContainer(container_id=app)
    await reached(gate)
    with refused(FAILED_PRECONDITION, saying="being started"):
        await server.rpc.StartContainer(container_id=app)
    gate.open()
    await first
    assert server.backend.calls["start"] == 2  # the pod's, and this one


# ------------------------------------------------------------------ making against ending


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("ending", ["StopPodSandbox", "RemovePodSandbox"])
async def test_a_create_loses_against_the_end_of_its_pod(server: InProcess, ending: str, after: bool) -> None:
    empty = server.traces()
    pod = await server.run_pod()
    gate = server.backend.hold("create", after=after)
    creating = server.rpc.CreateContainer(pod_sandbox_id=pod, config=container_config())
    await reached(gate)
    await getattr(server.rpc, ending)(pod_sandbox_id=pod)
    gate.open()
    with refused(FAILED_PRECONDITION, NOT_FOUND):
        await creating
    assert not (await server.rpc.ListContainers()).containers
    await server.rpc.RemovePodSandbox(pod_sandbox_id=pod)
    await server.leaves(empty)


@pytest.mark.parametrize("after", [False, True])
async def test_a_container_being_started_is_not_removed(server: InProcess, after: bool) -> None:
    app = await server.create(await server.run_pod())
    gate = server.backend.hold("start", after=after)
    starting = server.rpc.StartContainer(container_id=app)
    await reached(gate)
    with refused(FAILED_PRECONDITION, saying="being started"):
        await server.rpc.RemoveContainer(container_id=app)
    gate.open()
    await starting
    await server.rpc.RemoveContainer(container_id=app)


@pytest.mark.parametrize("after", [False, True])
async def test_a_container_being_removed_is_not_started(server: InProcess, after: bool) -> None:
    pod = await server.run_pod()
    before = server.traces()
    app = await server.create(pod)
    gate = server.backend.hold("remove", after=after)
    removing = server.rpc.RemoveContainer(container_id=app)
    await reached(gate)
    starting = asyncio.ensure_future(_outcome(server.rpc.StartContainer(container_id=app)))
    await server.rpc.Version()
    gate.open()
    await removing
    refusals = {FAILED_PRECONDITION, NOT_FOUND}  # or, while the engine still has it, a start before its end
    assert await asyncio.wait_for(starting, 5) in (refusals if after else refusals | {grpc.StatusCode.OK})
    assert not (await server.rpc.ListContainers()).containers
    await server.leaves(before)


async def _outcome(call: Any) -> grpc.StatusCode:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("ending", ["StopPodSandbox", "RemovePodSandbox"])
async def test_a_start_meets_the_end_of_its_pod(server: InProcess, ending: str, after: bool) -> None:
    """Whichever comes first: in the end nothing of the pod runs."""
    empty = server.traces()
    pod = await server.run_pod()
    app = await server.create(pod)
    gate = server.backend.hold("start", after=after)
    starting = asyncio.ensure_future(_outcome(server.rpc.StartContainer(container_id=app)))
    await reached(gate)
    ended = asyncio.ensure_future(_outcome(getattr(server.rpc, ending)(pod_sandbox_id=pod)))
    await asyncio.wait([ended], timeout=0.1)
    gate.open()
    await asyncio.wait_for(asyncio.gather(starting, ended), 5)
    await server.rpc.StopPodSandbox(pod_sandbox_id=pod)
    for row in (await server.rpc.ListContainers()).containers:
        assert row.state != pb.CONTAINER_RUNNING
    await server.rpc.RemovePodSandbox(pod_sandbox_id=pod)
    await server.leaves(empty)


@pytest.mark.parametrize("after", [False, True])
async def test_a_start_that_passes_the_stop_of_its_pod_does_not_run_on(server: InProcess, after: bool) -> None:
    """The engine starts it while StopPodSandbox looks for running containers; that one call must end it all."""
    pod = await server.run_pod()
    app = await server.create(pod)
    gate = server.backend.hold("start", after=after)
    starting = asyncio.ensure_future(_outcome(server.rpc.StartContainer(container_id=app)))
    await reached(gate)
    stopping = asyncio.ensure_future(_outcome(server.rpc.StopPodSandbox(pod_sandbox_id=pod)))
    await asyncio.wait([stopping], timeout=0.1)
    gate.open()
    await asyncio.wait_for(asyncio.gather(starting, stopping), 5)
    if stopping.result() is grpc.StatusCode.OK:

        async def ended() -> bool:
            return bool((await server.container(app)).state != pb.CONTAINER_RUNNING)

        await until(ended, timeout=3)


async def test_a_pull_does_not_bring_back_what_is_being_removed(server: InProcess) -> None:
    image = {"image": "nginx"}
    await server.rpc.PullImage(image=image)
    gate = server.backend.hold("remove_image")
    removing = server.rpc.RemoveImage(image=image)
    await reached(gate)
    await server.rpc.PullImage(image=image)
    gate.open()
    await removing
    found = (await server.rpc.ImageStatus(image=image)).HasField("image")
    listed = [tag for row in (await server.rpc.ListImages()).images for tag in row.repo_tags]
    assert found == ("docker.io/library/nginx:latest" in listed)


# ------------------------------------------------------------------ stop against stop


async def test_a_shorter_grace_shortens_both(server: InProcess) -> None:
    app = await server.run(await server.run_pod(), stop_signal=pb.SIGNAL_SIGWINCH)
    began = asyncio.get_running_loop().time()
    slow = server.rpc.StopContainer(container_id=app, timeout=30, deadline=40)
    await until(lambda: "kill" in server.backend.history)
    await server.rpc.StopContainer(container_id=app, timeout=0)
    await asyncio.wait_for(slow, 2)
    assert asyncio.get_running_loop().time() - began < 5
    assert (await server.container(app)).exit_code == 137


async def test_the_stop_signal_is_sent_once(server: InProcess) -> None:
    pod = await server.run_pod()
    own = {"security_context": {"namespace_options": {"pid": pb.CONTAINER}}}
    app = await server.run(pod, stop_signal=pb.SIGNAL_SIGWINCH, linux=own)
    server.backend.calls.clear()
    await asyncio.gather(*(server.rpc.StopContainer(container_id=app, timeout=1) for _ in range(3)))
    assert server.backend.calls["kill"] <= 1 + 3  # the signal, and SIGKILL by whoever waited


async def test_a_caller_who_leaves_leaves_the_container_alone(server: InProcess) -> None:
    app = await server.run(await server.run_pod(), stop_signal=pb.SIGNAL_SIGWINCH)
    call = server.rpc.StopContainer(container_id=app, timeout=30)
    await until(lambda: "kill" in server.backend.history)
    call.cancel()
    await server.rpc.Version()
    assert (await server.container(app)).state == pb.CONTAINER_RUNNING
    await server.rpc.StopContainer(container_id=app, timeout=0)
    assert (await server.container(app)).state == pb.CONTAINER_EXITED


async def test_an_exit_during_a_start_is_not_lost(server: InProcess) -> None:
    app = await server.create(await server.run_pod(), command=["sh", "-c", "echo hello; exit 3"])
    gate = server.backend.hold("start", after=True)
    starting = server.rpc.StartContainer(container_id=app)
    await reached(gate)
    await until(lambda: not server.mock._life.get(app).running)
    gate.open()
    await starting
    status = await server.exited(app)
    assert (status.exit_code, status.reason) == (3, "Error")
    with open(status.log_path) as log:
        assert "hello" in log.read()


# ------------------------------------------------------------------ a crowd


async def test_a_hundred_lives_at_once(server: InProcess) -> None:
    empty = server.traces()

    async def live(number: int) -> None:
        pod = await server.run_pod(f"p{number}")
        apps = await asyncio.gather(*(server.run(pod, f"c{n}", command=["seq", "100"]) for n in range(3)))
        await asyncio.gather(*(server.exited(app) for app in apps))
        await server.rpc.StopContainer(container_id=apps[0], timeout=1)
        await asyncio.gather(*(server.rpc.RemoveContainer(container_id=app) for app in apps[:2]))
        await server.rpc.StopPodSandbox(pod_sandbox_id=pod)
        await server.rpc.RemovePodSandbox(pod_sandbox_id=pod)

    await asyncio.gather(*(live(number) for number in range(100)))
    await server.leaves(empty)
    for number in range(100):
        for name in ("c0", "c1", "c2"):
            assert (server.logs / f"p{number}" / f"{name}.log").read_bytes().count(b"\n") == 100


async def test_pods_share_no_address(server: InProcess) -> None:
    pods = await asyncio.gather(*(server.run_pod(f"p{number}") for number in range(100)))
    addresses = {status.network.ip for status in await asyncio.gather(*map(server.pod, pods))}
    assert len(addresses) == 100
    await asyncio.gather(*(server.rpc.RemovePodSandbox(pod_sandbox_id=pod) for pod in pods))
    assert not server.traces().addresses
