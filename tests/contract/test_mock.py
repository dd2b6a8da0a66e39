"""The mock backend keeps the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import ClassVar

import pytest

from criadapt.backends.mock import MockBackend, MockOptions
from criadapt.testing import BackendContract


class TestMock(BackendContract):
    same_images: ClassVar[tuple[str, str] | None] = ("registry.k8s.io/pause:3.9", "k8s.gcr.io/pause:3.9")
    missing_image: ClassVar[str] = "example.com/fail/not-found:latest"
    slow_image: ClassVar[str] = "example.com/slow/30s/app:latest"

    @pytest.fixture
    async def backend(self, tmp_path: Path) -> AsyncIterator[MockBackend]:
        async with MockBackend(MockOptions(), state_dir=tmp_path) as backend:
            yield backend
