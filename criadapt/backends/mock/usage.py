"""Resource figures: computed from what the program did and for how long, so that they grow and never contradict."""

from __future__ import annotations

import hashlib

from criadapt.backends.mock.containers import Container
from criadapt.backends.mock.options import MockOptions
from criadapt.model.linux import LinuxContainerResources
from criadapt.model.stats import PsiData, PsiStats
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

_MIB = 1 << 20
_SECOND = 1_000_000_000
_PAGE = 4096
_DEVICE = ("/dev/vda", 253, 0)
_ULIMITS = (
    ("max_open_files", 1_048_576),
    ("max_core_file_size", -1),
    ("max_processes", -1),
    ("stack_size", 8 * _MIB),
)
_NO_HUGEPAGES = (HugepageCounters(page_size="2MB", usage=0, max_usage=0),
                 HugepageCounters(page_size="1GB", usage=0, max_usage=0))  # fmt: skip


def measure(container: Container, now: int, *, options: MockOptions, mountpoint: str, has_network: bool) -> Usage:
    """Figures of a container; `mountpoint` is the disk it writes to."""
    machine = container.machine
    if machine is None or not container.running:
        life = container.life
        return Usage(time_ns=now, disk=_disk(life.written_bytes, life.written_files, options, mountpoint))
    age = container.age_ns(now)
    written = machine.written_bytes
    cpu_ns = machine.cpu_ns(now)
    chance = _chance(options.seed, container.spec.name)
    memory = _memory(container, cpu_ns, chance)
    processes = machine.process_count
    return Usage(
        time_ns=now,
        cpu=_cpu(cpu_ns, age, container.spec.resources),
        memory=memory,
        processes=ProcessCounters(
            processes=processes,
            threads=processes,
            threads_max=options.cpus * 4096,
            file_descriptors=3 + 4 * processes,
            sockets=chance % 3,
            ulimits=_ULIMITS,
        ),
        disk=_disk(written, machine.written_files, options, mountpoint),
        block=(_block(written, memory.mapped_file),),
        io_psi=_pressure(written // 1000),
        network=(_interface(age, chance),) if has_network else (),
        hugepages=_NO_HUGEPAGES,
    )


def _resident(limit: int, chance: int) -> int:
    wanted = _MIB + chance % (3 * _MIB) // _PAGE * _PAGE
    return min(wanted, limit // 4) if limit else wanted


def _memory(container: Container, cpu_ns: int, chance: int) -> MemoryCounters:
    assert container.machine is not None
    machine, resources = container.machine, container.spec.resources
    limit = resources.memory_limit_in_bytes
    rss = _resident(limit, chance) + machine.allocated_bytes
    kernel = 64 * 1024 * machine.process_count
    cache = 256 * 1024 + chance % _MIB + machine.written_bytes
    if limit:  # the kernel drops cache first
        rss = min(rss, limit)
        kernel = min(kernel, limit - rss)
        cache = min(cache, limit - rss - kernel)
    usage = rss + kernel + cache
    inactive = cache // 2
    container.peak = max(container.peak, usage)
    return MemoryCounters(
        usage=usage,
        working_set=usage - inactive,
        rss=rss,
        cache=cache,
        mapped_file=cache // 4,
        kernel=kernel,
        max_usage=container.peak,
        limit=limit or None,
        swap_limit=max(0, resources.memory_swap_limit_in_bytes - limit)
        if limit and resources.memory_swap_limit_in_bytes > 0
        else None,
        fail_count=machine.oom_kills,
        oom_kills=machine.oom_kills,
        page_faults=container.peak // _PAGE + cpu_ns // 100_000,
        major_page_faults=chance % 30,
        psi=_pressure(cpu_ns // 5000),
    )


def _cpu(used_ns: int, age_ns: int, resources: LinuxContainerResources) -> CpuCounters:
    user = used_ns * 7 // 10
    periods = throttled = throttled_ns = 0
    if resources.cpu_quota > 0:
        period_ns, quota_ns = (resources.cpu_period or 100_000) * 1000, resources.cpu_quota * 1000
        periods = age_ns // period_ns
        throttled = min(periods, used_ns // quota_ns // 4)
        throttled_ns = throttled * max(0, period_ns - quota_ns) // 2
    return CpuCounters(
        usage_ns=used_ns,
        user_ns=user,
        system_ns=used_ns - user,
        periods=periods,
        throttled_periods=throttled,
        throttled_ns=throttled_ns,
        psi=_pressure(used_ns // 100 + throttled_ns),
    )


def _disk(written: int, files: int, options: MockOptions, mountpoint: str) -> DiskCounters:
    total = options.disk_size // 16384
    inodes = 12 + files
    return DiskCounters(
        mountpoint=mountpoint,
        used_bytes=12 * _PAGE + written,
        inodes_used=inodes,
        device=_DEVICE[0],
        limit_bytes=options.disk_size,
        inodes_total=total,
        inodes_free=max(0, total - inodes),
    )


def _block(written: int, read: int) -> BlockCounters:
    device, major, minor = _DEVICE
    return BlockCounters(
        device=device,
        major=major,
        minor=minor,
        reads=read // 65536 + 1,
        writes=-(-written // _PAGE),
        read_bytes=read,
        write_bytes=written,
    )


def _interface(age_ns: int, chance: int) -> InterfaceCounters:
    """eth0 with a steady trickle, some hundred bytes a second each way."""
    received = 1306 + age_ns * (200 + chance % 1800) // _SECOND
    sent = 866 + age_ns * (100 + chance % 900) // _SECOND
    return InterfaceCounters(
        name="eth0", rx_bytes=received, rx_packets=received // 120, tx_bytes=sent, tx_packets=sent // 100
    )


def _pressure(stalled_ns: int) -> PsiStats:
    """A little: the totals grow, the averages stay near nothing."""
    some = PsiData(total=stalled_ns, avg10=0.02, avg60=0.01, avg300=0.0) if stalled_ns else PsiData()
    return PsiStats(some=some, full=PsiData(total=stalled_ns // 4))


def _chance(seed: str, name: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}\0{name}".encode(), digest_size=6).digest())
