"""Pods that are run from a few words or from a manifest, and leave nothing behind."""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from criadapt.client.aio import io
from criadapt.client.aio.player import AsyncPlayer, absolute, addresses
from criadapt.client.manifest.plan import PodPlan, PullPolicy
from criadapt.client.manifest.simple import simple_plan
from criadapt.client.manifest.source import Source, read_manifest
from criadapt.client.registries import Auth
from criadapt.errors import CriadaptError, InvalidArgument, NotFound
from criadapt.model.container import Mount
from criadapt.model.sandbox import PodSandboxStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncPod:
    """A pod that runs. Made by :meth:`AsyncPods.run_pod`."""

    client: AsyncPods = field(repr=False)
    plan: PodPlan = field(repr=False)
    id: str
    name: str
    namespace: str
    uid: str
    ips: tuple[str, ...]
    """Its addresses; none on the host's network."""
    folder: Path
    """Where its volumes are, and its logs unless they were wanted elsewhere."""
    log_directory: Path
    containers: Mapping[str, str]
    """Ids of its containers by their names, init containers included."""

    @property
    def ip(self) -> str:
        """Its first address; empty on the host's network."""
        return self.ips[0] if self.ips else ""

    async def status(self) -> PodSandboxStatus:
        """Its sandbox's status."""
        return (await self.client.pod_sandbox_status(self.id)).status

    async def wait(self, *names: str, timeout: float | None = None) -> dict[str, int]:
        """Wait until its containers have exited, or those that are named; returns their exit codes by name.

        Init containers count only when they are named. Raises DeadlineExceeded after `timeout` seconds, and NotFound
        for a container that does not exist.
        """
        end = None if timeout is None else time.monotonic() + timeout
        codes = {}
        for name in names or [container.name for container in self.plan.containers]:
            if name not in self.containers:
                raise NotFound(f"pod {self.name!r} has no container {name!r}; it has {', '.join(self.containers)}")
            codes[name] = (await self.client._exited(name, self.containers[name], end)).exit_code
        return codes

    async def stop(self, grace: int | None = None) -> None:
        """Stop its containers, with so many seconds to end by themselves, and its sandbox; all can still be looked at.

        Success when it is stopped.
        """
        await self.client.stop_pod(self.id, self.plan.grace if grace is None else grace)


class AsyncPods(AsyncPlayer):
    """Whole pods."""

    @asynccontextmanager
    async def run_pod(
        self,
        manifest: Source | PodPlan | None = None,
        *,
        image: str = "",
        command: Sequence[str] = (),
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        name: str | None = None,
        namespace: str = "default",
        labels: Mapping[str, str] | None = None,
        mounts: Sequence[Mount] = (),
        runtime_handler: str = "",
        log_directory: str | Path | None = None,
        pull: PullPolicy | None = None,
        auth: Auth = None,
        keep: bool = False,
        grace: int | None = None,
    ) -> AsyncIterator[AsyncPod]:
        """A pod for as long as the block lasts: of one container ``app``, or what a manifest or a plan says.

        `pull` overrides the manifest; without one an image is pulled that is not present. `auth` is as for
        :meth:`pull`. Logs go to `log_directory`, which stays, or else to the pod's own folder, which goes with it; with
        `keep` a pod that was started stays with all it has. `grace` is how many seconds containers get to end by
        themselves when the block ends well. Whatever fails or is cancelled on the way, nothing stays behind.

        Raises AlreadyExists when a ready pod has this name, FailedPrecondition when an init container fails, and what
        :func:`~criadapt.client.manifest.read_manifest` and the runtime raise.
        """
        if manifest is None:
            if not image:
                raise InvalidArgument("image: missing; give the image of the pod's container, or a manifest")
            plan = simple_plan(
                image,
                command=command,
                args=args,
                env=env,
                name=name,
                namespace=namespace,
                labels=labels,
                mounts=mounts,
                runtime_handler=runtime_handler,
            )
        elif image or command or args or env or name or labels or mounts or runtime_handler:
            raise InvalidArgument("a manifest says all about a pod; image, command, … go without one")
        else:
            plan = manifest if isinstance(manifest, PodPlan) else _only(await io.blocking(read_manifest, manifest))
        others = await self._others(plan)
        folder = Path(tempfile.mkdtemp(prefix="criadapt-pod-"))
        logs = folder / "logs" if log_directory is None else absolute(log_directory)
        started = False
        try:
            pod = await self._play(plan, folder, logs, pull, auth)
            started = True
            yield pod
        except BaseException as error:
            if not (keep and started):
                try:
                    await self._clear(plan.uid, others, folder, 0)
                except CriadaptError as left:
                    error.add_note(f"pod {plan.namespace}/{plan.name} may be left behind, uid {plan.uid}: {left}")
            raise
        if not keep:
            await self._clear(plan.uid, others, folder, plan.grace if grace is None else grace)

    @asynccontextmanager
    async def run_pods(
        self,
        manifest: Source | Sequence[PodPlan],
        *,
        log_directory: str | Path | None = None,
        pull: PullPolicy | None = None,
        auth: Auth = None,
        keep: bool = False,
        grace: int | None = None,
    ) -> AsyncIterator[tuple[AsyncPod, ...]]:
        """All pods of a manifest, started in its order, as :meth:`run_pod` does it.

        In `log_directory` each pod has a folder of its own, named as kubelet names it.
        """
        if isinstance(manifest, (str, Path, Mapping)):
            plans: Sequence[PodPlan] = await io.blocking(read_manifest, manifest)
        else:
            plans = manifest
        async with AsyncExitStack() as stack:
            pods = []
            for plan in plans:
                logs = Path(log_directory) / f"{plan.namespace}_{plan.name}_{plan.uid}" if log_directory else None
                running = self.run_pod(plan, log_directory=logs, pull=pull, auth=auth, keep=keep, grace=grace)
                pods.append(await stack.enter_async_context(running))
            yield tuple(pods)

    async def _play(self, plan: PodPlan, folder: Path, logs: Path, pull: PullPolicy | None, auth: Auth) -> AsyncPod:
        images = await self._pull_all(plan, pull, auth)
        sandbox = await self._run_sandbox(plan, logs)
        _, status = sandbox
        return AsyncPod(
            client=self,
            plan=plan,
            id=status.id,
            name=plan.name,
            namespace=plan.namespace,
            uid=plan.uid,
            ips=addresses(status),
            folder=folder,
            log_directory=logs,
            containers=await self._start_all(plan, sandbox, folder, images),
        )


def _only(plans: Sequence[PodPlan]) -> PodPlan:
    if len(plans) != 1:
        raise InvalidArgument(
            f"the manifest has {len(plans)} pods; use run_pods, or read_manifest and one of its plans"
        )
    return plans[0]
