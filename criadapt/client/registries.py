"""Credentials for registries, from where Docker keeps them."""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias

from criadapt.errors import InvalidArgument, NotFound
from criadapt.model.image import AuthConfig
from criadapt.model.reference import DEFAULT_REGISTRY, ImageRef, is_image_id

Auth: TypeAlias = AuthConfig | Literal["docker-config"] | None
"""Credentials, where to look for them, or none."""

HUB = ("https://index.docker.io/v1/", "index.docker.io", "registry-1.docker.io")
"""Docker Hub's names in the file, besides its own."""


def credentials(auth: Auth, image: str) -> AuthConfig | None:
    """What to send with the pull of an image."""
    if auth is None or isinstance(auth, AuthConfig):
        return auth
    if auth != "docker-config":
        raise InvalidArgument(f"auth is {auth!r}; it must be an AuthConfig or 'docker-config'")
    if is_image_id(image):
        return None
    return docker_credentials(ImageRef.parse(image).registry, docker_config(os.environ))


def docker_config(env: Mapping[str, str]) -> Path:
    """Where Docker's client keeps its configuration."""
    folder = env.get("DOCKER_CONFIG", "")
    return Path(folder or Path(env.get("HOME") or Path.home()) / ".docker") / "config.json"


def docker_credentials(registry: str, path: Path) -> AuthConfig | None:
    """Credentials for a registry from a config.json; None if it has none, for then none are needed.

    Raises NotFound without the file, and InvalidArgument for one that cannot be understood, or that leaves this
    registry to a credential helper.
    """
    config = _config(path)
    helpers = config.get("credHelpers")
    auths = config.get("auths")
    names = [
        registry,
        f"https://{registry}",
        f"https://{registry}/",
        f"https://{registry}/v1/",
        f"https://{registry}/v2/",
    ]
    if registry == DEFAULT_REGISTRY:
        names += HUB
    entry = next((auths[name] for name in names if name in auths), None) if isinstance(auths, Mapping) else None
    if isinstance(entry, Mapping) and (found := _entry(entry, registry, path)) is not None:
        return found
    store = config.get("credsStore") if entry is not None else None
    if isinstance(helpers, Mapping):
        store = next((helpers[name] for name in names if name in helpers), store)
    if store:
        raise InvalidArgument(
            f"{path} leaves {registry} to the credential helper {str(store)!r}, which is not asked from here; pass an "
            "AuthConfig"
        )
    return None


def _config(path: Path) -> Mapping[str, object]:
    try:
        config = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise NotFound(f"{path} does not exist; `docker login` makes it") from None
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"{path} cannot be read: {error}") from error
    if not isinstance(config, Mapping):
        raise InvalidArgument(f"{path} is not a table of settings")
    return config


def _entry(entry: Mapping[str, object], registry: str, path: Path) -> AuthConfig | None:
    token, auth = str(entry.get("identitytoken") or ""), str(entry.get("auth") or "")
    username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if auth:
        try:
            username, _, password = base64.b64decode(auth, validate=True).decode().rstrip("\0").partition(":")
        except (binascii.Error, ValueError):
            raise InvalidArgument(f"{path}: the entry of {registry} has an auth that is not base64") from None
    if not (username or token):
        return None
    return AuthConfig(username=username, password=password, identity_token=token, server_address=registry)
