"""Refuse early: everything in a request that no engine could make sense of, named by field.

Checks here need the request only (and, for a container, its sandbox). What depends on an image, a host file or the
engine is checked where it is looked up.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence

from criadapt.core.records import SandboxRecord
from criadapt.errors import InvalidArgument
from criadapt.model.container import ContainerConfig, Mount
from criadapt.model.linux import (
    LinuxContainerResources,
    LinuxContainerSecurityContext,
    MountPropagation,
    NamespaceMode,
    NamespaceOption,
    ProfileType,
    SecurityProfile,
    UserNamespace,
)
from criadapt.model.sandbox import PodSandboxConfig, PortMapping

MAX_NAME = 253  # characters: a Kubernetes object name (DNS subdomain)
MAX_HOSTNAME = 64  # characters: HOST_NAME_MAX of Linux
MAX_PAIRS = 1024 * 1024  # bytes of all keys and values; Kubernetes itself stops at 256 KiB of annotations
MAX_UID = 2**31 - 1  # what the kernel interfaces and the OCI runtimes agree on
MOUNT_OPTIONS = {"noexec", "nodev", "nosuid"}

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SYSCTL = re.compile(r"[a-z0-9](?:[-_a-z0-9]*[a-z0-9])?(?:[./][a-z0-9](?:[-_a-z0-9]*[a-z0-9])?)+", re.IGNORECASE)
_HOSTNAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_IPC_SYSCTLS = ("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")


def sandbox(config: PodSandboxConfig | None) -> PodSandboxConfig:
    """The config, if it can be run. Raises InvalidArgument."""
    if config is None:
        raise InvalidArgument("config is missing")
    if config.metadata is None:
        raise InvalidArgument("config.metadata is missing; a sandbox needs a name")
    name(config.metadata.name, "config.metadata.name")
    name(config.metadata.namespace, "config.metadata.namespace", required=False)
    name(config.metadata.uid, "config.metadata.uid", required=False)
    pairs(config.labels, "config.labels")
    pairs(config.annotations, "config.annotations")
    if len(config.hostname) > MAX_HOSTNAME or (config.hostname and not _HOSTNAME.fullmatch(config.hostname)):
        raise InvalidArgument(
            f"config.hostname {_cut(config.hostname)} is not a host name of at most {MAX_HOSTNAME} characters"
        )
    if config.log_directory:
        absolute(config.log_directory, "config.log_directory")
    if config.dns_config:
        for field in ("servers", "searches", "options"):
            for word in getattr(config.dns_config, field):
                if not word or _CONTROL.search(word) or " " in word:
                    raise InvalidArgument(f"config.dns_config.{field}: {_cut(word)} is not one word")
    for mapping in config.port_mappings:
        _port_mapping(mapping)
    if config.linux:
        options = config.linux.security_context.namespace_options if config.linux.security_context else None
        _sandbox_namespaces(options or NamespaceOption())
        _sysctls(config.linux.sysctls, options or NamespaceOption())
        if context := config.linux.security_context:
            where = "config.linux.security_context"
            ids(context.run_as_user, context.run_as_group, context.supplemental_groups, where)
            if context.run_as_group is not None and context.run_as_user is None:
                raise InvalidArgument(f"{where}.run_as_group needs run_as_user")
            profile(context.seccomp, f"{where}.seccomp")
            profile(context.apparmor, f"{where}.apparmor")
        if config.linux.cgroup_parent and _CONTROL.search(config.linux.cgroup_parent):
            raise InvalidArgument("config.linux.cgroup_parent contains a control character")
        resources(config.linux.resources, "config.linux.resources")
        resources(config.linux.overhead, "config.linux.overhead")
    return config


def container(config: ContainerConfig | None, pod: SandboxRecord) -> ContainerConfig:
    """The config, if it can be created in `pod`. Raises InvalidArgument."""
    if config is None:
        raise InvalidArgument("config is missing")
    if config.metadata is None:
        raise InvalidArgument("config.metadata is missing; a container needs a name")
    name(config.metadata.name, "config.metadata.name")
    if config.image is None or not config.image.image:
        raise InvalidArgument("config.image.image is missing")
    pairs(config.labels, "config.labels")
    pairs(config.annotations, "config.annotations")
    for word in (*config.command, *config.args):
        if "\0" in word:
            raise InvalidArgument("config.command and config.args must not contain a NUL character")
    for pair in config.envs:
        if not pair.key or "=" in pair.key or "\0" in pair.key or b"\0" in pair.value:
            raise InvalidArgument(f"config.envs: {_cut(pair.key)} is not a variable name, or its value contains NUL")
    if config.working_dir and "\0" in config.working_dir:
        raise InvalidArgument("config.working_dir contains a NUL character")
    if config.log_path:
        _relative(config.log_path, "config.log_path")
    for number, mount in enumerate(config.mounts):
        _mount(mount, f"config.mounts[{number}]")
    for number, device in enumerate(config.devices):
        absolute(device.host_path, f"config.devices[{number}].host_path")
        if device.container_path:
            absolute(device.container_path, f"config.devices[{number}].container_path")
        if set(device.permissions) - set("rwm"):
            raise InvalidArgument(f"config.devices[{number}].permissions {_cut(device.permissions)} is not of r, w, m")
    for number, cdi in enumerate(config.cdi_devices):
        if not re.fullmatch(r"[A-Za-z][\w.-]*/[A-Za-z][\w.-]*=[\w.:-]+", cdi.name):
            raise InvalidArgument(f"config.CDI_devices[{number}].name {_cut(cdi.name)} is not vendor/class=device")
    if config.linux:
        resources(config.linux.resources, "config.linux.resources")
        if config.linux.security_context:
            _security(config.linux.security_context, pod)
    return config


def resources(limits: LinuxContainerResources | None, where: str) -> None:
    """Limits that contradict themselves or are out of range. Raises InvalidArgument."""
    if limits is None:
        return
    for field in ("cpu_period", "cpu_shares", "memory_limit_in_bytes"):
        if getattr(limits, field) < 0:
            raise InvalidArgument(f"{where}.{field} is negative; 0 means not set")
    if limits.cpu_quota < -1:
        raise InvalidArgument(f"{where}.cpu_quota is below -1; -1 means no limit")
    if limits.memory_swap_limit_in_bytes < -1:
        raise InvalidArgument(f"{where}.memory_swap_limit_in_bytes is below -1; -1 means no limit")
    if 0 < limits.memory_swap_limit_in_bytes < limits.memory_limit_in_bytes:
        raise InvalidArgument(
            f"{where}.memory_swap_limit_in_bytes is memory plus swap and must not be below memory_limit_in_bytes"
        )
    if not -1000 <= limits.oom_score_adj <= 1000:
        raise InvalidArgument(f"{where}.oom_score_adj {limits.oom_score_adj} is not within -1000 and 1000")
    for field in ("cpuset_cpus", "cpuset_mems"):
        if not re.fullmatch(r"(?:[0-9]+(?:-[0-9]+)?(?:,[0-9]+(?:-[0-9]+)?)*)?", getattr(limits, field)):
            raise InvalidArgument(f"{where}.{field} {_cut(getattr(limits, field))} is not a list such as 0-3,8")
    for limit in limits.hugepage_limits:
        if not re.fullmatch(r"[0-9]+[KMG]i?B", limit.page_size):
            raise InvalidArgument(
                f"{where}.hugepage_limits: page_size {_cut(limit.page_size)} is not a size such as 2MB"
            )
    for file in limits.unified:
        if not file or "/" in file or file.startswith(".") or _CONTROL.search(file):
            raise InvalidArgument(f"{where}.unified: {_cut(file)} is not the name of a cgroup file")


def name(text: str, where: str, *, required: bool = True) -> None:
    """A part of an object's identity. Raises InvalidArgument."""
    if not text and required:
        raise InvalidArgument(f"{where} is missing")
    if len(text) > MAX_NAME:
        raise InvalidArgument(f"{where} has {len(text)} characters, at most {MAX_NAME} are allowed")
    if _CONTROL.search(text):
        raise InvalidArgument(f"{where} contains a control character")


def pairs(map: Mapping[str, str], where: str) -> None:
    """Labels or annotations. Raises InvalidArgument."""
    total = sum(len(key) + len(value) for key, value in map.items())
    if total > MAX_PAIRS:
        raise InvalidArgument(f"{where}: {total} characters in all, at most {MAX_PAIRS} are allowed")


def absolute(path: str, where: str) -> None:
    """A path from the root. Raises InvalidArgument."""
    if not path:
        raise InvalidArgument(f"{where} is missing")
    if not path.startswith("/") or "\0" in path:
        raise InvalidArgument(f"{where} {_cut(path)} is not an absolute path")


def profile(value: SecurityProfile | None, where: str) -> None:
    """A seccomp or AppArmor profile. Raises InvalidArgument."""
    if value is not None and value.profile_type is ProfileType.LOCALHOST and not value.localhost_ref:
        raise InvalidArgument(f"{where}.localhost_ref is missing; profile type Localhost needs it")


def ids(user: int | None, group: int | None, groups: Sequence[int], where: str) -> None:
    """Numeric identities. Raises InvalidArgument."""
    for field, number in (("run_as_user", user), ("run_as_group", group)):
        if number is not None and not 0 <= number <= MAX_UID:
            raise InvalidArgument(f"{where}.{field} {number} is not within 0 and {MAX_UID}")
    for number in groups:
        if not 0 <= number <= MAX_UID:
            raise InvalidArgument(f"{where}.supplemental_groups: {number} is not within 0 and {MAX_UID}")


def _security(context: LinuxContainerSecurityContext, pod: SandboxRecord) -> None:
    where = "config.linux.security_context"
    if context.run_as_user is not None and context.run_as_username:
        raise InvalidArgument(f"{where}: run_as_user and run_as_username exclude each other")
    if context.run_as_group is not None and context.run_as_user is None and not context.run_as_username:
        raise InvalidArgument(f"{where}.run_as_group needs run_as_user or run_as_username")
    ids(context.run_as_user, context.run_as_group, context.supplemental_groups, where)
    if context.privileged and not pod.privileged:
        raise InvalidArgument(f"{where}.privileged needs a privileged pod sandbox")
    profile(context.seccomp, f"{where}.seccomp")
    profile(context.apparmor, f"{where}.apparmor")
    for field in ("masked_paths", "readonly_paths"):
        for path in getattr(context, field):
            absolute(path, f"{where}.{field}")
    options = context.namespace_options
    if options is None:
        return
    where += ".namespace_options"
    for field in ("network", "ipc"):
        if getattr(options, field) in (NamespaceMode.CONTAINER, NamespaceMode.TARGET):
            raise InvalidArgument(f"{where}.{field} must be POD or NODE")
    if options.pid is NamespaceMode.TARGET and not options.target_id:
        raise InvalidArgument(f"{where}.target_id is missing; pid mode TARGET needs it")
    if options.userns_options is not None:
        _user_namespace(options.userns_options, f"{where}.userns_options")
    if _effective(options.userns_options) != _effective(pod.namespaces.userns_options):
        raise InvalidArgument(f"{where}.userns_options differs from the pod sandbox's")


def _effective(userns: UserNamespace | None) -> UserNamespace | None:
    """None and NODE both mean no user namespace."""
    return None if userns is None or userns.mode is NamespaceMode.NODE else userns


def _sandbox_namespaces(options: NamespaceOption) -> None:
    where = "config.linux.security_context.namespace_options"
    for field in ("network", "ipc"):
        if getattr(options, field) in (NamespaceMode.CONTAINER, NamespaceMode.TARGET):
            raise InvalidArgument(f"{where}.{field} must be POD or NODE")
    if options.pid is NamespaceMode.TARGET:
        raise InvalidArgument(f"{where}.pid TARGET is for containers; use POD, CONTAINER or NODE")
    if options.userns_options is not None:
        _user_namespace(options.userns_options, f"{where}.userns_options")


def _user_namespace(userns: UserNamespace, where: str) -> None:
    if userns.mode is NamespaceMode.NODE:
        if userns.uids or userns.gids:
            raise InvalidArgument(f"{where}: mode NODE takes no mappings")
        return
    if userns.mode is not NamespaceMode.POD:
        raise InvalidArgument(f"{where}.mode must be POD or NODE")
    for field in ("uids", "gids"):
        mappings = getattr(userns, field)
        if len(mappings) != 1:
            raise InvalidArgument(f"{where}.{field}: exactly one mapping is needed, not {len(mappings)}")
        if mappings[0].container_id != 0 or mappings[0].length < 1:
            raise InvalidArgument(f"{where}.{field}: the mapping must begin at container_id 0 and have a length")


def _sysctls(sysctls: Mapping[str, str], options: NamespaceOption) -> None:
    for key in sysctls:
        dotted = key.replace("/", ".")
        if not _SYSCTL.fullmatch(key):
            raise InvalidArgument(f"config.linux.sysctls: {_cut(key)} is not a sysctl name such as net.core.somaxconn")
        if dotted.startswith("net.") and options.network is NamespaceMode.NODE:
            raise InvalidArgument(f"config.linux.sysctls: {key} would change the host, the pod is on its network")
        if dotted.startswith(_IPC_SYSCTLS) and options.ipc is NamespaceMode.NODE:
            raise InvalidArgument(f"config.linux.sysctls: {key} would change the host, the pod shares its ipc")


def _port_mapping(mapping: PortMapping) -> None:
    for field in ("container_port", "host_port"):
        port = getattr(mapping, field)
        if not 0 <= port <= 65535:
            raise InvalidArgument(f"config.port_mappings: {field} {port} is not within 0 and 65535")
    if mapping.host_port and not mapping.container_port:
        raise InvalidArgument("config.port_mappings: host_port without container_port")
    if mapping.host_ip:
        try:
            ipaddress.ip_address(mapping.host_ip)
        except ValueError:
            raise InvalidArgument(f"config.port_mappings: host_ip {_cut(mapping.host_ip)} is not an address") from None


def _mount(mount: Mount, where: str) -> None:
    if not mount.container_path or "\0" in mount.container_path:
        raise InvalidArgument(f"{where}.container_path is missing or contains NUL")
    if set(mount.mount_options) - MOUNT_OPTIONS:
        raise InvalidArgument(f"{where}.mount_options: allowed are {', '.join(sorted(MOUNT_OPTIONS))}")
    if mount.image is not None and mount.image.image:
        if mount.host_path:
            raise InvalidArgument(f"{where}: host_path and image exclude each other")
        if not mount.readonly:
            raise InvalidArgument(f"{where}.readonly must be true for an image volume")
        if mount.propagation is not MountPropagation.PRIVATE:
            raise InvalidArgument(f"{where}.propagation must be private for an image volume")
        return
    if mount.image_sub_path:
        raise InvalidArgument(f"{where}.image_sub_path needs an image")
    absolute(mount.host_path, f"{where}.host_path")
    if mount.recursive_read_only:
        if not mount.readonly:
            raise InvalidArgument(f"{where}.recursive_read_only needs readonly")
        if mount.propagation is not MountPropagation.PRIVATE:
            raise InvalidArgument(f"{where}.recursive_read_only needs private propagation")


def _relative(path: str, where: str) -> None:
    if path.startswith("/") or "\0" in path or ".." in path.split("/"):
        raise InvalidArgument(f"{where} {_cut(path)} is not a path inside log_directory")


def _cut(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")
