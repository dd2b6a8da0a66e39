"""Our client with a runtime that is not ours: containerd and its own CRI plugin."""

import hashlib
import os
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

import criadapt
from criadapt import AsyncClient
from criadapt.client.aio.streams import Transport
from criadapt.errors import ContainerNotFound, EngineError, NotFound, Unavailable
from criadapt.model.container import ContainerConfig, ContainerMetadata, LinuxContainerConfig
from criadapt.model.image import ImageSpec
from criadapt.model.runtime import ContainerEventType
from criadapt.model.sandbox import LinuxPodSandboxConfig, PodSandboxConfig, PodSandboxMetadata
from criadapt.testing.colours import COLOURS, connected

from ..engines import busybox, containerd

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(bool(containerd.missing()), reason=f"containerd cannot be started: {containerd.missing()}"),
]
SHELL = ("sh", "-c", "while true; do echo tick; sleep 1; done")
WEB = ("httpd", "-f", "-p", "80", "-h", "/www")


@pytest.fixture(scope="module")
def endpoint(note: Callable[[str], None]) -> Iterator[str]:
    with containerd.running() as endpoint:
        with criadapt.connect(endpoint) as cri:
            note(f"client on {cri.runtime.runtime_name} {cri.runtime.runtime_version}'s own CRI")
        yield endpoint


@pytest.fixture(params=COLOURS)
async def cri(request: pytest.FixtureRequest, endpoint: str) -> AsyncIterator[AsyncClient]:
    async with connected(request.param, endpoint) as client:
        yield client
        for pod in await client.list_pod_sandbox():
            await client.stop_pod_sandbox(pod.id)
            await client.remove_pod_sandbox(pod.id)


class Pod:
    """A pod on containerd, and containers in it."""

    def __init__(self, cri: AsyncClient, folder: Path) -> None:
        self._cri = cri
        self.config = PodSandboxConfig(
            metadata=PodSandboxMetadata(name="web", uid=f"uid-{os.urandom(4).hex()}", namespace="test"),
            log_directory=str(folder),
            linux=LinuxPodSandboxConfig(),
        )
        self.id = ""

    async def run(self, name: str, command: tuple[str, ...], **fields: bool) -> str:
        """Create and start a container."""
        config = ContainerConfig(
            metadata=ContainerMetadata(name=name),
            image=ImageSpec(image=containerd.IMAGE),
            command=command,
            log_path=f"{name}.log",
            linux=LinuxContainerConfig(),
            **fields,
        )
        id = await self._cri.create_container(self.id, config, self.config)
        await self._cri.start_container(id)
        return id


@pytest.fixture
async def pod(cri: AsyncClient, tmp_path: Path) -> Pod:
    pod = Pod(cri, tmp_path)
    pod.id = await cri.run_pod_sandbox(pod.config)
    return pod


async def test_lists_status_and_details(cri: AsyncClient, pod: Pod) -> None:
    app = await pod.run("app", SHELL)
    assert [found.id for found in await cri.pods(name="web", namespace="test")] == [pod.id]
    assert [found.id for found in await cri.containers(pod="web", running=True)] == [app]
    details = await cri.details(app)
    assert details.pid is not None
    assert Path(f"/proc/{details.pid}/cmdline").read_bytes().startswith(b"sh\0-c\0")
    assert (details.cgroup or "").endswith(app)
    assert (await cri.container_by_pid(details.pid)).id == app
    sandbox = await cri.pod_details(pod.id)
    assert sandbox.netns is not None
    assert Path(sandbox.netns).exists()
    assert (await cri.image_status(containerd.IMAGE)).image is not None


async def test_its_errors_are_ours(cri: AsyncClient) -> None:
    with pytest.raises(NotFound):
        await cri.container_status("nobody")
    with pytest.raises(NotFound):
        await cri.container("nobody")
    assert issubclass(ContainerNotFound, NotFound)


@pytest.mark.parametrize("transport", ["spdy", "websocket"])
async def test_exec(cri: AsyncClient, pod: Pod, transport: Transport) -> None:
    app = await pod.run("app", SHELL)
    done = await cri.run(app, ["sh", "-c", "echo out; echo err >&2; exit 7"], transport=transport)
    assert (done.stdout, done.stderr, done.exit_code) == (b"out\n", b"err\n", 7)
    with pytest.raises(EngineError, match="not found"):
        await cri.run(app, ["no-such-program"], transport=transport)


async def test_exec_with_much_input_and_a_terminal(cri: AsyncClient, pod: Pod) -> None:
    app = await pod.run("app", SHELL)
    data = os.urandom(5 << 20)
    done = await cri.run(app, ["md5sum"], input=data)
    assert done.stdout.split()[0].decode() == hashlib.md5(data).hexdigest()
    assert (await cri.run(app, ["cat"], input=data)).stdout == data
    async with cri.exec(app, ["sh"], stdin=True, tty=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        await process.resize(100, 40)
        await process.stdin.write(b"stty size; exit 4\n")
        assert b"40 100" in await process.stdout.read()
        assert await process.wait() == 4


async def test_attach(cri: AsyncClient, pod: Pod) -> None:
    talking = await pod.run("talking", SHELL)
    async with cri.attach(talking) as process:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"tick\n"
    shell = await pod.run("shell", ("sh",), stdin=True, stdin_once=True)
    async with cri.attach(shell, stdin=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        await process.stdin.write(b"echo attached\n")
        assert await process.stdout.readline() == b"attached\n"
        await process.stdin.aclose()
        assert await process.wait(20) == 0


async def test_port_forward(cri: AsyncClient, pod: Pod) -> None:
    await pod.run("web", WEB)
    async with cri.dial(pod.id, 80) as stream:
        await stream.write(b"GET / HTTP/1.0\r\n\r\n")
        answer = b"".join([data async for data in stream.chunks()])
        assert answer.endswith(busybox.PAGE)
    async with cri.dial(pod.id, 81) as stream:
        with pytest.raises(Unavailable, match="refused"):
            await stream.read()


def test_port_forward_to_a_local_port(endpoint: str, tmp_path: Path) -> None:
    with (
        criadapt.connect(endpoint) as cri,
        cri.run_pod(image=containerd.IMAGE, command=WEB, pull="never", log_directory=tmp_path) as pod,
        cri.port_forward(pod.id, 80) as forward,
    ):
        with urllib.request.urlopen(f"http://127.0.0.1:{forward.ports[80]}/", timeout=10) as page:
            assert page.read() == busybox.PAGE
        assert not list(tmp_path.glob("*.sock"))


async def test_logs_and_events(cri: AsyncClient, pod: Pod) -> None:
    app = await pod.run("app", ("sh", "-c", "echo one; echo two >&2; echo three"))
    lines = [line async for line in cri.logs(app, follow=True)]
    # containerd keeps no order between the two streams
    assert [line.data for line in lines if line.stream == "stdout"] == [b"one", b"three"]
    assert [line.data for line in lines if line.stream == "stderr"] == [b"two"]
    seen = []
    events = cri.events(interval=0.2, existing=True)
    async for event in events:  # containerd 1.6 has no events: they are made of lists
        seen.append((event.container_id, event.container_event_type))
        if len(seen) == 1:
            await cri.remove_container(app)
        if (app, ContainerEventType.DELETED) in seen:
            break
