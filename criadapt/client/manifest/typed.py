"""From plain mappings to typed objects, with the path of whatever does not fit."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import TypeVar, get_args

import msgspec

from criadapt.client.manifest import schema
from criadapt.errors import InvalidArgument

P = TypeVar("P", bound=schema.Part)

_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")
_MISSING = re.compile(r"Object missing required field `(.*)`")
_WORDS = {"str": "text", "int": "a whole number", "bool": "true or false", "array": "a list", "object": "a mapping"}


def typed(document: Mapping[str, object], cls: type[P], place: str) -> P:
    """The document as an object of `cls`. Raises InvalidArgument that begins with `place` and the path at fault."""
    try:
        return msgspec.convert(document, cls)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"{place}{_explained(str(error), document, cls)}") from error


def _explained(message: str, document: object, cls: type[schema.Part]) -> str:
    """msgspec's message with the path in front."""
    what, _, at = message.partition(" - at ")
    is_key = at.startswith("`key` in ")
    path = at.removeprefix("`key` in ").strip("`").removeprefix("$").removeprefix(".")
    if path.endswith("[...]"):
        path = path.removesuffix("[...]")
        path = f"{path}.{_culprit(_value_at(document, path))}"
    if unknown := _UNKNOWN.fullmatch(what):
        return f"{_joined(path, unknown[1])}: unknown field{_hint(unknown[1])}"
    if missing := _MISSING.fullmatch(what):
        return f"{_joined(path, missing[1])}: missing"
    if what.startswith("Invalid enum value"):
        known = ", ".join(choice for choice in _choices(cls, path) if choice)
        return f"{path}: expected one of {known}, got {shown(_value_at(document, path))}"
    found = re.fullmatch(r"Expected `(.+)`, got `(.+)`", what)
    if found is None:
        return f"{path}: {what[0].lower()}{what[1:]}"
    wanted = " or ".join(_WORDS.get(word, word) for word in found[1].split(" | ") if word != "null")
    value = _value_at(document, path)
    if is_key:
        return f"{path}: a key is not text; quote it"
    hint = "; quote it" if found[1].startswith("str") and isinstance(value, (bool, int, float)) else ""
    return f"{path}: expected {wanted}, got {shown(value)}{hint}"


def _joined(path: str, field: str) -> str:
    return f"{path}.{field}" if path else field


def _culprit(pairs: object) -> str:
    """The key whose value made a map of texts fail."""
    if isinstance(pairs, Mapping):
        for key, value in pairs.items():
            if isinstance(value, (bool, list, dict)) or not isinstance(value, str):
                return str(key)
    return "?"


def _value_at(document: object, path: str) -> object:
    value = document
    for step in re.findall(r"[^.\[\]]+|\[\d+\]", path):
        if isinstance(value, list) and step[0] == "[":
            value = value[int(step[1:-1])]
        elif isinstance(value, Mapping):
            value = value.get(step)
    return value


def _hint(field: str) -> str:
    known = {
        info.encode_name
        for cls in vars(schema).values()
        if isinstance(cls, type) and issubclass(cls, msgspec.Struct)
        for info in msgspec.structs.fields(cls)
    }
    near = difflib.get_close_matches(field, sorted(known - {field}), n=1, cutoff=0.75)
    return f", did you mean {near[0]!r}?" if near else ""


def _choices(cls: type[schema.Part], path: str) -> tuple[str, ...]:
    """The words that the field at `path` may be."""
    kind: object = cls
    for step in re.findall(r"[^.\[\]]+(?![^\[]*\])", path):
        inner = [arm for arm in (kind, *get_args(kind)) if isinstance(arm, type) and issubclass(arm, msgspec.Struct)]
        kind = next(info.type for info in msgspec.structs.fields(inner[0]) if info.encode_name == step)
    return get_args(kind)


def shown(value: object) -> str:
    """A value for a message."""
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
