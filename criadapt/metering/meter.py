"""The usage of a container: everything that is measured, put together."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from criadapt.metering import parse, procnet, v1, v2
from criadapt.metering.cgroup import Cgroup, Hierarchies, members
from criadapt.metering.disk import Layers
from criadapt.metering.files import read, read_list
from criadapt.model.stats import PsiStats
from criadapt.model.usage import (
    BlockCounters,
    CpuCounters,
    DiskCounters,
    HugepageCounters,
    MemoryCounters,
    ProcessCounters,
    Usage,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A container to be measured, as its backend knows it."""

    id: str
    pid: int = 0
    """First process on this host; 0 when it does not run."""
    cgroup: str = ""
    """Path of its cgroup, where that is known; else it is found by `pid`."""
    network: bool = False
    """Whether to count the interfaces of its network namespace: an infra container that is not on the host's."""
    layer: str = ""
    """Directory of its writable layer (overlay's upperdir), empty if it is not a directory here."""
    mountpoint: str = ""
    """What to report as the filesystem of the layer; found by mountinfo if empty."""


@dataclass(slots=True)
class _Known:
    """What is remembered of a running container."""

    pid: int
    cgroup: Cgroup
    counted: procnet.Counted = field(default_factory=procnet.Counted)


class Meter:
    """Measures containers that are processes of this machine. One per backend, used from one thread.

    :meth:`usage` takes some 200 µs and never waits for a disk, so it needs no thread; layers are measured in one
    (:class:`Layers`). `root` is for tests: a made-up machine.
    """

    def __init__(self, *, layers: Layers | None = None, root: str = "", now: Callable[[], int] = time.time_ns) -> None:
        self.hierarchies = Hierarchies(root)
        self._layers = Layers() if layers is None else layers
        self._root = root
        self._proc = f"{root}/proc"
        self._now = now
        self._known: dict[str, _Known] = {}
        self._devices: dict[tuple[int, int], str] = {}
        self._sizes = _page_sizes(f"{root}/sys/kernel/mm/hugepages")

    def usage(self, subject: Subject) -> Usage:
        """Counters of a container. One that does not run, or stops while it is measured, has a disk only.

        Raises Unsupported when its cgroup cannot be seen from here, PermissionDenied when it may not be read.
        """
        disk = self._disk(subject)
        time_ns = self._now()
        known = self._find(subject) if subject.pid else None
        if known is None:
            self._known.pop(subject.id, None)
            return Usage(time_ns=time_ns, disk=disk)
        group = known.cgroup
        has_v2 = bool(group.v2)
        cpu, memory = self._cpu(group), self._memory(group)
        block, hugepages = self._block(group), self._hugepages(group)
        io_psi = v2.pressure(group.v2, "io") if has_v2 else None
        network = procnet.interfaces(self._proc, subject.pid) if subject.network else ()
        # Processes come last: a cgroup that has some cannot have been removed while the rest was read.
        processes, alive = self._processes(subject, known)
        if not alive:
            self._known.pop(subject.id, None)
            return Usage(time_ns=time_ns, disk=disk)
        return Usage(
            time_ns=time_ns,
            cpu=cpu,
            memory=memory,
            processes=processes,
            disk=disk,
            block=block,
            io_psi=io_psi,
            network=network,
            hugepages=hugepages,
        )

    def cgroup(self, pid: int, id: str = "") -> Cgroup | None:
        """Cgroup of the container with this first process, to read OOM kills from or write limits to."""
        return self.hierarchies.of_process(pid, id)

    def forget(self, id: str) -> None:
        """The container was removed."""
        self._known.pop(id, None)
        self._layers.forget(id)

    def close(self) -> None:
        """End the thread that measures layers."""
        self._layers.close()

    # ------------------------------------------------------------------ parts

    def _find(self, subject: Subject) -> _Known | None:
        known = self._known.get(subject.id)
        if known is None or known.pid != subject.pid:
            hierarchies = self.hierarchies
            if subject.cgroup:
                group: Cgroup | None = hierarchies.at(subject.cgroup)
            else:
                group = hierarchies.of_process(subject.pid, subject.id)
            if group is None:
                return None
            known = self._known[subject.id] = _Known(subject.pid, group)
        return known

    def _cpu(self, group: Cgroup) -> CpuCounters | None:
        if not group.v1:
            return v2.cpu(group.v2) if group.v2 else None
        return v1.cpu(group.v1, self._pressure(group, "cpu"))

    def _memory(self, group: Cgroup) -> MemoryCounters | None:
        if "memory" in group.v1:
            return v1.memory(group.v1["memory"], self._pressure(group, "memory"))
        return v2.memory(group.v2) if group.v2 else None

    def _pressure(self, group: Cgroup, resource: str) -> PsiStats | None:
        """Of a hybrid machine's v1 container: v1 has no pressure, but the kernel keeps it in the unified part."""
        return v2.pressure(group.v2, resource) if group.v2 else None

    def _block(self, group: Cgroup) -> tuple[BlockCounters, ...]:
        if "blkio" in group.v1:
            found = v1.transfers(group.v1["blkio"])
        else:
            found = v2.transfers(group.v2) if group.v2 else {}
        return tuple(
            BlockCounters(
                device=self._device(major, minor),
                major=major,
                minor=minor,
                reads=moved.reads,
                writes=moved.writes,
                read_bytes=moved.read_bytes,
                write_bytes=moved.write_bytes,
            )
            for (major, minor), moved in sorted(found.items())
        )

    def _device(self, major: int, minor: int) -> str:
        """``/dev/vda``; empty while there is no such device. sysfs writes a slash in a name as ``!``."""
        name = self._devices.get((major, minor), "")
        if not name:
            try:
                link = os.readlink(f"{self._root}/sys/dev/block/{major}:{minor}")
            except OSError:
                return ""
            name = self._devices[major, minor] = "/dev/" + os.path.basename(link).replace("!", "/")
        return name

    def _hugepages(self, group: Cgroup) -> tuple[HugepageCounters, ...]:
        if not self._sizes:
            return ()
        if "hugetlb" in group.v1:
            return v1.hugepages(group.v1["hugetlb"], self._sizes)
        return v2.hugepages(group.v2, self._sizes) if group.v2 else ()

    def _processes(self, subject: Subject, known: _Known) -> tuple[ProcessCounters | None, bool]:
        """Counters, and whether the container (still) runs."""
        home = known.cgroup.home
        pids = members(home) if home else None
        if pids is None:  # no cgroup of its own, or one that does not tell
            return None, os.path.exists(f"{self._proc}/{subject.pid}")
        if not pids:
            return None, False
        held = known.counted.of(self._proc, subject.pid, pids)
        tasks = known.cgroup.directory("pids")
        threads = read(tasks + "/pids.current") if tasks else None
        return (
            ProcessCounters(
                processes=len(pids),
                threads=parse.number(threads) if threads else _threads(known.cgroup),
                threads_max=parse.limit(read(tasks + "/pids.max")) if tasks else None,
                file_descriptors=held.file_descriptors,
                sockets=held.sockets,
                ulimits=held.ulimits,
            ),
            True,
        )

    def _disk(self, subject: Subject) -> DiskCounters | None:
        if not subject.layer:
            return None
        return self._layers.counters(
            subject.id, subject.layer, mountpoint=subject.mountpoint, running=bool(subject.pid)
        )


def oom_kills(group: Cgroup) -> int | None:
    """How many of the container's processes the OOM killer ended; None when the cgroup is gone or does not count.

    Read it when the container has ended and before the engine removes its cgroup.
    """
    if "memory" in group.v1:
        return v1.oom_kills(group.v1["memory"])
    return v2.oom_kills(group.v2) if group.v2 else None


def _threads(group: Cgroup) -> int:
    """Without the pids controller: the list of threads, of this cgroup alone."""
    name = "tasks" if group.v1 else "cgroup.threads"
    return len((read_list(f"{group.home}/{name}") or b"").split())


def _page_sizes(path: str) -> tuple[str, ...]:
    """Sizes of huge pages that this machine has, smallest first."""
    try:
        names = os.listdir(path)
    except OSError:
        return ()
    found = [name for name in names if parse.page_size(name)]
    found.sort(key=lambda name: (len(name), name))
    return tuple(map(parse.page_size, found))
