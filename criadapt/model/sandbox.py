"""Pod sandboxes: what the caller asked for, and what CRI reports about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from criadapt.model.linux import LinuxContainerResources, LinuxSandboxSecurityContext, NamespaceOption
from criadapt.model.pairs import nothing


class Protocol(IntEnum):
    """Transport protocol of a port mapping."""

    TCP = 0
    UDP = 1
    SCTP = 2


class PodSandboxState(IntEnum):
    """READY: namespaces held and network up. NOTREADY is final."""

    READY = 0
    NOTREADY = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSandboxMetadata:
    """The caller's name for a sandbox; all four parts together are unique."""

    name: str = ""
    uid: str = ""
    namespace: str = ""
    attempt: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DNSConfig:
    """Lines of the pod's resolv.conf."""

    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PortMapping:
    """Publish `container_port` on the host; `host_port` 0 only documents the port."""

    protocol: Protocol = Protocol.TCP
    container_port: int = 0
    host_port: int = 0
    host_ip: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinuxPodSandboxConfig:
    """Linux part of a sandbox; `overhead` and `resources` are informative sums."""

    cgroup_parent: str = ""
    security_context: LinuxSandboxSecurityContext | None = None
    sysctls: Mapping[str, str] = field(default_factory=nothing)
    overhead: LinuxContainerResources | None = None
    resources: LinuxContainerResources | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSandboxConfig:
    """Everything the caller says about a sandbox. Only `metadata.name` is required."""

    metadata: PodSandboxMetadata | None = None
    hostname: str = ""
    log_directory: str = ""
    dns_config: DNSConfig | None = None
    port_mappings: tuple[PortMapping, ...] = ()
    labels: Mapping[str, str] = field(default_factory=nothing)
    annotations: Mapping[str, str] = field(default_factory=nothing)
    linux: LinuxPodSandboxConfig | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PodIP:
    """One further address of a pod."""

    ip: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSandboxNetworkStatus:
    """Primary address and the others; all empty on the host network and after the network is torn down."""

    ip: str = ""
    additional_ips: tuple[PodIP, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    """Echo of the namespaces a sandbox was asked for."""

    options: NamespaceOption | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LinuxPodSandboxStatus:
    """Linux part of a sandbox's status."""

    namespaces: Namespace | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSandboxStatus:
    """A sandbox in full."""

    id: str = ""
    metadata: PodSandboxMetadata | None = None
    state: PodSandboxState = PodSandboxState.READY
    created_at: int = 0
    network: PodSandboxNetworkStatus | None = None
    linux: LinuxPodSandboxStatus | None = None
    labels: Mapping[str, str] = field(default_factory=nothing)
    annotations: Mapping[str, str] = field(default_factory=nothing)
    runtime_handler: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSandbox:
    """A sandbox as a row of a list."""

    id: str = ""
    metadata: PodSandboxMetadata | None = None
    state: PodSandboxState = PodSandboxState.READY
    created_at: int = 0
    labels: Mapping[str, str] = field(default_factory=nothing)
    annotations: Mapping[str, str] = field(default_factory=nothing)
    runtime_handler: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSandboxFilter:
    """All set fields must match; `id` may be a prefix."""

    id: str = ""
    state: PodSandboxState | None = None
    label_selector: Mapping[str, str] = field(default_factory=nothing)


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoredContainer:
    """Name and new id of a container brought back from a checkpoint."""

    name: str = ""
    container_id: str = ""
