"""What /proc tells of a container's processes: interfaces, descriptors, sockets, limits (proc(5))."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from criadapt.metering import parse
from criadapt.metering.files import read_list
from criadapt.model.usage import InterfaceCounters

ULIMITS = ("max_open_files", "max_processes", "max_core_file_size", "max_stack_size", "max_locked_memory")
"""The limits that are reported, out of sixteen."""

EVERY = 10.0
"""Seconds for which descriptors, sockets and limits stay as counted; the kubelet does not ask more often."""

_SHARE = 100
"""What is counted at a cost of t seconds is not counted again for a hundred times t: one percent of a core."""

_PROCESSES = 1024
_LINKS = 4096


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a container's processes hold."""

    file_descriptors: int = 0
    sockets: int = 0
    ulimits: tuple[tuple[str, int], ...] = ()


class Counted:
    """The holdings of one container, counted anew now and then."""

    __slots__ = ("_clock", "_due", "_holdings")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due = 0.0
        self._holdings: Holdings | None = None

    def of(self, proc: str, first: int, pids: Sequence[int]) -> Holdings:
        """Of `pids`, and the limits of `first`; as fresh as their cost allows."""
        begin = self._clock()
        if self._holdings is None or begin >= self._due:
            self._holdings = holdings(proc, first, pids)
            end = self._clock()
            self._due = end + max(EVERY, _SHARE * (end - begin))
        return self._holdings


def interfaces(proc: str, pid: int) -> tuple[InterfaceCounters, ...]:
    """Interfaces of the network namespace of a process, without the loopback; none if it is gone."""
    return parse.interfaces(read_list(f"{proc}/{pid}/net/dev"))


def holdings(proc: str, first: int, pids: Sequence[int]) -> Holdings:
    """Count now. Of very many processes or descriptors only the first are looked at: the cost is bounded, and the
    counts are then lower bounds."""
    descriptors = sockets = 0
    left = _LINKS
    for pid in pids[:_PROCESSES]:
        if pid:  # one of another pid namespace has no number here
            opened, linked, looked = _opened(f"{proc}/{pid}/fd", left)
            descriptors += opened
            sockets += linked
            left -= looked
    return Holdings(descriptors, sockets, parse.limits(read_list(f"{proc}/{first}/limits"), ULIMITS))


def _opened(path: str, most: int) -> tuple[int, int, int]:
    """Descriptors, sockets among the first `most` of them, and how many were looked at; zeros without permission."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return 0, 0, 0
    sockets = looked = 0
    try:
        # Since Linux 6.2 the size of the directory is the number of descriptors, so a long list need not be made.
        count = os.fstat(fd).st_size
        if count and not most:
            return count, 0, 0
        names = os.listdir(fd)
        for name in names[:most]:
            looked += 1
            with suppress(OSError):  # closed meanwhile
                sockets += os.readlink(name, dir_fd=fd).startswith("socket:")
        return len(names), sockets, looked
    except OSError:  # the process ended
        return 0, 0, 0
    finally:
        os.close(fd)
