"""Limits written straight into a container's cgroup: what an engine's API has no field for.

All or nothing: every setting is checked before the first is written, and what was written is taken back when a later
one is refused. Kernel documentation: cgroup-v1/hugetlb.rst, cgroup-v2.rst.
"""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from criadapt.errors import CriadaptError, FailedPrecondition, InvalidArgument, Unsupported
from criadapt.metering.cgroup import Cgroup
from criadapt.metering.files import failed, read

log = logging.getLogger(__name__)

_KEY = re.compile(r"[a-z][a-z0-9_]*(\.[A-Za-z0-9_-]+)+")
_DEVICE = re.compile(r"\d+:\d+")
_LONGEST = 4096

_NOT_LIMITS = frozenset((
    "cgroup.freeze", "cgroup.kill", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads", "cgroup.type",
    "cgroup.event_control", "cgroup.clone_children", "devices.allow", "devices.deny",
))  # fmt: skip
"""Files that do something to a container instead of limiting it, and cannot be taken back."""

_UNSET = {
    "io.max": "rbps=max wbps=max riops=max wiops=max",
    "io.weight": "default",
    "io.latency": "target=0",
    "io.bfq.weight": "default",
}
"""What takes back a device's line that was not there before; v1 takes 0."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One value for one file, ``Setting("pids", "pids.max", "100")``; controller ``""`` means v2 and nothing else.

    `field` is what the caller calls it, for messages: ``linux.resources.unified["pids.max"]``.
    """

    controller: str
    key: str
    value: str
    field: str = ""

    @property
    def label(self) -> str:
        return self.field or self.key


def unified(values: Mapping[str, str]) -> list[Setting]:
    """Settings of CRI's ``unified``: names of v2 files, and what to write into them."""
    return [Setting("", key, value.strip(), f'unified["{key}"]') for key, value in values.items()]


def hugepages(group: Cgroup, limits: Mapping[str, int]) -> list[Setting]:
    """Settings of CRI's ``hugepage_limits``, bytes by page size (``2MB``), and of reservations where there are any.

    None without a hugetlb controller: the kubelet sends a limit for every size of the node, wanted or not, and
    containerd and CRI-O pass over them then as well.
    """
    in_v1 = "hugetlb" in group.v1
    directory = group.directory("hugetlb")
    enabled = in_v1 or (directory and b"hugetlb" in (read(directory + "/cgroup.controllers") or b"").split())
    if not enabled:
        return []
    name = "limit_in_bytes" if in_v1 else "max"
    found = []
    for size, limit in limits.items():
        label = f'hugepage_limits["{size}"]'
        found.append(Setting("hugetlb", f"hugetlb.{size}.{name}", str(limit), label))
        if os.path.exists(f"{directory}/hugetlb.{size}.rsvd.{name}"):
            found.append(Setting("hugetlb", f"hugetlb.{size}.rsvd.{name}", str(limit), label))
    return found


def write(group: Cgroup, settings: Sequence[Setting]) -> None:
    """Write them in their order, all or none.

    Raises InvalidArgument for a key or value that the kernel has not or does not take, FailedPrecondition when the
    cgroup is gone or in a state that forbids it, Unsupported without the hierarchy, PermissionDenied.
    """
    planned = [(setting, _path(group, setting)) for setting in settings]
    before = [(setting, path, _undo(setting, path)) for setting, path in planned]
    done: list[tuple[str, str]] = []
    try:
        for setting, path, undo in before:
            _write(setting, path)
            done.append((path, undo))
    except CriadaptError:
        for path, undo in reversed(done):
            try:
                _put(path, undo)
            except OSError as error:
                if os.path.exists(path):
                    log.warning("cgroup file %r could not be set back to %r: %s", path, undo, error)
        raise


def _path(group: Cgroup, setting: Setting) -> str:
    """The file, which exists and is a limit; the value is one line."""
    label, key, value = setting.label, setting.key, setting.value
    if not _KEY.fullmatch(key):
        raise InvalidArgument(f"{label}: {key!r} is not the name of a cgroup file")
    if key in _NOT_LIMITS:
        raise InvalidArgument(f"{label}: {key!r} is not a limit; it may not be written")
    if not value or len(value) > _LONGEST or not value.isprintable():
        raise InvalidArgument(f"{label}: value {value[:80]!r} is not one line of text")
    directory = group.directory(setting.controller) if setting.controller else group.v2
    if not directory:
        where = f"controller {setting.controller!r}" if setting.controller else "the unified hierarchy (cgroup v2)"
        raise Unsupported(f"{label}: this container has no cgroup in {where} on this host")
    path = f"{directory}/{key}"
    if not os.path.exists(path):
        if not os.path.isdir(directory):
            raise FailedPrecondition(f"{label}: cgroup {directory!r} is gone; only a running container can be changed")
        raise InvalidArgument(f"{label}: there is no file {key!r} in {directory!r}; {_hint(group, key)}")
    return path


def _hint(group: Cgroup, key: str) -> str:
    controller = key.partition(".")[0]
    if controller in group.v1:
        return f"on this host controller {controller!r} is one of cgroup v1, whose files have other names"
    return f"controller {controller!r} is not enabled for it, or this kernel lacks the setting"


def _undo(setting: Setting, path: str) -> str:
    """What to write to have it as it was. A file with a line per device takes one device at a time."""
    data = read(path)
    if data is None:
        if not os.path.exists(path):
            raise FailedPrecondition(f"{setting.label}: cgroup file {path!r} is gone; the container stopped")
        raise InvalidArgument(f"{setting.label}: {setting.key!r} is not a limit; it has no value to go back to")
    text = data.decode(errors="replace").strip()
    subject = setting.value.split()[0]
    if _DEVICE.fullmatch(subject):
        line = next((line for line in text.splitlines() if line.split()[:1] == [subject]), "")
        return line or f"{subject} {_UNSET.get(setting.key, '0')}"
    # "default 100" of io.weight; the devices' lines below it are not touched by what is written.
    return text.splitlines()[0] if text else "\n"


def _write(setting: Setting, path: str) -> None:
    label, value = setting.label, setting.value
    try:
        _put(path, value)
    except OSError as error:
        reason = error.strerror
        if error.errno in (errno.EINVAL, errno.ERANGE, errno.ENOSPC, errno.E2BIG, errno.EOVERFLOW):
            raise InvalidArgument(f"{label}: the kernel does not take {value!r} for {path!r} ({reason})") from error
        if error.errno in (errno.EBUSY, errno.EAGAIN):
            raise FailedPrecondition(f"{label}: {path!r} cannot be set to {value!r} now ({reason})") from error
        if error.errno in (errno.ENOENT, errno.ENODEV) and not os.path.exists(path):
            raise FailedPrecondition(f"{label}: cgroup file {path!r} is gone; the container stopped") from error
        if error.errno in (errno.EOPNOTSUPP, errno.ENODEV, errno.ENXIO):
            raise InvalidArgument(f"{label}: {path!r} cannot be set to {value!r} on this host ({reason})") from error
        raise failed(path, error) from error


def _put(path: str, value: str) -> None:
    """One write(2): the kernel takes each as a whole."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)
