"""Raw counters of one container, as an engine or its cgroup gives them.

Both the CRI stats and the CRI metrics are computed from these, so a backend fills one structure and knows nothing
of either. A part that the engine cannot measure is None.
"""

from __future__ import annotations

from dataclasses import dataclass

from criadapt.model.stats import PsiStats


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuCounters:
    """Nanoseconds of CPU time, and periods of the CFS quota."""

    usage_ns: int
    user_ns: int = 0
    system_ns: int = 0
    periods: int = 0
    throttled_periods: int = 0
    throttled_ns: int = 0
    psi: PsiStats | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryCounters:
    """Bytes, unless the name says otherwise. `limit` and `swap_limit` are None when unlimited."""

    usage: int
    working_set: int
    rss: int = 0
    cache: int = 0
    mapped_file: int = 0
    kernel: int = 0
    swap: int = 0
    max_usage: int = 0
    limit: int | None = None
    swap_limit: int | None = None
    fail_count: int = 0
    oom_kills: int = 0
    page_faults: int = 0
    major_page_faults: int = 0
    psi: PsiStats | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockCounters:
    """Requests and bytes that reached one block device."""

    device: str
    major: int
    minor: int
    reads: int = 0
    writes: int = 0
    read_bytes: int = 0
    write_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessCounters:
    """What the container's processes hold; `ulimits` maps a resource name to the soft limit of its first process."""

    processes: int
    threads: int = 0
    threads_max: int | None = None
    file_descriptors: int = 0
    sockets: int = 0
    ulimits: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskCounters:
    """Writable layer: what the container uses of the filesystem that holds it, and that filesystem's size."""

    mountpoint: str
    used_bytes: int
    inodes_used: int = 0
    device: str = ""
    limit_bytes: int = 0
    inodes_total: int = 0
    inodes_free: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfaceCounters:
    """One network interface as seen from inside the pod."""

    name: str
    rx_bytes: int = 0
    rx_packets: int = 0
    rx_errors: int = 0
    rx_dropped: int = 0
    tx_bytes: int = 0
    tx_packets: int = 0
    tx_errors: int = 0
    tx_dropped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HugepageCounters:
    """Huge pages of one size (``2MB``), in bytes."""

    page_size: str
    usage: int
    max_usage: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Everything measured of one container at `time_ns`. Only an infra container carries its pod's interfaces."""

    time_ns: int
    cpu: CpuCounters | None = None
    memory: MemoryCounters | None = None
    processes: ProcessCounters | None = None
    disk: DiskCounters | None = None
    block: tuple[BlockCounters, ...] = ()
    io_psi: PsiStats | None = None
    network: tuple[InterfaceCounters, ...] = ()
    hugepages: tuple[HugepageCounters, ...] = ()
