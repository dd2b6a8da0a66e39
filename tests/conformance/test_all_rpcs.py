"""All 43 RPCs, walked by their descriptors: a new one in the interface is a test that fails until it is answered."""

from pathlib import Path
from typing import Any

import grpc
import pytest

from criadapt.testing.factories import BUSYBOX
from criadapt.testing.inprocess import METHODS, InProcess, container_config, pod_config

OK = grpc.StatusCode.OK
INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND

# What an empty request is answered with; everything else is OK.
EMPTY = {
    name: INVALID
    for name in METHODS
    if not name.startswith(("List", "Stream", "Version", "Status", "RuntimeConfig", "UpdateRuntime", "ImageFs", "Get"))
}


async def answer(server: InProcess, rpc: str, **fields: Any) -> grpc.StatusCode:
    """The code of one call; a stream is read until it ends, or no longer than its first message."""
    call = getattr(server.rpc, rpc)(**fields)
    try:
        if not METHODS[rpc].server_streaming:
            await call
        elif rpc == "GetContainerEvents":
            await call.initial_metadata()
            call.cancel()
        else:
            async for _ in call:
                pass
    except grpc.aio.AioRpcError as error:
        return error.code()
    return OK


def test_there_are_43() -> None:
    assert len(METHODS) == 43


@pytest.mark.parametrize("rpc", METHODS)
async def test_an_empty_request_is_answered_in_words(server: InProcess, rpc: str) -> None:
    assert await answer(server, rpc) is EMPTY.get(rpc, OK)


@pytest.mark.parametrize("rpc", METHODS)
async def test_an_empty_request_is_answered_the_same_with_pods_around(server: InProcess, rpc: str) -> None:
    pod = await server.run_pod()
    await server.run(pod)
    assert await answer(server, rpc) is EMPTY.get(rpc, OK)
    assert (await server.pod(pod)).state == 0


async def test_every_rpc_succeeds_in_the_life_of_a_pod(server: InProcess, tmp_path: Path) -> None:
    """One path through all of them; what is left out at the end is a new RPC without a test."""
    called: set[str] = set()

    async def ask(name: str, **fields: Any) -> Any:
        called.add(name)
        if METHODS[name].server_streaming:
            return await server.chunks(name, **fields)
        return await getattr(server.rpc, name)(**fields)

    for name in ("Version", "Status", "RuntimeConfig", "ImageFsInfo", "ListImages", "UpdateRuntimeConfig"):
        await ask(name)
    events = server.rpc.GetContainerEvents(deadline=None)
    await events.initial_metadata()
    called.add("GetContainerEvents")
    image = (await ask("PullImage", image={"image": "nginx"})).image_ref
    assert (await ask("ImageStatus", image={"image": image})).image.id == image
    config = pod_config(log_directory=str(server.logs))
    pod = (await ask("RunPodSandbox", config=config)).pod_sandbox_id
    app = (await ask("CreateContainer", pod_sandbox_id=pod, config=container_config(log_path="app.log"))).container_id
    await ask("StartContainer", container_id=app)
    for name in ("PodSandboxStatus", "PodSandboxStats", "UpdatePodSandboxResources", "PortForward"):
        await ask(name, pod_sandbox_id=pod)
    for name in ("ContainerStatus", "ContainerStats", "ReopenContainerLog"):
        await ask(name, container_id=app)
    await ask("UpdateContainerResources", container_id=app, linux={"cpu_shares": 2})
    await ask("ExecSync", container_id=app, cmd=["true"])
    await ask("Exec", container_id=app, cmd=["true"], stdout=True)
    await ask("Attach", container_id=app, stdout=True)
    for name in METHODS:
        if name.startswith(("List", "Stream")):
            await ask(name)
    await ask("CheckpointContainer", container_id=app, location=str(tmp_path / "one"))
    (tmp_path / "all").mkdir()
    await ask("CheckpointPod", pod_sandbox_id=pod, output_path=str(tmp_path / "all"), container_ids=[app])
    await ask(
        "RestorePod",
        checkpoint_path=str(tmp_path / "all"),
        config=pod_config("restored"),
        container_configs=[container_config()],
    )
    await ask("StopContainer", container_id=app)
    await ask("RemoveContainer", container_id=app)
    await ask("StopPodSandbox", pod_sandbox_id=pod)
    await ask("RemovePodSandbox", pod_sandbox_id=pod)
    await ask("RemoveImage", image={"image": image})
    assert [event.container_event_type async for event in _first(events, 3)] == [0, 1, 0]
    assert called == set(METHODS)
    assert (await server.rpc.ImageStatus(image={"image": BUSYBOX})).image.id


async def _first(call: Any, count: int) -> Any:
    for _ in range(count):
        yield await call.read()
    call.cancel()


@pytest.mark.parametrize("rpc", METHODS)
async def test_an_engine_out_of_reach_is_said_in_one_code(server: InProcess, rpc: str) -> None:
    """With the engine gone a call succeeds without it or is UNAVAILABLE; nothing is unexpected."""
    from criadapt.config import FaultRule

    pod = await server.run_pod()
    app = await (server.create(pod) if rpc == "StartContainer" else server.run(pod))
    server.backend.set_rules([FaultRule(call="*", error="Unavailable", message="the engine is away")])
    requests = {
        "RunPodSandbox": {"config": pod_config("other")},
        "CreateContainer": {"pod_sandbox_id": pod, "config": container_config("other")},
        "UpdateContainerResources": {"container_id": app, "linux": {"cpu_shares": 2}},
        "ExecSync": {"container_id": app, "cmd": ["true"]},
        "PullImage": {"image": {"image": "nginx"}},
        "ImageStatus": {"image": {"image": "nginx"}},
        "RemoveImage": {"image": {"image": "nginx"}},
        "CheckpointContainer": {"container_id": app, "location": str(server.folder / "x")},
    }
    fields = requests.get(rpc)
    if fields is None:
        names = [field.name for field in METHODS[rpc].input_type.fields]
        fields = {"container_id": app} if "container_id" in names else {}
        fields = {"pod_sandbox_id": pod} if "pod_sandbox_id" in names else fields
    assert await answer(server, rpc, **fields) in (OK, INVALID, grpc.StatusCode.UNAVAILABLE, NOT_FOUND)
    server.backend.set_rules(())
    await server.remove_all()
