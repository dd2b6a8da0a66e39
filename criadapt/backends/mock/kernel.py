"""/proc and /sys of a mock container."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Union

from criadapt.backends.mock.capabilities import ambient, bounding, effective, mask
from criadapt.backends.mock.hosttree import HostTree
from criadapt.backends.mock.pids import visible
from criadapt.backends.mock.trees import Handle, MemoryHandle, Node, Tree, fail
from criadapt.model.linux import NamespaceMode, ProfileType

if TYPE_CHECKING:
    from criadapt.backends.mock.machine import Machine
    from criadapt.backends.mock.process import Proc

RELEASE = "6.8.0-mock"
VERSION = f"Linux version {RELEASE} (criadapt@mock) #1 SMP PREEMPT_DYNAMIC"
PROCESSORS = 4
MEMORY = 8 * 1024**3
# A directory is a mapping, a file gives its bytes, a symbolic link its target as text.
Entry = Union["Directory", Callable[[], bytes], str]
Directory = Mapping[str, Entry]
_SYSCTLS = {
    "kernel.hostname": "", "kernel.ostype": "Linux", "kernel.osrelease": RELEASE, "kernel.shm_rmid_forced": "0",
    "kernel.shmmax": "18446744073692774399", "kernel.shmall": "18446744073692774399", "kernel.shmmni": "4096",
    "kernel.msgmax": "8192", "kernel.sem": "32000\t1024000000\t500\t32000", "kernel.pid_max": "4194304",
    "kernel.overflowuid": "65534", "kernel.overflowgid": "65534", "fs.mqueue.msg_max": "10",
    "fs.mqueue.queues_max": "256", "fs.file-max": "9223372036854775807", "vm.overcommit_memory": "0",
    "vm.max_map_count": "65530", "net.ipv4.ip_forward": "1", "net.ipv4.ip_unprivileged_port_start": "0",
    "net.ipv4.ping_group_range": "0\t2147483647", "net.ipv4.tcp_syncookies": "1", "net.core.somaxconn": "4096",
    "net.ipv4.ip_local_port_range": "32768\t60999", "net.ipv4.tcp_keepalive_time": "7200",
}  # fmt: skip


class VirtualTree(Tree):
    """Files whose content is made when they are read."""

    readonly = True

    def __init__(self, root: Callable[[], Directory]) -> None:
        self._root = root

    def _find(self, path: str) -> Entry | None:
        entry: Entry | None = self._root()
        for part in path.split("/") if path else ():
            entry = entry.get(part) if isinstance(entry, Mapping) else None
        return entry

    def lstat(self, path: str) -> Node | None:
        """What is at `path`."""
        entry = self._find(path)
        if entry is None:
            return None
        if isinstance(entry, Mapping):
            return Node("dir", mode=0o555)
        if isinstance(entry, str):
            return Node("link", entry.encode(errors="surrogateescape"), 0o777)
        return Node("file", b"", 0o444)

    def names(self, path: str) -> Iterable[str]:
        """Entries of a directory."""
        entry = self._find(path)
        return entry if isinstance(entry, Mapping) else ()

    def open(self, path: str, *, write: bool, truncate: bool, time_ns: int) -> Handle:
        """Make the content."""
        entry = self._find(path)
        if entry is None or isinstance(entry, (Mapping, str)):
            raise fail(errno.ENOENT, path)
        return MemoryHandle(Node("file", entry()))


def special_trees(machine: Machine) -> dict[str, Tree]:
    """What is mounted at /proc and /sys."""
    trees: dict[str, Tree] = {
        "/proc": VirtualTree(lambda: _proc(machine)),
        "/sys": VirtualTree(lambda: {"class": {"net": {"lo": {}, "eth0": {}}}, "fs": {"cgroup": _cgroup(machine)}}),
    }
    if machine.spec.namespaces.ipc is NamespaceMode.NODE:
        trees["/proc/sysvipc"] = HostTree("/proc/sysvipc", readonly=True, recursive=True)
    return trees


def sysctls(machine: Machine) -> dict[str, str]:
    """All parameters that are shown; those of the pod's infra container hold for all of its containers."""
    values = dict(_SYSCTLS)
    values["kernel.hostname"] = machine.hostname
    for peer in machine.peers()[::-1]:
        values.update(peer.spec.sysctls)
    return values


def meminfo(machine: Machine) -> bytes:
    """/proc/meminfo of the node."""
    free = MEMORY - sum(peer.allocated_bytes for peer in machine.peers())
    fields = {"MemTotal": MEMORY, "MemFree": free, "MemAvailable": free, "Buffers": 0, "Cached": 0, "SwapTotal": 0}
    return _lines(f"{name + ':':<15}{value // 1024:>9} kB" for name, value in fields.items())


def uptime(machine: Machine) -> float:
    """Seconds since the node started, which was an hour before the container did."""
    return 3600 + max(0, machine.scheduler.wall.now() - machine.started_at) / 1e9


def mounts(machine: Machine) -> bytes:
    """/proc/mounts."""
    spec = machine.spec
    rows = [
        ("overlay", "/", "overlay", "ro" if spec.readonly_rootfs else "rw"),
        ("proc", "/proc", "proc", "rw,nosuid,nodev,noexec"),
        ("tmpfs", "/dev", "tmpfs", "rw,nosuid,size=65536k,mode=755"),
        ("shm", "/dev/shm", "tmpfs", "rw,nosuid,nodev,noexec,size=65536k"),
        ("sysfs", "/sys", "sysfs", "rw" if spec.privileged else "ro,nosuid,nodev,noexec"),
        ("cgroup", "/sys/fs/cgroup", "cgroup2", "rw" if spec.privileged else "ro,nosuid,nodev,noexec"),
    ]
    rows += (
        ("overlay" if mount.image else "/dev/vda1", mount.container_path, "overlay" if mount.image else "ext4",
         "ro,relatime" if mount.readonly or mount.image else "rw,relatime")
        for mount in spec.mounts
    )  # fmt: skip
    return _lines(f"{device} {point} {kind} {options} 0 0" for device, point, kind, options in rows)


def _proc(machine: Machine) -> Directory:
    tree: dict[str, Entry] = {
        "cpuinfo": lambda: b"\n".join(_processor(number) for number in range(PROCESSORS)),
        "filesystems": lambda: b"nodev\tproc\nnodev\ttmpfs\nnodev\toverlay\n\text4\n",
        "loadavg": lambda: b"0.10 0.08 0.05 1/128 4242\n",
        "meminfo": lambda: meminfo(machine),
        "mounts": "self/mounts",
        "stat": lambda: b"cpu  1000 0 500 100000 0 0 0 0 0 0\n",
        "sys": _nested({name: _constant(f"{value}\n") for name, value in sysctls(machine).items()}),
        "sysvipc": {name: _constant("       key      shmid perms\n") for name in ("shm", "msg", "sem")},
        "uptime": lambda: f"{uptime(machine):.2f} {uptime(machine) * PROCESSORS:.2f}\n".encode(),
        "version": lambda: f"{VERSION}\n".encode(),
    }
    for pid, proc in visible(machine):
        tree[str(pid)] = _process(pid, proc)
    return tree


def _process(pid: int, proc: Proc) -> Directory:
    machine = proc.machine
    return {
        "cgroup": lambda: b"0::/\n",
        "cmdline": lambda: b"".join(word.encode(errors="surrogateescape") + b"\0" for word in proc.args),
        "comm": lambda: f"{proc.name[:15]}\n".encode(),
        "cwd": proc.cwd,
        "environ": lambda: b"".join(f"{k}={v}".encode(errors="surrogateescape") + b"\0" for k, v in proc.env.items()),
        "exe": proc.args[0] if proc.args and proc.args[0].startswith("/") else f"/bin/{proc.name}",
        "fd": {str(number): f"pipe:[{4000 + number}]" for number in proc.fds},
        "gid_map": lambda: _id_map(machine, "gids"),
        "mounts": lambda: mounts(machine),
        "oom_score_adj": lambda: f"{machine.resources.oom_score_adj}\n".encode(),
        "root": "/",
        "stat": lambda: f"{pid} ({proc.name[:15]}) S {proc.parent_pid} {pid} {pid} 0 -1\n".encode(),
        "status": lambda: _status(pid, proc),
        "uid_map": lambda: _id_map(machine, "uids"),
    }


def _status(pid: int, proc: Proc) -> bytes:
    spec, user = proc.machine.spec, proc.user
    groups = sorted({user.gid, *user.supplemental_groups})
    confined = spec.seccomp is not None and spec.seccomp.profile_type is not ProfileType.UNCONFINED
    held, most = effective(spec, user.uid), bounding(spec)
    fields = {
        "Name": proc.name[:15], "Umask": "0022", "State": "S (sleeping)", "Tgid": pid, "Ngid": 0, "Pid": pid,
        "PPid": proc.parent_pid, "TracerPid": 0, "Uid": "\t".join([str(user.uid)] * 4),
        "Gid": "\t".join([str(user.gid)] * 4), "FDSize": 64, "Groups": " ".join(map(str, groups)),
        "VmRSS": f"{(proc.memory + 512 * 1024) // 1024:>8} kB", "Threads": 1, "CapInh": mask(ambient(spec)),
        "CapPrm": mask(held), "CapEff": mask(held), "CapBnd": mask(most), "CapAmb": mask(ambient(spec)),
        "NoNewPrivs": int(spec.no_new_privs), "Seccomp": 2 if confined and not spec.privileged else 0,
    }  # fmt: skip
    return _lines(f"{name}:\t{value}" for name, value in fields.items())


def _id_map(machine: Machine, kind: str) -> bytes:
    options = machine.spec.namespaces.userns_options
    mappings = getattr(options, kind) if options is not None and options.mode is NamespaceMode.POD else ()
    rows = [(one.container_id, one.host_id, one.length) for one in mappings] or [(0, 0, 4294967295)]
    return _lines(f"{inside:>10} {outside:>10} {length:>10}" for inside, outside, length in rows)


def _processor(number: int) -> bytes:
    model = "model name\t: criadapt virtual CPU"
    return _lines((f"processor\t: {number}", "vendor_id\t: Mock", model, "cpu MHz\t\t: 2000.000"))


def _cgroup(machine: Machine) -> Directory:
    limits = machine.resources
    quota = str(limits.cpu_quota) if limits.cpu_quota > 0 else "max"
    swap = max(0, limits.memory_swap_limit_in_bytes - limits.memory_limit_in_bytes)
    values = {
        "cgroup.controllers": "cpuset cpu io memory hugetlb pids",
        "cgroup.procs": "\n".join(str(proc.pid) for proc in machine.procs.values()),
        "cpu.max": f"{quota} {limits.cpu_period or 100_000}",
        "cpu.stat": f"usage_usec {machine.cpu_ns(machine.scheduler.wall.now()) // 1000}",
        "cpu.weight": str(1 + (limits.cpu_shares - 2) * 9999 // 262142 if limits.cpu_shares > 2 else 100),
        "cpuset.cpus": limits.cpuset_cpus,
        "cpuset.cpus.effective": limits.cpuset_cpus or f"0-{PROCESSORS - 1}",
        "memory.current": str(machine.allocated_bytes),
        "memory.events": f"low 0\nhigh 0\nmax 0\noom {machine.oom_kills}\noom_kill {machine.oom_kills}",
        "memory.max": str(limits.memory_limit_in_bytes or "max"),
        "memory.swap.current": "0",
        "memory.swap.max": str(swap) if limits.memory_limit_in_bytes else "max",
        "pids.current": str(machine.process_count),
        "pids.max": "max",
        **limits.unified,
    }
    return {name: _constant(f"{value}\n") for name, value in values.items()}


def _nested(flat: Mapping[str, Entry]) -> Directory:
    """Directories from dotted names."""
    tree: dict[str, Entry] = {}
    for name, entry in flat.items():
        *parents, last = name.split(".")
        here = tree
        for parent in parents:
            below = here.setdefault(parent, {})
            assert isinstance(below, dict), name
            here = below
        here[last] = entry
    return tree


def _constant(text: str) -> Callable[[], bytes]:
    return text.encode  # bound, so it is made when it is read


def _lines(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode(errors="surrogateescape")
