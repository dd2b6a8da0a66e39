"""CRI metrics: the table keeps what the descriptors promise."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from criadapt.backends.base import EngineImage
from criadapt.core import metrics, spec
from criadapt.core.metrics import DESCRIPTORS, LABEL_KEYS
from criadapt.core.records import ContainerRecord, SandboxRecord
from criadapt.model.container import ContainerConfig, ContainerMetadata
from criadapt.model.linux import LinuxContainerResources
from criadapt.model.sandbox import PodSandboxConfig, PodSandboxMetadata
from criadapt.model.stats import Metric, MetricType, PsiData, PsiStats
from criadapt.model.usage import (
    BlockCounters,
    CpuCounters,
    DiskCounters,
    HugepageCounters,
    InterfaceCounters,
    MemoryCounters,
    ProcessCounters,
    Usage,
)

SECOND = 1_000_000_000
NOW = 1_700_000_100 * SECOND
PSI = PsiStats(some=PsiData(total=9 * SECOND), full=PsiData(total=4 * SECOND))

# The names critest asks for. The second group may be missing there; it is not missing here.
REQUIRED = """
blkio_device_usage_total cpu_cfs_periods_total cpu_cfs_throttled_periods_total cpu_cfs_throttled_seconds_total
cpu_system_seconds_total cpu_usage_seconds_total cpu_user_seconds_total file_descriptors fs_inodes_free
fs_inodes_total fs_limit_bytes fs_reads_bytes_total fs_reads_total fs_usage_bytes fs_writes_bytes_total
fs_writes_total last_seen memory_cache memory_failcnt memory_failures_total memory_kernel_usage memory_mapped_file
memory_max_usage_bytes memory_rss memory_swap memory_usage_bytes memory_working_set_bytes
network_receive_bytes_total network_receive_errors_total network_receive_packets_dropped_total
network_receive_packets_total network_transmit_bytes_total network_transmit_errors_total
network_transmit_packets_dropped_total network_transmit_packets_total oom_events_total processes sockets
spec_cpu_period spec_cpu_shares spec_memory_limit_bytes spec_memory_swap_limit_bytes start_time_seconds threads
threads_max
"""
TOLERATED = """
hugetlb_max_usage_bytes hugetlb_usage_bytes pressure_cpu_stalled_seconds_total pressure_cpu_waiting_seconds_total
pressure_io_stalled_seconds_total pressure_io_waiting_seconds_total pressure_memory_stalled_seconds_total
pressure_memory_waiting_seconds_total spec_cpu_quota spec_memory_reservation_limit_bytes ulimits_soft
"""
NAMES = {f"container_{name}" for name in (REQUIRED + TOLERATED).split()}

POD = SandboxRecord(
    id="pod-id",
    config=PodSandboxConfig(metadata=PodSandboxMetadata(name="web", uid="u-1", namespace="shop", attempt=1)),
    handler="",
    created_at=1,
    ready_at=2,
)
RECORD = ContainerRecord(
    id="c-id",
    sandbox_id="pod-id",
    config=ContainerConfig(metadata=ContainerMetadata(name="app", attempt=3)),
    image_id="sha256:1",
    image_ref="sha256:1",
    image_name="registry.k8s.io/busybox:1.29",
    created_at=1,
    started_at=1_700_000_000 * SECOND + 5,
    resources=LinuxContainerResources(
        cpu_period=100_000,
        cpu_quota=20_000,
        cpu_shares=1024,
        memory_limit_in_bytes=64 << 20,
        memory_swap_limit_in_bytes=65 << 20,
        unified={"memory.min": "4096"},
    ),
)
USAGE = Usage(
    time_ns=NOW,
    cpu=CpuCounters(
        usage_ns=7 * SECOND + 1,
        user_ns=4 * SECOND,
        system_ns=3 * SECOND,
        periods=50,
        throttled_periods=6,
        throttled_ns=2 * SECOND,
        psi=PSI,
    ),
    memory=MemoryCounters(
        usage=100,
        working_set=60,
        rss=40,
        cache=30,
        mapped_file=20,
        kernel=10,
        swap=5,
        max_usage=200,
        fail_count=8,
        oom_kills=1,
        page_faults=70,
        major_page_faults=7,
        psi=PSI,
    ),
    processes=ProcessCounters(
        processes=2, threads=5, threads_max=99, file_descriptors=11, sockets=3, ulimits=(("max_open_files", 1024),)
    ),
    disk=DiskCounters(
        mountpoint="/", device="overlay", used_bytes=9, limit_bytes=1000, inodes_total=500, inodes_free=400
    ),
    block=(
        BlockCounters(device="sda", major=8, minor=0, reads=1, writes=2, read_bytes=3, write_bytes=4),
        BlockCounters(device="", major=8, minor=16, reads=5, writes=6, read_bytes=7, write_bytes=8),
    ),
    io_psi=PSI,
    network=(
        InterfaceCounters(name="lo", rx_bytes=1000),
        InterfaceCounters(
            name="eth0",
            rx_bytes=1,
            rx_packets=2,
            rx_errors=3,
            rx_dropped=4,
            tx_bytes=5,
            tx_packets=6,
            tx_errors=7,
            tx_dropped=8,
        ),
    ),
    hugepages=(HugepageCounters(page_size="2MB", usage=21, max_usage=22),),
)


def of_container(usage: Usage = USAGE, record: ContainerRecord = RECORD) -> tuple[Metric, ...]:
    return metrics.container_metrics(POD, record, usage, NOW)


def of_pod(usage: Usage = USAGE) -> tuple[Metric, ...]:
    return metrics.pod_metrics(POD, usage, NOW)


def values(samples: tuple[Metric, ...], name: str) -> dict[tuple[str, ...], int | None]:
    """Samples of ``container_<name>`` by their own labels, those that come on top of the common ones."""
    return {
        sample.label_values[len(LABEL_KEYS) :]: sample.value for sample in samples if sample.name == f"container_{name}"
    }


def value(name: str, usage: Usage = USAGE, record: ContainerRecord = RECORD) -> int | None:
    (found,) = values(of_container(usage, record) + of_pod(usage), name).values()
    return found


# ---------------------------------------------------------------------- promises


def test_descriptors_are_the_56_names() -> None:
    assert len(NAMES) == 56
    assert Counter(descriptor.name for descriptor in DESCRIPTORS) == Counter(NAMES)


def test_descriptors_are_complete() -> None:
    for descriptor in DESCRIPTORS:
        assert descriptor.help
        assert descriptor.label_keys[: len(LABEL_KEYS)] == LABEL_KEYS
        assert len(set(descriptor.label_keys)) == len(descriptor.label_keys)


def test_every_descriptor_is_emitted_and_nothing_else() -> None:
    assert {sample.name for sample in of_container() + of_pod()} == {descriptor.name for descriptor in DESCRIPTORS}


def test_network_belongs_to_the_pod_and_all_else_to_the_container() -> None:
    assert {sample.name for sample in of_pod()} == {name for name in NAMES if name.startswith("container_network_")}
    assert not any(sample.name.startswith("container_network_") for sample in of_container())


def test_samples_keep_to_their_descriptors() -> None:
    keys = {descriptor.name: descriptor.label_keys for descriptor in DESCRIPTORS}
    for sample in of_container() + of_pod():
        assert len(sample.label_values) == len(keys[sample.name])
        assert sample.timestamp == NOW
        assert type(sample.value) is int
        assert sample.value >= 0
        grows = sample.name.endswith(("_total", "_failcnt")) and sample.name != "container_fs_inodes_total"
        assert sample.metric_type is (MetricType.COUNTER if grows else MetricType.GAUGE)


def twice(usage: Usage) -> Usage:
    assert usage.processes is not None
    return replace(
        usage,
        block=usage.block * 2,
        network=usage.network * 2,
        hugepages=usage.hugepages * 2,
        processes=replace(usage.processes, ulimits=usage.processes.ulimits * 2),
    )


@pytest.mark.parametrize("usage", [USAGE, twice(USAGE)], ids=["as it should be", "with repetitions"])
def test_no_two_samples_share_name_and_labels(usage: Usage) -> None:
    number = Counter((sample.name, sample.label_values) for sample in of_container(usage) + of_pod(usage))
    assert set(number.values()) == {1}


# ---------------------------------------------------------------------- labels


def test_common_labels_of_a_container() -> None:
    (labels,) = {sample.label_values[: len(LABEL_KEYS)] for sample in of_container()}
    shown = dict(zip(LABEL_KEYS, labels, strict=True))
    assert shown.pop("name").startswith("k8s_app_shop_web_u-1_1_")
    assert shown == {
        "container": "app",
        "id": "c-id",
        "image": "registry.k8s.io/busybox:1.29",
        "namespace": "shop",
        "pod": "web",
    }


def test_common_labels_of_a_pod() -> None:
    (labels,) = {sample.label_values[: len(LABEL_KEYS)] for sample in of_pod()}
    shown = dict(zip(LABEL_KEYS, labels, strict=True))
    image = EngineImage(id="sha256:2", size=1)
    assert shown == {
        "container": "",
        "id": "pod-id",
        "image": "",
        "name": spec.infra(POD.config, "", image, "web").name,
        "namespace": "shop",
        "pod": "web",
    }


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("cpu_usage_seconds_total", ("cpu",)),
        ("cpu_user_seconds_total", ()),
        ("memory_failures_total", ("failure_type", "scope")),
        ("hugetlb_usage_bytes", ("pagesize",)),
        ("fs_usage_bytes", ("device",)),
        ("fs_reads_total", ("device",)),
        ("blkio_device_usage_total", ("device", "major", "minor", "operation")),
        ("ulimits_soft", ("ulimit",)),
        ("network_receive_bytes_total", ("interface",)),
        ("pressure_cpu_waiting_seconds_total", ()),
    ],
)
def test_own_labels(name: str, extra: tuple[str, ...]) -> None:
    (descriptor,) = [each for each in DESCRIPTORS if each.name == f"container_{name}"]
    assert descriptor.label_keys == LABEL_KEYS + extra


# ---------------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("start_time_seconds", 1_700_000_000),
        ("last_seen", 1_700_000_100),
        ("cpu_usage_seconds_total", 7),
        ("cpu_user_seconds_total", 4),
        ("cpu_system_seconds_total", 3),
        ("cpu_cfs_periods_total", 50),
        ("cpu_cfs_throttled_periods_total", 6),
        ("cpu_cfs_throttled_seconds_total", 2),
        ("memory_usage_bytes", 100),
        ("memory_working_set_bytes", 60),
        ("memory_rss", 40),
        ("memory_cache", 30),
        ("memory_mapped_file", 20),
        ("memory_kernel_usage", 10),
        ("memory_swap", 5),
        ("memory_max_usage_bytes", 200),
        ("memory_failcnt", 8),
        ("oom_events_total", 1),
        ("hugetlb_usage_bytes", 21),
        ("hugetlb_max_usage_bytes", 22),
        ("fs_usage_bytes", 9),
        ("fs_limit_bytes", 1000),
        ("fs_inodes_total", 500),
        ("fs_inodes_free", 400),
        ("pressure_cpu_waiting_seconds_total", 9),
        ("pressure_cpu_stalled_seconds_total", 4),
        ("pressure_memory_waiting_seconds_total", 9),
        ("pressure_memory_stalled_seconds_total", 4),
        ("pressure_io_waiting_seconds_total", 9),
        ("pressure_io_stalled_seconds_total", 4),
        ("processes", 2),
        ("threads", 5),
        ("threads_max", 99),
        ("file_descriptors", 11),
        ("sockets", 3),
        ("ulimits_soft", 1024),
        ("spec_cpu_period", 100_000),
        ("spec_cpu_quota", 20_000),
        ("spec_cpu_shares", 1024),
        ("spec_memory_limit_bytes", 64 << 20),
        ("spec_memory_swap_limit_bytes", 65 << 20),
        ("spec_memory_reservation_limit_bytes", 4096),
        ("network_receive_bytes_total", 1),
        ("network_receive_packets_total", 2),
        ("network_receive_errors_total", 3),
        ("network_receive_packets_dropped_total", 4),
        ("network_transmit_bytes_total", 5),
        ("network_transmit_packets_total", 6),
        ("network_transmit_errors_total", 7),
        ("network_transmit_packets_dropped_total", 8),
    ],
)
def test_single_values(name: str, expected: int) -> None:
    assert value(name) == expected


def test_values_per_device() -> None:
    samples = of_container()
    assert values(samples, "fs_reads_total") == {("sda",): 1, ("8:16",): 5}
    assert values(samples, "fs_writes_total") == {("sda",): 2, ("8:16",): 6}
    assert values(samples, "fs_reads_bytes_total") == {("sda",): 3, ("8:16",): 7}
    assert values(samples, "fs_writes_bytes_total") == {("sda",): 4, ("8:16",): 8}
    assert values(samples, "blkio_device_usage_total") == {
        ("sda", "8", "0", "Read"): 3,
        ("sda", "8", "0", "Write"): 4,
        ("8:16", "8", "16", "Read"): 7,
        ("8:16", "8", "16", "Write"): 8,
    }


def test_page_faults() -> None:
    assert values(of_container(), "memory_failures_total") == {
        ("pgfault", "container"): 70,
        ("pgfault", "hierarchy"): 70,
        ("pgmajfault", "container"): 7,
        ("pgmajfault", "hierarchy"): 7,
    }


# ---------------------------------------------------------------------- what is left out


ALWAYS = """
start_time_seconds last_seen spec_cpu_period spec_cpu_shares spec_memory_limit_bytes spec_memory_swap_limit_bytes
spec_memory_reservation_limit_bytes
"""


def test_what_is_not_measured_is_left_out() -> None:
    nothing = Usage(time_ns=NOW)
    without_quota = replace(RECORD, resources=LinuxContainerResources())
    assert {sample.name for sample in of_container(nothing, without_quota)} == {
        f"container_{name}" for name in ALWAYS.split()
    }
    assert of_pod(nothing) == ()


def test_pressure_without_full() -> None:
    assert USAGE.cpu is not None
    usage = replace(USAGE, cpu=replace(USAGE.cpu, psi=PsiStats(some=PsiData(total=SECOND))))
    assert value("pressure_cpu_waiting_seconds_total", usage) == 1
    assert not values(of_container(usage), "pressure_cpu_stalled_seconds_total")


def test_unlimited() -> None:
    assert USAGE.processes is not None
    usage = replace(
        USAGE,
        processes=replace(USAGE.processes, threads_max=None, ulimits=(("max_open_files", -1), ("max_processes", 7))),
    )
    record = replace(RECORD, resources=LinuxContainerResources(cpu_quota=-1, memory_swap_limit_in_bytes=-1))
    samples = of_container(usage, record)
    assert values(samples, "threads_max") == {(): 0}
    assert values(samples, "ulimits_soft") == {("max_processes",): 7}
    assert values(samples, "spec_cpu_quota") == {}
    assert values(samples, "spec_memory_limit_bytes") == {(): 0}
    assert values(samples, "spec_memory_swap_limit_bytes") == {(): 0}


@pytest.mark.parametrize("text", ["max", "", "4k", "-1", "²"])
def test_odd_reservations_count_as_none(text: str) -> None:
    record = replace(RECORD, resources=LinuxContainerResources(unified={"memory.min": text}))
    assert value("spec_memory_reservation_limit_bytes", record=record) == 0
