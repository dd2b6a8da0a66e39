"""Exec, attach and port-forward over SPDY/3.1, seen frame by frame.

Sources: k8s.io/cri-streaming and k8s.io/streaming (remotecommand, portforward), which all clients are written against.
"""

from __future__ import annotations

import json
from itertools import permutations
from typing import Any

import pytest

from criadapt.cri.v1 import api_pb2 as pb
from criadapt.remote.aio import session
from criadapt.spdy import GoAwayStatus, ResetStatus, frames
from criadapt.streaming import portforward, remotecommand
from criadapt.testing.inprocess import InProcess, until
from criadapt.testing.rawclient import Spdy

V1, V2, V3, V4 = VERSIONS = ("channel.k8s.io", "v2.channel.k8s.io", "v3.channel.k8s.io", "v4.channel.k8s.io")
PORTS = "portforward.k8s.io"
SUCCESS = {"metadata": {}, "status": "Success"}


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


def said(client: Spdy, stream: int) -> bytes:
    return bytes(client.streams[stream].data)


def failure(message: str) -> dict[str, Any]:
    return {"metadata": {}, "status": "Failure", "message": message, "reason": "InternalError", "code": 500}


# ---------------------------------------------------------------------------------------------- versions and statuses


@pytest.mark.parametrize("version", VERSIONS)
async def test_success_is_a_status_since_v4_and_silence_before(server: InProcess, app: str, version: str) -> None:
    async with Spdy.connected(await exec_url(server, app, "echo", "hi"), version) as client:
        assert client.answer["X-Stream-Protocol-Version"] == version
        error, stdout = client.open("error"), client.open("stdout")
        await client.until_eof()
        assert said(client, stdout) == b"hi\n"
        assert said(client, error) == (b'{"metadata":{},"status":"Success"}' if version == V4 else b"")
        assert client.streams[error].ended


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("cmd", "code"), [("exit 7", 7), ("kill -9 $$", 137), ("exit 255", 255)])
async def test_an_exit_code_is_a_cause_since_v4_and_text_before(
    server: InProcess, app: str, version: str, cmd: str, code: int
) -> None:
    async with Spdy.connected(await exec_url(server, app, "sh", "-c", cmd), version) as client:
        error = client.open("error")
        client.open("stdout")
        await client.until_eof()
        text = f"command terminated with non-zero exit code: exit code {code}"
        if version == V4:
            cause = {"reason": "ExitCode", "message": str(code)}
            reason, details = "NonZeroExitCode", {"causes": [cause]}
            expected = {"metadata": {}, "status": "Failure", "message": text, "reason": reason, "details": details}
            assert json.loads(said(client, error)) == expected
        else:
            assert said(client, error).decode() == text


@pytest.mark.parametrize("version", [V4, V2])
async def test_a_command_that_does_not_exist(server: InProcess, app: str, version: str) -> None:
    async with Spdy.connected(await exec_url(server, app, "/no/such/program"), version) as client:
        error = client.open("error")
        client.open("stdout")
        await client.until_eof()
        assert b"/no/such/program" in said(client, error) or b"exit code 12" in said(client, error)


async def test_a_container_that_ended_meanwhile_is_told_in_words(server: InProcess, app: str) -> None:
    urls = {
        "executing command in container": await exec_url(server, app, "true"),
        "attaching to container": await attach_url(server, app, stdout=True),
    }
    await server.rpc.StopContainer(container_id=app)
    for what, url in urls.items():
        async with Spdy.connected(url, V4) as client:
            error = client.open("error")
            client.open("stdout")
            await client.until_eof()
            words = f"Internal error occurred: error {what}: container '{app[:13]}' is exited, not running"
            assert json.loads(said(client, error)) == failure(words)


async def test_a_container_that_was_removed_meanwhile_is_told_in_words(server: InProcess, app: str) -> None:
    urls = [await exec_url(server, app, "true"), await attach_url(server, app, stdout=True)]
    await server.remove_all()
    for url in urls:
        async with Spdy.connected(url, V4) as client:
            error = client.open("error")
            client.open("stdout")
            await client.until_eof()
            assert "not found" in json.loads(said(client, error))["message"]


# ---------------------------------------------------------------------------------------------- streams


@pytest.mark.parametrize("order", list(permutations(("error", "stdin", "stdout", "stderr"))))
async def test_streams_come_in_any_order(server: InProcess, app: str, order: tuple[str, ...]) -> None:
    url = await exec_url(server, app, "sh", "-c", "cat; echo err >&2", stdin=True, stdout=True, stderr=True)
    async with Spdy.connected(url, V4) as client:
        streams = {kind: client.open(kind) for kind in order}
        await client.until_replied()
        client.send(streams["stdin"], b"text", fin=True)
        await client.until_eof()
        assert said(client, streams["stdout"]) == b"text"
        assert said(client, streams["stderr"]) == b"err\n"
        assert json.loads(said(client, streams["error"])) == SUCCESS


async def test_streams_data_and_ends_in_one_write(server: InProcess, app: str) -> None:
    async with Spdy.connected(await exec_url(server, app, "cat", stdin=True, stdout=True), V4) as client:
        error, stdin, stdout = (client.open(kind) for kind in ("error", "stdin", "stdout"))
        client.send(stdin, b"all at once", fin=True)
        await client.until_eof()
        assert said(client, stdout) == b"all at once"
        assert json.loads(said(client, error)) == SUCCESS


async def test_byte_by_byte_is_the_same(server: InProcess, app: str) -> None:
    async with Spdy.connected(await exec_url(server, app, "cat", stdin=True, stdout=True), V4) as client:
        error, stdin, stdout = (client.open(kind) for kind in ("error", "stdin", "stdout"))
        client.mux.send_data(stdin, b"slow", fin=True)
        for byte in b"".join(client.mux.data_to_send()):
            client.raw.send(bytes([byte]))
            await client.raw.writer.drain()
        await client.until_eof()
        assert said(client, stdout) == b"slow"
        assert json.loads(said(client, error)) == SUCCESS


async def test_every_stream_is_accepted_before_it_gets_data(server: InProcess, app: str) -> None:
    url = await exec_url(server, app, "sh", "-c", "echo out; echo err >&2", stdout=True, stderr=True)
    async with Spdy.connected(url, V4) as client:
        for kind in ("error", "stdout", "stderr"):
            client.open(kind)
        await client.until_eof()
        assert [seen.events for seen in client.streams.values()] == [["replied", "data", "ended"]] * 3


@pytest.mark.parametrize("kind", ["stderr", "resize", "nonsense", ""])
async def test_a_stream_that_was_not_announced_is_refused(server: InProcess, app: str, kind: str) -> None:
    async with Spdy.connected(await exec_url(server, app, "cat", stdin=True, stdout=True), V4) as client:
        early = client.open(kind)
        error, stdin, stdout = (client.open(kind) for kind in ("error", "stdin", "stdout"))
        await client.until(lambda: client.streams[early].reset > 0)
        late, twice = client.open(kind), client.open("stdin")
        await client.until(lambda: client.streams[late].reset > 0 and client.streams[twice].reset > 0)
        client.send(stdin, b"goes on", fin=True)
        await client.until_eof()
        assert said(client, stdout) == b"goes on"
        assert json.loads(said(client, error)) == SUCCESS


@pytest.mark.parametrize("kind", ["stdout", "error"])
async def test_data_where_none_belongs_holds_nothing_up(server: InProcess, app: str, kind: str) -> None:
    async with Spdy.connected(await exec_url(server, app, "cat", stdin=True, stdout=True), V4) as client:
        streams = {kind: client.open(kind) for kind in ("error", "stdin", "stdout")}
        client.send(streams[kind], bytes(3 << 20))
        client.send(streams["stdin"], b"through", fin=True)
        await client.until_eof()
        assert said(client, streams["stdout"]) == b"through"


async def test_streams_that_do_not_come_end_the_session_with_a_status(
    server: InProcess, app: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remotecommand, "CREATION_SECONDS", 0.05)
    url = await exec_url(server, app, "sleep", "4321", stdin=True, stdout=True, stderr=True)
    async with Spdy.connected(url, V4) as client:
        error = client.open("error")
        client.open("stdin")
        await client.until_eof()
        words = "Internal error occurred: no stdout, stderr stream was opened in time"
        assert json.loads(said(client, error)) == failure(words)
        assert client.gone is not None
    assert server.backend.history.count("exec") == 0


async def test_without_an_error_stream_the_session_just_ends(
    server: InProcess, app: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remotecommand, "CREATION_SECONDS", 0.05)
    async with Spdy.connected(await exec_url(server, app, "sleep", "4321"), V4) as client:
        client.open("stdout")
        await client.until_eof()
        assert client.gone is not None
        assert client.gone.status is GoAwayStatus.PROTOCOL_ERROR


@pytest.mark.parametrize(("version", "resizes"), [(V1, False), (V2, False), (V3, True), (V4, True)])
async def test_a_terminal_can_be_resized_since_v3(server: InProcess, app: str, version: str, resizes: bool) -> None:
    url = await exec_url(server, app, "sh", "-c", "read go; stty size", stdin=True, stdout=True, tty=True)
    async with Spdy.connected(url, version) as client:
        client.open("error")
        stdin, stdout = client.open("stdin"), client.open("stdout")
        if resizes:
            # Pieces of any length, sizes that no terminal has, several at once: the last sensible one counts.
            resize = client.open("resize")
            for piece in (b'{"Width":1', b'00,"Height":5}\n{"Wid', b'th":0,"Height":9}{"Width":111,"Height":33}'):
                client.send(resize, piece)
        await client.until_replied()
        client.send(stdin, b"\n")
        await client.until_eof()
        assert said(client, stdout).endswith(b"33 111\r\n" if resizes else b"24 80\r\n")


async def test_nonsense_on_the_resize_stream_is_ignored(server: InProcess, app: str) -> None:
    url = await exec_url(server, app, "cat", stdin=True, stdout=True, tty=True)
    async with Spdy.connected(url, V4) as client:
        error, stdin, resize = client.open("error"), client.open("stdin"), client.open("resize")
        stdout = client.open("stdout")
        client.send(resize, b"[1, 2]" + bytes(2 << 20))
        client.send(stdin, b"alive\r\x04")
        await client.until_eof()
        assert b"alive\r\n" in said(client, stdout)
        assert json.loads(said(client, error)) == SUCCESS


# ---------------------------------------------------------------------------------------------- ends


async def test_the_end_of_stdin_reaches_the_process_and_the_output_goes_on(server: InProcess, app: str) -> None:
    url = await exec_url(server, app, "sh", "-c", "cat; echo end; exit 3", stdin=True, stdout=True)
    async with Spdy.connected(url, V4) as client:
        error, stdin, stdout = (client.open(kind) for kind in ("error", "stdin", "stdout"))
        client.send(stdin, b"a\n")
        await client.until(lambda: said(client, stdout) == b"a\n")
        client.send(stdin, b"b\n", fin=True)
        await client.until_eof()
        assert said(client, stdout) == b"a\nb\nend\n"
        assert b'"3"' in said(client, error)


async def test_a_client_that_ends_its_side_of_the_outputs_still_gets_them(server: InProcess, app: str) -> None:
    async with Spdy.connected(await exec_url(server, app, "cat", stdin=True, stdout=True), V4) as client:
        error, stdin, stdout = (client.open(kind) for kind in ("error", "stdin", "stdout"))
        for stream in (error, stdout):
            client.mux.end_stream(stream)
        client.send(stdin, b"text", fin=True)
        await client.until_eof()
        assert said(client, stdout) == b"text"
        assert json.loads(said(client, error)) == SUCCESS


async def test_the_process_ends_although_stdin_is_open(server: InProcess, app: str) -> None:
    url = await exec_url(server, app, "sh", "-c", "echo bye", stdin=True, stdout=True)
    async with Spdy.connected(url, V4) as client:
        error, stdin, stdout = (client.open(kind) for kind in ("error", "stdin", "stdout"))
        await client.until_eof()
        assert said(client, stdout) == b"bye\n"
        assert json.loads(said(client, error)) == SUCCESS
        assert client.streams[stdin].ended


async def test_the_end_is_fins_a_status_goaway_and_the_close(server: InProcess, app: str) -> None:
    url = await exec_url(server, app, "true", stdin=True, stdout=True, stderr=True)
    async with Spdy.connected(url, V4) as client:
        streams = [client.open(kind) for kind in ("error", "stdin", "stdout", "stderr")]
        client.flush()
        wire = await client.raw.rest()
    order = [
        (frames.Kind(word & 0xFFFF).name, int.from_bytes(payload[:4], "big")) if word >> 31 else ("DATA", word)
        for word, flags, payload in split(wire)
        if word >> 31 or flags & frames.FIN
    ]
    error, *others = streams
    assert set(order[:4]) == {("SYN_REPLY", stream) for stream in streams}
    assert sorted(order[4:7]) == [("DATA", stream) for stream in others]
    assert order[7:] == [("DATA", error), ("GOAWAY", streams[-1])]


def split(wire: bytes) -> list[tuple[int, int, bytes]]:
    """First word, flags and payload of each frame."""
    found, at = [], 0
    while at < len(wire):
        word, flags, length = frames.head(wire[at : at + frames.HEAD])
        found.append((word, flags, wire[at + frames.HEAD : at + frames.HEAD + length]))
        at += frames.HEAD + length
    return found


async def test_pings_are_echoed_also_after_goaway(server: InProcess, app: str) -> None:
    async with Spdy.connected(await exec_url(server, app, "cat", stdin=True, stdout=True), V4) as client:
        client.open("error"), client.open("stdout")
        stdin = client.open("stdin")
        first, second = client.mux.ping(), client.mux.ping()
        await client.until(lambda: client.pongs == [first, second])
        client.send(stdin, b"", fin=True)
        await client.until(lambda: client.gone is not None)
        client.mux.ping()  # the server has ended its direction; that this comes must not trouble it
        await client.until_eof()


async def test_the_server_closes_although_the_client_does_not(
    server: InProcess, app: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "LINGER_SECONDS", 0.1)
    monkeypatch.setattr(session, "LINGER_STEP", 0.01)
    empty = server.traces()
    async with Spdy.connected(await exec_url(server, app, "true"), V4) as client:
        client.open("error"), client.open("stdout")
        await client.until_eof()
        await server.leaves(empty)


async def test_a_grandchild_that_holds_the_output_does_not_hold_the_end(server: InProcess, app: str) -> None:
    async with Spdy.connected(await exec_url(server, app, "sh", "-c", "sleep 4321 & echo done"), V4) as client:
        error, stdout = client.open("error"), client.open("stdout")
        await client.until_eof()
        assert said(client, stdout) == b"done\n"
        assert json.loads(said(client, error)) == SUCCESS
    await until(lambda: gone(server, app, "sleep 4321"))


# ---------------------------------------------------------------------------------------------- broken peers


BROKEN = {
    "wrong version": b"\x80\x02\x00\x01\x00\x00\x00\x00",
    "short ping": b"\x80\x03\x00\x06\x00\x00\x00\x03abc",
    "bad headers": b"\x80\x03\x00\x01\x00\x00\x00\x0e\x00\x00\x00\x63\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff",
    "huge control frame": b"\x80\x03\x00\x01\x00\xff\xff\xff",
}


@pytest.mark.parametrize("how", BROKEN)
async def test_who_breaks_the_protocol_loses_connection_and_process(server: InProcess, app: str, how: str) -> None:
    empty = server.traces()
    async with Spdy.connected(await exec_url(server, app, "sleep", "4321"), V4) as client:
        client.open("error"), client.open("stdout")
        await client.until_replied()
        await until(lambda: processes(server, app, "sleep 4321"))
        client.raw.send(BROKEN[how])
        await client.until_eof()
        assert client.gone is not None
        assert client.gone.status is GoAwayStatus.PROTOCOL_ERROR
        await until(lambda: gone(server, app, "sleep 4321"))
    await server.leaves(empty)


@pytest.mark.parametrize("how", ["closes", "aborts", "ends its direction"])
async def test_who_leaves_takes_the_process_along(server: InProcess, app: str, how: str) -> None:
    async with Spdy.connected(await exec_url(server, app, "sleep", "4321"), V4) as client:
        client.open("error"), client.open("stdout")
        await client.until_replied()
        await until(lambda: processes(server, app, "sleep 4321"))
        if how == "closes":
            client.raw.writer.close()
        elif how == "aborts":
            client.raw.abort()
        else:
            client.raw.writer.write_eof()
        await until(lambda: gone(server, app, "sleep 4321"))


async def test_a_frame_of_an_unknown_kind_is_passed_over(server: InProcess, app: str) -> None:
    async with Spdy.connected(await exec_url(server, app, "echo", "hi"), V4) as client:
        settings = b"\x80\x03\x00\x04\x00\x00\x00\x0c\x00\x00\x00\x01\x00\x00\x00\x04\x00\x00\x00\x64"
        window_update = b"\x80\x03\x00\x09\x00\x00\x00\x08\x00\x00\x00\x01\x00\x01\x00\x00"
        client.raw.send(settings + window_update + b"\x80\x03\x00\x63\x00\x00\x00\x02xx")
        error, stdout = client.open("error"), client.open("stdout")
        await client.until_eof()
        assert (said(client, stdout), json.loads(said(client, error))) == (b"hi\n", SUCCESS)


# ---------------------------------------------------------------------------------------------- attach


async def shell(server: InProcess, **fields: Any) -> str:
    return await server.run(await server.run_pod(), command=["sh"], **{"stdin": True, **fields})


async def test_attach_is_live_and_detaches_at_the_end_of_input(server: InProcess) -> None:
    app = await shell(server)
    async with Spdy.connected(await attach_url(server, app, stdin=True, stdout=True), V4) as client:
        error, stdin, stdout = (client.open(kind) for kind in ("error", "stdin", "stdout"))
        client.send(stdin, b"echo hello\n")
        await client.until(lambda: said(client, stdout) == b"hello\n")
        client.send(stdin, b"", fin=True)
        await client.until_eof()
        assert json.loads(said(client, error)) == SUCCESS
    assert (await server.container(app)).state == pb.CONTAINER_RUNNING


async def test_attach_with_stdin_once_ends_the_container_s_input(server: InProcess) -> None:
    """As critest has it: what is typed is all that comes, and the end of input ends shell and session."""
    app = await shell(server, stdin_once=True)
    async with Spdy.connected(await attach_url(server, app, stdin=True, stdout=True, stderr=True), V4) as client:
        error, stdin, stdout, stderr = (client.open(kind) for kind in ("error", "stdin", "stdout", "stderr"))
        client.send(stdin, b"echo -n hello\n", fin=True)
        await client.until_eof()
        assert (said(client, stdout), said(client, stderr)) == (b"hello", b"")
        assert json.loads(said(client, error)) == SUCCESS
    assert (await server.exited(app)).exit_code == 0


async def test_attach_ends_with_the_container_and_succeeds_whatever_its_code(server: InProcess) -> None:
    app = await shell(server)
    async with Spdy.connected(await attach_url(server, app, stdin=True, stdout=True), V4) as client:
        error, stdin, stdout = (client.open(kind) for kind in ("error", "stdin", "stdout"))
        client.send(stdin, b"echo last; exit 9\n")
        await client.until_eof()
        assert said(client, stdout) == b"last\n"
        assert json.loads(said(client, error)) == SUCCESS
    assert (await server.exited(app)).exit_code == 9


async def test_input_for_a_container_without_stdin_goes_nowhere(server: InProcess, app: str) -> None:
    async with Spdy.connected(await attach_url(server, app, stdin=True, stdout=True), V4) as client:
        error, stdin, _ = (client.open(kind) for kind in ("error", "stdin", "stdout"))
        client.send(stdin, b"text")
        client.send(stdin, b"", fin=True)
        await client.until_eof()
        assert json.loads(said(client, error)) == SUCCESS
    assert (await server.container(app)).state == pb.CONTAINER_RUNNING


# ---------------------------------------------------------------------------------------------- port-forward


@pytest.fixture(params=["plain", "tunnelled"])
def forwarding(request: pytest.FixtureRequest, server: InProcess) -> Any:
    """Connects to a pod's ports by either form."""

    async def url(pod: str) -> str:
        return str((await server.rpc.PortForward(pod_sandbox_id=pod)).url)

    async def connect(pod: str) -> Any:
        found = await url(pod)
        return Spdy.connected(found, PORTS) if request.param == "plain" else Spdy.tunnelled(found)

    return connect


@pytest.fixture
async def pod(server: InProcess) -> str:
    """A pod that sends back on port 7 what it gets."""
    pod = await server.run_pod()
    await server.run(pod, "echo", command=["nc", "-lk", "-p", "7", "-e", "cat"])
    await until(lambda: server.mock._life.active(pod, "look at").answering(7), what="the echo server listens")
    return pod


async def test_pairs_by_request_id_in_any_order(forwarding: Any, pod: str) -> None:
    async with await forwarding(pod) as client:
        headers = {"port": "7"}
        data_b = client.open("data", **headers, requestid="b")
        error_a = client.open("error", **headers, requestid="a")
        error_b = client.open("error", **headers, requestid="b")
        data_a = client.open("data", **headers, requestid="a")
        await client.until_replied()
        client.send(data_a, b"to a", fin=True)
        client.send(data_b, b"to b", fin=True)
        await client.until(lambda: all(seen.over for seen in client.streams.values()))
        assert (said(client, data_a), said(client, data_b)) == (b"to a", b"to b")
        assert (said(client, error_a), said(client, error_b)) == (b"", b"")


async def test_pairs_without_ids_are_neighbours(forwarding: Any, pod: str) -> None:
    async with await forwarding(pod) as client:
        pairs = [client.pair(7) for _ in range(3)]
        for number, (_, data) in enumerate(pairs):
            client.send(data, b"%d" % number, fin=True)
        await client.until(lambda: all(seen.over for seen in client.streams.values()))
        assert [said(client, data) for _, data in pairs] == [b"0", b"1", b"2"]


async def test_many_connections_one_after_the_other(forwarding: Any, pod: str) -> None:
    async with await forwarding(pod) as client:
        for number in range(600):  # more than may be open at once
            error, data = client.pair(7, str(number))
            client.send(data, b"x", fin=True)
            await client.until(lambda error=error, data=data: client.streams[data].over and client.streams[error].over)
            assert said(client, data) == b"x"


@pytest.mark.parametrize("port", ["", "0", "65536", "-1", "http", "٧", "999999999999999999999"])
async def test_an_impossible_port_is_refused(forwarding: Any, pod: str, port: str) -> None:
    if not port.isascii():
        port = port.encode().decode("latin-1")
    async with await forwarding(pod) as client:
        error, data = client.pair(port, "0")
        await client.until(lambda: client.streams[error].reset and client.streams[data].reset)
        assert client.streams[data].reset == ResetStatus.CANCEL
        _, other = client.pair(7, "1")
        client.send(other, b"fine", fin=True)
        await client.until(lambda: client.streams[other].ended)


@pytest.mark.parametrize("kind", ["stdout", "", "Data"])
async def test_an_unknown_kind_of_stream_is_refused(forwarding: Any, pod: str, kind: str) -> None:
    async with await forwarding(pod) as client:
        stream = client.open(kind, port="7", requestid="0")
        await client.until(lambda: client.streams[stream].reset == ResetStatus.CANCEL)


async def test_a_second_stream_of_a_kind_is_told_on_the_error_stream(forwarding: Any, pod: str) -> None:
    async with await forwarding(pod) as client:
        first = client.open("error", port="7", requestid="1")
        second = client.open("error", port="7", requestid="1")
        await client.until(lambda: client.streams[first].ended and client.streams[second].reset)
        assert said(client, first) == b"request 1 has two error streams"
        once = client.open("data", port="7", requestid="2")
        twice = client.open("data", port="7", requestid="2")
        await client.until(lambda: client.streams[twice].reset)
        assert not client.streams[once].over


@pytest.mark.parametrize("kind", ["error", "data"])
async def test_half_a_pair_is_given_up(forwarding: Any, pod: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portforward, "PAIR_SECONDS", 0.05)
    async with await forwarding(pod) as client:
        half = client.open(kind, port="7", requestid="9")
        await client.until(lambda: client.streams[half].over)
        if kind == "error":
            assert said(client, half) == b"request 9: timed out waiting for its second stream"
        _, data = client.pair(7, "9")
        client.send(data, b"a new one", fin=True)
        await client.until(lambda: client.streams[data].ended)
        assert said(client, data) == b"a new one"


async def test_a_refused_port_is_told_and_the_other_pairs_live_on(forwarding: Any, pod: str) -> None:
    async with await forwarding(pod) as client:
        _, living = client.pair(7, "0")
        error, data = client.pair(81, "1")
        await client.until(lambda: client.streams[error].over and client.streams[data].over)
        assert said(client, error).startswith(b"error forwarding port 81: ")
        assert b"refused" in said(client, error)
        assert client.streams[data].reset == ResetStatus.CANCEL
        client.send(living, b"still here", fin=True)
        await client.until(lambda: client.streams[living].ended)
        assert said(client, living) == b"still here"


async def test_a_pod_that_ended_is_told_in_words(forwarding: Any, pod: str, server: InProcess) -> None:
    async with await forwarding(pod) as client:
        await server.rpc.StopPodSandbox(pod_sandbox_id=pod)
        error, _ = client.pair(7, "0")
        await client.until(lambda: client.streams[error].over)
        assert b"is not ready" in said(client, error)


async def test_the_client_s_end_reaches_the_pod_and_the_answer_still_comes(forwarding: Any, pod: str) -> None:
    async with await forwarding(pod) as client:
        error, data = client.pair(7, "0")
        payload = bytes(range(256)) * 8192
        client.send(data, payload, fin=True)
        await client.until(lambda: client.streams[data].ended and client.streams[error].ended)
        assert said(client, data) == payload


async def test_the_client_s_end_is_the_end_of_what_the_pod_reads(forwarding: Any, server: InProcess, pod: str) -> None:
    app = await server.run(pod, "sink", command=["nc", "-l", "-p", "9"])
    await until(lambda: server.mock._life.active(pod, "look at").answering(9))
    async with await forwarding(pod) as client:
        _, data = client.pair(9, "0")
        client.send(data, b"for the log\n", fin=True)
        assert (await server.exited(app)).exit_code == 0


async def test_the_pod_s_end_reaches_the_client_which_may_go_on(forwarding: Any, server: InProcess, pod: str) -> None:
    await server.run(pod, "web", command=["httpd"])
    await until(lambda: server.mock._life.active(pod, "look at").answering(80))
    async with await forwarding(pod) as client:
        error, data = client.pair(80, "0")
        client.send(data, b"GET / HTTP/1.0\r\n\r\n")
        await client.until(lambda: client.streams[data].ended)
        assert said(client, data).startswith(b"HTTP/1.1 200 OK\r\n")
        assert not client.streams[error].over
        client.send(data, b"too late, but no harm", fin=True)
        await client.until(lambda: client.streams[error].ended)
        assert said(client, error) == b""


async def test_goaway_of_the_client_leaves_what_is_open(forwarding: Any, pod: str) -> None:
    async with await forwarding(pod) as client:
        _, data = client.pair(7, "0")
        await client.until_replied()
        client.mux.go_away()
        client.send(data, b"on", fin=True)
        await client.until(lambda: client.streams[data].ended)
        assert said(client, data) == b"on"


async def test_who_breaks_the_protocol_loses_all_connections(forwarding: Any, server: InProcess, pod: str) -> None:
    empty = server.traces()
    async with await forwarding(pod) as client:
        client.pair(7, "0")
        await client.until_replied()
        broken = BROKEN["wrong version"]
        client.raw.send(broken) if client.tunnel is None else client.tunnel.binary(broken)
        await client.until_eof()
        assert client.gone is not None
        assert client.gone.status is GoAwayStatus.PROTOCOL_ERROR
    await server.leaves(empty)
