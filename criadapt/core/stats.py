"""Resource figures, computed when somebody asks.

A backend hands out raw counters (:class:`~criadapt.model.usage.Usage`); the CRI stats and metrics of all backends
are made from them here. Nothing runs in the background: the CPU rate is taken against what an earlier caller saw.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import NamedTuple

from criadapt.backends.base import Backend
from criadapt.core import figures, metrics
from criadapt.core.records import ContainerRecord, SandboxRecord
from criadapt.core.store import Store
from criadapt.errors import ContainerNotFound, CriadaptError, EngineError, NotFound, Unavailable, Unsupported
from criadapt.model.container import ContainerFilter, ContainerState
from criadapt.model.sandbox import PodSandboxFilter, PodSandboxState
from criadapt.model.stats import (
    ContainerAttributes,
    ContainerMetrics,
    ContainerStats,
    ContainerStatsFilter,
    CpuUsage,
    IoUsage,
    LinuxPodSandboxStats,
    MetricDescriptor,
    PodSandboxAttributes,
    PodSandboxMetrics,
    PodSandboxStats,
    PodSandboxStatsFilter,
    ProcessUsage,
)
from criadapt.model.usage import Usage

log = logging.getLogger(__name__)

_AT_ONCE = 64
_BREATH = 50

Outcome = Usage | CriadaptError


class _Pod(NamedTuple):
    """A pod's infra container and its containers, measured."""

    id: str
    infra: Outcome
    containers: list[str]
    outcomes: list[Outcome]


class Stats:
    """Answers the stats and metrics calls."""

    def __init__(self, store: Store, backend: Backend, now: Callable[[], int]) -> None:
        self._store = store
        self._backend = backend
        self._now = now
        self._rates = figures.Rates()
        store.listeners.append(self._changed)

    def _changed(self, record: SandboxRecord | ContainerRecord, dropped: bool) -> None:
        if dropped:
            self._rates.forget(record.id)

    # ------------------------------------------------------------------ containers

    async def container(self, id: str) -> ContainerStats:
        """Figures of one container; of one that does not run, only the writable layer. Raises NotFound."""
        record = self._store.container(id)
        (outcome,) = await self._measure([record.id])
        if not self._store.has_container(record.id):
            raise ContainerNotFound(id)
        record = self._store.container(record.id)
        stats = self._container(record, outcome)
        if stats is None:
            assert isinstance(outcome, CriadaptError)
            raise outcome
        return stats

    async def containers(self, filter: ContainerStatsFilter | None) -> list[ContainerStats]:
        """Figures of all containers that match, newest first. One that cannot be measured is left out."""
        wanted = None
        if filter is not None:
            wanted = ContainerFilter(
                id=filter.id, pod_sandbox_id=filter.pod_sandbox_id, label_selector=filter.label_selector
            )
        ids = [record.id for record in self._store.containers(wanted)]
        outcomes = await self._measure(ids)
        found = self._present(ids, outcomes)
        if not found:
            _raise_common(outcomes)
        return found

    def _present(self, ids: Sequence[str], outcomes: Sequence[Outcome]) -> list[ContainerStats]:
        """Stats of those that still exist and could be measured."""
        return [
            stats
            for id, outcome in zip(ids, outcomes, strict=True)
            if self._store.has_container(id)
            and (stats := self._container(self._store.container(id), outcome)) is not None
        ]

    def _container(self, record: ContainerRecord, outcome: Outcome) -> ContainerStats | None:
        """None if it could not be measured. An exited container may be gone from the engine but not from CRI."""
        attributes = ContainerAttributes(
            id=record.id,
            metadata=record.metadata,
            labels=record.config.labels,
            annotations=record.config.annotations,
        )
        running = record.state is ContainerState.RUNNING
        if isinstance(outcome, CriadaptError):
            gone = isinstance(outcome, NotFound) and not running
            return ContainerStats(attributes=attributes) if gone else None
        time_ns = self._time(outcome)
        layer = figures.layer(outcome.disk, time_ns) if outcome.disk else None
        if not running:
            return ContainerStats(attributes=attributes, writable_layer=layer)
        memory = outcome.memory
        return ContainerStats(
            attributes=attributes,
            cpu=self._cpu(record.id, outcome, time_ns),
            memory=figures.memory(memory, time_ns) if memory else None,
            writable_layer=layer,
            swap=figures.swap(memory, time_ns) if memory else None,
            io=IoUsage(timestamp=time_ns, psi=outcome.io_psi) if outcome.io_psi else None,
        )

    def _cpu(self, id: str, usage: Usage, time_ns: int) -> CpuUsage | None:
        cpu = usage.cpu
        if cpu is None:
            return None
        rate = self._rates.rate(id, time_ns, cpu.usage_ns)
        return CpuUsage(timestamp=time_ns, usage_core_nano_seconds=cpu.usage_ns, usage_nano_cores=rate, psi=cpu.psi)

    # ------------------------------------------------------------------ pods

    async def pod(self, id: str) -> PodSandboxStats:
        """Figures of a pod and its containers. Raises NotFound, and Unavailable when it is not ready."""
        pod = self._store.sandbox(id)
        if pod.state is not PodSandboxState.READY:
            raise Unavailable(f"pod sandbox {pod.id[:13]!r} is not ready; only a ready one can be measured")
        (measured,) = await self._measure_pods([pod], running_only=False)
        stats = self._pod(measured)
        if stats is not None:
            return stats
        self._store.sandbox(pod.id)  # NotFound if it was removed meanwhile
        if isinstance(measured.infra, CriadaptError) and not isinstance(measured.infra, NotFound):
            raise measured.infra
        raise Unavailable(f"pod sandbox {pod.id[:13]!r} stopped while it was measured")

    async def pods(self, filter: PodSandboxStatsFilter | None) -> list[PodSandboxStats]:
        """Figures of all ready pods that match, newest first. One that cannot be measured is left out."""
        wanted = PodSandboxFilter(state=PodSandboxState.READY)
        if filter is not None:
            wanted = replace(wanted, id=filter.id, label_selector=filter.label_selector)
        measured = await self._measure_pods(list(self._store.sandboxes(wanted)), running_only=False)
        found = [stats for pod in measured if (stats := self._pod(pod)) is not None]
        if not found:
            _raise_common([pod.infra for pod in measured])
        return found

    def _pod(self, measured: _Pod) -> PodSandboxStats | None:
        """None if its infra container could not be measured, or it is not ready any more.

        CPU, memory and processes are sums over the infra container and those that run; there are no stall times, as
        those of several containers do not add up.
        """
        pod, infra = self._ready(measured.id), measured.infra
        if pod is None or isinstance(infra, CriadaptError):
            return None
        time_ns = self._time(infra)
        containers = self._present(measured.containers, measured.outcomes)
        running = [infra, *(usage for _, usage in self._running(measured))]
        own = self._cpu(pod.id, infra, time_ns)
        cpus = [cpu for cpu in (own, *(stats.cpu for stats in containers)) if cpu]
        memories = [usage.memory for usage in running if usage.memory]
        processes = [usage.processes.processes for usage in running if usage.processes]
        limit = pod.resources.memory_limit_in_bytes if pod.resources else 0
        return PodSandboxStats(
            attributes=PodSandboxAttributes(
                id=pod.id, metadata=pod.metadata, labels=pod.config.labels, annotations=pod.config.annotations
            ),
            linux=LinuxPodSandboxStats(
                cpu=figures.pod_cpu(cpus) if cpus else None,
                memory=figures.pod_memory(memories, limit, time_ns) if memories else None,
                network=None if pod.host_network else figures.network(infra.network, time_ns),
                process=ProcessUsage(timestamp=time_ns, process_count=sum(processes)) if processes else None,
                containers=tuple(containers),
            ),
        )

    # ------------------------------------------------------------------ metrics

    async def pod_metrics(self) -> list[PodSandboxMetrics]:
        """Samples of all ready pods and their running containers, newest pod first."""
        pods = list(self._store.sandboxes(PodSandboxFilter(state=PodSandboxState.READY)))
        found = []
        measured = await self._measure_pods(pods, running_only=True)
        for each in measured:
            pod, infra = self._ready(each.id), each.infra
            if pod is None or isinstance(infra, CriadaptError):
                continue
            containers = [
                ContainerMetrics(
                    container_id=record.id,
                    metrics=metrics.container_metrics(pod, record, usage, self._time(usage)),
                )
                for record, usage in self._running(each)
            ]
            own = () if pod.host_network else metrics.pod_metrics(pod, infra, self._time(infra))
            found.append(PodSandboxMetrics(pod_sandbox_id=pod.id, metrics=own, container_metrics=tuple(containers)))
        if not found:
            _raise_common([pod.infra for pod in measured])
        return found

    def descriptors(self) -> tuple[MetricDescriptor, ...]:
        """Every metric :meth:`pod_metrics` may give. Raises Unsupported when the backend cannot measure."""
        self._check_supported()
        return metrics.DESCRIPTORS

    # ------------------------------------------------------------------ measuring

    def _ready(self, id: str) -> SandboxRecord | None:
        """The pod, if it (still) is ready."""
        if not self._store.has_sandbox(id):
            return None
        pod = self._store.sandbox(id)
        return pod if pod.state is PodSandboxState.READY else None

    def _running(self, pod: _Pod) -> list[tuple[ContainerRecord, Usage]]:
        """Those of its containers that (still) run and could be measured."""
        return [
            (record, outcome)
            for id, outcome in zip(pod.containers, pod.outcomes, strict=True)
            if isinstance(outcome, Usage)
            and self._store.has_container(id)
            and (record := self._store.container(id)).state is ContainerState.RUNNING
        ]

    async def _measure_pods(self, pods: Sequence[SandboxRecord], *, running_only: bool) -> list[_Pod]:
        """Pods with their containers, all measured in one go."""
        groups = [
            [
                record.id
                for record in self._store.containers_of(pod.id)
                if not running_only or record.state is ContainerState.RUNNING
            ]
            for pod in pods
        ]
        infra = [pod.id for pod in pods]
        outcomes = await self._measure([*infra, *chain.from_iterable(groups)])
        rest = iter(outcomes[len(pods) :])
        return [
            _Pod(id, outcome, group, list(islice(rest, len(group))))
            for id, outcome, group in zip(infra, outcomes, groups, strict=False)
        ]

    async def _measure(self, ids: Sequence[str]) -> list[Outcome]:
        """Counters, or why there are none, of each id.

        A few workers share the work instead of one task per id: where the backend answers at once, as the mock does,
        the first worker is through before the second begins.
        """
        self._check_supported()
        outcomes: dict[int, Outcome] = {}
        todo = iter(enumerate(ids))

        async def work() -> None:
            for at, id in todo:
                outcomes[at] = await self._usage(id)
                if at % _BREATH == _BREATH - 1:  # a backend that answers at once must not hold up other calls
                    await asyncio.sleep(0)

        if len(ids) <= 1:
            await work()
        else:
            await asyncio.gather(*(work() for _ in range(min(_AT_ONCE, len(ids)))))
        return [outcomes[at] for at in range(len(ids))]

    async def _usage(self, id: str) -> Outcome:
        try:
            return await self._backend.usage(id)
        except CriadaptError as error:
            return error
        except Exception as error:
            # Counters vanish while they are read; one odd container must not cost the kubelet those of all others.
            log.warning("container %.13s could not be measured: %r", id, error)
            return EngineError(f"container {id[:13]!r} could not be measured: {error}")

    def _check_supported(self) -> None:
        """Say so at once, also when there is nothing to measure yet: the kubelet and critest ask an empty node."""
        if not self._backend.can("usage"):
            raise Unsupported(f"backend {self._backend.name!r} cannot measure containers")

    def _time(self, usage: Usage) -> int:
        return usage.time_ns or self._now()


def _raise_common(outcomes: Sequence[Outcome]) -> None:
    """Of a list that came out empty: raise if the backend or the engine is the reason, not the containers."""
    if any(isinstance(outcome, Usage) for outcome in outcomes):
        return
    for outcome in outcomes:
        if isinstance(outcome, Unsupported | Unavailable):
            raise outcome
