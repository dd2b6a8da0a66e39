"""The calls whose every engine step is made to fail: how to get there, and what must be true afterwards."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from criadapt.backends.mock import MockOptions
from criadapt.cri.v1 import api_pb2 as pb
from criadapt.testing.factories import BUSYBOX
from criadapt.testing.inprocess import InProcess, container_config, pod_config, serving_inprocess, until

Request = dict[str, Any]

SHARED = container_config("app", log_path="app.log")
OWN = container_config(
    "app",
    command=["top"],  # which ends of SIGTERM even as the first process of a pid namespace
    log_path="app.log",
    linux={"security_context": {"namespace_options": {"pid": pb.CONTAINER}, "run_as_username": "nobody"}},
)


@dataclass(frozen=True)
class Scenario:
    """One RPC in one situation."""

    rpc: str
    prepare: Callable[[InProcess], Awaitable[Request]]
    """Gets there and gives the request."""
    demand: Callable[[InProcess, Request], Awaitable[None]]
    """What must be true once the call has succeeded."""
    makes: bool = False
    """Whether a failure must leave exactly what was there before."""
    options: MockOptions | None = None

    async def call(self, server: InProcess, request: Request, **fields: Any) -> Any:
        return await getattr(server.rpc, self.rpc)(**request, **fields)


# ------------------------------------------------------------------ how to get there


async def _pod(server: InProcess) -> str:
    return await server.run_pod()


async def _created(server: InProcess, config: Any = SHARED) -> str:
    answer = await server.rpc.CreateContainer(pod_sandbox_id=await _pod(server), config=config)
    return str(answer.container_id)


async def _running(server: InProcess, config: Any = SHARED) -> str:
    id = await _created(server, config)
    await server.rpc.StartContainer(container_id=id)
    return id


async def run_pod(server: InProcess) -> Request:
    return {"config": pod_config(log_directory=str(server.logs), hostname="h")}


async def run_host_pod(server: InProcess) -> Request:
    host = {"security_context": {"namespace_options": {"network": pb.NODE}}}
    return {"config": pod_config(linux=host)}


async def create_container(server: InProcess) -> Request:
    return {"pod_sandbox_id": await _pod(server), "config": OWN}


async def create_with_image_volume(server: InProcess) -> Request:
    mount = pb.Mount(container_path="/vol", image={"image": BUSYBOX}, readonly=True)
    return {"pod_sandbox_id": await _pod(server), "config": container_config(mounts=[mount])}


async def start_container(server: InProcess) -> Request:
    return {"container_id": await _created(server)}


async def start_short_container(server: InProcess) -> Request:
    own = {"security_context": {"namespace_options": {"pid": pb.CONTAINER}}}  # so that nothing is left to be killed
    config = container_config(command=["true"], log_path="app.log", linux=own)
    return {"container_id": await _created(server, config)}


async def stop_container(server: InProcess) -> Request:
    return {"container_id": await _running(server), "timeout": 5}


async def stop_own_container(server: InProcess) -> Request:
    return {"container_id": await _running(server, OWN), "timeout": 5}


async def kill_container(server: InProcess) -> Request:
    return {"container_id": await _running(server, OWN)}


async def remove_container(server: InProcess) -> Request:
    return {"container_id": await _running(server)}


async def remove_created(server: InProcess) -> Request:
    return {"container_id": await _created(server)}


async def pod_with_containers(server: InProcess) -> Request:
    pod = await _pod(server)
    for name in ("one", "two"):
        await server.run(pod, name)
    await server.create(pod, "three")
    return {"pod_sandbox_id": pod}


async def pull_image(server: InProcess) -> Request:
    return {"image": pb.ImageSpec(image="example.com/app:1")}


# ------------------------------------------------------------------ what must be true


async def pod_is_ready(server: InProcess, request: Request) -> None:
    (row,) = (await server.rpc.ListPodSandbox()).items
    status = await server.pod(row.id)
    assert status.state == pb.SANDBOX_READY
    on_host = request["config"].linux.security_context.namespace_options.network == pb.NODE
    assert bool(status.network.ip) != on_host
    app = await server.run(row.id, "probe")
    assert (await server.exec(app, "echo", "alive")).stdout == b"alive\n"


async def container_is_created(server: InProcess, request: Request) -> None:
    (row,) = (await server.rpc.ListContainers()).containers
    assert row.state == pb.CONTAINER_CREATED
    await server.rpc.StartContainer(container_id=row.id)
    assert (await server.container(row.id)).state == pb.CONTAINER_RUNNING


async def container_runs(server: InProcess, request: Request) -> None:
    status = await server.container(request["container_id"])
    assert status.state == pb.CONTAINER_RUNNING
    assert (await server.exec(status.id, "echo", "alive")).stdout == b"alive\n"
    assert Path(status.log_path).exists()


async def container_has_ended(server: InProcess, request: Request) -> None:
    status = await server.exited(request["container_id"])
    assert status.exit_code in (0, 137, 143)
    assert status.finished_at >= status.started_at >= status.created_at > 0


async def container_is_gone(server: InProcess, request: Request) -> None:
    assert not (await server.rpc.ListContainers()).containers
    assert not server.traces().pumps
    (row,) = (await server.rpc.ListPodSandbox()).items
    assert await server.create(row.id, "next")


async def pod_is_stopped(server: InProcess, request: Request) -> None:
    status = await server.pod(request["pod_sandbox_id"])
    assert status.state == pb.SANDBOX_NOTREADY
    states = [row.state for row in (await server.rpc.ListContainers()).containers]
    assert states == [pb.CONTAINER_CREATED, pb.CONTAINER_EXITED, pb.CONTAINER_EXITED]
    await until(lambda: not server.traces().addresses, what="address released")


async def pod_is_gone(server: InProcess, request: Request) -> None:
    assert not (await server.rpc.ListPodSandbox()).items
    assert not (await server.rpc.ListContainers()).containers
    assert not server.traces().engine


async def image_is_there(server: InProcess, request: Request) -> None:
    assert (await server.rpc.ImageStatus(image=request["image"])).image.id


BARE = MockOptions(preload=(BUSYBOX,))  # so that the pause image has to be pulled

SCENARIOS = {
    "run a pod": Scenario("RunPodSandbox", run_pod, pod_is_ready, makes=True),
    "run a pod and pull": Scenario("RunPodSandbox", run_pod, pod_is_ready, makes=True, options=BARE),
    "run a pod on the host network": Scenario("RunPodSandbox", run_host_pod, pod_is_ready, makes=True),
    "create": Scenario("CreateContainer", create_container, container_is_created, makes=True),
    "create with image volume": Scenario("CreateContainer", create_with_image_volume, container_is_created, makes=True),
    "start": Scenario("StartContainer", start_container, container_runs),
    "start what ends at once": Scenario("StartContainer", start_short_container, container_has_ended),
    "stop": Scenario("StopContainer", stop_container, container_has_ended),
    "stop in a pid namespace of its own": Scenario("StopContainer", stop_own_container, container_has_ended),
    "kill": Scenario("StopContainer", kill_container, container_has_ended),
    "remove": Scenario("RemoveContainer", remove_container, container_is_gone),
    "remove what never ran": Scenario("RemoveContainer", remove_created, container_is_gone),
    "stop a pod": Scenario("StopPodSandbox", pod_with_containers, pod_is_stopped),
    "remove a pod": Scenario("RemovePodSandbox", pod_with_containers, pod_is_gone),
    "pull": Scenario("PullImage", pull_image, image_is_there),
}


async def _record(scenario: Scenario) -> list[str]:
    """Engine calls of a run in which nothing fails."""
    with tempfile.TemporaryDirectory(prefix="criadapt-") as folder:
        async with serving_inprocess(Path(folder), options=scenario.options) as server:
            request = await scenario.prepare(server)
            server.backend.history.clear()
            await scenario.call(server, request)
            return [call for call in server.backend.history if call not in ("containers", "events")]  # the monitor's


async def _record_all() -> list[tuple[str, str, int]]:
    steps = []
    for name, scenario in SCENARIOS.items():
        seen: Counter[str] = Counter()
        for call in await _record(scenario):
            seen[call] += 1
            steps.append((name, call, seen[call]))
    return steps


def steps() -> list[tuple[str, str, int]]:
    """Scenario, engine call, and which one of that name: every step that a clean run takes."""
    return asyncio.run(_record_all())
