"""What an RPC answers, where that is more than one value. Only clients need these; servers send the parts.

An answer is always about something: where CRI promises a status, its field is never None.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from criadapt.model.container import ContainerStatus
from criadapt.model.image import FilesystemUsage, Image
from criadapt.model.pairs import nothing
from criadapt.model.runtime import RuntimeFeatures, RuntimeHandler, RuntimeStatus
from criadapt.model.sandbox import PodSandboxStatus, RestoredContainer


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionResponse:
    """Who answers: `version` is kubelet's own constant, the other three are the runtime's."""

    version: str = ""
    runtime_name: str = ""
    runtime_version: str = ""
    runtime_api_version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusResponse:
    """State of the runtime; `info` is empty unless the call was verbose."""

    status: RuntimeStatus = RuntimeStatus()
    info: Mapping[str, str] = field(default_factory=nothing)
    runtime_handlers: tuple[RuntimeHandler, ...] = ()
    features: RuntimeFeatures | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSandboxStatusResponse:
    """A sandbox and, from some runtimes, its containers at `timestamp` (0 where there are none).

    `info` is empty unless the call was verbose.
    """

    status: PodSandboxStatus = PodSandboxStatus()
    info: Mapping[str, str] = field(default_factory=nothing)
    containers_statuses: tuple[ContainerStatus, ...] = ()
    timestamp: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerStatusResponse:
    """A container; `info` is empty unless the call was verbose."""

    status: ContainerStatus = ContainerStatus()
    info: Mapping[str, str] = field(default_factory=nothing)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecSyncResponse:
    """Output and exit code of a command that has ended. Runtimes cut each stream at 16 MiB."""

    stdout: bytes = b""
    stderr: bytes = b""
    exit_code: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageStatusResponse:
    """An image, None when it is not present; `info` is empty unless the call was verbose."""

    image: Image | None = None
    info: Mapping[str, str] = field(default_factory=nothing)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFsInfoResponse:
    """The filesystems that hold images and those that hold writable layers; usually they are the same."""

    image_filesystems: tuple[FilesystemUsage, ...] = ()
    container_filesystems: tuple[FilesystemUsage, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorePodResponse:
    """A pod brought back from a checkpoint, with its containers' new ids."""

    pod_sandbox_id: str = ""
    restored_containers: tuple[RestoredContainer, ...] = ()
