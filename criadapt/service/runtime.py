"""RuntimeService: 37 RPCs in the interface's order. A method decodes, asks the core, encodes; it decides nothing."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import criadapt
from criadapt.core.runtime import Runtime
from criadapt.core.sessions import AttachSession, ExecSession
from criadapt.cri.codec import decode, decode_field, encode
from criadapt.cri.v1 import api_pb2 as pb
from criadapt.cri.wire import integer_field, message_field
from criadapt.model.container import ContainerConfig, ContainerFilter
from criadapt.model.linux import LinuxContainerResources
from criadapt.model.runtime import RuntimeStatus
from criadapt.model.sandbox import PodSandboxConfig, PodSandboxFilter
from criadapt.model.stats import ContainerStatsFilter, PodSandboxStatsFilter
from criadapt.service import info
from criadapt.service.handlers import Answer
from criadapt.service.rows import Rows, chunks, encoded

RUNTIME_NAME = "criadapt"
KUBELET_API_VERSION = "0.1.0"  # kubelet's own constant; it refuses any other
CRI_VERSION = "v1"


class RuntimeService:
    """Decode, ask the core, encode."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._rows = Rows(runtime.store)
        self._status: tuple[RuntimeStatus | None, bytes] = (None, b"")
        self._version = pb.VersionResponse(
            version=KUBELET_API_VERSION,
            runtime_name=RUNTIME_NAME,
            runtime_version=criadapt.__version__,
            runtime_api_version=CRI_VERSION,
        ).SerializeToString()

    async def Version(self, request: pb.VersionRequest, context: Any) -> Answer:
        return self._version

    # ------------------------------------------------------------------ sandboxes

    async def RunPodSandbox(self, request: pb.RunPodSandboxRequest, context: Any) -> Answer:
        config = decode_field(PodSandboxConfig, request, "config")
        return pb.RunPodSandboxResponse(
            pod_sandbox_id=await self._runtime.sandboxes.run(config, request.runtime_handler)
        )

    async def StopPodSandbox(self, request: pb.StopPodSandboxRequest, context: Any) -> Answer:
        await self._runtime.sandboxes.stop(request.pod_sandbox_id)
        return pb.StopPodSandboxResponse()

    async def RemovePodSandbox(self, request: pb.RemovePodSandboxRequest, context: Any) -> Answer:
        await self._runtime.sandboxes.remove(request.pod_sandbox_id)
        return pb.RemovePodSandboxResponse()

    async def PodSandboxStatus(self, request: pb.PodSandboxStatusRequest, context: Any) -> Answer:
        store = self._runtime.store
        record = store.sandbox(request.pod_sandbox_id)
        parts = [message_field(1, self._rows.status(record))]
        parts += [message_field(3, self._rows.status(container)) for container in store.containers_of(record.id)]
        parts.append(integer_field(4, time.time_ns()))
        if request.verbose:
            verbose = await info.of_sandbox(self._runtime, record)
            parts.append(pb.PodSandboxStatusResponse(info=verbose).SerializeToString())
        return b"".join(parts)

    async def ListPodSandbox(self, request: pb.ListPodSandboxRequest, context: Any) -> Answer:
        return self._rows.sandboxes(decode_field(PodSandboxFilter, request, "filter"))

    async def StreamPodSandboxes(self, request: pb.StreamPodSandboxesRequest, context: Any) -> AsyncIterator[Answer]:
        for chunk in self._rows.sandbox_chunks(decode_field(PodSandboxFilter, request, "filter")):
            yield chunk

    # ------------------------------------------------------------------ containers

    async def CreateContainer(self, request: pb.CreateContainerRequest, context: Any) -> Answer:
        # sandbox_config is not looked at: what the sandbox was run with is remembered, and callers send parts only.
        config = decode_field(ContainerConfig, request, "config")
        return pb.CreateContainerResponse(
            container_id=await self._runtime.containers.create(request.pod_sandbox_id, config)
        )

    async def StartContainer(self, request: pb.StartContainerRequest, context: Any) -> Answer:
        await self._runtime.containers.start(request.container_id)
        return pb.StartContainerResponse()

    async def StopContainer(self, request: pb.StopContainerRequest, context: Any) -> Answer:
        await self._runtime.containers.stop(request.container_id, request.timeout)
        return pb.StopContainerResponse()

    async def RemoveContainer(self, request: pb.RemoveContainerRequest, context: Any) -> Answer:
        await self._runtime.containers.remove(request.container_id)
        return pb.RemoveContainerResponse()

    async def ListContainers(self, request: pb.ListContainersRequest, context: Any) -> Answer:
        return self._rows.containers(decode_field(ContainerFilter, request, "filter"))

    async def StreamContainers(self, request: pb.StreamContainersRequest, context: Any) -> AsyncIterator[Answer]:
        for chunk in self._rows.container_chunks(decode_field(ContainerFilter, request, "filter")):
            yield chunk

    async def ContainerStatus(self, request: pb.ContainerStatusRequest, context: Any) -> Answer:
        record = self._runtime.store.container(request.container_id)
        answer = message_field(1, self._rows.status(record))
        if request.verbose:
            verbose = await info.of_container(self._runtime, record)
            answer += pb.ContainerStatusResponse(info=verbose).SerializeToString()
        return answer

    async def UpdateContainerResources(self, request: pb.UpdateContainerResourcesRequest, context: Any) -> Answer:
        changes = decode_field(LinuxContainerResources, request, "linux")
        await self._runtime.containers.update(request.container_id, changes)
        return pb.UpdateContainerResourcesResponse()

    async def ReopenContainerLog(self, request: pb.ReopenContainerLogRequest, context: Any) -> Answer:
        self._runtime.containers.reopen_log(request.container_id)
        return pb.ReopenContainerLogResponse()

    # ------------------------------------------------------------------ exec, attach, port-forward

    async def ExecSync(self, request: pb.ExecSyncRequest, context: Any) -> Answer:
        result = await self._runtime.execs.sync(request.container_id, request.cmd, request.timeout)
        return pb.ExecSyncResponse(stdout=result.stdout, stderr=result.stderr, exit_code=result.exit_code)

    async def Exec(self, request: pb.ExecRequest, context: Any) -> Answer:
        session = ExecSession(
            container_id=request.container_id,
            args=tuple(request.cmd),
            tty=request.tty,
            stdin=request.stdin,
            stdout=request.stdout,
            stderr=request.stderr,
        )
        return pb.ExecResponse(url=self._runtime.sessions.exec(session))

    async def Attach(self, request: pb.AttachRequest, context: Any) -> Answer:
        session = AttachSession(
            container_id=request.container_id,
            tty=request.tty,
            stdin=request.stdin,
            stdout=request.stdout,
            stderr=request.stderr,
        )
        return pb.AttachResponse(url=self._runtime.sessions.attach(session))

    async def PortForward(self, request: pb.PortForwardRequest, context: Any) -> Answer:
        url = self._runtime.sessions.port_forward(request.pod_sandbox_id, tuple(request.port))
        return pb.PortForwardResponse(url=url)

    # ------------------------------------------------------------------ stats

    async def ContainerStats(self, request: pb.ContainerStatsRequest, context: Any) -> Answer:
        return pb.ContainerStatsResponse(stats=encode(await self._runtime.stats.container(request.container_id)))

    async def ListContainerStats(self, request: pb.ListContainerStatsRequest, context: Any) -> Answer:
        stats = await self._runtime.stats.containers(decode_field(ContainerStatsFilter, request, "filter"))
        return b"".join(await encoded(stats))

    async def StreamContainerStats(
        self, request: pb.StreamContainerStatsRequest, context: Any
    ) -> AsyncIterator[Answer]:
        stats = await self._runtime.stats.containers(decode_field(ContainerStatsFilter, request, "filter"))
        for chunk in chunks(await encoded(stats)):
            yield chunk

    async def PodSandboxStats(self, request: pb.PodSandboxStatsRequest, context: Any) -> Answer:
        return pb.PodSandboxStatsResponse(stats=encode(await self._runtime.stats.pod(request.pod_sandbox_id)))

    async def ListPodSandboxStats(self, request: pb.ListPodSandboxStatsRequest, context: Any) -> Answer:
        stats = await self._runtime.stats.pods(decode_field(PodSandboxStatsFilter, request, "filter"))
        return b"".join(await encoded(stats))

    async def StreamPodSandboxStats(
        self, request: pb.StreamPodSandboxStatsRequest, context: Any
    ) -> AsyncIterator[Answer]:
        stats = await self._runtime.stats.pods(decode_field(PodSandboxStatsFilter, request, "filter"))
        for chunk in chunks(await encoded(stats)):
            yield chunk

    # ------------------------------------------------------------------ runtime

    async def UpdateRuntimeConfig(self, request: pb.UpdateRuntimeConfigRequest, context: Any) -> Answer:
        self._runtime.set_pod_cidr(request.runtime_config.network_config.pod_cidr)
        return pb.UpdateRuntimeConfigResponse()

    async def Status(self, request: pb.StatusRequest, context: Any) -> Answer:
        status = await self._runtime.status()
        if status != self._status[0]:  # kubelet asks every second or two, and hardly ever is there news
            engine = self._runtime.info
            answer = pb.StatusResponse(
                status=encode(status),
                runtime_handlers=map(encode, engine.handlers),
                features=encode(engine.features),
            )
            self._status = (status, answer.SerializeToString())
        if request.verbose:
            return self._status[1] + pb.StatusResponse(info=info.of_runtime(self._runtime)).SerializeToString()
        return self._status[1]

    # ------------------------------------------------------------------ checkpoints

    async def CheckpointContainer(self, request: pb.CheckpointContainerRequest, context: Any) -> Answer:
        await self._runtime.checkpoints.container(request.container_id, request.location, request.timeout)
        return pb.CheckpointContainerResponse()

    async def CheckpointPod(self, request: pb.CheckpointPodRequest, context: Any) -> Answer:
        await self._runtime.checkpoints.pod(
            request.pod_sandbox_id, request.output_path, request.container_ids, request.options
        )
        return pb.CheckpointPodResponse()

    async def RestorePod(self, request: pb.RestorePodRequest, context: Any) -> Answer:
        sandbox_id, restored = await self._runtime.checkpoints.restore(
            request.checkpoint_path,
            decode_field(PodSandboxConfig, request, "config"),
            request.runtime_handler,
            request.options,
            [decode(ContainerConfig, config, "container_configs") for config in request.container_configs],
        )
        return pb.RestorePodResponse(pod_sandbox_id=sandbox_id, restored_containers=map(encode, restored))

    # ------------------------------------------------------------------ events and metrics

    async def GetContainerEvents(self, request: pb.GetEventsRequest, context: Any) -> AsyncIterator[Answer]:
        subscription = self._runtime.events.subscribe()
        try:
            await context.send_initial_metadata(())  # the client learns at once that it is subscribed
            async for event in subscription:
                yield encode(event)
        finally:
            subscription.close()

    async def ListMetricDescriptors(self, request: pb.ListMetricDescriptorsRequest, context: Any) -> Answer:
        return pb.ListMetricDescriptorsResponse(descriptors=map(encode, self._runtime.stats.descriptors()))

    async def ListPodSandboxMetrics(self, request: pb.ListPodSandboxMetricsRequest, context: Any) -> Answer:
        return b"".join(await encoded(await self._runtime.stats.pod_metrics()))

    async def StreamPodSandboxMetrics(
        self, request: pb.StreamPodSandboxMetricsRequest, context: Any
    ) -> AsyncIterator[Answer]:
        for chunk in chunks(await encoded(await self._runtime.stats.pod_metrics())):
            yield chunk

    async def RuntimeConfig(self, request: pb.RuntimeConfigRequest, context: Any) -> Answer:
        driver = pb.CgroupDriver.ValueType(self._runtime.info.cgroup_driver)
        return pb.RuntimeConfigResponse(linux=pb.LinuxRuntimeConfiguration(cgroup_driver=driver))

    async def UpdatePodSandboxResources(self, request: pb.UpdatePodSandboxResourcesRequest, context: Any) -> Answer:
        self._runtime.sandboxes.update_resources(
            request.pod_sandbox_id,
            decode_field(LinuxContainerResources, request, "overhead"),
            decode_field(LinuxContainerResources, request, "resources"),
        )
        return pb.UpdatePodSandboxResourcesResponse()
