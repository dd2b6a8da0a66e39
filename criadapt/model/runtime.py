"""What the runtime says about itself: conditions, handlers, features, events."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from criadapt.model.container import ContainerStatus
from criadapt.model.sandbox import PodSandboxStatus


class CgroupDriver(IntEnum):
    """Who manages cgroups. SYSTEMD is also the wire's zero value, so the answer must always be set."""

    SYSTEMD = 0
    CGROUPFS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeCondition:
    """One condition; kubelet insists on RuntimeReady and NetworkReady."""

    type: str = ""
    status: bool = False
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeStatus:
    """All conditions."""

    conditions: tuple[RuntimeCondition, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeHandlerFeatures:
    """What a handler enforces. Only what is enforced may be claimed."""

    recursive_read_only_mounts: bool = False
    user_namespaces: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeHandler:
    """A runtime handler (a RuntimeClass points to it); the default one has the empty name."""

    name: str = ""
    features: RuntimeHandlerFeatures | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeFeatures:
    """What the runtime enforces, whatever the handler."""

    supplemental_groups_policy: bool = False
    user_namespaces_host_network: bool = False
    mount_options: bool = False


class ContainerEventType(IntEnum):
    """What happened to a container or sandbox."""

    CREATED = 0
    STARTED = 1
    STOPPED = 2
    DELETED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerEventResponse:
    """One event, with the pod as it was at that moment. Sandbox events carry the sandbox id as `container_id`."""

    container_id: str = ""
    container_event_type: ContainerEventType = ContainerEventType.CREATED
    created_at: int = 0
    pod_sandbox_status: PodSandboxStatus | None = None
    containers_statuses: tuple[ContainerStatus, ...] = ()
