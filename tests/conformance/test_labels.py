"""What kubelet stores with its objects comes back byte for byte: labels, annotations, metadata, environment."""

from typing import Any

import grpc
import pytest

from criadapt.cri.v1 import api_pb2 as pb
from criadapt.testing.inprocess import InProcess, container_config, pod_config, refused

KUBELET_LABELS = {
    "io.kubernetes.pod.name": "web-5f7d8c9b6-x2x4k",
    "io.kubernetes.pod.namespace": "kube-system",
    "io.kubernetes.pod.uid": "6f1c2d0e-7b0d-4d3c-8f80-1c2d3e4f5a6b",
    "io.kubernetes.container.name": "web",
}
KUBELET_ANNOTATIONS = {
    "io.kubernetes.container.hash": "8f1c2d0e",
    "io.kubernetes.container.restartCount": "3",
    "io.kubernetes.container.terminationMessagePath": "/dev/termination-log",
    "io.kubernetes.container.ports": '[{"name":"http","containerPort":80,"protocol":"TCP"}]',
    "kubectl.kubernetes.io/last-applied-configuration": '{"a":"b\\n"}\n',
}
ODD = {
    "": "an empty key",
    "empty value": "",
    "criadapt.io/kind": "a key of our own",
    "criadapt.io/sandbox": "another one",
    "ünïcode/✓": "🙂\n\t\r",
    "quotes": "'\"\\${}`",
    "nul": "a\0b",
    " spaces ": "  ",
    "surrogate-like": "\\ud800",
}


async def shown(server: InProcess, kind: str, maps: dict[str, Any]) -> list[Any]:
    """The object as list, stream and status show it."""
    if kind == "pod":
        pod = (await server.rpc.RunPodSandbox(config=pod_config("x", **maps))).pod_sandbox_id
        (row,) = (await server.rpc.ListPodSandbox(filter={"id": pod})).items
        (message,) = await server.chunks("StreamPodSandboxes", filter={"id": pod})
        return [row, message.pod_sandboxes[0], await server.pod(pod)]
    app = await server.create(await server.run_pod(), **maps)
    (row,) = (await server.rpc.ListContainers(filter={"id": app})).containers
    (message,) = await server.chunks("StreamContainers", filter={"id": app})
    return [row, message.containers[0], await server.container(app)]


@pytest.mark.parametrize("kind", ["pod", "container"])
@pytest.mark.parametrize("restart", [False, True], ids=["", "after a restart"])
async def test_maps_come_back_exactly(server: InProcess, kind: str, restart: bool) -> None:
    maps = {"labels": {**KUBELET_LABELS, **ODD}, "annotations": {**KUBELET_ANNOTATIONS, **ODD}}
    found = await shown(server, kind, maps)
    if restart:
        await server.crash()
        found = [
            await server.pod(found[0].id) if kind == "pod" else await server.container(found[0].id),
        ]
    for each in found:
        assert dict(each.labels) == maps["labels"]
        assert dict(each.annotations) == maps["annotations"]


@pytest.mark.parametrize("kind", ["pod", "container"])
async def test_as_large_as_kubernetes_allows(server: InProcess, kind: str) -> None:
    maps = {
        "annotations": {"one": "x" * 200_000, "two": "ü" * 30_000},
        "labels": {f"k{n}": "v" * 63 for n in range(99)},
    }
    for each in await shown(server, kind, maps):
        assert dict(each.annotations) == maps["annotations"]
        assert dict(each.labels) == maps["labels"]


@pytest.mark.parametrize("field", ["labels", "annotations"])
@pytest.mark.parametrize("kind", ["pod", "container"])
async def test_larger_than_a_mebibyte_is_refused(server: InProcess, kind: str, field: str) -> None:
    pod = await server.run_pod()
    before = server.traces()
    with refused(grpc.StatusCode.INVALID_ARGUMENT, saying=f"config.{field}"):
        if kind == "pod":
            await server.run_pod("big", **{field: {"x": "y" * (1 << 20)}})
        else:
            await server.create(pod, **{field: {"x": "y" * (1 << 20)}})
    await server.leaves(before)


async def test_a_request_beyond_16_mib_is_refused(server: InProcess) -> None:
    with refused(grpc.StatusCode.RESOURCE_EXHAUSTED):
        await server.run_pod("big", annotations={"x": "y" * (17 << 20)})
    assert await server.run_pod()


async def test_no_label_of_ours_is_shown(server: InProcess) -> None:
    for kind in ("pod", "container"):
        for each in await shown(server, kind, {}):
            assert not each.labels
            assert not each.annotations


@pytest.mark.parametrize(
    "metadata",
    [
        {"name": "a_b", "uid": "c_d", "namespace": "e_f", "attempt": 4_294_967_295},
        {"name": "x" * 253, "uid": "u" * 253, "namespace": "n" * 253},
        {"name": "ünïcode ✓ /:%", "uid": "", "namespace": ""},
    ],
)
async def test_metadata_comes_back_exactly(server: InProcess, metadata: dict[str, Any]) -> None:
    config = pb.PodSandboxConfig(metadata=metadata)
    pod = (await server.rpc.RunPodSandbox(config=config)).pod_sandbox_id
    own = {"name": metadata["name"], "attempt": metadata.get("attempt", 0)}
    app = (await server.rpc.CreateContainer(pod_sandbox_id=pod, config=container_config(metadata=own))).container_id
    for _ in range(2):
        assert (await server.pod(pod)).metadata == config.metadata
        assert (await server.container(app)).metadata == pb.ContainerMetadata(**own)
        await server.crash()


async def test_values_of_variables_are_bytes(server: InProcess) -> None:
    value = bytes(range(1, 256))
    app = await server.run(await server.run_pod(), envs=[{"key": "BYTES", "value": value}])
    assert (await server.exec(app, "printenv", "BYTES")).stdout == value + b"\n"


async def test_objects_can_be_selected_by_any_label_that_came_back(server: InProcess) -> None:
    pod = await server.run_pod(labels=ODD)
    for key, value in ODD.items():
        found = await server.rpc.ListPodSandbox(filter={"label_selector": {key: value}})
        assert [row.id for row in found.items] == [pod], key
    found = await server.rpc.ListPodSandbox(filter={"label_selector": {"quotes": "other"}})
    assert not found.items
