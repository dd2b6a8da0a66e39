"""Verbose info of any runtime → process, network namespace, cgroup, OCI spec.

CRI leaves the content of verbose info to the runtime. What is known, July 2026:

* containerd, CRI-O and criadapt have one key ``info`` whose value is JSON with ``pid`` and ``runtimeSpec``, of which
  criadapt has the first only; containerd 2 may have them as keys of the map itself, each value JSON or plain text;
* CRI-O tells no ``pid`` of a sandbox, only ``runtimeSpec``;
* cri-dockerd tells nothing.

What a runtime does not tell is None here; nothing is guessed, and the machine is not looked at.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from criadapt.model.container import ContainerStatus
from criadapt.model.sandbox import PodSandboxStatus

SCOPE, SLICE = ".scope", ".slice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What verbose info says, in the same words for every runtime."""

    pid: int | None = None
    """First process, as the runtime's machine numbers it; None where there is none, or the runtime does not tell."""
    netns: str | None = None
    """Path of the network namespace on the runtime's machine; of a pod on the host's network, the host's own."""
    cgroup: str | None = None
    """Path of the cgroup below the mount point of the hierarchy, ``/kubepods.slice/….slice/cri-containerd-….scope``."""
    spec: Mapping[str, Any]
    """The OCI runtime spec; empty where the runtime does not tell."""
    info: Mapping[str, Any]
    """Everything the runtime said, values that are JSON decoded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerDetails(Facts):
    """A container, its process and where that lives."""

    status: ContainerStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class PodDetails(Facts):
    """A pod sandbox, its infra process and where that lives."""

    status: PodSandboxStatus


def container_details(status: ContainerStatus, info: Mapping[str, str]) -> ContainerDetails:
    """Details of a verbose ContainerStatus."""
    return ContainerDetails(status=status, **_facts(info))


def pod_details(status: PodSandboxStatus, info: Mapping[str, str]) -> PodDetails:
    """Details of a verbose PodSandboxStatus."""
    return PodDetails(status=status, **_facts(info))


def cgroup_path(path: str) -> str:
    """The path below the cgroup mount of an OCI spec's ``cgroupsPath``.

    With the cgroupfs driver that is the path itself. With systemd's it is ``slice:prefix:name``, which stands for the
    unit ``prefix-name.scope`` inside its slice, and a slice ``a-b.slice`` lies inside of ``a.slice``
    (systemd.slice(5); an empty one is ``system.slice``).
    """
    parts = path.split(":")
    if len(parts) != 3:
        return "/" + path.strip("/")
    parent, prefix, name = parts
    unit = name if name.endswith(SLICE) else (f"{prefix}-{name}" if prefix else name) + SCOPE
    return "".join(f"/{part}" for part in (*_slices(parent or "system.slice"), unit))


def _slices(name: str) -> Iterator[str]:
    """A slice, after the slices that it is inside of. Also takes a path of them, of which the last counts."""
    words = name.strip("/").rpartition("/")[2].removesuffix(SLICE).split("-")
    for count in range(1, len(words) + 1):
        if stem := "-".join(words[:count]).strip("-"):
            yield stem + SLICE


def _facts(info: Mapping[str, str]) -> dict[str, Any]:
    decoded = {key: _decoded(value) for key, value in info.items()}
    inner = decoded.get("info")
    known = {**decoded, **inner} if isinstance(inner, dict) else decoded
    spec = known.get("runtimeSpec")
    spec = spec if isinstance(spec, dict) else {}
    pid = _pid(known.get("pid"))
    linux = spec.get("linux")
    linux = linux if isinstance(linux, dict) else {}
    cgroup = known.get("cgroup") or linux.get("cgroupsPath")
    return {
        "pid": pid,
        "netns": known.get("netns") or _netns(linux) or (f"/proc/{pid}/ns/net" if pid else None),
        "cgroup": cgroup_path(cgroup) if isinstance(cgroup, str) and cgroup else None,
        "spec": spec,
        "info": decoded,
    }


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _pid(value: object) -> int | None:
    """A process id; runtimes say 0 where there is no process."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _netns(linux: Mapping[str, Any]) -> str | None:
    for namespace in linux.get("namespaces") or ():
        if isinstance(namespace, dict) and namespace.get("type") == "network" and namespace.get("path"):
            return str(namespace["path"])
    return None
