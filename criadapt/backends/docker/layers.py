"""Files of an image, read from its layers on the disk: the overlay filesystem's rules, without mounting one.

What an image holds never changes, so nothing can be exchanged between two looks.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping, Sequence
from typing import Any

from criadapt.errors import Unsupported

LIMIT = 1024 * 1024
"""Bytes of a file."""

_LINKS = 40  # followed at most, as the kernel does (path_resolution(7))
_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def of_driver(driver: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Directories of an image's layers, the uppermost first, from its ``GraphDriver``; none unless all are here."""
    data = (driver or {}).get("Data") or {}
    if (driver or {}).get("Name") != "overlay2" or not data.get("UpperDir"):
        return ()
    found = (data["UpperDir"], *filter(None, data.get("LowerDir", "").split(":")))
    return found if all(map(os.path.isdir, found)) else ()


def read(layers: Sequence[str], path: str) -> bytes | None:
    """A file, None if there is none. Links lead nowhere but into the image. Raises Unsupported if it is too large."""
    found = _find(layers, path)
    if found is None:
        return None
    try:
        with open(os.open(found, _READ), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            content = file.read(LIMIT + 1)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENXIO, errno.ELOOP):
            return None
        raise
    return checked(content, path)


def checked(content: bytes, path: str) -> bytes:
    """The content, unless it is too large: then it raises Unsupported."""
    if len(content) > LIMIT:
        raise Unsupported(f"{path} of the image is larger than {LIMIT} bytes; use numbers instead of names")
    return content


def _find(layers: Sequence[str], path: str) -> str | None:
    """Where the file is, None if there is none."""
    to_do = path.split("/")[::-1]
    above: list[list[str]] = [list(layers)]  # the image's root, and each directory entered, merged of these
    links = 0
    while to_do:
        name = to_do.pop()
        if name in ("", "."):
            continue
        if name == "..":
            if len(above) > 1:
                above.pop()
            continue
        found = _look(above[-1], name)
        if isinstance(found, list):
            above.append(found)
        elif found is None:
            return None
        elif os.path.islink(found):
            links += 1
            if links > _LINKS:
                return None
            target = os.readlink(found)
            if target.startswith("/"):
                del above[1:]
            to_do += target.split("/")[::-1]
        else:
            return None if any(rest not in ("", ".") for rest in to_do) else found
    return None


def _look(layers: Sequence[str], name: str) -> list[str] | str | None:
    """What `name` is in a merged directory: a directory merged of several, else one thing, or nothing."""
    found: list[str] = []
    for layer in layers:
        path = f"{layer}/{name}"
        try:
            status = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:  # removed in this layer
            break
        if not stat.S_ISDIR(status.st_mode):
            if not found:
                return path
            break
        found.append(path)
        if _opaque(path):
            break
    return found or None


def _opaque(path: str) -> bool:
    """Whether a directory hides those of the same name below it."""
    for name in _OPAQUE:
        try:
            if os.getxattr(path, name, follow_symlinks=False) == b"y":
                return True
        except OSError:
            continue
    return False
