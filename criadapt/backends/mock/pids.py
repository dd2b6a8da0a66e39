"""Process ids: which processes a mock container sees, and under which numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from criadapt.backends.mock.process import Proc
from criadapt.model.linux import NamespaceMode

if TYPE_CHECKING:
    from criadapt.backends.mock.machine import Machine

_STRIDE, _MAX = 65_536, 4_194_304


def host_pid(first: int, number: int) -> int:
    """Id on the host of a container's process `number`, counted from 1, given the id of its first one.

    First processes have ids next to each other, so the others keep away by a stride.
    """
    return (first + (number - 1) * _STRIDE) % _MAX


def visible(machine: Machine) -> list[tuple[int, Proc]]:
    """All processes that those of `machine` see, by the ids under which they see them."""
    mode = machine.spec.namespaces.pid
    target = machine.spec.namespaces.target_id
    found: list[tuple[int, Proc]] = []
    for peer in machine.peers():
        if mode is NamespaceMode.NODE:
            found += ((host_pid(peer.pid, proc.number), proc) for proc in peer.procs.values())
        elif (
            peer is machine
            or (mode is NamespaceMode.TARGET and target and peer.id == target)
            or (mode is peer.spec.namespaces.pid is NamespaceMode.POD)
        ):
            found += ((proc.pid, proc) for proc in peer.procs.values())
    return sorted(found, key=lambda entry: entry[0])
