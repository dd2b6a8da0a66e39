"""Where a container's cgroups are: the directories of v1, v2 or both, found by process or by path.

Every way a machine may be set up comes down to two files (cgroups(7)): /proc/PID/cgroup says which cgroup a process
is in, hierarchy by hierarchy, and /proc/self/mountinfo which hierarchy is mounted where. Both are relative to the
cgroup namespace of whoever reads them, here criadapt, so they fit each other.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType

from criadapt.errors import Unsupported
from criadapt.metering import parse
from criadapt.metering.files import read_list

_DELETED = " (deleted)"
_NAMED = "name="
_NESTED = 100
_CONTROLLERS = frozenset((
    "blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "hugetlb", "memory", "misc", "net_cls", "net_prio",
    "perf_event", "pids", "rdma",
))  # fmt: skip
"""All there ever were in v1. A hierarchy's mount options name some of them, among others that mean something else."""


@dataclass(frozen=True, slots=True)
class Cgroup:
    """Directories of one container's cgroup. Neither has a part that is the hierarchy's root: that is the machine.

    `v1` maps a controller (``memory``) to its directory; `v2` is the directory in the unified hierarchy, empty if
    there is none. On a hybrid machine both are there; then v1 has what v1 counts, and v2 the rest, pressure above all.
    """

    v1: Mapping[str, str]
    v2: str = ""

    @property
    def home(self) -> str:
        """A directory that lists the processes; empty if the container has no cgroup of its own."""
        return self.v1.get("pids") or self.v1.get("memory") or next(iter(self.v1.values()), self.v2)

    def directory(self, controller: str) -> str:
        """Where the files of a controller are; empty if nowhere."""
        return self.v1.get(controller) or self.v2


@dataclass(frozen=True, slots=True)
class _Mount:
    """A hierarchy, or the part of it below `root`, visible at `point`."""

    root: tuple[str, ...]
    point: str

    def reach(self, path: tuple[str, ...]) -> str | None:
        """Directory of the cgroup `path`; None if it is not below what is mounted.

        A path may begin with ``..`` when criadapt has a cgroup namespace of its own and looks at one outside. What
        those dots stand for nobody says, so only a mount that begins with as many of them can be compared.
        """
        rest = path[len(self.root) :]
        if path[: len(self.root)] != self.root or ".." in rest:
            return None
        return "/".join((self.point, *rest))


class Hierarchies:
    """The cgroup hierarchies of this machine, as mounted when this was made. `root` is for tests: a made-up machine."""

    def __init__(self, root: str = "") -> None:
        self._proc = f"{root}/proc"
        self._mounts: dict[str, list[_Mount]] = {}
        """By v1 controller, v2 under the empty name."""
        for line in parse.mounts(read_list(f"{self._proc}/self/mountinfo")):
            mount = _Mount(_parts(line.root), f"{root}{line.point}".rstrip("/"))
            if line.kind == "cgroup2":
                self._mounts.setdefault("", []).append(mount)
            elif line.kind == "cgroup":
                for controller in _CONTROLLERS & line.options:
                    self._mounts.setdefault(controller, []).append(mount)

    def of_process(self, pid: int, id: str = "") -> Cgroup | None:
        """The cgroup of a process; None if the process is gone. Raises Unsupported when it cannot be reached.

        With `id`, the container's: a program may have moved itself into a cgroup below (systemd, Docker in Docker);
        engines name the cgroup after the container (``/docker/<id>``, ``docker-<id>.scope``), so whatever follows that
        name is not theirs.
        """
        pairs = parse.cgroups(read_list(f"{self._proc}/{pid}/cgroup"))
        if not pairs or any(path.endswith(_DELETED) for _, path in pairs):
            return None
        found = self._cgroup((controller, _own(_parts(path), id)) for controller, path in pairs)
        if not found.home and any(_parts(path) for controller, path in pairs if not controller.startswith(_NAMED)):
            where = next(path for controller, path in pairs if _parts(path) and not controller.startswith(_NAMED))
            raise Unsupported(
                f"cgroup {where!r} of process {pid} is not below any that is mounted here; mount them all, "
                f"and run criadapt in the host's cgroup namespace (docker run --cgroupns=host)"
            )
        return found

    def at(self, path: str) -> Cgroup:
        """The cgroup with this path, the same in all hierarchies as runc makes it; it need not exist."""
        parts = _parts(path)
        return self._cgroup((controller, parts) for controller in self._mounts)

    def _cgroup(self, places: Iterable[tuple[str, tuple[str, ...]]]) -> Cgroup:
        v1: dict[str, str] = {}
        v2, v2_name, names = "", "", set()
        for controller, path in places:
            if not path or controller.startswith(_NAMED):
                continue
            mounts = self._mounts.get(controller, ())
            directory = next((found for mount in mounts if (found := mount.reach(path)) is not None), None)
            if directory is None:
                continue
            if controller:
                v1[controller] = directory
                names.add(path[-1])
            else:
                v2, v2_name = directory, path[-1]
        # Runtimes before runc 1.0 left the process where it was in the unified part of a hybrid machine: in the
        # engine's own cgroup. Its pressure must not be taken for the container's.
        if v1 and v2_name not in names:
            v2 = ""
        return Cgroup(MappingProxyType(v1), v2)


def members(directory: str) -> list[int] | None:
    """Processes in the cgroup and those below it; None if that cannot be told, none if all are gone.

    cgroup.procs lists a cgroup's own only. Children are rare, and a directory's link count tells whether there are any.
    A process of another pid namespace is listed as 0. In a container that is a whole node of its own, only the first
    cgroups are looked at.
    """
    data = read_list(directory + "/cgroup.procs")
    found = [] if data is None else [*map(int, data.split())]
    try:
        nested = os.stat(directory).st_nlink > 2
    except OSError:
        return []
    if nested:
        for path, _, _ in islice(os.walk(directory), 1, _NESTED):
            found.extend(map(int, (read_list(path + "/cgroup.procs") or b"").split()))
    return None if data is None and not found else found


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split("/") if part)


def _own(path: tuple[str, ...], id: str) -> tuple[str, ...]:
    if id:
        for at, part in enumerate(path, 1):
            if id in part:
                return path[:at]
    return path
