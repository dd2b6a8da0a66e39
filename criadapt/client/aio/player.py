"""The steps in which a pod comes and goes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from criadapt.client.aio import io
from criadapt.client.aio.images import AsyncImages
from criadapt.client.manifest.folder import prepare
from criadapt.client.manifest.plan import ContainerPlan, PodPlan, PullPolicy
from criadapt.client.manifest.start import ready_config
from criadapt.client.registries import Auth
from criadapt.errors import AlreadyExists, CriadaptError, DeadlineExceeded, FailedPrecondition, NotFound, Unavailable
from criadapt.logs.reader import LogReader
from criadapt.model.container import ContainerFilter, ContainerState, ContainerStatus
from criadapt.model.image import Image
from criadapt.model.sandbox import PodSandboxConfig, PodSandboxFilter, PodSandboxState, PodSandboxStatus

UID_LABEL = "io.kubernetes.pod.uid"
LOG_LINES = 10
"""Lines of a failed init container's log that its error tells."""
FIRST_LOOK, LAST_LOOK = 0.02, 0.5
"""Seconds between two looks at a container that is waited for: short at first, then longer."""
ATTEMPTS = 6
"""How often a runtime that does not answer is asked to clear away."""


class AsyncPlayer(AsyncImages):
    """Plays plans. What it makes carries the pod's uid, by which all of it is found again, whatever went wrong."""

    async def _others(self, plan: PodPlan) -> frozenset[str]:
        """Ids of the sandboxes that are there already. Raises AlreadyExists if a ready one has the pod's name."""
        sandboxes = await self.list_pod_sandbox()
        for sandbox in sandboxes:
            metadata = sandbox.metadata
            if metadata is None or sandbox.state is not PodSandboxState.READY:
                continue
            if (metadata.namespace, metadata.name) == (plan.namespace, plan.name):
                raise AlreadyExists(
                    f"pod {plan.namespace}/{plan.name} runs already, in sandbox {sandbox.id[:13]}; stop and remove it, "
                    "or choose another name"
                )
        return frozenset(sandbox.id for sandbox in sandboxes)

    async def _pull_all(self, plan: PodPlan, policy: PullPolicy | None, auth: Auth) -> dict[str, Image]:
        """The images of a pod by the names that it has for them."""
        return {
            needed.image: await self._provided(needed.image, policy or needed.pull, auth, plan.sandbox)
            for needed in plan.images
        }

    async def _run_sandbox(self, plan: PodPlan, logs: Path) -> tuple[PodSandboxConfig, PodSandboxStatus]:
        config = replace(plan.sandbox, log_directory=str(logs))
        id = await self.run_pod_sandbox(config, runtime_handler=plan.runtime_handler)
        return config, (await self.pod_sandbox_status(id)).status

    async def _start_all(
        self,
        plan: PodPlan,
        sandbox: tuple[PodSandboxConfig, PodSandboxStatus],
        folder: Path,
        images: Mapping[str, Image],
    ) -> dict[str, str]:
        """Run the init containers and start the others. Returns their ids by name."""
        config, status = sandbox
        ips = addresses(status)
        await io.blocking(prepare, plan, folder, ips)
        found = {}
        for container in (*plan.init_containers, *plan.containers):
            own = ready_config(container, folder, ips, images)
            id = found[container.name] = await self.create_container(status.id, own, config)
            await self.start_container(id)
            if container in plan.init_containers and not container.sidecar:
                await self._succeeded(container, id)
        return found

    async def _succeeded(self, container: ContainerPlan, id: str) -> None:
        status = await self._exited(container.name, id, None)
        if status.exit_code == 0:
            return
        why = ", ".join(word for word in (status.reason, status.message) if word)
        lines = await io.blocking(last_lines, status.log_path)
        log = "".join(f"\n  {line}" for line in lines)
        raise FailedPrecondition(
            f"init container {container.name!r} failed with exit code {status.exit_code}{why and f' ({why})'}; "
            + (f"its log ends with:{log}" if lines else "its log is empty")
        )

    async def _exited(self, name: str, id: str, end: float | None) -> ContainerStatus:
        """The container's status when it has exited; DeadlineExceeded if that is not before `end`."""
        pause = FIRST_LOOK
        while True:
            status = (await self.container_status(id)).status
            if status.state is ContainerState.EXITED:
                return status
            if end is not None and time.monotonic() >= end:
                raise DeadlineExceeded(f"container {name!r} has not exited in time; it is {status.state.name}")
            await io.sleep(pause if end is None else max(0.0, min(pause, end - time.monotonic())))
            pause = min(pause * 1.5, LAST_LOOK)

    async def stop_pod(self, pod_sandbox_id: str, grace: int) -> None:
        """Stop a pod's containers side by side, with `grace` seconds to end by themselves, then its sandbox."""
        if grace:
            running = ContainerFilter(pod_sandbox_id=pod_sandbox_id, state=ContainerState.RUNNING)
            tasks = [
                io.spawn(self.stop_container, container.id, grace) for container in await self.list_containers(running)
            ]
            for task in tasks:
                await io.join(task)
        await self.stop_pod_sandbox(pod_sandbox_id)

    async def _clear(self, uid: str, others: Collection[str], folder: Path, grace: int) -> None:
        """Remove the pod, whatever there is of it, and its folder."""
        try:
            pause = FIRST_LOOK
            for attempt in range(ATTEMPTS):
                try:
                    await self._remove(uid, others, grace)
                    return
                except (Unavailable, NotFound):
                    if attempt + 1 == ATTEMPTS:
                        raise
                await io.sleep(pause)
                pause *= 3
        finally:
            await io.blocking(shutil.rmtree, folder, ignore_errors=True)

    async def _remove(self, uid: str, others: Collection[str], grace: int) -> None:
        mine = PodSandboxFilter(label_selector={UID_LABEL: uid})
        for sandbox in await self.list_pod_sandbox(mine):
            if sandbox.id not in others:
                await self.stop_pod(sandbox.id, grace)
                await self.remove_pod_sandbox(sandbox.id)


def addresses(status: PodSandboxStatus) -> tuple[str, ...]:
    """All addresses of a pod, the primary one first."""
    network = status.network
    if network is None or not network.ip:
        return ()
    return (network.ip, *(address.ip for address in network.additional_ips))


def last_lines(path: str) -> list[str]:
    """The end of a log, as far as it can be read."""
    try:
        with LogReader(path, tail=LOG_LINES) as reader:
            return [line.text for line in reader.read()]
    except CriadaptError:
        return []


def absolute(path: str | Path) -> Path:
    """A path as the runtime needs it, whose working directory is another."""
    return Path(path).absolute()
