"""Which rows of a list somebody means: globs over names, and references that have to mean exactly one."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TypeVar

from criadapt.errors import InvalidArgument, NotFound
from criadapt.model.container import Container, ContainerState
from criadapt.model.image import Image
from criadapt.model.sandbox import PodSandbox, PodSandboxState

R = TypeVar("R", PodSandbox, Container)

SHOWN = 13
"""Characters of an id that messages show."""

_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


def fits(text: str, glob: str | None) -> bool:
    """Whether a name is what is asked for; None asks for nothing. The case of letters counts."""
    return glob is None or fnmatchcase(text, glob)


def is_glob(text: str) -> bool:
    """Whether a text is a pattern of names and not a name."""
    return any(sign in text for sign in "*?[")


def pod_fits(pod: PodSandbox, *, name: str | None, namespace: str | None, uid: str | None) -> bool:
    """Whether a pod is what is asked for; its id counts as a name."""
    metadata = pod.metadata
    if metadata is None:
        return name is None and namespace is None and uid is None
    return (
        (fits(metadata.name, name) or pod.id == name)
        and fits(metadata.namespace, namespace)
        and (uid is None or metadata.uid == uid)
    )


def image_names(image: Image) -> frozenset[str]:
    """Everything that an image may be called in a list of containers."""
    return frozenset((image.id, *image.repo_tags, *image.repo_digests))


def image_fits(container: Container, glob: str, names: Collection[str]) -> bool:
    """Whether a container is made of an image that is called so, or that has one of `names`."""
    spec = container.image
    called = [container.image_ref, container.image_id]
    if spec is not None:
        called += [spec.image, spec.user_specified_image]
    return any(each and (each in names or fnmatchcase(each, glob)) for each in called)


def only_pod(pods: Sequence[PodSandbox], ref: str) -> PodSandbox:
    """The pod that is meant. Raises NotFound and InvalidArgument."""
    return _only(pods, ref, "pod", {pod.id: _pod_names(pod) for pod in pods})


def only_container(containers: Sequence[Container], pods: Sequence[PodSandbox], ref: str) -> Container:
    """The container that is meant. Raises NotFound and InvalidArgument."""
    by_id = {pod.id: pod for pod in pods}
    names = {container.id: _container_names(container, by_id) for container in containers}
    return _only(containers, ref, "container", names)


def is_id(ref: str) -> bool:
    """Whether a reference is a full id, and nothing else."""
    return _ID.fullmatch(ref) is not None


def ids_in(path: str) -> tuple[str, ...]:
    """Container ids in a cgroup's path, the innermost first."""
    return tuple(reversed(_ID.findall(path)))


def _only(rows: Sequence[R], ref: str, kind: str, names: Mapping[str, Sequence[str]]) -> R:
    """The row that is meant; `names` are what each may be called, by id, the fullest name last."""
    if not ref:
        raise InvalidArgument(f"{kind}: name one by its name, its id or the beginning of its id")
    found: Sequence[R] = [row for row in rows if row.id == ref]
    found = found or _latest([row for row in rows if ref in names[row.id]], names)
    found = found or [row for row in rows if row.id.startswith(ref)]
    if not found:
        raise NotFound(f"no {kind} has the name or id {ref!r}")
    if len(found) > 1:
        meant = ", ".join(f"{row.id[:SHOWN]} ({names[row.id][-1]})" for row in found[:5])
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        raise InvalidArgument(f"{kind} {ref!r} is ambiguous: {meant}{more}; name it by its id")
    return found[0]


def _latest(rows: Sequence[R], names: Mapping[str, Sequence[str]]) -> Sequence[R]:
    """Those that live, if any does; of several attempts of the same thing only the last."""
    found = [row for row in rows if _lives(row)] or rows
    if len({names[row.id][-1] for row in found}) == 1:
        return [max(found, key=lambda row: row.created_at)]
    return found


def _lives(row: PodSandbox | Container) -> bool:
    return row.state is (PodSandboxState.READY if isinstance(row, PodSandbox) else ContainerState.RUNNING)


def _pod_names(pod: PodSandbox) -> tuple[str, ...]:
    if pod.metadata is None:
        return (pod.id,)
    return pod.metadata.name, f"{pod.metadata.namespace}/{pod.metadata.name}"


def _container_names(container: Container, pods: Mapping[str, PodSandbox]) -> tuple[str, ...]:
    name = container.metadata.name if container.metadata else container.id
    pod = pods.get(container.pod_sandbox_id)
    if pod is None or pod.metadata is None:
        return name, f"{container.pod_sandbox_id}/{name}"
    namespace, owner = pod.metadata.namespace, pod.metadata.name
    return name, f"{namespace}/{name}", f"{owner}/{name}", f"{namespace}/{owner}/{name}"
