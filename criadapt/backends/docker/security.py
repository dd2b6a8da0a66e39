"""Who a container runs as and what it may do, as Docker Engine takes it."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from criadapt.backends.base import ContainerSpec
from criadapt.backends.docker.facts import APPARMOR, SECCOMP, SELINUX, EngineFacts
from criadapt.errors import FailedPrecondition, InvalidArgument
from criadapt.model.linux import ProfileType, SecurityProfile, SELinuxOption

MAX_ID = 2**31 - 1  # Docker's (and runc's) library for users ends there
BOUNDED_PRIVILEGE = (1, 42)
"""Docker 23. Before, ALL and privileged mean every capability, and fail where the engine itself lacks one."""
APPARMOR_PROFILES = "/sys/kernel/security/apparmor/profiles"

_ALL = "ALL"
_UNKNOWN_BEFORE_23 = frozenset({"PERFMON", "BPF", "CHECKPOINT_RESTORE"})

_NOT_DEVICES = frozenset({"console", "fd", "mqueue", "ptmx", "pts", "shm"})
"""Below /dev: what each container has of its own."""


class Machine:
    """What is looked at on the host, which is the engine's, too. Tests have one of their own."""

    def read(self, path: str) -> bytes:
        """A file's content. Raises OSError."""
        return Path(path).read_bytes()

    def devices(self) -> list[str]:
        """Paths of all device nodes below /dev."""
        found = []
        for folder, folders, names in os.walk("/dev"):
            if folder == "/dev":
                folders[:] = [name for name in folders if name not in _NOT_DEVICES]
                names = [name for name in names if name not in _NOT_DEVICES]
            paths = [f"{folder}/{name}" for name in names]
            found += [path for path in paths if _is_device(path)]
        return sorted(found)


MACHINE = Machine()


def _is_device(path: str) -> bool:
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return False  # gone meanwhile
    return stat.S_ISCHR(mode) or stat.S_ISBLK(mode)


def identity(spec: ContainerSpec) -> tuple[str, list[str]]:
    """User and group, and the further groups, as numbers; a group that is given keeps the image's out of it."""
    user = spec.user
    groups = [gid for gid in user.supplemental_groups if gid != user.gid]
    for number in (user.uid, user.gid, *groups):
        if not 0 <= number <= MAX_ID:
            raise InvalidArgument(f"user: id {number} is not within 0 and {MAX_ID}, which is what Docker takes")
    return f"{user.uid}:{user.gid}", [str(gid) for gid in dict.fromkeys(groups)]


def privileged_by_parts(spec: ContainerSpec, facts: EngineFacts) -> bool:
    """Whether a privileged container has to be put together from what the engine is able to give."""
    return spec.privileged and facts.capabilities is not None and facts.api < BOUNDED_PRIVILEGE


def privileges(spec: ContainerSpec, facts: EngineFacts, machine: Machine) -> dict[str, Any]:
    """The part of HostConfig that confines the container, or does not.

    A privileged one has all capabilities and devices and no seccomp, AppArmor, masked or read-only paths, whatever the
    spec says of them (CRI v1, LinuxContainerSecurityContext.privileged).
    """
    host: dict[str, Any] = {
        "Privileged": spec.privileged,
        "ReadonlyRootfs": spec.readonly_rootfs,
        "SecurityOpt": _security_options(spec, facts, machine),
        # Not set means Docker's own lists; empty ones mean none.
        "MaskedPaths": [] if spec.privileged else list(spec.masked_paths),
        "ReadonlyPaths": [] if spec.privileged else list(spec.readonly_paths),
    }
    if privileged_by_parts(spec, facts):
        host["Privileged"] = False
        host["DeviceCgroupRules"] = ["a *:* rwm"]
        host |= _capabilities((_ALL,), (), facts)
    elif not spec.privileged:
        asked = spec.capabilities
        given = _names(asked.add_capabilities)
        missing = [name for name in _names(asked.add_ambient_capabilities) if not {name, _ALL} & set(given)]
        if missing:
            names = ", ".join(missing)
            raise facts.unsupported(f"capabilities.add_ambient_capabilities {names}: Docker sets no ambient ones")
        host |= _capabilities(given, _names(asked.drop_capabilities), facts)
    return host


def devices(spec: ContainerSpec, facts: EngineFacts, machine: Machine) -> dict[str, Any]:
    """The part of HostConfig that gives devices. The engine itself takes folders apart and follows links."""
    host: dict[str, Any] = {}
    found = [
        {
            "PathOnHost": device.host_path,
            "PathInContainer": device.container_path or device.host_path,
            "CgroupPermissions": device.permissions or "rwm",  # runc takes no empty ones
        }
        for device in spec.devices
    ]
    if privileged_by_parts(spec, facts):
        given = {device["PathInContainer"] for device in found}
        found += [
            {"PathOnHost": path, "PathInContainer": path, "CgroupPermissions": "rwm"}
            for path in machine.devices()
            if path not in given
        ]
    for number, device in enumerate(found):
        if not device["PathOnHost"].startswith("/") or set(device["CgroupPermissions"]) - set("rwm"):
            raise InvalidArgument(
                f"devices[{number}]: {device['PathOnHost']!r} is not a path, or its permissions not r, w, m"
            )
    if found:
        host["Devices"] = found
    if spec.cdi_devices:
        names = list(dict.fromkeys(device.name for device in spec.cdi_devices))
        facts.demand(1, 44, f"cdi_devices {', '.join(names)}")
        host["DeviceRequests"] = [{"Driver": "cdi", "DeviceIDs": names}]
    return host


# ---------------------------------------------------------------------------------------------- capabilities


def _names(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word.upper().removeprefix("CAP_") for word in words))


def _capabilities(add: tuple[str, ...], drop: tuple[str, ...], facts: EngineFacts) -> dict[str, Any]:
    """ALL first, then what is added, then what is dropped: where both name one, Docker would keep it, CRI does not."""
    bare = _ALL in drop
    everything = _ALL in add and not bare
    add = tuple(name for name in add if name != _ALL and name not in drop)
    drop = tuple(name for name in drop if name != _ALL)
    held = facts.capabilities
    if held is not None:
        absent = [name for name in add if name not in held]
        if absent:
            raise facts.unsupported(f"capabilities {', '.join(absent)}: the engine itself has them not")
        if everything and facts.api < BOUNDED_PRIVILEGE:
            return {"CapAdd": sorted(held - _UNKNOWN_BEFORE_23 - set(drop)), "CapDrop": [_ALL]}
    if bare:
        return {"CapAdd": list(add), "CapDrop": [_ALL]}
    return {"CapAdd": [_ALL] if everything else list(add), "CapDrop": list(drop)}


# ---------------------------------------------------------------------------------------------- profiles and labels


def _security_options(spec: ContainerSpec, facts: EngineFacts, machine: Machine) -> list[str]:
    # Both said in full: whoever runs the engine may have set another default for containers made by hand.
    found = [f"no-new-privileges={'true' if spec.no_new_privs else 'false'}"]
    if spec.privileged:
        found.append("seccomp=unconfined")
        found += ["apparmor=unconfined"] if APPARMOR in facts.security else []
        return found + (["label=disable"] if SELINUX in facts.security else [])
    found += _seccomp(spec.seccomp, facts, machine)
    found += _apparmor(spec.apparmor, facts, machine)
    return found + _selinux(spec.selinux)


def _seccomp(profile: SecurityProfile | None, facts: EngineFacts, machine: Machine) -> list[str]:
    if profile is None or profile.profile_type is ProfileType.UNCONFINED:
        return ["seccomp=unconfined"]
    if SECCOMP not in facts.security:
        raise facts.unsupported(
            "seccomp: engine and kernel filter no system calls here; ask for an unconfined container"
        )
    if profile.profile_type is ProfileType.RUNTIME_DEFAULT:
        return []
    # The engine would read the profile when the container starts; a bad one has to be found before.
    path = profile.localhost_ref
    try:
        text = machine.read(path).decode()
        content = json.loads(text)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidArgument(f"seccomp.localhost_ref {path!r} is not a readable JSON file: {reason}") from error
    if not isinstance(content, dict) or "defaultAction" not in content:
        raise InvalidArgument(f"seccomp.localhost_ref {path!r} is not an OCI seccomp profile: it has no defaultAction")
    return [f"seccomp={text}"]


def _apparmor(profile: SecurityProfile | None, facts: EngineFacts, machine: Machine) -> list[str]:
    enabled = APPARMOR in facts.security
    if profile is None or profile.profile_type is ProfileType.RUNTIME_DEFAULT:
        return []  # docker-default, where the host has AppArmor
    if profile.profile_type is ProfileType.UNCONFINED:
        return ["apparmor=unconfined"] if enabled else []
    name = profile.localhost_ref
    if not enabled:
        raise facts.unsupported(f"apparmor.localhost_ref {name!r}: this host has no AppArmor")
    loaded = _loaded_profiles(machine)
    if loaded is not None and name not in loaded:
        raise FailedPrecondition(f"apparmor.localhost_ref {name!r} is not loaded on this host; use apparmor_parser")
    return [f"apparmor={name}"]


def _loaded_profiles(machine: Machine) -> set[str] | None:
    """None if they cannot be listed; then the engine finds out when the container starts."""
    try:
        lines = machine.read(APPARMOR_PROFILES).decode(errors="replace").splitlines()
    except OSError:
        return None
    return {line.rpartition(" (")[0] for line in lines}


def _selinux(label: SELinuxOption | None) -> list[str]:
    """Passed over by an engine without SELinux, as containerd does."""
    if label is None:
        return []
    parts = (("user", label.user), ("role", label.role), ("type", label.type), ("level", label.level))
    return [f"label={name}:{value}" for name, value in parts if value]
