"""Talk to any CRI runtime: containerd, CRI-O, cri-dockerd, criadapt.

    with criadapt.connect() as cri:
        for container in cri.containers(namespace="prod", running=True):
            print(container.id, cri.details(container.id).pid)

:class:`Client` blocks and may be used from many threads at once; :class:`AsyncClient` is for asyncio and belongs to the
event loop it was made in. Neither survives a ``fork``: connect after it, as gRPC wants it.
"""

from __future__ import annotations

from collections.abc import Generator
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from criadapt.client.aio.client import AsyncClient
    from criadapt.client.aio.forward import AsyncForwardedStream, AsyncPortForward
    from criadapt.client.aio.pods import AsyncPod
    from criadapt.client.aio.process import AsyncProcess
    from criadapt.client.completed import CommandFailed, Completed
    from criadapt.client.info import ContainerDetails, PodDetails
    from criadapt.client.sync.client import Client
    from criadapt.client.sync.forward import ForwardedStream, PortForward
    from criadapt.client.sync.pods import Pod
    from criadapt.client.sync.process import Process
    from criadapt.logs.lines import LogLine

_PLACES = {
    "AsyncClient": "criadapt.client.aio.client",
    "AsyncForwardedStream": "criadapt.client.aio.forward",
    "AsyncPod": "criadapt.client.aio.pods",
    "AsyncPortForward": "criadapt.client.aio.forward",
    "AsyncProcess": "criadapt.client.aio.process",
    "Client": "criadapt.client.sync.client",
    "CommandFailed": "criadapt.client.completed",
    "Completed": "criadapt.client.completed",
    "ContainerDetails": "criadapt.client.info",
    "ForwardedStream": "criadapt.client.sync.forward",
    "LogLine": "criadapt.logs.lines",
    "Pod": "criadapt.client.sync.pods",
    "PodDetails": "criadapt.client.info",
    "PortForward": "criadapt.client.sync.forward",
    "Process": "criadapt.client.sync.process",
}
"""Where the names are, for each is loaded on first use: few programs need both colours."""

__all__ = [
    "AsyncClient",
    "AsyncForwardedStream",
    "AsyncPod",
    "AsyncPortForward",
    "AsyncProcess",
    "Client",
    "CommandFailed",
    "Completed",
    "Connecting",
    "ContainerDetails",
    "ForwardedStream",
    "LogLine",
    "Pod",
    "PodDetails",
    "PortForward",
    "Process",
    "aconnect",
    "connect",
]


def connect(endpoint: str | None = None, *, image_endpoint: str | None = None, timeout: float = 10.0) -> Client:
    """A client of a CRI runtime: a context manager, or else to be closed by its ``close()``.

    `endpoint` is ``unix:///path``, ``/path`` or ``host:port``; without one, :mod:`criadapt.client.discover` says where
    is looked. `image_endpoint` is for runtimes whose image service is elsewhere. `timeout` is the deadline in seconds
    of every call that does not need longer by its nature.

    Raises NotFound, PermissionDenied or Unavailable where there is no runtime, DeadlineExceeded where it does not
    answer, Unsupported where there is something else or one that is too old, InvalidArgument for an endpoint that is
    none.
    """
    from criadapt.client.sync.client import open_client

    return open_client(endpoint, image_endpoint, timeout)


def aconnect(endpoint: str | None = None, *, image_endpoint: str | None = None, timeout: float = 10.0) -> Connecting:
    """The same for asyncio: ``async with aconnect() as cri`` or ``cri = await aconnect()``; see :func:`connect`."""
    return Connecting(endpoint, image_endpoint, timeout)


class Connecting:
    """A client that is about to be; await it or enter it, once."""

    def __init__(self, endpoint: str | None, image_endpoint: str | None, timeout: float) -> None:
        self._arguments = endpoint, image_endpoint, timeout
        self._client: AsyncClient | None = None

    def __await__(self) -> Generator[object, None, AsyncClient]:
        from criadapt.client.aio.client import open_client

        return open_client(*self._arguments).__await__()

    async def __aenter__(self) -> AsyncClient:
        self._client = await self
        return self._client

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._client is not None:
            await self._client.aclose()


if not TYPE_CHECKING:  # or else every misspelt name would be an object to a type checker

    def __getattr__(name: str) -> object:
        if name not in _PLACES:
            raise AttributeError(f"module 'criadapt.client' has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(_PLACES[name]), name)
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
