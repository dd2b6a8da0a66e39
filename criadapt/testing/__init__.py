"""For authors of backends: the tests that a backend has to pass. Needs pytest and pytest-asyncio.

For everybody's tests of what talks CRI: the fixtures of :mod:`criadapt.testing.plugin`, which pytest finds by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from criadapt.testing.contract import BackendContract

__all__ = ["BackendContract"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """The contract, on first use: every pytest on the machine imports this package for its plugin."""
        if name not in __all__:
            raise AttributeError(f"module 'criadapt.testing' has no attribute {name!r}")
        from criadapt.testing import contract

        return getattr(contract, name)
