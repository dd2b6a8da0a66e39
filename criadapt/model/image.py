"""Images as CRI describes them, their registry credentials, and the disks they lie on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from criadapt.model.pairs import nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec:
    """Which image: `image` is a reference or an id; the other fields say how the caller came to it."""

    image: str = ""
    annotations: Mapping[str, str] = field(default_factory=nothing)
    user_specified_image: str = ""
    runtime_handler: str = ""
    image_ref: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A local image. `id` is the one stable identifier that every other answer repeats."""

    id: str = ""
    repo_tags: tuple[str, ...] = ()
    repo_digests: tuple[str, ...] = ()
    size: int = 0
    uid: int | None = None
    username: str = ""
    spec: ImageSpec | None = None
    pinned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFilter:
    """Restricts a list of images to what `image` names."""

    image: ImageSpec | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthConfig:
    """Registry credentials; secrets are kept out of ``repr`` so that they cannot reach a log."""

    username: str = ""
    password: str = field(default="", repr=False)
    auth: str = field(default="", repr=False)
    server_address: str = ""
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesystemIdentifier:
    """A filesystem, named by a directory on it."""

    mountpoint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesystemUsage:
    """Bytes and inodes used on a filesystem, sampled at `timestamp`."""

    timestamp: int = 0
    fs_id: FilesystemIdentifier | None = None
    used_bytes: int | None = None
    inodes_used: int | None = None
