"""The codec guard: nothing of the interface is lost in silence, and everything survives the way there and back."""

from __future__ import annotations

import types
import typing
from dataclasses import fields
from enum import IntEnum
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from criadapt.cri import codec
from criadapt.cri.codec import IGNORED, MESSAGES, decode, decode_field, encode
from criadapt.cri.v1 import api_pb2 as pb
from criadapt.errors import InvalidArgument
from criadapt.model import answers, container, linux, runtime, sandbox, signals, stats
from criadapt.model.container import ContainerConfig, ContainerFilter, ContainerState, KeyValue, Mount
from criadapt.model.linux import LinuxContainerSecurityContext, MountPropagation, NamespaceMode, NamespaceOption
from criadapt.model.sandbox import PodSandboxConfig, PodSandboxFilter, PodSandboxState
from criadapt.model.stats import PsiData

CLASSES = sorted(MESSAGES, key=lambda cls: cls.__name__)


def wire_names(cls: type) -> set[str]:
    return {field.metadata.get("proto", field.name) for field in fields(cls)}


# ---------------------------------------------------------------------------------------------- nothing is left out


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_field_of_a_message_is_mapped_or_left_out_with_a_reason(cls: type) -> None:
    message = MESSAGES[cls].DESCRIPTOR
    missing = {field.name for field in message.fields} - wire_names(cls)
    assert {f"{message.name}.{name}" for name in missing} <= set(IGNORED), "map the field or give a reason in IGNORED"


@pytest.mark.parametrize("entry", IGNORED)
def test_what_is_left_out_exists_has_a_reason_and_is_not_mapped(entry: str) -> None:
    name, _, field = entry.partition(".")
    (cls,) = [cls for cls, message in MESSAGES.items() if message.DESCRIPTOR.name == name]
    assert field in MESSAGES[cls].DESCRIPTOR.fields_by_name
    assert field not in wire_names(cls)
    assert IGNORED[entry]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_model_field_has_a_wire_field_of_its_kind(cls: type) -> None:
    for name, _, hint, descriptor in codec._pairs(cls):
        if codec._is_map(descriptor):
            assert typing.get_origin(hint).__name__ == "Mapping", name
        elif descriptor.is_repeated:
            assert typing.get_origin(hint) is tuple, name
        elif descriptor.message_type is not None:
            always = name == "status" and cls.__module__ == answers.__name__
            assert always or isinstance(hint, types.UnionType), f"{name}: an unset message is None"
        else:
            assert isinstance(hint, type), name


def test_a_message_reached_from_a_model_is_a_model_or_a_wrapper() -> None:
    known = {message.DESCRIPTOR.full_name for message in MESSAGES.values()}
    for cls in CLASSES:
        for name, _, _, descriptor in codec._pairs(cls):
            reached = descriptor.message_type
            if reached is not None and not codec._is_map(descriptor) and reached.full_name not in known:
                assert [field.name for field in reached.fields] in (["value"], ["state"]), f"{cls.__name__}.{name}"


# ---------------------------------------------------------------------------------------------- enums


def enum_pairs() -> dict[type[IntEnum], Any]:
    """Model enum → wire enum, as the fields that use them say."""
    found: dict[type[IntEnum], Any] = {}
    for cls in CLASSES:
        for _, _, hint, descriptor in codec._pairs(cls):
            inner = codec._not_none(typing.get_args(hint)[0] if typing.get_origin(hint) is tuple else hint)
            if isinstance(inner, type) and issubclass(inner, IntEnum):
                wire = descriptor.enum_type or descriptor.message_type.fields[0].enum_type
                assert found.setdefault(inner, wire) is wire, inner
    found[runtime.CgroupDriver] = pb.CgroupDriver.DESCRIPTOR
    return found


ENUMS = enum_pairs()


def test_no_enum_of_the_model_is_forgotten() -> None:
    rooms = (container, linux, runtime, sandbox, signals, stats)
    defined = {
        value
        for room in rooms
        for value in vars(room).values()
        if isinstance(value, type) and issubclass(value, IntEnum) and value is not IntEnum
    }
    assert set(ENUMS) == defined


@pytest.mark.parametrize("enum", ENUMS, ids=lambda enum: enum.__name__)
def test_an_enum_has_the_numbers_and_names_of_the_interface(enum: type[IntEnum]) -> None:
    wire = {value.number: value.name.upper() for value in ENUMS[enum].values}
    assert {member.value for member in enum} == set(wire)
    for member in enum:
        short = member.name.replace("_", "")
        found = wire[member.value].removesuffix("_EVENT").replace("_", "")
        assert found.endswith(short), f"{member!r} is {wire[member.value]}"


# ---------------------------------------------------------------------------------------------- there and back


RANGES = {
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint64": (0, 2**64 - 1),
}
KINDS = {
    1: "double",
    2: "float",
    3: "int64",
    4: "uint64",
    5: "int32",
    8: "bool",
    9: "string",
    12: "bytes",
    13: "uint32",
}


@cache
def scalars(kind: str) -> st.SearchStrategy[Any]:
    if kind in RANGES:
        return st.integers(*RANGES[kind])
    if kind == "double":
        return st.floats(allow_nan=False)
    return {"bool": st.booleans(), "string": st.text(max_size=4), "bytes": st.binary(max_size=4)}[kind]


@cache
def models(cls: type, depth: int = 0) -> st.SearchStrategy[Any]:
    """Any value of a model class, derived from its fields and their descriptors."""
    given = {}
    for name, _, hint, descriptor in codec._pairs(cls):
        if codec._is_map(descriptor):
            given[name] = st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2)
        elif descriptor.is_repeated:
            given[name] = st.lists(one(typing.get_args(hint)[0], descriptor, depth), max_size=2).map(tuple)
        elif descriptor.message_type is not None:
            inner = codec._not_none(hint)
            field = descriptor if inner in MESSAGES else descriptor.message_type.fields[0]
            given[name] = st.none() | one(inner, field, depth)
        else:
            given[name] = one(hint, descriptor, depth)
    chosen = [st.just({}), *(strategy.map(lambda value, name=name: {name: value}) for name, strategy in given.items())]
    some = st.lists(st.one_of(chosen), max_size=5)
    return some.map(lambda parts: cls(**{name: value for part in parts for name, value in part.items()}))


def one(hint: Any, descriptor: Any, depth: int) -> st.SearchStrategy[Any]:
    if hint in MESSAGES:
        return st.deferred(lambda: models(hint, depth + 1)) if depth < 3 else st.just(hint())
    if isinstance(hint, type) and issubclass(hint, IntEnum):
        return st.sampled_from(hint)
    return scalars(KINDS[descriptor.type])


ROOTS = [
    PodSandboxConfig,
    ContainerConfig,
    container.ContainerStatus,
    sandbox.PodSandboxStatus,
    ContainerFilter,
    PodSandboxFilter,
    stats.PodSandboxStats,
    stats.PodSandboxMetrics,
    runtime.RuntimeStatus,
    runtime.ContainerEventResponse,
    runtime.RuntimeHandler,
]


@pytest.mark.parametrize("cls", ROOTS, ids=lambda cls: cls.__name__)
def test_a_model_survives_the_way_to_the_wire_and_back(cls: type) -> None:
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(models(cls))
    def check(value: Any) -> None:
        message = encode(value)
        assert type(message) is MESSAGES[cls]
        assert decode(cls, MESSAGES[cls].FromString(message.SerializeToString())) == value

    check()


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_an_empty_message_is_the_models_defaults(cls: type) -> None:
    assert decode(cls, MESSAGES[cls]()) == cls()
    if cls.__module__ != answers.__name__:  # a status is always there
        assert encode(cls()).SerializeToString() == b""


def test_unknown_fields_are_ignored() -> None:
    newer = pb.KeyValue(key="a").SerializeToString() + b"\xfa\x01\x03new"  # field 31, from the future
    assert decode(KeyValue, pb.KeyValue.FromString(newer)) == KeyValue(key="a")


# ---------------------------------------------------------------------------------------------- odd corners


def test_absent_and_zero_are_told_apart() -> None:
    absent, root = pb.LinuxContainerSecurityContext(), pb.LinuxContainerSecurityContext(run_as_user=pb.Int64Value())
    assert decode(LinuxContainerSecurityContext, absent).run_as_user is None
    assert decode(LinuxContainerSecurityContext, root).run_as_user == 0
    assert encode(LinuxContainerSecurityContext(run_as_user=0)).HasField("run_as_user")


@pytest.mark.parametrize(
    ("cls", "message", "state"),
    [
        (PodSandboxFilter, pb.PodSandboxFilter(state=pb.PodSandboxStateValue()), PodSandboxState.READY),
        (ContainerFilter, pb.ContainerFilter(state=pb.ContainerStateValue()), ContainerState.CREATED),
        (ContainerFilter, pb.ContainerFilter(), None),
    ],
)
def test_a_filters_state_zero_is_a_state(cls: type, message: Any, state: object) -> None:
    found = decode(cls, message).state
    assert found is state


def test_environment_values_are_bytes() -> None:
    message = pb.ContainerConfig(envs=[pb.KeyValue(key="A", value=b"\xff\x00")])
    assert decode(ContainerConfig, message).envs == (KeyValue(key="A", value=b"\xff\x00"),)


def test_fields_with_odd_names_are_mapped() -> None:
    assert encode(PsiData(total=5, avg10=0.5)) == pb.PsiData(Total=5, Avg10=0.5)
    config = ContainerConfig(cdi_devices=(linux.CDIDevice(name="a/b=c"),))
    assert [device.name for device in encode(config).CDI_devices] == ["a/b=c"]
    mount = Mount(uid_mappings=(linux.IDMapping(length=1),), gid_mappings=(linux.IDMapping(length=2),))
    assert [m.length for m in (*encode(mount).uidMappings, *encode(mount).gidMappings)] == [1, 2]


def test_enum_members_come_back_as_members() -> None:
    found = decode(Mount, pb.Mount(propagation=pb.PROPAGATION_BIDIRECTIONAL))
    assert found.propagation is MountPropagation.BIDIRECTIONAL


# ---------------------------------------------------------------------------------------------- bad enums


def test_an_unset_sub_message_is_none_and_a_bad_one_is_named() -> None:
    assert decode_field(PodSandboxConfig, pb.RunPodSandboxRequest(), "config") is None
    options = pb.NamespaceOption(network=9)  # type: ignore[arg-type]
    context = pb.LinuxSandboxSecurityContext(namespace_options=options)
    config = pb.PodSandboxConfig(linux=pb.LinuxPodSandboxConfig(security_context=context))
    with pytest.raises(
        InvalidArgument, match=r"^config\.linux\.security_context\.namespace_options\.network: 9 is not"
    ):
        decode_field(PodSandboxConfig, pb.RunPodSandboxRequest(config=config), "config")


@pytest.mark.parametrize(
    ("cls", "message", "path"),
    [
        (NamespaceOption, pb.NamespaceOption(pid=7), "pid"),  # type: ignore[arg-type]
        (ContainerConfig, pb.ContainerConfig(stop_signal=99), "stop_signal"),  # type: ignore[arg-type]
        (ContainerConfig, pb.ContainerConfig(mounts=[pb.Mount(), pb.Mount(propagation=5)]), "mounts.propagation"),  # type: ignore[arg-type]
        (ContainerFilter, pb.ContainerFilter(state=pb.ContainerStateValue(state=8)), "state"),  # type: ignore[arg-type]
        (PodSandboxConfig, pb.PodSandboxConfig(port_mappings=[pb.PortMapping(protocol=-1)]), "port_mappings.protocol"),  # type: ignore[arg-type]
    ],
)
def test_a_number_without_a_name_is_refused_by_its_path(cls: type, message: Any, path: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        decode(cls, message)
    assert str(caught.value).startswith(f"{path}: ")
    assert "use one of 0 (" in str(caught.value)


def test_one_bad_request_does_not_spoil_the_next() -> None:
    with pytest.raises(InvalidArgument):
        decode(NamespaceOption, pb.NamespaceOption(pid=7))  # type: ignore[arg-type]
    assert decode(NamespaceOption, pb.NamespaceOption(pid=2)).pid is NamespaceMode.NODE  # type: ignore[arg-type]


def test_a_model_without_a_default_is_refused_when_its_codec_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import dataclass

    @dataclass
    class KeyValue:
        key: str

    KeyValue.__annotations__ = {"key": str}
    monkeypatch.setattr(codec, "MESSAGES", {**MESSAGES, KeyValue: pb.KeyValue})
    with pytest.raises(TypeError, match=r"KeyValue\.key needs a default"):
        codec._pairs(KeyValue)
