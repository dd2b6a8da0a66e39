"""The client as a whole, and how a connection comes about."""

from __future__ import annotations

import re
from types import TracebackType
from typing import Self

from criadapt.client.aio import io
from criadapt.client.aio.events import AsyncEvents
from criadapt.client.aio.logs import AsyncLogs
from criadapt.client.aio.pods import AsyncPods
from criadapt.client.aio.streams import AsyncStreams
from criadapt.client.discover import Endpoints, candidates, nobody, probe
from criadapt.errors import CriadaptError, Unavailable, Unsupported
from criadapt.model.answers import VersionResponse

OLD_VERSION = "/runtime.v1alpha2.RuntimeService/Version"
NO_GRPC = re.compile(r"http1|expected settings frame", re.IGNORECASE)  # what gRPC says of other protocols


class AsyncClient(AsyncEvents, AsyncLogs, AsyncPods, AsyncStreams):
    """A runtime. Made by :func:`criadapt.aconnect`; a context manager that closes itself.

    Every call has a deadline and raises the classes of :mod:`criadapt.errors`, with the call and the endpoint in their
    ``rpc`` and ``endpoint``. What only reads is asked a second time when the connection turns out to be broken, as it
    is after a restart of the runtime; nothing else is repeated.
    """

    runtime: VersionResponse
    """Name and version of the runtime, as it told them on connecting."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _greeted(self) -> VersionResponse:
        """Name and version of the runtime, or the reason why there is none."""
        try:
            return await self.version()
        except Unavailable as error:
            if not NO_GRPC.search(str(error)):
                raise
            raise Unsupported(f"{self.endpoint} does not speak gRPC, so it is no CRI runtime") from error
        except Unsupported as error:
            if await self._answers(OLD_VERSION):
                why = "speaks only CRI v1alpha2, which Kubernetes left with 1.26; use a newer runtime"
            else:
                why = "speaks gRPC but not CRI v1; of containerd, the CRI plugin may be disabled in its config.toml"
            raise Unsupported(f"{self.endpoint} {why}") from error

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.endpoint}>"


async def open_client(endpoint: str | None, image_endpoint: str | None, timeout: float) -> AsyncClient:
    """A client of the first place in which there is a runtime."""
    tried: dict[str, CriadaptError] = {}
    for endpoints in await io.blocking(lambda: list(candidates(endpoint, image_endpoint))):
        try:
            return await _connected(endpoints, timeout)
        except CriadaptError as error:
            if endpoints.explicit:
                raise
            tried[f"{endpoints.runtime} ({endpoints.origin})"] = error
    raise nobody(tried)


async def _connected(endpoints: Endpoints, timeout: float) -> AsyncClient:
    """A client that has been answered. Raises what is wrong with the place, in words that help."""
    client: AsyncClient | None = None
    try:
        for endpoint in {endpoints.runtime, endpoints.image}:
            await io.blocking(probe, endpoint)
        client = AsyncClient(endpoints, timeout=timeout)
        client.runtime = await client._greeted()
    except BaseException as error:
        if client is not None:
            await client.aclose()
        if isinstance(error, CriadaptError):
            error.endpoint = error.endpoint or endpoints.runtime
        raise
    return client
