"""As much of HTTP/2 as it takes to load a gRPC server without being the slower of the two.

gRPC's own Python client needs more CPU for a long list than the server that sends it, and would measure itself. This
one reads frame headers and little else: no Huffman code, no header table (it tells the server so), windows as wide as
the protocol allows. Sources: RFC 9113, RFC 7541, gRPC's PROTOCOL-HTTP2.md.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM = ACK = 1
END_HEADERS = 4
WIDEST = (1 << 31) - 1
FIRST_WINDOW = 65_535
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
STATUS_OK = b"grpc-status\x010"

Done = Callable[[bytes], None]


class CallError(Exception):
    """The server did not answer OK."""


@dataclass(slots=True)
class _Stream:
    method: str
    done: Done
    keep: bool
    each: Done | None
    body: bytearray = field(default_factory=bytearray)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def headers(path: str) -> bytes:
    """The header block of a gRPC request: literals and the static table only."""

    def text(value: str) -> bytes:
        return bytes((len(value),)) + value.encode()

    method_post, scheme_http, path_is, authority_is, content_type_is, other = (
        b"\x83",
        b"\x86",
        b"\4",
        b"\1",
        b"\x0f\x10",
        b"\0",
    )
    return b"".join(
        (
            method_post,
            scheme_http,
            path_is + text(path),
            authority_is + text("localhost"),
            content_type_is + text("application/grpc"),
            other + text("te") + text("trailers"),
        )
    )


class Connection:
    """Calls under way on one connection. Nothing happens but inside :meth:`pump`."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        no_table, widest_streams = struct.pack(">HI", 1, 0), struct.pack(">HI", 4, WIDEST)
        self._out = bytearray(PREFACE + frame(SETTINGS, 0, 0, no_table + widest_streams))
        self._credit = FIRST_WINDOW  # bytes that the server may still send
        self._room = FIRST_WINDOW  # bytes that we may still send
        self._waiting: deque[bytes] = deque()
        self._streams: dict[int, _Stream] = {}
        self._next = 1
        self._headers: dict[str, bytes] = {}
        self._buffer = bytearray(4 << 20)
        self._view = memoryview(self._buffer)
        self._filled = 0

    def close(self) -> None:
        """Hang up."""
        self._view.release()
        self._socket.close()

    @property
    def under_way(self) -> int:
        """Calls that are not finished."""
        return len(self._streams)

    def call(self, method: str, body: bytes, done: Done, *, keep: bool = True, each: Done | None = None) -> int:
        """Ask; `done` gets the answer, or nothing unless `keep`. A stream's messages go to `each` as they come."""
        block = self._headers.get(method)
        if block is None:
            block = self._headers[method] = headers(method)
        number = self._next
        self._next += 2
        self._streams[number] = _Stream(method, done, keep, each)
        self._out += frame(HEADERS, END_HEADERS, number, block)
        data = frame(DATA, END_STREAM, number, b"\0" + struct.pack(">I", len(body)) + body)
        if self._waiting or len(data) > self._room:
            self._waiting.append(data)
        else:
            self._send_data(data)
        return number

    def _send_data(self, data: bytes) -> None:
        self._room -= len(data) - 9
        self._out += data

    def cancel(self, number: int) -> None:
        """Have no more of a call."""
        if self._streams.pop(number, None) is not None:
            self._out += frame(RST_STREAM, 0, number, struct.pack(">I", 8))

    def pump(self, timeout: float | None = None) -> None:
        """Send what is to be sent, wait for something to come, and deal with it."""
        if self._credit < WIDEST // 2:
            self._out += frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", WIDEST - self._credit))
            self._credit = WIDEST
        if self._out:
            self._socket.sendall(self._out)
            self._out.clear()
        if timeout is not None:
            self._socket.settimeout(timeout)
        try:
            count = self._socket.recv_into(self._view[self._filled :])
        except TimeoutError:
            return
        finally:
            if timeout is not None:
                self._socket.settimeout(None)
        if not count:
            raise CallError("the server hung up")
        self._filled += count
        self._parse()

    def _parse(self) -> None:
        view, at, end = self._view, 0, self._filled
        while end - at >= 9:
            length = view[at] << 16 | view[at + 1] << 8 | view[at + 2]
            after = at + 9 + length
            if after > end:
                break
            kind, flags = view[at + 3], view[at + 4]
            number = int.from_bytes(view[at + 5 : at + 9], "big")
            payload = view[at + 9 : after]
            at = after
            if kind == DATA:
                self._credit -= length
                stream = self._streams.get(number)
                if stream is not None and (stream.keep or stream.each):
                    stream.body += payload
                    if stream.each:
                        self._deliver(stream)
            elif kind == HEADERS:
                if flags & END_STREAM:
                    self._ended(number, bytes(payload))
            elif kind == WINDOW_UPDATE:
                if number == 0:
                    self._widen(int.from_bytes(payload, "big"))
            elif kind in (SETTINGS, PING):
                if not flags & ACK:
                    self._out += frame(kind, ACK, 0, bytes(payload) if kind == PING else b"")
            elif kind == RST_STREAM:
                self._ended(number, b"reset")
            elif kind == GOAWAY:
                raise CallError(f"the server says goodbye: {bytes(payload[8:])!r}")
        self._buffer[: end - at] = view[at:end]
        self._filled = end - at

    def _widen(self, room: int) -> None:
        self._room += room
        while self._waiting and len(self._waiting[0]) <= self._room:
            self._send_data(self._waiting.popleft())

    def _deliver(self, stream: _Stream) -> None:
        body = stream.body
        while len(body) >= 5 and len(body) >= 5 + (length := int.from_bytes(body[1:5], "big")):
            assert stream.each is not None
            stream.each(bytes(body[5 : 5 + length]))
            del body[: 5 + length]

    def _ended(self, number: int, trailers: bytes) -> None:
        stream = self._streams.pop(number, None)
        if stream is None:
            return
        if STATUS_OK not in trailers:
            raise CallError(f"{stream.method} failed: {trailers!r}")
        stream.done(bytes(stream.body[5:]))
