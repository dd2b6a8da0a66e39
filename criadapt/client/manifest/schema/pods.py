"""Containers, pods, workloads, and what stands beside them."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import field

from criadapt.client.manifest.schema.parts import EnvFrom, EnvVar, Number, ObjectMeta, Part, Unused
from criadapt.client.manifest.schema.volumes import Volume, VolumeMount

# ---------------------------------------------------------------------------------------------- security, resources


class Capabilities(Part, frozen=True):
    """Capabilities beyond or below the runtime's default."""

    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


class Profile(Part, frozen=True):
    """A seccomp or AppArmor profile."""

    type: Literal["RuntimeDefault", "Unconfined", "Localhost"]
    localhost_profile: str = ""


class SELinux(Part, frozen=True):
    """Parts of an SELinux label."""

    user: str = ""
    role: str = ""
    type: str = ""
    level: str = ""


class Sysctl(Part, frozen=True):
    """A kernel parameter of the pod's namespaces."""

    name: str
    value: str


class PodSecurity(Part, frozen=True):
    """Security of a pod, and what its containers have of it."""

    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    supplemental_groups: tuple[int, ...] = ()
    supplemental_groups_policy: Literal["Merge", "Strict", ""] = ""
    fs_group: int | None = None
    sysctls: tuple[Sysctl, ...] = ()
    seccomp_profile: Profile | None = None
    app_armor_profile: Profile | None = None
    se_linux_options: SELinux | None = None
    fs_group_change_policy: Unused = None
    se_linux_change_policy: Unused = None
    windows_options: Unused = None


class ContainerSecurity(Part, frozen=True):
    """Security of a container; what is set goes before the pod's."""

    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    privileged: bool = False
    capabilities: Capabilities | None = None
    read_only_root_filesystem: bool = False
    allow_privilege_escalation: bool | None = None
    proc_mount: Literal["Default", "Unmasked", ""] = ""
    seccomp_profile: Profile | None = None
    app_armor_profile: Profile | None = None
    se_linux_options: SELinux | None = None
    windows_options: Unused = None


class Resources(Part, frozen=True):
    """Limits and requests by resource name."""

    limits: dict[str, Number] = field(default_factory=dict)
    requests: dict[str, Number] = field(default_factory=dict)
    claims: Unused = None


# ---------------------------------------------------------------------------------------------- containers


class ContainerPort(Part, frozen=True):
    """A port that a container listens on."""

    container_port: int
    name: str = ""
    host_port: int = 0
    host_ip: str = field(default="", name="hostIP")
    protocol: Literal["TCP", "UDP", "SCTP"] = "TCP"


class Lifecycle(Part, frozen=True):
    """Hooks, and the signal that stops the container."""

    stop_signal: str = ""
    post_start: Unused = None
    pre_stop: Unused = None


class Container(Part, frozen=True):
    """A container of a pod."""

    name: str
    image: str = ""
    image_pull_policy: Literal["Always", "Never", "IfNotPresent", ""] = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[EnvVar, ...] = ()
    env_from: tuple[EnvFrom, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    resources: Resources = Resources()
    volume_mounts: tuple[VolumeMount, ...] = ()
    security_context: ContainerSecurity = ContainerSecurity()
    lifecycle: Lifecycle = Lifecycle()
    tty: bool = False
    stdin: bool = False
    stdin_once: bool = False
    restart_policy: Literal["Always", "OnFailure", "Never", ""] = ""
    termination_message_path: str = ""
    termination_message_policy: Literal["File", "FallbackToLogsOnError", ""] = ""
    volume_devices: Unused = None
    liveness_probe: Unused = None
    readiness_probe: Unused = None
    startup_probe: Unused = None
    resize_policy: Unused = None
    restart_policy_rules: Unused = None


# ---------------------------------------------------------------------------------------------- pods


class DNSOption(Part, frozen=True):
    """An option of resolv.conf."""

    name: str
    value: str = ""


class DNS(Part, frozen=True):
    """Lines of resolv.conf."""

    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[DNSOption, ...] = ()


class HostAlias(Part, frozen=True):
    """A line of /etc/hosts."""

    ip: str
    hostnames: tuple[str, ...] = ()


class OS(Part, frozen=True):
    """The operating system that the pod is for."""

    name: str


class PodSpec(Part, frozen=True):
    """A pod."""

    containers: tuple[Container, ...]
    init_containers: tuple[Container, ...] = ()
    volumes: tuple[Volume, ...] = ()
    restart_policy: Literal["Always", "OnFailure", "Never"] = "Always"
    termination_grace_period_seconds: int = 30
    hostname: str = ""
    host_network: bool = False
    host_pid: bool = field(default=False, name="hostPID")
    host_ipc: bool = field(default=False, name="hostIPC")
    host_users: bool = True
    share_process_namespace: bool = False
    host_aliases: tuple[HostAlias, ...] = ()
    dns_policy: Literal["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"] = "ClusterFirst"
    dns_config: DNS = DNS()
    security_context: PodSecurity = PodSecurity()
    runtime_class_name: str = ""
    overhead: dict[str, Number] = field(default_factory=dict)
    service_account_name: str = ""
    service_account: str = ""
    node_name: str = ""
    os: OS | None = None
    # Where and when a pod runs is not ours to decide: these mean nothing to a single machine, and take nothing away.
    affinity: Unused = None
    automount_service_account_token: Unused = None
    enable_service_links: Unused = None
    node_selector: Unused = None
    preemption_policy: Unused = None
    priority: Unused = None
    priority_class_name: Unused = None
    scheduler_name: Unused = None
    scheduling_gates: Unused = None
    tolerations: Unused = None
    topology_spread_constraints: Unused = None
    workload_ref: Unused = None
    # These would change what runs.
    active_deadline_seconds: Unused = None
    ephemeral_containers: Unused = None
    hostname_override: Unused = None
    image_pull_secrets: Unused = None
    readiness_gates: Unused = None
    resource_claims: Unused = None
    resources: Unused = None
    set_hostname_as_fqdn: Unused = field(default=None, name="setHostnameAsFQDN")
    subdomain: Unused = None


class Pod(Part, frozen=True):
    """v1 Pod."""

    api_version: str
    kind: str
    spec: PodSpec
    metadata: ObjectMeta = ObjectMeta()
    status: Unused = None


class PodTemplate(Part, frozen=True):
    """The pod in a workload."""

    spec: PodSpec
    metadata: ObjectMeta = ObjectMeta()


class WorkloadSpec(msgspec.Struct, rename="camel", kw_only=True, frozen=True):
    """What Deployment, ReplicaSet, StatefulSet, DaemonSet and Job have in common; the rest is their controllers'."""

    template: PodTemplate
    replicas: int = 1
    parallelism: int = 1


class Workload(Part, frozen=True):
    """A workload."""

    api_version: str
    kind: str
    spec: WorkloadSpec
    metadata: ObjectMeta = ObjectMeta()
    status: Unused = None


class ConfigMap(Part, frozen=True):
    """v1 ConfigMap."""

    api_version: str
    kind: str
    metadata: ObjectMeta = ObjectMeta()
    data: dict[str, str] = field(default_factory=dict)
    binary_data: dict[str, str] = field(default_factory=dict)
    immutable: Unused = None


class Secret(Part, frozen=True):
    """v1 Secret."""

    api_version: str
    kind: str
    metadata: ObjectMeta = ObjectMeta()
    data: dict[str, str] = field(default_factory=dict)
    string_data: dict[str, str] = field(default_factory=dict)
    type: Unused = None
    immutable: Unused = None
