"""A container's limits as Docker Engine takes them, and those it has no field for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from criadapt.backends.docker.facts import EngineFacts
from criadapt.errors import InvalidArgument
from criadapt.metering import writing
from criadapt.metering.cgroup import Cgroup
from criadapt.model.linux import LinuxContainerResources

NO_LIMIT = 2**63 - 4096
"""Bytes that the kernel's counters take for "no limit" (page_counter.h); updates do not hand on a -1."""

_LEAST_SHARES, _MOST_SHARES = 2, 262144  # the kernel's; runc refuses what the kernel would silently round


@dataclass(frozen=True, slots=True, kw_only=True)
class AfterStart:
    """Limits to be written once the container has a cgroup: bytes by page size (``2MB``), values by v2 file name."""

    hugepages: Mapping[str, int] = field(default_factory=dict)
    unified: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.hugepages or self.unified)

    def settings(self, group: Cgroup) -> list[writing.Setting]:
        """What to write into the container's cgroup, for :func:`criadapt.metering.writing.write`."""
        return writing.hugepages(group, self.hugepages) + writing.unified(self.unified)


def after_start(resources: LinuxContainerResources, facts: EngineFacts) -> AfterStart:
    """What create (or update) leaves to be done. Raises Unsupported for `unified` without cgroup v2."""
    if resources.unified and facts.cgroup_version < 2:
        keys = ", ".join(sorted(resources.unified))
        raise facts.unsupported(f"resources.unified ({keys}): this host limits containers by cgroup v1")
    pages = {limit.page_size: limit.limit for limit in resources.hugepage_limits}
    return AfterStart(hugepages=pages, unified=dict(resources.unified))


def limits(resources: LinuxContainerResources, facts: EngineFacts) -> dict[str, Any]:
    """The part of HostConfig that limits a new container. Raises InvalidArgument."""
    host = _limits(resources)
    host["OomScoreAdj"] = oom_score_adj(resources.oom_score_adj, facts)
    return host


def resources_update(resources: LinuxContainerResources, facts: EngineFacts) -> dict[str, Any]:
    """Body of ``POST /containers/{id}/update``: only what is set; empty if the engine has nothing to change.

    An oom_score_adj cannot be changed any more, and is passed over, as in containerd: the kubelet repeats it in every
    update. See :func:`after_start` for the rest. Raises InvalidArgument.
    """
    after_start(resources, facts)
    body = _limits(resources)
    if body.get("MemorySwap") == -1:
        body["MemorySwap"] = NO_LIMIT
    return body


def oom_score_adj(asked: int, facts: EngineFacts) -> int:
    """As asked for, or as low as the engine can go."""
    return max(asked, facts.oom_floor)


def _limits(resources: LinuxContainerResources) -> dict[str, Any]:
    _demand_sense(resources)
    memory, swap = resources.memory_limit_in_bytes, resources.memory_swap_limit_in_bytes
    shares = resources.cpu_shares
    values = {
        "CpuPeriod": resources.cpu_period,
        "CpuQuota": resources.cpu_quota,
        "CpuShares": shares and min(max(shares, _LEAST_SHARES), _MOST_SHARES),
        "CpusetCpus": resources.cpuset_cpus,
        "CpusetMems": resources.cpuset_mems,
        "Memory": memory,
        # Without a word about swap Docker would allow as much again.
        "MemorySwap": swap or memory,
    }
    return {key: value for key, value in values.items() if value}


def _demand_sense(resources: LinuxContainerResources) -> None:
    """The engine takes some nonsense in silence, and fails only when the container starts."""
    for name in ("cpu_period", "cpu_shares", "memory_limit_in_bytes"):
        if getattr(resources, name) < 0:
            raise InvalidArgument(f"resources.{name} is {getattr(resources, name)}; it must not be negative")
    for name in ("cpu_quota", "memory_swap_limit_in_bytes"):
        if getattr(resources, name) < -1:
            raise InvalidArgument(f"resources.{name} is {getattr(resources, name)}; below 0 only -1 means something")
    for limit in resources.hugepage_limits:
        if limit.limit < 0:
            raise InvalidArgument(f"resources.hugepage_limits: {limit.page_size} has the limit {limit.limit}")
    if not -1000 <= resources.oom_score_adj <= 1000:
        raise InvalidArgument(f"resources.oom_score_adj {resources.oom_score_adj} is not within -1000 and 1000")
