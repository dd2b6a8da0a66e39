"""The ``channel.k8s.io`` family: every WebSocket message begins with the number of the stream it belongs to.

    binary form:  byte of the number, then data
    base64 form:  digit of the number, then base64 of data, as a text message
    version 5:    the two bytes 255, number end that stream, from client to server

All streams exist from the beginning. A server ends them all by closing the connection with code 1000.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Mapping

from websockets.frames import CloseCode, Opcode

from criadapt.remote.mux import STREAM_TYPE, Buffer
from criadapt.remote.websocket import Messages
from criadapt.spdy import (
    DataReceived,
    Event,
    GoAwayStatus,
    GoneAway,
    ProtocolError,
    ResetStatus,
    Role,
    StreamEnded,
    StreamOpened,
    StreamReplied,
)

CLOSE = 255  # in place of a stream number
MAX_PAYLOAD = 32 * 1024
"""Data bytes of one message of ours. Go's server takes every frame as a message, in buffers of this size."""

REMOTE_COMMAND = ("stdin", "stdout", "stderr", "error", "resize")
"""Stream types by number."""


class Channels:
    """One end of such a connection; implements :class:`criadapt.remote.mux.Mux`.

    `streams` gives the headers of each stream by its number, as SPDY would have sent them. A server tells of them
    by StreamOpened events in the first answer of :meth:`receive_data`.
    """

    def __init__(
        self, role: Role, streams: Mapping[int, Mapping[str, str]], *, base64: bool = False, half_close: bool = False
    ) -> None:
        self._role = role
        self._headers = streams
        self._messages = Messages(role)
        self._base64 = base64
        self._half_close = half_close
        self._receiving = set(streams)
        self._sending = set(streams)
        self._current: int | None = None  # whose message goes on in the next frame
        self._text = bytearray()  # of a base64 message in pieces
        self._told = False  # of the close
        self._events: list[Event] = []
        if role is Role.SERVER:
            self._events += [StreamOpened(number, headers) for number, headers in streams.items()]

    @property
    def closed(self) -> bool:
        """The peer has closed, or broken the protocol."""
        return self._messages.closed

    def receive_data(self, data: bytes) -> list[Event]:
        """See :class:`criadapt.remote.mux.Mux`, here and below."""
        try:
            self._receive(data)
        except ProtocolError as error:
            error.events, self._events = self._events, []
            raise
        events, self._events = self._events, []
        return events

    def data_to_send(self) -> list[Buffer]:
        return self._messages.data_to_send()

    def open_stream(self, headers: Mapping[str, str]) -> int:
        wanted = headers[STREAM_TYPE]
        for number, known in self._headers.items():
            if known[STREAM_TYPE] == wanted:
                self._events.append(StreamReplied(number, {}))
                return number
        raise ValueError(f"this connection has no {wanted!r} stream")

    def reply(self, stream: int, headers: Mapping[str, str] | None = None) -> None:
        """Nothing: all streams are there from the beginning."""

    def send_data(self, stream: int, data: Buffer, *, fin: bool = False) -> None:
        if stream not in self._sending:
            return
        view = memoryview(data)
        for at in range(0, len(view), MAX_PAYLOAD):
            self._send(stream, view[at : at + MAX_PAYLOAD])
        if fin:
            self._sending.discard(stream)
            if self._half_close and self._role is Role.CLIENT:
                self._messages.send(bytes((CLOSE, stream)))

    def greet(self, stream: int) -> None:
        """Send an empty message: by it, clients know that they are connected."""
        self._send(stream, b"")

    def reset_stream(self, stream: int, status: ResetStatus = ResetStatus.CANCEL) -> None:
        """There is no message for it: what still comes is dropped."""
        self._receiving.discard(stream)
        self._sending.discard(stream)

    def ping(self) -> int:
        self._messages.ping()
        return 0

    def go_away(self, status: GoAwayStatus = GoAwayStatus.OK) -> None:
        self._messages.go_away(status)

    def _receive(self, data: bytes) -> None:
        for opcode, payload, last in self._messages.receive(data):
            if opcode is not Opcode.CONT and (opcode is Opcode.TEXT) != self._base64:
                wanted, other = ("text", "binary") if self._base64 else ("binary", "text")
                raise self._messages.fail(f"a {other} message; this subprotocol has {wanted} ones")
            if self._base64:
                self._text += payload
                if last:
                    whole, self._text = bytes(self._text), bytearray()
                    self._message(*self._decoded(whole))
                continue
            if opcode is Opcode.BINARY:
                self._current = None
            if self._current is None and payload:
                self._current, payload = payload[0], payload[1:]
            if self._current is not None:
                self._message(self._current, payload)
        if self._messages.close is not None and not self._told:
            self._told = True
            self._closed(self._messages.close.code, self._messages.close.reason)

    def _send(self, stream: int, data: Buffer) -> None:
        if self._base64:
            self._messages.send(chr(ord("0") + stream).encode() + b64encode(data), text=True)  # ":" follows "9"
        else:
            self._messages.send(b"".join((bytes((stream,)), data)))

    def _message(self, number: int, data: bytes) -> None:
        if number == CLOSE and self._half_close:
            if len(data) == 1 and data[0] in self._receiving:
                self._receiving.discard(data[0])
                self._events.append(StreamEnded(data[0]))
        elif number in self._receiving and data:  # others are ignored, as the reference does
            self._events.append(DataReceived(number, data))

    def _closed(self, code: int, reason: str) -> None:
        if self._role is Role.CLIENT and code != CloseCode.NORMAL_CLOSURE:
            raise self._messages.fail(f"the server closed the connection with {code} {reason}".rstrip())
        self._events += [StreamEnded(number) for number in sorted(self._receiving)]
        self._receiving.clear()
        self._events.append(GoneAway(0, GoAwayStatus.OK))

    def _decoded(self, text: bytes) -> tuple[int, bytes]:
        """Number and data of a base64 message; an empty one belongs to nobody."""
        if not text:
            return CLOSE, b""
        try:
            return text[0] - ord("0"), b64decode(text[1:], validate=True)
        except binascii.Error as error:
            raise self._messages.fail(f"a message is not base64: {error}") from error


def remote_command(role: Role, types: tuple[str, ...], *, base64: bool, half_close: bool) -> Channels:
    """The streams of exec and attach, those named in `types`."""
    streams = {number: {STREAM_TYPE: kind} for number, kind in enumerate(REMOTE_COMMAND) if kind in types}
    return Channels(role, streams, base64=base64, half_close=half_close)
