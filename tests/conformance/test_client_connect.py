"""How a connection comes about, both colours: what is looked for, what is refused, and what is imported for it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import criadapt
from criadapt import errors
from criadapt.client import discover
from criadapt.cri.v1 import api_pb2 as pb
from criadapt.testing.colours import COLOURS, connected
from criadapt.testing.inprocess import InProcess
from criadapt.testing.relay import relaying, saying

VARIABLES = ("CRIADAPT_ENDPOINT", "CONTAINER_RUNTIME_ENDPOINT", "IMAGE_SERVICE_ENDPOINT", "CRI_CONFIG_FILE")


@pytest.fixture(params=COLOURS)
def colour(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of this machine is found."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(discover, "CRICTL_FILES", (str(tmp_path / "crictl.yaml"),))
    monkeypatch.setattr(discover, "KUBELET_FILES", ())
    monkeypatch.setattr(discover, "KUBEADM_FLAGS", str(tmp_path / "flags"))
    monkeypatch.setattr(discover, "SOCKETS", {str(tmp_path / "none.sock"): "nobody"})
    monkeypatch.setattr(discover, "_own_socket", lambda env: {})


# ---------------------------------------------------------------------------------------------- ways to connect


async def test_await_or_enter(server: InProcess) -> None:
    endpoint = f"unix://{server.socket}"
    client = await criadapt.aconnect(endpoint)
    assert (await client.version()).runtime_name == "criadapt"
    await client.aclose()
    async with criadapt.aconnect(endpoint) as entered:
        assert await entered.list_images()
    async with await criadapt.aconnect(str(server.socket), timeout=3) as third:
        assert (third.endpoint, third.timeout) == (endpoint, 3)
        assert repr(third) == f"<AsyncClient of {endpoint}>"


async def test_with_or_without_with(server: InProcess) -> None:
    def use() -> None:
        client = criadapt.connect(str(server.socket))
        assert client.version().runtime_name == "criadapt"
        client.close()
        with criadapt.connect(str(server.socket)) as entered:
            assert entered.list_images()

    await asyncio.to_thread(use)


async def test_what_a_variable_names_is_taken_or_is_an_error(
    server: InProcess, colour: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CONTAINER_RUNTIME_ENDPOINT", f"unix://{server.socket}")
    async with connected(colour) as client:
        assert client.endpoints.origin == "$CONTAINER_RUNTIME_ENDPOINT"
    monkeypatch.setenv("CRIADAPT_ENDPOINT", str(tmp_path / "other.sock"))
    with pytest.raises(errors.NotFound, match=r"other.sock does not exist") as caught:
        async with connected(colour):
            pass
    assert caught.value.endpoint == f"unix://{tmp_path}/other.sock"


async def test_a_guess_that_fails_is_not_the_end(
    server: InProcess, colour: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The first place is absent, at the second is no CRI, as in Docker's containerd; the third is the one."""
    bare = server.socket.with_name("bare.sock")
    (tmp_path / "crictl.yaml").write_text(f"runtime-endpoint: unix://{tmp_path}/away.sock\n")
    async with relaying(bare):
        monkeypatch.setattr(discover, "SOCKETS", {str(bare): "a", str(server.socket): "b"})
        async with connected(colour) as client:
            assert client.endpoints.origin == "known socket of b"
        monkeypatch.setattr(discover, "SOCKETS", {str(bare): "a"})
        with pytest.raises(errors.Unavailable) as caught:
            async with connected(colour):
                pass
        first, *tried = str(caught.value).splitlines()
        assert first.startswith("no CRI runtime found; name its endpoint, or set CRIADAPT_ENDPOINT")
        assert tried[0].startswith(f"  unix://{tmp_path}/away.sock ({tmp_path}/crictl.yaml): ")
        assert tried[1].startswith(f"  unix://{bare} (known socket of a): unix://{bare} speaks gRPC but not CRI v1")


async def test_the_image_service_may_be_elsewhere(server: InProcess, colour: str) -> None:
    images = server.socket.with_name("images.sock")
    async with relaying(images, server.channel) as relay:
        async with connected(colour, str(server.socket), image_endpoint=str(images)) as client:
            await client.list_images()
            await client.list_containers()
            with pytest.raises(errors.InvalidArgument) as caught:
                await client.pull_image("")
            assert caught.value.endpoint == f"unix://{images}"
        assert set(relay.calls) == {"ListImages", "PullImage"}


# ---------------------------------------------------------------------------------------------- what is refused


@asynccontextmanager
async def listening(path: Path, answer: bytes) -> AsyncIterator[None]:
    """Somebody who answers everything with the same bytes and, without any, never."""
    serving: set[asyncio.Task[None] | None] = set()
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        if await reader.read(100) and answer:
            writer.write(answer)
        else:
            await over.wait()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_unix_server(serve, path)
    try:
        yield
    finally:
        over.set()
        server.close()
        await asyncio.gather(*filter(None, serving))


async def test_who_speaks_no_grpc_is_no_runtime(server: InProcess, colour: str) -> None:
    path = server.socket.with_name("http.sock")
    async with listening(path, b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"):
        with pytest.raises(errors.Unsupported, match=r"http.sock does not speak gRPC, so it is no CRI runtime"):
            async with connected(colour, str(path)):
                pass


async def test_who_says_nothing_is_not_waited_for(server: InProcess, colour: str) -> None:
    path = server.socket.with_name("mute.sock")
    async with listening(path, b""):
        with pytest.raises(errors.DeadlineExceeded, match=r"^Version: unix:.*mute.sock did not answer within 0.3 s"):
            async with connected(colour, str(path), timeout=0.3):
                pass


async def test_a_runtime_of_the_past_is_told_so(server: InProcess, colour: str) -> None:
    path = server.socket.with_name("old.sock")
    async with relaying(path, services="/runtime.v1alpha2.") as relay:
        relay.answers["Version"] = saying(pb.VersionResponse(version="0.1.0"))
        with pytest.raises(errors.Unsupported, match=r"old.sock speaks only CRI v1alpha2"):
            async with connected(colour, str(path)):
                pass


@pytest.mark.parametrize("endpoint", ["run/x.sock", "npipe:////./pipe/x"])
async def test_what_is_no_endpoint_is_told(colour: str, endpoint: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=r"^endpoint: expected unix:///absolute/path or host:port"):
        async with connected(colour, endpoint):
            pass


# ---------------------------------------------------------------------------------------------- imports


def run(program: str, *arguments: str) -> Any:
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_importing_criadapt_imports_hardly_anything() -> None:
    modules = run("import sys; before = set(sys.modules); import criadapt; print(*(set(sys.modules) - before))")
    assert [
        name for name in modules if name.partition(".")[0] in ("grpc", "google", "msgspec", "yaml", "asyncio")
    ] == []
    assert [name for name in modules if name.startswith("criadapt.")] == []


def test_the_client_imports_no_server() -> None:
    modules = run("import sys, criadapt; criadapt.Client, criadapt.AsyncClient; print(*sys.modules)")
    assert {"grpc", "criadapt.cri.v1.api_pb2"} <= set(modules)
    ours = {".".join(name.split(".")[:2]) for name in modules if name.startswith("criadapt.")}
    rooms = ("core", "service", "backends", "server", "streaming", "cli", "testing", "journal", "metrics")
    assert ours.isdisjoint({f"criadapt.{room}" for room in rooms})
    assert {name.partition(".")[0] for name in modules}.isdisjoint({"docker", "requests", "prometheus_client", "click"})


def test_each_colour_is_loaded_alone() -> None:
    assert "criadapt.client.aio.client" not in run("import sys, criadapt; criadapt.Client; print(*sys.modules)")
    assert "criadapt.client.sync.client" not in run("import sys, criadapt; criadapt.AsyncClient; print(*sys.modules)")


def test_the_public_names_are_those_of_the_client() -> None:
    from criadapt import client

    for name in ("connect", "aconnect", "Client", "AsyncClient"):
        assert getattr(criadapt, name) is getattr(client, name)
        assert name in dir(criadapt)
    assert {name for name in client.__all__ if getattr(client, name, None) is None} == set()
    assert set(client._PLACES) < set(client.__all__) <= set(dir(client))
    for module in (criadapt, client):
        with pytest.raises(AttributeError, match=f"module '{module.__name__}' has no attribute 'conect'"):
            module.conect  # noqa: B018


# A process in which another package has stubs of the same CRI, in protobuf's default pool.
BESIDE = """
import pathlib, sys
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

serialized = pathlib.Path(sys.argv[2]).read_bytes()

def theirs():
    file = descriptor_pb2.FileDescriptorProto.FromString(serialized)
    file.name = "elsewhere/api.proto"
    descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
    found = descriptor_pool.Default().FindMessageTypeByName("runtime.v1.VersionResponse")
    return message_factory.GetMessageClass(found)

if sys.argv[1] == "before":
    Theirs = theirs()
import criadapt
with criadapt.connect(sys.argv[3]) as cri:
    if sys.argv[1] == "after":
        Theirs = theirs()
    print(cri.version().runtime_name, Theirs(runtime_name="theirs").runtime_name)
"""


@pytest.mark.parametrize("when", ["before", "after"])
async def test_it_works_beside_another_packages_stubs(server: InProcess, when: str, tmp_path: Path) -> None:
    file = tmp_path / "api.pb"
    file.write_bytes(pb.DESCRIPTOR.serialized_pb)
    assert await asyncio.to_thread(run, BESIDE, when, str(file), str(server.socket)) == ["criadapt", "theirs"]
