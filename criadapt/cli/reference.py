"""Every key in writing: the commented TOML file and the page of the documentation."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, is_dataclass
from enum import Enum
from itertools import groupby
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from msgspec import Meta

from criadapt.config import PREFIX, Config, Key, default_listen, default_state_dir, keys

if TYPE_CHECKING:
    from criadapt.backends.base import Backend


def default_toml(backends: Iterable[type[Backend]] = ()) -> str:
    """A TOML file with every key commented out, its meaning and its default (for the user who asks)."""
    out = ["# criadapt's configuration. What is commented out is the default.", ""]
    tables: list[Key] = []
    for section, members in _sections(_all_keys(backends)):
        if section:
            out += [f"[{section}]", ""]
        for key in members:
            if _table_of(key.kind):
                tables.append(key)  # arrays of tables end a section, so they come last
                continue
            out.append(f"# {_sentence(key.doc)}")
            out += [
                f"# {_last(key)} = {toml_value(key.default)}" if _writable(key) else f"# {_last(key)} is not set",
                "",
            ]
    for key in tables:
        out += [f"# {_sentence(key.doc)} Each is a table of its own:", f"#   [[{key.name}]]"]
        for inner in keys(_table_of(key.kind)):
            value = toml_value(inner.default) if inner.default is not MISSING else '"..."'
            out.append(f"#   {inner.name} = {value}  # {inner.doc}")
        out.append("")
    return "\n".join(out)


def reference_markdown(backends: Iterable[type[Backend]] = ()) -> str:
    """The page docs/configuration.md: the same for everybody, so with the defaults of root."""
    all_keys = _all_keys(backends, root=True)
    short = [key for key in all_keys if key.env or key.flag]
    out = [
        "# Configuration",
        "",
        "<!-- Written by scripts/gen_docs.py from the dataclasses in criadapt/config.py; do not edit. -->",
        "",
        "Every key can be set in a TOML file, by an environment variable and by a flag; the later in this list wins.",
        "",
        "| | `streaming.port` | an option of a backend |",
        "|---|---|---|",
        "| file (`--config`, or `/etc/criadapt/config.toml`; not as root `~/.config/criadapt/config.toml`) "
        '| `[streaming]` `port = 10010` | `[backend.mock]` `subnet = "10.1.0.0/16"` |',
        f"| environment | `{PREFIX}STREAMING__PORT=10010` | `{PREFIX}BACKEND__MOCK__SUBNET=10.1.0.0/16` |",
        "| flag | `--set streaming.port=10010` | `--set backend.mock.subnet=10.1.0.0/16` |",
        "",
        "The value of a variable or of `--set` is read as TOML where it is TOML and as plain text otherwise: "
        "`--set 'images.pinned=[\"*/pause:*\"]'`. A key that does not exist is an error, wherever it stands.",
        "`criadapt config` prints what is in force and where it came from, `criadapt config --default` a file to start "
        "with.",
        "",
        "## Short names",
        "",
        "| Key | Environment | Flag |",
        "|---|---|---|",
        *(f"| `{key.name}` | {_code(key.env)} | {_code(key.flag)} |" for key in short),
        "",
    ]
    for section, members in _sections(all_keys):
        out += [f"## `[{section}]`" if section else "## Top level", "", *_table(members)]
    for key in all_keys:
        if inner := _table_of(key.kind):
            out += [
                f"## `[[{key.name}]]`",
                "",
                f"{_sentence(inner.__doc__ or key.doc)}",
                "",
                *_table(list(keys(inner))),
            ]
    return "\n".join(out).rstrip("\n") + "\n"


def toml_value(value: Any) -> str:
    """`value` as TOML writes it; None, which TOML cannot write, as a remark that is none of its values."""
    if value is None:
        return "(not set)"
    if isinstance(value, Enum):
        return toml_value(value.value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (str, Path)):
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    if is_dataclass(value) and not isinstance(value, type):
        return toml_value(asdict(value))
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(str(key))} = {toml_value(item)}" for key, item in value.items()) + "}"
    return "[" + ", ".join(toml_value(item) for item in value) + "]"


def _all_keys(backends: Iterable[type[Backend]], *, root: bool | None = None) -> list[Key]:
    found = list(keys(Config))
    if root:
        state_dir = default_state_dir({}, root=True)
        usual = {"state_dir": state_dir, "listen": default_listen({}, root=True, state_dir=state_dir)}
        found = [_with_default(key, usual[key.name]) if key.name in usual else key for key in found]
    for backend in backends:
        found += keys(backend.Options, f"backend.{backend.name}.")
    return found


def _with_default(key: Key, default: Any) -> Key:
    from dataclasses import replace

    return replace(key, default=default)


def _sections(all_keys: list[Key]) -> list[tuple[str, list[Key]]]:
    """The keys by table. Those of the top level come first, as TOML demands."""
    ordered = sorted(all_keys, key=lambda key: "." in key.name)
    return [(name, list(members)) for name, members in groupby(ordered, lambda key: key.name.rpartition(".")[0])]


def _table(members: list[Key]) -> list[str]:
    rows = [
        f"| `{key.name}` | {_type_name(key.kind)} | {_default(key)} | {_cell(_sentence(key.doc))} |" for key in members
    ]
    return ["| Key | Type | Default | Meaning |", "|---|---|---|---|", *rows, ""]


def _default(key: Key) -> str:
    if key.default is MISSING:
        return "must be set"
    return "not set" if key.default is None else f"`{_cell(toml_value(key.default))}`"


def _type_name(kind: Any) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _type_name(inner[0]) + "".join(_limits(meta) for meta in inner[1:] if isinstance(meta, Meta))
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in inner)
    if origin in (Union, UnionType):
        return " or ".join(_type_name(arm) for arm in inner if arm is not NoneType)
    if origin in (tuple, list):
        return f"array of {_type_name(inner[0])}s" if not is_dataclass(inner[0]) else "array of tables"
    if origin is dict:
        return f"table of {_type_name(inner[1])}s"
    names = {str: "text", int: "integer", float: "number", bool: "true/false", Path: "path"}
    return names.get(kind, getattr(kind, "__name__", str(kind)))


def _limits(meta: Meta) -> str:
    limits = (("≥", meta.ge), (">", meta.gt), ("≤", meta.le), ("<", meta.lt))
    return "".join(f" {sign} {limit}" for sign, limit in limits if limit is not None)


def _table_of(kind: Any) -> Any:
    """The dataclass behind an array of tables, None for any other type."""
    inner = get_args(kind)
    return inner[0] if get_origin(kind) in (tuple, list) and is_dataclass(inner[0]) else None


def _writable(key: Key) -> bool:
    return key.default is not None and key.default is not MISSING


def _last(key: Key) -> str:
    return key.name.rpartition(".")[2]


def _sentence(doc: str) -> str:
    return doc[:1].upper() + doc[1:].rstrip(".") + "." if doc else ""


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
