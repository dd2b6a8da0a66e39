"""Processes of this machine that are not our children: when they end, and how to end them with all they started."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

_PASSES = 50  # looks for further processes; each stops those that it finds


@contextmanager
def ending(pid: int) -> Iterator[asyncio.Future[None]]:
    """A future that is done once the process has ended; at once where it has already or cannot be watched."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        ended.set_result(None)
        yield ended
        return

    def tell() -> None:
        loop.remove_reader(descriptor)
        if not ended.done():
            ended.set_result(None)

    loop.add_reader(descriptor, tell)
    try:
        yield ended
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def is_in_container(pid: int, container_id: str) -> bool:
    """Whether the process is in a cgroup that bears the container's name: numbers of processes are used again."""
    try:
        with open(f"/proc/{pid}/cgroup", "rb") as file:
            return container_id.encode() in file.read()
    except OSError:
        return False


def kill_tree(pid: int) -> None:
    """SIGKILL for the process, all its descendants, and those in their sessions whose parents have ended.

    First they are stopped, until no look finds a new one, so that none can start another or lose its parent unseen.
    Blocks for some milliseconds. Raises PermissionError.
    """
    stopped: list[int] = []
    for _ in range(_PASSES):
        found = [each for each in tree(pid) if each not in stopped]
        if not found:
            break
        for each in found:
            _send(each, signal.SIGSTOP)
        stopped += found
    for each in stopped:
        _send(each, signal.SIGKILL)


def tree(pid: int) -> list[int]:
    """The process, its descendants, and the members of the sessions that these lead."""
    table = {each.pid: each for each in _processes()}
    if pid not in table:
        return []
    found = [pid]
    for member in found:  # grows
        found += [
            each.pid for each in table.values() if member in (each.parent, each.session) and each.pid not in found
        ]
    return found


class _Process(NamedTuple):
    pid: int
    parent: int
    session: int


def _processes() -> Iterator[_Process]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                # The name, in brackets, may hold anything; behind it: state, parent, group, session (proc(5)).
                state, parent, _, session, *_ = file.read().rpartition(b")")[2].split()
                if state not in (b"Z", b"X"):
                    yield _Process(int(name), int(parent), int(session))


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
