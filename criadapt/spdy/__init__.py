"""SPDY/3.1 without I/O: bytes in, events out; calls in, bytes out.

Kubernetes carries exec, attach and port-forward in it, and for that purpose this is complete. It knows nothing of
them, however, and no other part of criadapt: take it for anything that speaks SPDY.

    connection = Connection(Role.SERVER)
    for event in connection.receive_data(socket.recv(65536)):
        match event:
            case StreamOpened(stream=stream, headers=headers):
                connection.reply(stream)
                connection.send_data(stream, b"hello", fin=True)
    for piece in connection.data_to_send():
        socket.sendall(piece)

One rule of SPDY/3.1 is left out, since the peers that are in use (Go's spdystream) do so as well: the flow-control
windows. WINDOW_UPDATE is neither sent nor waited for; whoever cannot take more data stops reading the socket.
"""

from criadapt.spdy.connection import Connection, ProtocolError, Role
from criadapt.spdy.events import (
    DataReceived,
    Event,
    GoneAway,
    PingAnswered,
    StreamEnded,
    StreamOpened,
    StreamReplied,
    StreamReset,
)
from criadapt.spdy.frames import GoAwayStatus, ResetStatus

__all__ = [
    "Connection",
    "DataReceived",
    "Event",
    "GoAwayStatus",
    "GoneAway",
    "PingAnswered",
    "ProtocolError",
    "ResetStatus",
    "Role",
    "StreamEnded",
    "StreamOpened",
    "StreamReplied",
    "StreamReset",
]
