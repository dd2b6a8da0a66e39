"""For authors of backends: the tests that a backend has to pass. Needs pytest and pytest-asyncio."""

from criadapt.testing.contract import BackendContract

__all__ = ["BackendContract"]
