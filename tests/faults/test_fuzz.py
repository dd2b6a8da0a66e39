"""Any message to any RPC: refused in words or carried out, never INTERNAL, never hanging, and nothing left over.

Messages are made from the descriptors, so a new field or RPC is fuzzed by itself. Most of them begin as a request that
makes sense, so that the fuzz reaches beyond the first check. Paths of the host are bent into the test's own folder.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from criadapt.cri.v1 import api_pb2 as pb
from criadapt.testing.factories import BUSYBOX
from criadapt.testing.inprocess import METHODS, SLEEP, InProcess, container_config, pod_config, serving_inprocess, until

EXAMPLES = int(os.environ.get("CRIADAPT_FUZZ_EXAMPLES", "12"))
HANGS = 5.0  # seconds after which a call hangs

fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize="CI" in os.environ,
    suppress_health_check=list(HealthCheck),
)

CODES = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.PERMISSION_DENIED,
}
# UNKNOWN is for failures of the engine, and for the words that kubelet looks for.
KNOWN_FAILURES = re.compile(
    r"RegistryUnavailable|SignatureValidationFailed|RROUnsupported|ImageVolumeMountFailed|"
    r"exec: |log_directory|log file|failed to (start|create|set up)|chdir|cannot join",
)


# ---------------------------------------------------------------------------------------------- messages


ODD_TEXT = [
    "",
    "\0",
    "a\0b",
    "x" * 300,
    "x" * 70_000,
    "/",
    "..",
    "../..",
    "/" + "d/" * 2500,
    "ünïcode ✓🙂",
    "\n",
    "%s%n",
    "-1",
]
PATHS = ["/tmp", "/x", "/etc/hosts", "/proc", "/dev/null", "/a/../b", "//double", "/" + "n" * 300]
IDS = ["{pod}", "{pod:.13}", "{app}", "{app:.13}", "0" * 64, "f"]
text = st.one_of(st.sampled_from(ODD_TEXT), st.sampled_from(PATHS), st.text(max_size=20))
ids = st.one_of(st.sampled_from(IDS), text)
paths = st.one_of(st.sampled_from(PATHS), text)
WORDS: dict[str, st.SearchStrategy[str]] = {
    "image": st.one_of(st.sampled_from([BUSYBOX, "busybox", "absent", "sha256:" + "0" * 64]), text),
    "runtime_handler": st.one_of(st.sampled_from(["", "mock"]), text),
    "page_size": st.one_of(st.sampled_from(["2MB", "1GB"]), text),
    "name": st.one_of(st.sampled_from(["web", "app", "x"]), text),
    **dict.fromkeys(("pod_sandbox_id", "container_id", "container_ids", "id", "target_id"), ids),
    **dict.fromkeys(("host_path", "container_path", "log_directory", "location"), paths),
}

_LIMITS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


def one_value(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_MESSAGE:
        return message(field.message_type, depth + 1)
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        known = [value.number for value in field.enum_type.values]
        return st.sampled_from([*known, *known, -1, max(known) + 1, 2**31 - 1, -(2**31)])
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return st.booleans()
    if kind in _LIMITS:
        low, high = _LIMITS[kind]
        return st.one_of(st.sampled_from([0, 1, low, high]), st.integers(max(low, -3), 100_000), st.integers(low, high))
    if kind in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return st.floats(width=32)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=50)
    return WORDS.get(field.name, text)


def values(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        key, value = field.message_type.fields
        return st.dictionaries(one_value(key, depth), one_value(value, depth), max_size=2)
    return st.lists(one_value(field, depth), max_size=3) if field.is_repeated else one_value(field, depth)


def message(descriptor: Any, depth: int = 0) -> st.SearchStrategy[dict[str, Any]]:
    """A message as a dictionary, with a few of its fields; without any deep down."""
    if depth > 6:
        return st.just({})
    fields = list(descriptor.fields)
    if not fields:
        return st.just({})

    @st.composite
    def some(draw: st.DrawFn) -> dict[str, Any]:
        chosen = draw(st.lists(st.sampled_from(fields), max_size=4, unique_by=lambda field: field.name))
        return {field.name: draw(values(field, depth)) for field in chosen}

    return some()


POD = {"config": {"metadata": {"name": "fuzz", "uid": "u", "namespace": "n"}, "log_directory": "/logs"}}
APP = {"metadata": {"name": "fuzz"}, "image": {"image": BUSYBOX}, "command": ["sleep", "1000"], "log_path": "fuzz.log"}
VICTIM = {**APP, "metadata": {"name": "victim"}, "command": list(SLEEP)}
SENSIBLE: dict[str, dict[str, Any]] = {
    "RunPodSandbox": POD,
    "CreateContainer": {"pod_sandbox_id": "{pod}", "config": APP},
    "UpdateContainerResources": {"container_id": "{app}", "linux": {"cpu_shares": 7}},
    "ExecSync": {"container_id": "{app}", "cmd": ["echo", "x"], "timeout": 1},
    "Exec": {"container_id": "{app}", "cmd": ["true"], "stdout": True},
    "Attach": {"container_id": "{app}", "stdout": True},
    "PortForward": {"pod_sandbox_id": "{pod}", "port": [80]},
    "PullImage": {"image": {"image": "example.com/app"}, "auth": {"username": "me"}},
    "ImageStatus": {"image": {"image": BUSYBOX}},
    "RemoveImage": {"image": {"image": "example.com/app"}},
    "CheckpointContainer": {"container_id": "{app}", "location": "/checkpoint"},
    "CheckpointPod": {"pod_sandbox_id": "{pod}", "output_path": "/", "container_ids": ["{app}"]},
    "RestorePod": {"checkpoint_path": "/saved", **POD, "container_configs": [VICTIM]},
}


def sensible(rpc: str) -> dict[str, Any]:
    fields = {field.name for field in METHODS[rpc].input_type.fields}
    ids = {"container_id": "{app}", "pod_sandbox_id": "{pod}"}
    return SENSIBLE.get(rpc) or {name: id for name, id in ids.items() if name in fields}


def mixed(base: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    """What is in `extra`, inside what makes sense."""
    result = dict(base)
    for key, value in extra.items():
        old = result.get(key)
        result[key] = mixed(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def requests(rpc: str) -> st.SearchStrategy[dict[str, Any]]:
    random = message(METHODS[rpc].input_type)
    sense = random.map(lambda extra: mixed(sensible(rpc), extra))
    return st.one_of(random, sense, sense)


# ---------------------------------------------------------------------------------------------- confinement

HOST_PATHS = {"host_path", "log_directory", "location", "output_path", "checkpoint_path", "localhost_ref"}


def confined(value: Any, folder: Path, names: dict[str, str], key: str = "") -> Any:
    """Absolute paths of the host lie in `folder`, and the names of ids are filled in."""
    if isinstance(value, dict):
        return {key: confined(item, folder, names, key) for key, item in value.items()}
    if isinstance(value, list):
        return [confined(item, folder, names, key) for item in value]
    if isinstance(value, str) and key in HOST_PATHS and value.startswith("/"):
        return str(folder) + value.replace("..", "__")
    if isinstance(value, str) and value in IDS:
        return value.format(**names)
    return value


def filled(kind: Any, value: dict[str, Any]) -> Message:
    """The message of a dictionary."""
    made = kind()
    _fill(made, value)
    return made


def _fill(made: Any, value: dict[str, Any]) -> None:
    for name, item in value.items():
        field = made.DESCRIPTOR.fields_by_name[name]
        target = getattr(made, name)
        if isinstance(item, dict) and field.is_repeated:
            target.update(item)
        elif isinstance(item, dict):
            target.SetInParent()
            _fill(target, item)
        elif isinstance(item, list) and field.message_type is not None:
            for each in item:
                _fill(target.add(), each)
        elif isinstance(item, list):
            target.extend(item)
        else:
            setattr(made, name, item)


# ---------------------------------------------------------------------------------------------- the tests


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[InProcess]:
    """One server for all examples of an RPC; in the end everything can be removed and nothing is left."""
    async with serving_inprocess(tmp_path) as server:
        empty = server.traces()
        yield server
        for name in ("Version", "Status", "ListPodSandbox", "ListContainers", "ListImages"):
            await getattr(server.rpc, name)()
        await _coherent(server)
        await server.remove_all()
        server.runtime.sessions._pending.clear()
        await server.leaves(empty)
    assert server.errors == []


async def _coherent(server: InProcess) -> None:
    for row in (await server.rpc.ListPodSandbox()).items:
        assert (await server.pod(row.id)).state == row.state
    for row in (await server.rpc.ListContainers()).containers:
        status = await server.container(row.id)
        assert status.state == row.state
        assert (status.finished_at > 0) == (status.state == pb.CONTAINER_EXITED)


async def _inhabitants(server: InProcess) -> dict[str, str]:
    """A pod with a running container, made again if an example has ended them."""
    pods = [row.id for row in (await server.rpc.ListPodSandbox(filter={"label_selector": {"role": "victim"}})).items]
    apps = await server.rpc.ListContainers(filter={"label_selector": {"role": "victim"}, "state": {"state": 1}})
    if pods and apps.containers and (await server.pod(pods[0])).state == pb.SANDBOX_READY:
        return {"pod": pods[0], "app": apps.containers[0].id}
    for pod in pods:
        await server.rpc.RemovePodSandbox(pod_sandbox_id=pod)
    config = pod_config("victim", labels={"role": "victim"}, log_directory=str(server.logs))
    pod = (await server.rpc.RunPodSandbox(config=config)).pod_sandbox_id
    config = container_config("victim", labels={"role": "victim"}, log_path="victim.log")
    app = (await server.rpc.CreateContainer(pod_sandbox_id=pod, config=config)).container_id
    await server.rpc.StartContainer(container_id=app)
    return {"pod": pod, "app": app}


async def _send(server: InProcess, rpc: str, message: Message) -> tuple[grpc.StatusCode, str]:
    call = getattr(server.stub, rpc)(message, timeout=HANGS)
    try:
        if rpc == "GetContainerEvents":
            await call.initial_metadata()
            call.cancel()
        elif METHODS[rpc].server_streaming:
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    return grpc.StatusCode.OK, ""


def _allowed(rpc: str, code: grpc.StatusCode, details: str) -> bool:
    if code is grpc.StatusCode.UNKNOWN:
        return bool(KNOWN_FAILURES.search(details))
    if code is grpc.StatusCode.UNAVAILABLE:
        return rpc == "PodSandboxStats" and "not ready" in details
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return rpc == "ExecSync" and "timed out after" in details
    return code in CODES


def _patient(rpc: str, value: dict[str, Any]) -> dict[str, Any]:
    """What may rightly take long does not: a grace, and a command without an end."""
    if rpc in ("StopContainer", "ExecSync") and value.get("timeout", 0) > 1:
        value = {**value, "timeout": 1}
    if rpc == "ExecSync" and value.get("timeout", 0) == 0:
        value = {**value, "timeout": 1}
    return value


@pytest.mark.parametrize("rpc", METHODS)
@fuzz
@given(data=st.data())
async def test_any_message_is_answered(server: InProcess, tmp_path: Path, rpc: str, data: st.DataObject) -> None:
    names = await _inhabitants(server)
    folder = tmp_path / "host"
    if not folder.exists():
        (folder / "saved").mkdir(parents=True)
        saved = {"output_path": str(folder / "saved"), "container_ids": [names["app"]]}
        await server.rpc.CheckpointPod(pod_sandbox_id=names["pod"], **saved)
    value = confined(_patient(rpc, data.draw(requests(rpc))), folder, names)
    sent = filled(getattr(pb, METHODS[rpc].input_type.name), value)
    code, details = await _send(server, rpc, sent)
    assert _allowed(rpc, code, details), f"{code}: {details}"
    if rpc == "CreateContainer" and code is grpc.StatusCode.OK:
        newest = (await server.rpc.ListContainers()).containers[0].id
        for call, more in (("StartContainer", {}), ("StopContainer", {"timeout": 1}), ("RemoveContainer", {})):
            message = filled(getattr(pb, METHODS[call].input_type.name), {"container_id": newest, **more})
            code, details = await _send(server, call, message)
            assert _allowed(call, code, details), f"{call}: {code}: {details}"
    if rpc in ("RunPodSandbox", "RestorePod") and code is grpc.StatusCode.OK:
        newest = (await server.rpc.ListPodSandbox()).items[0].id
        config = container_config("probe", log_path="probe.log", command=["true"])
        app = (await server.rpc.CreateContainer(pod_sandbox_id=newest, config=config)).container_id
        code, details = await _send(server, "StartContainer", pb.StartContainerRequest(container_id=app))
        assert _allowed("StartContainer", code, details), f"{code}: {details}"
        await server.rpc.RemovePodSandbox(pod_sandbox_id=newest)


async def test_what_the_fuzz_left_survives_a_restart(server: InProcess, tmp_path: Path) -> None:
    """Records of anything that was accepted can be read again."""
    folder = tmp_path / "host"
    folder.mkdir()

    @settings(fuzz, max_examples=40)
    @given(st.lists(st.tuples(requests("RunPodSandbox"), requests("CreateContainer")), min_size=1, max_size=1))
    def collect(pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
        made.extend(pairs)

    made: list[tuple[dict[str, Any], dict[str, Any]]] = []
    await asyncio.to_thread(collect)
    names = await _inhabitants(server)
    for number, (pod, app) in enumerate(made):
        pod = mixed(pod, {"config": {"metadata": {"name": f"p{number}", "uid": "u", "namespace": "n"}}})
        app = mixed(app, {"config": {"metadata": {"name": f"c{number}"}}, "pod_sandbox_id": "{pod}"})
        await _send(server, "RunPodSandbox", filled(pb.RunPodSandboxRequest, confined(pod, folder, names)))
        await _send(server, "CreateContainer", filled(pb.CreateContainerRequest, confined(app, folder, names)))

    async def world() -> list[bytes]:
        pods = [(await server.pod(row.id)) for row in (await server.rpc.ListPodSandbox()).items]
        apps = [(await server.container(row.id)) for row in (await server.rpc.ListContainers()).containers]
        return [each.SerializeToString(deterministic=True) for each in (*pods, *apps)]

    before = await world()
    assert len(before) > 10
    await server.crash()
    assert await world() == before
    await until(lambda: not server.traces().busy)
