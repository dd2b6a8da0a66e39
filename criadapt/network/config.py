"""CNI network configurations: found in a directory, read, checked.

A configuration is a ``.conflist`` (a name, versions, a chain of plugins) or, from before CNI 1.0, a single plugin's
object in a ``.conf`` or ``.json``. Of a directory the first usable file in lexical order counts, as with containerd and
CRI-O. Facts: CNI specification 0.3.1 to 1.1.0, section 1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from criadapt.errors import InvalidArgument

VERSIONS: Final = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
"""Versions of the specification that are spoken here, oldest first."""

_SUFFIXES = (".conflist", ".conf", ".json")
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.\-]*")

_Signature = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """One plugin of a chain."""

    type: str
    """Name of the executable."""
    capabilities: frozenset[str]
    """What the administrator wants it to be told of each pod."""
    raw: Mapping[str, Any]
    """Its object as it stands in the file."""

    @property
    def ipam(self) -> str:
        """Executable that hands out its addresses, empty if it names none."""
        ipam = self.raw.get("ipam")
        kind = ipam.get("type", "") if isinstance(ipam, dict) else ""
        return kind if isinstance(kind, str) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """One network that pods can be added to."""

    name: str
    path: str
    """File it was read from, for messages."""
    versions: tuple[str, ...]
    """Versions it may be spoken to in, newest first; never none."""
    plugins: tuple[Plugin, ...]
    disable_check: bool
    disable_gc: bool
    raw: Mapping[str, Any]
    """The whole as a configuration list, from which :func:`parse` makes the same again."""

    @property
    def executables(self) -> tuple[str, ...]:
        """All that must be installed, as far as the configuration tells."""
        names = [name for plugin in self.plugins for name in (plugin.type, plugin.ipam) if name]
        return tuple(dict.fromkeys(names))


def at_least(version: str, wanted: str) -> bool:
    """Whether a version of the specification is `wanted` or newer."""
    return VERSIONS.index(version) >= VERSIONS.index(wanted)


def parse(content: object, path: str) -> NetworkConfig:
    """Read a configuration that JSON was made of. Raises InvalidArgument that begins with the file's path."""
    raw = _object(content, path, "the configuration")
    if "plugins" not in raw:
        if "type" not in raw:
            raise InvalidArgument(f'{path}: neither a list ("plugins") nor a plugin ("type")')
        raw = {"cniVersion": raw.get("cniVersion", ""), "name": raw.get("name", ""), "plugins": [dict(raw)]}
    name = raw.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidArgument(
            f'{path}: "name" is {_short(name)}; a network needs one of letters, digits, "_", ".", "-"'
        )
    plugins = raw["plugins"]
    if not isinstance(plugins, list) or not plugins:
        raise InvalidArgument(f'{path}: "plugins" is {_short(plugins)}; at least one plugin is needed')
    return NetworkConfig(
        name=name,
        path=path,
        versions=_versions(raw, path),
        plugins=tuple(_plugin(each, path, f"plugins[{number}]") for number, each in enumerate(plugins)),
        disable_check=_flag(raw, "disableCheck", path),
        disable_gc=_flag(raw, "disableGC", path),
        raw=raw,
    )


def _plugin(content: object, path: str, where: str) -> Plugin:
    raw = _object(content, path, where)
    kind = raw.get("type")
    if not isinstance(kind, str) or not kind or "/" in kind or kind in (".", ".."):
        raise InvalidArgument(f"{path}: {where}.type is {_short(kind)}; it must be the file name of a plugin")
    capabilities = _object(raw.get("capabilities") or {}, path, f"{where}.capabilities")
    return Plugin(type=kind, raw=raw, capabilities=frozenset(key for key, wanted in capabilities.items() if wanted))


def _versions(raw: Mapping[str, Any], path: str) -> tuple[str, ...]:
    """All that it declares and we know; without any it is of the time before there were versions (0.1.0)."""
    listed = raw.get("cniVersions") or []
    declared = {raw.get("cniVersion") or "", *(str(each) for each in listed if isinstance(listed, list))} - {""}
    known = tuple(version for version in reversed(VERSIONS) if version in (declared or {VERSIONS[0]}))
    if not known:
        raise InvalidArgument(
            f"{path}: cniVersion {', '.join(map(str, sorted(declared, key=str)))} is not known; "
            f"criadapt speaks {VERSIONS[0]} to {VERSIONS[-1]}"
        )
    return known


def _flag(raw: Mapping[str, Any], key: str, path: str) -> bool:
    """A truth that may be written as a string (the reference library takes both)."""
    value = raw.get(key, False)
    if value in (True, "true"):
        return True
    if value in (False, "false"):
        return False
    raise InvalidArgument(f"{path}: {key} is {_short(value)}; it must be true or false")


def _object(content: object, path: str, where: str) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise InvalidArgument(f"{path}: {where} is {_short(content)}; it must be an object")
    return content


def _short(value: object) -> str:
    text = "missing" if value is None else json.dumps(value, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


@dataclass(frozen=True, slots=True)
class Found:
    """What a directory has to say."""

    config: NetworkConfig | None
    problems: tuple[str, ...] = ()
    """Files that come before it and cannot be used, each with the reason."""


class ConfigDir:
    """A directory of configurations. Whoever asks gets what is there now; files are read only when they changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seen: _Signature | None = None
        self._found = Found(None)

    def read(self) -> Found:
        """The first usable configuration. Never fails: what is wrong is part of the answer."""
        try:
            signature = self._signature()
        except (FileNotFoundError, NotADirectoryError):
            signature = ()
        except OSError as error:
            self._seen = None
            return Found(None, (f"{self.folder} cannot be read: {error.strerror or error}",))
        if signature != self._seen:
            self._found = self._load(name for name, *_ in signature)
            self._seen = signature
        return self._found

    def _signature(self) -> _Signature:
        found: list[tuple[str, int, int, int]] = []
        for name in sorted(path.name for path in self.folder.iterdir() if path.suffix in _SUFFIXES):
            try:
                facts = (self.folder / name).stat()
            except OSError:  # a dangling link, or removed just now
                found.append((name, 0, 0, 0))
            else:
                found.append((name, facts.st_mtime_ns, facts.st_size, facts.st_ino))
        return tuple(found)

    def _load(self, names: Iterable[str]) -> Found:
        problems: list[str] = []
        for name in names:
            path = self.folder / name
            try:
                return Found(parse(json.loads(path.read_bytes()), str(path)), tuple(problems))
            except InvalidArgument as error:
                problems.append(str(error))
            except OSError as error:
                problems.append(f"{path}: {error.strerror or error}")
            except (ValueError, RecursionError) as error:
                problems.append(f"{path}: not JSON: {error}")
        return Found(None, tuple(problems))
