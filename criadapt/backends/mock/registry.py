"""The pretended registry: every reference can be pulled, except where its path asks for something else.

The first parts of a path are rules, whatever the registry; what follows a rule may be another one:

=========================  ==========================================================
``fail/<how>``             fails: a key of :data:`FAILURES`, anything else is an error of the registry
``slow/<duration>/...``    takes that long: ``30s``, ``500ms``, ``2m``, ``0.5`` (seconds)
``flaky/<n>/...``          fails n times, then works
``private/...``            wants credentials, any
=========================  ==========================================================
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections import Counter

from criadapt.errors import PullFailed, RegistryUnavailable, SignatureValidationFailed
from criadapt.model.image import AuthConfig
from criadapt.model.reference import ImageRef

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "": 1.0}
_DOCKER_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")

FAILURES: dict[str, tuple[type[PullFailed], str]] = {
    "not-found": (PullFailed, "manifest for {ref} not found: manifest unknown; check the name and the tag"),
    "unauthorized": (
        PullFailed,
        "failed to authorize {ref}: 401 Unauthorized; these credentials give no access, check the pull secret",
    ),
    "unavailable": (
        RegistryUnavailable,
        "cannot reach {host} for {ref}: 503 Service Unavailable; try again later",
    ),
    "signature": (
        SignatureValidationFailed,
        "{ref} is not signed by a key the policy trusts; sign it or change the policy",
    ),
    "rate-limited": (
        PullFailed,
        "{ref}: 429 Too Many Requests: the pull rate limit of {host} is reached; log in or wait",
    ),
    "disk-full": (
        PullFailed,
        "failed to extract a layer of {ref}: no space left on device; remove unused images",
    ),
    "no-such-host": (
        RegistryUnavailable,
        "dial tcp: lookup {host}: no such host; check the registry's name and the node's DNS",
    ),
}


class Registry:
    """All registries there are; remembers how often a flaky one failed."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._failures: Counter[str] = Counter()

    async def fetch(self, ref: ImageRef, auth: AuthConfig | None) -> None:
        """Take the time a pull takes; return when it works. Raises PullFailed, or its kind, when it does not."""
        await asyncio.sleep(self._delay)
        parts = ref.path.split("/")
        while len(parts) > 1:
            rule, value = parts[0], parts[1]
            if rule == "fail":
                raise _failure(value, ref)
            if rule == "slow" and (found := _DURATION.fullmatch(value)):
                await asyncio.sleep(float(found[1]) * _SECONDS[found[2]])
                parts = parts[2:]
            elif rule == "flaky" and value.isdigit():
                self._fail_at_first(ref, int(value))
                parts = parts[2:]
            elif rule == "private":
                _check(ref, auth)
                parts = parts[1:]
            else:
                return

    def _fail_at_first(self, ref: ImageRef, times: int) -> None:
        done = self._failures[str(ref)]
        if done < times:
            self._failures[str(ref)] += 1
            raise PullFailed(f"failed to copy {ref}: unexpected EOF (failure {done + 1} of {times}); try again")


def _failure(how: str, ref: ImageRef) -> PullFailed:
    kind, text = FAILURES.get(how, (PullFailed, f"{{host}} answered {how!r} for {{ref}}; look at the registry"))
    return kind(text.format(ref=ref, host=ref.registry))


def _check(ref: ImageRef, auth: AuthConfig | None) -> None:
    """Raises PullFailed when there are no credentials for the registry of `ref`."""
    if auth is None:
        raise PullFailed(f"{ref}: 401 Unauthorized: authentication required; add a pull secret for {ref.registry}")
    if auth.server_address and _host(auth.server_address) != _host(ref.registry):
        raise PullFailed(
            f"{ref}: 401 Unauthorized: the credentials are for {_host(auth.server_address)}, not for {ref.registry}"
        )
    if not ((auth.username and auth.password) or auth.identity_token or _pair(ref, auth.auth) or auth.registry_token):
        raise PullFailed(f"{ref}: 401 Unauthorized: the credentials are empty; give a user and a password or a token")


def _pair(ref: ImageRef, encoded: str) -> bool:
    """Whether `encoded` holds a user and a password."""
    if not encoded:
        return False
    try:
        user, _, password = base64.b64decode(encoded, validate=True).rstrip(b"\0").partition(b":")
    except binascii.Error as error:
        raise PullFailed(f"{ref}: the field 'auth' of the credentials is not base64: {error}") from error
    return bool(user and password)


def _host(address: str) -> str:
    host = address.rpartition("://")[2].partition("/")[0]
    return _DOCKER_HUB[0] if host in _DOCKER_HUB else host
