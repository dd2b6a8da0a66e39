"""The contract: what every backend does, as tests.

A backend's author writes a fixture and gets the tests::

    class TestMine(BackendContract):
        @pytest.fixture
        async def backend(self, tmp_path):
            async with MyBackend(MyBackend.Options(), state_dir=tmp_path) as backend:
                yield backend

and, where the defaults do not fit, other class attributes. What a backend cannot do (it raises Unsupported) is
skipped with the reason it gives; everything else counts.
"""

from __future__ import annotations

from criadapt.testing.connections import ConnectionContract
from criadapt.testing.images import ImageContract
from criadapt.testing.life import LifeContract
from criadapt.testing.processes import ProcessContract
from criadapt.testing.resources import ResourceContract


class BackendContract(LifeContract, ProcessContract, ConnectionContract, ResourceContract, ImageContract):
    """Subclass it with a fixture `backend` that gives an opened backend."""
