"""Memory of a container's processes, and what happens when it is too much."""

from __future__ import annotations

from collections.abc import Iterable

from criadapt.backends.mock.process import Proc
from criadapt.model.linux import LinuxContainerResources

PROCESS_BYTES = 512 * 1024  # resident memory of a process that claims none


def held(procs: Iterable[Proc]) -> int:
    """Bytes that processes hold."""
    return sum(proc.memory + PROCESS_BYTES for proc in procs)


def enforce(limits: LinuxContainerResources, procs: list[Proc]) -> int:
    """Kill the greatest process while all together exceed the limit, or all of them if the cgroup dies as one.

    Returns how often that was necessary. Who claims nothing is not killed: a limit below what processes take by
    merely existing would let none start.
    """
    kills = 0
    alive = [proc for proc in procs if not proc.killed]
    while limits.memory_limit_in_bytes and held(alive) > limits.memory_limit_in_bytes:
        victim = max(alive, key=lambda proc: proc.memory)
        if not victim.memory:
            break
        kills += 1
        for proc in alive if limits.unified.get("memory.oom.group") == "1" else [victim]:
            proc.memory = 0
            proc.kill()
        alive = [proc for proc in alive if not proc.killed]
    return kills
