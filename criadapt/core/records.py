"""What criadapt remembers of a sandbox and of a container.

Records are immutable. State is never stored: it is read off the timestamps, so a record cannot contradict itself.
A move (:meth:`ContainerRecord.started`, …) returns a new record or raises FailedPrecondition; the store replaces
the old one and journals it in the same step.

    container   CREATED ──started──▶ RUNNING ──exited──▶ EXITED
                   └──────start_failed──────────────────▶ EXITED
    sandbox     (pending) ──ready──▶ READY ──stopped──▶ NOTREADY
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from criadapt.errors import FailedPrecondition
from criadapt.model.container import (
    Container,
    ContainerConfig,
    ContainerMetadata,
    ContainerResources,
    ContainerState,
    ContainerStatus,
    ContainerUser,
)
from criadapt.model.image import ImageSpec
from criadapt.model.linux import LinuxContainerResources, LinuxContainerUser, NamespaceMode, NamespaceOption
from criadapt.model.sandbox import (
    LinuxPodSandboxStatus,
    Namespace,
    PodIP,
    PodSandbox,
    PodSandboxConfig,
    PodSandboxMetadata,
    PodSandboxNetworkStatus,
    PodSandboxState,
    PodSandboxStatus,
)
from criadapt.model.signals import Signal

LOST_EXIT_CODE = 255  # what containerd reports when nobody saw the exit


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxRecord:
    """A pod sandbox. `id` is the engine's id of its infra container."""

    id: str
    config: PodSandboxConfig
    handler: str
    created_at: int
    ready_at: int = 0
    stopped_at: int = 0
    reason: str = ""
    """Why it is not ready, for people."""
    ips: tuple[str, ...] = ()
    network_up: bool = False
    """Whether the network still holds something of this sandbox that has to be released."""
    overhead: LinuxContainerResources | None = None
    resources: LinuxContainerResources | None = None

    @property
    def state(self) -> PodSandboxState:
        return PodSandboxState.READY if self.ready_at and not self.stopped_at else PodSandboxState.NOTREADY

    @property
    def metadata(self) -> PodSandboxMetadata:
        """Never absent: validation demands it."""
        return self.config.metadata or PodSandboxMetadata()

    @property
    def namespaces(self) -> NamespaceOption:
        """Namespaces asked for; the interface's zero value (POD everywhere) when none were."""
        context = self.config.linux.security_context if self.config.linux else None
        return (context.namespace_options if context else None) or NamespaceOption()

    @property
    def host_network(self) -> bool:
        return self.namespaces.network is NamespaceMode.NODE

    @property
    def privileged(self) -> bool:
        context = self.config.linux.security_context if self.config.linux else None
        return context is not None and context.privileged

    def ready(self, now: int, ips: tuple[str, ...]) -> SandboxRecord:
        """Namespaces and network are there; only now may anybody see the sandbox."""
        return replace(self, ready_at=now, ips=ips)

    def stopped(self, now: int, reason: str = "") -> SandboxRecord:
        """No longer ready, for good. Stopping twice keeps the first time and reason."""
        return self if self.stopped_at else replace(self, stopped_at=now, reason=reason)

    def released(self) -> SandboxRecord:
        """The network was torn down."""
        return replace(self, network_up=False, ips=())

    def row(self) -> PodSandbox:
        """As a list shows it."""
        return PodSandbox(
            id=self.id,
            metadata=self.metadata,
            state=self.state,
            created_at=self.created_at,
            labels=self.config.labels,
            annotations=self.config.annotations,
            runtime_handler=self.handler,
        )

    def status(self) -> PodSandboxStatus:
        """In full."""
        shown = self.ips if self.state is PodSandboxState.READY else ()
        return PodSandboxStatus(
            id=self.id,
            metadata=self.metadata,
            state=self.state,
            created_at=self.created_at,
            network=PodSandboxNetworkStatus(
                ip=shown[0] if shown else "", additional_ips=tuple(PodIP(ip=ip) for ip in shown[1:])
            ),
            linux=LinuxPodSandboxStatus(namespaces=Namespace(options=self.namespaces)),
            labels=self.config.labels,
            annotations=self.config.annotations,
            runtime_handler=self.handler,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerRecord:
    """A container. `id` is the engine's id."""

    id: str
    sandbox_id: str
    config: ContainerConfig
    image_id: str
    image_ref: str
    """A repository digest of the image if it has one, else its id."""
    image_name: str
    """The image's first tag if it has one, else what the caller wrote."""
    created_at: int
    log_path: str = ""
    started_at: int = 0
    finished_at: int = 0
    exit_code: int = 0
    oom_killed: bool = False
    reason: str = ""
    """Set where exit code and OOM do not tell the story: StartError, Unknown."""
    message: str = ""
    resources: LinuxContainerResources = LinuxContainerResources()
    user: LinuxContainerUser = LinuxContainerUser()
    stop_signal: Signal = Signal.SIGTERM
    kills_group: bool = False
    """Whether it shares a pid namespace, so that the death of its first process leaves others behind."""

    @property
    def state(self) -> ContainerState:
        if self.finished_at:
            return ContainerState.EXITED
        return ContainerState.RUNNING if self.started_at else ContainerState.CREATED

    @property
    def metadata(self) -> ContainerMetadata:
        """Never absent: validation demands it."""
        return self.config.metadata or ContainerMetadata()

    def started(self, now: int) -> ContainerRecord:
        """Its process runs."""
        if self.state is not ContainerState.CREATED:
            raise FailedPrecondition(
                f"container {self.id[:13]!r} is {self.state.name.lower()}; only a created container can be started"
            )
        return replace(self, started_at=now)

    def start_failed(self, now: int, message: str, exit_code: int) -> ContainerRecord:
        """Its process could not be started. Both times are set so that EXITED is coherent."""
        return replace(self, started_at=now, finished_at=now, exit_code=exit_code, reason="StartError", message=message)

    def exited(self, at: int, exit_code: int, *, oom_killed: bool = False) -> ContainerRecord:
        """Its process ended. The first report of an exit wins."""
        if self.finished_at:
            return self
        return replace(
            self,
            started_at=self.started_at or max(at, self.created_at),
            finished_at=max(at, self.started_at, self.created_at),
            exit_code=exit_code,
            # An OOM event of a child that the container survived is not the container's own death.
            oom_killed=oom_killed and exit_code == 137,
        )

    def lost(self, now: int, message: str) -> ContainerRecord:
        """It is gone and nobody saw how it ended."""
        if self.finished_at:
            return self
        return replace(
            self,
            started_at=self.started_at or now,
            finished_at=max(now, self.started_at, self.created_at),
            exit_code=LOST_EXIT_CODE,
            reason="Unknown",
            message=message,
        )

    @property
    def shown_reason(self) -> str:
        """CamelCase reason, only for an exited container."""
        if self.state is not ContainerState.EXITED:
            return ""
        if self.reason:
            return self.reason
        if self.oom_killed:
            return "OOMKilled"
        return "Error" if self.exit_code else "Completed"

    def row(self) -> Container:
        """As a list shows it."""
        return Container(
            id=self.id,
            pod_sandbox_id=self.sandbox_id,
            metadata=self.metadata,
            image=self.config.image,
            image_ref=self.image_ref,
            state=self.state,
            created_at=self.created_at,
            labels=self.config.labels,
            annotations=self.config.annotations,
            image_id=self.image_id,
        )

    def status(self) -> ContainerStatus:
        """In full."""
        asked = self.config.image or ImageSpec()
        return ContainerStatus(
            id=self.id,
            metadata=self.metadata,
            state=self.state,
            created_at=self.created_at,
            started_at=self.started_at,
            finished_at=self.finished_at,
            exit_code=self.exit_code,
            image=replace(asked, image=self.image_name),
            image_ref=self.image_ref,
            reason=self.shown_reason,
            message=self.message,
            labels=self.config.labels,
            annotations=self.config.annotations,
            mounts=self.config.mounts,
            log_path=self.log_path,
            resources=ContainerResources(linux=self.resources),
            image_id=self.image_id,
            user=ContainerUser(linux=self.user),
            stop_signal=self.stop_signal,
        )
