"""RPCs about what containers and pods use."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from criadapt.client.aio.caller import AsyncCaller
from criadapt.cri.codec import encode
from criadapt.cri.v1 import api_pb2 as pb
from criadapt.model.stats import (
    ContainerStats,
    ContainerStatsFilter,
    MetricDescriptor,
    PodSandboxMetrics,
    PodSandboxStats,
    PodSandboxStatsFilter,
)


class AsyncStatsCalls(AsyncCaller):
    """What containers and pods use."""

    async def container_stats(self, container_id: str, *, timeout: float | None = None) -> ContainerStats:
        """Figures of one container. Raises NotFound."""
        request = pb.ContainerStatsRequest(container_id=container_id)
        return self._decode(ContainerStats, (await self._ask(request, pb.ContainerStatsResponse, timeout)).stats)

    async def list_container_stats(
        self, filter: ContainerStatsFilter | None = None, *, timeout: float | None = None
    ) -> tuple[ContainerStats, ...]:
        """Figures of running containers, of all or of those that a filter lets through."""
        request = pb.ListContainerStatsRequest(filter=encode(filter) if filter else None)
        answer = await self._ask(request, pb.ListContainerStatsResponse, timeout)
        return tuple(self._decode(ContainerStats, item) for item in answer.stats)

    async def stream_container_stats(
        self, filter: ContainerStatsFilter | None = None, *, timeout: float | None = None
    ) -> AsyncGenerator[ContainerStats, None]:
        """The same one by one. Raises Unsupported where the runtime has no such call."""
        request = pb.StreamContainerStatsRequest(filter=encode(filter) if filter else None)
        async for answer in self._listen(request, pb.StreamContainerStatsResponse, timeout):
            for item in answer.container_stats:
                yield self._decode(ContainerStats, item)

    async def pod_sandbox_stats(self, pod_sandbox_id: str, *, timeout: float | None = None) -> PodSandboxStats:
        """Figures of a pod and its containers. Raises NotFound."""
        request = pb.PodSandboxStatsRequest(pod_sandbox_id=pod_sandbox_id)
        return self._decode(PodSandboxStats, (await self._ask(request, pb.PodSandboxStatsResponse, timeout)).stats)

    async def list_pod_sandbox_stats(
        self, filter: PodSandboxStatsFilter | None = None, *, timeout: float | None = None
    ) -> tuple[PodSandboxStats, ...]:
        """Figures of ready pods, of all or of those that a filter lets through."""
        request = pb.ListPodSandboxStatsRequest(filter=encode(filter) if filter else None)
        answer = await self._ask(request, pb.ListPodSandboxStatsResponse, timeout)
        return tuple(self._decode(PodSandboxStats, item) for item in answer.stats)

    async def stream_pod_sandbox_stats(
        self, filter: PodSandboxStatsFilter | None = None, *, timeout: float | None = None
    ) -> AsyncGenerator[PodSandboxStats, None]:
        """The same one by one. Raises Unsupported where the runtime has no such call."""
        request = pb.StreamPodSandboxStatsRequest(filter=encode(filter) if filter else None)
        async for answer in self._listen(request, pb.StreamPodSandboxStatsResponse, timeout):
            for item in answer.pod_sandbox_stats:
                yield self._decode(PodSandboxStats, item)

    async def list_metric_descriptors(self, *, timeout: float | None = None) -> tuple[MetricDescriptor, ...]:
        """Which metrics the runtime reports of pods."""
        answer = await self._ask(pb.ListMetricDescriptorsRequest(), pb.ListMetricDescriptorsResponse, timeout)
        return tuple(self._decode(MetricDescriptor, item) for item in answer.descriptors)

    async def list_pod_sandbox_metrics(self, *, timeout: float | None = None) -> tuple[PodSandboxMetrics, ...]:
        """Metrics of all pods, as kubelet passes them on to Prometheus."""
        answer = await self._ask(pb.ListPodSandboxMetricsRequest(), pb.ListPodSandboxMetricsResponse, timeout)
        return tuple(self._decode(PodSandboxMetrics, item) for item in answer.pod_metrics)

    async def stream_pod_sandbox_metrics(
        self, *, timeout: float | None = None
    ) -> AsyncGenerator[PodSandboxMetrics, None]:
        """The same one by one. Raises Unsupported where the runtime has no such call."""
        request = pb.StreamPodSandboxMetricsRequest()
        async for answer in self._listen(request, pb.StreamPodSandboxMetricsResponse, timeout):
            for item in answer.pod_sandbox_metrics:
                yield self._decode(PodSandboxMetrics, item)
