"""Counters of cgroup v1, one hierarchy per controller (Documentation/admin-guide/cgroup-v1/).

In every part the file without which there is no such part is read last: if it is there, the cgroup has been there all
along, and what was not found before it is something this kernel does not have, hence zero.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from criadapt.metering import parse
from criadapt.metering.files import read
from criadapt.model.stats import PsiStats
from criadapt.model.usage import CpuCounters, HugepageCounters, MemoryCounters

_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def cpu(directories: Mapping[str, str], psi: PsiStats | None = None) -> CpuCounters | None:
    """cpuacct.usage (ns) and cpuacct.stat (ticks, which the kernel fits to the former); cpu.stat of the cpu controller
    has the quota's periods."""
    account = directories.get("cpuacct")
    if account is None:
        return None
    quota = parse.table(read(directories["cpu"] + "/cpu.stat")) if "cpu" in directories else {}
    split = parse.table(read(account + "/cpuacct.stat"))
    usage = read(account + "/cpuacct.usage")
    if not usage:
        return None
    return CpuCounters(
        usage_ns=parse.number(usage),
        user_ns=split.get(b"user", 0) * _TICK_NS,
        system_ns=split.get(b"system", 0) * _TICK_NS,
        periods=quota.get(b"nr_periods", 0),
        throttled_periods=quota.get(b"nr_throttled", 0),
        throttled_ns=quota.get(b"throttled_time", 0),
        psi=psi,
    )


def memory(directory: str, psi: PsiStats | None = None) -> MemoryCounters | None:
    """memory.* of the memory controller (memory.rst): the ``total_`` figures, which include cgroups below.

    `swap_limit` is what memory.memsw, the limit of both together, leaves for swap.
    """
    stat = parse.table(read(directory + "/memory.stat"))
    # The cgroup's own limit can be no looser than the tightest one of it and its parents; most have none.
    limit = swap_limit = None
    if stat.get(b"hierarchical_memory_limit", 0) < parse.UNLIMITED:
        limit = parse.limit(read(directory + "/memory.limit_in_bytes"))
    if limit is not None and stat.get(b"hierarchical_memsw_limit", parse.UNLIMITED) < parse.UNLIMITED:
        both = parse.limit(read(directory + "/memory.memsw.limit_in_bytes"))
        swap_limit = None if both is None else max(0, both - limit)
    kernel = parse.number(read(directory + "/memory.kmem.usage_in_bytes"))
    peak = parse.number(read(directory + "/memory.max_usage_in_bytes"))
    failures = parse.number(read(directory + "/memory.failcnt"))
    kills = oom_kills(directory) or 0
    data = read(directory + "/memory.usage_in_bytes")
    if not data:
        return None
    usage = parse.number(data)
    return MemoryCounters(
        usage=usage,
        working_set=max(0, usage - _total(stat, b"inactive_file")),
        rss=_total(stat, b"rss"),
        cache=_total(stat, b"cache"),
        mapped_file=_total(stat, b"mapped_file"),
        kernel=kernel,
        swap=_total(stat, b"swap"),
        max_usage=max(peak, usage),
        limit=limit,
        swap_limit=swap_limit,
        fail_count=failures,
        oom_kills=kills,
        page_faults=_total(stat, b"pgfault"),
        major_page_faults=_total(stat, b"pgmajfault"),
        psi=psi,
    )


def _total(stat: Mapping[bytes, int], key: bytes) -> int:
    return stat.get(b"total_" + key, stat.get(key, 0))


def oom_kills(directory: str) -> int | None:
    """Processes of this cgroup that the OOM killer ended (not of those below); None when it is gone or Linux < 4.13."""
    return parse.table(read(directory + "/memory.oom_control")).get(b"oom_kill")


def transfers(directory: str) -> dict[tuple[int, int], parse.Transfers]:
    """blkio.throttle.* (blkio-controller.rst), cgroups below included.

    Buffered writes are charged to the root in v1, and newer kernels (6.10) count only on disks some cgroup throttles.
    """
    return parse.blkio(
        read(directory + "/blkio.throttle.io_serviced_recursive"),
        read(directory + "/blkio.throttle.io_service_bytes_recursive"),
    )


def hugepages(directory: str, sizes: Iterable[str]) -> tuple[HugepageCounters, ...]:
    """hugetlb.SIZE.usage_in_bytes and …max_usage_in_bytes (hugetlb.rst)."""
    found = []
    for size in sizes:
        peak = parse.number(read(f"{directory}/hugetlb.{size}.max_usage_in_bytes"))
        if data := read(f"{directory}/hugetlb.{size}.usage_in_bytes"):
            usage = parse.number(data)
            found.append(HugepageCounters(page_size=size, usage=usage, max_usage=max(peak, usage)))
    return tuple(found)
