"""Streams over one connection, whatever carries them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from criadapt.spdy import Event, GoAwayStatus, ResetStatus

Buffer = bytes | bytearray | memoryview

STREAM_TYPE = "streamtype"
"""Header that says what a stream is for."""

PORT = "port"
REQUEST_ID = "requestid"


class Mux(Protocol):
    """What :class:`criadapt.spdy.Connection` does; the other wire forms do the same, in the same events."""

    @property
    def closed(self) -> bool:
        """The peer has ended the connection, or broken it."""

    def receive_data(self, data: bytes) -> list[Event]:
        """What bytes of the peer mean. Raises :class:`criadapt.spdy.ProtocolError`."""

    def data_to_send(self) -> list[Buffer]:
        """What is to be sent."""

    def open_stream(self, headers: Mapping[str, str]) -> int:
        """Open a stream; StreamReplied says that it was accepted."""

    def reply(self, stream: int, headers: Mapping[str, str] | None = None) -> None:
        """Accept a stream."""

    def send_data(self, stream: int, data: Buffer, *, fin: bool = False) -> None:
        """Send bytes, and end our direction where the wire form can say so."""

    def reset_stream(self, stream: int, status: ResetStatus = ResetStatus.CANCEL) -> None:
        """Give a stream up."""

    def ping(self) -> int:
        """Ask for a sign of life."""

    def go_away(self, status: GoAwayStatus = GoAwayStatus.OK) -> None:
        """Say that this end is done."""
