"""What an engine says of itself → what has to be known of it."""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from criadapt.backends.base import EngineInfo
from criadapt.backends.docker.facts import EngineFacts
from criadapt.backends.docker.options import DockerOptions
from criadapt.model.capabilities import NAMES
from criadapt.model.runtime import CgroupDriver, RuntimeFeatures, RuntimeHandler, RuntimeHandlerFeatures

RECURSIVE_API = (1, 44)
RECURSIVE_KERNEL = (5, 12)
_SYS_RESOURCE = "SYS_RESOURCE"


def facts_of(info: Mapping[str, Any], api_version: str, options: DockerOptions, path: str) -> EngineFacts:
    """From ``GET /info`` of the engine at the socket `path`."""
    major, _, minor = api_version.partition(".")
    api = (int(major), int(minor))
    capabilities, oom = _of_process(_server(path))
    lowest = -1000 if capabilities is None or _SYS_RESOURCE in capabilities else oom
    return EngineFacts(
        api=api,
        cgroup_driver=CgroupDriver[info["CgroupDriver"].upper()],
        cgroup_version=int(info.get("CgroupVersion") or 1),
        security=frozenset(_security(option) for option in info.get("SecurityOptions") or ()),
        runtimes=frozenset(info.get("Runtimes") or {}),
        oom_floor=lowest,
        capabilities=capabilities,
        recursive_read_only=api >= RECURSIVE_API and _kernel(info.get("KernelVersion", "")) >= RECURSIVE_KERNEL,
        root_dir=info["DockerRootDir"],
        log={
            "Type": "json-file",
            "Config": {"max-size": options.log_size, "max-file": str(options.log_files)},
        },
    )


def info_of(info: Mapping[str, Any], facts: EngineFacts) -> EngineInfo:
    """What CRI is told of the engine."""
    features = RuntimeHandlerFeatures(recursive_read_only_mounts=facts.recursive_read_only, user_namespaces=False)
    handlers = ("", *sorted(facts.runtimes))
    return EngineInfo(
        name="docker",
        version=info["ServerVersion"],
        cgroup_driver=facts.cgroup_driver,
        handlers=tuple(RuntimeHandler(name=name, features=features) for name in handlers),
        features=RuntimeFeatures(supplemental_groups_policy=True, mount_options=False),
        details={
            "apiVersion": ".".join(map(str, facts.api)),
            "storageDriver": info.get("Driver", ""),
            "rootDir": facts.root_dir,
            "cgroupVersion": str(facts.cgroup_version),
            "kernelVersion": info.get("KernelVersion", ""),
        },
    )


def _security(option: str) -> str:
    """``name=seccomp,profile=default`` → ``seccomp``."""
    fields = dict(part.partition("=")[::2] for part in option.split(","))
    return fields.get("name", option)


def _kernel(release: str) -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _server(path: str) -> int:
    """Process id of who listens on a unix socket, 0 if that cannot be told."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
            peer = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        except OSError:
            return 0
    return int(struct.unpack("3i", peer)[0])


def _of_process(pid: int) -> tuple[frozenset[str] | None, int]:
    """Capabilities of a process, None for all of them, and its oom_score_adj."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        oom = int(Path(f"/proc/{pid}/oom_score_adj").read_text())
        last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    except (OSError, ValueError):
        return None, 0
    mask = int(re.search(r"^CapEff:\s*([0-9a-f]+)", status, re.MULTILINE)[1], 16)  # type: ignore[index]
    if mask == (1 << last + 1) - 1:
        return None, oom
    return frozenset(name for number, name in enumerate(NAMES) if mask >> number & 1), oom
