"""CRI metrics: descriptors and samples, made from the table in :mod:`criadapt.core.metrics_table`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from criadapt.core import names
from criadapt.core.metrics_table import CONTAINER_FAMILIES, POD_FAMILIES, Family, Running
from criadapt.core.records import ContainerRecord, SandboxRecord
from criadapt.model.stats import Metric, MetricDescriptor
from criadapt.model.usage import Usage

S = TypeVar("S")

LABEL_KEYS = ("container", "id", "image", "name", "namespace", "pod")
"""Labels of every metric. `id` is the CRI id and `name` the engine's name of the container, or of the infra container
where the metric is about the pod; `container` and `image` are empty there."""

_FAMILIES: tuple[Family[Any, Any], ...] = (*CONTAINER_FAMILIES, *POD_FAMILIES)

DESCRIPTORS: tuple[MetricDescriptor, ...] = tuple(
    MetricDescriptor(name=row.name, help=row.help, label_keys=LABEL_KEYS + family.keys)
    for family in _FAMILIES
    for row in family.rows
)


def pod_metrics(pod: SandboxRecord, infra: Usage, time_ns: int) -> tuple[Metric, ...]:
    """Samples about the pod as a whole: its network."""
    metadata = pod.metadata
    name = names.infra_name(metadata)
    return _samples(POD_FAMILIES, infra, ("", pod.id, "", name, metadata.namespace, metadata.name), time_ns)


def container_metrics(pod: SandboxRecord, record: ContainerRecord, usage: Usage, time_ns: int) -> tuple[Metric, ...]:
    """Samples of a running container."""
    of_pod, own = pod.metadata, record.metadata
    name = names.container_name(pod.id, of_pod, own)
    labels = (own.name, record.id, record.image_name, name, of_pod.namespace, of_pod.name)
    return _samples(CONTAINER_FAMILIES, Running(record, usage, time_ns), labels, time_ns)


def _samples(families: Sequence[Family[S, Any]], subject: S, base: tuple[str, ...], time_ns: int) -> tuple[Metric, ...]:
    samples = []
    for family in families:
        seen: set[tuple[str, ...]] = set()
        for part in family.parts(subject):
            labels = base + family.labels(part)
            if labels in seen:  # a second sample of the same name and labels would spoil the kubelet's whole page
                continue
            seen.add(labels)
            for row in family.rows:
                value = row.value(part)
                if value >= 0:
                    samples.append(
                        Metric(name=row.name, timestamp=time_ns, metric_type=row.type, label_values=labels, value=value)
                    )
    return tuple(samples)
