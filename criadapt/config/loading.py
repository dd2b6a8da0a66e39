"""Where settings come from: the file, the environment, the flags; and what came from where."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from criadapt.config.build import Entry, Setting, build, children, near, plain, similar
from criadapt.config.keys import Config, Key, default_file, default_listen, default_state_dir, keys, socket_url
from criadapt.errors import InvalidArgument

PREFIX = "CRIADAPT__"


class _BackendClass(Protocol):
    """What is needed of a backend's class here, so that this module depends on none."""

    @property
    def name(self) -> str: ...
    @property
    def Options(self) -> type[Any]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A configuration that knows where each value came from."""

    config: Config
    file: Path | None
    """The file that was read."""
    _settings: Mapping[str, Setting]
    _engines: tuple[tuple[str, Entry], ...] = ()

    def origin(self, key: str) -> str:
        """Where the value came from: ``default``, a file's path, ``env CRIADAPT_LISTEN``, ``flag --set``."""
        if key in self._settings:
            return self._settings[key].origin
        top, *words = key.split(".")
        if top != "backend" or len(words) < 2:
            raise InvalidArgument(f"{key}: unknown key{near(key, self._settings)}")
        for entry in reversed(self._entries(words[0])):
            if _sets(entry, tuple(words[1:])):
                return entry.origin
        return "default"

    def settings(self, *backends: _BackendClass) -> list[Setting]:
        """Every effective value, with those of the named engines."""
        found = dict(self._settings)
        for backend in backends:
            self._build_options(backend, found)
        return list(found.values())

    def backend_options(self, backend: _BackendClass) -> Any:
        """The engine's own ``Options``, from ``[backend.<name>]`` and its variables and flags."""
        return self._build_options(backend, {})

    def check_backends(self, installed: Iterable[str]) -> None:
        """Refuse options of an engine that is not there: their author meant another one."""
        names = list(installed)
        for word, entry in self._engines:
            if not any(_same(word, name) for name in names):
                hint = near(word, names, label="installed")
                raise InvalidArgument(f"backend.{word}: no such backend{hint} ({entry.origin})")

    def _entries(self, name: str) -> list[Entry]:
        return [entry for word, entry in self._engines if _same(word, name)]

    def _build_options(self, backend: _BackendClass, found: dict[str, Setting]) -> Any:
        return build(backend.Options, self._entries(backend.name), f"backend.{backend.name}.", found)


def load(file: Path | None, env: Mapping[str, str], flags: Mapping[str, str]) -> Loaded:
    """Read the file (the default one, if it exists, for None), then the environment, then the flags.

    `flags` maps keys (``streaming.port``, as ``--set`` has them) or long flags (``--listen``) to text.
    """
    if file is None and (usual := default_file(env)).is_file():
        file = usual
    entries = [] if file is None else [Entry((), _read(file), str(file))]
    entries += _from_environment(env)
    entries += _from_flags(flags)
    own, engines = _split(entries)

    root = os.geteuid() == 0
    found: dict[str, Setting] = {}
    config: Config = build(
        Config,
        own,
        "",
        found,
        # The socket's default depends on the state directory, which is known only afterwards.
        {"state_dir": lambda: default_state_dir(env, root=root), "listen": lambda: ""},
    )
    if not config.listen:
        url = default_listen(env, root=root, state_dir=config.state_dir)
        try:
            config = replace(config, listen=socket_url(url))
        except ValueError as error:
            raise InvalidArgument(f"listen: {error} (default)") from error
        found["listen"] = replace(found["listen"], value=url)
    if not config.backend:
        raise InvalidArgument(f"backend.name: must not be empty ({found['backend.name'].origin})")
    return Loaded(config=config, file=file, _settings=found, _engines=tuple(engines))


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidArgument(f"configuration file {str(file)!r}: {error.strerror or error}") from error
    except ValueError as error:  # of TOML or of UTF-8
        raise InvalidArgument(f"{file}: not TOML: {error}") from error


def _from_environment(env: Mapping[str, str]) -> Iterator[Entry]:
    for key in keys(Config):
        if key.env and env.get(key.env):  # an empty variable is an unset one
            yield Entry(_path_of(key), env[key.env], f"env {key.env}", text=True)
    for name in sorted(env):
        if name.startswith(PREFIX):
            path = tuple(name.removeprefix(PREFIX).lower().split("__"))
            yield Entry(path, env[name], f"env {name}", text=True)


def _from_flags(flags: Mapping[str, str]) -> Iterator[Entry]:
    known = {key.flag: key for key in keys(Config) if key.flag}
    for name, text in flags.items():
        if not name.startswith("--"):
            yield Entry(tuple(name.split(".")), text, "flag --set", text=True)
    for name, text in flags.items():  # the short way is the more explicit one: it comes last
        if name.startswith("--"):
            if name not in known:
                raise InvalidArgument(f"{name}: no such flag{near(name, known)}")
            yield Entry(_path_of(known[name]), text, f"flag {name}", text=True)


def _path_of(key: Key) -> tuple[str, ...]:
    return tuple(key.name.split("."))


def _split(entries: Iterable[Entry]) -> tuple[list[Entry], list[tuple[str, Entry]]]:
    """Our own entries, and those of the engines; ``backend.name`` becomes :attr:`Config.backend`."""
    own: list[Entry] = []
    engines: list[tuple[str, Entry]] = []
    for entry in entries:
        for top, child in children(entry, ""):
            if top != "backend":
                own.append(replace(child, path=(top, *child.path)))
                continue
            for word, inner in children(child, "backend", hint="; the engine is chosen by backend.name"):
                if word == "name":
                    own.append(replace(inner, path=("backend", *inner.path)))
                elif not inner.path and not isinstance(plain(inner), Mapping):
                    hint = near(word, ["name"]) if similar(word, ["name"]) else ""
                    hint = hint or f"; options of an engine stand in [backend.<engine>], backend.<engine>.{word}"
                    raise InvalidArgument(f"backend.{word}: unknown key{hint} ({inner.origin})")
                else:
                    engines.append((word, inner))
    return own, engines


def _sets(entry: Entry, words: tuple[str, ...]) -> bool:
    if entry.path:
        depth = min(len(entry.path), len(words))
        return entry.path[:depth] == words[:depth] and _sets(replace(entry, path=()), words[depth:])
    value = plain(entry)
    for word in words:
        if not isinstance(value, Mapping) or word not in value:
            return False
        value = value[word]
    return True


def _same(word: str, name: str) -> bool:
    """Whether a table's or variable's word means this backend; variables have neither dashes nor capitals."""
    return word == name or word == name.replace("-", "_").lower()
