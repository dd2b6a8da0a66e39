"""What is known of pods on CNI networks, kept on disk: DEL has to be told what ADD was told, whatever happened since.

One JSON file per pod, replaced as a whole. It is there before the first plugin is called and until the last one has
cleaned up, so after a crash at any moment it says what may be held. Not synchronised to the disk, as the journal is
not: what power loss takes away, it takes from the kernel's interfaces and rules too.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from criadapt.errors import CriadaptError, InvalidArgument, storage_failed
from criadapt.network.config import VERSIONS, NetworkConfig, parse

log = logging.getLogger(__name__)

_FORMAT: Final = 1
_ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.\-]*")  # the specification's rule for container ids; fit for a file name too


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A pod on a network, with all that its plugins were told."""

    id: str
    pod: str
    """``namespace/name``, for messages."""
    ifname: str
    netns: str
    """Path of its network namespace."""
    namespace: int
    """Number of that namespace (:func:`criadapt.host.netns.identity`), since paths can come to lead elsewhere."""
    path: str
    """File that the configuration came from."""
    network: Mapping[str, Any]
    """The configuration."""
    version: str
    """Version of the specification that was agreed on."""
    args: str
    capabilities: Mapping[str, Any]
    result: Mapping[str, Any] | None = None
    """What the last plugin answered that succeeded."""
    complete: bool = False
    """Whether all succeeded."""
    format: int = field(default=_FORMAT)

    def config(self) -> NetworkConfig:
        """The configuration it was added with."""
        return parse(self.network, self.path)


class Cache:
    """Attachments by container id."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, id: str) -> Attachment | None:
        """What is known of a pod; None also if it cannot be read."""
        path = self._path(id)
        try:
            content = json.loads(path.read_bytes())
            found = Attachment(**content)
            if found.format != _FORMAT or found.id != id or found.version not in VERSIONS:
                raise ValueError("not of this version")
            found.config()
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, AttributeError, CriadaptError) as error:
            log.warning("what is known of a pod's network is lost", extra={"file": str(path), "error": str(error)})
            return None
        return found

    def put(self, attachment: Attachment) -> None:
        """Remember. Raises ResourceExhausted or EngineError when it cannot be written."""
        path = self._path(attachment.id)
        new = path.with_name(f".{path.name}.new")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            new.write_text(json.dumps(asdict(attachment)), encoding="utf-8")
            new.replace(path)
        except OSError as error:
            with suppress(OSError):
                new.unlink(missing_ok=True)
            raise storage_failed(f"{path} cannot be written", error) from error

    def drop(self, id: str) -> None:
        """Forget; success if there is nothing."""
        self._path(id).unlink(missing_ok=True)

    def ids(self) -> list[str]:
        """Pods that something is known of, readable or not."""
        with suppress(FileNotFoundError):
            names = (name for name in os.listdir(self._folder) if name.endswith(".json") and not name.startswith("."))
            return sorted(name.removesuffix(".json") for name in names)
        return []

    def _path(self, id: str) -> Path:
        if len(id) > 128 or not _ID.fullmatch(id):
            raise InvalidArgument(f"{id[:80]!r} cannot be the container id of a CNI plugin's call")
        return self._folder / f"{id}.json"
