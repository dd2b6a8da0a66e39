"""Killed at any moment and started again: everything is as it was, and what happened meanwhile is noticed."""

import asyncio
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from criadapt.backends.base import Backend
from criadapt.cri.v1 import api_pb2 as pb
from criadapt.model.signals import Signal
from criadapt.testing.factories import PAUSE
from criadapt.testing.inprocess import InProcess, Stub, container_config, pod_config, refused, until
from criadapt.testing.server import running_server

COUNT = ("sh", "-c", "i=0; while true; do i=$((i+1)); echo line $i; sleep 0.005; done")


async def world(server: InProcess) -> dict[str, Any]:
    """Everything a client can see of all objects, byte for byte."""
    pods = (await server.rpc.ListPodSandbox()).items
    containers = (await server.rpc.ListContainers()).containers
    seen: dict[str, Any] = {"pods": list(pods), "containers": list(containers)}
    for pod in pods:
        seen[pod.id] = (await server.pod(pod.id)).SerializeToString(deterministic=True)
    for container in containers:
        seen[container.id] = (await server.container(container.id)).SerializeToString(deterministic=True)
    seen["images"] = list((await server.rpc.ListImages()).images)
    return seen


async def everything(server: InProcess, tmp_path: Path) -> None:
    """Pods and containers in every state, with every field that a config may have."""
    full = pod_config(
        "full",
        attempt=3,
        hostname="h",
        log_directory=str(tmp_path / "full"),
        dns_config={"servers": ["1.1.1.1"]},
        port_mappings=[{"container_port": 80, "host_port": 8080, "host_ip": "127.0.0.1"}],
        labels={"a": "b"},
        annotations={"c": "d\n"},
        linux={"sysctls": {"net.core.somaxconn": "9"}, "security_context": {"privileged": True}},
    )
    pod = (await server.rpc.RunPodSandbox(config=full, runtime_handler="mock")).pod_sandbox_id
    await server.create(pod, "created", labels={"x": "y"}, stop_signal=pb.SIGNAL_SIGINT)
    await server.run(
        pod,
        "running",
        envs=[{"key": "BYTES", "value": b"\xff\xfe"}],
        mounts=[{"host_path": str(tmp_path / "vol"), "container_path": "/vol", "propagation": 2}],
        linux={
            "resources": {"memory_limit_in_bytes": 1 << 26, "unified": {"memory.oom.group": "1"}},
            "security_context": {"run_as_user": {"value": 1000}, "supplemental_groups": [5]},
        },
    )
    await server.exited(await server.run(pod, "failed", command=["false"]))
    bad = await server.create(pod, "bad", command=["/no/such"])
    with pytest.raises(grpc.aio.AioRpcError):
        await server.rpc.StartContainer(container_id=bad)
    await server.rpc.UpdateContainerResources(
        container_id=(await server.rpc.ListContainers()).containers[-1].id, linux={"cpu_shares": 7}
    )
    await server.rpc.StopPodSandbox(pod_sandbox_id=await server.run_pod("stopped"))
    await server.run_pod("host", linux={"security_context": {"namespace_options": {"network": pb.NODE}}})


@pytest.mark.parametrize("how", ["crash", "restart"])
async def test_everything_is_byte_for_byte_as_it_was(server: InProcess, tmp_path: Path, how: str) -> None:
    await everything(server, tmp_path)
    before = await world(server)
    traces = server.traces()
    for _ in range(2):
        await getattr(server, how)()
        assert await world(server) == before
        await server.leaves(traces)


async def test_running_containers_go_on(server: InProcess) -> None:
    pod = await server.run_pod()
    app = await server.run(pod)
    ip = (await server.pod(pod)).network.ip
    await server.crash()
    assert (await server.exec(app, "echo", "alive")).stdout == b"alive\n"
    assert (await server.pod(pod)).network.ip == ip
    assert (await server.pod(await server.run_pod("next"))).network.ip != ip
    await server.rpc.StopContainer(container_id=app, timeout=5)
    assert (await server.container(app)).state == pb.CONTAINER_EXITED


@pytest.mark.parametrize("how", ["crash", "restart"])
async def test_a_log_has_every_line_once(server: InProcess, how: str) -> None:
    app = await server.run(await server.run_pod(), command=COUNT)
    path = Path((await server.container(app)).log_path)
    for _ in range(3):
        size = path.stat().st_size
        await until(lambda size=size: path.stat().st_size > size + 400)
        await getattr(server, how)()
    await server.rpc.StopContainer(container_id=app)
    numbers = [int(line.split()[-1]) for line in path.read_text().splitlines()]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > 20


async def test_a_log_is_rotated_after_a_restart_too(server: InProcess) -> None:
    app = await server.run(await server.run_pod(), command=COUNT)
    path = Path((await server.container(app)).log_path)
    await until(lambda: path.stat().st_size > 400)
    await server.crash()
    path.rename(path.with_name("app.log.1"))
    await server.rpc.ReopenContainerLog(container_id=app)
    assert path.exists()
    await until(lambda: path.stat().st_size > 400)


def kill(*ids: str, signal: Signal = Signal.SIGKILL) -> Any:
    """Something that happens to the engine while the server is away."""

    def happen(backend: Backend) -> None:
        for id in ids:
            backend._life.kill(id, signal)

    return happen


def remove(*ids: str) -> Any:
    def happen(backend: Backend) -> None:
        for id in ids:
            backend._life.remove(id)

    return happen


async def test_an_exit_meanwhile_is_noticed_with_its_code_and_its_log(server: InProcess) -> None:
    app = await server.run(await server.run_pod(), command=["sh", "-c", "echo begin; sleep 0.3; echo end; exit 7"])
    path = Path((await server.container(app)).log_path)
    await until(lambda: path.stat().st_size > 0)
    await server.crash()
    status = await server.exited(app)
    assert (status.exit_code, status.reason) == (7, "Error")
    assert [line.split()[-1] for line in path.read_text().splitlines()] == ["begin", "end"]


async def test_a_container_that_ended_before_anybody_looked_is_exited_from_the_start(server: InProcess) -> None:
    app = await server.run(await server.run_pod())
    await server.crash(change=kill(app))
    status = await server.exited(app)
    assert status.exit_code == 137
    assert status.finished_at >= status.started_at > 0


async def test_an_infra_container_that_ended_makes_its_pod_not_ready(server: InProcess) -> None:
    pod = await server.run_pod()
    app = await server.run(pod)
    await server.crash(change=kill(pod))
    await until(lambda: not_ready(server, pod))
    await server.rpc.StopPodSandbox(pod_sandbox_id=pod)
    assert (await server.container(app)).state == pb.CONTAINER_EXITED
    await server.rpc.RemovePodSandbox(pod_sandbox_id=pod)


async def not_ready(server: InProcess, pod: str) -> bool:
    return bool((await server.pod(pod)).state == pb.SANDBOX_NOTREADY)


async def test_what_was_removed_behind_our_back_is_told_as_lost_and_can_be_removed(server: InProcess) -> None:
    pod = await server.run_pod()
    app, created = await server.run(pod), await server.create(pod, "created")
    before = server.traces()
    await server.crash(change=remove(app, created, pod))
    for id in (app, created):
        status = await server.container(id)
        assert (status.state, status.exit_code, status.reason) == (pb.CONTAINER_EXITED, 255, "Unknown")
        assert status.started_at > 0
        assert status.finished_at > 0
    assert (await server.pod(pod)).state == pb.SANDBOX_NOTREADY
    await server.rpc.StopPodSandbox(pod_sandbox_id=pod)
    await server.rpc.RemovePodSandbox(pod_sandbox_id=pod)
    assert not (await server.rpc.ListContainers()).containers
    assert server.traces().journal < before.journal


async def test_names_are_taken_again(server: InProcess) -> None:
    pod = await server.run_pod()
    app = await server.create(pod)
    await server.rpc.StopPodSandbox(pod_sandbox_id=await server.run_pod("stopped"))
    await server.crash()
    assert await server.run_pod() == pod  # the same again is the same sandbox
    for again in (server.run_pod(labels={"a": "b"}), server.run_pod("stopped"), server.create(pod)):
        with refused(grpc.StatusCode.ALREADY_EXISTS, grpc.StatusCode.FAILED_PRECONDITION):
            await again
    await server.rpc.RemoveContainer(container_id=app)
    assert await server.create(pod)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("call", ["create", "start", "inspect"])
async def test_a_sandbox_in_the_making_is_discarded(server: InProcess, call: str, after: bool) -> None:
    before = server.traces()
    gate = server.backend.hold(call, after=after)
    running = asyncio.ensure_future(server.run_pod())
    await asyncio.wait_for(gate.reached.wait(), 5)
    await server.crash()
    with suppress(grpc.aio.AioRpcError, asyncio.CancelledError):
        await running
    assert not (await server.rpc.ListPodSandbox()).items
    await server.leaves(before)
    assert await server.run_pod()


@pytest.mark.parametrize("after", [False, True])
async def test_a_container_in_the_making_is_removed(server: InProcess, after: bool) -> None:
    pod = await server.run_pod()
    before = server.traces()
    gate = server.backend.hold("create", after=after)
    creating = asyncio.ensure_future(server.create(pod))
    await asyncio.wait_for(gate.reached.wait(), 5)
    await server.crash()
    with suppress(grpc.aio.AioRpcError, asyncio.CancelledError):
        await creating
    assert not (await server.rpc.ListContainers()).containers
    await server.leaves(before)
    assert await server.create(pod)


async def test_sessions_are_not_kept(server: InProcess) -> None:
    app = await server.run(await server.run_pod())
    await server.rpc.Exec(container_id=app, cmd=["true"], stdout=True)
    await server.crash()
    assert not server.traces().sessions


async def test_images_are_kept(server: InProcess) -> None:
    id = (await server.rpc.PullImage(image={"image": "nginx"})).image_ref
    before = (await server.rpc.ImageStatus(image={"image": id})).image
    await server.crash()
    assert (await server.rpc.ImageStatus(image={"image": "nginx"})).image == before


async def test_a_lost_journal_leaves_objects_that_can_be_removed(server: InProcess) -> None:
    pod = await server.run_pod()
    app = await server.run(pod)
    await server.close()
    for file in server.state_dir.glob("journal.sqlite*"):
        file.unlink()
    await server.open()
    status = await server.container(app)
    assert (status.state, status.reason, status.metadata.name) == (pb.CONTAINER_EXITED, "Unknown", "app")
    adopted = await server.pod(pod)
    assert adopted.state == pb.SANDBOX_NOTREADY
    assert adopted.metadata == pb.PodSandboxMetadata(name="web", uid="uid-of-web", namespace="default")
    await server.rpc.StopPodSandbox(pod_sandbox_id=pod)
    await server.rpc.RemovePodSandbox(pod_sandbox_id=pod)
    assert not server.traces().engine
    assert not server.traces().journal


async def test_a_paused_container_stays_paused(server: InProcess) -> None:
    app = await server.run(await server.run_pod())
    await server.mock.pause(app)
    await server.crash()
    assert (await server.container(app)).state == pb.CONTAINER_RUNNING
    await server.rpc.StopContainer(container_id=app)
    assert (await server.container(app)).exit_code == 137


# ------------------------------------------------------------------ a process of its own, and a real SIGKILL


async def test_sigkill_in_the_middle_of_everything(tmp_path: Path) -> None:
    """Kubelet is busy with many pods, the server is killed at any moment, again and again."""
    chance = random.Random(7)
    state = tmp_path / "state"
    for round in range(3):
        options = ("--set", f'backend.mock.preload=["{PAUSE}", "busybox"]', "--log-level", "warning")
        with running_server(*options, state_dir=state) as process:
            async with grpc.aio.insecure_channel(f"unix://{process.socket}") as channel:
                stub = Stub(channel)
                await _is_coherent(stub)
                lives = [asyncio.ensure_future(_live(stub, f"p{round}-{n}", tmp_path / "logs")) for n in range(12)]
                await asyncio.wait(lives, timeout=0.05 + chance.random() / 4)
                process.kill()
                await asyncio.gather(*lives, return_exceptions=True)
            assert "Traceback" not in process.output()
    with running_server(state_dir=state) as process:
        async with grpc.aio.insecure_channel(f"unix://{process.socket}") as channel:
            stub = Stub(channel)
            await _is_coherent(stub)
            for pod in (await stub.ListPodSandbox(pb.ListPodSandboxRequest())).items:
                await stub.StopPodSandbox(pb.StopPodSandboxRequest(pod_sandbox_id=pod.id))
                await stub.RemovePodSandbox(pb.RemovePodSandboxRequest(pod_sandbox_id=pod.id))
            assert not (await stub.ListContainers(pb.ListContainersRequest())).containers
        left = {path.name for path in state.rglob("*") if path.is_file()}
        assert not {name for name in left if "sqlite" not in name and name != "lock"}
        assert "Traceback" not in process.output()


async def _live(stub: Any, name: str, logs: Path) -> None:
    """Pods come and go."""
    for number in range(1000):
        config = pod_config(f"{name}-{number}", log_directory=str(logs / name))
        pod = (await stub.RunPodSandbox(pb.RunPodSandboxRequest(config=config))).pod_sandbox_id
        request = pb.CreateContainerRequest(
            pod_sandbox_id=pod, config=container_config(image={"image": "busybox"}, log_path=f"{number}.log")
        )
        app = (await stub.CreateContainer(request)).container_id
        await stub.StartContainer(pb.StartContainerRequest(container_id=app))
        if number % 3:
            await stub.StopContainer(pb.StopContainerRequest(container_id=app, timeout=1))
        if number % 2:
            await stub.RemovePodSandbox(pb.RemovePodSandboxRequest(pod_sandbox_id=pod))


async def _is_coherent(stub: Any) -> None:
    pods = {pod.id for pod in (await stub.ListPodSandbox(pb.ListPodSandboxRequest())).items}
    addresses = []
    for id in pods:
        status = (await stub.PodSandboxStatus(pb.PodSandboxStatusRequest(pod_sandbox_id=id))).status
        ready = status.state == pb.SANDBOX_READY
        assert bool(status.network.ip) == ready
        addresses += [status.network.ip] if ready else []
    assert len(addresses) == len(set(addresses))
    for container in (await stub.ListContainers(pb.ListContainersRequest())).containers:
        assert container.pod_sandbox_id in pods
        status = (await stub.ContainerStatus(pb.ContainerStatusRequest(container_id=container.id))).status
        assert status.state == container.state
        assert (status.finished_at > 0) == (status.state == pb.CONTAINER_EXITED)
