"""Raw clients of a streaming server, for tests of what is on the wire.

    async with Spdy.connected(url, "v4.channel.k8s.io") as client:
        error = client.open("error")
        await client.until(lambda: client.streams[error].replied)

They send what they are told to, sense or nonsense, and keep all that comes. Every wait has a bound.
"""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

from websockets.frames import Close, Opcode
from websockets.protocol import CLIENT, Protocol

from criadapt.spdy import (
    Connection,
    DataReceived,
    Event,
    GoneAway,
    PingAnswered,
    Role,
    StreamEnded,
    StreamReplied,
    StreamReset,
)

SECONDS = 10.0  # that anything may take
KEY = base64.b64encode(b"sixteen bytes ..").decode()

Header = tuple[str, str]


@dataclass(frozen=True)
class Answer:
    """What a server says before anything else."""

    status: int
    headers: tuple[Header, ...]
    """Names in lower case."""

    def all(self, name: str) -> list[str]:
        """All values of a header, line by line."""
        return [value for key, value in self.headers if key == name.lower()]

    def __getitem__(self, name: str) -> str:
        (value,) = self.all(name)
        return value


class Raw:
    """A TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    @asynccontextmanager
    async def connected(cls, url: str) -> AsyncIterator[Self]:
        """To the host of a URL; cut at the end of the block. Little is received that was not asked for."""
        parts = urlsplit(url)
        assert parts.hostname is not None
        connection = socket.socket(socket.AF_INET6 if ":" in parts.hostname else socket.AF_INET)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        connection.setblocking(False)
        async with asyncio.timeout(SECONDS):
            await asyncio.get_running_loop().sock_connect(connection, (parts.hostname, parts.port))
            raw = cls(*await asyncio.open_connection(sock=connection))
        try:
            yield raw
        finally:
            raw.abort()
            with suppress(OSError):
                await raw.writer.wait_closed()

    def send(self, data: bytes) -> None:
        """Queue bytes."""
        self.writer.write(data)

    async def read(self, size: int = 1 << 16) -> bytes:
        """What comes next, nothing at the end."""
        async with asyncio.timeout(SECONDS):
            try:
                return await self.reader.read(size)
            except ConnectionError:
                return b""

    async def rest(self) -> bytes:
        """All up to the end of the connection, which must come."""
        parts = []
        while data := await self.read():
            parts.append(data)
        return b"".join(parts)

    async def answer(self) -> Answer:
        """The head of an answer, and nothing behind it."""
        async with asyncio.timeout(SECONDS):
            head = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        return Answer(int(first.split(" ")[1]), tuple((name.lower(), value.strip()) for name, _, value in pairs))

    def abort(self) -> None:
        """Cut it as a crash would."""
        self.writer.transport.abort()


def request(url: str, headers: Sequence[Header], method: str = "POST") -> bytes:
    """A request head."""
    parts = urlsplit(url)
    lines = [
        f"{method} {parts.path} HTTP/1.1",
        f"Host: {parts.netloc}",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


def spdy_headers(*versions: str) -> list[Header]:
    """What asks for SPDY."""
    offered = [("X-Stream-Protocol-Version", version) for version in versions]
    return [("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1"), ("Content-Length", "0"), *offered]


def websocket_headers(*subprotocols: str) -> list[Header]:
    """What asks for WebSocket."""
    basic = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
    offered = [("Sec-WebSocket-Protocol", ", ".join(subprotocols))] if subprotocols else []
    return [*basic, ("Sec-WebSocket-Key", KEY), *offered]


@dataclass
class Seen:
    """What has come of one stream."""

    data: bytearray = field(default_factory=bytearray)
    replied: bool = False
    ended: bool = False
    reset: int = 0
    events: list[str] = field(default_factory=list)
    """In order: replied, data, ended, reset."""

    @property
    def over(self) -> bool:
        """Nothing more comes."""
        return self.ended or bool(self.reset)

    def note(self, event: Event) -> None:
        """Something has come."""
        match event:
            case StreamReplied():
                self.replied = True
                self.events.append("replied")
            case DataReceived(data=data):
                self.data += data
                if self.events[-1:] != ["data"]:
                    self.events.append("data")
            case StreamReset(status=status):
                self.reset = int(status)
                self.events.append("reset")
            case StreamEnded():
                self.ended = True
                self.events.append("ended")


class Spdy:
    """A SPDY client, over a socket or inside WebSocket messages."""

    def __init__(self, raw: Raw, answer: Answer, tunnel: WebSocket | None = None) -> None:
        self.raw = raw
        self.answer = answer
        self.tunnel = tunnel
        self.mux = Connection(Role.CLIENT)
        self.streams: dict[int, Seen] = {}
        self.pongs: list[int] = []
        self.gone: GoneAway | None = None
        self.eof = False

    @classmethod
    @asynccontextmanager
    async def connected(cls, url: str, *versions: str) -> AsyncIterator[Self]:
        """Upgraded by a URL."""
        async with Raw.connected(url) as raw:
            raw.send(request(url, spdy_headers(*versions)))
            answer = await raw.answer()
            assert answer.status == 101, await raw.rest()
            yield cls(raw, answer)

    @classmethod
    @asynccontextmanager
    async def tunnelled(cls, url: str) -> AsyncIterator[Self]:
        """Upgraded by a URL to SPDY inside WebSocket."""
        async with WebSocket.connected(url, "SPDY/3.1+portforward.k8s.io") as outer:
            yield cls(outer.raw, outer.answer, outer)

    def open(self, kind: str, **headers: str) -> int:
        """Open a stream; nothing is sent yet."""
        number = self.mux.open_stream({"streamtype": kind, **headers})
        self.streams[number] = Seen()
        return number

    def pair(self, port: int | str, request: str | None = None) -> tuple[int, int]:
        """Open the error and the data stream of a forwarded connection; the former is ended at once."""
        headers = {"port": str(port), **({} if request is None else {"requestid": request})}
        error, data = self.open("error", **headers), self.open("data", **headers)
        self.mux.end_stream(error)
        return error, data

    def flush(self) -> None:
        """Send what is queued, in one write."""
        data = b"".join(self.mux.data_to_send())
        if self.tunnel is not None:
            self.tunnel.binary(data)
        else:
            self.raw.send(data)

    def send(self, stream: int, data: bytes, *, fin: bool = False) -> None:
        """Send on a stream, with all that was queued before."""
        self.mux.send_data(stream, data, fin=fin)
        self.flush()

    async def receive(self) -> None:
        """Wait for something to come."""
        if self.tunnel is not None:
            await self.tunnel.receive()
            data = b"".join(message for message in self.tunnel.messages if isinstance(message, bytes))
            self.tunnel.messages.clear()
            self.eof = self.tunnel.eof
        else:
            data = await self.raw.read()
            self.eof = not data
        for event in self.mux.receive_data(data):
            if isinstance(event, PingAnswered):
                self.pongs.append(event.number)
            elif isinstance(event, GoneAway):
                self.gone = event
            else:
                self.streams[event.stream].note(event)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Send what is queued, and receive until something is true."""
        self.flush()
        async with asyncio.timeout(SECONDS):
            while not condition():
                assert not self.eof, f"the server hung up before: {self.streams}"
                await self.receive()

    async def until_replied(self) -> None:
        """Until all streams that were opened have been accepted."""
        await self.until(lambda: all(seen.replied for seen in self.streams.values()))

    async def until_eof(self) -> None:
        """Until the server has closed the connection."""
        await self.until(lambda: self.eof)


class WebSocket:
    """A WebSocket client that looks at messages."""

    def __init__(self, raw: Raw, answer: Answer) -> None:
        self.raw = raw
        self.answer = answer
        self.frames = Protocol(CLIENT, max_size=None)
        self.messages: list[bytes | str] = []
        self.pongs: list[bytes] = []
        self.eof = False

    @classmethod
    @asynccontextmanager
    async def connected(cls, url: str, *subprotocols: str) -> AsyncIterator[Self]:
        """Upgraded by a URL."""
        async with Raw.connected(url) as raw:
            raw.send(request(url, websocket_headers(*subprotocols), "GET"))
            answer = await raw.answer()
            assert answer.status == 101, await raw.rest()
            yield cls(raw, answer)

    @property
    def close(self) -> Close | None:
        """What the server closed with."""
        return self.frames.close_rcvd

    def flush(self) -> None:
        """Send what is queued."""
        for piece in self.frames.data_to_send():
            if piece:
                self.raw.send(piece)

    def binary(self, data: bytes, *, fin: bool = True) -> None:
        """Send a message, or its beginning."""
        self.frames.send_binary(data, fin)
        self.flush()

    def continued(self, data: bytes, *, fin: bool) -> None:
        """Send more of a message."""
        self.frames.send_continuation(data, fin)
        self.flush()

    def text(self, data: str) -> None:
        """Send a text message."""
        self.frames.send_text(data.encode())
        self.flush()

    def ping(self, data: bytes) -> None:
        """Ask for an echo."""
        self.frames.send_ping(data)
        self.flush()

    def of(self, channel: int) -> bytes:
        """What has come on a channel of the binary form."""
        return b"".join(m[1:] for m in self.messages if isinstance(m, bytes) and m[0] == channel)

    async def receive(self) -> None:
        """Wait for something to come."""
        data = await self.raw.read()
        if data:
            self.frames.receive_data(data)
        else:
            self.eof = True
            self.frames.receive_eof()
        for frame in self.frames.events_received():
            if frame.opcode is Opcode.BINARY:  # type: ignore[union-attr]
                self.messages.append(bytes(frame.data))  # type: ignore[union-attr]
            elif frame.opcode is Opcode.TEXT:  # type: ignore[union-attr]
                self.messages.append(bytes(frame.data).decode())  # type: ignore[union-attr]
            elif frame.opcode is Opcode.PONG:  # type: ignore[union-attr]
                self.pongs.append(bytes(frame.data))  # type: ignore[union-attr]
        self.flush()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Receive until something is true."""
        async with asyncio.timeout(SECONDS):
            while not condition():
                assert not self.eof, f"the server hung up before: {self.messages}"
                await self.receive()

    async def until_eof(self) -> None:
        """Until the server has closed the connection."""
        await self.until(lambda: self.eof)
