"""A program with mistakes that a type checker has to find: each line says which. It is never run."""

# ruff: noqa: B018
from __future__ import annotations

import criadapt
from criadapt.model.container import ContainerFilter


def blocking(cri: criadapt.Client) -> None:
    """Mistakes with the blocking client."""
    cri.start_container(7)  # error: arg-type
    cri.stop_container()  # error: call-arg
    cri.exec_sync("id", ["ls"], limt=5)  # error: call-arg
    cri.list_container()  # error: attr-defined
    cri.run_pod_sandbox({"metadata": {"name": "web"}})  # error: arg-type
    cri.version().runtime_nam  # error: attr-defined
    name: int = cri.pod("web").id  # error: assignment
    cri.list_containers(ContainerFilter(state="RUNNING"))  # error: arg-type
    cri.image_status("busybox").image.id  # error: union-attr
    cri.details("id").pid + 1  # error: operator
    cri.containers(runing=True)  # error: call-arg
    for event in cri.events():
        event.container  # error: attr-defined
    cri.aclose()  # error: attr-defined
    with criadapt.connect(7) as other:  # error: arg-type
        print(other, name)


async def asynchronous(cri: criadapt.AsyncClient) -> None:
    """Mistakes with the asynchronous client."""
    cri.version().runtime_name  # error: attr-defined
    await cri.events()  # error: misc
    for pod in cri.stream_pod_sandboxes():  # error: attr-defined
        print(pod)
    with criadapt.aconnect() as other:  # error: attr-defined
        print(other)
    criadapt.conect()  # error: attr-defined
