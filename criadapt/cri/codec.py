"""Message ↔ model, derived from the field names of both.

:data:`MESSAGES` pairs each model class with the CRI message of the same name. From the two, one decoder and one
encoder are compiled per class, once. What a model leaves out on purpose stands in :data:`IGNORED` with its reason;
a test demands that every field of every paired message is either mapped or listed there, so a new field in the
interface cannot be lost in silence.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from enum import IntEnum
from sys import intern
from typing import Any, TypeVar, cast

from google.protobuf.message import Message

from criadapt.cri.v1 import api_pb2 as pb
from criadapt.errors import InvalidArgument
from criadapt.model import answers, container, image, linux, runtime, sandbox, stats

T = TypeVar("T")

IGNORED: Mapping[str, str] = {
    "PodSandboxConfig.windows": "criadapt serves Linux nodes",
    "ContainerConfig.windows": "criadapt serves Linux nodes",
    "ContainerResources.windows": "criadapt serves Linux nodes",
    "PodSandboxStats.windows": "criadapt serves Linux nodes",
}

_ROOMS = (answers, container, image, linux, runtime, sandbox, stats)

MESSAGES: Mapping[type, type[Message]] = {
    value: getattr(pb, name)
    for room in _ROOMS
    for name, value in vars(room).items()
    if isinstance(value, type) and hasattr(value, "__dataclass_fields__") and value.__module__ == room.__name__
}

SHARED = frozenset(
    {
        container.KeyValue,
        container.LinuxContainerConfig,
        image.ImageSpec,
        sandbox.DNSConfig,
        sandbox.LinuxPodSandboxConfig,
    }
)
"""Parts that most pods and containers have in common; equal ones are decoded once."""

SHARED_LIMIT = 2048  # of each kind; beyond it, sharing starts anew


def decode(cls: type[T], message: Message, where: str = "") -> T:
    """The model of a message. Raises InvalidArgument, naming the field, for an enum value that does not exist.

    `where` is the path to the message within its request, for that error.
    """
    try:
        return cast(T, (_decoders.get(cls) or _decoder(cls))(message))
    except _BadEnum as bad:
        bad.path.append(where)
        raise InvalidArgument(str(bad)) from None


def decode_field(cls: type[T], message: Message, field: str) -> T | None:
    """The model of a message's sub-message, None where it is unset."""
    return decode(cls, getattr(message, field), field) if message.HasField(field) else None


def encode(value: object) -> Any:
    """The message of a model: an instance of the generated class of the same name."""
    return MESSAGES[type(value)](**_arguments(value))


class _BadEnum(ValueError):
    """An enum number without a name, with the path to it as it becomes known on the way up."""

    def __init__(self, number: int, enum: type[IntEnum]) -> None:
        super().__init__()
        self.path: list[str] = []
        self.what = f"{number} is not a {enum.__name__}; use one of " + ", ".join(f"{e.value} ({e.name})" for e in enum)

    def __str__(self) -> str:
        return f"{'.'.join(filter(None, reversed(self.path)))}: {self.what}"


_decoders: dict[type, Callable[[Any], Any]] = {}
_encoders: dict[type, Callable[[Any], dict[str, Any]]] = {}


def _decoder(cls: type) -> Callable[[Any], Any]:
    plain: list[tuple[str, str]] = []
    singles: list[tuple[str, str, Callable[[Any], Any]]] = []
    optional: list[tuple[str, str, Callable[[Any], Any]]] = []
    repeated: list[tuple[str, str, Callable[[Any], Any] | None]] = []
    maps: list[tuple[str, str]] = []
    for name, wire, hint, descriptor in _pairs(cls):
        if _is_map(descriptor):
            maps.append((name, wire))
        elif descriptor.is_repeated:
            repeated.append((name, wire, _item_decoder(typing.get_args(hint)[0])))
        elif descriptor.message_type is not None:
            optional.append((name, wire, _message_decoder(_not_none(hint), descriptor.message_type)))
        elif (convert := _item_decoder(hint)) is not None:
            singles.append((name, wire, convert))
        else:
            plain.append((name, wire))

    def run(message: Any) -> Any:
        values = {name: getattr(message, wire) for name, wire in plain}
        wire = ""
        try:
            for name, wire, convert in singles:
                values[name] = convert(getattr(message, wire))
            for name, wire, convert in optional:
                if message.HasField(wire):
                    values[name] = convert(getattr(message, wire))
            for name, wire, each in repeated:
                items = getattr(message, wire)
                if items:
                    values[name] = tuple(items) if each is None else tuple(map(each, items))
        except _BadEnum as bad:
            bad.path.append(wire)
            raise
        for name, wire in maps:
            pairs = getattr(message, wire)
            if pairs:  # keys, and most short values, recur in every container: one copy serves all
                values[name] = {intern(key): _common(value) for key, value in pairs.items()}
        return cls(**values)

    _decoders[cls] = run
    return run


def _common(value: str) -> str:
    return intern(value) if len(value) <= 40 else value


def _item_decoder(hint: Any) -> Callable[[Any], Any] | None:
    """How one value is converted; None when it is the same on both sides."""
    if hint in SHARED:
        return _shared(hint)
    if hint in MESSAGES:
        return lambda message: (_decoders.get(hint) or _decoder(hint))(message)
    if isinstance(hint, type) and issubclass(hint, IntEnum):
        return _enum_decoder(hint)
    return None


def _enum_decoder(enum: type[IntEnum]) -> Callable[[int], IntEnum]:
    members = {member.value: member for member in enum}

    def convert(number: int) -> IntEnum:
        try:
            return members[number]
        except KeyError:
            raise _BadEnum(number, enum) from None

    return convert


def _shared(cls: type) -> Callable[[Any], Any]:
    """A decoder that gives equal messages the same model: they are immutable, and a node has thousands of them."""
    known: dict[bytes, Any] = {}

    def run(message: Any) -> Any:
        key = message.SerializeToString(deterministic=True)
        found = known.get(key)
        if found is None:
            if len(known) >= SHARED_LIMIT:
                known.clear()
            found = known[key] = (_decoders.get(cls) or _decoder(cls))(message)
        return found

    return run


def _message_decoder(hint: Any, descriptor: Any) -> Callable[[Any], Any]:
    if hint in SHARED:
        return _shared(hint)
    if hint in MESSAGES:
        return lambda message: (_decoders.get(hint) or _decoder(hint))(message)
    inner = descriptor.fields[0].name  # a wrapper: its only field is the value
    convert = _item_decoder(hint)
    if convert is None:
        return lambda message: getattr(message, inner)
    return lambda message: convert(getattr(message, inner))


def _encoder(cls: type) -> Callable[[Any], dict[str, Any]]:
    """From a model to the keyword arguments of its message, nested: protobuf then builds the whole in one go."""
    plain: list[tuple[str, str, Any]] = []
    repeated: list[tuple[str, str, bool]] = []
    optional: list[tuple[str, str, str]] = []
    maps: list[tuple[str, str]] = []
    for name, wire, hint, descriptor in _pairs(cls):
        if _is_map(descriptor):
            maps.append((name, wire))
        elif descriptor.is_repeated:
            repeated.append((name, wire, descriptor.message_type is not None))
        elif descriptor.message_type is not None:
            # Where the hint is no model, the message is a wrapper: its only field is the value.
            optional.append((name, wire, "" if _not_none(hint) in MESSAGES else descriptor.message_type.fields[0].name))
        else:
            plain.append((name, wire, hint() if isinstance(hint, type) and not issubclass(hint, IntEnum) else 0))

    def run(value: Any) -> dict[str, Any]:
        kwargs: dict[str, Any] = {}
        for name, wire, zero in plain:
            item = getattr(value, name)
            if item != zero:
                kwargs[wire] = item
        for name, wire, inner in optional:
            item = getattr(value, name)
            if item is not None:
                kwargs[wire] = {inner: item} if inner else _arguments(item)
        for name, wire, messages in repeated:
            items = getattr(value, name)
            if items:
                kwargs[wire] = list(map(_arguments, items)) if messages else items
        for name, wire in maps:
            item = getattr(value, name)
            if item:
                kwargs[wire] = item
        return kwargs

    _encoders[cls] = run
    return run


def _arguments(value: object) -> dict[str, Any]:
    cls = type(value)
    return (_encoders.get(cls) or _encoder(cls))(value)


def _pairs(cls: type) -> list[tuple[str, str, Any, Any]]:
    """Model field, wire field, type and descriptor of each field of a class."""
    hints = typing.get_type_hints(cls)
    by_name = MESSAGES[cls].DESCRIPTOR.fields_by_name
    pairs = []
    for field in fields(cls):
        wire = field.metadata.get("proto", field.name)
        if field.default is MISSING and field.default_factory is MISSING:
            raise TypeError(f"{cls.__name__}.{field.name} needs a default: messages may leave any field out")
        pairs.append((field.name, wire, hints[field.name], by_name[wire]))
    return pairs


def _is_map(descriptor: Any) -> bool:
    return bool(descriptor.message_type is not None and descriptor.message_type.GetOptions().map_entry)


def _not_none(hint: Any) -> Any:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        (only,) = [part for part in typing.get_args(hint) if part is not type(None)]
        return only
    return hint
