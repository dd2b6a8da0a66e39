"""Figures: stats of containers and pods, and the metrics that replace cAdvisor's."""

import re
from typing import Any

import grpc
import pytest

from criadapt.cri.v1 import api_pb2 as pb
from criadapt.testing.inprocess import InProcess, refused, until

LIMITS = {
    "cpu_period": 100000,
    "cpu_quota": 20000,
    "cpu_shares": 1024,
    "memory_limit_in_bytes": 64 << 20,
    "memory_swap_limit_in_bytes": 64 << 20,
}
# critest, pkg/validate/pod.go: every one of these must be emitted for a pod with a running container with limits.
EXPECTED = re.findall(
    r"\w+",
    """
    cpu_cfs_periods_total cpu_cfs_throttled_periods_total cpu_cfs_throttled_seconds_total cpu_system_seconds_total
    cpu_usage_seconds_total cpu_user_seconds_total file_descriptors fs_inodes_free fs_inodes_total fs_limit_bytes
    fs_usage_bytes last_seen memory_cache memory_failcnt memory_failures_total memory_kernel_usage
    memory_mapped_file memory_max_usage_bytes memory_rss memory_swap memory_usage_bytes memory_working_set_bytes
    network_receive_bytes_total network_receive_errors_total network_receive_packets_dropped_total
    network_receive_packets_total network_transmit_bytes_total network_transmit_errors_total
    network_transmit_packets_dropped_total network_transmit_packets_total oom_events_total processes sockets
    spec_cpu_period spec_cpu_shares spec_memory_limit_bytes spec_memory_swap_limit_bytes start_time_seconds threads
    threads_max
    """,
)
# Those that critest lets a runtime advertise without a sample: they depend on the host.
MAY_BE_MISSING = re.findall(
    r"\w+",
    """
    blkio_device_usage_total fs_reads_bytes_total fs_reads_total fs_writes_bytes_total fs_writes_total
    hugetlb_max_usage_bytes hugetlb_usage_bytes pressure_cpu_stalled_seconds_total
    pressure_cpu_waiting_seconds_total pressure_io_stalled_seconds_total pressure_io_waiting_seconds_total
    pressure_memory_stalled_seconds_total pressure_memory_waiting_seconds_total spec_cpu_quota
    spec_memory_reservation_limit_bytes ulimits_soft
    """,
)


async def stats(server: InProcess, **filter: Any) -> dict[str, Any]:
    found = (await server.rpc.ListContainerStats(filter=filter)).stats
    return {each.attributes.id: each for each in found}


# ------------------------------------------------------------------ containers


async def test_a_running_container_is_measured(server: InProcess) -> None:
    app = await server.run(await server.run_pod(), labels={"a": "b"}, annotations={"c": "d"})
    found = (await server.rpc.ContainerStats(container_id=app)).stats
    assert found.attributes.id == app
    assert found.attributes.metadata.name == "app"
    assert dict(found.attributes.labels) == {"a": "b"}
    assert dict(found.attributes.annotations) == {"c": "d"}
    assert found.cpu.timestamp > 0
    assert found.cpu.usage_core_nano_seconds.value > 0
    assert found.memory.timestamp > 0
    assert 0 < found.memory.working_set_bytes.value <= found.memory.usage_bytes.value
    assert found.memory.rss_bytes.value > 0
    assert found.writable_layer.timestamp > 0
    assert found.writable_layer.fs_id.mountpoint
    assert found.writable_layer.HasField("used_bytes")


async def test_available_memory_is_what_the_limit_leaves(server: InProcess) -> None:
    app = await server.run(await server.run_pod(), linux={"resources": LIMITS})
    memory = (await server.rpc.ContainerStats(container_id=app)).stats.memory
    assert memory.available_bytes.value == (64 << 20) - memory.working_set_bytes.value


async def test_processor_time_grows_and_its_rate_follows(server: InProcess) -> None:
    app = await server.run(await server.run_pod(), command=["stress", "--cpu", "1"])
    first = (await server.rpc.ContainerStats(container_id=app)).stats.cpu
    assert not first.HasField("usage_nano_cores")

    async def rated() -> Any:
        cpu = (await server.rpc.ContainerStats(container_id=app)).stats.cpu
        return cpu if cpu.HasField("usage_nano_cores") else None

    second = await until(rated)  # two samples that are far enough apart
    assert second.usage_core_nano_seconds.value > first.usage_core_nano_seconds.value
    assert second.timestamp > first.timestamp
    assert second.usage_nano_cores.value > 100_000_000


async def test_figures_are_filtered_like_containers(server: InProcess) -> None:
    one, two = await server.run_pod("one"), await server.run_pod("two")
    a = await server.run(one, "a", labels={"app": "x"})
    b = await server.run(two, "b", labels={"app": "y"})
    assert set(await stats(server)) == {a, b}
    assert {each.attributes.id for each in (await server.rpc.ListContainerStats()).stats} == {a, b}
    assert set(await stats(server, id=a)) == {a}
    assert set(await stats(server, id=a[:15])) == {a}
    assert set(await stats(server, pod_sandbox_id=two)) == {b}
    assert set(await stats(server, label_selector={"app": "y"})) == {b}
    assert set(await stats(server, label_selector={"app": "z"})) == set()
    assert set(await stats(server, id="nobody")) == set()


async def test_created_and_exited_containers_have_a_disk_only(server: InProcess) -> None:
    pod = await server.run_pod()
    created = await server.create(pod, "created")
    exited = await server.run(pod, "exited", command=["true"])
    await server.exited(exited)
    found = await stats(server)
    assert set(found) == {created, exited}
    for each in found.values():
        assert not each.HasField("cpu")
        assert not each.HasField("memory")
    assert (await server.rpc.ContainerStats(container_id=exited)).stats.HasField("writable_layer")


async def test_an_unknown_container_has_no_figures(server: InProcess) -> None:
    with refused(grpc.StatusCode.NOT_FOUND, saying="nobody"):
        await server.rpc.ContainerStats(container_id="nobody")


# ------------------------------------------------------------------ pods


async def test_a_pod_is_the_sum_of_its_containers(server: InProcess) -> None:
    pod = await server.run_pod(labels={"a": "b"})
    apps = {await server.run(pod, name) for name in ("one", "two")}
    found = (await server.rpc.PodSandboxStats(pod_sandbox_id=pod)).stats
    assert found.attributes.id == pod
    assert found.attributes.metadata.uid == "uid-of-web"
    linux = found.linux
    assert {each.attributes.id for each in linux.containers} == apps
    parts = [each.cpu.usage_core_nano_seconds.value for each in linux.containers]
    assert linux.cpu.usage_core_nano_seconds.value >= sum(parts)
    parts = [each.memory.working_set_bytes.value for each in linux.containers]
    assert linux.memory.working_set_bytes.value >= sum(parts)
    assert linux.process.process_count.value == 3
    assert linux.network.default_interface.name == "eth0"
    assert "lo" not in [interface.name for interface in linux.network.interfaces]


async def test_a_pod_on_the_host_network_has_no_network_figures(server: InProcess) -> None:
    pod = await server.run_pod(linux={"security_context": {"namespace_options": {"network": pb.NODE}}})
    assert not (await server.rpc.PodSandboxStats(pod_sandbox_id=pod)).stats.linux.HasField("network")


async def test_pods_are_filtered(server: InProcess) -> None:
    one = await server.run_pod("one", labels={"app": "x"})
    two = await server.run_pod("two", labels={"app": "y"})

    async def found(**filter: Any) -> set[str]:
        return {each.attributes.id for each in (await server.rpc.ListPodSandboxStats(filter=filter)).stats}

    assert await found() == {one, two}
    assert await found(id=one[:12]) == {one}
    assert await found(label_selector={"app": "y"}) == {two}
    assert await found(id="nobody") == set()
    await server.rpc.StopPodSandbox(pod_sandbox_id=two)
    assert await found() == {one}
    with refused(grpc.StatusCode.UNAVAILABLE, saying="not ready"):
        await server.rpc.PodSandboxStats(pod_sandbox_id=two)
    with refused(grpc.StatusCode.NOT_FOUND):
        await server.rpc.PodSandboxStats(pod_sandbox_id="nobody")


# ------------------------------------------------------------------ metrics


async def emitted(server: InProcess, pod: str) -> dict[str, list[Any]]:
    (found,) = [each for each in (await server.rpc.ListPodSandboxMetrics()).pod_metrics if each.pod_sandbox_id == pod]
    samples: dict[str, list[Any]] = {}
    for metric in (*found.metrics, *(metric for each in found.container_metrics for metric in each.metrics)):
        samples.setdefault(metric.name.removeprefix("container_"), []).append(metric)
    return samples


async def test_every_expected_metric_is_described_and_emitted(server: InProcess) -> None:
    pod = await server.run_pod()
    await server.run(pod, linux={"resources": LIMITS})
    described = {d.name.removeprefix("container_") for d in (await server.rpc.ListMetricDescriptors()).descriptors}
    samples = await emitted(server, pod)
    assert set(EXPECTED) - described == set()
    assert set(EXPECTED) - set(samples) == set()


async def test_whatever_is_described_is_emitted(server: InProcess) -> None:
    pod = await server.run_pod()
    await server.run(pod, linux={"resources": LIMITS})
    described = {d.name.removeprefix("container_") for d in (await server.rpc.ListMetricDescriptors()).descriptors}
    samples = await emitted(server, pod)
    assert described - set(samples) - set(MAY_BE_MISSING) == set()
    assert set(samples) - described == set()


async def test_every_sample_fits_its_description(server: InProcess) -> None:
    pod = await server.run_pod()
    await server.run(pod, linux={"resources": LIMITS})
    descriptors = {d.name: d for d in (await server.rpc.ListMetricDescriptors()).descriptors}
    for descriptor in descriptors.values():
        assert descriptor.help
        assert descriptor.label_keys
    for samples in (await emitted(server, pod)).values():
        for sample in samples:
            assert len(sample.label_values) == len(descriptors[sample.name].label_keys), sample.name
            assert sample.metric_type in (pb.COUNTER, pb.GAUGE)


async def test_samples_of_a_container_name_it(server: InProcess) -> None:
    pod = await server.run_pod()
    app = await server.run(pod, linux={"resources": LIMITS})
    keys = {d.name: list(d.label_keys) for d in (await server.rpc.ListMetricDescriptors()).descriptors}
    (sample,) = (await emitted(server, pod))["cpu_usage_seconds_total"][-1:]
    labels = dict(zip(keys[sample.name], sample.label_values, strict=True))
    assert labels["pod"] == "web"
    assert labels["namespace"] == "default"
    assert labels["container"] == "app"
    assert app in labels["id"]


async def test_a_pod_s_own_metrics_are_those_of_its_network(server: InProcess) -> None:
    pod = await server.run_pod()
    (found,) = (await server.rpc.ListPodSandboxMetrics()).pod_metrics
    assert found.pod_sandbox_id == pod
    assert not found.container_metrics
    assert any("network_receive_bytes" in metric.name for metric in found.metrics)


async def test_an_empty_node_has_no_samples_and_all_descriptions(server: InProcess) -> None:
    assert not (await server.rpc.ListPodSandboxMetrics()).pod_metrics
    assert (await server.rpc.ListMetricDescriptors()).descriptors


@pytest.mark.parametrize("call", ["ContainerStats", "ListContainerStats", "ListPodSandboxStats"])
async def test_one_sick_container_does_not_cost_the_figures_of_all(server: InProcess, call: str) -> None:
    from criadapt.config import FaultRule

    pod = await server.run_pod()
    sick, well = await server.run(pod, "sick"), await server.run(pod, "well")
    server.backend.set_rules([FaultRule(call="usage", error="Unavailable", match={"id": sick})])
    if call == "ContainerStats":
        with refused(grpc.StatusCode.UNAVAILABLE):
            await server.rpc.ContainerStats(container_id=sick)
        return
    answer = await getattr(server.rpc, call)()
    rows = answer.stats if call == "ListContainerStats" else answer.stats[0].linux.containers
    assert [row.attributes.id for row in rows] == [well]
