"""The part of the plugin that needs pytest-asyncio; :mod:`criadapt.testing.plugin` loads it where there is one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest_asyncio

if TYPE_CHECKING:
    from criadapt.client import AsyncClient
    from criadapt.testing.server import RunningServer


@pytest_asyncio.fixture
async def acri(cri_server: RunningServer) -> AsyncIterator[AsyncClient]:
    """An asynchronous client of ``cri_server``."""
    import criadapt

    async with criadapt.aconnect(cri_server.endpoint) as client:
        yield client
