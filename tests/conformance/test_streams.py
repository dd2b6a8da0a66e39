"""The Stream… lists: the same rows as the unary ones, in pieces, for nodes whose list is too large for one message."""

from typing import Any

import grpc
import pytest

from criadapt.config import FaultRule
from criadapt.core.records import ContainerRecord, SandboxRecord
from criadapt.cri.v1 import api_pb2 as pb
from criadapt.testing.factories import container_config, container_record, sandbox_config, sandbox_record
from criadapt.testing.inprocess import MAX_MESSAGE, InProcess, refused

# Streaming RPC, its unary twin, and the repeated fields of the two.
PAIRS = [
    ("StreamPodSandboxes", "ListPodSandbox", "pod_sandboxes", "items"),
    ("StreamContainers", "ListContainers", "containers", "containers"),
    ("StreamContainerStats", "ListContainerStats", "container_stats", "stats"),
    ("StreamPodSandboxStats", "ListPodSandboxStats", "pod_sandbox_stats", "stats"),
    ("StreamPodSandboxMetrics", "ListPodSandboxMetrics", "pod_sandbox_metrics", "pod_metrics"),
    ("StreamImages", "ListImages", "images", "images"),
]


def field_of(call: str) -> str:
    """The one repeated field of a streamed list's message."""
    method = pb.DESCRIPTOR.services_by_name["ImageService" if "Image" in call else "RuntimeService"].methods_by_name
    (field,) = method[call].output_type.fields
    return str(field.name)


@pytest.mark.parametrize(("stream", "unary", "_", "field"), PAIRS)
async def test_streams_have_the_rows_of_their_unary_twins(
    server: InProcess, stream: str, unary: str, _: str, field: str
) -> None:
    for name in ("one", "two", "three"):
        await server.run(await server.run_pod(name))
    messages = await server.chunks(stream)
    assert all(getattr(message, field_of(stream)) for message in messages)
    rows = [row for message in messages for row in getattr(message, field_of(stream))]
    expected = list(getattr(await getattr(server.rpc, unary)(), field))
    assert [identity(row) for row in rows] == [identity(row) for row in expected]
    if "Stats" not in stream and "Metrics" not in stream:
        assert rows == expected


def identity(row: Any) -> str:
    if hasattr(row, "attributes"):
        return str(row.attributes.id)
    return str(row.pod_sandbox_id if isinstance(row, pb.PodSandboxMetrics) else row.id)


@pytest.mark.parametrize("stream", [pair[0] for pair in PAIRS if pair[0] != "StreamImages"])
async def test_an_empty_list_is_no_message_at_all(server: InProcess, stream: str) -> None:
    assert await server.chunks(stream) == []


async def test_an_empty_image_list_is_no_message_at_all(server: InProcess) -> None:
    assert await server.chunks("StreamImages", filter={"image": {"image": "absent"}}) == []


async def test_streams_are_filtered_like_their_unary_twins(server: InProcess) -> None:
    one, two = await server.run_pod("one", labels={"a": "b"}), await server.run_pod("two")
    app = await server.run(two, "app", labels={"a": "b"})
    selector = {"label_selector": {"a": "b"}}
    for stream, expected in (
        ("StreamPodSandboxes", one),
        ("StreamPodSandboxStats", one),
        ("StreamContainers", app),
        ("StreamContainerStats", app),
    ):
        (message,) = await server.chunks(stream, filter=selector)
        assert [identity(row) for row in getattr(message, field_of(stream))] == [expected], stream
        assert await server.chunks(stream, filter={"id": "nobody"}) == []


ROWS = 20_000
NOTE = {"note": "x" * 1000}  # so that all together is more than a message may hold


def _pods(server: InProcess) -> list[SandboxRecord]:
    return [
        sandbox_record(f"{number:064x}", sandbox_config(f"pod-{number}", uid=f"u{number}", annotations=NOTE))
        for number in range(ROWS)
    ]


def _containers(server: InProcess) -> list[ContainerRecord]:
    pod = sandbox_record("f" * 64)
    server.runtime.store.put_sandbox(pod, journaled=True)
    return [
        container_record(f"{number:064x}", pod.id, container_config(f"app-{number}", annotations=NOTE))
        for number in range(ROWS)
    ]


@pytest.mark.parametrize(("stream", "unary"), [pair[:2] for pair in PAIRS[:2]])
async def test_a_list_too_large_for_a_message_is_streamed(server: InProcess, stream: str, unary: str) -> None:
    # Made behind the engine's back, which must not be asked: 20,000 real ones would take a minute.
    server.backend.set_rules([FaultRule(call="containers", hang=True)])
    store = server.runtime.store
    if stream == "StreamPodSandboxes":
        for pod in _pods(server):
            store.put_sandbox(pod, journaled=True)
    else:
        for container in _containers(server):
            store.put_container(container, journaled=True)
    with refused(grpc.StatusCode.RESOURCE_EXHAUSTED):
        await getattr(server.rpc, unary)()
    messages = await server.chunks(stream, deadline=30)
    sizes = [message.ByteSize() for message in messages]
    assert sum(sizes) > MAX_MESSAGE
    assert max(sizes) < MAX_MESSAGE // 4
    ids = [row.id for message in messages for row in getattr(message, field_of(stream))]
    assert ids == [f"{number:064x}" for number in reversed(range(ROWS))]


async def test_a_client_may_leave_in_the_middle(server: InProcess) -> None:
    server.backend.set_rules([FaultRule(call="containers", hang=True)])
    for pod in _pods(server)[:5000]:
        server.runtime.store.put_sandbox(pod, journaled=True)
    before = server.traces()
    call = server.rpc.StreamPodSandboxes()
    assert (await call.read()).pod_sandboxes
    call.cancel()
    await server.leaves(before)
    assert await server.rpc.Version()
