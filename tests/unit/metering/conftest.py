"""Made-up machines: the files of /proc and /sys that metering reads, as the kernel's documentation shows them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from criadapt.metering.disk import Layers
from criadapt.metering.meter import Meter

T = TypeVar("T")

ID = "4f9c2d7be0a1"
PID = 4711
NOW = 1_700_000_000_000_000_000

V1_MOUNTS = """\
24 1 254:0 / / rw,relatime - ext4 /dev/vda rw
31 24 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
38 31 0:35 / /sys/fs/cgroup/blkio rw,relatime - cgroup cgroup rw,blkio
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
36 31 0:39 / /sys/fs/cgroup/hugetlb rw,relatime - cgroup cgroup rw,hugetlb
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
"""
UNIFIED_MOUNT = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
V2_MOUNTS = """\
24 1 254:0 / / rw,relatime - ext4 /dev/vda rw
31 24 0:28 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
"""

PRESSURE = """\
some avg10=1.50 avg60=0.25 avg300=0.07 total=1200345
full avg10=0.00 avg60=0.10 avg300=0.02 total=345
"""

V1_FILES = {
    "cpu,cpuacct": {
        "cpuacct.usage": "5123456789\n",
        "cpuacct.stat": "user 312\nsystem 200\n",
        "cpu.stat": "nr_periods 40\nnr_throttled 7\nthrottled_time 1234567\nnr_bursts 0\nburst_time 0\n",
    },
    "memory": {
        "memory.usage_in_bytes": "10485760\n",
        "memory.max_usage_in_bytes": "20971520\n",
        "memory.limit_in_bytes": "104857600\n",
        "memory.memsw.limit_in_bytes": "157286400\n",
        "memory.kmem.usage_in_bytes": "409600\n",
        "memory.failcnt": "3\n",
        "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
        "memory.stat": (
            "cache 1\nrss 2\nmapped_file 3\nswap 4\npgfault 5\npgmajfault 6\ninactive_file 7\n"
            "hierarchical_memory_limit 104857600\nhierarchical_memsw_limit 157286400\n"
            "total_cache 6291456\ntotal_rss 2097152\ntotal_mapped_file 1048576\ntotal_swap 8192\n"
            "total_pgfault 5000\ntotal_pgmajfault 11\ntotal_inactive_file 4194304\n"
        ),
    },
    "pids": {"pids.current": "9\n", "pids.max": "100\n"},
    "blkio": {
        "blkio.throttle.io_serviced_recursive": (
            "254:0 Read 10\n254:0 Write 20\n254:0 Sync 25\n254:0 Async 5\n254:0 Discard 0\n254:0 Total 30\nTotal 30\n"
        ),
        "blkio.throttle.io_service_bytes_recursive": (
            "254:0 Read 40960\n254:0 Write 81920\n254:0 Sync 0\n254:0 Async 0\n254:0 Total 122880\nTotal 122880\n"
        ),
    },
    "hugetlb": {
        "hugetlb.2MB.usage_in_bytes": "2097152\n",
        "hugetlb.2MB.max_usage_in_bytes": "4194304\n",
        "hugetlb.2MB.limit_in_bytes": "9223372036854771712\n",
        "hugetlb.1GB.usage_in_bytes": "0\n",
        "hugetlb.1GB.max_usage_in_bytes": "0\n",
    },
}

V2_FILES = {
    "cgroup.controllers": "cpuset cpu io memory hugetlb pids\n",
    "cpu.stat": (
        "usage_usec 5123456\nuser_usec 3123456\nsystem_usec 2000000\nnice_usec 0\n"
        "nr_periods 40\nnr_throttled 7\nthrottled_usec 1234\nnr_bursts 0\nburst_usec 0\n"
    ),
    "cpu.pressure": PRESSURE,
    "memory.pressure": PRESSURE,
    "io.pressure": PRESSURE,
    "memory.current": "10485760\n",
    "memory.peak": "20971520\n",
    "memory.max": "104857600\n",
    "memory.high": "max\n",
    "memory.oom.group": "0\n",
    "memory.swap.current": "8192\n",
    "memory.swap.max": "52428800\n",
    "memory.events": "low 0\nhigh 0\nmax 3\noom 2\noom_kill 2\noom_group_kill 0\n",
    "memory.stat": (
        "anon 2097152\nfile 6291456\nkernel 409600\nkernel_stack 32768\npagetables 65536\npercpu 960\nslab 100000\n"
        "file_mapped 1048576\ninactive_file 4194304\npgfault 5000\npgmajfault 11\n"
    ),
    "pids.current": "9\n",
    "pids.max": "100\n",
    "io.stat": "254:0 rbytes=40960 wbytes=81920 rios=10 wios=20 dbytes=0 dios=0\n7:0 \n",
    "io.max": "254:0 rbps=1048576 wbps=max riops=max wiops=max\n",
    "hugetlb.2MB.current": "2097152\n",
    "hugetlb.2MB.max": "max\n",
    "hugetlb.2MB.rsvd.max": "max\n",
    "hugetlb.1GB.current": "0\n",
    "hugetlb.1GB.max": "max\n",
}

LIMITS = """\
Limit                     Soft Limit           Hard Limit           Units     
Max cpu time              unlimited            unlimited            seconds   
Max stack size            8388608              unlimited            bytes     
Max core file size        0                    unlimited            bytes     
Max processes             unlimited            unlimited            processes 
Max open files            1024                 524288               files     
Max nice priority         0                    0                    
"""  # noqa: W291 — so the kernel pads it

NET_DEV = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
  eth0:12345678    9012    1    2    0     0          0         0  7654321    8901    3    4    0     0       0          0
"""  # noqa: E501


class Machine:
    """A root directory that looks like a machine with one container."""

    def __init__(self, root: Path, mounts: str) -> None:
        self.root = root
        self.write("proc/self/mountinfo", mounts)
        self.write("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "8\n")
        self.write("sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages", "0\n")
        target = root / "sys/devices/virtual/block/vda"
        target.mkdir(parents=True)
        (root / "sys/dev/block").mkdir(parents=True)
        (root / "sys/dev/block/254:0").symlink_to(target)

    def write(self, path: str, text: str) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def cgroup(self, path: str, files: dict[str, str], procs: str = f"{PID}\n4712\n") -> Path:
        """A cgroup's directory below /sys/fs/cgroup."""
        for name, text in {**files, "cgroup.procs": procs}.items():
            self.write(f"sys/fs/cgroup/{path}/{name}", text)
        return self.root / "sys/fs/cgroup" / path

    def process(self, cgroups: str, pid: int = PID) -> None:
        """A process with its cgroups, three descriptors, two of them sockets, and an interface."""
        self.write(f"proc/{pid}/cgroup", cgroups)
        self.write(f"proc/{pid}/limits", LIMITS)
        self.write(f"proc/{pid}/net/dev", NET_DEV)
        descriptors = self.root / f"proc/{pid}/fd"
        descriptors.mkdir()
        for number, target in enumerate(("/dev/null", "socket:[4026]", "socket:[4027]")):
            (descriptors / str(number)).symlink_to(target)

    def meter(self) -> Meter:
        return Meter(root=str(self.root), now=lambda: NOW, layers=Layers(proc=str(self.root / "proc")))


def until(condition: Callable[[], T | None]) -> T:
    """Ask again and again, for as long as the slowest machine may need."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.002)
    raise AssertionError("it never became true")


def v1_cgroups(path: str) -> str:
    lines = (
        "12:pids",
        "10:hugetlb",
        "9:blkio",
        "5:memory",
        "4:cpu,cpuacct",
        "1:name=systemd",
    )
    return "".join(f"{line}:{path}\n" for line in lines)


@pytest.fixture
def v1(tmp_path: Path) -> Machine:
    """cgroup v1 with co-mounted controllers, and a container that Docker made."""
    machine = Machine(tmp_path / "v1", V1_MOUNTS)
    for hierarchy, files in V1_FILES.items():
        machine.cgroup(f"{hierarchy}/docker/{ID}", files)
    machine.process(v1_cgroups(f"/docker/{ID}") + "0::/\n")
    return machine


@pytest.fixture
def v2(tmp_path: Path) -> Machine:
    """cgroup v2, and a container below systemd."""
    machine = Machine(tmp_path / "v2", V2_MOUNTS)
    machine.cgroup(f"system.slice/docker-{ID}.scope", V2_FILES)
    machine.process(f"0::/system.slice/docker-{ID}.scope\n")
    return machine


@pytest.fixture
def layers() -> Iterator[Layers]:
    found = Layers()
    yield found
    found.close()
