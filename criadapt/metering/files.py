"""Reading the kernel's files: small, made when read, and gone when what they tell of is gone."""

from __future__ import annotations

import errno
import os

from criadapt.errors import CriadaptError, PermissionDenied, storage_failed

_SIZE = 16384
_ABSENT = frozenset((
    errno.ENOENT, errno.ENOTDIR,  # the cgroup or process is gone, or this kernel has no such file
    errno.ESRCH,  # the process ended while its file was open
    errno.ENODEV,  # the cgroup was removed while its file was open
    errno.EIO, errno.EINVAL,  # /proc files of a process that is ending
    errno.EOPNOTSUPP,  # *.pressure with psi=0, cgroup.procs of a threaded cgroup
    errno.ENAMETOOLONG,
))  # fmt: skip


def absent(error: OSError) -> bool:
    """Whether the error says that there is nothing to read, rather than that reading went wrong."""
    return error.errno in _ABSENT


def failed(path: str, error: OSError) -> CriadaptError:
    """What to raise for an error that is not :func:`absent`."""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return PermissionDenied(f"{path!r}: {error.strerror}; criadapt has to run as root, with cgroups it may use")
    return storage_failed(f"{path!r} cannot be used", error)


def read(path: str) -> bytes | None:
    """Content of a file that the kernel writes in one piece; None when there is nothing to read.

    Those are cgroup files with a value or a table. Not ``open()``: that costs five system calls more than these three.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = os.read(fd, _SIZE)
            return data if len(data) < _SIZE else data + _rest(fd)
        finally:
            os.close(fd)
    except OSError as error:
        if absent(error):
            return None
        raise failed(path, error) from error


def read_list(path: str) -> bytes | None:
    """Content of a file that the kernel writes entry by entry: a read may be short without being the last."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return _rest(fd)
        finally:
            os.close(fd)
    except OSError as error:
        if absent(error):
            return None
        raise failed(path, error) from error


def _rest(fd: int) -> bytes:
    first = os.read(fd, _SIZE)
    if not first:
        return b""
    second = os.read(fd, _SIZE)
    if not second:
        return first
    chunks = [first, second]
    while chunk := os.read(fd, _SIZE):
        chunks.append(chunk)
    return b"".join(chunks)
