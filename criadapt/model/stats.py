"""Resource figures as CRI reports them. Figures are ``None`` where the engine has none, never a made-up zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from criadapt.model.container import ContainerMetadata
from criadapt.model.image import FilesystemUsage
from criadapt.model.pairs import nothing
from criadapt.model.sandbox import PodSandboxMetadata


@dataclass(frozen=True, slots=True, kw_only=True)
class PsiData:
    """Pressure stall: total in nanoseconds, averages in percent over 10, 60 and 300 seconds."""

    total: int = field(default=0, metadata={"proto": "Total"})
    avg10: float = field(default=0.0, metadata={"proto": "Avg10"})
    avg60: float = field(default=0.0, metadata={"proto": "Avg60"})
    avg300: float = field(default=0.0, metadata={"proto": "Avg300"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PsiStats:
    """Time in which some, or all (`full`), tasks waited for a resource."""

    full: PsiData | None = field(default=None, metadata={"proto": "Full"})
    some: PsiData | None = field(default=None, metadata={"proto": "Some"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuUsage:
    """CPU time since creation (nanoseconds) and its rate (nanocores; None until two samples exist)."""

    timestamp: int = 0
    usage_core_nano_seconds: int | None = None
    usage_nano_cores: int | None = None
    psi: PsiStats | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryUsage:
    """Memory in bytes; `available_bytes` is limit minus working set, None without a limit."""

    timestamp: int = 0
    working_set_bytes: int | None = None
    available_bytes: int | None = None
    usage_bytes: int | None = None
    rss_bytes: int | None = None
    page_faults: int | None = None
    major_page_faults: int | None = None
    psi: PsiStats | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapUsage:
    """Swap in bytes."""

    timestamp: int = 0
    swap_available_bytes: int | None = None
    swap_usage_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IoUsage:
    """I/O pressure."""

    timestamp: int = 0
    psi: PsiStats | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerAttributes:
    """Which container a set of figures belongs to."""

    id: str = ""
    metadata: ContainerMetadata | None = None
    labels: Mapping[str, str] = field(default_factory=nothing)
    annotations: Mapping[str, str] = field(default_factory=nothing)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerStats:
    """Figures of one container; one that does not run has attributes and writable layer only."""

    attributes: ContainerAttributes | None = None
    cpu: CpuUsage | None = None
    memory: MemoryUsage | None = None
    writable_layer: FilesystemUsage | None = None
    swap: SwapUsage | None = None
    io: IoUsage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerStatsFilter:
    """All set fields must match; ids may be prefixes."""

    id: str = ""
    pod_sandbox_id: str = ""
    label_selector: Mapping[str, str] = field(default_factory=nothing)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkInterfaceUsage:
    """Counters of one interface as seen from inside the pod."""

    name: str = ""
    rx_bytes: int | None = None
    rx_errors: int | None = None
    tx_bytes: int | None = None
    tx_errors: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkUsage:
    """Interfaces of a pod; the default one apart from the others, loopback left out."""

    timestamp: int = 0
    default_interface: NetworkInterfaceUsage | None = None
    interfaces: tuple[NetworkInterfaceUsage, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessUsage:
    """Processes in a pod."""

    timestamp: int = 0
    process_count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSandboxAttributes:
    """Which pod a set of figures belongs to."""

    id: str = ""
    metadata: PodSandboxMetadata | None = None
    labels: Mapping[str, str] = field(default_factory=nothing)
    annotations: Mapping[str, str] = field(default_factory=nothing)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinuxPodSandboxStats:
    """Figures of a pod and of each of its containers."""

    cpu: CpuUsage | None = None
    memory: MemoryUsage | None = None
    network: NetworkUsage | None = None
    process: ProcessUsage | None = None
    containers: tuple[ContainerStats, ...] = ()
    io: IoUsage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSandboxStats:
    """Figures of a pod."""

    attributes: PodSandboxAttributes | None = None
    linux: LinuxPodSandboxStats | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSandboxStatsFilter:
    """All set fields must match; `id` may be a prefix."""

    id: str = ""
    label_selector: Mapping[str, str] = field(default_factory=nothing)


class MetricType(IntEnum):
    """Whether a metric only grows."""

    COUNTER = 0
    GAUGE = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricDescriptor:
    """A metric the runtime reports, with its label names."""

    name: str = ""
    help: str = ""
    label_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One sample; label values stand in the order of the descriptor's keys. `timestamp` 0 means "now"."""

    name: str = ""
    timestamp: int = 0
    metric_type: MetricType = MetricType.COUNTER
    label_values: tuple[str, ...] = ()
    value: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerMetrics:
    """All samples of one container."""

    container_id: str = ""
    metrics: tuple[Metric, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSandboxMetrics:
    """All samples of one pod."""

    pod_sandbox_id: str = ""
    metrics: tuple[Metric, ...] = ()
    container_metrics: tuple[ContainerMetrics, ...] = ()
