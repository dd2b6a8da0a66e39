"""Pods and containers by what people know of them: names, labels, a process, a cgroup."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from criadapt.client import matching
from criadapt.client.aio import io
from criadapt.client.aio.rpc import AsyncCalls
from criadapt.client.info import ContainerDetails, PodDetails, container_details, pod_details
from criadapt.client.procfs import PROC, ancestors_of, cgroups_of
from criadapt.errors import InvalidArgument, NotFound
from criadapt.model.container import Container, ContainerFilter, ContainerState
from criadapt.model.pairs import nothing
from criadapt.model.sandbox import PodSandbox, PodSandboxFilter, PodSandboxState


class AsyncLookups(AsyncCalls):
    """Finding pods and containers. What CRI can filter is filtered by the runtime, the rest here."""

    async def pods(
        self,
        *,
        name: str | None = None,
        namespace: str | None = None,
        uid: str | None = None,
        labels: Mapping[str, str] | None = None,
        ready: bool | None = None,
    ) -> tuple[PodSandbox, ...]:
        """Pod sandboxes for which everything given is true; `name` and `namespace` may be globs, ``web-*``."""
        state = None if ready is None else PodSandboxState.READY if ready else PodSandboxState.NOTREADY
        wanted = PodSandboxFilter(state=state, label_selector=labels or nothing())
        pods = await self.list_pod_sandbox(wanted)
        return tuple(pod for pod in pods if matching.pod_fits(pod, name=name, namespace=namespace, uid=uid))

    async def containers(
        self,
        *,
        name: str | None = None,
        pod: str | None = None,
        namespace: str | None = None,
        uid: str | None = None,
        labels: Mapping[str, str] | None = None,
        running: bool | None = None,
        image: str | None = None,
    ) -> tuple[Container, ...]:
        """Containers for which everything given is true.

        `name`, `pod` (its name, or its full id) and `namespace` may be globs, `uid` is the pod's. `labels` are the
        container's own. `image` is anything that names the image, or a glob over its names. Ended containers are
        among them unless `running` is True.
        """
        owners: Collection[str] | None = None
        if pod is not None or namespace is not None or uid is not None:
            owners = {found.id for found in await self.pods(name=pod, namespace=namespace, uid=uid)}
            if not owners:
                return ()
        wanted = ContainerFilter(
            state=ContainerState.RUNNING if running else None,
            pod_sandbox_id=next(iter(owners)) if owners is not None and len(owners) == 1 else "",
            label_selector=labels or nothing(),
        )
        names = await self._names_of(image) if image is not None else frozenset()
        return tuple(
            found
            for found in await self.list_containers(wanted)
            if (owners is None or found.pod_sandbox_id in owners)
            and (running is not False or found.state is not ContainerState.RUNNING)
            and matching.fits(found.metadata.name if found.metadata else "", name)
            and (image is None or matching.image_fits(found, image, names))
        )

    async def pod(self, ref: str) -> PodSandbox:
        """The pod with this id, name, ``namespace/name`` or beginning of an id, looked for in this order.

        Where a name has several attempts, the ready one is meant, or the last. Raises NotFound, and InvalidArgument
        when the reference is ambiguous.
        """
        wanted = PodSandboxFilter(id=ref) if matching.is_id(ref) else None
        return matching.only_pod(await self.list_pod_sandbox(wanted), ref)

    async def container(self, ref: str) -> Container:
        """The container with this id, name or beginning of an id, looked for in this order.

        A name may have its namespace, its pod or both before it: ``namespace/pod/name``. Where it has several
        attempts, the running one is meant, or the last. Raises NotFound, and InvalidArgument when it is ambiguous.
        """
        if matching.is_id(ref):
            return matching.only_container(await self.list_containers(ContainerFilter(id=ref)), (), ref)
        return matching.only_container(await self.list_containers(), await self.list_pod_sandbox(), ref)

    async def details(self, container_id: str) -> ContainerDetails:
        """Status, process, network namespace, cgroup and OCI spec of a container, whatever the runtime.

        What the runtime does not tell is None. Raises NotFound.
        """
        answer = await self.container_status(container_id, verbose=True)
        return container_details(answer.status, answer.info)

    async def pod_details(self, pod_sandbox_id: str) -> PodDetails:
        """The same of a pod sandbox. CRI-O does not tell its process, cri-dockerd nothing but the status."""
        answer = await self.pod_sandbox_status(pod_sandbox_id, verbose=True)
        return pod_details(answer.status, answer.info)

    async def container_by_pid(self, pid: int, *, proc: str = PROC) -> Container:
        """The container that a process of this machine is in.

        First the process's cgroups are asked for an id, then every running container for its first process, which
        the process, or one of its ancestors, may be. `proc` is where the machine's /proc is mounted: both sides have
        to number processes alike, so a client in a container needs the host's. Raises NotFound.
        """
        if pid <= 0:
            raise InvalidArgument(f"pid: expected a process id, got {pid}")
        for path in await io.blocking(cgroups_of, pid, proc):
            if matching.ids_in(path) and (found := await self._of_cgroup(path)):
                return found
        firsts = {}
        for container in await self.containers(running=True):
            try:
                details = await self.details(container.id)
            except NotFound:
                continue  # it has gone in between
            firsts[details.pid] = container
        for ancestor in await io.blocking(ancestors_of, pid, proc):
            if ancestor in firsts:
                return firsts[ancestor]
        raise NotFound(f"process {pid} is in no container of {self.endpoint}")

    async def container_by_cgroup(self, path: str) -> Container:
        """The container that a cgroup belongs to: its path has the id in it, in whatever form the driver gives it.

        Raises NotFound, which says so where the cgroup is that of a pod's infra container.
        """
        if not matching.ids_in(path):
            raise NotFound(f"no container id is in cgroup {path!r}")
        found = await self._of_cgroup(path)
        if found is None:
            raise NotFound(f"no container of {self.endpoint} has cgroup {path!r}")
        return found

    async def _of_cgroup(self, path: str) -> Container | None:
        containers = {container.id: container for container in await self.list_containers()}
        sandboxes: dict[str, PodSandbox] | None = None
        for id in matching.ids_in(path):
            if id in containers:
                return containers[id]
            if sandboxes is None:
                sandboxes = {pod.id: pod for pod in await self.list_pod_sandbox()}
            if id in sandboxes:
                metadata = sandboxes[id].metadata
                whose = f"{metadata.namespace}/{metadata.name}" if metadata else id[: matching.SHOWN]
                raise NotFound(f"cgroup {path!r} is that of the sandbox of pod {whose}, which is no container")
        return None

    async def _names_of(self, image: str) -> frozenset[str]:
        """All names of the images that are meant and present; none where the runtime cannot tell."""
        if matching.is_glob(image):  # rows may have the image's id only
            each = [matching.image_names(found) for found in await self.list_images()]
            return frozenset().union(*(names for names in each if any(matching.fits(name, image) for name in names)))
        try:
            found = (await self.image_status(image)).image
        except InvalidArgument:
            return frozenset()
        return matching.image_names(found) if found else frozenset()
