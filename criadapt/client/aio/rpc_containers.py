"""RPCs about containers and the processes in them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence

from criadapt.client.aio.caller import AsyncCaller, words
from criadapt.cri.codec import encode
from criadapt.cri.v1 import api_pb2 as pb
from criadapt.model.answers import ContainerStatusResponse, ExecSyncResponse
from criadapt.model.container import Container, ContainerConfig, ContainerFilter
from criadapt.model.linux import LinuxContainerResources
from criadapt.model.sandbox import PodSandboxConfig


class AsyncContainerCalls(AsyncCaller):
    """Containers and the processes in them."""

    async def create_container(
        self,
        pod_sandbox_id: str,
        config: ContainerConfig,
        sandbox_config: PodSandboxConfig,
        *,
        timeout: float | None = None,
    ) -> str:
        """Make a container in a ready sandbox; the config is the one the sandbox was run with. Returns its id."""
        request = pb.CreateContainerRequest(
            pod_sandbox_id=pod_sandbox_id, config=encode(config), sandbox_config=encode(sandbox_config)
        )
        return (await self._ask(request, pb.CreateContainerResponse, timeout)).container_id

    async def start_container(self, container_id: str, *, timeout: float | None = None) -> None:
        """Start a created container."""
        await self._ask(pb.StartContainerRequest(container_id=container_id), pb.StartContainerResponse, timeout)

    async def stop_container(self, container_id: str, grace: int = 0, *, timeout: float | None = None) -> None:
        """Send the stop signal, and SIGKILL after `grace` seconds. Not an error when it has ended.

        An unknown id is no error on most runtimes, and NotFound on the others.
        """
        request = pb.StopContainerRequest(container_id=container_id, timeout=grace)
        await self._ask(request, pb.StopContainerResponse, timeout, longer=max(grace, 0))

    async def remove_container(self, container_id: str, *, timeout: float | None = None) -> None:
        """Remove a container, killing it first if it runs. Not an error when it is gone."""
        await self._ask(pb.RemoveContainerRequest(container_id=container_id), pb.RemoveContainerResponse, timeout)

    async def list_containers(
        self, filter: ContainerFilter | None = None, *, timeout: float | None = None
    ) -> tuple[Container, ...]:
        """Containers, all of them or those that a filter lets through; ended ones too, infra containers not."""
        request = pb.ListContainersRequest(filter=encode(filter) if filter else None)
        answer = await self._ask(request, pb.ListContainersResponse, timeout)
        return tuple(self._decode(Container, item) for item in answer.containers)

    async def stream_containers(
        self, filter: ContainerFilter | None = None, *, timeout: float | None = None
    ) -> AsyncGenerator[Container, None]:
        """The same one by one, for lists of any length. Raises Unsupported where the runtime has no such call."""
        request = pb.StreamContainersRequest(filter=encode(filter) if filter else None)
        async for answer in self._listen(request, pb.StreamContainersResponse, timeout):
            for item in answer.containers:
                yield self._decode(Container, item)

    async def container_status(
        self, container_id: str, *, verbose: bool = False, timeout: float | None = None
    ) -> ContainerStatusResponse:
        """A container in full. Raises NotFound."""
        request = pb.ContainerStatusRequest(container_id=container_id, verbose=verbose)
        return self._decode(ContainerStatusResponse, await self._ask(request, pb.ContainerStatusResponse, timeout))

    async def update_container_resources(
        self,
        container_id: str,
        linux: LinuxContainerResources,
        *,
        annotations: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> None:
        """Change the limits of a container; zero or empty leaves a limit as it is."""
        request = pb.UpdateContainerResourcesRequest(
            container_id=container_id, linux=encode(linux), annotations=annotations
        )
        await self._ask(request, pb.UpdateContainerResourcesResponse, timeout)

    async def reopen_container_log(self, container_id: str, *, timeout: float | None = None) -> None:
        """Open the log file anew, after somebody has moved it away."""
        request = pb.ReopenContainerLogRequest(container_id=container_id)
        await self._ask(request, pb.ReopenContainerLogResponse, timeout)

    # ------------------------------------------------------------------ processes

    async def exec_sync(
        self, container_id: str, cmd: Sequence[str], *, limit: int = 0, timeout: float | None = None
    ) -> ExecSyncResponse:
        """Run a command to its end. The runtime kills it after `limit` seconds, 0 for never: DeadlineExceeded.

        The call's own deadline is `limit` and some more, or an hour without one.
        """
        request = pb.ExecSyncRequest(container_id=container_id, cmd=words(cmd), timeout=limit)
        if timeout is None and limit > 0:
            timeout = limit + self.timeout
        return self._decode(ExecSyncResponse, await self._ask(request, pb.ExecSyncResponse, timeout))

    async def prepare_exec(
        self,
        container_id: str,
        cmd: Sequence[str],
        *,
        tty: bool = False,
        stdin: bool = False,
        stdout: bool = True,
        stderr: bool = True,
        timeout: float | None = None,
    ) -> str:
        """The URL at which a command's streams are. With a tty, stderr has to be off: its output is in stdout."""
        request = pb.ExecRequest(
            container_id=container_id, cmd=words(cmd), tty=tty, stdin=stdin, stdout=stdout, stderr=stderr
        )
        return (await self._ask(request, pb.ExecResponse, timeout)).url

    async def prepare_attach(
        self,
        container_id: str,
        *,
        tty: bool = False,
        stdin: bool = False,
        stdout: bool = True,
        stderr: bool = True,
        timeout: float | None = None,
    ) -> str:
        """The URL at which the streams of a container's first process are; `tty` has to be as it was created."""
        request = pb.AttachRequest(container_id=container_id, tty=tty, stdin=stdin, stdout=stdout, stderr=stderr)
        return (await self._ask(request, pb.AttachResponse, timeout)).url

    async def prepare_port_forward(
        self, pod_sandbox_id: str, ports: Sequence[int] = (), *, timeout: float | None = None
    ) -> str:
        """The URL at which ports of a pod can be reached."""
        request = pb.PortForwardRequest(pod_sandbox_id=pod_sandbox_id, port=ports)
        return (await self._ask(request, pb.PortForwardResponse, timeout)).url
