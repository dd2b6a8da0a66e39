"""The HTTP request that begins a streaming session: which are let through, how the others are answered.

The statuses are those of k8s.io/cri-streaming; the peers' libraries depend on them.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import pytest

from criadapt.config import Config, StreamingConfig
from criadapt.remote.websocket import accept_key
from criadapt.streaming import listener
from criadapt.testing.inprocess import InProcess, refused, serving_inprocess, until
from criadapt.testing.rawclient import KEY, Answer, Header, Raw, Spdy, request, spdy_headers, websocket_headers

V4 = "v4.channel.k8s.io"
UPGRADE: list[Header] = [("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1")]


@pytest.fixture
async def app(server: InProcess) -> str:
    return await server.run(await server.run_pod())


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


async def exec_url(server: InProcess, app: str, *cmd: str) -> str:
    return str((await server.rpc.Exec(container_id=app, cmd=cmd or ("true",), stdout=True)).url)


async def attach_url(server: InProcess, app: str) -> str:
    return str((await server.rpc.Attach(container_id=app, stdout=True)).url)


async def ports_url(server: InProcess, *ports: int) -> str:
    (pod,) = (await server.rpc.ListPodSandbox()).items
    return str((await server.rpc.PortForward(pod_sandbox_id=pod.id, port=ports)).url)


async def ask(url: str, headers: list[Header], method: str = "POST") -> tuple[Answer, bytes]:
    """Ask and read to the end of the connection; a 101 is answered by hanging up."""
    async with Raw.connected(url) as raw:
        raw.send(request(url, headers, method))
        answer = await raw.answer()
        return answer, b"" if answer.status == 101 else await raw.rest()


async def refusal(url: str, headers: list[Header], method: str = "POST") -> tuple[Answer, bytes]:
    """Ask and be refused: the body has the promised length, and the connection is closed."""
    answer, body = await ask(url, headers, method)
    assert answer["Connection"] == "close"
    assert int(answer["Content-Length"]) == len(body)
    return answer, body


# ---------------------------------------------------------------------------------------------- addresses and tokens


async def test_an_address_is_absolute_and_leads_to_the_server(server: InProcess, app: str) -> None:
    for kind, url in (
        ("exec", await exec_url(server, app)),
        ("attach", await attach_url(server, app)),
        ("portforward", await ports_url(server)),
    ):
        parts = urlsplit(url)
        assert (parts.scheme, parts.hostname) == ("http", "127.0.0.1")
        assert parts.path.startswith(f"/{kind}/")
        assert parts.query == ""
        assert len(parts.path.rpartition("/")[2]) * 4 >= 128, "a token of fewer than 128 bits could be guessed"


@pytest.mark.parametrize(
    ("address", "host"), [("0.0.0.0", "127.0.0.1"), ("::1", "::1"), ("::", "::1"), ("127.0.0.1", "127.0.0.1")]
)
async def test_the_host_is_one_that_can_be_connected_to(tmp_path: Path, address: str, host: str) -> None:
    try:
        with socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET):
            pass
    except OSError as error:
        pytest.skip(f"{address} cannot be listened on here: {error}")
    async with serving(tmp_path, address=address) as server:
        url = await exec_url(server, await server.run(await server.run_pod()))
        assert urlsplit(url).hostname == host
        assert (await ask(url, spdy_headers(V4)))[0].status == 101


async def test_a_token_works_once(server: InProcess, app: str) -> None:
    url = await exec_url(server, app)
    assert (await ask(url, spdy_headers(V4)))[0].status == 101
    answer, body = await refusal(url, spdy_headers(V4))
    assert (answer.status, body) == (404, b"404 page not found\n")


@pytest.mark.parametrize(
    "headers",
    [spdy_headers(), spdy_headers("v9.channel.k8s.io"), [("X-Stream-Protocol-Version", V4)]],
    ids=["no version", "unknown version", "no upgrade"],
)
async def test_a_failed_upgrade_burns_the_token(server: InProcess, app: str, headers: list[Header]) -> None:
    url = await exec_url(server, app)
    assert (await refusal(url, headers))[0].status in (400, 403)
    assert (await refusal(url, spdy_headers(V4)))[0].status == 404


async def test_a_token_of_another_kind_is_refused_and_burnt(server: InProcess, app: str) -> None:
    urls = [await exec_url(server, app), await attach_url(server, app), await ports_url(server)]
    for url in urls:
        kind = urlsplit(url).path.split("/")[1]
        for other in {"exec", "attach", "portforward"} - {kind}:
            assert (await refusal(url.replace(kind, other), spdy_headers(V4)))[0].status == 404
        assert (await refusal(url, spdy_headers(V4, "portforward.k8s.io")))[0].status == 404


async def test_an_expired_token_is_as_unknown_as_any(server: InProcess, app: str) -> None:
    url = await exec_url(server, app)
    sessions = server.runtime.sessions
    now = sessions._clock()
    sessions._clock = lambda: now + 61
    answer, body = await refusal(url, spdy_headers(V4))
    assert (answer.status, body) == (404, b"404 page not found\n")
    assert server.traces().sessions == frozenset()


@pytest.mark.parametrize(
    "path",
    ["/", "/exec", "/exec/", "/exec/no-such-token", "/exec/{token}/", "/exec/{token}/x", "//exec/{token}",
     "/cri/exec/{token}", "/EXEC/{token}", "/exec/%2e%2e/{token}", "*"],
)  # fmt: skip
async def test_other_paths_lead_nowhere(server: InProcess, app: str, path: str) -> None:
    url = await exec_url(server, app)
    token = url.rpartition("/")[2]
    async with Raw.connected(url) as raw:
        raw.send(request(url, spdy_headers(V4)).replace(urlsplit(url).path.encode(), path.format(token=token).encode()))
        assert (await raw.answer()).status == 404
        assert await raw.rest() == b"404 page not found\n"
    assert (await ask(url, spdy_headers(V4)))[0].status == 101


async def test_a_thousand_may_wait(server: InProcess, app: str) -> None:
    urls = [await exec_url(server, app) for _ in range(1000)]
    with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, saying="1000"):
        await server.rpc.Attach(container_id=app, stdout=True)
    assert (await ask(urls[0], spdy_headers(V4)))[0].status == 101
    await attach_url(server, app)


async def test_so_many_may_be_connected(tmp_path: Path) -> None:
    async with serving(tmp_path, max_sessions=2) as server, AsyncExitStack() as stack:
        app = await server.run(await server.run_pod())
        empty = server.traces()
        for _ in range(2):
            await stack.enter_async_context(Spdy.connected(await exec_url(server, app, "sleep", "1000"), V4))
        url = await exec_url(server, app)
        answer, body = await refusal(url, spdy_headers(V4))
        assert answer.status == 503
        assert b"2 streaming sessions" in body
        await stack.aclose()
        await server.leaves(replace(empty, sessions=frozenset([url.rpartition("/")[2]])))
        assert (await ask(url, spdy_headers(V4)))[0].status == 101  # it was not the token's fault


# ---------------------------------------------------------------------------------------------- SPDY


async def test_an_upgrade_is_answered_as_clients_check_it(server: InProcess, app: str) -> None:
    answer, _ = await ask(await exec_url(server, app), spdy_headers(V4))
    assert answer.status == 101
    assert answer.all("Connection") == ["Upgrade"]
    assert answer.all("Upgrade") == ["SPDY/3.1"]
    assert answer.all("X-Stream-Protocol-Version") == [V4]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_get_and_post_are_the_same(server: InProcess, app: str, method: str) -> None:
    assert (await ask(await exec_url(server, app), spdy_headers(V4), method))[0].status == 101


@pytest.mark.parametrize("method", ["PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"])
async def test_other_methods_are_refused(server: InProcess, app: str, method: str) -> None:
    url = await exec_url(server, app)
    async with Raw.connected(url) as raw:
        raw.send(request(url, spdy_headers(V4), method))
        answer = await raw.answer()
        assert (answer.status, answer["Allow"]) == (405, "GET, POST")
        await raw.rest()
    assert (await ask(url, spdy_headers(V4)))[0].status == 101


@pytest.mark.parametrize("value", [None, "", " , "])
@pytest.mark.parametrize("upgrade", [UPGRADE, []], ids=["with upgrade", "without"])
async def test_the_version_is_missed_first(
    server: InProcess, app: str, value: str | None, upgrade: list[Header]
) -> None:
    version = [] if value is None else [("X-Stream-Protocol-Version", value)]
    answer, body = await refusal(await exec_url(server, app), [*upgrade, *version])
    assert answer.status == 400
    assert b"X-Stream-Protocol-Version" in body


async def test_whoever_speaks_nothing_we_do_is_told_what_we_do(server: InProcess, app: str) -> None:
    accepted = "X-Accepted-Stream-Protocol-Versions"
    commands = ["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"]
    for url in (await exec_url(server, app), await attach_url(server, app)):
        answer, body = await refusal(url, spdy_headers("v9.channel.k8s.io", "portforward.k8s.io"))
        assert (answer.status, answer.all(accepted)) == (403, commands)
        assert b"v9.channel.k8s.io" in body
    answer, _ = await refusal(await ports_url(server), spdy_headers(*commands))
    assert (answer.status, answer.all(accepted)) == (403, ["portforward.k8s.io"])


@pytest.mark.parametrize(
    "headers",
    [[], [("Upgrade", "SPDY/3.1")], [("Connection", "Upgrade")], [("Connection", "Upgrade"), ("Upgrade", "h2c")],
     [("Connection", "keep-alive"), ("Upgrade", "SPDY/3.1")]],
)  # fmt: skip
async def test_the_upgrade_headers_are_missed_next(server: InProcess, app: str, headers: list[Header]) -> None:
    url = await exec_url(server, app)
    answer, body = await refusal(url, [*headers, ("X-Stream-Protocol-Version", V4)])
    assert answer.status == 400
    assert b"missing upgrade headers" in body


@pytest.mark.parametrize(
    ("lines", "chosen"),
    [
        (["v5.channel.k8s.io", "v3.channel.k8s.io", "v4.channel.k8s.io"], "v3.channel.k8s.io"),
        (["v5.channel.k8s.io, v2.channel.k8s.io,v4.channel.k8s.io"], "v2.channel.k8s.io"),
        (["v9, v8", "channel.k8s.io"], "channel.k8s.io"),
        ([" v4.channel.k8s.io "], "v4.channel.k8s.io"),
        (["", "v4.channel.k8s.io"], "v4.channel.k8s.io"),
    ],
)
async def test_the_first_of_the_client_s_that_we_speak(
    server: InProcess, app: str, lines: list[str], chosen: str
) -> None:
    answer, _ = await ask(await exec_url(server, app), spdy_headers(*lines))
    assert (answer.status, answer["X-Stream-Protocol-Version"]) == (101, chosen)


@pytest.mark.parametrize(
    "upgrade",
    [
        [("connection", "upgrade"), ("upgrade", "spdy/3.1")],
        [("Connection", "keep-alive, Upgrade"), ("Upgrade", "SPDY/3.1")],
        [("Connection", "keep-alive"), ("Connection", "UPGRADE"), ("Upgrade", "h2c, SPDY/3.1")],
    ],
)
async def test_upgrade_headers_are_lists_in_any_case(server: InProcess, app: str, upgrade: list[Header]) -> None:
    headers = [*upgrade, ("X-Stream-Protocol-Version", V4)]
    assert (await ask(await exec_url(server, app), headers))[0].status == 101


async def test_host_and_origin_are_not_judged(server: InProcess, app: str) -> None:
    """Through kubelet's proxy come the headers of whoever asked it (k8s.io/apimachinery, upgradeaware)."""
    url = await exec_url(server, app)
    extra = [("Origin", "https://evil.example"), ("X-Forwarded-For", "10.0.0.9"), ("User-Agent", "kubectl")]
    async with Raw.connected(url) as raw:
        head = request(url, [*spdy_headers(V4), *extra])
        raw.send(head.replace(urlsplit(url).netloc.encode(), b"10.0.0.5:10250"))
        assert (await raw.answer()).status == 101


async def test_the_server_is_silent_until_the_client_s_first_frame(server: InProcess, app: str) -> None:
    """Go's client throws away what comes together with the 101."""
    async with Spdy.connected(await exec_url(server, app), V4) as client:
        # Another session from its beginning to its end is what this one's server had time for.
        async with Spdy.connected(await exec_url(server, app), V4) as other:
            other.open("error"), other.open("stdout")
            await other.until_eof()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.raw.reader.read(1), 0.05)
        client.open("error"), client.open("stdout")
        await client.until_replied()


async def test_what_comes_right_behind_the_head_is_kept(server: InProcess, app: str) -> None:
    url = await exec_url(server, app, "echo", "hello")
    async with Raw.connected(url) as raw:
        client = Spdy(raw, Answer(101, ()))
        error, stdout = client.open("error"), client.open("stdout")
        raw.send(request(url, spdy_headers(V4)) + b"".join(client.mux.data_to_send()))
        assert (await raw.answer()).status == 101
        await client.until_eof()
        assert client.streams[stdout].data == b"hello\n"
        assert b'"Success"' in client.streams[error].data


# ---------------------------------------------------------------------------------------------- WebSocket


async def test_a_websocket_is_answered_as_rfc_6455_says(server: InProcess, app: str) -> None:
    answer, _ = await ask(await exec_url(server, app), websocket_headers("v5.channel.k8s.io"), "GET")
    assert answer.status == 101
    assert answer["Upgrade"].lower() == "websocket"
    assert answer["Connection"].lower() == "upgrade"
    assert answer["Sec-WebSocket-Accept"] == accept_key(KEY)
    assert answer["Sec-WebSocket-Protocol"] == "v5.channel.k8s.io"
    assert answer.all("Sec-WebSocket-Extensions") == []


def test_the_accept_key_is_that_of_the_rfc() -> None:
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def without(headers: list[Header], *names: str) -> list[Header]:
    return [header for header in headers if header[0] not in names]


async def test_a_websocket_begins_with_get(server: InProcess, app: str) -> None:
    answer, _ = await refusal(await exec_url(server, app), websocket_headers(V4), "POST")
    assert answer.status == 405


async def test_a_websocket_needs_a_key(server: InProcess, app: str) -> None:
    headers = without(websocket_headers(V4), "Sec-WebSocket-Key")
    assert (await refusal(await exec_url(server, app), headers, "GET"))[0].status == 400


@pytest.mark.parametrize("version", [None, "8", "14", "thirteen"])
async def test_a_websocket_has_version_13(server: InProcess, app: str, version: str | None) -> None:
    headers = without(websocket_headers(V4), "Sec-WebSocket-Version")
    headers += [] if version is None else [("Sec-WebSocket-Version", version)]
    answer, _ = await refusal(await exec_url(server, app), headers, "GET")
    assert (answer.status, answer["Sec-WebSocket-Version"]) == (400, "13")


@pytest.mark.parametrize("kind", ["command", "ports"])
async def test_an_unknown_subprotocol_is_refused_without_a_word(server: InProcess, app: str, kind: str) -> None:
    url = await exec_url(server, app) if kind == "command" else await ports_url(server, 80)
    unknown = ("v9.channel.k8s.io", "channel.k8s.io") if kind == "ports" else ("v9.channel.k8s.io", "v2.channel.k8s.io")
    answer, body = await refusal(url, websocket_headers(*unknown), "GET")
    assert (answer.status, body) == (403, b"")
    assert (await refusal(url, spdy_headers(V4)))[0].status == 404


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (("v9.channel.k8s.io", "v4.channel.k8s.io", "v5.channel.k8s.io"), "v4.channel.k8s.io"),
        (("v5.channel.k8s.io", "v4.channel.k8s.io"), "v5.channel.k8s.io"),
        (("base64.channel.k8s.io",), "base64.channel.k8s.io"),
        (("v4.base64.channel.k8s.io",), "v4.base64.channel.k8s.io"),
        (("channel.k8s.io",), "channel.k8s.io"),
    ],
)
async def test_the_first_subprotocol_that_we_speak(
    server: InProcess, app: str, offered: tuple[str, ...], chosen: str
) -> None:
    answer, _ = await ask(await exec_url(server, app), websocket_headers(*offered), "GET")
    assert (answer.status, answer["Sec-WebSocket-Protocol"]) == (101, chosen)


async def test_whoever_names_no_subprotocol_gets_none_named(server: InProcess, app: str) -> None:
    """Go answers with an empty line then, which strict clients refuse."""
    for url in (await exec_url(server, app), await ports_url(server, 80)):
        answer, _ = await ask(url, websocket_headers(), "GET")
        assert answer.status == 101
        assert answer.all("Sec-WebSocket-Protocol") == []


async def test_a_tunnel_has_a_name_with_a_slash(server: InProcess, app: str) -> None:
    name = "SPDY/3.1+portforward.k8s.io"
    answer, _ = await ask(await ports_url(server), websocket_headers(name), "GET")
    assert (answer.status, answer["Sec-WebSocket-Protocol"]) == (101, name)
    assert (await refusal(await exec_url(server, app), websocket_headers(name), "GET"))[0].status == 403


# ---------------------------------------------------------------------------------------------- what is no request


async def test_a_head_has_a_limit(server: InProcess, app: str) -> None:
    url = await exec_url(server, app)
    async with Raw.connected(url) as raw:
        raw.send(request(url, [*spdy_headers(V4), ("X-Long", "x" * 600_000)]))
        assert (await raw.answer()).status == 431
        await raw.rest()
    assert (await ask(url, spdy_headers(V4)))[0].status == 101


@pytest.mark.parametrize(
    "garbage",
    [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64), b"GET\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n",
     b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"\r\n" * 40_000],
    ids=["TLS", "one word", "no Host", "two Hosts", "empty lines"],
)  # fmt: skip
async def test_garbage_is_answered_and_the_connection_closed(server: InProcess, app: str, garbage: bytes) -> None:
    url = await exec_url(server, app)
    async with Raw.connected(url) as raw:
        raw.send(garbage)
        answer = await raw.answer()
        assert 400 <= answer.status < 500
        assert answer["Connection"] == "close"
        await raw.rest()


@pytest.mark.parametrize("headers", [[("Content-Length", "4")], [("Transfer-Encoding", "chunked")]])
async def test_a_body_is_refused(server: InProcess, app: str, headers: list[Header]) -> None:
    url = await exec_url(server, app)
    async with Raw.connected(url) as raw:
        body = b"body" if headers[0][0] == "Content-Length" else b"4\r\nbody\r\n0\r\n\r\n"
        raw.send(request(url, [*without(spdy_headers(V4), "Content-Length"), *headers]) + body)
        assert (await raw.answer()).status == 400
        await raw.rest()


@pytest.mark.parametrize("sent", [b"", b"POST /exec/", b"\x80\x03\x00\x01" * 16])
async def test_whoever_is_too_slow_is_cut(
    server: InProcess, app: str, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "HEAD_SECONDS", 0.05)
    empty = server.traces()
    async with Raw.connected(server.runtime.sessions.base_url) as raw:
        raw.send(sent)
        assert b" 101 " not in await raw.rest()
        await server.leaves(empty)


@pytest.mark.parametrize("sent", [b"", b"POST /exec/", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"])
async def test_whoever_hangs_up_early_leaves_nothing(server: InProcess, app: str, sent: bytes) -> None:
    empty = server.traces()
    async with Raw.connected(server.runtime.sessions.base_url) as raw:
        raw.send(sent)
        raw.writer.write_eof()
        await raw.rest()
    await server.leaves(empty)


async def test_a_refused_client_that_goes_on_talking_is_cut(
    server: InProcess, app: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "REFUSED_SECONDS", 0.05)
    empty = server.traces()
    async with Raw.connected(server.runtime.sessions.base_url) as raw:
        raw.send(request(server.runtime.sessions.base_url + "/no", []))
        assert (await raw.answer()).status == 404

        async def talk() -> None:
            while True:
                raw.send(b"more")
                await asyncio.sleep(0.005)

        talking = asyncio.ensure_future(talk())
        try:
            await until(lambda: not server.traces().differences(empty))
        finally:
            talking.cancel()
