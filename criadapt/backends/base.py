"""The backend port: what criadapt needs of a container engine.

Three rules:

1. *An engine has not heard of pods.* A pod sandbox is an infra container that holds the pod's namespaces; the pod's
   containers name it in :attr:`ContainerSpec.infra` and share what `namespaces` says.
2. *One engine call per method.* Waiting, retrying, naming, grace periods, time-outs and remembering belong to
   :mod:`criadapt.core`; ids, filters, logs in CRI format, stats, streaming and recovery are shared by all engines.
3. *Failures leave as* :mod:`criadapt.errors`: NotFound for an unknown id, Unavailable when the engine cannot be
   reached, Unsupported for what it cannot do.

A backend implements the twelve abstract methods and those optional ones its engine is able to do. It is found
through the entry-point group ``criadapt.backends`` and judged by :class:`criadapt.testing.BackendContract`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Literal, NamedTuple, Self

from criadapt.errors import ContainerNotFound, Unsupported
from criadapt.model.container import KeyValue, Mount
from criadapt.model.image import AuthConfig, FilesystemUsage
from criadapt.model.linux import (
    Capability,
    CDIDevice,
    Device,
    LinuxContainerResources,
    LinuxContainerUser,
    NamespaceOption,
    SecurityProfile,
    SELinuxOption,
)
from criadapt.model.reference import ImageRef
from criadapt.model.runtime import CgroupDriver, RuntimeFeatures, RuntimeHandler
from criadapt.model.sandbox import PortMapping
from criadapt.model.signals import Signal
from criadapt.model.usage import Usage

Stream = Literal["stdout", "stderr"]


class Chunk(NamedTuple):
    """Bytes that a process wrote to one stream, and when. A tty's output is all ``stdout``."""

    stream: Stream
    data: bytes
    time_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """What the engine is. `handlers` must contain the default one, named ``""``.

    `details` goes into the verbose Status as it is; it must not hold secrets.
    """

    name: str
    version: str
    cgroup_driver: CgroupDriver
    handlers: tuple[RuntimeHandler, ...]
    features: RuntimeFeatures = RuntimeFeatures()
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """One container to create, with no question left open.

    Arguments are merged with the image's, the user is resolved to numbers, mounts are sorted parents first, image
    mounts name a local image id, deprecated fields are folded into the new ones.
    """

    name: str
    image_id: str
    args: tuple[str, ...]
    env: tuple[KeyValue, ...] = ()
    cwd: str = "/"
    user: LinuxContainerUser = LinuxContainerUser()
    hostname: str = ""
    tty: bool = False
    stdin: bool = False
    stdin_once: bool = False
    stop_signal: Signal = Signal.SIGTERM
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    devices: tuple[Device, ...] = ()
    cdi_devices: tuple[CDIDevice, ...] = ()
    infra: str | None = None
    """Engine id of the infra container whose namespaces this one shares; None for an infra container itself."""
    namespaces: NamespaceOption = NamespaceOption()
    connected: bool = True
    """Whether the engine connects an infra container with a network of its own; else nobody does before the start."""
    handler: str = ""
    cgroup_parent: str = ""
    resources: LinuxContainerResources = LinuxContainerResources()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    port_mappings: tuple[PortMapping, ...] = ()
    privileged: bool = False
    capabilities: Capability = Capability()
    no_new_privs: bool = False
    readonly_rootfs: bool = False
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    seccomp: SecurityProfile | None = None
    """None means unconfined, as CRI has it."""
    apparmor: SecurityProfile | None = None
    selinux: SELinuxOption | None = None
    checkpoint: str = ""
    """Path of a checkpoint (:meth:`Backend.checkpoint`) that start() resumes from; empty for a fresh start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecSpec:
    """A further process in a running container; it inherits environment, user and confinement."""

    args: tuple[str, ...]
    tty: bool = False
    stdin: bool = False


class EngineState(Enum):
    """States of an engine's container. Paused counts as running."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineContainer:
    """A container as the engine sees it. Times are nanoseconds since the epoch, 0 for "not yet"."""

    id: str
    name: str
    labels: Mapping[str, str]
    image_id: str
    state: EngineState
    created_at: int
    started_at: int = 0
    finished_at: int = 0
    exit_code: int = 0
    oom_killed: bool = False
    error: str = ""
    pid: int = 0
    """Process id on the host, 0 when not running or where the engine has no processes."""
    ips: tuple[str, ...] = ()
    """Addresses the engine itself gave to the container's network namespace, primary first."""


class EventKind(Enum):
    """What happened."""

    EXITED = "exited"
    GONE = "gone"
    IMAGES = "images"
    """The set of images changed; `id` is empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineEvent:
    """Something happened to a container. Events may be late or repeated; the engine's list decides."""

    kind: EventKind
    id: str = ""
    time_ns: int = 0
    exit_code: int = 0
    oom_killed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """What an image says about running it (OCI image-spec, config)."""

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    user: str = ""
    """``uid``, ``name``, ``uid:gid`` or ``name:group``; empty for root."""
    working_dir: str = ""
    stop_signal: str = ""
    volumes: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineImage:
    """A local image; names are fully normalised references."""

    id: str
    size: int
    repo_tags: tuple[str, ...] = ()
    repo_digests: tuple[str, ...] = ()
    config: ImageConfig = ImageConfig()
    created_at: int = 0


class Process(ABC):
    """A process whose streams the caller holds: an exec, or an attachment to a container's own process."""

    @abstractmethod
    def output(self) -> AsyncIterator[Chunk]:
        """What it writes, until both streams end. Not reading holds the process back."""

    @abstractmethod
    async def write(self, data: bytes) -> None:
        """Feed its stdin; waits while the process does not read. Ignored when there is no stdin (any more)."""

    @abstractmethod
    async def close_stdin(self) -> None:
        """End its stdin."""

    @abstractmethod
    async def resize(self, width: int, height: int) -> None:
        """Tell its tty the size of the window, in characters; ignored without a tty."""

    @abstractmethod
    async def kill(self) -> None:
        """End the process and its descendants with SIGKILL. An attachment is only cut off."""

    @abstractmethod
    async def wait(self) -> int:
        """Exit code, 128+n for a death by signal n, once it has ended."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of the streams and of what the engine holds for them."""


class Connection(ABC):
    """A TCP connection to a port inside a pod. Reading and writing may go on at the same time."""

    @abstractmethod
    async def read(self) -> bytes:
        """Some bytes, none once the other side has ended. Raises OSError when the connection breaks."""

    @abstractmethod
    async def write(self, data: bytes) -> None:
        """Send bytes; waits while the other side does not read. Raises OSError when the connection breaks."""

    @abstractmethod
    async def end(self) -> None:
        """Send nothing more; the other side may go on. Success if it is over already."""

    @abstractmethod
    async def close(self) -> None:
        """End both directions at once."""


class Backend(ABC):
    """One container engine. Open it with ``async with``; no method is called before or after.

    Every method may be called concurrently, also for the same container.
    """

    name: ClassVar[str]
    """The word after ``--backend``."""

    Options: ClassVar[type[Any]]
    """Frozen dataclass of the options read from ``[backend.<name>]``; every field has a default and a doc."""

    def __init__(self, options: Any, *, state_dir: Path) -> None:
        self.options = options
        self.state_dir = state_dir

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the engine; its containers stay as they are."""

    # ------------------------------------------------------------------ required

    @abstractmethod
    async def info(self) -> EngineInfo:
        """Describe the engine; doubles as the health check, so it must be quick. Raises Unavailable."""

    @abstractmethod
    async def create(self, spec: ContainerSpec) -> str:
        """Make the container and return the engine's id for it (which becomes the CRI id).

        Raises AlreadyExists when the name is taken, NotFound for an unknown image.
        """

    @abstractmethod
    async def start(self, id: str) -> None:
        """Start the created container; return once its program runs. Raises StartFailed when it cannot run."""

    @abstractmethod
    async def kill(self, id: str, signal: Signal) -> None:
        """Send `signal`; SIGKILL ends every process of the container. Success if it does not run (any more)."""

    @abstractmethod
    async def remove(self, id: str) -> None:
        """Remove the container, running or not, with all that belongs to it. Success if it is unknown."""

    @abstractmethod
    async def containers(self) -> Sequence[EngineContainer]:
        """Every container criadapt made in this engine, known by its labels."""

    @abstractmethod
    def events(self) -> AsyncIterator[EngineEvent]:
        """What happens from now on; ends or raises Unavailable when the engine goes away."""

    @abstractmethod
    async def exec(self, id: str, spec: ExecSpec) -> Process:
        """Run a further process. Raises FailedPrecondition when the container does not run."""

    @abstractmethod
    async def pull(self, ref: ImageRef, auth: AuthConfig | None) -> str:
        """Fetch the image, stop when cancelled, and return its id once it is listed.

        Raises PullFailed or one of its kind.
        """

    @abstractmethod
    async def images(self) -> Sequence[EngineImage]:
        """All local images, one entry per id. Called often: keep what is immutable."""

    @abstractmethod
    async def remove_image(self, id: str) -> None:
        """Remove the image with all its names. Success if it is unknown; FailedPrecondition if it is in use."""

    @abstractmethod
    async def image_filesystem(self) -> FilesystemUsage:
        """Disk that holds the images, with a mountpoint that exists. Answer from a sample, not from a walk."""

    # ------------------------------------------------------------------ optional

    def can(self, method: str) -> bool:
        """Whether the backend has its own version of an optional method."""
        return getattr(type(self), method) is not getattr(Backend, method)

    async def inspect(self, id: str) -> EngineContainer:
        """One container. Raises ContainerNotFound."""
        for container in await self.containers():
            if container.id == id:
                return container
        raise ContainerNotFound(id)

    def output(self, id: str, since_ns: int) -> AsyncIterator[Chunk]:
        """What the container's process wrote after `since_ns` and writes from now on, until its streams end.

        Complete for a container that exits at once if called before start(). Feeds the CRI log. Times never decrease
        from chunk to chunk, whatever the stream: that is what lets a log be continued after a restart without losing
        or repeating a line.
        """
        raise self._unsupported("give a container's output")

    async def attach(self, id: str, *, stdin: bool, tty: bool) -> Process:
        """Connect to the running container's own streams: output from now on, and its stdin if asked for.

        Any number of attachments get all output. The end of an attachment's input is the container's only where that
        has `stdin_once` and no tty. Raises FailedPrecondition when the container does not run.
        """
        raise self._unsupported("attach to a container")

    async def dial(self, id: str, port: int) -> Connection:
        """Connect to a TCP port on the loopback address, IPv4 before IPv6, of an infra container's network.

        Raises Unavailable when nobody listens there.
        """
        raise self._unsupported("connect to a port of a pod")

    async def update(self, id: str, resources: LinuxContainerResources) -> None:
        """Change the limits that are set (non-zero); all or nothing."""
        raise self._unsupported("update a container's resources")

    async def usage(self, id: str) -> Usage:
        """Counters of a container; one that does not run has a disk only. Raises ContainerNotFound."""
        raise self._unsupported("measure a container")

    async def image_file(self, image_id: str, path: str) -> bytes | None:
        """Content of a file in an image, None if it has none. Used to look names up in /etc/passwd."""
        raise self._unsupported("read a file of an image")

    async def pause(self, id: str) -> None:
        """Freeze all processes of a running container."""
        raise self._unsupported("pause a container")

    async def resume(self, id: str) -> None:
        """Let a paused container go on."""
        raise self._unsupported("resume a container")

    async def checkpoint(self, id: str, path: Path) -> None:
        """Write the state of a running (perhaps paused) container to the file `path`, mode 0600; it lives on."""
        raise self._unsupported("checkpoint a container")

    def _unsupported(self, what: str) -> Unsupported:
        return Unsupported(f"backend {self.name!r} cannot {what}")
