"""Limits of a container: which make sense, and how an update changes them."""

from __future__ import annotations

import re
from dataclasses import fields, replace

from criadapt.errors import InvalidArgument
from criadapt.model.linux import LinuxContainerResources

_CPU_LIST = re.compile(r"\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*")
_UNLIMITED = ("cpu_quota", "memory_limit_in_bytes", "memory_swap_limit_in_bytes")  # -1 has a meaning there


def check_resources(resources: LinuxContainerResources) -> None:
    """Raises InvalidArgument, naming the field, for values that a kernel would refuse."""
    for name in (
        "cpu_period",
        "cpu_quota",
        "cpu_shares",
        "memory_limit_in_bytes",
        "memory_swap_limit_in_bytes",
    ):
        value = getattr(resources, name)
        if value < (-1 if name in _UNLIMITED else 0):
            raise InvalidArgument(f"{name} is {value}; it must not be negative")
    if not -1000 <= resources.oom_score_adj <= 1000:
        raise InvalidArgument(f"oom_score_adj is {resources.oom_score_adj}; it must lie between -1000 and 1000")
    for name in ("cpuset_cpus", "cpuset_mems"):
        value = getattr(resources, name)
        if value and not _CPU_LIST.fullmatch(value):
            raise InvalidArgument(f"{name} is {value!r}; write a list such as 0-2,4")
    memory, swap = resources.memory_limit_in_bytes, resources.memory_swap_limit_in_bytes
    if 0 < swap < memory:
        raise InvalidArgument(
            f"memory_swap_limit_in_bytes is {swap}, below memory_limit_in_bytes ({memory}), which it includes"
        )
    for limit in resources.hugepage_limits:
        if limit.limit < 0:
            raise InvalidArgument(f"hugepage_limits: {limit.page_size} has the limit {limit.limit}")


def merge_resources(old: LinuxContainerResources, new: LinuxContainerResources) -> LinuxContainerResources:
    """`old` with everything that `new` sets. Raises InvalidArgument when the result makes no sense."""
    check_resources(new)
    given = {field.name: getattr(new, field.name) for field in fields(new)}
    changes = {name: value for name, value in given.items() if value}
    if new.unified:
        changes["unified"] = {**old.unified, **new.unified}
    if new.hugepage_limits:
        merged = {limit.page_size: limit for limit in (*old.hugepage_limits, *new.hugepage_limits)}
        changes["hugepage_limits"] = tuple(merged.values())
    result = replace(old, **changes)
    check_resources(result)
    return result
