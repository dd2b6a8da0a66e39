"""What has to be known of an engine before anything can be asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from criadapt.errors import Unsupported
from criadapt.model.runtime import CgroupDriver

SELINUX = "selinux"
APPARMOR = "apparmor"
SECCOMP = "seccomp"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """A Docker Engine, as far as the making of containers depends on it."""

    api: tuple[int, int] = (1, 41)
    """Version of the API that is spoken, the lower one of the engine's and ours."""
    cgroup_driver: CgroupDriver = CgroupDriver.CGROUPFS
    cgroup_version: int = 1
    """1 also where v1 and v2 are mixed: limits are v1's there."""
    security: frozenset[str] = frozenset({SECCOMP})
    """Of ``seccomp``, ``apparmor``, ``selinux``, what the engine enforces."""
    runtimes: frozenset[str] = frozenset({"runc"})
    oom_floor: int = -1000
    """The lowest oom_score_adj the engine can give: its own where it lacks CAP_SYS_RESOURCE."""
    capabilities: frozenset[str] | None = None
    """Names (``SYS_ADMIN``) of those that the engine's process has, if it lacks some; None if it has them all."""
    recursive_read_only: bool = False
    """Whether kernel and runtime can make a mount read-only with all below it (Linux 5.12, runc 1.1)."""
    root_dir: str = "/var/lib/docker"
    annotations: tuple[str, ...] = ()
    """Patterns (fnmatch) of annotations that the OCI runtime gets to see. None by default, as in containerd: whoever
    makes a pod writes them, and some runtimes take orders from them."""
    log: Mapping[str, Any] = field(default_factory=dict)
    """LogConfig of containers, empty for the engine's default."""

    def demand(self, major: int, minor: int, what: str) -> None:
        """Raise Unsupported for `what` (``mounts[/x].image``) unless the engine speaks that version of the API."""
        if self.api < (major, minor):
            raise self.unsupported(f"{what} needs API {major}.{minor}")

    def unsupported(self, why: str) -> Unsupported:
        """The error for what this engine cannot do."""
        return Unsupported(f"{why}; this Docker Engine speaks API {self.api[0]}.{self.api[1]}")
