"""The engine's socket: what comes over it, however it is cut, and what becomes of the connection."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from criadapt.backends.docker import wire
from criadapt.backends.docker.frames import LARGE, Chunked, Frames
from criadapt.errors import (
    AlreadyExists,
    CriadaptError,
    EngineError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unavailable,
)

from .conftest import Workshop, open_sockets

Conversation = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UPGRADED = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    """`data`, cut at these places."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:stop] for start, stop in pairwise(places)]


def chunked(chunks: list[bytes]) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


# ---------------------------------------------------------------------- HTTP's chunks


@given(st.lists(st.binary(min_size=1, max_size=50)), st.lists(st.integers(0, 10**6), max_size=30))
def test_chunks_come_whole_however_the_bytes_are_cut(chunks: list[bytes], cuts: list[int]) -> None:
    parser = Chunked()
    found = [chunk for piece in pieces_of(chunked(chunks), cuts) for chunk in parser.feed(piece)]
    assert found == chunks
    assert parser.ended


@given(st.lists(st.integers(0, 10**6), max_size=30))
def test_a_large_chunk_comes_in_pieces(cuts: list[int]) -> None:
    chunks = [b"a", b"b" * (LARGE + 1), b"c", b"d" * (3 * LARGE), b"e"]
    parser = Chunked()
    found = [chunk for piece in pieces_of(chunked(chunks), cuts) for chunk in parser.feed(piece)]
    assert b"".join(found) == b"".join(chunks)
    assert {b"a", b"c", b"e"} <= set(found)
    assert parser.ended


def test_a_large_chunk_is_not_waited_for() -> None:
    parser = Chunked()
    assert parser.feed(b"ffffffff\r\nxyz") == [b"xyz"]
    assert parser.feed(b"more") == [b"more"]


def test_extensions_and_trailers_are_passed_over() -> None:
    parser = Chunked()
    assert parser.feed(b"2;a=b\r\nhi\r\n0\r\nTrailer: x\r\n\r\n") == [b"hi"]
    assert parser.ended


@pytest.mark.parametrize("data", [b"zz\r\n", b"\r\n", b"1" * 5000])
def test_what_is_not_chunked_is_refused(data: bytes) -> None:
    with pytest.raises(EngineError, match="not chunked"):
        Chunked().feed(data)


# ---------------------------------------------------------------------- the engine's frames

FRAME = st.tuples(st.integers(0, 3), st.binary(max_size=40))


@given(st.lists(FRAME), st.lists(st.integers(0, 10**6), max_size=30))
def test_frames_come_as_they_were_sent_however_the_bytes_are_cut(
    sent: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    data = b"".join(bytes([kind, 0, 0, 0]) + len(text).to_bytes(4, "big") + text for kind, text in sent)
    parser = Frames()
    found = [each for piece in pieces_of(data, cuts) for each in parser.feed(piece)]
    assert b"".join(bytes([kind]) * len(text) for kind, text in found) == b"".join(
        bytes([kind]) * len(text) for kind, text in sent
    )
    assert b"".join(text for _, text in found) == b"".join(text for _, text in sent)


def test_a_frame_is_not_waited_for() -> None:
    parser = Frames()
    assert parser.feed(b"\1\0\0\0\xff\xff\xff\xffab") == [(1, b"ab")]
    assert parser.feed(b"cd") == [(1, b"cd")]


@pytest.mark.parametrize("header", [b"\4\0\0\0\0\0\0\1", b"HTTP/1.1"])
def test_what_is_no_frame_is_refused(header: bytes) -> None:
    with pytest.raises(EngineError, match="no frame"):
        Frames().feed(header)


# ---------------------------------------------------------------------- against a socket of ours


class Pretender:
    """Something on a unix socket that converses as it is told."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.converse: Conversation
        self.asked = b""
        self.left = asyncio.Event()
        """The client has gone."""

    async def open(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.path)

    def says(self, *pieces: bytes) -> None:
        async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()

        self.converse = converse

    def refuses(self, status: int, body: bytes) -> None:
        self.says(b"HTTP/1.1 %d No\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))

    async def close(self) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            self.asked = await reader.readuntil(b"\r\n\r\n")
            await self.converse(reader, writer)
        self.left.set()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


@pytest.fixture
async def pretender(tmp_path: Path) -> AsyncIterator[Pretender]:
    made = Pretender(tmp_path / "socket")
    await made.open()
    async with asyncio.timeout(20):
        yield made
        await made.close()
    assert [task for task in asyncio.all_tasks() if "wire" in repr(task.get_coro())] == []


async def until_gone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say the beginning of an endless answer, and wait for the client to go."""
    writer.write(CHUNKED + b"2\r\nhi\r\n")
    assert not await reader.read(1)


async def test_an_answer_is_json(pretender: Pretender) -> None:
    pretender.says(CHUNKED + b'5\r\n{"a":\r\n', b"3\r\n 1}\r\n0\r\n\r\n")
    assert await wire.request(pretender.path, "GET", "/v1.41/info") == {"a": 1}
    assert pretender.asked.startswith(b"GET /v1.41/info HTTP/1.1\r\nHost: docker\r\n")


async def test_an_answer_without_a_body_is_none(pretender: Pretender) -> None:
    pretender.says(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert await wire.request(pretender.path, "POST", "/v1.41/containers/a/start") is None


async def test_an_answer_that_is_not_json_is_an_error(pretender: Pretender) -> None:
    pretender.says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    with pytest.raises(EngineError, match="not JSON"):
        await wire.request(pretender.path, "GET", "/")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, InvalidArgument),
        (404, NotFound),
        (409, FailedPrecondition),
        (500, EngineError),
        (503, Unavailable),
    ],
)
async def test_a_refusal_is_an_error_of_its_kind(pretender: Pretender, status: int, error: type[CriadaptError]) -> None:
    pretender.refuses(status, b'{"message":"no such thing"}\n')
    with pytest.raises(error, match=r"^no such thing$") as caught:
        await wire.request(pretender.path, "GET", "/")
    assert type(caught.value) is error


async def test_a_name_that_is_taken_already_exists(pretender: Pretender) -> None:
    pretender.refuses(409, b'{"message":"Conflict. The container name \\"/a\\" is already in use by container b"}')
    with pytest.raises(AlreadyExists):
        await wire.request(pretender.path, "POST", "/")


async def test_a_refusal_in_text_is_understood(pretender: Pretender) -> None:
    pretender.says(b"HTTP/1.1 404 Not Found\r\nContent-Type: x\r\n\r\nNo such container: a\r\n")
    with pytest.raises(NotFound, match=r"^No such container: a$"):
        await wire.hijack(pretender.path, "/v1.41/containers/a/attach")


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 2", CHUNKED, CHUNKED + b"5\r\nhel"])
async def test_an_answer_that_breaks_off_is_unavailable(pretender: Pretender, said: bytes) -> None:
    pretender.says(said)
    with pytest.raises(Unavailable):
        await wire.request(pretender.path, "GET", "/")


async def test_what_is_not_http_is_an_error(pretender: Pretender) -> None:
    pretender.says(b"SSH-2.0-OpenSSH\r\n\r\n")
    with pytest.raises(EngineError, match="not HTTP"):
        await wire.request(pretender.path, "GET", "/")


async def test_an_answer_that_does_not_come_is_unavailable(pretender: Pretender) -> None:
    pretender.converse = until_gone
    with pytest.raises(Unavailable, match=r"within 0\.05 s"):
        await wire.request(pretender.path, "GET", "/", timeout=0.05)
    await pretender.left.wait()


async def test_without_a_socket_the_engine_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="No such file"):
        await wire.request(str(tmp_path / "none"), "GET", "/")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "deaf"))
        with pytest.raises(Unavailable, match="refused"):
            await wire.hijack(str(tmp_path / "deaf"), "/")


async def test_a_stream_gives_what_comes_when_it_comes(pretender: Pretender) -> None:
    pretender.converse = until_gone
    async with wire.stream(pretender.path, "GET", "/events") as answer:
        assert await anext(aiter(answer)) == b"hi"


async def test_a_stream_that_is_left_leaves_nothing(pretender: Pretender) -> None:
    pretender.converse = until_gone
    sockets = open_sockets()

    async def fail() -> None:
        async with wire.stream(pretender.path, "GET", "/events") as answer:
            async for _ in answer:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    await pretender.left.wait()
    await asyncio.sleep(0)
    assert open_sockets() <= sockets + 1  # the pretender's own end may still be closing


async def test_a_stream_that_is_cancelled_leaves_nothing(pretender: Pretender) -> None:
    pretender.converse = until_gone
    reached = asyncio.Event()

    async def listen() -> None:
        async with wire.stream(pretender.path, "GET", "/events") as answer:
            async for _ in answer:
                reached.set()

    task = asyncio.create_task(listen())
    await reached.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    await pretender.left.wait()


async def test_a_hijacked_connection_carries_bytes_and_a_half_close(pretender: Pretender) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(2)  # the request's body
        writer.write(UPGRADED + b"wel")
        writer.write(b"come")
        data = await reader.read()
        writer.write(data)

    pretender.converse = echo
    hijacked = await wire.hijack(pretender.path, "/exec/a/start", {})
    assert b"\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n" in pretender.asked
    await hijacked.write(b"bytes")
    hijacked.end()
    found = b""
    while data := await hijacked.read():
        found += data
    assert found == b"welcomebytes"
    assert hijacked.head.startswith(b"wel")
    assert hijacked.ended.done()
    await hijacked.close()
    await hijacked.close()
    with pytest.raises(Unavailable):
        await hijacked.write(b"late")


async def test_what_is_not_read_holds_the_engine_back_until_all_is_wanted(pretender: Pretender) -> None:
    sent, total, stuck = 0, 16 << 20, asyncio.Event()

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(UPGRADED)
        while sent < total:
            writer.write(bytes(65536))
            with suppress(TimeoutError):
                async with asyncio.timeout(0.3):
                    await writer.drain()
                    sent += 65536
                    continue
            stuck.set()
            await writer.drain()
            sent += 65536

    pretender.converse = pour
    hijacked = await wire.hijack(pretender.path, "/exec/a/start")
    await stuck.wait()
    assert sent < 4 << 20
    hijacked.take_all()
    await hijacked.ended
    assert sent == total
    await hijacked.close()


async def test_who_does_not_read_holds_the_writer_back(pretender: Pretender) -> None:
    async def ignore(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(UPGRADED)
        await written.wait()

    written = asyncio.Event()
    pretender.converse = ignore
    hijacked = await wire.hijack(pretender.path, "/exec/a/start")

    async def write() -> None:
        while True:
            await hijacked.write(bytes(65536))

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await write()
    written.set()
    with pytest.raises(Unavailable):  # the other side goes, and nobody waits for ever
        await write()
    await hijacked.close()


# ---------------------------------------------------------------------- against an engine


async def test_an_engine_answers(workshop: Workshop) -> None:
    assert (await workshop.call("GET", "/version"))["ApiVersion"]


async def test_an_engine_refuses_what_it_does_not_know(workshop: Workshop) -> None:
    with pytest.raises(NotFound, match=r"[Nn]o such container"):
        await workshop.call("GET", "/containers/unknown/json")
    with pytest.raises(NotFound, match=r"[Nn]o such container"):
        await wire.hijack(workshop.socket, f"/v{workshop.version}/containers/unknown/attach?stream=1")
    with pytest.raises(NotFound, match=r"[Nn]o such exec"):
        await wire.hijack(workshop.socket, f"/v{workshop.version}/exec/unknown/start", {"Detach": False})


async def test_each_entry_of_an_engine_s_log_is_one_chunk(workshop: Workshop) -> None:
    id = await workshop.run("echo a; echo bc; head -c 20000 /dev/zero | tr '\\0' d; echo; printf e", Tty=True)
    await workshop.ended(id)
    path = f"/v{workshop.version}/containers/{id}/logs?stdout=1"
    async with wire.stream(workshop.socket, "GET", path) as answer:
        lengths = [len(chunk) async for chunk in answer]
    assert lengths == [3, 4, 16384, 20002 - 16384, 1]
