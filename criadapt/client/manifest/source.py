"""From YAML to typed objects, with the path of whatever does not fit."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

import msgspec

from criadapt.client.manifest import schema
from criadapt.client.manifest.context import Context, Objects
from criadapt.client.manifest.plan import Node, PodPlan
from criadapt.client.manifest.pods import pod_plan
from criadapt.client.manifest.typed import shown, typed
from criadapt.errors import InvalidArgument, NotFound

Source: TypeAlias = Mapping[str, object] | str | Path
"""A manifest as a mapping, as YAML or JSON text of more than one line, or the path of a file with it."""

WORKLOADS = {
    ("apps/v1", "Deployment"),
    ("apps/v1", "ReplicaSet"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("batch/v1", "Job"),
}
MAX_REPLICAS = 1000

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")


def read_manifest(source: Source, *, node: Node | None = None) -> tuple[PodPlan, ...]:
    """The pods of a manifest: v1 Pod, and those of Deployments, ReplicaSets, StatefulSets, DaemonSets and Jobs.

    ConfigMaps and Secrets of the same stream are used; other objects are named in the plans' notes. `node` is the
    machine that the pods are to run on, this one unless given.

    Raises InvalidArgument with the exact path, ``spec.containers[0].volumeMounts[1].name: no volume 'x'``, and
    NotFound for a file that is not there.
    """
    documents = list(_objects(_load(source)))
    values: dict[tuple[str, str, str], Mapping[str, bytes]] = {}
    pods: list[tuple[str, Mapping[str, object], str]] = []
    notes: list[str] = []
    for number, document in enumerate(documents):
        api, kind = document.get("apiVersion"), document.get("kind")
        place = f"document {number + 1} ({kind}): " if len(documents) > 1 else ""
        if not isinstance(api, str) or not isinstance(kind, str):
            raise InvalidArgument(f"{place}apiVersion and kind: missing; expected such as v1 and Pod")
        if (api, kind) == ("v1", "ConfigMap"):
            config_map = typed(document, schema.ConfigMap, place)
            values["ConfigMap", *_identity(config_map.metadata, place)] = _config_map(config_map, place)
        elif (api, kind) == ("v1", "Secret"):
            secret = typed(document, schema.Secret, place)
            values["Secret", *_identity(secret.metadata, place)] = _secret(secret, place)
        elif (api, kind) == ("v1", "Pod") or (api, kind) in WORKLOADS:
            pods.append((kind, document, place))
        else:
            notes.append(f"{kind} {_name_of(document)!r} is not acted on")
    if not pods:
        raise InvalidArgument(
            "no pod in the manifest; there must be a v1 Pod, or a Deployment, ReplicaSet, StatefulSet or DaemonSet of "
            f"apps/v1, or a Job of batch/v1{'; found: ' + ', '.join(notes) if notes else ''}"
        )
    node = node or Node.here()
    objects = Objects(found=values)
    found = []
    for kind, document, place in pods:
        if kind == "Pod":
            pod = typed(document, schema.Pod, place)
            found.append(_plan(pod.metadata, pod.spec, "spec", place, node, objects, notes))
        else:
            found += _workload(kind, typed(document, schema.Workload, place), place, node, objects, notes)
    return tuple(found)


# ---------------------------------------------------------------------------------------------- documents


def _load(source: Source) -> Iterator[object]:
    if isinstance(source, Mapping):
        yield dict(source)
        return
    text = source if isinstance(source, str) and ("\n" in source or source.lstrip()[:1] == "{") else _file(Path(source))
    import yaml  # not for those who only look at containers

    try:
        yield from yaml.safe_load_all(text)
    except yaml.YAMLError as error:
        raise InvalidArgument(f"the manifest is no YAML: {error}") from error
    except (RecursionError, ValueError) as error:
        raise InvalidArgument(f"the manifest cannot be read: {error}") from error


def _file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(f"manifest {str(path)!r} does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"manifest {str(path)!r} cannot be read: {error}") from error


def _objects(documents: Iterator[object]) -> Iterator[Mapping[str, object]]:
    """The objects of a stream, those of lists one by one, without fields that are null: those are not set."""
    for document in documents:
        try:
            pruned = _pruned(document)
        except RecursionError:
            raise InvalidArgument("the manifest contains itself") from None
        if pruned is None:
            continue
        if not isinstance(pruned, dict):
            raise InvalidArgument(f"the manifest is {shown(document)}; expected a mapping with apiVersion and kind")
        items = pruned.get("items")
        if str(pruned.get("kind", "")).endswith("List") and isinstance(items, list):
            yield from _objects(iter(items))
        else:
            yield pruned


def _pruned(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _pruned(element) for key, element in value.items() if element is not None}
    return [_pruned(element) for element in value] if isinstance(value, (list, tuple)) else value


# ---------------------------------------------------------------------------------------------- objects


def _identity(metadata: schema.ObjectMeta, place: str) -> tuple[str, str]:
    if not metadata.name:
        raise InvalidArgument(f"{place}metadata.name: missing")
    return (metadata.namespace or "default", metadata.name)


def _name_of(document: Mapping[str, object]) -> str:
    metadata = document.get("metadata")
    return str(metadata.get("name", "")) if isinstance(metadata, Mapping) else ""


def _config_map(given: schema.ConfigMap, place: str) -> Mapping[str, bytes]:
    binary = {key: _decoded(value, f"{place}binaryData.{key}") for key, value in given.binary_data.items()}
    return {**{key: value.encode() for key, value in given.data.items()}, **binary}


def _secret(given: schema.Secret, place: str) -> Mapping[str, bytes]:
    data = {key: _decoded(value, f"{place}data.{key}") for key, value in given.data.items()}
    return {**data, **{key: value.encode() for key, value in given.string_data.items()}}


def _decoded(text: str, where: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidArgument(f"{where}: is not base64") from None


# ---------------------------------------------------------------------------------------------- pods


def _workload(
    kind: str, given: schema.Workload, place: str, node: Node, objects: Objects, notes: list[str]
) -> Iterator[PodPlan]:
    """The pods of a workload: its name with a number behind, as StatefulSets have it."""
    spec = given.spec
    count = {"DaemonSet": 1, "Job": spec.parallelism}.get(kind, spec.replicas)
    if not 0 <= count <= MAX_REPLICAS:
        field = "parallelism" if kind == "Job" else "replicas"
        raise InvalidArgument(f"{place}spec.{field}: {count} is not within 0 and {MAX_REPLICAS}")
    namespace, name = _identity(given.metadata, place)
    template = spec.template
    for number in range(count):
        metadata = msgspec.structs.replace(
            template.metadata, name=f"{name}-{number}", namespace=namespace, uid="", generate_name=""
        )
        yield _plan(metadata, template.spec, "spec.template.spec", place, node, objects, notes)


def _plan(
    metadata: schema.ObjectMeta,
    spec: schema.PodSpec,
    where: str,
    place: str,
    node: Node,
    objects: Objects,
    notes: list[str],
) -> PodPlan:
    name = metadata.name or (metadata.generate_name and f"{metadata.generate_name}{secrets.token_hex(3)[:5]}")
    if not _NAME.fullmatch(name):
        raise InvalidArgument(f"{place}metadata.name: {name!r} must consist of a-z, 0-9, '-' and '.'")
    context = Context(
        name=name,
        namespace=metadata.namespace or "default",
        uid=metadata.uid or str(uuid.uuid4()),
        labels=metadata.labels,
        annotations=metadata.annotations,
        spec=spec,
        where=f"{place}{where}",
        node=node,
        objects=objects,
        notes=list(notes),
    )
    return pod_plan(context)
