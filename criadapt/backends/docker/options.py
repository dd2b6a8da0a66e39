"""What can be set of the Docker backend."""

from __future__ import annotations

from dataclasses import dataclass

from criadapt.config.keys import Period, Positive, option, socket_url


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerOptions:
    """Options of ``[backend.docker]``."""

    socket: str = option(
        "unix:///var/run/docker.sock",
        doc="socket of Docker Engine; it has to be on this machine, whose processes and cgroups are looked at",
        check=socket_url,
    )
    call_timeout: Period = option(120.0, doc="seconds that the engine may take for a call before it counts as hanging")
    workers: Positive = option(16, doc="calls to the engine that may be under way at once; others wait")
    pull_stall: Period = option(300.0, doc="seconds without progress after which a pull is given up")
    log_size: str = option("10m", doc="size at which the engine begins a new file of a container's output")
    log_files: Positive = option(
        2, doc="files of a container's output that the engine keeps; criadapt's own log is whole"
    )
