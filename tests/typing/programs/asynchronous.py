"""A program that uses the asynchronous client. It is type-checked, not run."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import criadapt
from criadapt.client import ContainerDetails
from criadapt.model.container import Container
from criadapt.model.image import AuthConfig
from criadapt.model.runtime import CgroupDriver, ContainerEventResponse
from criadapt.model.sandbox import PodSandbox
from criadapt.model.stats import PodSandboxMetrics


async def overview(cri: criadapt.AsyncClient) -> list[int]:
    """Process ids of running containers."""
    rows: tuple[Container, ...] = await cri.containers(pod="web-*", running=True)
    details: list[ContainerDetails] = [await cri.details(row.id) for row in rows]
    return [one.pid for one in details if one.pid is not None]


async def calls(cri: criadapt.AsyncClient) -> None:
    """RPCs."""
    driver: CgroupDriver = await cri.runtime_config(timeout=1.5)
    image: str = await cri.pull_image("busybox", auth=AuthConfig(username="u", password="p"))
    url: str = await cri.prepare_exec("id", ("ls", "-l"), tty=True, stderr=False)
    metrics: tuple[PodSandboxMetrics, ...] = await cri.list_pod_sandbox_metrics()
    ready: tuple[PodSandbox, ...] = await cri.pods(ready=True)
    print(driver, image, url, metrics, ready)


async def watch(cri: criadapt.AsyncClient) -> None:
    """Events and streams are asynchronous generators."""
    events: AsyncGenerator[ContainerEventResponse, None] = cri.events()
    async for event in events:
        print(event.container_id)
    await events.aclose()
    async for pod in cri.stream_pod_sandboxes():
        print(pod.id)


async def main() -> None:
    """Both ways to connect."""
    async with criadapt.aconnect() as cri:
        await overview(cri)
    client: criadapt.AsyncClient = await criadapt.aconnect("localhost:3735", timeout=5)
    await client.aclose()
