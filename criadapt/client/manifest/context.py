"""What the parts of a pod's translation share: the pod, the node, the ConfigMaps and Secrets beside it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeVar

import msgspec

from criadapt.client.manifest import schema
from criadapt.client.manifest.plan import POD_IP, POD_IPS, Node
from criadapt.errors import InvalidArgument
from criadapt.model.quantity import ceiling, parse_quantity

T = TypeVar("T")

_PAIR = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")
_RESOURCE = re.compile(r"(limits|requests)\.(.+)")

REFUSED: Mapping[type[schema.Part], str] = {
    schema.Volume: "needs a cluster; use emptyDir, hostPath, image, or a configMap or secret of the same manifest",
    schema.Projection: "needs a cluster",
    schema.EnvSource: "is not supported; use value, or a configMapKeyRef or secretKeyRef of the same manifest",
}
"""Where fields without effect would leave something out that the container counts on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objects:
    """The ConfigMaps and Secrets of a manifest, by kind, namespace and name."""

    found: Mapping[tuple[str, str, str], Mapping[str, bytes]]

    def get(self, kind: str, namespace: str, name: str, where: str, *, optional: bool) -> Mapping[str, bytes] | None:
        """Keys and values of an object; None if there is none and there need be none."""
        if not name:
            raise InvalidArgument(f"{where}: missing; which {kind}?")
        values = self.found.get((kind, namespace, name))
        if values is None and not optional:
            raise InvalidArgument(
                f"{where}: there is no {kind} {name!r} in namespace {namespace!r} of this manifest; without a cluster "
                "it must stand in the same YAML stream"
            )
        return values


@dataclass(slots=True, kw_only=True)
class Context:
    """A pod that is being translated."""

    name: str
    namespace: str
    uid: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    spec: schema.PodSpec
    where: str
    """Path of `spec` in the manifest."""
    node: Node
    objects: Objects
    notes: list[str] = field(default_factory=list)

    def containers(self) -> Iterator[tuple[str, schema.Container]]:
        """All containers, init ones first, with their paths."""
        for kind, some in (("initContainers", self.spec.init_containers), ("containers", self.spec.containers)):
            for number, container in enumerate(some):
                yield f"{self.where}.{kind}[{number}]", container

    def field(self, selector: schema.FieldSelector, where: str) -> str:
        """Value of a fieldRef; placeholders stand for what is not known before the pod runs."""
        path = selector.field_path
        if pair := _PAIR.fullmatch(path):
            pairs = self.labels if pair[1] == "labels" else self.annotations
            return pairs.get(pair[2], "")
        known: Mapping[str, Callable[[], str]] = {
            "metadata.name": lambda: self.name,
            "metadata.namespace": lambda: self.namespace,
            "metadata.uid": lambda: self.uid,
            "metadata.labels": lambda: _lines(self.labels),
            "metadata.annotations": lambda: _lines(self.annotations),
            "spec.nodeName": lambda: self.spec.node_name or self.node.name,
            "spec.serviceAccountName": lambda: self.spec.service_account_name or "default",
            "status.podIP": lambda: POD_IP,
            "status.podIPs": lambda: POD_IPS,
        }
        if path not in known:
            raise InvalidArgument(f"{where}.fieldPath: {path!r} is not known here; known: {', '.join(known)}")
        return known[path]()

    def resource(self, selector: schema.ResourceSelector, where: str, container: schema.Container | None) -> str:
        """Value of a resourceFieldRef, rounded up to the divisor's unit."""
        if selector.container_name:
            named = [some for _, some in self.containers() if some.name == selector.container_name]
            container = named[0] if named else None
        if container is None:
            raise InvalidArgument(f"{where}.containerName: no container {selector.container_name!r}")
        found = _RESOURCE.fullmatch(selector.resource)
        if found is None:
            raise InvalidArgument(f"{where}.resource: {selector.resource!r} is not such as limits.cpu")
        amount = self.amount(container, found[1], found[2])
        if amount is None:
            raise InvalidArgument(
                f"{where}.resource: container {container.name!r} has no {selector.resource}; set it, nothing else is "
                "known here"
            )
        divisor = parse_quantity(selector.divisor, f"{where}.divisor") or Fraction(1)
        if divisor < 0:
            raise InvalidArgument(f"{where}.divisor: must not be negative")
        return str(ceiling(amount / divisor))

    def amount(self, container: schema.Container, kind: str, resource: str) -> Fraction | None:
        """A limit or a request; what is not requested is what it is limited to."""
        where = next(path for path, some in self.containers() if some is container)
        limits, requests = container.resources.limits, container.resources.requests
        if kind == "requests" and resource in requests:
            return self._amount(requests[resource], f"{where}.resources.requests.{resource}")
        if resource in limits:
            return self._amount(limits[resource], f"{where}.resources.limits.{resource}")
        return None

    def _amount(self, text: schema.Number, where: str) -> Fraction:
        amount = parse_quantity(text, where)
        if amount < 0:
            raise InvalidArgument(f"{where}: {text} is negative")
        return amount


def unused(part: schema.Part, where: str) -> Iterator[str]:
    """Paths of fields that are set and have no effect. Raises InvalidArgument for those that cannot be left out."""
    for info in msgspec.structs.fields(part):
        value: object = getattr(part, info.name)
        path = f"{where}.{info.encode_name}"
        if info.type is object:
            if value is None:
                continue
            if type(part) in REFUSED:
                raise InvalidArgument(f"{path}: {REFUSED[type(part)]}")
            yield path
        elif isinstance(value, schema.Part):
            yield from unused(value, path)
        elif isinstance(value, tuple):
            for number, element in enumerate(value):
                if isinstance(element, schema.Part):
                    yield from unused(element, f"{path}[{number}]")


def _lines(pairs: Mapping[str, str]) -> str:
    """As the downward API writes maps: one sorted ``key="value"`` a line."""
    return "\n".join(f"{key}={_quoted(pairs[key])}" for key in sorted(pairs))


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
