"""Capability sets of a container, as the kernel shows them in /proc."""

from __future__ import annotations

from criadapt.backends.base import ContainerSpec
from criadapt.model.capabilities import NAMES

_DEFAULT = frozenset(
    """CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL
    AUDIT_WRITE""".split()  # noqa: SIM905
)


def bounding(spec: ContainerSpec) -> frozenset[str]:
    """Capabilities that the container's processes may have at most."""
    if spec.privileged:
        return frozenset(NAMES)
    add = {_plain(name) for name in (*spec.capabilities.add_capabilities, *spec.capabilities.add_ambient_capabilities)}
    drop = {_plain(name) for name in spec.capabilities.drop_capabilities}
    held = set(NAMES) if "ALL" in add else set() if "ALL" in drop else set(_DEFAULT)
    return frozenset((held | (add & set(NAMES))) - (drop - {"ALL"}))


def effective(spec: ContainerSpec, uid: int) -> frozenset[str]:
    """Capabilities that a process of user `uid` has."""
    return bounding(spec) if uid == 0 else ambient(spec)


def ambient(spec: ContainerSpec) -> frozenset[str]:
    """Capabilities that survive a change to another user."""
    return frozenset(_plain(name) for name in spec.capabilities.add_ambient_capabilities) & bounding(spec)


def mask(held: frozenset[str]) -> str:
    """A set as in /proc/self/status."""
    return f"{sum(1 << NAMES.index(name) for name in held):016x}"


def _plain(name: str) -> str:
    return name.upper().removeprefix("CAP_")
