"""A container's variables, and what ``$(NAME)`` stands for."""

from __future__ import annotations

import re
from collections.abc import Mapping

from criadapt.client.manifest import schema
from criadapt.client.manifest.context import Context
from criadapt.client.manifest.plan import decoded
from criadapt.errors import InvalidArgument

_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")


def expand(text: str, known: Mapping[str, str]) -> str:
    """`text` with ``$(NAME)`` replaced where NAME is known and left where it is not; ``$$`` is ``$``."""

    def replaced(found: re.Match[str]) -> str:
        name: str | None = found[1]
        return "$" if name is None else known.get(name, found[0])

    return _REFERENCE.sub(replaced, text)


def environment(context: Context, container: schema.Container, where: str) -> dict[str, str]:
    """All variables in order; the later of two with one name wins, in its own place."""
    known: dict[str, str] = {}
    for number, source in enumerate(container.env_from):
        known.update(_all_keys(context, source, f"{where}.envFrom[{number}]"))
    for number, variable in enumerate(container.env):
        place = f"{where}.env[{number}]"
        if not variable.name or "=" in variable.name or "\0" in variable.name:
            raise InvalidArgument(f"{place}.name: {variable.name!r} is not the name of a variable")
        value = _value(context, container, variable, place, known)
        if value is not None:
            known.pop(variable.name, None)
            known[variable.name] = value
    return known


def _value(
    context: Context, container: schema.Container, variable: schema.EnvVar, where: str, known: Mapping[str, str]
) -> str | None:
    source = variable.value_from
    if source is None:
        if "\0" in variable.value:
            raise InvalidArgument(f"{where}.value: contains a NUL character")
        return expand(variable.value, known)
    if variable.value:
        raise InvalidArgument(f"{where}: value and valueFrom exclude each other")
    where += ".valueFrom"
    if source.field_ref is not None:
        return context.field(source.field_ref, f"{where}.fieldRef")
    if source.resource_field_ref is not None:
        return context.resource(source.resource_field_ref, f"{where}.resourceFieldRef", container)
    if source.config_map_key_ref is not None:
        return _key(context, "ConfigMap", source.config_map_key_ref, f"{where}.configMapKeyRef")
    if source.secret_key_ref is not None:
        return _key(context, "Secret", source.secret_key_ref, f"{where}.secretKeyRef")
    raise InvalidArgument(f"{where}: empty; give one of fieldRef, resourceFieldRef, configMapKeyRef, secretKeyRef")


def _key(context: Context, kind: str, selector: schema.KeySelector, where: str) -> str | None:
    values = context.objects.get(kind, context.namespace, selector.name, f"{where}.name", optional=selector.optional)
    if values is None or (selector.optional and selector.key not in values):
        return None
    if selector.key not in values:
        raise InvalidArgument(f"{where}.key: {kind} {selector.name!r} has no key {selector.key!r}")
    return _text(values[selector.key], f"{where}.key")


def _all_keys(context: Context, source: schema.EnvFrom, where: str) -> dict[str, str]:
    found: dict[str, str] = {}
    given = [
        ("ConfigMap", "configMapRef", source.config_map_ref),
        ("Secret", "secretRef", source.secret_ref),
    ]
    for kind, name, ref in given:
        if ref is not None:
            place = f"{where}.{name}.name"
            values = context.objects.get(kind, context.namespace, ref.name, place, optional=ref.optional) or {}
            found.update({source.prefix + key: _text(value, place) for key, value in values.items()})
    if source.config_map_ref is None and source.secret_ref is None:
        raise InvalidArgument(f"{where}: empty; give configMapRef or secretRef")
    return found


def _text(value: bytes, where: str) -> str:
    if b"\0" in value:
        raise InvalidArgument(f"{where}: the value contains a NUL character, which no variable can hold")
    return decoded(value)
