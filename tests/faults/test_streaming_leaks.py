"""Streaming sessions that end badly, or go slowly: nothing is left of them, and nothing piles up meanwhile."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import os
import random
import re
import shutil
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

import criadapt
from criadapt import AsyncClient, errors
from criadapt.backends.mock.sockets import Listeners
from criadapt.config import Config, FaultRule, StreamingConfig
from criadapt.remote.aio import session
from criadapt.testing.colours import COLOURS, connected
from criadapt.testing.factories import BUSYBOX
from criadapt.testing.inprocess import InProcess, serving_inprocess, until
from criadapt.testing.rawclient import Raw, Spdy, WebSocket, request, spdy_headers
from criadapt.testing.server import RunningServer, running_server

V4, V5, PORTS = "v4.channel.k8s.io", "v5.channel.k8s.io", "portforward.k8s.io"
MIB = 1 << 20
GROWTH = 8 * MIB  # that a stalled session may cost


async def processes(server: InProcess, app: str, pattern: str) -> bytes:
    return bytes((await server.exec(app, "pgrep", "-f", pattern)).stdout.strip())


async def gone(server: InProcess, app: str, pattern: str) -> bool:
    return not await processes(server, app, pattern)


@asynccontextmanager
async def serving(folder: Path, **streaming: Any) -> AsyncIterator[InProcess]:
    """A server whose streaming is configured."""
    config = Config(
        runtime=replace(Config().runtime, relist_seconds=3600.0, drain_seconds=0.0),
        streaming=replace(StreamingConfig(), **streaming),
    )
    async with serving_inprocess(folder, config=config) as server:
        yield server
    assert server.errors == []


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# ---------------------------------------------------------------------------------------------- abrupt ends


class Sessions:
    """Sessions of all kinds, each left at a moment that is drawn."""

    def __init__(self, server: InProcess, pod: str, app: str, seed: int) -> None:
        self._server = server
        self._pod = pod
        self._app = app
        self._random = random.Random(seed)
        self._at_once = asyncio.Semaphore(40)

    async def exec(self) -> None:
        cmd = self._random.choice(
            [["sleep", "4321"], ["cat"], ["head", "-c", "3000000", "/dev/zero"], ["true"], ["/no/such/program"],
             ["sh", "-c", "sleep 4321 & sleep 4321"], ["sh"]]
        )  # fmt: skip
        tty = self._random.random() < 0.2
        flags = {"stdin": True, "stdout": True, "tty": tty, "stderr": not tty}
        await self._command((await self._server.rpc.Exec(container_id=self._app, cmd=cmd, **flags)).url, tty)

    async def attach(self) -> None:
        flags = {"stdin": True, "stdout": True, "stderr": True}
        await self._command((await self._server.rpc.Attach(container_id=self._app, **flags)).url, tty=False)

    async def forward(self) -> None:
        ports = [self._random.choice((7, 81)) for _ in range(self._random.randrange(1, 4))]
        url = (await self._server.rpc.PortForward(pod_sandbox_id=self._pod, port=ports)).url
        async with self._at_once:
            form = self._random.choice(("plain", "tunnel", "channels", "never"))
            if form == "channels":
                async with WebSocket.connected(url, V4) as client:
                    client.binary(b"\x00" + self._some_bytes())
                    await self._leave(client.raw, client.receive)
            elif form != "never":
                connect = Spdy.connected(url, PORTS) if form == "plain" else Spdy.tunnelled(url)
                async with connect as spdy:
                    for number in range(self._random.randrange(4)):
                        _, data = spdy.pair(self._random.choice((7, 7, 81, 0)), str(number))
                        spdy.send(data, self._some_bytes(), fin=self._random.random() < 0.3)
                    if self._random.random() < 0.3:
                        spdy.open("data", port="7", requestid="half")
                    spdy.flush()
                    await self._leave(spdy.raw, spdy.receive)

    async def _command(self, url: str, tty: bool) -> None:
        async with self._at_once:
            form = self._random.choice(("spdy", "websocket", "head", "never"))
            if form == "head":
                async with Raw.connected(url) as raw:
                    head = request(url, spdy_headers(V4))
                    raw.send(head[: self._random.randrange(len(head) + 1)])
                    await self._leave(raw, raw.read)
            elif form == "spdy":
                async with Spdy.connected(url, V4) as spdy:
                    kinds = ["error", "stdin", "stdout", "resize" if tty else "stderr"]
                    self._random.shuffle(kinds)
                    for kind in kinds[: self._random.choice((1, 3, 4, 4, 4, 4))]:
                        stream = spdy.open(kind)
                        if kind == "stdin":
                            spdy.send(stream, self._some_bytes(), fin=self._random.random() < 0.3)
                    spdy.flush()
                    await self._leave(spdy.raw, spdy.receive)
            elif form == "websocket":
                async with WebSocket.connected(url, self._random.choice((V5, V4))) as client:
                    client.binary(b"\x00" + self._some_bytes())
                    await self._leave(client.raw, client.receive)

    def _some_bytes(self) -> bytes:
        return b"x" * self._random.choice((0, 10, 10, 100_000, 2_000_000))

    async def _leave(self, raw: Raw, receive: Callable[[], Awaitable[object]]) -> None:
        for _ in range(self._random.randrange(4)):
            try:
                async with asyncio.timeout(0.02):
                    await receive()
            except TimeoutError:
                break
        if self._random.random() < 0.3:
            raw.writer.close()  # the other half is cut: TCP resets, what was on its way is lost


async def test_seven_hundred_sessions_cut_at_any_moment_leave_nothing(server: InProcess) -> None:
    pod = await server.run_pod()
    app = await server.run(pod, command=["cat"], stdin=True)
    await server.run(pod, "echo", command=["nc", "-lk", "-p", "7", "-e", "cat"])
    await until(lambda: server.mock._life.active(pod, "look at").answering(7))
    sessions = Sessions(server, pod, app, seed=20261123)

    async def some(count: int) -> None:
        kinds = [sessions.exec] * 3 * count + [sessions.attach] * 3 * count + [sessions.forward] * count
        await asyncio.gather(*(kind() for kind in kinds))
        # What nobody came for expires.
        clock = server.runtime.sessions._clock
        now = clock()
        server.runtime.sessions._clock = lambda: now + 61
        with pytest.raises(errors.NotFound):
            server.runtime.sessions.redeem("nobody")
        server.runtime.sessions._clock = clock

    before = server.traces()
    await some(2)
    await server.leaves(before)
    gc.collect()
    files, threads = descriptors(), threading.active_count()
    await some(100)
    await server.leaves(before, timeout=10)
    gc.collect()
    # gRPC opens a few of its own as it likes; what one session in a hundred left open would be more.
    await until(lambda: descriptors() < files + 7, what="descriptors are given back")
    assert threading.active_count() <= threads
    assert (await server.exec(app, "echo", "alive")).stdout == b"alive\n"


async def test_a_pair_that_is_given_up_ends_the_pod_s_side(server: InProcess) -> None:
    """Otherwise a server that never hangs up would be connected to until the whole session ends."""
    pod = await server.run_pod()
    await server.run(pod, "echo", command=["nc", "-lk", "-p", "7", "-e", "cat"])
    await until(lambda: server.mock._life.active(pod, "look at").answering(7))
    connected_to: list[str] = []

    async def deaf(reader: Any, writer: Any) -> None:
        connected_to.append("deaf")
        try:
            await asyncio.Event().wait()
        finally:
            connected_to.clear()

    machine = server.mock._life.active(pod, "change")
    machine.listeners = machine.listeners or Listeners()
    assert machine.first is not None
    assert machine.listeners.listen(machine.first, 9, deaf)
    async with Spdy.connected((await server.rpc.PortForward(pod_sandbox_id=pod)).url, PORTS) as client:
        _, living = client.pair(7, "0")
        _, given_up = client.pair(9, "1")
        await client.until_replied()
        await until(lambda: connected_to)
        client.mux.reset_stream(given_up)
        client.flush()
        await until(lambda: not connected_to)
        client.send(living, b"still here", fin=True)
        await client.until(lambda: client.streams[living].ended)
        assert client.streams[living].data == b"still here"


# ---------------------------------------------------------------------------------------------- whoever is slow


async def test_a_reader_that_takes_its_time_gets_all_of_it(server: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what is on its way when the process has long ended, and although the client sends pings meanwhile."""
    monkeypatch.setattr(session, "LINGER_SECONDS", 0.05)
    monkeypatch.setattr(session, "LINGER_STEP", 0.01)
    app = await server.run(await server.run_pod())

    async def take(size: int) -> None:
        url = (await server.rpc.Exec(container_id=app, cmd=["head", "-c", str(size), "/dev/zero"], stdout=True)).url
        async with Spdy.connected(url, V4) as client:
            error, stdout = client.open("error"), client.open("stdout")
            client.flush()
            await asyncio.sleep(1.2)  # longer than output is waited for after the end, and than any lingering
            client.mux.ping()
            client.flush()
            await client.until_eof()
            assert client.streams[stdout].data == bytes(size)
            assert client.streams[error].data == b'{"metadata":{},"status":"Success"}'

    await asyncio.gather(*(take(size) for size in (100_000, 1_000_000, 3_000_000, 6_000_000)))


async def test_what_a_killed_process_had_written_is_kept_for_a_slow_reader(server: InProcess) -> None:
    app = await server.run(await server.run_pod())
    script = "i=0; while true; do i=$((i+1)); head -c 100000 /dev/zero; echo $i > /tmp/n; done"

    async def written() -> int:
        return int((await server.exec(app, "sh", "-c", "cat /tmp/n || echo 0")).stdout or b"0")

    url = (await server.rpc.Exec(container_id=app, cmd=["sh", "-c", script, "endless"], stdout=True)).url
    async with Spdy.connected(url, V4) as client:
        error, stdout = client.open("error"), client.open("stdout")
        client.flush()
        await until(written)
        await still(written)
        await server.exec(app, "pkill", "-9", "-f", "endless")
        await until(lambda: gone(server, app, "endless"))
        least = 100_000 * await written()
        await asyncio.sleep(1.2)  # longer than output is waited for after the end
        await client.until_eof()
        assert len(client.streams[stdout].data) >= least
        assert b'"137"' in client.streams[error].data


@pytest.fixture
async def real() -> AsyncIterator[tuple[RunningServer, AsyncClient, str]]:
    """A server in a process of its own, a client, and a container."""
    with running_server() as server:
        async with (
            criadapt.aconnect(server.endpoint) as client,
            client.run_pod(image=BUSYBOX, command=["sleep", "100000"], grace=0) as pod,
        ):
            yield server, client, pod.containers["app"]


def memory(server: RunningServer) -> int:
    """Bytes of memory that the server has."""
    text = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    assert found is not None
    return int(found[1]) * 1024


async def still(look: Callable[[], Awaitable[int]]) -> int:
    """A figure once it does not change any more."""
    last, same = -1, 0
    async with asyncio.timeout(15):
        while same < 10:
            await asyncio.sleep(0.03)
            figure = await look()
            same = same + 1 if figure == last else 0
            last = figure
    return last


COUNT = "i=0; while [ $i -lt 640 ]; do i=$((i+1)); echo $i > /tmp/n; head -c 100000 /dev/zero; done"


@pytest.mark.parametrize("form", ["spdy", "websocket"])
async def test_a_stalled_reader_holds_the_process_back(real: tuple[RunningServer, AsyncClient, str], form: str) -> None:
    server, client, app = real
    total = 640 * 100_000

    async def connect(cmd: list[str]) -> Any:
        url = await client.prepare_exec(app, cmd, stdout=True, stderr=False)
        return Spdy.connected(url, V4) if form == "spdy" else WebSocket.connected(url, V5)

    async def begin(peer: Spdy | WebSocket) -> None:
        if isinstance(peer, Spdy):
            peer.open("error"), peer.open("stdout")
            peer.flush()

    async def read_all(peer: Spdy | WebSocket) -> int:
        await peer.until_eof()
        if isinstance(peer, Spdy):
            assert b"Success" in peer.streams[1].data
            return len(peer.streams[3].data)
        assert b"Success" in peer.of(3)
        return sum(len(message) - 1 for message in peer.messages if message[0] == 1)

    async with await connect(["head", "-c", str(total), "/dev/zero"]) as peer:  # so that the server is warm
        await begin(peer)
        assert await read_all(peer) == total
    before = memory(server)

    async def counter() -> int:
        return int((await client.exec_sync(app, ["sh", "-c", "cat /tmp/n || echo 0"])).stdout or b"0")

    async with await connect(["sh", "-c", COUNT]) as peer:
        await begin(peer)
        await until(counter)
        held_at = await still(counter)
        assert 0 < held_at < 300
        assert memory(server) - before < GROWTH
        assert await read_all(peer) == total
    assert await counter() == 640
    assert memory(server) - before < GROWTH


async def test_a_process_that_does_not_read_holds_the_writer_back(
    real: tuple[RunningServer, AsyncClient, str],
) -> None:
    server, client, app = real
    data = random.Random(1).randbytes(MIB)
    script = "while [ ! -e /tmp/go ]; do sleep 0.02; done; md5sum"
    (await client.run(app, ["md5sum"], input=data * 32)).check()  # so that the server is warm
    before = memory(server)
    sent = 0
    async with client.exec(app, ["sh", "-c", script], stdin=True) as process:
        stdin = process.stdin
        assert stdin is not None

        async def feed() -> None:
            nonlocal sent
            for _ in range(32):
                await stdin.write(data)
                sent += 1
            await stdin.aclose()

        async def look() -> int:
            return sent

        feeding = asyncio.ensure_future(feed())
        assert await still(look) < 16
        assert memory(server) - before < GROWTH
        await client.exec_sync(app, ["touch", "/tmp/go"])
        await feeding
        assert process.stdout is not None
        digest = (await process.stdout.read()).split()[0].decode()
        assert digest == hashlib.md5(data * 32).hexdigest()
        assert await process.wait(10) == 0
    assert memory(server) - before < GROWTH


async def test_a_client_that_vanishes_while_the_process_does_not_read(
    server: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is read from the connection then, so nothing tells that it has ended."""
    monkeypatch.setattr(session, "WATCH_SECONDS", 0.05)
    app = await server.run(await server.run_pod())
    empty = server.traces()
    for how in ("abort", "close"):
        url = (await server.rpc.Exec(container_id=app, cmd=["sleep", "4321"], stdin=True)).url
        async with Spdy.connected(url, V4) as client:
            client.open("error")
            stdin = client.open("stdin")
            client.send(stdin, bytes(1_400_000))  # more than a stream may hold, and little enough to be sent
            await until(lambda: processes(server, app, "sleep 4321"))
            await until(lambda client=client: client.raw.writer.transport.get_write_buffer_size() == 0)
            client.raw.abort() if how == "abort" else client.raw.writer.close()
            await until(lambda: gone(server, app, "sleep 4321"))
        await server.leaves(empty)


# ---------------------------------------------------------------------------------------------- time limits


async def test_a_session_that_is_idle_is_cut_and_its_process_ended(tmp_path: Path) -> None:
    async with serving(tmp_path, idle_timeout=0.15) as server:
        pod = await server.run_pod()
        app = await server.run(pod)
        empty = server.traces()
        url = (await server.rpc.Exec(container_id=app, cmd=["sleep", "4321"], stdout=True)).url
        async with Spdy.connected(url, V4) as client:
            error, _ = client.open("error"), client.open("stdout")
            await client.until_eof()
            assert client.streams[error].data == b""
            await server.leaves(empty)
        url = (await server.rpc.PortForward(pod_sandbox_id=pod)).url
        async with Spdy.connected(url, PORTS) as client:
            await client.until_eof()
        await server.leaves(empty)


async def test_pings_keep_a_session_alive(tmp_path: Path) -> None:
    async with serving(tmp_path, idle_timeout=0.2) as server:
        app = await server.run(await server.run_pod())
        url = (await server.rpc.Exec(container_id=app, cmd=["cat"], stdin=True, stdout=True)).url
        async with Spdy.connected(url, V4) as client:
            client.open("error"), client.open("stdout")
            stdin = client.open("stdin")
            for number in range(10):
                client.mux.ping()
                await client.until(lambda number=number: len(client.pongs) > number)
                await asyncio.sleep(0.04)
            client.send(stdin, b"x", fin=True)
            await client.until_eof()
            assert client.streams[3].data == b"x"


# ---------------------------------------------------------------------------------------------- a failing engine


async def test_what_the_engine_says_reaches_the_client(server: InProcess) -> None:
    pod = await server.run_pod()
    app = await server.run(pod)
    empty = server.traces()
    server.backend.set_rules(
        [FaultRule(call=call, error=error, message=f"{call} is on fire")
         for call, error in (("exec", "EngineError"), ("attach", "Unsupported"), ("dial", "Unavailable"))]
    )  # fmt: skip
    exec_url = (await server.rpc.Exec(container_id=app, cmd=["true"], stdout=True)).url
    attach_url = (await server.rpc.Attach(container_id=app, stdout=True)).url
    for url, text in ((exec_url, b"exec is on fire"), (attach_url, b"attach is on fire")):
        async with Spdy.connected(url, V4) as client:
            error, _ = client.open("error"), client.open("stdout")
            await client.until_eof()
            assert text in client.streams[error].data
            assert b'"reason":"InternalError"' in client.streams[error].data
    async with Spdy.connected((await server.rpc.PortForward(pod_sandbox_id=pod)).url, PORTS) as client:
        error, data = client.pair(80, "0")
        await client.until(lambda: client.streams[error].over and client.streams[data].over)
        assert client.streams[error].data == b"error forwarding port 80: dial is on fire"
    await server.leaves(empty)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("call", ["exec", "attach", "dial"])
async def test_a_client_that_leaves_a_slow_engine_leaves_nothing(server: InProcess, call: str, after: bool) -> None:
    pod = await server.run_pod()
    app = await server.run(pod, command=["cat"], stdin=True)
    await server.run(pod, "echo", command=["nc", "-lk", "-p", "7", "-e", "cat"])
    await until(lambda: server.mock._life.active(pod, "look at").answering(7))
    empty = server.traces()
    gate = server.backend.hold(call, after=after)
    if call == "dial":
        url = (await server.rpc.PortForward(pod_sandbox_id=pod)).url
        async with Spdy.connected(url, PORTS) as client:
            client.pair(7, "0")
            await client.until_replied()
            await asyncio.wait_for(gate.reached.wait(), 5)
    else:
        flags = {"stdin": True, "stdout": True}
        if call == "exec":
            url = (await server.rpc.Exec(container_id=app, cmd=["sleep", "4321"], **flags)).url
        else:
            url = (await server.rpc.Attach(container_id=app, **flags)).url
        async with Spdy.connected(url, V4) as client:
            for kind in ("error", "stdin", "stdout"):
                client.open(kind)
            await client.until_replied()
            await asyncio.wait_for(gate.reached.wait(), 5)
    gate.open()
    await server.leaves(empty)


@pytest.mark.parametrize("held", [False, True])
async def test_a_shutdown_ends_all_sessions_quickly(server: InProcess, held: bool) -> None:
    pod = await server.run_pod()
    app = await server.run(pod, command=["cat"], stdin=True)
    await server.run(pod, "echo", command=["nc", "-lk", "-p", "7", "-e", "cat"])
    await until(lambda: server.mock._life.active(pod, "look at").answering(7))
    exec_url = (await server.rpc.Exec(container_id=app, cmd=["sleep", "4321"], stdout=True)).url
    attach_url = (await server.rpc.Attach(container_id=app, stdout=True)).url
    ports_url = (await server.rpc.PortForward(pod_sandbox_id=pod)).url
    gate = server.backend.hold("exec") if held else None
    async with (
        Spdy.connected(exec_url, V4) as one,
        WebSocket.connected(attach_url, V5) as two,
        Spdy.tunnelled(ports_url) as three,
        Raw.connected(server.runtime.sessions.base_url) as four,
    ):
        one.open("error"), one.open("stdout")
        three.pair(7, "0")
        await one.until_replied()
        await three.until_replied()
        if gate is not None:
            await asyncio.wait_for(gate.reached.wait(), 5)
        async with asyncio.timeout(3):
            await server._stack.aclose()  # not close(), which would let go on what is held
        await one.until_eof()
        await two.until_eof()
        await three.until_eof()
        assert await four.rest() == b""
    if gate is not None:
        gate.open()


@pytest.mark.parametrize("colour", COLOURS)
async def test_the_death_of_the_server_is_no_success(colour: str) -> None:
    with running_server() as server:
        app = await start_pod(server)
        async with connected(colour, server.endpoint) as client:
            kinds = cast(Any, ("spdy", "websocket"))
            waiting = [asyncio.ensure_future(client.run(app, ["sleep", "4321"], transport=kind)) for kind in kinds]

            async def running() -> int:
                return int((await client.exec_sync(app, ["sh", "-c", "pgrep -f 'sleep 4321' | wc -l"])).stdout)

            while await running() < len(waiting):
                await asyncio.sleep(0.01)
            server.kill()
            for each in waiting:
                with pytest.raises(errors.Unavailable):
                    await asyncio.wait_for(each, 10)


async def start_pod(server: RunningServer) -> str:
    """A container that stays when the client leaves."""
    async with (
        criadapt.aconnect(server.endpoint) as client,
        client.run_pod(image=BUSYBOX, command=["sleep", "100000"], keep=True) as pod,
    ):
        return pod.containers["app"]


# ---------------------------------------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Certificate and key of 127.0.0.1, signed by themselves."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl here to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-keyout", str(key), "-out", str(cert), "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


def trusting(cert: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(cert))


@pytest.fixture
async def over_tls(tmp_path: Path, certificate: tuple[Path, Path]) -> AsyncIterator[InProcess]:
    cert, key = certificate
    async with serving(tmp_path, tls_cert_file=str(cert), tls_key_file=str(key)) as server:
        yield server


@pytest.mark.parametrize("colour", COLOURS)
async def test_tls_works_for_whoever_trusts_the_certificate(
    over_tls: InProcess, certificate: tuple[Path, Path], colour: str
) -> None:
    pod = await over_tls.run_pod()
    app = await over_tls.run(pod)
    await over_tls.run(pod, "echo", command=["nc", "-lk", "-p", "7", "-e", "cat"])
    await until(lambda: over_tls.mock._life.active(pod, "look at").answering(7))
    empty = over_tls.traces()
    assert (await over_tls.rpc.Exec(container_id=app, cmd=["true"], stdout=True)).url.startswith("https://127.0.0.1:")
    data = random.Random(6).randbytes(3 * MIB)
    async with connected(colour, f"unix://{over_tls.socket}") as client:
        getattr(client, "blocking", client).tls = trusting(certificate[0])
        for transport in cast(Any, ("spdy", "websocket")):
            done = await client.run(app, ["cat"], input=data, transport=transport, timeout=15)
            assert done.check().stdout == data
            async with client.port_forward(pod, 7, transport=transport) as forward:
                reader, writer = await asyncio.open_connection("127.0.0.1", forward.ports[7])
                writer.write(b"over TLS")
                writer.write_eof()
                assert await asyncio.wait_for(reader.read(), 10) == b"over TLS"
                writer.close()
                await writer.wait_closed()
            async with client.exec(app, ["sleep", "4321"], transport=transport):
                await until(lambda: processes(over_tls, app, "sleep 4321"))
            await until(lambda: gone(over_tls, app, "sleep 4321"))
    await over_tls.leaves(replace(empty, sessions=over_tls.traces().sessions))


@pytest.mark.parametrize("colour", COLOURS)
async def test_a_certificate_that_nobody_vouches_for_is_refused(over_tls: InProcess, colour: str) -> None:
    app = await over_tls.run(await over_tls.run_pod())
    async with connected(colour, f"unix://{over_tls.socket}") as client:
        with pytest.raises(errors.Unavailable, match=r"(?i)certificate"):
            await client.run(app, ["true"])


async def test_whoever_speaks_no_tls_is_cut(over_tls: InProcess) -> None:
    app = await over_tls.run(await over_tls.run_pod())
    empty = over_tls.traces()
    url = (await over_tls.rpc.Exec(container_id=app, cmd=["true"], stdout=True)).url
    async with Raw.connected(url) as raw:
        raw.send(request(url, spdy_headers(V4)))
        assert b"HTTP" not in await raw.rest()
    await over_tls.leaves(replace(empty, sessions=over_tls.traces().sessions))


@pytest.mark.parametrize("broken", ["no certificate", "no key", "other key", "garbage"])
async def test_a_certificate_that_cannot_be_used_is_an_error_at_the_start(
    tmp_path: Path, certificate: tuple[Path, Path], broken: str
) -> None:
    cert, key = certificate
    other = tmp_path / "other.pem"
    other.write_text("no certificate at all")
    files = {
        "no certificate": (tmp_path / "missing.pem", key),
        "no key": (cert, ""),
        "other key": (cert, cert),
        "garbage": (other, key),
    }[broken]
    with pytest.raises(errors.InvalidArgument, match=r"streaming.tls_cert_file"):
        async with serving(tmp_path, tls_cert_file=str(files[0]), tls_key_file=str(files[1])):
            pass
