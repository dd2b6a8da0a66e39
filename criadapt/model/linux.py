"""Linux particulars shared by pods and containers: namespaces, identity, security profiles, resources, mounts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from criadapt.model.pairs import nothing


class NamespaceMode(IntEnum):
    """Whose namespace a process lives in."""

    POD = 0
    CONTAINER = 1
    NODE = 2
    TARGET = 3


class MountPropagation(IntEnum):
    """How mount events cross between host and container (mount_namespaces(7))."""

    PRIVATE = 0
    HOST_TO_CONTAINER = 1
    BIDIRECTIONAL = 2


class SupplementalGroupsPolicy(IntEnum):
    """Whether the image's /etc/group adds to the requested supplementary groups (MERGE) or not (STRICT)."""

    MERGE = 0
    STRICT = 1


class ProfileType(IntEnum):
    """Which seccomp or AppArmor profile applies."""

    RUNTIME_DEFAULT = 0
    UNCONFINED = 1
    LOCALHOST = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class IDMapping:
    """`length` consecutive ids from `container_id` inside appear as `host_id`… outside."""

    host_id: int = 0
    container_id: int = 0
    length: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UserNamespace:
    """User namespace of a pod: POD wants exactly one mapping of each kind, NODE wants none."""

    mode: NamespaceMode = NamespaceMode.POD
    uids: tuple[IDMapping, ...] = ()
    gids: tuple[IDMapping, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceOption:
    """Namespaces of a pod or container. The zero value means POD everywhere, the pid namespace included."""

    network: NamespaceMode = NamespaceMode.POD
    pid: NamespaceMode = NamespaceMode.POD
    ipc: NamespaceMode = NamespaceMode.POD
    target_id: str = ""
    userns_options: UserNamespace | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityProfile:
    """A seccomp or AppArmor profile; `localhost_ref` names it when the type is LOCALHOST."""

    profile_type: ProfileType = ProfileType.RUNTIME_DEFAULT
    localhost_ref: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SELinuxOption:
    """Parts of an SELinux label."""

    user: str = ""
    role: str = ""
    type: str = ""
    level: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """Capabilities to add to and drop from the runtime's default set; ``ALL`` stands for all of them."""

    add_capabilities: tuple[str, ...] = ()
    drop_capabilities: tuple[str, ...] = ()
    add_ambient_capabilities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HugepageLimit:
    """At most `limit` bytes of huge pages of `page_size` (``2MB``, ``1GB``)."""

    page_size: str = ""
    limit: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LinuxContainerResources:
    """Limits of one container; zero or empty means "not set" (in an update: "leave as it is").

    cpu_period and cpu_quota are microseconds (quota -1: no limit); memory limits are bytes, the swap limit being
    memory plus swap; `unified` maps cgroup v2 file names to values.
    """

    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_shares: int = 0
    memory_limit_in_bytes: int = 0
    oom_score_adj: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    hugepage_limits: tuple[HugepageLimit, ...] = ()
    unified: Mapping[str, str] = field(default_factory=nothing)
    memory_swap_limit_in_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LinuxSandboxSecurityContext:
    """Security of the sandbox's infra process, and the namespaces its containers share."""

    namespace_options: NamespaceOption | None = None
    selinux_options: SELinuxOption | None = None
    run_as_user: int | None = None
    run_as_group: int | None = None
    readonly_rootfs: bool = False
    supplemental_groups: tuple[int, ...] = ()
    supplemental_groups_policy: SupplementalGroupsPolicy = SupplementalGroupsPolicy.MERGE
    privileged: bool = False
    seccomp: SecurityProfile | None = None
    apparmor: SecurityProfile | None = None
    seccomp_profile_path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinuxContainerSecurityContext:
    """Identity, privileges and confinement of one container.

    `run_as_user` and `run_as_username` exclude each other; `run_as_group` needs one of them. The path and profile
    strings at the end are the deprecated spellings and count only where the new field is unset.
    """

    capabilities: Capability | None = None
    privileged: bool = False
    namespace_options: NamespaceOption | None = None
    selinux_options: SELinuxOption | None = None
    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_username: str = ""
    readonly_rootfs: bool = False
    supplemental_groups: tuple[int, ...] = ()
    supplemental_groups_policy: SupplementalGroupsPolicy = SupplementalGroupsPolicy.MERGE
    no_new_privs: bool = False
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    seccomp: SecurityProfile | None = None
    apparmor: SecurityProfile | None = None
    apparmor_profile: str = ""
    seccomp_profile_path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinuxContainerUser:
    """Effective identity of a container's first process."""

    uid: int = 0
    gid: int = 0
    supplemental_groups: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A host device node (or directory of them) to expose; `permissions` is a subset of ``rwm``."""

    container_path: str = ""
    host_path: str = ""
    permissions: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CDIDevice:
    """A Container Device Interface device by its qualified name, ``vendor.com/class=device``."""

    name: str = ""
