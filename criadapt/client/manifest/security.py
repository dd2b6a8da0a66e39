"""Security contexts of pods and containers."""

from __future__ import annotations

import os

from criadapt.client.manifest import schema
from criadapt.client.manifest.context import Context
from criadapt.errors import InvalidArgument
from criadapt.model.linux import (
    Capability,
    LinuxContainerSecurityContext,
    LinuxSandboxSecurityContext,
    NamespaceMode,
    NamespaceOption,
    ProfileType,
    SecurityProfile,
    SELinuxOption,
    SupplementalGroupsPolicy,
)

# What procMount Default hides, and what it protects (Kubernetes, pkg/securitycontext).
MASKED = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

SECCOMP_ROOT = "/var/lib/kubelet/seccomp"
"""What a seccomp profile's localhostProfile is relative to, unless it is absolute."""

_TYPES = {
    "RuntimeDefault": ProfileType.RUNTIME_DEFAULT,
    "Unconfined": ProfileType.UNCONFINED,
    "Localhost": ProfileType.LOCALHOST,
}


def namespaces(spec: schema.PodSpec) -> NamespaceOption:
    """Namespaces of the pod and of each of its containers."""
    pid = NamespaceMode.POD if spec.share_process_namespace else NamespaceMode.CONTAINER
    return NamespaceOption(
        network=NamespaceMode.NODE if spec.host_network else NamespaceMode.POD,
        pid=NamespaceMode.NODE if spec.host_pid else pid,
        ipc=NamespaceMode.NODE if spec.host_ipc else NamespaceMode.POD,
    )


def sandbox_security(context: Context) -> LinuxSandboxSecurityContext:
    """Security of the sandbox: the pod's, and privileged if one of its containers is."""
    given = context.spec.security_context
    return LinuxSandboxSecurityContext(
        namespace_options=namespaces(context.spec),
        selinux_options=_selinux(given.se_linux_options),
        run_as_user=given.run_as_user,
        run_as_group=given.run_as_group if given.run_as_user is not None else None,
        supplemental_groups=_groups(given),
        supplemental_groups_policy=_policy(given),
        privileged=any(container.security_context.privileged for _, container in context.containers()),
        seccomp=SecurityProfile(),
    )


def container_security(context: Context, container: schema.Container, where: str) -> LinuxContainerSecurityContext:
    """Security of a container: its own where it says something, else the pod's."""
    pod, own = context.spec.security_context, container.security_context
    where, pod_where = f"{where}.securityContext", f"{context.where}.securityContext"
    if own.privileged and own.allow_privilege_escalation is False:
        raise InvalidArgument(f"{where}.allowPrivilegeEscalation: cannot be false in a privileged container")
    unmasked = own.proc_mount == "Unmasked"
    return LinuxContainerSecurityContext(
        capabilities=_capabilities(own.capabilities),
        privileged=own.privileged,
        namespace_options=namespaces(context.spec),
        selinux_options=_selinux(own.se_linux_options or pod.se_linux_options),
        run_as_user=pod.run_as_user if own.run_as_user is None else own.run_as_user,
        run_as_group=pod.run_as_group if own.run_as_group is None else own.run_as_group,
        readonly_rootfs=own.read_only_root_filesystem,
        supplemental_groups=_groups(pod),
        supplemental_groups_policy=_policy(pod),
        no_new_privs=own.allow_privilege_escalation is False,
        masked_paths=() if unmasked else MASKED,
        readonly_paths=() if unmasked else READONLY,
        seccomp=_seccomp(own.seccomp_profile, where)
        or _seccomp(pod.seccomp_profile, pod_where)
        or SecurityProfile(profile_type=ProfileType.UNCONFINED),
        apparmor=_apparmor(own.app_armor_profile, where) or _apparmor(pod.app_armor_profile, pod_where),
    )


def must_not_be_root(context: Context, container: schema.Container, where: str) -> bool:
    """Whether runAsNonRoot is asked for. Raises InvalidArgument if the manifest itself contradicts it."""
    pod, own = context.spec.security_context, container.security_context
    wanted = pod.run_as_non_root if own.run_as_non_root is None else own.run_as_non_root
    user = pod.run_as_user if own.run_as_user is None else own.run_as_user
    if wanted and user == 0:
        raise InvalidArgument(f"{where}.securityContext: runAsNonRoot is true and runAsUser is 0")
    return bool(wanted)


def _groups(pod: schema.PodSecurity) -> tuple[int, ...]:
    group = () if pod.fs_group is None else (pod.fs_group,)
    return tuple(dict.fromkeys((*pod.supplemental_groups, *group)))


def _policy(pod: schema.PodSecurity) -> SupplementalGroupsPolicy:
    strict = pod.supplemental_groups_policy == "Strict"
    return SupplementalGroupsPolicy.STRICT if strict else SupplementalGroupsPolicy.MERGE


def _capabilities(given: schema.Capabilities | None) -> Capability | None:
    return None if given is None else Capability(add_capabilities=given.add, drop_capabilities=given.drop)


def _selinux(given: schema.SELinux | None) -> SELinuxOption | None:
    if given is None:
        return None
    return SELinuxOption(user=given.user, role=given.role, type=given.type, level=given.level)


def _seccomp(given: schema.Profile | None, where: str) -> SecurityProfile | None:
    if given is None:
        return None
    ref = _local(given, f"{where}.seccompProfile")
    return SecurityProfile(
        profile_type=_TYPES[given.type], localhost_ref=os.path.join(SECCOMP_ROOT, ref) if ref else ""
    )


def _apparmor(given: schema.Profile | None, where: str) -> SecurityProfile | None:
    if given is None:
        return None
    return SecurityProfile(profile_type=_TYPES[given.type], localhost_ref=_local(given, f"{where}.appArmorProfile"))


def _local(given: schema.Profile, where: str) -> str:
    if (given.type == "Localhost") != bool(given.localhost_profile):
        raise InvalidArgument(f"{where}.localhostProfile: goes with type Localhost, and only with it")
    return given.localhost_profile
