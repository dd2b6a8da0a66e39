"""ContainerConfig + image + sandbox → ContainerSpec: every default of CRI v1 is answered here."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from criadapt.backends.base import ContainerSpec, EngineImage, ImageConfig
from criadapt.core import names
from criadapt.core.podfiles import PodFiles
from criadapt.core.records import SandboxRecord
from criadapt.errors import InvalidArgument
from criadapt.model.container import ContainerConfig, ContainerMetadata, KeyValue, Mount
from criadapt.model.linux import (
    Capability,
    LinuxContainerResources,
    LinuxContainerSecurityContext,
    LinuxContainerUser,
    NamespaceMode,
    NamespaceOption,
    ProfileType,
    SecurityProfile,
)
from criadapt.model.sandbox import PodSandboxConfig
from criadapt.model.signals import Signal

# An infra process needs almost no CPU time, and must be the last of its pod that the OOM killer takes.
INFRA_CPU_SHARES = 2
INFRA_OOM_SCORE_ADJ = -998


def infra(
    config: PodSandboxConfig, handler: str, image: EngineImage, hostname: str, *, connected: bool = True
) -> ContainerSpec:
    """The infra container of a sandbox: it holds the namespaces and, where the engine connects it, publishes ports."""
    assert config.metadata is not None  # validated
    linux = config.linux
    context = linux.security_context if linux else None
    options = (context.namespace_options if context else None) or NamespaceOption()
    seccomp = _seccomp(context.seccomp, context.seccomp_profile_path) if context else None
    user = LinuxContainerUser()
    if context and context.run_as_user is not None:
        gid = context.run_as_group or 0
        groups = tuple(sorted({gid, *context.supplemental_groups}))
        user = LinuxContainerUser(uid=context.run_as_user, gid=gid, supplemental_groups=groups)
    return ContainerSpec(
        name=names.infra_name(config.metadata),
        image_id=image.id,
        args=image.config.entrypoint + image.config.cmd,
        env=tuple(_split(entry) for entry in image.config.env),
        cwd=image.config.working_dir or "/",
        user=user,
        hostname=hostname,
        labels=names.sandbox_labels(config.metadata),
        annotations=config.annotations,
        namespaces=options,
        connected=connected,
        handler=handler,
        cgroup_parent=linux.cgroup_parent if linux else "",
        resources=LinuxContainerResources(cpu_shares=INFRA_CPU_SHARES, oom_score_adj=INFRA_OOM_SCORE_ADJ),
        sysctls=linux.sysctls if linux else {},
        port_mappings=tuple(
            mapping
            for mapping in config.port_mappings
            # On the host's network the host's ports are its own already.
            if connected and mapping.host_port and options.network is not NamespaceMode.NODE
        ),
        no_new_privs=True,
        readonly_rootfs=True,
        seccomp=seccomp,
        apparmor=_plain_apparmor(context.apparmor) if context and context.apparmor else None,
        selinux=context.selinux_options if context else None,
    )


def container(
    config: ContainerConfig,
    pod: SandboxRecord,
    image: EngineImage,
    user: LinuxContainerUser,
    files: PodFiles,
    image_mounts: Mapping[int, str],
) -> ContainerSpec:
    """A pod's container. `image_mounts` gives the image id of the mounts (by position) that are image volumes."""
    metadata = config.metadata or ContainerMetadata()
    context = security(config)
    options = context.namespace_options or NamespaceOption()
    # Network and ipc follow the sandbox, whatever the container says; pid is the container's own choice.
    shared = replace(options, network=pod.namespaces.network, ipc=pod.namespaces.ipc)
    confined = not context.privileged
    linux = pod.config.linux
    return ContainerSpec(
        name=names.container_name(pod.id, pod.metadata, metadata),
        image_id=image.id,
        args=arguments(config, image.config),
        env=environment(config, image.config, files.hostname),
        cwd=config.working_dir or image.config.working_dir or "/",
        user=user,
        hostname=files.hostname,
        tty=config.tty,
        stdin=config.stdin,
        stdin_once=config.stdin_once,
        stop_signal=stop_signal(config, image.config),
        labels=names.container_labels(pod.id, pod.metadata, metadata),
        annotations=config.annotations,
        mounts=mounts(config, files, image_mounts),
        devices=tuple(replace(d, container_path=d.container_path or d.host_path) for d in config.devices),
        cdi_devices=config.cdi_devices,
        infra=pod.id,
        namespaces=shared,
        handler=pod.handler,
        cgroup_parent=linux.cgroup_parent if linux else "",
        resources=limits(config),
        sysctls=linux.sysctls if linux else {},
        privileged=context.privileged,
        capabilities=_capabilities(context),
        no_new_privs=context.no_new_privs,
        readonly_rootfs=context.readonly_rootfs,
        masked_paths=context.masked_paths if confined else (),
        readonly_paths=context.readonly_paths if confined else (),
        seccomp=_seccomp(context.seccomp, context.seccomp_profile_path) if confined else None,
        apparmor=_apparmor(context) if confined else SecurityProfile(profile_type=ProfileType.UNCONFINED),
        selinux=context.selinux_options,
    )


def security(config: ContainerConfig) -> LinuxContainerSecurityContext:
    """The security context, or the one that an absent one stands for."""
    return (config.linux.security_context if config.linux else None) or LinuxContainerSecurityContext()


def limits(config: ContainerConfig) -> LinuxContainerResources:
    """Limits as asked for. A memory limit without a swap limit means no swap, as in containerd."""
    asked = (config.linux.resources if config.linux else None) or LinuxContainerResources()
    if asked.memory_limit_in_bytes and not asked.memory_swap_limit_in_bytes:
        return replace(asked, memory_swap_limit_in_bytes=asked.memory_limit_in_bytes)
    return asked


def arguments(config: ContainerConfig, image: ImageConfig) -> tuple[str, ...]:
    """argv: a command replaces the image's entrypoint and arguments, arguments alone replace its arguments."""
    if config.command:
        args = config.command + config.args
    else:
        args = image.entrypoint + (config.args or image.cmd)
    if not args or not args[0]:
        raise InvalidArgument("config.command is missing, and the image has neither entrypoint nor command")
    return args


def environment(config: ContainerConfig, image: ImageConfig, hostname: str) -> tuple[KeyValue, ...]:
    """The image's variables, overridden by key, in a stable order."""
    merged: dict[str, KeyValue] = {}
    for entry in map(_split, image.env):
        merged[entry.key] = entry
    merged.setdefault("HOSTNAME", KeyValue(key="HOSTNAME", value=hostname.encode()))
    if config.tty:
        merged.setdefault("TERM", KeyValue(key="TERM", value=b"xterm"))
    for entry in config.envs:
        merged[entry.key] = entry
    return tuple(merged.values())


def stop_signal(config: ContainerConfig, image: ImageConfig) -> Signal:
    """The request's signal, else the image's, else SIGTERM. An image's nonsense counts as none, as in Docker."""
    if config.stop_signal is not Signal.RUNTIME_DEFAULT:
        return config.stop_signal
    try:
        return Signal.parse(image.stop_signal) if image.stop_signal else Signal.SIGTERM
    except InvalidArgument:
        return Signal.SIGTERM


def mounts(config: ContainerConfig, files: PodFiles, image_mounts: Mapping[int, str]) -> tuple[Mount, ...]:
    """The asked-for mounts and the pod's own files where none covers them, parents before children."""
    found = []
    for position, mount in enumerate(config.mounts):
        path = posixpath.normpath("/" + mount.container_path.lstrip("/"))
        mount = replace(mount, container_path=path)
        if mount.image is not None and position in image_mounts:
            mount = replace(mount, image=replace(mount.image, image=image_mounts[position]))
        found.append(mount)
    taken = {mount.container_path for mount in found}
    readonly = security(config).readonly_rootfs
    found += [mount for mount in _pod_mounts(files, readonly) if mount.container_path not in taken]
    return tuple(sorted(found, key=lambda mount: len([part for part in mount.container_path.split("/") if part])))


@lru_cache(maxsize=256)
def _pod_mounts(files: PodFiles, readonly: bool) -> tuple[Mount, ...]:
    """The mounts of the pod's own files, shared by its containers."""
    return tuple(Mount(container_path=path, host_path=source, readonly=readonly) for path, source in files.mounts())


def log_path(config: ContainerConfig, pod: SandboxRecord) -> str:
    """Where the log goes; empty, for no log, unless both folder and name are given."""
    if not pod.config.log_directory or not config.log_path:
        return ""
    return str(Path(pod.config.log_directory) / config.log_path)


def _split(entry: str) -> KeyValue:
    key, _, value = entry.partition("=")
    return KeyValue(key=key, value=value.encode())


def _capabilities(context: LinuxContainerSecurityContext) -> Capability:
    """Names in one spelling: upper case, without ``CAP_``."""
    if context.privileged or context.capabilities is None:
        return Capability(add_capabilities=("ALL",)) if context.privileged else Capability()

    def plain(words: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(word.upper().removeprefix("CAP_") for word in words))

    asked = context.capabilities
    return Capability(
        add_capabilities=plain(asked.add_capabilities),
        drop_capabilities=plain(asked.drop_capabilities),
        add_ambient_capabilities=plain(asked.add_ambient_capabilities),
    )


def _seccomp(profile: SecurityProfile | None, deprecated: str) -> SecurityProfile | None:
    """None for unconfined. The path field counts only where the new field is unset; empty means unconfined."""
    if profile is not None:
        return None if profile.profile_type is ProfileType.UNCONFINED else profile
    if deprecated in ("", "unconfined"):
        return None
    if deprecated in ("runtime/default", "docker/default"):
        return SecurityProfile()
    if deprecated.startswith("localhost/"):
        return SecurityProfile(profile_type=ProfileType.LOCALHOST, localhost_ref=deprecated.removeprefix("localhost/"))
    raise InvalidArgument(f"config.linux.security_context.seccomp_profile_path {deprecated[:80]!r} is not a profile")


def _apparmor(context: LinuxContainerSecurityContext) -> SecurityProfile | None:
    """None for the engine's default."""
    if context.apparmor is not None:
        return _plain_apparmor(context.apparmor)
    old = context.apparmor_profile
    if old in ("", "runtime/default"):
        return None
    if old == "unconfined":
        return SecurityProfile(profile_type=ProfileType.UNCONFINED)
    if old.startswith("localhost/"):
        return SecurityProfile(profile_type=ProfileType.LOCALHOST, localhost_ref=old.removeprefix("localhost/"))
    raise InvalidArgument(f"config.linux.security_context.apparmor_profile {old[:80]!r} is not a profile")


def _plain_apparmor(profile: SecurityProfile) -> SecurityProfile:
    """Some callers write the old prefix into the new field too."""
    return replace(profile, localhost_ref=profile.localhost_ref.removeprefix("localhost/"))
