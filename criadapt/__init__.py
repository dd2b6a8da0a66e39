"""Kubernetes Container Runtime Interface for Python: serve any engine as CRI, talk to any CRI runtime."""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it for true; importing it from typing would take longer than all the rest
if TYPE_CHECKING:
    from criadapt.client import AsyncClient, Client, aconnect, connect

__version__ = "0.1.0"
__all__ = ["AsyncClient", "Client", "__version__", "aconnect", "connect"]

if not TYPE_CHECKING:  # or else every misspelt name would be an object to a type checker

    def __getattr__(name: str) -> object:
        """The client's names, on first use: gRPC and protobuf take their time, and a server needs no client."""
        if name not in __all__:
            raise AttributeError(f"module 'criadapt' has no attribute {name!r}")
        from importlib import import_module

        found = globals()[name] = getattr(import_module("criadapt.client"), name)
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
