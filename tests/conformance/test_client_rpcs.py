"""The client's 43 RPCs, both colours: each is there, each is answered, each failure is an error of ours."""

from __future__ import annotations

import asyncio
import inspect
import re
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from criadapt import AsyncClient, Client, errors
from criadapt.client.table import RPCS
from criadapt.config import FaultRule
from criadapt.cri.v1 import api_pb2 as pb
from criadapt.model.container import ContainerConfig, ContainerFilter, ContainerMetadata, ContainerState
from criadapt.model.image import AuthConfig, ImageFilter, ImageSpec
from criadapt.model.linux import LinuxContainerResources
from criadapt.model.sandbox import PodSandboxConfig, PodSandboxFilter, PodSandboxMetadata
from criadapt.model.stats import ContainerStatsFilter, PodSandboxStatsFilter
from criadapt.testing.colours import COLOURS, connected
from criadapt.testing.factories import BUSYBOX
from criadapt.testing.inprocess import METHODS, SLEEP, InProcess, until
from criadapt.testing.relay import Relay, refusal, relaying, saying, waiting

PREPARED = {"Exec": "prepare_exec", "Attach": "prepare_attach", "PortForward": "prepare_port_forward"}


def method_of(rpc: str) -> str:
    return PREPARED.get(rpc) or re.sub(r"(?<=[a-z])(?=[A-Z])", "_", rpc).lower()


def pod_config(name: str = "web", **fields: Any) -> PodSandboxConfig:
    return PodSandboxConfig(metadata=PodSandboxMetadata(name=name, uid=f"uid-of-{name}", namespace="default"), **fields)


APP = ContainerConfig(
    metadata=ContainerMetadata(name="app"), image=ImageSpec(image=BUSYBOX), command=SLEEP, log_path="app.log"
)


# ---------------------------------------------------------------------------------------------- all are there


def test_the_table_has_them_all() -> None:
    assert sorted(rpc.name for rpc in RPCS.values()) == sorted(METHODS)
    assert {rpc.name: rpc.streams for rpc in RPCS.values()} == {
        name: method.server_streaming for name, method in METHODS.items()
    }


@pytest.mark.parametrize("cls", [AsyncClient, Client])
@pytest.mark.parametrize("rpc", METHODS)
def test_every_rpc_has_a_method_with_a_deadline_and_words(cls: type, rpc: str) -> None:
    method = getattr(cls, method_of(rpc))
    assert inspect.signature(method).parameters["timeout"].kind is inspect.Parameter.KEYWORD_ONLY
    assert method.__doc__
    generates = inspect.isasyncgenfunction(method) or inspect.isgeneratorfunction(method)
    assert generates is METHODS[rpc].server_streaming
    if not METHODS[rpc].server_streaming:
        assert inspect.iscoroutinefunction(method) is (cls is AsyncClient)


def test_reads_are_those_that_change_nothing() -> None:
    assert {rpc.name for rpc in RPCS.values() if rpc.read} == {
        name
        for name in METHODS
        if name.startswith(("List", "Stream", "Version", "RuntimeConfig", "ImageFs"))
        or name.endswith(("Status", "Stats"))
    }


class Recorder:
    """Takes note of the methods that are used."""

    def __init__(self, client: AsyncClient) -> None:
        self.client = client
        self.used: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.used.add(name)
        return getattr(self.client, name)


async def listed(stream: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in stream]


async def test_every_method_is_answered_in_the_life_of_a_pod(
    server: InProcess, client: AsyncClient, tmp_path: Path
) -> None:
    """One path through all of them; what is left out at the end is a new RPC without a test."""
    recorder = Recorder(client)
    cri: Any = recorder
    version = await cri.version()
    assert (version.runtime_name, version.runtime_api_version) == ("criadapt", "v1")
    assert client.runtime == version
    status = await cri.status(verbose=True)
    assert {c.type: c.status for c in status.status.conditions} == {"RuntimeReady": True, "NetworkReady": True}
    assert "config" in status.info
    assert (await cri.runtime_config()).name == "CGROUPFS"
    await cri.update_runtime_config("10.9.0.0/16")
    # images
    image = await cri.pull_image("nginx", auth=AuthConfig(username="u", password="p"), sandbox_config=pod_config())
    found = await cri.image_status(ImageSpec(image="nginx"), verbose=True)
    assert found.image is not None
    assert found.image.id == image
    assert found.info
    assert (await cri.image_status("nobody/has:this")).image is None
    assert len(await cri.list_images(ImageFilter(image=ImageSpec(image="nginx")))) == 1
    images = await cri.list_images()
    assert await listed(cri.stream_images()) == list(images)
    assert image in {found.id for found in images}
    assert (await cri.image_fs_info()).image_filesystems[0].used_bytes > 0
    # a pod
    config = pod_config(log_directory=str(server.logs), labels={"app": "web"})
    pod = await cri.run_pod_sandbox(config)
    answer = await cri.pod_sandbox_status(pod, verbose=True)
    assert (answer.status.metadata.name, answer.status.labels) == ("web", {"app": "web"})
    assert answer.info
    assert [row.id for row in await cri.list_pod_sandbox(PodSandboxFilter(label_selector={"app": "web"}))] == [pod]
    assert await cri.list_pod_sandbox(PodSandboxFilter(label_selector={"app": "db"})) == ()
    assert await listed(cri.stream_pod_sandboxes()) == list(await cri.list_pod_sandbox())
    resources = LinuxContainerResources(cpu_shares=2)
    await cri.update_pod_sandbox_resources(pod, overhead=resources, resources=resources)
    # a container
    app = await cri.create_container(pod, APP, config)
    await cri.start_container(app)
    state = ContainerFilter(state=ContainerState.RUNNING, pod_sandbox_id=pod)
    assert [row.id for row in await cri.list_containers(state)] == [app]
    assert await listed(cri.stream_containers(state)) == list(await cri.list_containers())
    one = await cri.container_status(app, verbose=True)
    assert (one.status.id, one.status.state) == (app, ContainerState.RUNNING)
    assert one.info
    await cri.update_container_resources(app, resources)
    await cri.reopen_container_log(app)
    # processes
    done = await cri.exec_sync(app, ["sh", "-c", "echo out; echo err >&2; exit 3"], limit=5)
    assert (done.stdout, done.stderr, done.exit_code) == (b"out\n", b"err\n", 3)
    for url in (
        await cri.prepare_exec(app, ["true"], stdin=True),
        await cri.prepare_attach(app),
        await cri.prepare_port_forward(pod, [80]),
    ):
        assert url.startswith("http://")
    # figures
    assert (await cri.container_stats(app)).attributes.id == app
    by_id = ContainerStatsFilter(id=app)
    assert [stats.attributes.id for stats in await cri.list_container_stats(by_id)] == [app]
    assert [stats.attributes.id async for stats in cri.stream_container_stats(by_id)] == [app]
    assert (await cri.pod_sandbox_stats(pod)).attributes.id == pod
    of_pod = PodSandboxStatsFilter(id=pod)
    assert [stats.attributes.id for stats in await cri.list_pod_sandbox_stats(of_pod)] == [pod]
    assert [stats.attributes.id async for stats in cri.stream_pod_sandbox_stats(of_pod)] == [pod]
    assert {descriptor.name for descriptor in await cri.list_metric_descriptors()}
    assert [metrics.pod_sandbox_id for metrics in await cri.list_pod_sandbox_metrics()] == [pod]
    assert [metrics.pod_sandbox_id async for metrics in cri.stream_pod_sandbox_metrics()] == [pod]
    # checkpoints
    await cri.checkpoint_container(app, str(tmp_path / "one"), limit=5)
    (tmp_path / "all").mkdir()
    await cri.checkpoint_pod(pod, str(tmp_path / "all"), container_ids=[app])
    restored = await cri.restore_pod(str(tmp_path / "all"), pod_config("restored"), container_configs=[APP])
    assert [container.name for container in restored.restored_containers] == ["app"]
    # the end, with an eye on it
    events = aiter(cri.get_container_events())
    first = asyncio.ensure_future(anext(events))
    await until(lambda: server.runtime.events._subscriptions, what="somebody listens")
    await cri.stop_container(app, 1)
    event = await asyncio.wait_for(first, 5)
    assert (event.container_id, event.container_event_type.name) == (app, "STOPPED")
    await events.aclose()
    await cri.remove_container(app)
    await cri.stop_pod_sandbox(pod)
    await cri.remove_pod_sandbox(pod)
    await cri.remove_image(image)
    with pytest.raises(errors.NotFound):
        await cri.pod_sandbox_status(pod)
    assert {method_of(rpc) for rpc in METHODS} == recorder.used


# ---------------------------------------------------------------------------------------------- arguments


@pytest.mark.parametrize("cmd", ["ls -l", b"ls"])
async def test_a_command_that_is_a_string_is_not_split_into_letters(client: AsyncClient, cmd: Any) -> None:
    with pytest.raises(errors.InvalidArgument, match=r"cmd: expected a sequence of arguments, got b?'ls"):
        await client.exec_sync("any", cmd)
    with pytest.raises(errors.InvalidArgument, match="cmd: expected"):
        await client.prepare_exec("any", cmd)


async def test_a_list_may_be_longer_than_grpcs_own_limit(server: InProcess, client: AsyncClient) -> None:
    long = {f"note-{number}": "x" * 100_000 for number in range(10)}
    for number in range(5):
        await client.run_pod_sandbox(pod_config(f"p{number}", annotations=long))
    pods = await client.list_pod_sandbox()
    assert len(pods) == 5
    assert sum(len(value) for pod in pods for value in pod.annotations.values()) > 4 << 20


# ---------------------------------------------------------------------------------------------- failures


async def test_an_error_says_which_call_failed_and_where(server: InProcess, client: AsyncClient) -> None:
    with pytest.raises(errors.NotFound, match="container 'nobody' not found") as caught:
        await client.container_status("nobody")
    assert (caught.value.rpc, caught.value.endpoint) == ("ContainerStatus", f"unix://{server.socket}")
    assert isinstance(caught.value.__cause__, grpc.RpcError)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("RegistryUnavailable", "RegistryUnavailable: registry.example is away"),
        ("SignatureValidationFailed", "SignatureValidationFailed: not signed"),
        ("Unavailable", "the engine is away"),
        ("AlreadyExists", "there is one"),
        ("FailedPrecondition", "not now"),
        ("PermissionDenied", "not you"),
        ("ResourceExhausted", "too many"),
    ],
)
async def test_an_error_arrives_as_the_class_that_was_raised(
    server: InProcess, client: AsyncClient, name: str, message: str
) -> None:
    text = message.partition(": ")[2] or message
    server.backend.set_rules([FaultRule(call="pull", error=name, message=text)])
    with pytest.raises(getattr(errors, name), match=f"{text}$") as caught:
        await client.pull_image("nginx")
    assert type(caught.value).__name__ == name


async def test_a_call_ends_at_its_deadline(server: InProcess, client: AsyncClient) -> None:
    gate = server.backend.hold("pull")
    with pytest.raises(errors.DeadlineExceeded, match=r"^PullImage: unix://.* did not answer within 0.2 s$"):
        await client.pull_image("nginx", timeout=0.2)
    gate.open()


@asynccontextmanager
async def relayed(server: InProcess, colour: str) -> AsyncIterator[tuple[Relay, AsyncClient]]:
    """A client that talks to the server through a relay."""
    socket = server.socket.with_name("relay.sock")
    async with relaying(socket, server.channel) as relay, connected(colour, f"unix://{socket}") as client:
        yield relay, client


@pytest.mark.parametrize("colour", COLOURS)
async def test_what_a_runtime_lacks_is_unsupported_and_named(server: InProcess, colour: str) -> None:
    async with relayed(server, colour) as (relay, client):
        relay.answers["CheckpointContainer"] = refusal(grpc.StatusCode.UNIMPLEMENTED, "unknown method")
        with pytest.raises(
            errors.Unsupported, match=r"^CheckpointContainer: the runtime at unix:.* \(unknown method\)"
        ):
            await client.checkpoint_container("any", "/tmp/x")
        relay.answers["StreamContainers"] = refusal(grpc.StatusCode.UNIMPLEMENTED, "unknown method")
        with pytest.raises(errors.Unsupported, match=r"^StreamContainers"):
            await listed(client.stream_containers())


@pytest.mark.parametrize("colour", COLOURS)
async def test_an_answer_that_no_cri_has_is_an_error_of_the_runtime(server: InProcess, colour: str) -> None:
    async with relayed(server, colour) as (relay, client):
        odd = pb.ContainerStatus(id="x", state=17)  # type: ignore[arg-type]
        relay.answers["ContainerStatus"] = saying(pb.ContainerStatusResponse(status=odd))
        with pytest.raises(errors.EngineError, match=r"ContainerStatusResponse.status.state: 17 is not a Container"):
            await client.container_status("x")


async def test_a_cancelled_call_is_cancelled(server: InProcess) -> None:
    async with connected("asyncio", f"unix://{server.socket}") as client:
        gate = server.backend.hold("pull")
        pulling = asyncio.ensure_future(client.pull_image("nginx"))
        await gate.reached.wait()
        pulling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pulling
        gate.open()
        assert (await client.version()).runtime_name == "criadapt"


@pytest.mark.parametrize("colour", COLOURS)
async def test_closing_ends_what_is_under_way(server: InProcess, colour: str) -> None:
    async with relayed(server, colour) as (relay, client):
        called, never = asyncio.Event(), asyncio.Event()

        async def hang() -> None:
            called.set()
            await never.wait()

        relay.answers["Status"] = waiting(hang)
        asking = asyncio.ensure_future(client.status())
        await asyncio.wait_for(called.wait(), 5)
        await client.aclose()
        with pytest.raises(errors.FailedPrecondition, match=r"^Status: the client of unix:.* is closed"):
            await asking
        never.set()
        await client.aclose()
        with pytest.raises(errors.FailedPrecondition, match="is closed"):
            await client.version()
        with pytest.raises(errors.FailedPrecondition, match="is closed"):
            await listed(client.stream_containers())


# ---------------------------------------------------------------------------------------------- broken connections


class Cutting:
    """A socket in between that can cut a connection as soon as the client says a certain word."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.word = b""
        self.cuts = 0
        self.serving: set[asyncio.Task[None] | None] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.serving.add(asyncio.current_task())
        above, below = await asyncio.open_unix_connection(self.target)
        back = asyncio.ensure_future(self._pump(above, writer))
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if self.word and self.word in data:
                    self.word, self.cuts = b"", self.cuts + 1
                    break
                below.write(data)
        for each in (below, writer):
            each.transport.abort()
        await back
        for each in (below, writer):
            with suppress(ConnectionError):
                await each.wait_closed()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)


@asynccontextmanager
async def cutting(server: InProcess, colour: str) -> AsyncIterator[tuple[Cutting, AsyncClient]]:
    socket = server.socket.with_name("cut.sock")
    cut = Cutting(server.socket)
    listener = await asyncio.start_unix_server(cut.serve, socket)
    try:
        async with connected(colour, f"unix://{socket}") as client:
            yield cut, client
    finally:
        listener.close()
        await asyncio.gather(*filter(None, cut.serving))


@pytest.mark.parametrize("colour", COLOURS)
async def test_a_read_is_asked_again_when_the_connection_breaks(server: InProcess, colour: str) -> None:
    async with cutting(server, colour) as (between, client):
        pod = await client.run_pod_sandbox(pod_config())
        wanted = PodSandboxFilter(id=pod)
        between.word = pod.encode()
        assert [found.id for found in await client.list_pod_sandbox(wanted)] == [pod]
        between.word = pod.encode()
        assert [found.id async for found in client.stream_pod_sandboxes(wanted)] == [pod]
        assert between.cuts == 2


@pytest.mark.parametrize("colour", COLOURS)
async def test_a_change_is_never_asked_again(server: InProcess, colour: str) -> None:
    async with cutting(server, colour) as (between, client):
        between.word = b"uid-of-web"
        with pytest.raises(errors.Unavailable, match=r"^RunPodSandbox: unix://.* cannot be reached"):
            await client.run_pod_sandbox(pod_config())
        assert between.cuts == 1
        assert await client.list_pod_sandbox() == ()


@pytest.mark.parametrize("colour", COLOURS)
async def test_a_runtime_that_says_unavailable_has_answered(server: InProcess, colour: str) -> None:
    async with relayed(server, colour) as (relay, client):
        relay.answers["ListContainers"] = refusal(grpc.StatusCode.UNAVAILABLE, "the engine is away")
        with pytest.raises(errors.Unavailable, match=r"^the engine is away$"):
            await client.list_containers()
        assert relay.calls["ListContainers"] == 1


# ---------------------------------------------------------------------------------------------- threads


@contextmanager
def started(threads: list[threading.Thread]) -> Iterator[None]:
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join(30)


async def test_a_blocking_client_serves_many_threads(server: InProcess) -> None:
    failed: list[BaseException] = []

    def work(client: Client, number: int) -> None:
        try:
            for turn in range(5):
                name = f"p{number}-{turn}"
                pod = client.run_pod_sandbox(pod_config(name))
                status = client.pod_sandbox_status(pod).status
                assert status.metadata is not None
                assert status.metadata.name == name
                assert pod in {row.id for row in client.stream_pod_sandboxes()}
                client.remove_pod_sandbox(pod)
        except BaseException as error:
            failed.append(error)

    def all_of_them() -> None:
        from criadapt import connect

        with connect(f"unix://{server.socket}") as client:
            with started([threading.Thread(target=work, args=(client, number)) for number in range(8)]):
                pass
            assert client.list_pod_sandbox() == ()

    await asyncio.to_thread(all_of_them)
    assert failed == []
