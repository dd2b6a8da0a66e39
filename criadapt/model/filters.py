"""What a list filter lets through. Id filters are resolved (prefix → full id) by the store before they come here."""

from __future__ import annotations

from collections.abc import Mapping


def labels_match(labels: Mapping[str, str], selector: Mapping[str, str]) -> bool:
    """Whether every pair of `selector` stands in `labels`; an empty selector lets everything through."""
    return all(labels.get(key) == value for key, value in selector.items())
