"""CRI figures from raw counters, and rates from counters seen twice. Pure but for the samples remembered."""

from __future__ import annotations

from collections.abc import Sequence

from criadapt.core.metrics_table import LOOPBACK
from criadapt.model.image import FilesystemIdentifier, FilesystemUsage
from criadapt.model.stats import CpuUsage, MemoryUsage, NetworkInterfaceUsage, NetworkUsage, SwapUsage
from criadapt.model.usage import DiskCounters, InterfaceCounters, MemoryCounters

RATE_WINDOW_NS = 1_000_000_000
"""Samples closer together than this give no rate: the kernel's own accounting would show in it."""

DEFAULT_INTERFACE = "eth0"


class Rates:
    """CPU rates from samples that come at any time: the base of a rate is at least RATE_WINDOW_NS old."""

    def __init__(self) -> None:
        self._samples: dict[str, tuple[tuple[int, int] | None, tuple[int, int]]] = {}
        """Two samples per id, at least the window apart; the older one is missing at first."""

    def __len__(self) -> int:
        return len(self._samples)

    def rate(self, id: str, time_ns: int, total_ns: int) -> int | None:
        """Take note of a sample; nanocores since a remembered one, None while there is none old enough."""
        older, newer = self._samples.get(id, (None, None))
        sample = (time_ns, total_ns)
        if newer is None or time_ns < newer[0] or total_ns < newer[1]:
            # First sample, or the clock or the counter went back: nothing from before is comparable.
            self._samples[id] = (None, sample)
            return None
        if time_ns - newer[0] >= RATE_WINDOW_NS:
            older = newer
            self._samples[id] = (older, sample)
        if older is None:
            return None
        return (total_ns - older[1]) * 1_000_000_000 // (time_ns - older[0])

    def forget(self, id: str) -> None:
        self._samples.pop(id, None)


def layer(disk: DiskCounters, time_ns: int) -> FilesystemUsage:
    """Writable layer."""
    return FilesystemUsage(
        timestamp=time_ns,
        fs_id=FilesystemIdentifier(mountpoint=disk.mountpoint),
        used_bytes=disk.used_bytes,
        inodes_used=disk.inodes_used,
    )


def memory(memory: MemoryCounters, time_ns: int) -> MemoryUsage:
    """Memory of one container."""
    return MemoryUsage(
        timestamp=time_ns,
        working_set_bytes=memory.working_set,
        available_bytes=_left(memory.limit, memory.working_set),
        usage_bytes=memory.usage,
        rss_bytes=memory.rss,
        page_faults=memory.page_faults,
        major_page_faults=memory.major_page_faults,
        psi=memory.psi,
    )


def swap(memory: MemoryCounters, time_ns: int) -> SwapUsage:
    """Swap of one container."""
    return SwapUsage(
        timestamp=time_ns, swap_available_bytes=_left(memory.swap_limit, memory.swap), swap_usage_bytes=memory.swap
    )


def _left(limit: int | None, used: int) -> int | None:
    return None if limit is None else max(0, limit - used)


def pod_cpu(cpus: Sequence[CpuUsage]) -> CpuUsage:
    """The rate counts those that have one; a container that just started joins it a little later."""
    rates = [cpu.usage_nano_cores for cpu in cpus if cpu.usage_nano_cores is not None]
    return CpuUsage(
        timestamp=max(cpu.timestamp for cpu in cpus),
        usage_core_nano_seconds=sum(cpu.usage_core_nano_seconds or 0 for cpu in cpus),
        usage_nano_cores=sum(rates) if rates else None,
    )


def pod_memory(memories: Sequence[MemoryCounters], limit: int, time_ns: int) -> MemoryUsage:
    """Sums; `limit` is the pod's own, 0 for none."""
    working_set = sum(memory.working_set for memory in memories)
    return MemoryUsage(
        timestamp=time_ns,
        working_set_bytes=working_set,
        available_bytes=_left(limit if limit > 0 else None, working_set),
        usage_bytes=sum(memory.usage for memory in memories),
        rss_bytes=sum(memory.rss for memory in memories),
        page_faults=sum(memory.page_faults for memory in memories),
        major_page_faults=sum(memory.major_page_faults for memory in memories),
    )


def network(interfaces: Sequence[InterfaceCounters], time_ns: int) -> NetworkUsage | None:
    """None without any interface but the loopback. The default one is eth0, else the first."""
    shown = [
        NetworkInterfaceUsage(
            name=interface.name,
            rx_bytes=interface.rx_bytes,
            rx_errors=interface.rx_errors,
            tx_bytes=interface.tx_bytes,
            tx_errors=interface.tx_errors,
        )
        for interface in interfaces
        if interface.name != LOOPBACK
    ]
    if not shown:
        return None
    default = next((interface for interface in shown if interface.name == DEFAULT_INTERFACE), shown[0])
    return NetworkUsage(
        timestamp=time_ns,
        default_interface=default,
        interfaces=tuple(interface for interface in shown if interface is not default),
    )
