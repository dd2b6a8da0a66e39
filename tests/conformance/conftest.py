"""The server that the conformance tests talk to. Nothing here or there knows more of it than a client can see."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from criadapt import AsyncClient
from criadapt.testing.colours import COLOURS, connected
from criadapt.testing.inprocess import InProcess, serving_inprocess


@pytest.fixture
async def server(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[InProcess]:
    """A new server; whatever a test does to it, nothing may be logged as an error."""
    async with serving_inprocess(tmp_path) as server:
        yield server
    if request.node.get_closest_marker("xfail") is None:
        assert server.errors == []


@pytest.fixture(params=COLOURS)
async def client(request: pytest.FixtureRequest, server: InProcess) -> AsyncIterator[AsyncClient]:
    """Our own client of the server, asynchronous and blocking in turn."""
    async with connected(request.param, f"unix://{server.socket}") as client:
        yield client
