"""Counters of cgroup v2, all in one directory (Documentation/admin-guide/cgroup-v2.rst).

As in v1, the file without which there is no such part is read last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from criadapt.metering import parse
from criadapt.metering.files import read
from criadapt.model.stats import PsiStats
from criadapt.model.usage import CpuCounters, HugepageCounters, MemoryCounters


def pressure(directory: str, resource: str) -> PsiStats | None:
    """``cpu``, ``memory`` or ``io`` pressure; None where the kernel keeps none (psi=0, cgroup.pressure 0)."""
    return parse.psi(read(f"{directory}/{resource}.pressure"))


def cpu(directory: str) -> CpuCounters | None:
    """cpu.stat: microseconds; the periods are there only with the cpu controller."""
    psi = pressure(directory, "cpu")
    stat = parse.table(read(directory + "/cpu.stat"))
    if b"usage_usec" not in stat:
        return None
    return CpuCounters(
        usage_ns=stat[b"usage_usec"] * 1000,
        user_ns=stat.get(b"user_usec", 0) * 1000,
        system_ns=stat.get(b"system_usec", 0) * 1000,
        periods=stat.get(b"nr_periods", 0),
        throttled_periods=stat.get(b"nr_throttled", 0),
        throttled_ns=stat.get(b"throttled_usec", 0) * 1000,
        psi=psi,
    )


def memory(directory: str) -> MemoryCounters | None:
    """memory.*; `swap_limit` is memory.swap.max, which is of swap alone."""
    psi = pressure(directory, "memory")
    stat = parse.table(read(directory + "/memory.stat"))
    events = parse.table(read(directory + "/memory.events"))
    limit = parse.limit(read(directory + "/memory.max"))
    swap_limit = parse.limit(read(directory + "/memory.swap.max"))
    swap = parse.number(read(directory + "/memory.swap.current"))
    peak = parse.number(read(directory + "/memory.peak"))  # Linux 5.19
    data = read(directory + "/memory.current")
    if not data:
        return None
    usage = parse.number(data)
    return MemoryCounters(
        usage=usage,
        working_set=max(0, usage - stat.get(b"inactive_file", 0)),
        rss=stat.get(b"anon", 0),
        cache=stat.get(b"file", 0),
        mapped_file=stat.get(b"file_mapped", 0),
        kernel=_kernel(stat),
        swap=swap,
        max_usage=max(peak, usage),
        limit=limit,
        swap_limit=swap_limit,
        fail_count=events.get(b"max", 0),
        oom_kills=events.get(b"oom_kill", 0),
        page_faults=stat.get(b"pgfault", 0),
        major_page_faults=stat.get(b"pgmajfault", 0),
        psi=psi,
    )


def _kernel(stat: Mapping[bytes, int]) -> int:
    """``kernel`` is the sum (Linux 5.18); before, its parts are all there is."""
    if b"kernel" in stat:
        return stat[b"kernel"]
    return sum(stat.get(key, 0) for key in (b"kernel_stack", b"pagetables", b"percpu", b"vmalloc", b"slab"))


def oom_kills(directory: str) -> int | None:
    """Processes of this cgroup and those below that the OOM killer ended; None when it is gone."""
    return parse.table(read(directory + "/memory.events")).get(b"oom_kill")


def transfers(directory: str) -> dict[tuple[int, int], parse.Transfers]:
    """io.stat, written-back page cache included."""
    return parse.io_stat(read(directory + "/io.stat"))


def hugepages(directory: str, sizes: Iterable[str]) -> tuple[HugepageCounters, ...]:
    """hugetlb.SIZE.current. v2 keeps no peak: `max_usage` is what is used now, so it is a lower bound."""
    found = []
    for size in sizes:
        if data := read(f"{directory}/hugetlb.{size}.current"):
            usage = parse.number(data)
            found.append(HugepageCounters(page_size=size, usage=usage, max_usage=usage))
    return tuple(found)
