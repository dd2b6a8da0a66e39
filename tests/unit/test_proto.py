"""The CRI as compiled is the CRI of the facts file, its source is commented, its stubs keep to themselves."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.internal import api_implementation

from criadapt.cri.v1 import api_pb2, api_pb2_grpc

ROOT = Path(__file__).parents[2]
FACTS: dict[str, Any] = json.loads((ROOT / "proto/facts/cri-v1.json").read_text())
SOURCE = (ROOT / "proto/runtime/v1/api.proto").read_text()

COMPILED = FileDescriptorProto()
api_pb2.DESCRIPTOR.CopyToProto(COMPILED)


# Facts and compiled descriptors are both told as lines of text, so that a failing comparison of two sets
# names what differs in a form one can read.


def told_by_facts() -> Iterator[str]:
    yield f"{FACTS['syntax']} {FACTS['package']}"
    for service in FACTS["services"]:
        for rpc in service["rpcs"]:
            stream = "stream " if rpc["server_streaming"] else ""
            yield f"rpc {service['name']}.{rpc['name']}({rpc['request']}) returns ({stream}{rpc['response']})"
    for enum in FACTS["enums"]:
        yield f"enum {enum['name']}"
        for name, number in enum["values"].items():
            yield f"value {enum['name']}.{name} = {number}"
    for message in FACTS["messages"]:
        yield f"message {message['name']}"
        for field in message["fields"]:
            kind = "repeated " * field.get("repeated", False) + field["type"]
            deprecated = " deprecated" * field.get("deprecated", False)
            yield f"field {message['name']}.{field['name']} = {field['number']} {kind}{deprecated}"


def told_by_descriptors() -> Iterator[str]:
    yield f"{COMPILED.syntax} {COMPILED.package}"
    for service in COMPILED.service:
        for rpc in service.method:
            request = "stream " * rpc.client_streaming + local(rpc.input_type)
            response = "stream " * rpc.server_streaming + local(rpc.output_type)
            yield f"rpc {service.name}.{rpc.name}({request}) returns ({response})"
    for enum in COMPILED.enum_type:
        yield from told_by_enum(enum, enum.name)
    for message in COMPILED.message_type:
        yield from told_by_message(message, message.name)


def told_by_enum(enum: EnumDescriptorProto, full_name: str) -> Iterator[str]:
    yield f"enum {full_name}"
    for value in enum.value:
        yield f"value {full_name}.{value.name} = {value.number}"


def told_by_message(message: DescriptorProto, full_name: str) -> Iterator[str]:
    yield f"message {full_name}"
    for field in message.field:
        kind = told_type(field, message)
        deprecated = " deprecated" * field.options.deprecated
        oneof = " in a oneof" * field.HasField("oneof_index")
        yield f"field {full_name}.{field.name} = {field.number} {kind}{deprecated}{oneof}"
    for enum in message.enum_type:
        yield from told_by_enum(enum, f"{full_name}.{enum.name}")
    for nested in message.nested_type:
        if not nested.options.map_entry:
            yield from told_by_message(nested, f"{full_name}.{nested.name}")


def told_type(field: FieldDescriptorProto, message: DescriptorProto) -> str:
    entries = {entry.name: entry for entry in message.nested_type if entry.options.map_entry}
    entry = entries.get(field.type_name.rpartition(".")[2])
    if entry is not None:
        key, value = (told_type(part, entry) for part in entry.field)
        return f"map<{key}, {value}>"
    label = "repeated " if field.label == FieldDescriptorProto.LABEL_REPEATED else ""
    scalar = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    return label + (local(field.type_name) or scalar)


def local(type_name: str) -> str:
    return type_name.removeprefix(".runtime.v1.")


def test_compiled_interface_is_that_of_the_facts() -> None:
    assert set(told_by_descriptors()) == set(told_by_facts())


def test_the_facts_are_complete() -> None:
    lines = list(told_by_facts())
    assert len(lines) == len(set(lines))
    kinds = [line.split()[0] for line in lines]
    assert {kind: kinds.count(kind) for kind in ("rpc", "message", "field", "enum")} == {
        "rpc": 43,
        "message": 175,
        "field": 478,
        "enum": 11,
    }


def test_secrets_are_marked() -> None:
    marked = {
        f"{message.name}.{field.name}"
        for message in COMPILED.message_type
        for field in message.field
        if field.options.debug_redact
    }
    secrets = {"password", "auth", "identity_token", "registry_token"}
    assert marked == {f"AuthConfig.{name}" for name in secrets}


def declarations() -> Iterator[tuple[str, str, bool]]:
    """Kind and name of everything declared in api.proto, and whether a comment stands above it."""
    scopes: list[tuple[str, str]] = []
    above = ""
    for line in map(str.strip, SOURCE.splitlines()):
        kind, name = "", ""
        if opened := re.match(r"(service|message|enum) (\w+) \{", line):
            kind, name = opened.groups()
        elif rpc := re.match(r"rpc (\w+)\(", line):
            kind, name = "rpc", rpc[1]
        elif member := re.match(r"(?:.* )?(\w+) = \d+(?: \[.*\])?;$", line):
            kind, name = "value" if scopes[-1][0] == "enum" else "field", member[1]
        if kind:
            yield kind, ".".join([*(scope for _, scope in scopes), name]), bool(re.match(r"// *\S", above))
        if opened and not line.endswith("}"):
            scopes.append((kind, name))
        elif line == "}":
            scopes.pop()
        above = line


def test_everything_in_the_proto_has_a_comment() -> None:
    kinds_and_names = [(kind, name) for kind, name, _ in declarations()]
    assert [name for kind, name, commented in declarations() if kind != "value" and not commented] == []
    # The reading above overlooked nothing:
    compiled = [line.replace("(", " ").split()[:2] for line in told_by_descriptors()][1:]
    services = [("service", service.name) for service in COMPILED.service]
    assert sorted(kinds_and_names) == sorted([(kind, name) for kind, name in compiled] + services)


class RecordingChannel:
    """Takes note of the calls that a stub registers."""

    def __init__(self) -> None:
        self.calls: dict[str, tuple[bool, type]] = {}

    def note(self, *, streaming: bool) -> Callable[..., None]:
        def register(path: str, *, response_deserializer: Callable[[bytes], object], **_: object) -> None:
            self.calls[path] = (streaming, type(response_deserializer(b"")))

        return register

    @property
    def unary_unary(self) -> Callable[..., None]:
        return self.note(streaming=False)

    @property
    def unary_stream(self) -> Callable[..., None]:
        return self.note(streaming=True)


@pytest.mark.parametrize("service", FACTS["services"], ids=lambda service: str(service["name"]))
def test_stubs_call_every_rpc(service: dict[str, Any]) -> None:
    channel = RecordingChannel()
    getattr(api_pb2_grpc, f"{service['name']}Stub")(channel)
    assert channel.calls == {
        f"/runtime.v1.{service['name']}/{rpc['name']}": (
            rpc["server_streaming"],
            getattr(api_pb2, rpc["response"]),
        )
        for rpc in service["rpcs"]
    }


def test_environment_values_need_not_be_utf8() -> None:
    value = b"caf\xe9 \xff\xfe"
    config = api_pb2.ContainerConfig(envs=[api_pb2.KeyValue(key="NAME", value=value)])
    wire = config.SerializeToString()
    assert wire == b"\x32\x0f\x0a\x04NAME\x12\x07" + value
    assert api_pb2.ContainerConfig.FromString(wire).envs[0].value == value
    assert json_format.Parse(json_format.MessageToJson(config), api_pb2.ContainerConfig()) == config


# A process in which another package brings the same CRI, in the default pool as stubs usually are.
TWO_STUBS = """
import pathlib, pickle, sys
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

serialized = pathlib.Path(sys.argv[2]).read_bytes()

def load_ours():
    from criadapt.cri.v1 import api_pb2, api_pb2_grpc
    return api_pb2.PodSandboxConfig

def load_theirs():
    file = descriptor_pb2.FileDescriptorProto.FromString(serialized)
    file.name = "elsewhere/api.proto"
    descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
    found = descriptor_pool.Default().FindMessageTypeByName("runtime.v1.PodSandboxConfig")
    return message_factory.GetMessageClass(found)

if sys.argv[1] == "ours first":
    Ours, Theirs = load_ours(), load_theirs()
else:
    Theirs, Ours = load_theirs(), load_ours()

assert Ours.DESCRIPTOR.file.pool is not Theirs.DESCRIPTOR.file.pool
content = {
    "metadata": {"name": "web", "uid": "u1", "namespace": "default", "attempt": 2},
    "labels": {"app": "web"},
    "portMappings": [{"protocol": "UDP", "containerPort": 53}],
    "linux": {"securityContext": {"runAsUser": {"value": "1000"}, "seccomp": {"profileType": "Localhost"}}},
}
for Config, Other in (Ours, Theirs), (Theirs, Ours):
    config = json_format.ParseDict(content, Config())
    assert json_format.MessageToDict(config) == content
    assert Config.FromString(config.SerializeToString()) == config
    assert json_format.MessageToDict(Other.FromString(config.SerializeToString())) == content
ours = json_format.ParseDict(content, Ours())
assert pickle.loads(pickle.dumps(ours)) == ours

# What would have happened in one pool:
try:
    descriptor_pool.Default().AddSerializedFile(serialized)
except TypeError:
    print("clash avoided")
"""


@pytest.mark.skipif(
    api_implementation.Type() == "python",
    reason="protobuf in pure Python enters all symbols into the default pool",
)
@pytest.mark.parametrize("order", ["ours first", "theirs first"])
def test_other_cri_stubs_in_the_process_do_no_harm(order: str, tmp_path: Path) -> None:
    serialized = tmp_path / "cri.binpb"
    serialized.write_bytes(api_pb2.DESCRIPTOR.serialized_pb)
    command = [sys.executable, "-W", "error", "-c", TWO_STUBS, order, str(serialized)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stdout, done.stderr) == (0, "clash avoided\n", "")


@pytest.fixture(scope="module")
def gen_proto() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gen_proto", ROOT / "scripts/gen_proto.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generator_check_names_every_difference(gen_proto: ModuleType) -> None:
    wanted = {"same.py": "a\n", "changed.py": "a\nb\n", "new.py": ""}
    found = {"same.py": "a\n", "changed.py": "a\nc\n", "old.py": ""}
    changed, missing, surplus = gen_proto.differences(wanted, found)
    assert missing == "missing: criadapt/cri/v1/new.py"
    assert surplus == "surplus: criadapt/cri/v1/old.py"
    assert changed.startswith("different: criadapt/cri/v1/changed.py\n")
    assert changed.endswith(" a\n-c\n+b")


@pytest.mark.parametrize("times", [0, 2])
def test_generator_insists_on_one_pool(gen_proto: ModuleType, times: int) -> None:
    with pytest.raises(gen_proto.GenerationError, match=f"has {times} times"):
        gen_proto.with_private_pool("_descriptor_pool.Default()" * times)
