"""From a runtime's URL to a session."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from typing import TypeVar

from criadapt.errors import DeadlineExceeded, Unavailable
from criadapt.remote import protocols
from criadapt.remote.aio.io import Socket, connect
from criadapt.remote.aio.session import AsyncSession
from criadapt.remote.channels import remote_command
from criadapt.remote.mux import Mux
from criadapt.remote.protocols import Version
from criadapt.remote.request import Upgrade, address_of
from criadapt.remote.websocket import Tunnel
from criadapt.spdy import Connection, Role

T = TypeVar("T")

PORT_STREAMS = 64
"""Streams that a server may open on a connection that forwards ports: none, in practice."""


async def remote_command_session(
    url: str, types: tuple[str, ...], *, websocket: bool, tls: ssl.SSLContext | None, timeout: float
) -> tuple[AsyncSession, Version]:
    """A session for exec or attach with the streams named in `types`; to be entered by the caller.

    Raises what :meth:`criadapt.remote.request.Upgrade.receive` does, Unavailable, DeadlineExceeded.
    """
    if websocket:
        offered = {version.name: version for version in (protocols.WS_V5, protocols.WS_V4)}
    else:
        offered = protocols.OVER_SPDY

    def mux(name: str) -> Mux:
        if not websocket:
            return Connection(Role.CLIENT)
        version = offered[name]
        return remote_command(Role.CLIENT, types, base64=version.base64, half_close=version.stdin_ends)

    session, chosen = await _session(url, tuple(offered), mux, websocket=websocket, tls=tls, timeout=timeout)
    return session, offered[chosen]


async def port_forward_session(
    url: str, *, websocket: bool, tls: ssl.SSLContext | None, timeout: float
) -> AsyncSession:
    """A session for port-forward; to be entered by the caller. Raises as :func:`remote_command_session` does."""
    offered = (protocols.TUNNEL,) if websocket else (protocols.PORT_FORWARD,)

    def mux(name: str) -> Mux:
        return Tunnel(Role.CLIENT, max_streams=PORT_STREAMS) if websocket else Connection(Role.CLIENT)

    session, _ = await _session(url, offered, mux, websocket=websocket, tls=tls, timeout=timeout)
    return session


async def _session(
    url: str,
    offered: Sequence[str],
    mux: Callable[[str], Mux],
    *,
    websocket: bool,
    tls: ssl.SSLContext | None,
    timeout: float,
) -> tuple[AsyncSession, str]:
    address = address_of(url)
    context = (tls or ssl.create_default_context()) if address.tls else None
    socket = await connect(address.host, address.port, context, timeout)
    try:
        chosen, rest = await _upgraded(socket, Upgrade(address, offered, websocket=websocket), timeout)
    except BaseException:
        socket.kill()
        await socket.close()
        raise
    return AsyncSession(socket, mux(chosen), rest, pings=True), chosen


async def _upgraded(socket: Socket, upgrade: Upgrade, timeout: float) -> tuple[str, bytes]:
    socket.put([upgrade.request()])
    while True:
        try:
            answer = upgrade.receive(await socket.read(timeout))
        except TimeoutError:
            raise DeadlineExceeded(f"the streaming server did not answer within {timeout:g} s") from None
        except OSError as error:
            raise Unavailable(f"the connection to the streaming server was lost: {error}") from error
        if answer is not None:
            return answer
