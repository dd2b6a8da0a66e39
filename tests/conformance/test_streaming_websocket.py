"""Exec, attach and port-forward over WebSocket, seen message by message.

Sources: k8s.io/streaming (remotecommand/websocket, portforward/websocket) and KEP-4006 for v5.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode, b64encode

import pytest
from websockets.frames import CloseCode

from criadapt.cri.v1 import api_pb2 as pb
from criadapt.remote import channels
from criadapt.testing.inprocess import InProcess, until
from criadapt.testing.rawclient import Raw, Spdy, WebSocket, request, websocket_headers

V5, V4, V1 = "v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io"
V4_BASE64, V1_BASE64 = "v4.base64.channel.k8s.io", "base64.channel.k8s.io"
STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
SUCCESS = b'{"metadata":{},"status":"Success"}'
NORMAL = CloseCode.NORMAL_CLOSURE


@pytest.fixture
async def app(server: InProcess) -> str:
    return await server.run(await server.run_pod())


async def exec_url(server: InProcess, app: str, *cmd: str, **streams: bool) -> str:
    return str((await server.rpc.Exec(container_id=app, cmd=cmd, **(streams or {"stdout": True}))).url)


async def attach_url(server: InProcess, app: str, **streams: bool) -> str:
    return str((await server.rpc.Attach(container_id=app, **streams)).url)


async def processes(server: InProcess, app: str, pattern: str) -> bytes:
    return bytes((await server.exec(app, "pgrep", "-f", pattern)).stdout.strip())


async def gone(server: InProcess, app: str, pattern: str) -> bool:
    return not await processes(server, app, pattern)


def in_base64(message: bytes | str) -> tuple[int, bytes]:
    assert isinstance(message, str)
    return int(message[0]), b64decode(message[1:], validate=True)


# ---------------------------------------------------------------------------------------------- messages, exactly


@pytest.mark.parametrize("version", [V5, V4])
async def test_binary_messages_since_v4(server: InProcess, app: str, version: str) -> None:
    url = await exec_url(server, app, "sh", "-c", "printf out; printf err >&2", stdout=True, stderr=True)
    async with WebSocket.connected(url, version) as client:
        await client.until_eof()
        first, *between, last = client.messages
        assert first == b"\x01"
        assert sorted(between) == [b"\x01out", b"\x02err"]
        assert last == b"\x03" + SUCCESS
        assert client.close is not None
        assert (client.close.code, client.close.reason) == (NORMAL, "")


async def test_binary_messages_of_v1(server: InProcess, app: str) -> None:
    for named in ((V1,), ()):
        async with WebSocket.connected(await exec_url(server, app, "printf", "out"), *named) as client:
            await client.until_eof()
            assert client.messages == [b"\x01", b"\x01out"]
            assert client.close is not None
            assert client.close.code == NORMAL


@pytest.mark.parametrize("version", [V4_BASE64, V1_BASE64])
async def test_base64_messages(server: InProcess, app: str, version: str) -> None:
    url = await exec_url(server, app, "sh", "-c", "printf 'err\n' >&2", stdout=True, stderr=True)
    async with WebSocket.connected(url, version) as client:
        await client.until_eof()
        status = ["3" + b64encode(SUCCESS).decode()] if version == V4_BASE64 else []
        assert client.messages == ["1", "2ZXJyCg==", *status]
        assert client.close is not None
        assert client.close.code == NORMAL


@pytest.mark.parametrize(
    ("streams", "first"),
    [({"stdout": True}, b"\x01"), ({"stderr": True}, b"\x02"), ({"stdin": True}, b"\x03")],
)
async def test_the_greeting_is_on_the_first_channel_that_the_server_writes(
    server: InProcess, app: str, streams: dict[str, bool], first: bytes
) -> None:
    async with WebSocket.connected(await exec_url(server, app, "true", **streams), V4) as client:
        await client.until_eof()
        assert client.messages == [first, b"\x03" + SUCCESS]


@pytest.mark.parametrize("version", [V5, V4, V1, V4_BASE64, V1_BASE64])
@pytest.mark.parametrize(("script", "code"), [("exit 7", 7), ("kill -9 $$", 137)])
async def test_an_exit_code(server: InProcess, app: str, version: str, script: str, code: int) -> None:
    async with WebSocket.connected(await exec_url(server, app, "sh", "-c", script), version) as client:
        await client.until_eof()
        last = client.messages[-1]
        channel, status = in_base64(last) if isinstance(last, str) else (last[0], last[1:])
        assert channel == ERROR
        text = f"command terminated with non-zero exit code: exit code {code}"
        if version in (V1, V1_BASE64):
            assert status.decode() == text
        else:
            assert json.loads(status)["details"] == {"causes": [{"reason": "ExitCode", "message": str(code)}]}
            assert json.loads(status)["message"] == text
        assert client.close is not None
        assert client.close.code == NORMAL


async def test_a_command_that_cannot_run_is_told_in_words(server: InProcess, app: str) -> None:
    url = await exec_url(server, app, "true")
    await server.rpc.StopContainer(container_id=app)
    async with WebSocket.connected(url, V5) as client:
        await client.until_eof()
        status = json.loads(client.of(ERROR))
        assert (status["status"], status["reason"], status["code"]) == ("Failure", "InternalError", 500)
        assert "is exited, not running" in status["message"]
        assert client.close is not None
        assert client.close.code == NORMAL


# ---------------------------------------------------------------------------------------------- input


async def test_v5_ends_one_stream(server: InProcess, app: str) -> None:
    url = await exec_url(server, app, "sh", "-c", "cat; echo end", stdin=True, stdout=True)
    async with WebSocket.connected(url, V5) as client:
        client.binary(b"\x00text\n")
        await client.until(lambda: client.of(STDOUT) == b"text\n")
        client.binary(bytes((CLOSE, STDIN)))
        await client.until_eof()
        assert client.of(STDOUT) == b"text\nend\n"
        assert client.of(ERROR) == SUCCESS
        assert all(isinstance(m, bytes) and m[0] != CLOSE for m in client.messages)


@pytest.mark.parametrize(
    "nonsense", [b"\xff", b"\xff\x00\x00", b"\xff\x09", b"\xff\xff", b"\x07text", b"\x01text", b""]
)
async def test_messages_that_mean_nothing_are_ignored(server: InProcess, app: str, nonsense: bytes) -> None:
    async with WebSocket.connected(await exec_url(server, app, "cat", stdin=True, stdout=True), V5) as client:
        client.binary(nonsense)
        client.binary(b"\x00text")
        client.binary(b"\xff\x00")
        await client.until_eof()
        assert client.of(STDOUT) == b"text"
        assert client.of(ERROR) == SUCCESS


async def test_before_v5_stdin_ends_with_the_connection(server: InProcess, app: str) -> None:
    async with WebSocket.connected(await exec_url(server, app, "cat", stdin=True, stdout=True), V4) as client:
        client.binary(b"\xff\x00")
        client.binary(b"\x00text")
        await client.until(lambda: client.of(STDOUT) == b"text")
        await until(lambda: processes(server, app, "cat"))
        client.frames.send_close(NORMAL)
        client.flush()
        await until(lambda: gone(server, app, "cat"))


@pytest.mark.parametrize("version", [V4_BASE64, V1_BASE64])
async def test_input_in_base64(server: InProcess, app: str, version: str) -> None:
    url = await exec_url(server, app, "head", "-c", "9", stdin=True, stdout=True)
    async with WebSocket.connected(url, version) as client:
        client.text("0" + b64encode(b"\xff\x00ab").decode())
        client.text("0")
        client.text("")
        client.text("0" + b64encode(b"cdefg").decode())
        await client.until_eof()
        assert b"".join(in_base64(m)[1] for m in client.messages if m[:1] == "1") == b"\xff\x00abcdefg"


@pytest.mark.parametrize(
    ("version", "message"), [(V5, "0dGV4dA=="), (V4, "text"), (V4_BASE64, b"\x00text"), (V1_BASE64, "0!!!")]
)
async def test_messages_of_the_wrong_kind_end_the_session(
    server: InProcess, app: str, version: str, message: bytes | str
) -> None:
    async with WebSocket.connected(await exec_url(server, app, "sleep", "4321", stdin=True), version) as client:
        await until(lambda: processes(server, app, "sleep 4321"))
        client.text(message) if isinstance(message, str) else client.binary(message)
        await client.until_eof()
        await until(lambda: gone(server, app, "sleep 4321"))


async def test_a_frame_that_is_none_ends_the_session(server: InProcess, app: str) -> None:
    async with WebSocket.connected(await exec_url(server, app, "sleep", "4321"), V5) as client:
        await until(lambda: processes(server, app, "sleep 4321"))
        client.raw.send(b"\xf2\x00")  # reserved bits, and not masked either
        await client.until_eof()
        assert client.close is not None
        assert client.close.code == CloseCode.PROTOCOL_ERROR
        await until(lambda: gone(server, app, "sleep 4321"))


async def test_a_message_in_pieces_names_its_channel_once(server: InProcess, app: str) -> None:
    async with WebSocket.connected(await exec_url(server, app, "cat", stdin=True, stdout=True), V5) as client:
        client.binary(b"\x00ab", fin=False)
        client.ping(b"between")
        client.continued(b"\x00cd", fin=False)
        client.continued(b"", fin=False)
        client.continued(b"ef", fin=True)
        client.binary(b"\x00g")
        client.binary(b"\xff\x00")
        await client.until_eof()
        assert client.of(STDOUT) == b"ab\x00cdefg"
        assert client.pongs == [b"between"]


@pytest.mark.parametrize("first", [b"", b"\xff"])
async def test_the_end_of_a_stream_in_pieces(server: InProcess, app: str, first: bytes) -> None:
    """A message is what counts, not how it is cut into frames (RFC 6455, section 5.4)."""
    async with WebSocket.connected(await exec_url(server, app, "cat", stdin=True, stdout=True), V5) as client:
        client.binary(b"", fin=False)
        client.continued(b"\x00text", fin=True)
        client.binary(first, fin=False)
        client.continued(b"\xff\x00"[len(first) :], fin=True)
        await client.until_eof()
        assert client.of(STDOUT) == b"text"


async def test_a_base64_message_in_pieces(server: InProcess, app: str) -> None:
    async with WebSocket.connected(
        await exec_url(server, app, "head", "-c", "6", stdin=True, stdout=True), V4_BASE64
    ) as client:
        client.frames.send_text(b"0YWJ", fin=False)
        client.continued(b"jZGV", fin=False)
        client.continued(b"m", fin=True)
        await client.until_eof()
        assert "".join(m[1:] for m in client.messages if m[:1] == "1") == b64encode(b"abcdef").decode()


async def test_pings_are_answered_also_while_the_process_does_not_read(server: InProcess, app: str) -> None:
    """A client gives the session up that does not answer for a minute (client-go, heartbeat)."""
    async with WebSocket.connected(await exec_url(server, app, "sleep", "4321", stdin=True), V5) as client:
        client.binary(b"\x00" + bytes(512 * 1024))
        client.ping(b"there?")
        await client.until(lambda: client.pongs == [b"there?"])


async def test_large_output_comes_in_messages_that_go_s_buffers_hold(server: InProcess, app: str) -> None:
    async with WebSocket.connected(await exec_url(server, app, "head", "-c", "3000000", "/dev/zero"), V5) as client:
        await client.until_eof()
        assert client.of(STDOUT) == bytes(3_000_000)
        assert max(map(len, client.messages)) <= 32 * 1024 + 1


@pytest.mark.parametrize("version", [V5, V4, V1])
async def test_a_terminal_is_resized(server: InProcess, app: str, version: str) -> None:
    url = await exec_url(server, app, "sh", "-c", "read go; stty size", stdin=True, stdout=True, tty=True)
    async with WebSocket.connected(url, version) as client:
        client.binary(b'\x04{"Width":90,"Height":20}\n')
        client.binary(b"\x00\n")
        await client.until_eof()
        assert client.of(STDOUT).endswith(b"20 90\r\n")
        assert client.of(STDERR) == b""


@pytest.mark.parametrize("how", ["closes", "aborts", "says goodbye"])
async def test_who_leaves_takes_the_process_along(server: InProcess, app: str, how: str) -> None:
    empty = server.traces()
    async with WebSocket.connected(await exec_url(server, app, "sleep", "4321", stdin=True), V5) as client:
        await until(lambda: processes(server, app, "sleep 4321"))
        if how == "closes":
            client.raw.writer.close()
        elif how == "aborts":
            client.raw.abort()
        else:
            client.frames.send_close(CloseCode.GOING_AWAY)
            client.flush()
            await client.until_eof()
            assert client.close is not None
            assert client.close.code == CloseCode.GOING_AWAY
        await until(lambda: gone(server, app, "sleep 4321"))
        await server.leaves(empty)


# ---------------------------------------------------------------------------------------------- attach


async def test_attach_and_detach(server: InProcess) -> None:
    app = await server.run(await server.run_pod(), command=["sh"], stdin=True)
    async with WebSocket.connected(await attach_url(server, app, stdin=True, stdout=True), V5) as client:
        client.binary(b"\x00echo hello\n")
        await client.until(lambda: client.of(STDOUT) == b"hello\n")
        client.binary(b"\xff\x00")
        await client.until_eof()
        assert client.of(ERROR) == SUCCESS
    assert (await server.container(app)).state == pb.CONTAINER_RUNNING


async def test_attach_with_stdin_once(server: InProcess) -> None:
    app = await server.run(await server.run_pod(), command=["sh"], stdin=True, stdin_once=True)
    async with WebSocket.connected(await attach_url(server, app, stdin=True, stdout=True, stderr=True), V5) as client:
        client.binary(b"\x00echo -n hello\n")
        client.binary(b"\xff\x00")
        await client.until_eof()
        assert (client.of(STDOUT), client.of(STDERR), client.of(ERROR)) == (b"hello", b"", SUCCESS)
    assert (await server.exited(app)).exit_code == 0


# ---------------------------------------------------------------------------------------------- port-forward


@pytest.fixture
async def pod(server: InProcess) -> str:
    """Sends back what it gets on ports 7 and 18099, and serves a page on port 80."""
    pod = await server.run_pod()
    for port in (7, 18099):
        await server.run(pod, f"echo-{port}", command=["nc", "-lk", "-p", str(port), "-e", "cat"])
    await server.run(pod, "web", command=["httpd"])
    for port in (7, 18099, 80):
        await until(lambda port=port: server.mock._life.active(pod, "look at").answering(port))
    return pod


async def ports_url(server: InProcess, pod: str, *ports: int) -> str:
    return str((await server.rpc.PortForward(pod_sandbox_id=pod, port=ports)).url)


@pytest.mark.parametrize("named", [(V4,), ()])
async def test_every_channel_begins_with_its_port(server: InProcess, pod: str, named: tuple[str, ...]) -> None:
    async with WebSocket.connected(await ports_url(server, pod, 18099, 7), *named) as client:
        await client.until(lambda: len(client.messages) == 4)
        assert client.messages == [b"\x00\xb3\x46", b"\x01\xb3\x46", b"\x02\x07\x00", b"\x03\x07\x00"]
        client.binary(b"\x02to port 7")
        client.binary(b"\x00to port 18099")
        await client.until(lambda: len(client.of(0)) == 15 and len(client.of(2)) == 11)
        assert (client.of(0)[2:], client.of(2)[2:]) == (b"to port 18099", b"to port 7")
        assert (client.of(1)[2:], client.of(3)[2:]) == (b"", b"")


async def test_the_same_in_base64(server: InProcess, pod: str) -> None:
    async with WebSocket.connected(await ports_url(server, pod, 18099), V4_BASE64) as client:
        await client.until(lambda: client.messages == ["0s0Y=", "1s0Y="])
        client.text("0" + b64encode(b"hello").decode())
        await client.until(lambda: client.messages[2:] == ["0aGVsbG8="])


async def test_when_all_ports_are_done_the_socket_closes(server: InProcess, pod: str) -> None:
    async with WebSocket.connected(await ports_url(server, pod, 80, 80), V4) as client:
        for channel in (0, 2):
            client.binary(bytes((channel,)) + b"GET / HTTP/1.0\r\n\r\n")
        async with asyncio.timeout(5):
            await client.until_eof()
        assert client.of(0)[2:].startswith(b"HTTP/1.1 200 OK")
        assert client.of(2)[2:].startswith(b"HTTP/1.1 200 OK")
        assert client.close is not None
        assert client.close.code == NORMAL


async def test_a_refused_port_is_told_on_its_error_channel(server: InProcess, pod: str) -> None:
    async with WebSocket.connected(await ports_url(server, pod, 81, 7), V4) as client:
        await client.until(lambda: len(client.of(1)) > 2)
        assert client.of(1)[2:].startswith(b"error forwarding port 81: ")
        client.binary(b"\x02still here")
        await client.until(lambda: client.of(2)[2:] == b"still here")
        assert client.of(3)[2:] == b""


async def test_who_leaves_while_the_pod_is_silent_leaves_nothing(server: InProcess, pod: str) -> None:
    empty = server.traces()
    async with WebSocket.connected(await ports_url(server, pod, 7, 18099), V4) as client:
        await client.until(lambda: len(client.messages) == 4)
        client.raw.abort()
        await server.leaves(empty)


@pytest.mark.parametrize(("count", "status"), [(0, 400), (1, 101), (100, 101), (101, 400)])
async def test_two_channels_per_port_must_fit_into_a_byte(server: InProcess, pod: str, count: int, status: int) -> None:
    url = await ports_url(server, pod, *[7] * count)
    async with Raw.connected(url) as raw:
        raw.send(request(url, websocket_headers(V4), "GET"))
        assert (await raw.answer()).status == status


async def test_a_tunnel_takes_spdy_in_any_pieces(server: InProcess, pod: str) -> None:
    """Go writes every field of a frame by itself, which makes each a message; even empty ones occur."""
    async with Spdy.tunnelled(await ports_url(server, pod)) as client:
        error, data = client.pair(7, "0")
        client.mux.send_data(data, b"in pieces", fin=True)
        assert client.tunnel is not None
        for byte in b"".join(client.mux.data_to_send()):
            client.tunnel.binary(bytes((byte,)))
            client.tunnel.binary(b"")
        await client.until(lambda: client.streams[data].ended and client.streams[error].ended)
        assert client.streams[data].data == b"in pieces"
        client.tunnel.text("no SPDY")
        await client.until_eof()


def test_channel_numbers_are_those_of_kubernetes() -> None:
    kinds = ("stdin", "stdout", "stderr", "error", "resize")
    numbers = [channels.REMOTE_COMMAND.index(kind) for kind in kinds]
    assert [*numbers, channels.CLOSE] == [STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE]
