"""Credentials as `docker login` stores them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from criadapt.client.registries import credentials, docker_config, docker_credentials
from criadapt.errors import InvalidArgument, NotFound
from criadapt.model.image import AuthConfig

ME = {"auth": base64.b64encode(b"me:se:cret").decode()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.json"


@pytest.mark.parametrize(
    ("registry", "key"),
    [
        ("quay.io", "quay.io"),
        ("localhost:5000", "https://localhost:5000"),
        ("quay.io", "https://quay.io/v1/"),
        ("docker.io", "https://index.docker.io/v1/"),
        ("docker.io", "docker.io"),
    ],
)
def test_a_registry_s_entry_under_any_of_its_names(path: Path, registry: str, key: str) -> None:
    path.write_text(json.dumps({"auths": {"other.io": {}, key: ME}}))
    assert docker_credentials(registry, path) == AuthConfig(username="me", password="se:cret", server_address=registry)


def test_a_token_instead_of_a_password(path: Path) -> None:
    path.write_text(json.dumps({"auths": {"quay.io": {"identitytoken": "abc"}}}))
    assert docker_credentials("quay.io", path) == AuthConfig(identity_token="abc", server_address="quay.io")


@pytest.mark.parametrize("config", [{}, {"auths": {"other.io": ME}}, {"auths": {"quay.io": {}}}, {"credsStore": "x"}])
def test_a_registry_without_an_entry_needs_none(path: Path, config: dict[str, Any]) -> None:
    path.write_text(json.dumps(config))
    assert docker_credentials("quay.io", path) is None


@pytest.mark.parametrize(
    "config", [{"credHelpers": {"quay.io": "desktop"}}, {"auths": {"quay.io": {}}, "credsStore": "desktop"}]
)
def test_a_credential_helper_is_named(path: Path, config: dict[str, Any]) -> None:
    path.write_text(json.dumps(config))
    with pytest.raises(InvalidArgument, match=r"quay\.io to the credential helper 'desktop'.*pass an AuthConfig"):
        docker_credentials("quay.io", path)


def test_a_file_that_is_not_there_or_not_right(path: Path) -> None:
    with pytest.raises(NotFound, match="`docker login` makes it"):
        docker_credentials("quay.io", path)
    for text, words in (
        ("{", "cannot be read"),
        ("[]", "is not a table"),
        (json.dumps({"auths": {"quay.io": {"auth": "!"}}}), "not base64"),
    ):
        path.write_text(text)
        with pytest.raises(InvalidArgument, match=words):
            docker_credentials("quay.io", path)


def test_where_docker_s_configuration_is() -> None:
    assert docker_config({"DOCKER_CONFIG": "/c"}) == Path("/c/config.json")
    assert docker_config({"HOME": "/home/me"}) == Path("/home/me/.docker/config.json")


def test_which_credentials_go_with_an_image(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(path.parent))
    path.write_text(json.dumps({"auths": {"quay.io": ME}}))
    given = AuthConfig(username="you")
    assert credentials(given, "quay.io/a") is given
    assert credentials(None, "quay.io/a") is None
    found = credentials("docker-config", "quay.io/a")
    assert found is not None
    assert found.username == "me"
    assert credentials("docker-config", "a" * 64) is None
    with pytest.raises(InvalidArgument, match="must be an AuthConfig or 'docker-config'"):
        credentials("me:secret", "quay.io/a")  # type: ignore[arg-type]
