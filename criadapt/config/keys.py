"""What can be set: each key declared once, with its type, default, check and one line of documentation."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from msgspec import Meta

from criadapt.errors import InvalidArgument

T = TypeVar("T")

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


_HOST = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z.-]*[0-9A-Za-z])?|(?:[0-9a-fA-F]*:){2,7}[0-9a-fA-F.]*")


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
    max_sessions: Positive = option(1000, doc="sessions that may be connected; the next is refused")
    idle_timeout: Seconds = option(14400.0, doc="seconds after which a session without traffic is cut; 0 for never")
    tls_cert_file: str = option("", doc="PEM certificate (and chain) to serve TLS with; kubelet must trust it")
    tls_key_file: str = option("", doc="PEM key of that certificate, unless it is in the same file")


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """How pods get their addresses."""

    kind: Literal["engine", "cni"] = option(
        "engine", doc="who connects pods: the engine with a network of its own, or CNI plugins", flag="--network"
    )
    cni_config_dir: str = option(
        "/etc/cni/net.d", doc="directory of CNI configurations; the first one in lexical order is used"
    )
    cni_plugin_dirs: tuple[str, ...] = option(
        ("/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"), doc="directories in which CNI plugins are looked for"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagesConfig:
    """Images."""

    pause: str = option("registry.k8s.io/pause:3.10", doc="image of the container that holds a pod's namespaces")
    pinned: tuple[str, ...] = option(
        (), doc="globs over image names that kubelet must not garbage-collect; the pause image always is one"
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
            "doc": "CRI socket, unix:///path; not as root: in $XDG_RUNTIME_DIR/criadapt, or else in run/ of state_dir",
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
    network: NetworkConfig = NetworkConfig()
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
            name=key_of(item, prefix),
            kind=hints[item.name],
            default=default_of(item),
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


def key_of(item: Field[Any], prefix: str) -> str:
    return str(item.metadata.get("key") or prefix + item.name)


def default_of(item: Field[Any]) -> Any:
    return item.default_factory() if item.default_factory is not MISSING else item.default
