"""Real sockets of the mock's servers: when they open and shut, and what passes through them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from criadapt.backends.base import ContainerSpec, EngineState, ExecSpec
from criadapt.backends.mock import MockBackend, MockOptions, doors
from criadapt.backends.mock.programs import Context, program
from criadapt.backends.mock.sockets import Reader, Writer
from criadapt.model.linux import NamespaceMode, NamespaceOption
from criadapt.model.sandbox import PortMapping
from criadapt.model.signals import Signal
from criadapt.testing.inprocess import until
from criadapt.testing.loopback import free_port, subnet

Reopen = Callable[[], AbstractAsyncContextManager[MockBackend]]


@pytest.fixture
def reopen(tmp_path: Path) -> Reopen:
    options = MockOptions(preload=("busybox",), subnet=subnet(), reachable=True)

    @asynccontextmanager
    async def make() -> AsyncIterator[MockBackend]:
        async with asyncio.timeout(20), MockBackend(options, state_dir=tmp_path) as backend:
            yield backend
        assert not backend._life.pods._doors.calls  # type: ignore[union-attr]

    return make


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Ports that a socket was ever made for."""
    ports: list[int] = []
    listening = doors._listening

    def noted(address: doors.Address) -> socket.socket:
        ports.append(address[1])
        return listening(address)

    monkeypatch.setattr(doors, "_listening", noted)
    return ports


async def run(backend: MockBackend, script: str, **changes: Any) -> str:
    """Run a script; the image is busybox."""
    (image,) = [image for image in await backend.images() if "busybox" in image.repo_tags[0]]
    given = {"name": f"c{len(await backend.containers())}", "image_id": image.id, "args": ("sh", "-c", script)}
    id = await backend.create(ContainerSpec(**{**given, **changes}))
    await backend.start(id)
    return id


async def address(backend: MockBackend, id: str) -> str:
    return (await backend.inspect(id)).ips[0]


async def connect(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect, as soon as there is somebody."""

    async def attempt() -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        with contextlib.suppress(ConnectionRefusedError):
            return await asyncio.open_connection(host, port)
        return None

    found = await until(attempt, what=f"somebody listens on {host}:{port}")
    assert found is not None
    return found


async def refused(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except ConnectionRefusedError:
        return True
    await leave(writer)
    return False


async def leave(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def get(host: str, port: int, path: str = "/") -> bytes:
    reader, writer = await connect(host, port)
    writer.write(f"GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    await leave(writer)
    return answer.partition(b"\r\n\r\n")[2]


async def ended(backend: MockBackend, id: str) -> None:
    async def is_exited() -> bool:
        return (await backend.inspect(id)).state is EngineState.EXITED

    await until(is_exited, what="the container has ended")


async def test_nothing_listens_unless_asked_to(tmp_path: Path, opened: list[int]) -> None:
    async with MockBackend(MockOptions(preload=("busybox",)), state_dir=tmp_path) as backend:
        id = await run(
            backend, "nc -lk -p 7000 & sleep 1000", port_mappings=(PortMapping(container_port=1, host_port=2),)
        )
        await run(backend, "sleep 1000", port_mappings=(PortMapping(container_port=1, host_port=2),))
        await backend.remove(id)
    assert opened == []


async def test_after_a_restart_only_what_still_listens_is_opened(reopen: Reopen, opened: list[int]) -> None:
    script = "nc -lk -p 7001 & first=$!; sleep 0.05; kill $first; nc -lk -p 7002 & sleep 0.05; exec sleep 1000"
    async with reopen() as backend:
        id = await run(backend, script)
        ip = await address(backend, id)
        await until(lambda: opened == [0, 7001, 7002])
        await until(lambda: refused(ip, 7001))
        assert not await refused(ip, 7002)
        await asyncio.sleep(0.05)  # so that all of the script lies in the past
    del opened[:]
    async with reopen() as backend:
        await leave((await connect(ip, 7002))[1])
        assert await refused(ip, 7001)
    assert opened == [0, 7002]  # the first only looks whether addresses can be had
    assert await refused(ip, 7002)


async def test_a_container_that_ended_meanwhile_opens_nothing(reopen: Reopen, opened: list[int]) -> None:
    async with reopen() as backend:
        id = await run(backend, "nc -lk -p 7003 & sleep 0.1")
        await leave((await connect(await address(backend, id), 7003))[1])
    await asyncio.sleep(0.15)  # it ends while nobody is there
    del opened[:]
    async with reopen() as backend:
        await ended(backend, id)
    assert opened == [0]


async def test_a_process_that_ends_stops_listening_and_its_container_goes_on(reopen: Reopen) -> None:
    async with reopen() as backend:
        id = await run(backend, "nc -lk -p 7004 & trap 'kill %1 || kill $!' USR1; while true; do sleep 0.01; done")
        ip = await address(backend, id)
        reader, writer = await connect(ip, 7004)
        await backend.kill(id, Signal.SIGUSR1)
        await until(lambda: refused(ip, 7004))
        assert await reader.read() == b""
        await leave(writer)
        assert (await backend.inspect(id)).state is EngineState.RUNNING


async def test_netcat_takes_one_connection(reopen: Reopen) -> None:
    async with reopen() as backend:
        id = await run(backend, "nc -l -p 7005 > /tmp/got; cat /tmp/got; sleep 1000")
        ip = await address(backend, id)
        reader, writer = await connect(ip, 7005)
        writer.write(b"hello ")
        await until(lambda: refused(ip, 7005))
        writer.write(b"there\n")
        writer.write_eof()
        assert await reader.read() == b""
        await leave(writer)
        chunk = await anext(backend.output(id, 0))
        assert chunk.data == b"hello there\n"


async def test_megabytes_pass_both_ways(reopen: Reopen) -> None:
    size = 5_000_000

    @program("doubler")
    async def doubler(ctx: Context) -> int:
        async def serve(reader: Reader, writer: Writer) -> None:
            while data := await reader.read(65536):
                writer.write(data * 2)
                await writer.drain()

        assert ctx.listen(7006, serve)
        await ctx.wait_signal()
        return 0

    async with reopen() as backend:
        id = await run(backend, "exec doubler")
        reader, writer = await connect(await address(backend, id), 7006)

        async def send() -> None:
            writer.write(b"x" * size)
            await writer.drain()
            writer.write_eof()

        sending = asyncio.create_task(send())
        assert await reader.read() == b"x" * 2 * size
        await sending
        await leave(writer)


async def test_what_a_process_wrote_last_arrives(reopen: Reopen) -> None:
    @program("lastwords")
    async def lastwords(ctx: Context) -> int:
        done = asyncio.get_running_loop().create_future()

        async def serve(reader: Reader, writer: Writer) -> None:
            writer.write(b"last words")
            done.set_result(None)
            await reader.read()

        assert ctx.listen(7007, serve)
        await ctx.outside(done)
        return 0

    async with reopen() as backend:
        id = await run(backend, "lastwords; exec sleep 1000")
        reader, writer = await connect(await address(backend, id), 7007)
        assert await reader.read() == b"last words"
        await leave(writer)


async def test_a_client_may_end_its_half_or_vanish(reopen: Reopen) -> None:
    seen: list[str] = []

    @program("patient")
    async def patient(ctx: Context) -> int:
        async def serve(reader: Reader, writer: Writer) -> None:
            data = b"".join([piece async for piece in _pieces(reader)])
            seen.append(f"read {len(data)}")
            try:
                writer.write(b"y" * 50_000_000)
                await writer.drain()
                await asyncio.sleep(1000)
            finally:
                seen.append("over")

        assert ctx.listen(7008, serve)
        await ctx.wait_signal()
        return 0

    async with reopen() as backend:
        id = await run(backend, "exec patient")
        reader, writer = await connect(await address(backend, id), 7008)
        writer.write(b"question")
        writer.write_eof()
        assert await reader.read(1) == b"y"
        assert seen == ["read 8"]
        writer.transport.abort()
        await until(lambda: seen == ["read 8", "over"])


async def _pieces(reader: Reader) -> AsyncIterator[bytes]:
    while data := await reader.read(65536):
        yield data


async def test_a_bug_in_a_service_is_told(reopen: Reopen, caplog: pytest.LogCaptureFixture) -> None:
    @program("clumsy")
    async def clumsy(ctx: Context) -> int:
        async def serve(reader: Reader, writer: Writer) -> None:
            raise ValueError("stumbled")

        assert ctx.listen(7009, serve)
        await ctx.wait_signal()
        return 0

    async with reopen() as backend:
        id = await run(backend, "exec clumsy")
        reader, writer = await connect(await address(backend, id), 7009)
        assert await reader.read() == b""
        await leave(writer)
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "clumsy" in record.getMessage()
    assert "stumbled" in caplog.text


async def test_a_paused_container_lets_clients_wait(reopen: Reopen) -> None:
    async with reopen() as backend:
        id = await run(backend, "echo hi > /srv/index.html; exec http-server 7010")
        ip = await address(backend, id)
        assert await get(ip, 7010) == b"hi\n"
        await backend.pause(id)
        waiting = asyncio.create_task(get(ip, 7010))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await backend.resume(id)
        assert await waiting == b"hi\n"
        await backend.pause(id)
    async with reopen() as backend:
        waiting = asyncio.create_task(get(ip, 7010))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await backend.resume(id)
        assert await waiting == b"hi\n"


async def test_with_its_infra_container_a_pod_loses_its_network(reopen: Reopen) -> None:
    async with reopen() as backend:
        infra = await run(backend, "exec sleep 1000")
        app = await run(backend, "nc -lk -p 7011", infra=infra)
        ip = await address(backend, infra)
        reader, writer = await connect(ip, 7011)
        await backend.kill(infra, Signal.SIGKILL)
        assert await reader.read() == b""
        await leave(writer)
        assert await refused(ip, 7011)
        assert (await backend.inspect(app)).state is EngineState.RUNNING
        other = await run(backend, "nc -lk -p 7011")
        assert await address(backend, other) == ip
        await leave((await connect(ip, 7011))[1])


async def test_an_exec_may_serve(reopen: Reopen) -> None:
    async with reopen() as backend:
        id = await run(backend, "exec sleep 1000")
        process = await backend.exec(id, ExecSpec(args=("nc", "-lk", "-p", "7012")))
        ip = await address(backend, id)
        await leave((await connect(ip, 7012))[1])
        await process.close()


async def test_two_servers_on_one_port_of_a_pod_cost_a_warning(
    reopen: Reopen, caplog: pytest.LogCaptureFixture
) -> None:
    async with reopen() as backend:
        infra = await run(backend, "exec sleep 1000")
        for _ in range(2):
            await run(backend, "nc -lk -p 7013", infra=infra)
        await until(lambda: "cannot be reached" in caplog.text)
        await leave((await connect(await address(backend, infra), 7013))[1])


@pytest.mark.parametrize(
    ("number", "hint"), [(errno.EACCES, "CAP_NET_BIND_SERVICE"), (errno.EADDRNOTAVAIL, "Cannot assign")]
)
async def test_what_cannot_be_opened_works_in_memory(
    reopen: Reopen, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int, hint: str
) -> None:
    async with reopen() as backend:

        def fail(address: doors.Address) -> socket.socket:
            raise OSError(number, {errno.EACCES: "Permission denied"}.get(number, "Cannot assign requested address"))

        monkeypatch.setattr(doors, "_listening", fail)
        id = await run(backend, "nc -lk -p 80 & wget -qO- http://localhost:80; exec sleep 1000", name="lonely")
        record = await until(lambda: next((r for r in caplog.records if r.levelno == logging.WARNING), None))
        assert vars(record)["pod"] == "lonely"
        assert vars(record)["address"] == f"{await address(backend, id)}:80"
        assert hint in vars(record)["error"]
        assert (await backend.dial(id, 80)) is not None


async def test_descriptors_are_left_for_others(reopen: Reopen, caplog: pytest.LogCaptureFixture) -> None:
    async with reopen() as backend:
        backend._life.pods._doors._limit = 1  # type: ignore[union-attr]
        id = await run(backend, "nc -lk -p 7014 & nc -lk -p 7015 & exec sleep 1000")
        record = await until(lambda: next((r for r in caplog.records if r.levelno == logging.WARNING), None))
        assert vars(record)["error"] == "Too many open files; raise the limit of open files"
        ip = await address(backend, id)
        assert sorted([await refused(ip, 7014), await refused(ip, 7015)]) == [False, True]
        await backend.remove(id)
        id = await run(backend, "nc -lk -p 7014")
        await leave((await connect(ip, 7014))[1])


async def test_without_a_descriptor_clients_wait_for_one(
    reopen: Reopen, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(doors, "_BREATH", 0.01)
    failures = [OSError(errno.EMFILE, "Too many open files"), ConnectionAbortedError(), None]
    accept = socket.socket.accept

    def scarce(self: socket.socket) -> Any:
        failure = failures.pop(0) if failures else None
        if failure is not None:
            raise failure
        return accept(self)

    async with reopen() as backend:
        id = await run(backend, "exec http-server 7016")
        ip = await address(backend, id)
        monkeypatch.setattr(socket.socket, "accept", scarce)
        assert await get(ip, 7016)
        assert not failures
        assert [vars(record)["error"] for record in caplog.records] == ["[Errno 24] Too many open files"]


async def test_ports_that_cannot_be_are_not_tried(reopen: Reopen, opened: list[int]) -> None:
    async with reopen() as backend:
        await run(backend, "nc -lk -p 70000 & nc -lk -p 0 & nc -lk -p 7017")
        await until(lambda: 7017 in opened)
    assert opened == [0, 7017]


async def test_without_ipv4_a_pod_has_its_host_ports(tmp_path: Path) -> None:
    port = free_port()
    options = MockOptions(preload=("busybox",), subnet="", subnet_v6="fd00:aaaa::/64", reachable=True)
    async with MockBackend(options, state_dir=tmp_path) as backend:
        await run(backend, "exec http-server 7018", port_mappings=(PortMapping(container_port=7018, host_port=port),))
        assert await get("127.0.0.1", port)


async def test_a_host_port_on_ipv6(reopen: Reopen) -> None:
    try:
        port = free_port("::1")
    except OSError as error:
        pytest.skip(f"no IPv6 on loopback: {error}")
    mappings = tuple(PortMapping(container_port=7019, host_port=port, host_ip=ip) for ip in ("::1", "127.0.0.1"))
    async with reopen() as backend:
        await run(backend, "exec http-server 7019", port_mappings=mappings)
        assert await get("::1", port)
        assert await get("127.0.0.1", port)


async def test_on_the_host_network_port_mappings_say_nothing(reopen: Reopen, opened: list[int]) -> None:
    port = free_port()
    host = NamespaceOption(network=NamespaceMode.NODE)
    async with reopen() as backend:
        for name in ("one", "two"):  # two may well name the same host port: it is the programs that would collide
            mapping = PortMapping(container_port=port, host_port=port)
            await run(backend, "exec sleep 1000", name=name, namespaces=host, port_mappings=(mapping,))
        await run(backend, f"exec http-server {port}", name="web", namespaces=host)
        assert await get("127.0.0.1", port)
    assert opened == [0, port]
