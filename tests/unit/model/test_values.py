"""What all model classes have in common, and the small rules among them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest

from criadapt.cri.codec import MESSAGES
from criadapt.model.filters import labels_match
from criadapt.model.image import AuthConfig
from criadapt.model.pairs import nothing


@pytest.mark.parametrize("cls", MESSAGES, ids=lambda cls: cls.__name__)
def test_a_model_is_frozen_and_complete_without_arguments(cls: type) -> None:
    value = cls()
    assert value == cls()
    assert dataclasses.fields(cls)
    with pytest.raises(AttributeError):
        setattr(value, dataclasses.fields(cls)[0].name, None)


@pytest.mark.parametrize("cls", MESSAGES, ids=lambda cls: cls.__name__)
def test_objects_without_pairs_share_one_empty_map(cls: type) -> None:
    for field in dataclasses.fields(cls):
        value = getattr(cls(), field.name)
        assert value is nothing() or not isinstance(value, Mapping), field.name
    assert nothing() == {}


def test_secrets_do_not_show() -> None:
    auth = AuthConfig(username="me", password="s1", auth="s2", identity_token="s3", registry_token="s4")
    assert "me" in repr(auth)
    assert not any(secret in repr(auth) for secret in ("s1", "s2", "s3", "s4"))


@pytest.mark.parametrize(
    ("labels", "selector", "expected"),
    [
        ({}, {}, True),
        ({"a": "1"}, {}, True),
        ({"a": "1", "b": "2"}, {"a": "1"}, True),
        ({"a": "1", "b": "2"}, {"a": "1", "b": "2"}, True),
        ({"a": "1"}, {"a": "2"}, False),
        ({"a": "1"}, {"a": "1", "b": ""}, False),
        ({"a": ""}, {"a": ""}, True),
    ],
)
def test_a_selector_is_equality_on_every_pair(labels: dict[str, str], selector: dict[str, str], expected: bool) -> None:
    assert labels_match(labels, selector) is expected
