"""Every id that a caller gives may be a unique prefix; crictl passes on the short ids that it shows."""

from pathlib import Path
from typing import Any

import grpc
import pytest

from criadapt.testing.factories import container_record, sandbox_record
from criadapt.testing.inprocess import InProcess, container_config, refused

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND

# RPC, and what else its request needs; the id stands for a running container, or for a ready pod.
OF_A_CONTAINER = {
    "ContainerStatus": {},
    "UpdateContainerResources": {"linux": {"cpu_shares": 2}},
    "ReopenContainerLog": {},
    "ExecSync": {"cmd": ["true"]},
    "Exec": {"cmd": ["true"], "stdout": True},
    "Attach": {"stdout": True},
    "ContainerStats": {},
    "CheckpointContainer": {"location": "{tmp}/checkpoint"},
    "StopContainer": {},
    "RemoveContainer": {},
}
OF_A_POD = {
    "PodSandboxStatus": {},
    "CreateContainer": {"config": container_config("another")},
    "PortForward": {"port": [80]},
    "PodSandboxStats": {},
    "UpdatePodSandboxResources": {},
    "CheckpointPod": {"output_path": "{tmp}/out", "container_ids": ["{app}"]},
    "StopPodSandbox": {},
    "RemovePodSandbox": {},
}
# What ends something that nobody knows is a success.
IDEMPOTENT = {"StopContainer", "RemoveContainer", "StopPodSandbox", "RemovePodSandbox"}


async def call(server: InProcess, rpc: str, id: str, tmp_path: Path, app: str = "") -> Any:
    (tmp_path / "out").mkdir(exist_ok=True)

    def filled(value: Any) -> Any:
        if isinstance(value, str):
            return value.format(tmp=tmp_path, app=app[:16])
        return [filled(item) for item in value] if isinstance(value, list) else value

    fields = {key: filled(value) for key, value in {**OF_A_CONTAINER, **OF_A_POD}[rpc].items()}
    name = "container_id" if rpc in OF_A_CONTAINER else "pod_sandbox_id"
    return await getattr(server.rpc, rpc)(**{name: id}, **fields)


@pytest.mark.parametrize("rpc", [*OF_A_CONTAINER, *OF_A_POD])
@pytest.mark.parametrize("length", [13, 32, 63, 64])
async def test_a_unique_prefix_is_as_good_as_the_id(server: InProcess, tmp_path: Path, rpc: str, length: int) -> None:
    pod = await server.run_pod()
    app = await server.run(pod)
    id = app if rpc in OF_A_CONTAINER else pod
    await call(server, rpc, id[:length], tmp_path, app)


async def test_start_takes_a_prefix_too(server: InProcess) -> None:
    app = await server.create(await server.run_pod())
    await server.rpc.StartContainer(container_id=app[:13])


async def test_answers_carry_the_full_id(server: InProcess) -> None:
    pod = await server.run_pod()
    app = await server.run(pod)
    assert (await server.pod(pod[:13])).id == pod
    assert (await server.container(app[:13])).id == app
    assert (await server.rpc.ContainerStats(container_id=app[:13])).stats.attributes.id == app
    assert (await server.rpc.PodSandboxStats(pod_sandbox_id=pod[:13])).stats.attributes.id == pod
    other = (await server.rpc.CreateContainer(pod_sandbox_id=pod[:13], config=container_config("x"))).container_id
    (row,) = (await server.rpc.ListContainers(filter={"id": other[:13]})).containers
    assert (row.id, row.pod_sandbox_id) == (other, pod)


async def test_ids_are_64_hexadecimal_digits_and_never_shared(server: InProcess) -> None:
    ids = []
    for number in range(5):
        pod = await server.run_pod(f"p{number}")
        ids += [pod, await server.create(pod)]
    assert len(set(ids)) == 10
    assert all(len(id) == 64 and set(id) <= set("0123456789abcdef") for id in ids)


@pytest.mark.parametrize("rpc", [*OF_A_CONTAINER, *OF_A_POD])
async def test_an_ambiguous_prefix_is_refused(server: InProcess, tmp_path: Path, rpc: str) -> None:
    # Engines choose their ids, so twins are put behind its back.
    store = server.runtime.store
    for end in "ab":
        store.put_sandbox(sandbox_record("f" * 63 + end), journaled=True)
        store.put_container(container_record("e" * 63 + end, "f" * 63 + end), journaled=True)
    prefix = ("e" if rpc in OF_A_CONTAINER else "f") * 20
    with refused(INVALID, saying=("ambiguous", prefix)):
        await call(server, rpc, prefix, tmp_path)


@pytest.mark.parametrize("rpc", [*OF_A_CONTAINER, *OF_A_POD])
async def test_an_empty_id_is_refused_even_if_there_is_only_one(server: InProcess, tmp_path: Path, rpc: str) -> None:
    pod = await server.run_pod()
    await server.run(pod)
    with refused(INVALID, saying="container_id" if rpc in OF_A_CONTAINER else "pod_sandbox_id"):
        await call(server, rpc, "", tmp_path)
    assert len((await server.rpc.ListContainers()).containers) == 1


@pytest.mark.parametrize("rpc", [rpc for rpc in (*OF_A_CONTAINER, *OF_A_POD) if rpc not in IDEMPOTENT])
@pytest.mark.parametrize("id", ["0" * 64, "nobody", "6f1c2d0e-7b0d-4d3c-8f80-1c2d3e4f5a6b", "ünïcode\n", "x" * 5000])
async def test_an_unknown_id_is_not_found(server: InProcess, tmp_path: Path, rpc: str, id: str) -> None:
    with refused(NOT_FOUND) as caught:
        await call(server, rpc, id, tmp_path)
    assert len(caught.value.details()) < 500


@pytest.mark.parametrize("rpc", sorted(IDEMPOTENT))
async def test_ending_an_unknown_id_is_success(server: InProcess, tmp_path: Path, rpc: str) -> None:
    for id in ("0" * 64, "nobody", "6f1c2d0e-7b0d-4d3c-8f80-1c2d3e4f5a6b"):
        await call(server, rpc, id, tmp_path)


async def test_the_id_of_a_pod_is_no_container(server: InProcess) -> None:
    pod = await server.run_pod()
    with refused(NOT_FOUND):
        await server.container(pod)
    app = await server.run(pod)
    with refused(NOT_FOUND):
        await server.pod(app)
    await server.rpc.StopContainer(container_id=pod)
    await server.rpc.StopPodSandbox(pod_sandbox_id=app)
    await server.container(app)
    assert (await server.container(app)).state == 1


async def test_upper_case_is_another_id(server: InProcess) -> None:
    pod = await server.run_pod()
    if pod.upper() != pod:
        with refused(NOT_FOUND):
            await server.pod(pod.upper())
