"""WebSocket messages, and SPDY inside them."""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Iterator, Mapping

from websockets.frames import Close, CloseCode, Opcode
from websockets.protocol import CLIENT, SERVER, State
from websockets.protocol import Protocol as Frames

from criadapt.remote.mux import Buffer
from criadapt.spdy import Connection, Event, GoAwayStatus, ProtocolError, ResetStatus, Role

MAX_MESSAGE = 16 * 1024 * 1024
"""Bytes of one message; the reference takes 32 MiB, its clients send 32 KiB at a time."""

_MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CODES = {
    GoAwayStatus.OK: CloseCode.NORMAL_CLOSURE,
    GoAwayStatus.PROTOCOL_ERROR: CloseCode.PROTOCOL_ERROR,
    GoAwayStatus.INTERNAL_ERROR: CloseCode.INTERNAL_ERROR,
}
# Whether frames are logged is settled here: their payload is what users type, so nobody may turn it on from outside.
_silent = logging.Logger("criadapt.remote.websocket.frames", logging.CRITICAL)


def accept_key(key: str) -> str:
    """The server's answer to a client's Sec-WebSocket-Key (RFC 6455, section 4.2.2)."""
    return base64.b64encode(hashlib.sha1((key + _MAGIC).encode()).digest()).decode()


class Messages:
    """One end of a WebSocket connection after the handshake. Pings are answered, a close is answered."""

    def __init__(self, role: Role) -> None:
        side = SERVER if role is Role.SERVER else CLIENT
        self._frames = Frames(side, max_size=MAX_MESSAGE, logger=_silent)
        self._broken: str | None = None

    @property
    def close(self) -> Close | None:
        """What the peer closed with, once it has."""
        return self._frames.close_rcvd

    @property
    def closed(self) -> bool:
        """The peer has closed, or broken the protocol."""
        return self.close is not None or self._broken is not None

    def receive(self, data: bytes) -> Iterator[tuple[Opcode, bytes, bool]]:
        """Kind, payload and end mark of each piece of a message, a continuation included. Raises ProtocolError."""
        if self._broken is not None:
            raise ProtocolError(self._broken)
        if data:
            self._frames.receive_data(data)
        for event in self._frames.events_received():
            opcode = event.opcode  # type: ignore[union-attr]
            if opcode in (Opcode.BINARY, Opcode.TEXT, Opcode.CONT):
                yield opcode, bytes(event.data), event.fin  # type: ignore[union-attr]
        if self._frames.parser_exc is not None:
            raise self.fail(str(self._frames.parser_exc)) from self._frames.parser_exc

    def fail(self, why: str) -> ProtocolError:
        """The peer broke a rule: queue the close frame, refuse all that follows. Returns what to raise."""
        self.go_away(GoAwayStatus.PROTOCOL_ERROR)
        self._broken = why
        return ProtocolError(why)

    def send(self, payload: bytes, *, text: bool = False) -> None:
        """Queue a message; after a close, nothing."""
        if self._frames.state is not State.OPEN:
            return
        if text:
            self._frames.send_text(payload)
        else:
            self._frames.send_binary(payload)

    def ping(self) -> None:
        """Ask for a sign of life."""
        if self._frames.state is State.OPEN:
            self._frames.send_ping(b"criadapt")

    def go_away(self, status: GoAwayStatus) -> None:
        """Queue the close frame."""
        if self._frames.state is State.OPEN:
            self._frames.send_close(_CODES[status])

    def data_to_send(self) -> list[Buffer]:
        """What is queued. When to shut the socket down is not decided here."""
        return [piece for piece in self._frames.data_to_send() if piece]


class Tunnel:
    """SPDY whose bytes travel in binary messages; where a message begins has no meaning."""

    def __init__(self, role: Role, *, max_streams: int) -> None:
        self._messages = Messages(role)
        self._spdy = Connection(role, max_streams=max_streams)

    @property
    def closed(self) -> bool:
        """The peer has closed, or broken the protocol."""
        return self._messages.closed or self._spdy.closed

    def receive_data(self, data: bytes) -> list[Event]:
        """See :class:`criadapt.remote.mux.Mux`, here and below."""
        events: list[Event] = []
        try:
            for opcode, payload, _ in self._messages.receive(data):
                if opcode is Opcode.TEXT:
                    raise self._messages.fail("a text message; SPDY travels in binary ones")
                events += self._spdy.receive_data(payload)
        except ProtocolError as error:
            self._wrap()
            self._messages.fail(str(error))
            error.events = events + error.events
            raise
        return events

    def data_to_send(self) -> list[Buffer]:
        self._wrap()
        return self._messages.data_to_send()

    def open_stream(self, headers: Mapping[str, str]) -> int:
        return self._spdy.open_stream(headers)

    def reply(self, stream: int, headers: Mapping[str, str] | None = None) -> None:
        self._spdy.reply(stream, headers)

    def send_data(self, stream: int, data: Buffer, *, fin: bool = False) -> None:
        self._spdy.send_data(stream, data, fin=fin)

    def reset_stream(self, stream: int, status: ResetStatus = ResetStatus.CANCEL) -> None:
        self._spdy.reset_stream(stream, status)

    def ping(self) -> int:
        return self._spdy.ping()

    def go_away(self, status: GoAwayStatus = GoAwayStatus.OK) -> None:
        self._spdy.go_away(status)
        self._wrap()
        self._messages.go_away(status)

    def _wrap(self) -> None:
        pieces = self._spdy.data_to_send()
        if pieces:
            self._messages.send(b"".join(pieces))
