"""From tables and text to typed dataclasses, with an error that names key, value and source."""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, cast, get_args, get_origin, get_type_hints

import msgspec

from criadapt.config.keys import choices, default_of, key_of
from criadapt.errors import InvalidArgument


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One key's effective value, and where it came from."""

    key: str
    value: Any
    origin: str
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """A value, or a table of values, found somewhere at `path`. `text` is as typed: not yet a TOML value."""

    path: tuple[str, ...]
    value: Any
    origin: str
    text: bool = False


def children(entry: Entry, key: str, hint: str = "") -> Iterator[tuple[str, Entry]]:
    """One step down, by the path or by the table that the entry holds."""
    if entry.path:
        yield entry.path[0], replace(entry, path=entry.path[1:])
        return
    table = plain(entry)
    if not isinstance(table, Mapping):
        raise InvalidArgument(f"{key}: expected a table, got {shown(table)}{hint} ({entry.origin})")
    for name, value in table.items():
        yield name, Entry((), value, entry.origin)


def build(
    cls: type[Any],
    entries: Iterable[Entry],
    prefix: str,
    found: dict[str, Setting],
    defaults: Mapping[str, Callable[[], Any]] | None = None,
) -> Any:
    """Make the dataclass `cls` of what stands in the entries, the last one winning, and note each value in `found`."""
    hints = get_type_hints(cls, include_extras=True)
    given: dict[str, list[Entry]] = {item.name: [] for item in fields(cls)}
    for entry in entries:
        for name, child in children(entry, prefix.rstrip(".")):
            if name not in given:
                raise InvalidArgument(f"{prefix}{name}: unknown key{near(name, given)} ({entry.origin})")
            given[name].append(child)
    values: dict[str, Any] = {}
    for item in fields(cls):
        key, kind = key_of(item, prefix), hints[item.name]
        if is_dataclass(kind):
            values[item.name] = build(cast(type, kind), given[item.name], f"{key}.", found)
            continue
        if given[item.name]:
            entry = given[item.name][-1]
            value, origin = _value(key, kind, item, entry), entry.origin
        else:
            value, origin = defaults[item.name]() if defaults and item.name in defaults else default_of(item), "default"
            if value is MISSING:
                raise InvalidArgument(f"{key}: must be set; {item.metadata.get('doc', '')}")
        values[item.name] = value
        found[key] = Setting(key=key, value=value, origin=origin, secret=item.metadata.get("secret", False))
    try:
        return cls(**values)
    except (ValueError, InvalidArgument) as error:  # from __post_init__
        raise InvalidArgument(f"{prefix.rstrip('.')}: {error}") from error


def _value(key: str, kind: Any, item: Field[Any], entry: Entry) -> Any:
    if entry.path:
        raise InvalidArgument(f"{'.'.join((key, *entry.path))}: unknown key; {key} is a value ({entry.origin})")
    given = plain(entry)
    _refuse_unknown(given, kind, key, entry.origin)
    try:
        value = _convert(given, kind)
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


def plain(entry: Entry) -> Any:
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
            hint = near(str(value).lower(), known) if similar(str(value).lower(), known) else ""
            raise ValueError(f": expected one of {', '.join(known)}, got {shown(value)}{hint}") from error
        message, _, place = str(error).replace("`", "").partition(" - at $")
        if place:
            raise ValueError(f"{place}: {message[0].lower()}{message[1:]}") from error
        expected = message.partition(", got ")[0]
        raise ValueError(f": {expected[0].lower()}{expected[1:]}, got {shown(value)}") from error


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
                raise InvalidArgument(f"{key}.{name}: unknown key{near(name, hints)} ({where})")
            _refuse_unknown(element, hints[name], f"{key}.{name}", where)


def shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def similar(word: str, known: Iterable[str]) -> list[str]:
    return difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)


def near(word: str, known: Iterable[str], *, label: str = "known") -> str:
    names = list(known)
    if found := similar(word, names):
        return f", did you mean {found[0]!r}?"
    return f"; {label}: {', '.join(sorted(names)) or 'none'}"
