"""What can be set, and where a setting came from.

One declaration of a key - its name, type, default and one line of documentation - serves the TOML file, the
environment, the flags, ``criadapt config --default`` and the table in docs/configuration.md. The rules:

1. A file gives way to the environment, the environment to flags.
2. Nothing is ignored: a key nobody knows is refused, with the nearest known one and the place it stood in.
3. ``[backend] name`` chooses the engine; ``[backend.<name>]`` belongs to that engine's own ``Options`` and is read
   only once the engine's class is at hand (:meth:`Loaded.backend_options`).
"""

from __future__ import annotations

import difflib
import math
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Protocol, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from criadapt.errors import InvalidArgument

T = TypeVar("T")

PREFIX = "CRIADAPT__"
SOCKET_PATH_LIMIT = 107
"""Bytes of a Unix socket's path: ``sun_path`` has 108 and the last one is NUL (unix(7))."""

Port = Annotated[int, Meta(ge=0, le=65535)]
Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(ge=0)]
Period = Annotated[float, Meta(gt=0)]

# ---------------------------------------------------------------------------------------------- declaring keys


def option(
    default: T,
    *,
    doc: str,
    key: str = "",
    env: str = "",
    flag: str = "",
    secret: bool = False,
    check: Callable[[T], T] | None = None,
) -> T:
    """A field with a default and a line of documentation.

    `key` renames it in files, `env` and `flag` are its short names, `secret` hides its value in output. `check` gets
    the converted value and returns what to use instead of it, or raises ValueError with what is wrong with it.
    """
    metadata = {"doc": doc, "key": key, "env": env, "flag": flag, "secret": secret, "check": check}
    return field(default=default, metadata={name: value for name, value in metadata.items() if value})


def socket_url(text: str) -> str:
    """``unix:///path`` of a socket given so or as a bare absolute path."""
    path = text.removeprefix("unix://")
    if not path.startswith("/"):
        raise ValueError(f"expected unix:///absolute/path, got {text!r}")
    if not path.isprintable() or path.endswith("/"):
        raise ValueError(f"{text!r} cannot be the path of a socket")
    if (size := len(os.fsencode(path))) > SOCKET_PATH_LIMIT:
        raise ValueError(
            f"the path has {size} bytes and Unix sockets allow {SOCKET_PATH_LIMIT}; choose a shorter one: {path!r}"
        )
    return f"unix://{path}"


def host_port(text: str) -> tuple[str, int]:
    """``127.0.0.1:9100`` or ``[::1]:9100`` in two. Raises ValueError."""
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"expected host:port, got {text!r}; write IPv6 addresses in brackets, [::1]:9100")
    if not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError(f"expected host:port such as 127.0.0.1:9100, got {text!r}")
    if not _HOST.fullmatch(host):
        raise ValueError(f"expected host:port, got {text!r}; write 0.0.0.0:{port} for every address")
    return host, int(port)


_HOST = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z.-]*[0-9A-Za-z])?|[0-9a-fA-F:]+(?:%[0-9A-Za-z]+)?")


def _address(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise ValueError(f"expected a host name or an IP address without port, got {text!r}")
    return text


def _host_port_or_off(text: str) -> str:
    if text:
        host_port(text)
    return text


def _octal(text: str) -> str:
    if not re.fullmatch(r"(0o?)?[0-7]{3}", text):
        raise ValueError(f'expected a mode in octal such as "0660", got {text!r}')
    return text


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


# ---------------------------------------------------------------------------------------------- the keys


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """criadapt's own log, on stderr."""

    level: Literal["critical", "error", "warning", "info", "debug"] = option(
        "info", doc="least important level that is logged", env="CRIADAPT_LOG_LEVEL", flag="--log-level"
    )
    format: Literal["text", "json"] = option(
        "text", doc="lines of key=value for people, or one JSON object per line", flag="--log-format"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcConfig:
    """The CRI socket's gRPC server."""

    max_message_bytes: Annotated[int, Meta(ge=1, le=2**31 - 1)] = option(
        16 << 20, doc="largest request accepted, in bytes; kubelet's own limit is 16 MiB"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamingConfig:
    """The HTTP server that exec, attach and port-forward are redirected to."""

    address: str = option("127.0.0.1", doc="address to listen on; kubelet connects to it", check=_address)
    port: Port = option(0, doc="port to listen on; 0 takes a free one")
    token_ttl: Period = option(60.0, doc="seconds within which the URL of a session must be used")
    max_pending: Positive = option(1000, doc="sessions that may wait for their client; the next is refused")
    idle_timeout: Seconds = option(14400.0, doc="seconds without traffic after which a session ends; 0 for never")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagesConfig:
    """Images."""

    pause: str = option("registry.k8s.io/pause:3.10", doc="image of the container that holds a pod's namespaces")
    pinned: tuple[str, ...] = option(
        (), doc="globs over image names that kubelet must not garbage-collect; the pause image always is one"
    )
    progress_timeout: Seconds = option(
        300.0, doc="seconds without progress after which a pull is given up; 0 for never"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeSection:
    """The process and its socket."""

    drain_seconds: Seconds = option(10.0, doc="seconds that running calls get to finish after SIGTERM")
    socket_mode: str = option(
        "0660", doc="permissions of the CRI socket, octal; its users are as good as root", check=_octal
    )
    socket_group: str = option("", doc="group that owns the CRI socket; empty for criadapt's own")
    relist_seconds: Period = option(60.0, doc="seconds between two full comparisons with the engine")
    exec_drain_seconds: Seconds = option(
        2.0, doc="seconds that an exec's output is still read for after its process has ended"
    )
    pull_parallel: Count = option(0, doc="pulls that may run at the same time; 0 for any number")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsConfig:
    """The page for Prometheus."""

    listen: str = option(
        "",
        doc="host:port that serves /metrics and /healthz, such as 127.0.0.1:9100; empty for none",
        check=_host_port_or_off,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRule:
    """A failure to inject into calls to the engine, for tests of what stands above criadapt."""

    call: str = field(metadata={"doc": "method of the backend it applies to, such as start or pull; * for all"})
    error: str = option("", doc="class of criadapt.errors to raise, such as Unavailable")
    message: str = option("", doc="text of that error")
    delay: Seconds = option(0.0, doc="seconds to wait before the call goes on or fails")
    hang: bool = option(False, doc="never return")
    after: bool = option(False, doc="let the engine do it first, then delay or fail: the answer is lost, not the call")
    match: dict[str, str] = field(
        default_factory=dict, metadata={"doc": "globs that the call's arguments must match, by name"}
    )
    nth: Count = option(0, doc="only the nth matching call, counted from 1; 0 for every one")
    times: Count = option(0, doc="stop after so many injections; 0 for no end")
    probability: Annotated[float, Meta(ge=0, le=1)] = option(1.0, doc="chance that a matching call is hit, 0 to 1")


def _state_dir_here() -> Path:
    return default_state_dir(os.environ, root=os.geteuid() == 0)


def _listen_here() -> str:
    return default_listen(os.environ, root=os.geteuid() == 0, state_dir=_state_dir_here())


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything but the options of the engine."""

    listen: str = field(
        default_factory=_listen_here,
        metadata={
            "doc": "CRI socket, unix:///path; not as root: in $XDG_RUNTIME_DIR/criadapt, or else in <state_dir>/run",
            "env": "CRIADAPT_LISTEN",
            "flag": "--listen",
            "check": socket_url,
        },
    )
    state_dir: Path = field(
        default_factory=_state_dir_here,
        metadata={
            "doc": "directory for what must outlive the process; not as root: $XDG_STATE_HOME/criadapt",
            "env": "CRIADAPT_STATE_DIR",
            "flag": "--state-dir",
            "check": _absolute,
        },
    )
    backend: str = option(
        "mock",
        doc="the engine to serve; `criadapt backends` lists what is installed",
        key="backend.name",
        env="CRIADAPT_BACKEND",
        flag="--backend",
    )
    log: LogConfig = LogConfig()
    grpc: GrpcConfig = GrpcConfig()
    streaming: StreamingConfig = StreamingConfig()
    images: ImagesConfig = ImagesConfig()
    runtime: RuntimeSection = RuntimeSection()
    metrics: MetricsConfig = MetricsConfig()
    faults: tuple[FaultRule, ...] = option((), doc="failures to inject into calls to the engine, for tests")


def default_state_dir(env: Mapping[str, str], *, root: bool) -> Path:
    """Where state lives unless told otherwise."""
    return Path("/var/lib/criadapt") if root else _user_dir(env, "XDG_STATE_HOME", ".local/state") / "criadapt"


def default_listen(env: Mapping[str, str], *, root: bool, state_dir: Path) -> str:
    """Where the socket lies unless told otherwise."""
    if root:
        return "unix:///run/criadapt/criadapt.sock"
    runtime = env.get("XDG_RUNTIME_DIR", "")
    folder = Path(runtime, "criadapt") if runtime.startswith("/") else state_dir / "run"
    return f"unix://{folder / 'criadapt.sock'}"


def default_file(env: Mapping[str, str]) -> Path:
    """The file that is read, if it exists, when none is named."""
    if os.geteuid() == 0:
        return Path("/etc/criadapt/config.toml")
    return _user_dir(env, "XDG_CONFIG_HOME", ".config") / "criadapt" / "config.toml"


def _user_dir(env: Mapping[str, str], variable: str, below_home: str) -> Path:
    path = env.get(variable, "")
    if path.startswith("/"):  # a relative one is to be ignored, says the XDG base directory specification
        return Path(path)
    try:
        return Path(env.get("HOME") or Path.home()) / below_home
    except RuntimeError as error:
        raise InvalidArgument(f"no home directory is known; set {variable} or HOME") from error


# ---------------------------------------------------------------------------------------------- describing keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key that can be set. `default` is MISSING where a value must be given."""

    name: str
    kind: Any
    default: Any
    doc: str
    env: str
    flag: str
    secret: bool


def keys(options: type[Any], prefix: str = "") -> Iterator[Key]:
    """Every key of a configuration dataclass, depth first."""
    hints = get_type_hints(options, include_extras=True)
    for item in fields(options):
        if is_dataclass(hints[item.name]):
            yield from keys(hints[item.name], f"{prefix}{item.name}.")
            continue
        meta = item.metadata
        yield Key(
            name=_key(item, prefix),
            kind=hints[item.name],
            default=_default(item),
            doc=meta.get("doc", ""),
            env=meta.get("env", ""),
            flag=meta.get("flag", ""),
            secret=meta.get("secret", False),
        )


def choices(kind: Any) -> list[str]:
    """The words that a key of this type can be set to, where they are few."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return [str(choice) for choice in get_args(kind)] if get_origin(kind) is Literal else []


def _key(item: Field[Any], prefix: str) -> str:
    return str(item.metadata.get("key") or prefix + item.name)


def _default(item: Field[Any]) -> Any:
    return item.default_factory() if item.default_factory is not MISSING else item.default


# ---------------------------------------------------------------------------------------------- loading


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One key's effective value, and where it came from."""

    key: str
    value: Any
    origin: str
    secret: bool = False


@dataclass(frozen=True, slots=True)
class _Entry:
    """A value, or a table of values, found somewhere at `path`. `text` is as typed: not yet a TOML value."""

    path: tuple[str, ...]
    value: Any
    origin: str
    text: bool = False


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
    _engines: tuple[tuple[str, _Entry], ...] = ()

    def origin(self, key: str) -> str:
        """Where the value came from: ``default``, a file's path, ``env CRIADAPT_LISTEN``, ``flag --set``."""
        if key in self._settings:
            return self._settings[key].origin
        top, *words = key.split(".")
        if top != "backend" or len(words) < 2:
            raise InvalidArgument(f"{key}: unknown key{_near(key, self._settings)}")
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
                hint = _near(word, names, label="installed")
                raise InvalidArgument(f"backend.{word}: no such backend{hint} ({entry.origin})")

    def _entries(self, name: str) -> list[_Entry]:
        return [entry for word, entry in self._engines if _same(word, name)]

    def _build_options(self, backend: _BackendClass, found: dict[str, Setting]) -> Any:
        return _build(backend.Options, self._entries(backend.name), f"backend.{backend.name}.", found)


def load(file: Path | None, env: Mapping[str, str], flags: Mapping[str, str]) -> Loaded:
    """Read the file (the default one, if it exists, for None), then the environment, then the flags.

    `flags` maps keys (``streaming.port``, as ``--set`` has them) or long flags (``--listen``) to text.
    """
    if file is None and (usual := default_file(env)).is_file():
        file = usual
    entries = [] if file is None else [_Entry((), _read(file), str(file))]
    entries += _from_environment(env)
    entries += _from_flags(flags)
    own, engines = _split(entries)

    root = os.geteuid() == 0
    found: dict[str, Setting] = {}
    config: Config = _build(
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


def _from_environment(env: Mapping[str, str]) -> Iterator[_Entry]:
    for key in keys(Config):
        if key.env and env.get(key.env):  # an empty variable is an unset one
            yield _Entry(_path_of(key), env[key.env], f"env {key.env}", text=True)
    for name in sorted(env):
        if name.startswith(PREFIX):
            path = tuple(name.removeprefix(PREFIX).lower().split("__"))
            yield _Entry(path, env[name], f"env {name}", text=True)


def _from_flags(flags: Mapping[str, str]) -> Iterator[_Entry]:
    known = {key.flag: key for key in keys(Config) if key.flag}
    for name, text in flags.items():
        if not name.startswith("--"):
            yield _Entry(tuple(name.split(".")), text, "flag --set", text=True)
    for name, text in flags.items():  # the short way is the more explicit one: it comes last
        if name.startswith("--"):
            if name not in known:
                raise InvalidArgument(f"{name}: no such flag{_near(name, known)}")
            yield _Entry(_path_of(known[name]), text, f"flag {name}", text=True)


def _path_of(key: Key) -> tuple[str, ...]:
    return tuple(key.name.split("."))


def _split(entries: Iterable[_Entry]) -> tuple[list[_Entry], list[tuple[str, _Entry]]]:
    """Our own entries, and those of the engines; ``backend.name`` becomes :attr:`Config.backend`."""
    own: list[_Entry] = []
    engines: list[tuple[str, _Entry]] = []
    for entry in entries:
        for top, child in _children(entry, ""):
            if top != "backend":
                own.append(replace(child, path=(top, *child.path)))
                continue
            for word, inner in _children(child, "backend", hint="; the engine is chosen by backend.name"):
                if word == "name":
                    own.append(replace(inner, path=("backend", *inner.path)))
                elif not inner.path and not isinstance(_plain(inner), Mapping):
                    hint = _near(word, ["name"]) if _similar(word, ["name"]) else ""
                    hint = hint or f"; options of an engine stand in [backend.<engine>], backend.<engine>.{word}"
                    raise InvalidArgument(f"backend.{word}: unknown key{hint} ({inner.origin})")
                else:
                    engines.append((word, inner))
    return own, engines


def _children(entry: _Entry, key: str, hint: str = "") -> Iterator[tuple[str, _Entry]]:
    """One step down, by the path or by the table that the entry holds."""
    if entry.path:
        yield entry.path[0], replace(entry, path=entry.path[1:])
        return
    table = _plain(entry)
    if not isinstance(table, Mapping):
        raise InvalidArgument(f"{key}: expected a table, got {_shown(table)}{hint} ({entry.origin})")
    for name, value in table.items():
        yield name, _Entry((), value, entry.origin)


def _sets(entry: _Entry, words: tuple[str, ...]) -> bool:
    if entry.path:
        depth = min(len(entry.path), len(words))
        return entry.path[:depth] == words[:depth] and _sets(replace(entry, path=()), words[depth:])
    value = _plain(entry)
    for word in words:
        if not isinstance(value, Mapping) or word not in value:
            return False
        value = value[word]
    return True


def _same(word: str, name: str) -> bool:
    """Whether a table's or variable's word means this backend; variables have neither dashes nor capitals."""
    return word == name or word == name.replace("-", "_").lower()


def _build(
    cls: type[Any],
    entries: Iterable[_Entry],
    prefix: str,
    found: dict[str, Setting],
    defaults: Mapping[str, Callable[[], Any]] | None = None,
) -> Any:
    """Make the dataclass `cls` of what stands in the entries, the last one winning, and note each value in `found`."""
    hints = get_type_hints(cls, include_extras=True)
    given: dict[str, list[_Entry]] = {item.name: [] for item in fields(cls)}
    for entry in entries:
        for name, child in _children(entry, prefix.rstrip(".")):
            if name not in given:
                raise InvalidArgument(f"{prefix}{name}: unknown key{_near(name, given)} ({entry.origin})")
            given[name].append(child)
    values: dict[str, Any] = {}
    for item in fields(cls):
        key, kind = _key(item, prefix), hints[item.name]
        if is_dataclass(kind):
            values[item.name] = _build(cast(type, kind), given[item.name], f"{key}.", found)
            continue
        if given[item.name]:
            entry = given[item.name][-1]
            value, origin = _value(key, kind, item, entry), entry.origin
        else:
            value, origin = defaults[item.name]() if defaults and item.name in defaults else _default(item), "default"
            if value is MISSING:
                raise InvalidArgument(f"{key}: must be set; {item.metadata.get('doc', '')}")
        values[item.name] = value
        found[key] = Setting(key=key, value=value, origin=origin, secret=item.metadata.get("secret", False))
    try:
        return cls(**values)
    except ValueError as error:  # from __post_init__
        raise InvalidArgument(f"{prefix.rstrip('.')}: {error}") from error


def _value(key: str, kind: Any, item: Field[Any], entry: _Entry) -> Any:
    if entry.path:
        raise InvalidArgument(f"{'.'.join((key, *entry.path))}: unknown key; {key} is a value ({entry.origin})")
    plain = _plain(entry)
    _refuse_unknown(plain, kind, key, entry.origin)
    try:
        value = _convert(plain, kind)
    except ValueError as error:
        # 1234 typed for a text is that text; only where neither reading fits is the first one's failure the news.
        value = _convert_text(entry.value, kind) if entry.text else MISSING
        if value is MISSING:
            got = "" if item.metadata.get("secret") else str(error)
            raise InvalidArgument(f"{key}{got or ': expected another type'} ({entry.origin})") from error
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidArgument(f"{key}: expected a finite number, got {value} ({entry.origin})")
    check = item.metadata.get("check")
    try:
        return check(value) if check else value
    except ValueError as error:
        raise InvalidArgument(f"{key}: {error} ({entry.origin})") from error


def _plain(entry: _Entry) -> Any:
    """The TOML value: as found in a file, or as read from text, or else the text itself."""
    if not entry.text:
        return entry.value
    try:
        document = tomllib.loads(f"value = {entry.value}")
    except ValueError:
        return entry.value
    return document["value"] if len(document) == 1 else entry.value


def _convert(value: Any, kind: Any) -> Any:
    """Strictly, so that ``"1"`` in a file is no number. Raises ValueError with text to put behind the key."""
    try:
        return msgspec.convert(value, kind, dec_hook=_decode)
    except msgspec.ValidationError as error:
        if known := choices(kind):
            hint = _near(str(value).lower(), known) if _similar(str(value).lower(), known) else ""
            raise ValueError(f": expected one of {', '.join(known)}, got {_shown(value)}{hint}") from error
        message, _, place = str(error).replace("`", "").partition(" - at $")
        if place:
            raise ValueError(f"{place}: {message[0].lower()}{message[1:]}") from error
        expected = message.partition(", got ")[0]
        raise ValueError(f": {expected[0].lower()}{expected[1:]}, got {_shown(value)}") from error


def _convert_text(text: str, kind: Any) -> Any:
    try:
        return msgspec.convert(text, kind, strict=False, dec_hook=_decode)
    except msgspec.ValidationError:
        return MISSING


def _decode(kind: type[Any], value: Any) -> Any:
    if kind is not Path or not isinstance(value, str) or not value or "\0" in value:
        raise ValueError(f"Expected {'path' if kind is Path else kind.__name__}")
    return Path(value)


def _refuse_unknown(value: Any, kind: Any, key: str, where: str) -> None:
    """Look for unknown keys in the tables inside a value, which msgspec passes over."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        _refuse_unknown(value, inner[0], key, where)
    elif origin in (Union, UnionType):
        if len(tables := [arm for arm in inner if is_dataclass(arm)]) == 1:
            _refuse_unknown(value, tables[0], key, where)
    elif origin in (tuple, list) and isinstance(value, list):
        for index, element in enumerate(value):
            _refuse_unknown(element, inner[0], f"{key}[{index}]", where)
    elif origin is dict and isinstance(value, Mapping):
        for name, element in value.items():
            _refuse_unknown(element, inner[1], f"{key}.{name}", where)
    elif is_dataclass(kind) and isinstance(value, Mapping):
        hints = get_type_hints(kind, include_extras=True)
        for name, element in value.items():
            if name not in hints:
                raise InvalidArgument(f"{key}.{name}: unknown key{_near(name, hints)} ({where})")
            _refuse_unknown(element, hints[name], f"{key}.{name}", where)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _similar(word: str, known: Iterable[str]) -> list[str]:
    return difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)


def _near(word: str, known: Iterable[str], *, label: str = "known") -> str:
    names = list(known)
    if similar := _similar(word, names):
        return f", did you mean {similar[0]!r}?"
    return f"; {label}: {', '.join(sorted(names)) or 'none'}"
