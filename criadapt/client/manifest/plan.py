"""What a pod needs of a runtime and of the host, ready to be played."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self, TypeAlias

from criadapt.model.container import ContainerConfig, KeyValue, Mount
from criadapt.model.sandbox import PodSandboxConfig

PullPolicy: TypeAlias = Literal["missing", "always", "never"]
"""Pull an image if it is not there, whether or not it is there, or not at all."""

# Nobody knows a pod's address before it runs. These stand for it until then, and no text of a user can contain them.
POD_IP = "\0podIP\0"
POD_IPS = "\0podIPs\0"
NODE_HOSTS = "\0hosts\0"
_LATE = re.compile("\0(podIP|podIPs|hosts)\0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What a plan takes from the machine that the pod is to run on."""

    name: str = ""
    """Host name, the value of ``spec.nodeName``."""
    memory: int = 0
    """Bytes of memory, which the OOM score of a burstable container depends on; 0 if unknown."""
    resolv_conf: str = ""
    """Content of resolv.conf, which a pod's dnsConfig adds to."""
    hosts: str = ""
    """Content of /etc/hosts, which the hostAliases of a pod on the host's network add to."""

    @classmethod
    def here(cls) -> Self:
        """This machine."""
        return cls(
            name=socket.gethostname(),
            memory=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
            resolv_conf=_content("/etc/resolv.conf"),
            hosts=_content("/etc/hosts"),
        )


def _content(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePlan:
    """An image, and when to pull it."""

    image: str
    pull: PullPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFile:
    """A file to make, at `path` below the pod's folder."""

    path: str
    content: bytes
    mode: int = 0o644


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPath:
    """A path of the host that must be of a `type`, as hostPath volumes call it; `field` is where that is asked for."""

    path: str
    type: str
    field: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerPlan:
    """A container. In its config a mount whose host_path is relative lies below the pod's folder."""

    config: ContainerConfig
    run_as_non_root: bool = False
    """Whether it must be refused when its user turns out to be root."""
    sidecar: bool = False
    """Whether it is an init container that goes on running beside the others (restartPolicy Always)."""

    @property
    def name(self) -> str:
        """Its name in the pod."""
        return self.config.metadata.name if self.config.metadata else ""

    def at(self, root: Path, ips: Sequence[str]) -> ContainerConfig:
        """The config of a container in the pod that has its folder at `root` and has got the addresses."""

        def fill(text: str) -> str:
            return filled(text, ips)

        config = self.config
        return replace(
            config,
            command=tuple(map(fill, config.command)),
            args=tuple(map(fill, config.args)),
            envs=tuple(KeyValue(key=pair.key, value=fill_bytes(pair.value, ips)) for pair in config.envs),
            mounts=tuple(_placed(mount, root) for mount in config.mounts),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PodPlan:
    """A pod. Its sandbox has no log directory yet; its containers' log paths are ``<name>/0.log``."""

    sandbox: PodSandboxConfig
    containers: tuple[ContainerPlan, ...]
    init_containers: tuple[ContainerPlan, ...] = ()
    """Run one after the other before the others; each must succeed, sidecars must start."""
    images: tuple[ImagePlan, ...] = ()
    """Every image that is needed, once."""
    folders: tuple[str, ...] = ()
    """Folders to make below the pod's folder, for every user to write to."""
    files: tuple[HostFile, ...] = ()
    host_paths: tuple[HostPath, ...] = ()
    runtime_handler: str = ""
    grace: int = 30
    """Seconds between the signal that asks containers to end and the one that ends them."""
    restart_policy: str = "Always"
    """Recorded only: containers are not restarted."""
    notes: tuple[str, ...] = ()
    """What the manifest says and nobody acts on."""

    @property
    def name(self) -> str:
        """The pod's name."""
        return self.sandbox.metadata.name if self.sandbox.metadata else ""

    @property
    def namespace(self) -> str:
        """The pod's namespace."""
        return self.sandbox.metadata.namespace if self.sandbox.metadata else ""

    @property
    def uid(self) -> str:
        """The pod's unique id."""
        return self.sandbox.metadata.uid if self.sandbox.metadata else ""


def filled(text: str, ips: Sequence[str], hosts: str = "") -> str:
    """`text` with the pod's addresses where it was to have them."""
    if "\0" not in text:
        return text
    facts: Mapping[str, str] = {"podIP": ips[0] if ips else "", "podIPs": ",".join(ips), "hosts": hosts}
    return _LATE.sub(lambda found: facts[found[1]], text)


def fill_bytes(data: bytes, ips: Sequence[str], hosts: str = "") -> bytes:
    """:func:`filled` for bytes."""
    return encoded(filled(decoded(data), ips, hosts)) if b"\0" in data else data


def encoded(text: str) -> bytes:
    """Text as bytes; bytes that are no text survive the way through :func:`decoded` and back."""
    return text.encode("utf-8", "surrogateescape")


def decoded(data: bytes) -> str:
    """Bytes as text."""
    return data.decode("utf-8", "surrogateescape")


def _placed(mount: Mount, root: Path) -> Mount:
    if mount.image is not None or os.path.isabs(mount.host_path):
        return mount
    return replace(mount, host_path=str(root / mount.host_path))
