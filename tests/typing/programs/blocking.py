"""A program that uses the blocking client. It is type-checked, not run."""

from __future__ import annotations

from collections.abc import Generator, Mapping

import criadapt
from criadapt.client import ContainerDetails, PodDetails
from criadapt.errors import CriadaptError, NotFound
from criadapt.model.answers import ContainerStatusResponse, ImageStatusResponse
from criadapt.model.container import Container, ContainerConfig, ContainerFilter, ContainerMetadata, ContainerState
from criadapt.model.image import Image, ImageSpec
from criadapt.model.runtime import ContainerEventResponse, ContainerEventType
from criadapt.model.sandbox import PodSandbox, PodSandboxConfig, PodSandboxMetadata


def overview(cri: criadapt.Client) -> dict[str, int | None]:
    """Process ids by container."""
    found: dict[str, int | None] = {}
    for container in cri.containers(namespace="prod-*", running=True, labels={"app": "web"}):
        details: ContainerDetails = cri.details(container.id)
        netns: str | None = details.netns
        found[f"{container.id} {netns} {details.status.exit_code}"] = details.pid
    return found


def one(cri: criadapt.Client) -> tuple[PodSandbox, Container, Container, Container]:
    """Lookups give one."""
    return cri.pod("ns/web"), cri.container("web/app"), cri.container_by_pid(1), cri.container_by_cgroup("/x")


def life(cri: criadapt.Client) -> bytes:
    """A pod from its beginning to its end."""
    config = PodSandboxConfig(metadata=PodSandboxMetadata(name="web", uid="1", namespace="default"))
    pod: str = cri.run_pod_sandbox(config, runtime_handler="runc", timeout=60)
    app = ContainerConfig(
        metadata=ContainerMetadata(name="app"), image=ImageSpec(image="busybox"), command=("sleep", "9")
    )
    container = cri.create_container(pod, app, config)
    cri.start_container(container)
    answer: ContainerStatusResponse = cri.container_status(container, verbose=True)
    if answer.status.state is ContainerState.RUNNING:
        print(answer.info["info"])
    output = cri.exec_sync(container, ["id", "-u"], limit=5).stdout
    cri.stop_container(container, 10)
    cri.remove_pod_sandbox(pod)
    return output


def images(cri: criadapt.Client) -> Image | None:
    """An image may be absent."""
    status: ImageStatusResponse = cri.image_status("busybox")
    return status.image


def watch(cri: criadapt.Client) -> None:
    """Events and streams are generators."""
    events: Generator[ContainerEventResponse, None, None] = cri.events(resync=True, interval=5.0)
    for event in events:
        if event.container_event_type is ContainerEventType.STOPPED:
            break
    rows: list[Container] = list(cri.stream_containers(ContainerFilter(state=ContainerState.RUNNING)))
    pod: PodDetails = cri.pod_details(rows[0].pod_sandbox_id)
    spec: Mapping[str, object] = pod.spec
    print(spec)


def main() -> None:
    """Both ways to connect."""
    try:
        with criadapt.connect("unix:///run/x.sock", timeout=3) as cri:
            print(overview(cri), one(cri), life(cri), images(cri))
            watch(cri)
    except NotFound as error:
        print(error.rpc, error.endpoint)
    except CriadaptError as error:
        print(str(error))
    client = criadapt.connect()
    version: str = client.runtime.runtime_version
    client.close()
    print(version, criadapt.__version__)
