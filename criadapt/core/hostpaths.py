"""Host side of bind mounts and profiles: what has to exist before an engine is asked.

Symbolic links are resolved so that the engine binds what they point to; a missing folder is made (0755), as Docker
and containerd do and kubelet relies on for some volumes.
"""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace
from pathlib import Path

from criadapt.errors import FailedPrecondition, InvalidArgument
from criadapt.model.container import ContainerConfig, Mount
from criadapt.model.linux import ProfileType, SecurityProfile


async def resolve_mounts(config: ContainerConfig) -> ContainerConfig:
    """The config with the real host paths. Raises InvalidArgument or FailedPrecondition naming the mount."""
    context = config.linux.security_context if config.linux else None
    seccomp = context.seccomp if context and not context.privileged else None
    if not config.mounts and (seccomp is None or seccomp.profile_type is not ProfileType.LOCALHOST):
        return config
    return await asyncio.to_thread(_resolve, config, seccomp)  # a host path may lie on a slow or dead filesystem


def _resolve(config: ContainerConfig, seccomp: SecurityProfile | None) -> ContainerConfig:
    if seccomp is not None and seccomp.profile_type is ProfileType.LOCALHOST:
        _demand_profile(seccomp.localhost_ref)
    return replace(config, mounts=tuple(_real(mount) for mount in config.mounts))


def _real(mount: Mount) -> Mount:
    if not mount.host_path:
        return mount
    path = os.path.realpath(mount.host_path)
    if not os.path.lexists(path):
        try:
            os.makedirs(path, mode=0o755, exist_ok=True)
        except OSError as error:
            raise FailedPrecondition(
                f"mount {mount.container_path!r}: host path {mount.host_path} does not exist "
                f"and cannot be made: {error.strerror}"
            ) from error
    return replace(mount, host_path=path)


def _demand_profile(path: str) -> None:
    where = f"config.linux.security_context.seccomp.localhost_ref {path!r}"
    if not os.path.isabs(path):
        raise InvalidArgument(f"{where} is not an absolute path")
    try:
        profile = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise FailedPrecondition(f"{where} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InvalidArgument(f"{where} is not JSON: {error}") from error
    if not isinstance(profile, dict) or "defaultAction" not in profile:
        raise InvalidArgument(f"{where} is not an OCI seccomp profile: it has no defaultAction")
