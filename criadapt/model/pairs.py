"""Labels, annotations and other string maps."""

from __future__ import annotations

from collections.abc import Mapping

_NOTHING: Mapping[str, str] = {}


def nothing() -> Mapping[str, str]:
    """The one empty map that all objects without pairs share: a node has thousands of them."""
    return _NOTHING
