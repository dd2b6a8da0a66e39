"""Image references: parsing and the one normal form that criadapt speaks.

Grammar: the distribution project's reference grammar. ``busybox`` becomes ``docker.io/library/busybox:latest``; with
a digest the tag is dropped; 64 hex digits, bare or after ``sha256:``, are an id and never a name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from criadapt.errors import InvalidArgument

DEFAULT_REGISTRY = "docker.io"
MAX_NAME = 255  # characters of registry and path together, as the grammar's reference implementation has it

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?")
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"[a-z][a-z0-9]*(?:[.+_-][a-z0-9]+)*:[0-9a-f]{32,}")
_ID = re.compile(r"(?:sha256:)?[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ImageRef:
    """A normalised reference: either `tag` or `digest` is set, not both."""

    registry: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """Registry and path, ``docker.io/library/busybox``."""
        return f"{self.registry}/{self.path}"

    def __str__(self) -> str:
        return f"{self.name}@{self.digest}" if self.digest else f"{self.name}:{self.tag}"

    @classmethod
    def parse(cls, text: str) -> ImageRef:
        """Parse and normalise. Raises InvalidArgument saying which part is wrong."""
        if is_image_id(text):
            raise _invalid(text, "64 hex digits are an image id, not a name")
        rest, _, digest = text.partition("@")
        if "@" in text and not (_DIGEST.fullmatch(digest) and _digest_length_fits(digest)):
            raise _invalid(text, f"{digest!r} is not a digest such as sha256:<64 hex digits>")
        host, slash, path = rest.partition("/")
        if not slash or not ("." in host or ":" in host or host == "localhost"):
            host, path = DEFAULT_REGISTRY, rest
        path, colon, tag = path.partition(":")
        if not _HOST.fullmatch(host):
            raise _invalid(text, f"{host!r} is not a registry host")
        if host == "index.docker.io":
            host = DEFAULT_REGISTRY
        if host == DEFAULT_REGISTRY and "/" not in path:
            path = f"library/{path}"
        for component in path.split("/"):
            if not _COMPONENT.fullmatch(component):
                hint = "; names are lower case" if component != component.lower() else ""
                raise _invalid(text, f"{component!r} is not a path component{hint}")
        if len(host) + 1 + len(path) > MAX_NAME:
            raise _invalid(text, f"the name is longer than {MAX_NAME} characters")
        if colon and not _TAG.fullmatch(tag):
            raise _invalid(text, f"{tag!r} is not a tag")
        if digest:
            return cls(host, path, digest=digest)
        return cls(host, path, tag=tag or "latest")


def is_image_id(text: str) -> bool:
    """Whether `text` can only be an image id: 64 hex digits, with or without ``sha256:``."""
    return _ID.fullmatch(text) is not None


def _digest_length_fits(digest: str) -> bool:
    algorithm, _, value = digest.partition(":")
    return len(value) == {"sha256": 64, "sha384": 96, "sha512": 128}.get(algorithm, len(value))


def _invalid(text: str, why: str) -> InvalidArgument:
    shown = text if len(text) <= 200 else text[:197] + "..."
    return InvalidArgument(f"image reference {shown!r}: {why if len(why) <= 200 else why[:197] + '...'}")
