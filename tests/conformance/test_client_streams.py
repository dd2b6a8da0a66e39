"""The client's exec, attach and port-forward, both colours and both transports, against our own server."""

from __future__ import annotations

import asyncio
import hashlib
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from criadapt import AsyncClient, errors
from criadapt.client import CommandFailed
from criadapt.cri.v1 import api_pb2 as pb
from criadapt.remote.aio.io import Socket
from criadapt.testing.inprocess import InProcess, until

SECONDS = 15.0  # that anything may take


@pytest.fixture(params=["spdy", "websocket"])
def transport(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
async def app(server: InProcess) -> str:
    return await server.run(await server.run_pod())


async def processes(server: InProcess, app: str, pattern: str) -> bytes:
    return bytes((await server.exec(app, "pgrep", "-f", pattern)).stdout.strip())


async def gone(server: InProcess, app: str, pattern: str) -> bool:
    return not await processes(server, app, pattern)


async def until_read(output: Any, word: bytes) -> bytes:
    """What is read up to a word."""
    seen = b""
    async with asyncio.timeout(SECONDS):
        while word not in seen:
            data = await output.read(65536)
            assert data, f"the output ended before {word!r}: {seen[-200:]!r}"
            seen += data
    return seen


# ---------------------------------------------------------------------------------------------- run


async def test_run_gives_both_outputs_and_the_exit_code(client: AsyncClient, app: str, transport: Any) -> None:
    done = await client.run(app, ["sh", "-c", "printf out; printf err >&2; exit 3"], transport=transport)
    assert (done.stdout, done.stderr, done.exit_code) == (b"out", b"err", 3)
    assert done.cmd == ("sh", "-c", "printf out; printf err >&2; exit 3")
    with pytest.raises(CommandFailed, match="exit code 3: err") as caught:
        done.check()
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(("script", "code"), [("true", 0), ("exit 7", 7), ("exit 255", 255), ("kill -9 $$", 137)])
async def test_exit_codes(client: AsyncClient, app: str, transport: Any, script: str, code: int) -> None:
    assert (await client.run(app, ["sh", "-c", script], transport=transport)).exit_code == code


async def test_five_mebibytes_of_input_arrive(client: AsyncClient, app: str, transport: Any) -> None:
    data = random.Random(1).randbytes(5 << 20)
    done = (await client.run(app, ["md5sum"], input=data, transport=transport, timeout=SECONDS)).check()
    assert done.stdout.split()[0].decode() == hashlib.md5(data).hexdigest()


async def test_five_mebibytes_come_back_as_they_were(client: AsyncClient, app: str, transport: Any) -> None:
    data = random.Random(2).randbytes(5 << 20)
    done = (await client.run(app, ["cat"], input=data, transport=transport, timeout=SECONDS)).check()
    assert done.stdout == data


async def test_empty_input_is_an_end_and_no_input_is_none(client: AsyncClient, app: str, transport: Any) -> None:
    assert (await client.run(app, ["wc", "-c"], input=b"", transport=transport)).stdout.strip() == b"0"
    assert (await client.run(app, ["wc", "-c"], transport=transport)).stdout.strip() == b"0"


async def test_a_command_that_does_not_read_does_not_hold_its_writer(
    client: AsyncClient, app: str, transport: Any
) -> None:
    done = await client.run(app, ["sh", "-c", "echo done"], input=bytes(8 << 20), transport=transport, timeout=SECONDS)
    assert done.check().stdout == b"done\n"


async def test_a_command_as_text_is_refused(client: AsyncClient, app: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="cmd"):
        await client.run(app, "ls /")
    with pytest.raises(errors.InvalidArgument, match="cmd"):
        async with client.exec(app, "ls /"):
            pass


async def test_a_transport_that_does_not_exist_is_refused(client: AsyncClient, server: InProcess, app: str) -> None:
    typo: Any = "spyd"
    calls = (
        lambda: client.exec(app, ["true"], transport=typo),
        lambda: client.attach(app, transport=typo),
        lambda: client.dial(app, 80, transport=typo),
        lambda: client.port_forward(app, 80, transport=typo),
    )
    for call in calls:
        with pytest.raises(errors.InvalidArgument, match="'spyd' is neither 'spdy' nor 'websocket'"):
            async with call():
                pass
    assert server.traces().sessions == frozenset()  # found out before anybody was asked


async def test_a_command_that_does_not_exist(client: AsyncClient, app: str, transport: Any) -> None:
    try:
        done = await client.run(app, ["/no/such/program"], transport=transport)
    except errors.EngineError as error:
        assert "/no/such/program" in str(error)  # noqa: PT017
    else:
        assert done.exit_code in (126, 127)


async def test_only_running_containers_can_be_entered(
    client: AsyncClient, server: InProcess, app: str, transport: Any
) -> None:
    await server.rpc.StopContainer(container_id=app)
    with pytest.raises(errors.FailedPrecondition, match="is exited, not running"):
        await client.run(app, ["true"], transport=transport)
    with pytest.raises(errors.FailedPrecondition, match="is exited, not running"):
        async with client.attach(app, transport=transport):
            pass
    with pytest.raises(errors.NotFound):
        await client.run("nobody", ["true"], transport=transport)


async def test_a_time_out_kills_the_command(client: AsyncClient, server: InProcess, app: str, transport: Any) -> None:
    with pytest.raises(errors.DeadlineExceeded):
        await client.run(app, ["sleep", "4321"], timeout=0.2, transport=transport)
    await until(lambda: gone(server, app, "sleep 4321"))


# ---------------------------------------------------------------------------------------------- exec


async def test_a_conversation(client: AsyncClient, app: str, transport: Any) -> None:
    async with client.exec(app, ["sh"], stdin=True, transport=transport) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        await process.stdin.write(b"echo one; echo two >&2\n")
        assert await process.stdout.readline() == b"one\n"
        assert await process.stderr.readline() == b"two\n"
        assert process.exit_code is None
        await process.stdin.write(b"printf a; exit 5\n")
        assert await process.stdout.read() == b"a"
        assert await process.wait(SECONDS) == 5
        assert process.exit_code == 5


async def test_streams_that_were_not_asked_for_are_none(client: AsyncClient, app: str, transport: Any) -> None:
    async with client.exec(app, ["echo", "x"], transport=transport) as process:
        assert process.stdin is None
        assert await process.wait(SECONDS) == 0
    async with client.exec(app, ["echo", "x"], stdout=False, transport=transport) as process:
        assert process.stdout is None
        assert process.stderr is not None
        assert await process.wait(SECONDS) == 0
    async with client.exec(app, ["cat"], stdin=True, stdout=False, stderr=False, transport=transport) as process:
        assert process.stdin is not None
        await process.stdin.aclose()
        assert await process.wait(SECONDS) == 0


async def test_output_line_by_line_and_in_chunks(client: AsyncClient, app: str, transport: Any) -> None:
    script = "for i in 1 2 3; do echo line $i; done; printf end"
    async with client.exec(app, ["sh", "-c", script], transport=transport) as process:
        assert process.stdout is not None
        assert [line async for line in process.stdout] == [b"line 1\n", b"line 2\n", b"line 3\n", b"end"]
    async with client.exec(app, ["sh", "-c", script], transport=transport) as process:
        assert process.stdout is not None
        assert await process.stdout.read(3) == b"lin"
        assert await process.stdout.readline() == b"e 1\n"
        assert await process.stdout.read() == b"line 2\nline 3\nend"
        assert await process.stdout.read(1) == await process.stdout.readline() == b""
    async with client.exec(app, ["sh", "-c", script], transport=transport) as process:
        assert process.stdout is not None
        assert await process.stdout.read(3) == b"lin"
        assert b"".join([chunk async for chunk in process.stdout.chunks()]) == b"e 1\nline 2\nline 3\nend"


async def test_a_terminal(client: AsyncClient, app: str, transport: Any) -> None:
    async with client.exec(app, ["sh"], stdin=True, tty=True, transport=transport) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is None
        await until_read(process.stdout, b"# ")  # a prompt
        await process.resize(111, 33)
        await process.stdin.write(b"stty size\r")
        assert b"stty size\r\n33 111\r\n" in await until_read(process.stdout, b"111\r\n")  # echoed, then answered
        await process.stdin.write(b"sleep 4321\r")
        await until_read(process.stdout, b"sleep 4321\r\n")
        await process.stdin.write(b"\x03")
        await until_read(process.stdout, b"# ")
        await process.stdin.write(b"exit 4\r")
        await process.stdout.read()
        assert await process.wait(SECONDS) == 4


async def test_leaving_the_block_kills_the_command(
    client: AsyncClient, server: InProcess, app: str, transport: Any
) -> None:
    async with client.exec(app, ["sleep", "4321"], transport=transport) as process:
        await until(lambda: processes(server, app, "sleep 4321"))
        with pytest.raises(errors.DeadlineExceeded):
            await process.wait(0.05)
    await until(lambda: gone(server, app, "sleep 4321"))


async def test_a_connection_that_is_lost_is_unavailable_and_no_success(
    client: AsyncClient, server: InProcess, app: str, transport: Any
) -> None:
    async with client.exec(app, ["sleep", "4321"], stdin=True, transport=transport) as process:
        waiting = asyncio.ensure_future(process.wait(SECONDS))
        await until(lambda: processes(server, app, "sleep 4321"))
        await cut_all(server)
        with pytest.raises(errors.Unavailable):
            await waiting
        with pytest.raises(errors.Unavailable):
            await process.wait()
        assert process.stdin is not None
        assert process.stdout is not None
        with pytest.raises(errors.Unavailable):
            await process.stdout.read()
        with pytest.raises(errors.Unavailable):
            await process.stdin.write(b"x")
    await until(lambda: gone(server, app, "sleep 4321"))


async def cut_all(server: InProcess) -> None:
    """The server's streaming connections break, as when it crashes."""
    for transport in list(asyncio.get_running_loop()._transports.values()):  # type: ignore[attr-defined]
        protocol = transport.get_protocol()
        if isinstance(protocol, Socket) and transport.get_extra_info("sockname")[1] == port_of(server):
            transport.abort()


def port_of(server: InProcess) -> int:
    return int(server.runtime.sessions.base_url.rpartition(":")[2])


async def test_many_commands_at_once(client: AsyncClient, app: str, transport: Any) -> None:
    done = await asyncio.gather(
        *(client.run(app, ["cat"], input=b"%d" % number * 1000, transport=transport) for number in range(30))
    )
    assert [each.stdout for each in done] == [b"%d" % number * 1000 for number in range(30)]


# ---------------------------------------------------------------------------------------------- attach


async def shell(server: InProcess, **fields: Any) -> str:
    return await server.run(await server.run_pod(), command=["sh"], **{"stdin": True, **fields})


async def test_all_attachers_get_all_output(client: AsyncClient, server: InProcess, transport: Any) -> None:
    app = await shell(server)
    async with (
        client.attach(app, stdin=True, transport=transport) as first,
        client.attach(app, transport=transport) as second,
        client.attach(app, stdin=True) as third,
    ):
        assert first.stdin is not None
        assert third.stdin is not None
        await first.stdin.write(b"echo from first\n")
        for each in (first, second, third):
            assert each.stdout is not None
            assert await each.stdout.readline() == b"from first\n"
        await third.stdin.write(b"echo from third\n")
        for each in (first, second, third):
            assert each.stdout is not None
            assert await each.stdout.readline() == b"from third\n"
        # One of them leaves; the others stay.
        await second.aclose()
        await first.stdin.write(b"echo on >&2\n")
        assert third.stderr is not None
        assert await third.stderr.readline() == b"on\n"


async def test_the_end_of_input_detaches(client: AsyncClient, server: InProcess, transport: Any) -> None:
    app = await shell(server)
    async with client.attach(app, stdin=True, transport=transport) as process:
        done = await process.communicate(b"echo here\n", SECONDS)
        assert done.exit_code == 0
    assert (await server.container(app)).state == pb.CONTAINER_RUNNING
    async with client.attach(app, stdin=True, transport=transport) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        await process.stdin.write(b"echo again\n")
        assert b"again\n" in await until_read(process.stdout, b"again\n")


async def test_stdin_once_ends_the_container_with_its_input(
    client: AsyncClient, server: InProcess, transport: Any
) -> None:
    app = await shell(server, stdin_once=True)
    async with client.attach(app, stdin=True, transport=transport) as process:
        done = await process.communicate(b"echo hello\n", SECONDS)
    assert (done.stdout, done.stderr, done.exit_code) == (b"hello\n", b"", 0)
    assert (await server.exited(app)).exit_code == 0


async def test_a_terminal_stays_although_its_input_was_for_once(
    client: AsyncClient, server: InProcess, transport: Any
) -> None:
    app = await shell(server, stdin_once=True, tty=True)
    for word in (b"first", b"second"):
        async with client.attach(app, stdin=True, tty=True, transport=transport) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            await process.stdin.write(b"echo -n " + word + b" | wc -c\r")
            await until_read(process.stdout, b"%d\r\n" % len(word))
            await process.stdin.aclose()
            assert await process.wait(SECONDS) == 0
    assert (await server.container(app)).state == pb.CONTAINER_RUNNING


async def test_attach_ends_with_the_container(client: AsyncClient, server: InProcess, transport: Any) -> None:
    app = await shell(server)
    async with client.attach(app, transport=transport) as process:
        await server.rpc.StopContainer(container_id=app)
        assert await process.wait(SECONDS) == 0


async def test_a_terminal_is_attached_to(client: AsyncClient, server: InProcess, transport: Any) -> None:
    app = await shell(server, tty=True)
    async with client.attach(app, stdin=True, tty=True, transport=transport) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        await process.resize(100, 40)
        await process.stdin.write(b"stty size\r")
        assert b"40 100\r\n" in await until_read(process.stdout, b"100\r\n")
    assert (await server.container(app)).state == pb.CONTAINER_RUNNING


async def test_a_client_that_vanishes_leaves_an_attached_container_alone(
    client: AsyncClient, server: InProcess, transport: Any
) -> None:
    app = await shell(server)
    before = server.traces()
    async with client.attach(app, stdin=True, transport=transport):
        await cut_all(server)
    assert (await server.container(app)).state == pb.CONTAINER_RUNNING
    await until(lambda: server.traces().processes == before.processes)


# ---------------------------------------------------------------------------------------------- ports


@pytest.fixture
async def pod(server: InProcess) -> str:
    """Sends back what it gets on port 7, and serves a page on port 80."""
    pod = await server.run_pod()
    await server.run(pod, "echo", command=["nc", "-lk", "-p", "7", "-e", "cat"])
    await server.run(pod, "web", command=["httpd"])
    for port in (7, 80):
        await until(lambda port=port: server.mock._life.active(pod, "look at").answering(port))
    return pod


async def test_dial_sends_ends_and_reads(client: AsyncClient, pod: str, transport: Any) -> None:
    data = random.Random(3).randbytes(1 << 20)
    async with client.dial(pod, 7, transport=transport) as stream:
        assert stream.port == 7

        async def send() -> None:
            await stream.write(data)
            await stream.end()

        sending = asyncio.ensure_future(send())
        assert b"".join([chunk async for chunk in stream.chunks()]) == data
        await sending


async def test_dialling_where_nobody_listens_shows_on_reading(client: AsyncClient, pod: str, transport: Any) -> None:
    async with client.dial(pod, 81, transport=transport) as stream:
        with pytest.raises(errors.Unavailable, match=r"port 81.*refused"):
            await stream.read()


@pytest.mark.parametrize("port", [0, -1, 65536])
async def test_an_impossible_port_is_refused(client: AsyncClient, pod: str, port: int) -> None:
    with pytest.raises(errors.InvalidArgument, match=str(port)):
        async with client.dial(pod, port):
            pass


async def test_only_ready_pods_can_be_dialled(client: AsyncClient, server: InProcess, pod: str) -> None:
    await server.rpc.StopPodSandbox(pod_sandbox_id=pod)
    with pytest.raises(errors.FailedPrecondition, match="not ready"):
        async with client.dial(pod, 7):
            pass
    with pytest.raises(errors.NotFound):
        async with client.dial("nobody", 7):
            pass


async def test_the_pod_s_end_is_seen_at_once(client: AsyncClient, pod: str, transport: Any) -> None:
    """Also by a client that has not ended its own direction."""
    async with client.dial(pod, 80, transport=transport) as stream:
        await stream.write(b"GET / HTTP/1.0\r\n\r\n")
        began = asyncio.get_running_loop().time()
        page = b"".join([chunk async for chunk in stream.chunks()])
        assert asyncio.get_running_loop().time() - began < 0.9
        assert page.startswith(b"HTTP/1.1 200 OK\r\n")


@asynccontextmanager
async def local(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def echoed(port: int, data: bytes) -> bytes:
    async with asyncio.timeout(SECONDS), local(port) as (reader, writer):
        writer.write(data)
        writer.write_eof()
        return await reader.read()


async def test_a_listener_leads_to_the_pod(client: AsyncClient, pod: str, transport: Any) -> None:
    async with client.port_forward(pod, 7, ":80", transport=transport) as forward:
        assert forward.address == "127.0.0.1"
        assert set(forward.ports) == {7, 80}
        assert await echoed(forward.ports[7], b"half close works") == b"half close works"
        assert (await echoed(forward.ports[80], b"GET / HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 200")
        port = forward.ports[7]
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_a_hundred_connections_at_once(client: AsyncClient, pod: str, transport: Any) -> None:
    chosen = random.Random(4)
    payloads = [chosen.randbytes(chosen.randrange(1, 20_000)) for _ in range(100)]
    async with client.port_forward(pod, 7, transport=transport) as forward:
        answers = await asyncio.gather(*(echoed(forward.ports[7], payload) for payload in payloads))
        assert list(answers) == payloads


async def test_all_is_delivered_to_a_slow_local_reader(client: AsyncClient, pod: str, transport: Any) -> None:
    """The pod has ended long before its last bytes are read here."""
    data = random.Random(5).randbytes(6 << 20)
    async with client.port_forward(pod, 7, transport=transport) as forward:
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.setblocking(False)
        loop = asyncio.get_running_loop()
        with raw:
            await loop.sock_connect(raw, ("127.0.0.1", forward.ports[7]))

            async def send() -> None:
                await loop.sock_sendall(raw, data)
                raw.shutdown(socket.SHUT_WR)

            sending = asyncio.ensure_future(send())
            digest, size = hashlib.sha256(), 0
            async with asyncio.timeout(SECONDS):
                while piece := await loop.sock_recv(raw, 30_000):
                    digest.update(piece)
                    size += len(piece)
                await sending
        assert (size, digest.digest()) == (len(data), hashlib.sha256(data).digest())


async def test_one_refused_connection_does_not_hurt_the_others(client: AsyncClient, pod: str, transport: Any) -> None:
    async with (
        client.port_forward(pod, 81, 7, transport=transport) as forward,
        local(forward.ports[7]) as (reader, writer),
    ):
        writer.write(b"before")
        assert await asyncio.wait_for(reader.readexactly(6), SECONDS) == b"before"
        assert await refused_by(forward.ports[81])
        writer.write(b"after")
        assert await asyncio.wait_for(reader.readexactly(5), SECONDS) == b"after"


async def refused_by(port: int) -> bool:
    try:
        return await echoed(port, b"") == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("spec", ["", ":", "80:", "a:80", "80:b", "0", "1:2:3", -1, 65536, "70000:80", "80:70000"])
async def test_a_port_that_makes_no_sense_is_refused(client: AsyncClient, pod: str, spec: int | str) -> None:
    with pytest.raises(errors.InvalidArgument, match="port"):
        async with client.port_forward(pod, spec):
            pass


async def test_no_port_at_all_is_refused(client: AsyncClient, pod: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="port"):
        async with client.port_forward(pod):
            pass


async def test_a_local_port_of_one_s_choice(client: AsyncClient, pod: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
        with pytest.raises(errors.FailedPrecondition, match=str(port)):
            async with client.port_forward(pod, ":80", f"{port}:7"):
                pass
    async with client.port_forward(pod, f"{port}:7") as forward:
        assert forward.ports == {7: port}
        assert await echoed(port, b"hi") == b"hi"


async def test_an_unknown_pod_is_refused_before_anybody_connects(client: AsyncClient) -> None:
    with pytest.raises(errors.NotFound):
        async with client.port_forward("nobody", 80):
            pass


async def test_nothing_is_left_when_a_forward_ends_in_the_middle(
    client: AsyncClient, server: InProcess, pod: str, transport: Any
) -> None:
    empty = server.traces()
    async with client.port_forward(pod, 7, transport=transport) as forward, local(forward.ports[7]) as (reader, writer):
        writer.write(b"in the middle")
        assert await asyncio.wait_for(reader.readexactly(13), SECONDS) == b"in the middle"
        await forward.aclose()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), SECONDS)
    await server.leaves(empty)
