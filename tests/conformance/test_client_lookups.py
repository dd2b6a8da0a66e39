"""Finding pods and containers, both colours, and details as each of the known runtimes tells them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from criadapt import AsyncClient, errors
from criadapt.cri.v1 import api_pb2 as pb
from criadapt.testing.colours import COLOURS, connected
from criadapt.testing.factories import BUSYBOX
from criadapt.testing.inprocess import InProcess
from criadapt.testing.relay import Relay, refusal, relaying, saying


async def make(server: InProcess) -> dict[str, str]:
    """Two namespaces, three pods, four containers; ids by name."""
    ids: dict[str, str] = {}
    for name, namespace in (("web-1", "prod"), ("web-2", "prod"), ("web-1", "test")):
        metadata = {"name": name, "uid": f"uid-{namespace}-{name}", "namespace": namespace, "attempt": 0}
        ids[f"{namespace}/{name}"] = await server.run_pod(name, metadata=metadata, labels={"stage": namespace})
    for pod, name, labels in (
        ("prod/web-1", "app", {"tier": "front"}),
        ("prod/web-1", "side", {}),
        ("prod/web-2", "app", {"tier": "back"}),
        ("test/web-1", "app", {}),
    ):
        ids[f"{pod}/{name}"] = await server.run(ids[pod], name, labels=labels)
    return ids


async def test_pods_by_what_is_known_of_them(server: InProcess, client: AsyncClient) -> None:
    ids = await make(server)
    names = {id: name for name, id in ids.items()}

    async def found(**wanted: Any) -> set[str]:
        return {names[pod.id] for pod in await client.pods(**wanted)}

    everything = {"prod/web-1", "prod/web-2", "test/web-1"}
    assert await found() == everything
    assert await found(name="web-1") == {"prod/web-1", "test/web-1"}
    assert await found(name="web-*", namespace="p*") == {"prod/web-1", "prod/web-2"}
    assert await found(uid="uid-test-web-1") == {"test/web-1"}
    assert await found(labels={"stage": "test"}) == {"test/web-1"}
    assert await found(labels={"stage": "none"}) == set()
    await server.rpc.StopPodSandbox(pod_sandbox_id=ids["prod/web-1"])
    assert await found(ready=True) == everything - {"prod/web-1"}
    assert await found(ready=False) == {"prod/web-1"}


async def test_containers_by_what_is_known_of_them(server: InProcess, client: AsyncClient) -> None:
    ids = await make(server)
    names = {id: name for name, id in ids.items()}

    async def found(**wanted: Any) -> set[str]:
        return {names[container.id] for container in await client.containers(**wanted)}

    everything = {"prod/web-1/app", "prod/web-1/side", "prod/web-2/app", "test/web-1/app"}
    assert await found() == everything
    assert await found(name="a*") == everything - {"prod/web-1/side"}
    assert await found(pod="web-1") == {"prod/web-1/app", "prod/web-1/side", "test/web-1/app"}
    assert await found(pod="web-?", namespace="prod", name="app") == {"prod/web-1/app", "prod/web-2/app"}
    assert await found(pod=ids["test/web-1"]) == {"test/web-1/app"}
    assert await found(uid="uid-prod-web-2") == {"prod/web-2/app"}
    assert await found(namespace="nowhere") == set()
    assert await found(labels={"tier": "back"}) == {"prod/web-2/app"}
    assert await found(image=BUSYBOX) == everything
    assert await found(image="*busybox*") == everything
    assert await found(image="nginx") == set()
    await server.rpc.StopContainer(container_id=ids["prod/web-1/side"])
    assert await found(running=True) == everything - {"prod/web-1/side"}
    assert await found(running=False) == {"prod/web-1/side"}


async def test_one_pod_and_one_container(server: InProcess, client: AsyncClient) -> None:
    ids = await make(server)
    for ref in ("web-2", "prod/web-2", ids["prod/web-2"], ids["prod/web-2"][:20]):
        assert (await client.pod(ref)).id == ids["prod/web-2"]
    for ref in ("side", "prod/web-1/side", ids["prod/web-1/side"], ids["prod/web-1/side"][:20]):
        assert (await client.container(ref)).id == ids["prod/web-1/side"]
    with pytest.raises(errors.InvalidArgument, match=r"'web-1' is ambiguous: .*prod/web-1.*; name it by its id"):
        await client.pod("web-1")
    with pytest.raises(errors.InvalidArgument, match=r"\(test/web-1/app\)"):
        await client.container("app")
    for ref in ("nobody", "0" * 64):
        with pytest.raises(errors.NotFound, match=f"no pod has the name or id '{ref}'"):
            await client.pod(ref)
        with pytest.raises(errors.NotFound, match=f"no container has the name or id '{ref}'"):
            await client.container(ref)


async def test_details(server: InProcess, client: AsyncClient) -> None:
    pod = await server.run_pod()
    app = await server.run(pod)
    found = await client.details(app)
    assert found.status.id == app
    assert found.pid is not None
    assert found.netns == f"/proc/{found.pid}/ns/net"
    assert found.info["info"]["sandboxID"] == pod
    of_pod = await client.pod_details(pod)
    assert of_pod.status.id == pod
    assert of_pod.pid not in (None, found.pid)
    await server.rpc.StopContainer(container_id=app)
    assert (await client.details(app)).pid is None
    with pytest.raises(errors.NotFound):
        await client.details("nobody")


def process(proc: Path, pid: int, parent: int, cgroup: str = "/") -> None:
    (proc / str(pid)).mkdir(parents=True)
    (proc / str(pid) / "stat").write_text(f"{pid} (sh) S {parent} 0 0\n")
    (proc / str(pid) / "cgroup").write_text(f"0::{cgroup}\n")


async def test_the_container_of_a_process(server: InProcess, client: AsyncClient, tmp_path: Path) -> None:
    proc = tmp_path / "proc"
    pod = await server.run_pod()
    app, other = await server.run(pod, "app"), await server.run(pod, "other")
    first = (await client.details(app)).pid
    assert first is not None
    process(proc, 900_001, first)
    process(proc, first, 1)
    process(proc, 900_002, 1, f"/kubepods.slice/cri-containerd-{other}.scope/init")
    process(proc, 900_003, 1, f"/kubepods/{'0' * 64}")
    process(proc, 900_004, 1, f"/kubepods/pod1/{pod}")
    for pid, id in ((first, app), (900_001, app), (900_002, other)):
        assert (await client.container_by_pid(pid, proc=str(proc))).id == id
    for pid in (900_003, 900_005):
        with pytest.raises(errors.NotFound, match=f"process {pid} is in no container of unix:"):
            await client.container_by_pid(pid, proc=str(proc))
    with pytest.raises(errors.NotFound, match="is that of the sandbox of pod default/web"):
        await client.container_by_pid(900_004, proc=str(proc))
    with pytest.raises(errors.InvalidArgument, match="pid: expected"):
        await client.container_by_pid(0)


async def test_the_container_of_a_cgroup(server: InProcess, client: AsyncClient) -> None:
    pod = await server.run_pod()
    app = await server.run(pod)
    for path in (
        f"/kubepods/burstable/pod7/{app}",
        f"/kubepods.slice/kubepods-pod7.slice/cri-containerd-{app}.scope",
        f"/kubepods.slice/kubepods-pod7.slice/crio-{app}.scope/container",
        f"/sys/fs/cgroup/system.slice/docker-{app}.scope/",
        f"/kubepods/pod7/{pod}/{app}",
    ):
        assert (await client.container_by_cgroup(path)).id == app
    with pytest.raises(errors.NotFound, match="sandbox of pod default/web, which is no container"):
        await client.container_by_cgroup(f"/kubepods/pod7/crio-{pod}.scope")
    with pytest.raises(errors.NotFound, match=r"no container of unix:.* has cgroup"):
        await client.container_by_cgroup(f"/x/{'0' * 64}")
    with pytest.raises(errors.NotFound, match=r"no container id is in cgroup '/user.slice'"):
        await client.container_by_cgroup("/user.slice")


# ---------------------------------------------------------------------------------------------- other runtimes


@asynccontextmanager
async def relayed(server: InProcess, colour: str) -> AsyncIterator[tuple[Relay, AsyncClient]]:
    socket = server.socket.with_name("relay.sock")
    async with relaying(socket, server.channel) as relay, connected(colour, f"unix://{socket}") as client:
        yield relay, client


@pytest.mark.parametrize("colour", COLOURS)
async def test_a_runtime_that_cannot_tell_of_its_images(server: InProcess, colour: str) -> None:
    pod = await server.run_pod()
    app = await server.run(pod)
    async with relayed(server, colour) as (relay, client):
        (row,) = await client.list_containers()
        relay.answers["ImageStatus"] = refusal(grpc.StatusCode.INVALID_ARGUMENT, "no reference")
        for image in (row.image_id, row.image_ref):
            assert [found.id for found in await client.containers(image=image)] == [app]


@pytest.mark.parametrize("colour", COLOURS)
async def test_details_of_containerd(server: InProcess, colour: str) -> None:
    spec = {"linux": {"cgroupsPath": "a.slice:cri-containerd:x", "namespaces": [{"type": "network", "path": "/n"}]}}
    status = pb.ContainerStatus(id="x")
    async with relayed(server, colour) as (relay, client):
        info = {"info": json.dumps({"pid": 7, "runtimeSpec": spec})}
        relay.answers["ContainerStatus"] = saying(pb.ContainerStatusResponse(status=status, info=info))
        found = await client.details("x")
        assert (found.pid, found.netns, found.cgroup) == (7, "/n", "/a.slice/cri-containerd-x.scope")
