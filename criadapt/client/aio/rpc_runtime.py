"""RPCs about the runtime, pod sandboxes and checkpoints."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence

from criadapt.client.aio.caller import AsyncCaller, words
from criadapt.cri.codec import encode
from criadapt.cri.v1 import api_pb2 as pb
from criadapt.model.answers import PodSandboxStatusResponse, RestorePodResponse, StatusResponse, VersionResponse
from criadapt.model.container import ContainerConfig
from criadapt.model.linux import LinuxContainerResources
from criadapt.model.runtime import CgroupDriver, ContainerEventResponse
from criadapt.model.sandbox import PodSandbox, PodSandboxConfig, PodSandboxFilter

ENDLESS = 10 * 365 * 86400.0
"""Seconds: the deadline of a stream that has none."""


class AsyncRuntimeCalls(AsyncCaller):
    """The runtime, pod sandboxes and checkpoints."""

    # ------------------------------------------------------------------ the runtime

    async def version(self, *, timeout: float | None = None) -> VersionResponse:
        """Name and version of the runtime."""
        return self._decode(VersionResponse, await self._ask(pb.VersionRequest(), pb.VersionResponse, timeout))

    async def status(self, *, verbose: bool = False, timeout: float | None = None) -> StatusResponse:
        """Conditions, runtime handlers and features of the runtime."""
        answer = await self._ask(pb.StatusRequest(verbose=verbose), pb.StatusResponse, timeout)
        return self._decode(StatusResponse, answer)

    async def runtime_config(self, *, timeout: float | None = None) -> CgroupDriver:
        """The cgroup driver that kubelet has to use."""
        answer = await self._ask(pb.RuntimeConfigRequest(), pb.RuntimeConfigResponse, timeout)
        return CgroupDriver(answer.linux.cgroup_driver)

    async def update_runtime_config(self, pod_cidr: str, *, timeout: float | None = None) -> None:
        """Tell the runtime the addresses of pods, ``10.244.1.0/24``."""
        config = pb.RuntimeConfig(network_config=pb.NetworkConfig(pod_cidr=pod_cidr))
        request = pb.UpdateRuntimeConfigRequest(runtime_config=config)
        await self._ask(request, pb.UpdateRuntimeConfigResponse, timeout)

    async def get_container_events(
        self, *, timeout: float | None = None
    ) -> AsyncGenerator[ContainerEventResponse, None]:
        """What happens to containers and sandboxes from now on, until the runtime ends the stream.

        There is no deadline unless one is given. What happens before the first step is not told, and nothing is
        after the stream's end: :meth:`events` is what most callers want.
        """
        seconds = ENDLESS if timeout is None else timeout
        async for event in self._listen(pb.GetEventsRequest(), pb.ContainerEventResponse, seconds):
            yield self._decode(ContainerEventResponse, event)

    # ------------------------------------------------------------------ pod sandboxes

    async def run_pod_sandbox(
        self, config: PodSandboxConfig, *, runtime_handler: str = "", timeout: float | None = None
    ) -> str:
        """Make and start a sandbox. Returns its id."""
        request = pb.RunPodSandboxRequest(config=encode(config), runtime_handler=runtime_handler)
        return (await self._ask(request, pb.RunPodSandboxResponse, timeout)).pod_sandbox_id

    async def stop_pod_sandbox(self, pod_sandbox_id: str, *, timeout: float | None = None) -> None:
        """Stop a sandbox with its containers, and give back its network. Not an error when it is stopped."""
        request = pb.StopPodSandboxRequest(pod_sandbox_id=pod_sandbox_id)
        await self._ask(request, pb.StopPodSandboxResponse, timeout)

    async def remove_pod_sandbox(self, pod_sandbox_id: str, *, timeout: float | None = None) -> None:
        """Remove a sandbox with its containers, running ones too. Not an error when it is gone."""
        request = pb.RemovePodSandboxRequest(pod_sandbox_id=pod_sandbox_id)
        await self._ask(request, pb.RemovePodSandboxResponse, timeout)

    async def pod_sandbox_status(
        self, pod_sandbox_id: str, *, verbose: bool = False, timeout: float | None = None
    ) -> PodSandboxStatusResponse:
        """A sandbox in full. Raises NotFound."""
        request = pb.PodSandboxStatusRequest(pod_sandbox_id=pod_sandbox_id, verbose=verbose)
        return self._decode(PodSandboxStatusResponse, await self._ask(request, pb.PodSandboxStatusResponse, timeout))

    async def list_pod_sandbox(
        self, filter: PodSandboxFilter | None = None, *, timeout: float | None = None
    ) -> tuple[PodSandbox, ...]:
        """Sandboxes, all of them or those that a filter lets through."""
        request = pb.ListPodSandboxRequest(filter=encode(filter) if filter else None)
        answer = await self._ask(request, pb.ListPodSandboxResponse, timeout)
        return tuple(self._decode(PodSandbox, item) for item in answer.items)

    async def stream_pod_sandboxes(
        self, filter: PodSandboxFilter | None = None, *, timeout: float | None = None
    ) -> AsyncGenerator[PodSandbox, None]:
        """The same one by one, for lists of any length. Raises Unsupported where the runtime has no such call."""
        request = pb.StreamPodSandboxesRequest(filter=encode(filter) if filter else None)
        async for answer in self._listen(request, pb.StreamPodSandboxesResponse, timeout):
            for item in answer.pod_sandboxes:
                yield self._decode(PodSandbox, item)

    async def update_pod_sandbox_resources(
        self,
        pod_sandbox_id: str,
        *,
        overhead: LinuxContainerResources | None = None,
        resources: LinuxContainerResources | None = None,
        timeout: float | None = None,
    ) -> None:
        """Tell the runtime that the pod's sums have changed; containers are not touched."""
        request = pb.UpdatePodSandboxResourcesRequest(
            pod_sandbox_id=pod_sandbox_id,
            overhead=encode(overhead) if overhead else None,
            resources=encode(resources) if resources else None,
        )
        await self._ask(request, pb.UpdatePodSandboxResourcesResponse, timeout)

    # ------------------------------------------------------------------ checkpoints

    async def checkpoint_container(
        self, container_id: str, location: str, *, limit: int = 0, timeout: float | None = None
    ) -> None:
        """Write the state of a running container to the file `location`, on the runtime's machine.

        The runtime gives up after `limit` seconds, 0 for its own default.
        """
        request = pb.CheckpointContainerRequest(container_id=container_id, location=location, timeout=limit)
        await self._ask(request, pb.CheckpointContainerResponse, timeout, longer=limit)

    async def checkpoint_pod(
        self,
        pod_sandbox_id: str,
        output_path: str,
        *,
        container_ids: Sequence[str] = (),
        options: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> None:
        """Write the state of a pod to `output_path`; of its running containers all or only `container_ids`."""
        request = pb.CheckpointPodRequest(
            pod_sandbox_id=pod_sandbox_id,
            output_path=output_path,
            container_ids=words(container_ids, "container_ids"),
            options=options,
        )
        await self._ask(request, pb.CheckpointPodResponse, timeout)

    async def restore_pod(
        self,
        checkpoint_path: str,
        config: PodSandboxConfig,
        *,
        container_configs: Sequence[ContainerConfig] = (),
        runtime_handler: str = "",
        options: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> RestorePodResponse:
        """Make a pod of a checkpoint, under a new name. Returns the ids of sandbox and containers."""
        request = pb.RestorePodRequest(
            checkpoint_path=checkpoint_path,
            config=encode(config),
            runtime_handler=runtime_handler,
            options=options,
            container_configs=map(encode, container_configs),
        )
        return self._decode(RestorePodResponse, await self._ask(request, pb.RestorePodResponse, timeout))
