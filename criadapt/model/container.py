"""Containers: what the caller asked for, and what CRI reports about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from criadapt.model.image import ImageSpec
from criadapt.model.linux import (
    CDIDevice,
    Device,
    IDMapping,
    LinuxContainerResources,
    LinuxContainerSecurityContext,
    LinuxContainerUser,
    MountPropagation,
)
from criadapt.model.pairs import nothing
from criadapt.model.signals import Signal


class ContainerState(IntEnum):
    """CREATED → RUNNING → EXITED, once; UNKNOWN when the engine cannot tell."""

    CREATED = 0
    RUNNING = 1
    EXITED = 2
    UNKNOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerMetadata:
    """The caller's name for a container within its sandbox; `attempt` counts restarts."""

    name: str = ""
    attempt: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyValue:
    """One environment variable. Values are bytes: they need not be UTF-8."""

    key: str = ""
    value: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A bind mount from the host (`host_path`) or the root of an image (`image`) at `container_path`."""

    container_path: str = ""
    host_path: str = ""
    readonly: bool = False
    selinux_relabel: bool = False
    propagation: MountPropagation = MountPropagation.PRIVATE
    uid_mappings: tuple[IDMapping, ...] = field(default=(), metadata={"proto": "uidMappings"})
    gid_mappings: tuple[IDMapping, ...] = field(default=(), metadata={"proto": "gidMappings"})
    recursive_read_only: bool = False
    image: ImageSpec | None = None
    image_sub_path: str = ""
    mount_options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LinuxContainerConfig:
    """Linux part of a container."""

    resources: LinuxContainerResources | None = None
    security_context: LinuxContainerSecurityContext | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerConfig:
    """Everything the caller says about a container. Required: `metadata.name` and `image.image`."""

    metadata: ContainerMetadata | None = None
    image: ImageSpec | None = None
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    envs: tuple[KeyValue, ...] = ()
    mounts: tuple[Mount, ...] = ()
    devices: tuple[Device, ...] = ()
    labels: Mapping[str, str] = field(default_factory=nothing)
    annotations: Mapping[str, str] = field(default_factory=nothing)
    log_path: str = ""
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    linux: LinuxContainerConfig | None = None
    cdi_devices: tuple[CDIDevice, ...] = field(default=(), metadata={"proto": "CDI_devices"})
    stop_signal: Signal = Signal.RUNTIME_DEFAULT


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerResources:
    """Effective resources of a container."""

    linux: LinuxContainerResources | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerUser:
    """Effective identity of a container's first process."""

    linux: LinuxContainerUser | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container as a row of a list."""

    id: str = ""
    pod_sandbox_id: str = ""
    metadata: ContainerMetadata | None = None
    image: ImageSpec | None = None
    image_ref: str = ""
    state: ContainerState = ContainerState.CREATED
    created_at: int = 0
    labels: Mapping[str, str] = field(default_factory=nothing)
    annotations: Mapping[str, str] = field(default_factory=nothing)
    image_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerStatus:
    """A container in full. `started_at` and `finished_at` are 0 until they happened."""

    id: str = ""
    metadata: ContainerMetadata | None = None
    state: ContainerState = ContainerState.CREATED
    created_at: int = 0
    started_at: int = 0
    finished_at: int = 0
    exit_code: int = 0
    image: ImageSpec | None = None
    image_ref: str = ""
    reason: str = ""
    message: str = ""
    labels: Mapping[str, str] = field(default_factory=nothing)
    annotations: Mapping[str, str] = field(default_factory=nothing)
    mounts: tuple[Mount, ...] = ()
    log_path: str = ""
    resources: ContainerResources | None = None
    image_id: str = ""
    user: ContainerUser | None = None
    stop_signal: Signal = Signal.RUNTIME_DEFAULT


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerFilter:
    """All set fields must match; ids may be prefixes."""

    id: str = ""
    state: ContainerState | None = None
    pod_sandbox_id: str = ""
    label_selector: Mapping[str, str] = field(default_factory=nothing)
