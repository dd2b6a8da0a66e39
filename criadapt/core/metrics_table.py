"""Which metrics criadapt reports, as data: name, meaning, labels, and where the value comes from.

The names are those of the kubelet's ``/metrics/cadvisor``, since that is the page they end up on. A *family* is a
set of metrics with the same labels and the same source; a source that yields nothing silences its family, so what a
backend does not measure is absent rather than zero. CRI knows integers only: seconds are whole.

The kubelet asks for the descriptors once, when it starts, and drops samples of names it was not told then. So the
table is fixed; it does not depend on what the engine or its containers look like at the moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from criadapt.core.records import ContainerRecord
from criadapt.model.linux import LinuxContainerResources
from criadapt.model.stats import MetricType, PsiData, PsiStats
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

S = TypeVar("S")
T = TypeVar("T")

LOOPBACK = "lo"

_SECOND = 1_000_000_000


class Running(NamedTuple):
    """A running container and what was measured of it at `time_ns`."""

    record: ContainerRecord
    usage: Usage
    time_ns: int


@dataclass(frozen=True, slots=True)
class Row(Generic[T]):
    """One metric of a family. A negative value stands for "no limit" and is not reported: CRI has no sign."""

    name: str
    help: str
    value: Callable[[T], int]
    type: MetricType


@dataclass(frozen=True, slots=True)
class Family(Generic[S, T]):
    """Metrics of each part of a subject. `keys` name the labels that come on top of those every metric has."""

    parts: Callable[[S], Iterable[T]]
    rows: tuple[Row[T], ...]
    keys: tuple[str, ...] = ()
    labels: Callable[[T], tuple[str, ...]] = lambda part: ()


def _counter(name: str, help: str, value: Callable[[T], int]) -> Row[T]:
    return Row(name, help, value, MetricType.COUNTER)


def _gauge(name: str, help: str, value: Callable[[T], int]) -> Row[T]:
    return Row(name, help, value, MetricType.GAUGE)


def _one(part: T | None) -> tuple[T, ...]:
    return () if part is None else (part,)


# ---------------------------------------------------------------------- cpu

_CPU_TOTAL: Family[Running, CpuCounters] = Family(
    parts=lambda s: _one(s.usage.cpu),
    keys=("cpu",),
    labels=lambda c: ("total",),  # never per core, but dashboards select on it
    rows=(_counter("container_cpu_usage_seconds_total", "Seconds of CPU time used.", lambda c: c.usage_ns // _SECOND),),
)

_CPU: Family[Running, CpuCounters] = Family(
    parts=lambda s: _one(s.usage.cpu),
    rows=(
        _counter(
            "container_cpu_user_seconds_total", "The part used outside the kernel.", lambda c: c.user_ns // _SECOND
        ),
        _counter(
            "container_cpu_system_seconds_total", "The part used in the kernel.", lambda c: c.system_ns // _SECOND
        ),
        _counter("container_cpu_cfs_periods_total", "Periods in which a CPU quota applied.", lambda c: c.periods),
        _counter(
            "container_cpu_cfs_throttled_periods_total",
            "Periods in which the CPU quota ran out.",
            lambda c: c.throttled_periods,
        ),
        _counter(
            "container_cpu_cfs_throttled_seconds_total",
            "Seconds spent waiting for the next period after the CPU quota ran out.",
            lambda c: c.throttled_ns // _SECOND,
        ),
    ),
)

# ---------------------------------------------------------------------- memory

_MEMORY: Family[Running, MemoryCounters] = Family(
    parts=lambda s: _one(s.usage.memory),
    rows=(
        _gauge("container_memory_usage_bytes", "Memory charged, page cache included.", lambda m: m.usage),
        _gauge(
            "container_memory_working_set_bytes",
            "Memory charged, less the page cache that was not used lately; eviction goes by it.",
            lambda m: m.working_set,
        ),
        _gauge("container_memory_rss", "Bytes of anonymous memory.", lambda m: m.rss),
        _gauge("container_memory_cache", "Bytes of page cache.", lambda m: m.cache),
        _gauge("container_memory_mapped_file", "Bytes of files mapped into memory.", lambda m: m.mapped_file),
        _gauge("container_memory_kernel_usage", "Bytes the kernel holds on its behalf.", lambda m: m.kernel),
        _gauge("container_memory_swap", "Bytes of swap used.", lambda m: m.swap),
        _gauge("container_memory_max_usage_bytes", "The most memory charged so far.", lambda m: m.max_usage),
        _counter("container_memory_failcnt", "How often memory use ran into the limit.", lambda m: m.fail_count),
        _counter("container_oom_events_total", "Processes the OOM killer ended.", lambda m: m.oom_kills),
    ),
)


class _Fault(NamedTuple):
    kind: str
    scope: str
    number: int


def _faults(subject: Running) -> list[_Fault]:
    memory = subject.usage.memory
    if memory is None:
        return []
    # The counters include nested cgroups; of a container without any, both scopes say the same.
    return [
        _Fault(kind, scope, number)
        for kind, number in (("pgfault", memory.page_faults), ("pgmajfault", memory.major_page_faults))
        for scope in ("container", "hierarchy")
    ]


_FAULTS: Family[Running, _Fault] = Family(
    parts=_faults,
    keys=("failure_type", "scope"),
    labels=lambda f: (f.kind, f.scope),
    rows=(
        _counter(
            "container_memory_failures_total",
            "Page faults: pgfault counts all, pgmajfault those that had to wait for a disk.",
            lambda f: f.number,
        ),
    ),
)

_HUGEPAGES: Family[Running, HugepageCounters] = Family(
    parts=lambda s: s.usage.hugepages,
    keys=("pagesize",),
    labels=lambda h: (h.page_size,),
    rows=(
        _gauge("container_hugetlb_usage_bytes", "Bytes of huge pages in use.", lambda h: h.usage),
        _gauge(
            "container_hugetlb_max_usage_bytes", "The most huge pages used so far, in bytes.", lambda h: h.max_usage
        ),
    ),
)

# ---------------------------------------------------------------------- disk

_DISK: Family[Running, DiskCounters] = Family(
    parts=lambda s: _one(s.usage.disk),
    keys=("device",),
    labels=lambda d: (d.device,),
    rows=(
        _gauge("container_fs_usage_bytes", "Size of the writable layer.", lambda d: d.used_bytes),
        _gauge("container_fs_limit_bytes", "Size of the filesystem that holds the layer.", lambda d: d.limit_bytes),
        _gauge("container_fs_inodes_total", "Inodes of that filesystem.", lambda d: d.inodes_total),
        _gauge("container_fs_inodes_free", "Inodes of that filesystem not in use.", lambda d: d.inodes_free),
    ),
)


def _device(block: BlockCounters) -> str:
    return block.device or f"{block.major}:{block.minor}"


_BLOCK: Family[Running, BlockCounters] = Family(
    parts=lambda s: s.usage.block,
    keys=("device",),
    labels=lambda b: (_device(b),),
    rows=(
        _counter("container_fs_reads_total", "Read requests to the device.", lambda b: b.reads),
        _counter("container_fs_reads_bytes_total", "Bytes read from the device.", lambda b: b.read_bytes),
        _counter("container_fs_writes_total", "Write requests to the device.", lambda b: b.writes),
        _counter("container_fs_writes_bytes_total", "Bytes written to the device.", lambda b: b.write_bytes),
    ),
)


class _Transfer(NamedTuple):
    block: BlockCounters
    operation: str
    size: int


def _transfers(subject: Running) -> list[_Transfer]:
    return [
        transfer
        for block in subject.usage.block
        for transfer in (_Transfer(block, "Read", block.read_bytes), _Transfer(block, "Write", block.write_bytes))
    ]


_TRANSFERS: Family[Running, _Transfer] = Family(
    parts=_transfers,
    keys=("device", "major", "minor", "operation"),
    labels=lambda t: (_device(t.block), str(t.block.major), str(t.block.minor), t.operation),
    rows=(
        _counter("container_blkio_device_usage_total", "Bytes moved to or from the block device.", lambda t: t.size),
    ),
)

# ---------------------------------------------------------------------- pressure


def _pressure(resource: str, psi: Callable[[Usage], PsiStats | None]) -> tuple[Family[Running, PsiData], ...]:
    def family(kind: str, who: str, part: Callable[[PsiStats], PsiData | None]) -> Family[Running, PsiData]:
        return Family(
            parts=lambda s: _one(part(stats)) if (stats := psi(s.usage)) else (),
            rows=(
                _counter(
                    f"container_pressure_{resource}_{kind}_seconds_total",
                    f"Seconds in which {who} had to wait ({resource}).",
                    lambda p: p.total // _SECOND,
                ),
            ),
        )

    return (
        family("waiting", "at least one task", lambda stats: stats.some),
        family("stalled", "all tasks at once", lambda stats: stats.full),
    )


_PRESSURE = (
    *_pressure("cpu", lambda u: u.cpu.psi if u.cpu else None),
    *_pressure("memory", lambda u: u.memory.psi if u.memory else None),
    *_pressure("io", lambda u: u.io_psi),
)

# ---------------------------------------------------------------------- processes

_PROCESSES: Family[Running, ProcessCounters] = Family(
    parts=lambda s: _one(s.usage.processes),
    rows=(
        _gauge("container_processes", "Processes.", lambda p: p.processes),
        _gauge("container_threads", "Threads.", lambda p: p.threads),
        _gauge("container_threads_max", "Most threads allowed; 0 when unlimited.", lambda p: p.threads_max or 0),
        _gauge("container_file_descriptors", "Open file descriptors.", lambda p: p.file_descriptors),
        _gauge("container_sockets", "Open sockets.", lambda p: p.sockets),
    ),
)

_ULIMITS: Family[Running, tuple[str, int]] = Family(
    parts=lambda s: s.usage.processes.ulimits if s.usage.processes else (),
    keys=("ulimit",),
    labels=lambda u: (u[0],),
    rows=(_gauge("container_ulimits_soft", "Soft limit of the first process; absent when unlimited.", lambda u: u[1]),),
)

# ---------------------------------------------------------------------- life, and what was asked for

_LIFE: Family[Running, Running] = Family(
    parts=lambda s: (s,),
    rows=(
        _gauge("container_start_time_seconds", "Unix time of its start.", lambda s: s.record.started_at // _SECOND),
        _gauge("container_last_seen", "Unix time of this measurement.", lambda s: s.time_ns // _SECOND),
    ),
)


def _reserved(resources: LinuxContainerResources) -> int:
    value = resources.unified.get("memory.min", "").strip()
    return int(value) if value.isdecimal() else 0


_SPEC: Family[Running, LinuxContainerResources] = Family(
    parts=lambda s: (s.record.resources,),
    rows=(
        _gauge("container_spec_cpu_period", "CPU period in microseconds; 0 for the default.", lambda r: r.cpu_period),
        _gauge("container_spec_cpu_shares", "Weight when CPU is scarce; 0 for the default.", lambda r: r.cpu_shares),
        _gauge(
            "container_spec_memory_limit_bytes", "Memory limit; 0: none.", lambda r: max(r.memory_limit_in_bytes, 0)
        ),
        _gauge(
            "container_spec_memory_swap_limit_bytes",
            "Limit of memory and swap together; 0 when unlimited.",
            lambda r: max(r.memory_swap_limit_in_bytes, 0),
        ),
        _gauge(
            "container_spec_memory_reservation_limit_bytes",
            "Memory that nobody takes from it (memory.min); 0 when nothing was reserved.",
            _reserved,
        ),
    ),
)

_QUOTA: Family[Running, LinuxContainerResources] = Family(
    parts=lambda s: (s.record.resources,) if s.record.resources.cpu_quota > 0 else (),
    rows=(_gauge("container_spec_cpu_quota", "Microseconds of CPU per period, if limited.", lambda r: r.cpu_quota),),
)

_USAGE: tuple[Family[Running, Any], ...] = (_CPU_TOTAL, _CPU, _MEMORY, _FAULTS, _HUGEPAGES, _DISK, _BLOCK, _TRANSFERS)

CONTAINER_FAMILIES: tuple[Family[Running, Any], ...] = (_LIFE, *_USAGE, *_PRESSURE, _PROCESSES, _ULIMITS, _SPEC, _QUOTA)
"""What is reported of each running container."""

# ---------------------------------------------------------------------- network

_NETWORK: Family[Usage, InterfaceCounters] = Family(
    parts=lambda u: [interface for interface in u.network if interface.name != LOOPBACK],
    keys=("interface",),
    labels=lambda i: (i.name,),
    rows=(
        _counter("container_network_receive_bytes_total", "Bytes received.", lambda i: i.rx_bytes),
        _counter("container_network_receive_packets_total", "Packets received.", lambda i: i.rx_packets),
        _counter("container_network_receive_errors_total", "Errors while receiving.", lambda i: i.rx_errors),
        _counter(
            "container_network_receive_packets_dropped_total", "Packets dropped coming in.", lambda i: i.rx_dropped
        ),
        _counter("container_network_transmit_bytes_total", "Bytes sent.", lambda i: i.tx_bytes),
        _counter("container_network_transmit_packets_total", "Packets sent.", lambda i: i.tx_packets),
        _counter("container_network_transmit_errors_total", "Errors while sending.", lambda i: i.tx_errors),
        _counter(
            "container_network_transmit_packets_dropped_total", "Packets dropped going out.", lambda i: i.tx_dropped
        ),
    ),
)

POD_FAMILIES: tuple[Family[Usage, Any], ...] = (_NETWORK,)
"""What is reported of a pod as a whole, from the usage of its infra container."""
