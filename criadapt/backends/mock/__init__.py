"""The mock: an engine in memory whose containers run scripted programs. No root, no kernel features, no images."""

from criadapt.backends.mock.engine import MockBackend
from criadapt.backends.mock.options import MockOptions

__all__ = ["MockBackend", "MockOptions"]
