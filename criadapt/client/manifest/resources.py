"""Requests and limits → cgroup values, as kubelet computes them."""

from __future__ import annotations

from fractions import Fraction

from criadapt.client.manifest import schema
from criadapt.client.manifest.context import Context
from criadapt.errors import InvalidArgument
from criadapt.model.linux import HugepageLimit, LinuxContainerResources
from criadapt.model.quantity import ceiling, parse_quantity

PERIOD = 100_000  # microseconds
MIN_QUOTA = 1000
MIN_SHARES, MAX_SHARES = 2, 262_144
# OOM scores by quality of service (kubelet, pkg/kubelet/qos).
GUARANTEED, BEST_EFFORT = -997, 1000

_HUGEPAGES = "hugepages-"


def qos(context: Context) -> str:
    """Guaranteed, Burstable or BestEffort: by requests and limits of cpu and memory of all containers."""
    given = False
    guaranteed = True
    for _, container in context.containers():
        for resource in ("cpu", "memory"):
            limit = context.amount(container, "limits", resource)
            request = context.amount(container, "requests", resource)
            given = given or bool(limit) or bool(request)
            guaranteed = guaranteed and bool(limit) and request == limit
    if not given:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def oom_score(context: Context, container: schema.Container) -> int:
    """Which container dies first when memory is short: the more it uses beyond its request, the sooner."""
    quality = qos(context)
    if quality == "Guaranteed":
        return GUARANTEED
    if quality == "BestEffort":
        return BEST_EFFORT
    request = ceiling(context.amount(container, "requests", "memory") or Fraction(0))
    score = 1000 - (1000 * request // context.node.memory if context.node.memory else 0)
    return min(max(score, 1000 + GUARANTEED), BEST_EFFORT - 1)


def resources(context: Context, container: schema.Container, where: str) -> LinuxContainerResources:
    """Limits of a container."""
    _check(context, container, where)
    limit = milli(context.amount(container, "limits", "cpu"))
    return LinuxContainerResources(
        cpu_period=PERIOD if limit else 0,
        cpu_quota=quota(limit),
        cpu_shares=shares(milli(context.amount(container, "requests", "cpu"))),
        memory_limit_in_bytes=ceiling(context.amount(container, "limits", "memory") or Fraction(0)),
        oom_score_adj=oom_score(context, container),
        hugepage_limits=tuple(
            HugepageLimit(
                page_size=_page_size(name, f"{where}.resources.limits.{name}"),
                limit=ceiling(context.amount(container, "limits", name) or Fraction(0)),
            )
            for name in container.resources.limits
            if name.startswith(_HUGEPAGES)
        ),
    )


def overhead(context: Context) -> LinuxContainerResources | None:
    """What the pod's own machinery takes, by its runtime class."""
    if not context.spec.overhead:
        return None
    given = {
        name: parse_quantity(text, f"{context.where}.overhead.{name}") for name, text in context.spec.overhead.items()
    }
    cpu = milli(given.get("cpu"))
    return LinuxContainerResources(
        cpu_period=PERIOD if cpu else 0,
        cpu_quota=quota(cpu),
        cpu_shares=shares(cpu),
        memory_limit_in_bytes=ceiling(given.get("memory", Fraction(0))),
    )


def milli(amount: Fraction | None) -> int:
    """Thousandths of a processor."""
    return ceiling((amount or Fraction(0)) * 1000)


def shares(milli: int) -> int:
    """CPU shares of a request in thousandths of a processor."""
    return min(max(milli * 1024 // 1000, MIN_SHARES), MAX_SHARES)


def quota(milli: int) -> int:
    """Microseconds of each period for a limit in thousandths of a processor; 0 without a limit."""
    return max(milli * PERIOD // 1000, MIN_QUOTA) if milli else 0


def _check(context: Context, container: schema.Container, where: str) -> None:
    for kind in ("limits", "requests"):
        given = container.resources.limits if kind == "limits" else container.resources.requests
        for name in given:
            amount = context.amount(container, kind, name)
            limit = context.amount(container, "limits", name)
            if kind == "requests" and amount is not None and limit is not None and amount > limit:
                raise InvalidArgument(f"{where}.resources.requests.{name}: {given[name]} is more than the limit")
            if kind == "limits" and name != "cpu" and name != "memory" and not name.startswith(_HUGEPAGES):
                context.notes.append(f"{where}.resources.limits.{name} is not acted on")


def _page_size(name: str, where: str) -> str:
    """``hugepages-2Mi`` → ``2MB``, the way the kernel calls it."""
    size = name.removeprefix(_HUGEPAGES)
    amount = int(parse_quantity(size, where))
    for unit, factor in (("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)):
        if amount and amount % factor == 0:
            return f"{amount // factor}{unit}"
    raise InvalidArgument(f"{where}: {size!r} is not the size of a huge page")
