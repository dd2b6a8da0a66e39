"""Pulling an image: the engine does it as long as somebody listens, and says how far it is."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from criadapt.backends.docker import wire
from criadapt.backends.docker.credentials import credentials, header, without_secrets
from criadapt.errors import CriadaptError, PullFailed, RegistryUnavailable
from criadapt.model.image import AuthConfig
from criadapt.model.reference import ImageRef

if TYPE_CHECKING:
    from criadapt.backends.docker.engine import DockerBackend

_MAX_LINE = 1024 * 1024  # bytes of one report
_OURS = "Docker Engine"  # how messages about the engine itself begin, whatever the registry did
_QUERY = re.compile(r"\?[^\s\"']+")  # of a URL: signed ones give access

NO_LOGIN = "log in: add a pull secret for {host}, or run `docker login {host}` on this machine"
BAD_LOGIN = "the credentials give no access; check the pull secret for {host}"

CAUSES: tuple[tuple[re.Pattern[str], type[PullFailed], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), kind, advice)
    for pattern, kind, advice in (
        (r"toomanyrequests|too many requests|rate limit", PullFailed, "log in to {host}, or wait"),
        (r"no space left on device|disk quota exceeded", PullFailed, "remove unused images, or enlarge the disk"),
        (r"pull access denied", PullFailed, "check the name; if it is right, {login}"),
        (r"no basic auth credentials", PullFailed, NO_LOGIN),
        (r"unauthorized|authentication required|denied|forbidden|\b40[13]\b", PullFailed, "{login}"),
        (r"no matching manifest|does not match the specified platform", PullFailed, "pull an image for this platform"),
        (r"manifest unknown|name unknown|not found", PullFailed, "check the name and the tag"),
        (
            r"server gave http response to https client|does not look like a tls handshake",
            PullFailed,
            "list {host} in the engine's insecure-registries",
        ),
        (
            r"x509|certificate",
            PullFailed,
            "give the engine the registry's certificate authority: /etc/docker/certs.d/{host}/ca.crt",
        ),
        (
            r"no such host|server misbehaving|temporary failure in name resolution",
            RegistryUnavailable,
            "check the registry's name and this machine's DNS",
        ),
        (
            r"connection refused|connection reset|no route to host|network is unreachable|timeout|deadline exceeded"
            r"|\beof\b|\b50[0234]\b|service unavailable|bad gateway|tls handshake|broken pipe|closed network",
            RegistryUnavailable,
            "check that {host} can be reached from this machine, and try again",
        ),
    )
)
"""What an engine's message means; the first pattern in it decides."""


async def pull(engine: DockerBackend, ref: ImageRef, auth: AuthConfig | None) -> None:
    """Have the engine fetch an image, for the platform it runs on. It stops when nobody listens any more.

    Raises PullFailed or one of its kind, Unavailable when it is the engine that cannot be reached.
    """
    shown = await credentials(ref, auth)
    query = urlencode({"fromImage": ref.name, "tag": ref.digest or ref.tag})
    path, stall = f"/v{engine.version}/images/create?{query}", engine.options.pull_stall
    loop = asyncio.get_running_loop()
    progress = Progress()
    try:
        async with (
            asyncio.timeout(stall) as deadline,
            wire.stream(engine.socket, "POST", path, headers=header(ref, shown), timeout=None) as answer,
        ):
            rest = b""
            async for piece in answer:
                *lines, rest = (rest + piece).split(b"\n")
                for line in filter(None, map(bytes.strip, lines)):
                    if progress.made(line):
                        deadline.reschedule(loop.time() + stall)
                if len(rest) > _MAX_LINE:
                    raise PullFailed("the engine reports in lines that do not end")
    except TimeoutError:
        raise PullFailed(
            f"image {str(ref)!r}: no progress for {stall:g} s, the last was {progress.last!r}; "
            f"check the connection to {ref.registry} and try again"
        ) from None
    except PullFailed as error:
        raise failure(ref, str(error), shown) from None
    except CriadaptError as error:
        if str(error).startswith(_OURS):
            raise
        raise failure(ref, str(error), shown) from None


def failure(ref: ImageRef, text: str, auth: AuthConfig | None) -> PullFailed:
    """The error for what an engine says of a pull."""
    text = without_secrets(_QUERY.sub("?…", text), auth)
    login = NO_LOGIN if auth is None else BAD_LOGIN
    # What the image is called does not tell what is wrong with it.
    looked_at = text
    for name in (ref.name, ref.path, ref.registry):
        looked_at = looked_at.replace(name, "")
    for pattern, kind, advice in CAUSES:
        if pattern.search(looked_at):
            todo = advice.format(host=ref.registry, login=login.format(host=ref.registry))
            return kind(f"image {str(ref)!r}: {text}; {todo}")
    return PullFailed(f"image {str(ref)!r}: {text}")


class Progress:
    """What the engine reports of a pull."""

    def __init__(self) -> None:
        self.last = "nothing"
        """The last news, in words."""
        self._told: dict[str, tuple[str, Any]] = {}

    def made(self, line: bytes) -> bool:
        """Whether a line has news: containerd's store repeats itself. Raises PullFailed for an error."""
        try:
            told: Mapping[str, Any] = json.loads(line)
        except ValueError:
            raise PullFailed(f"the engine reports what is not JSON: {line[:80]!r}") from None
        if "error" in told or "errorDetail" in told:
            raise PullFailed(str(told.get("error") or told["errorDetail"].get("message")))
        part, status = str(told.get("id", "")), str(told.get("status", ""))
        now = (status, (told.get("progressDetail") or {}).get("current"))
        if self._told.get(part) == now:
            return False
        self._told[part] = now
        self.last = f"{status} {part}".strip()
        return True
