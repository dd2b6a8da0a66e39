"""Who pulls an image: credentials of the request, else what ``docker login`` has stored on this machine."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
import shutil

import docker.auth
import docker.credentials.constants
import docker.errors

from criadapt.errors import PullFailed
from criadapt.model.image import AuthConfig
from criadapt.model.reference import DEFAULT_REGISTRY, ImageRef

log = logging.getLogger(__name__)

HUB = "https://index.docker.io/v1/"
"""The server address of docker.io."""

_SHORTEST = 4  # a shorter secret is no secret, and its letters are in any message


async def credentials(ref: ImageRef, auth: AuthConfig | None) -> AuthConfig | None:
    """What to show to the registry of `ref`; None where there is nothing. Raises PullFailed for a malformed `auth`.

    Of several forms the first counts, in containerd's order: user and password, identity token, the same two in
    ``auth``, registry token. The stored ones may be in the configuration file itself, or with a credential helper.
    """
    given = None if auth is None else _chosen(ref, auth)
    return given or await asyncio.to_thread(_stored, ref)


def header(ref: ImageRef, auth: AuthConfig | None) -> dict[str, str]:
    """The header of ``POST /images/create`` (Docker Engine API, Authentication)."""
    if auth is None:
        return {}
    fields = {
        "username": auth.username,
        "password": auth.password,
        "identitytoken": auth.identity_token,
        "registrytoken": auth.registry_token,
        "serveraddress": HUB if ref.registry == DEFAULT_REGISTRY else ref.registry,
    }
    text = json.dumps({key: value for key, value in fields.items() if value})
    return {"X-Registry-Auth": base64.urlsafe_b64encode(text.encode()).decode()}


def without_secrets(text: str, auth: AuthConfig | None) -> str:
    """The text with all that nobody should read replaced."""
    if auth is not None:
        for secret in (auth.password, auth.identity_token, auth.registry_token):
            if len(secret) >= _SHORTEST:
                text = text.replace(secret, "***")
    return text


def _chosen(ref: ImageRef, auth: AuthConfig) -> AuthConfig | None:
    if auth.username:
        return AuthConfig(username=auth.username, password=auth.password)
    if auth.identity_token:
        return AuthConfig(identity_token=auth.identity_token)
    if auth.auth:
        user, colon, password = _decoded(ref, auth.auth).partition(":")
        if not colon:
            raise PullFailed(f"image {str(ref)!r}: the field 'auth' of the credentials is not USER:PASSWORD in base64")
        return AuthConfig(username=user, password=password)
    return AuthConfig(registry_token=auth.registry_token) if auth.registry_token else None


def _decoded(ref: ImageRef, text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).rstrip(b"\0").decode()
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        # The cause is left out: it may quote what it could not decode.
        raise PullFailed(
            f"image {str(ref)!r}: the field 'auth' of the credentials is not base64 ({type(error).__name__})"
        ) from None


def _stored(ref: ImageRef) -> AuthConfig | None:
    """What is stored for the registry; the file is read anew each time, since people log in at any time."""
    try:
        config = docker.auth.load_config()
        store = config.get_credential_store(ref.registry)
        if store and shutil.which(f"{docker.credentials.constants.PROGRAM_PREFIX}{store}") is None:
            log.warning("credential helper is not installed", extra={"image": str(ref), "helper": store})
            config = docker.auth.AuthConfig({"auths": config.auths})
        found = config.resolve_authconfig(ref.registry) or {}
    except (docker.errors.DockerException, ValueError, OSError) as error:
        log.warning("stored credentials cannot be used", extra={"image": str(ref), "reason": str(error)})
        return None
    fields = {key.lower(): value for key, value in found.items() if value}
    if fields.get("identitytoken"):
        return AuthConfig(identity_token=fields["identitytoken"])
    if fields.get("username"):
        return AuthConfig(username=fields["username"], password=fields.get("password", ""))
    return None
