"""The streaming server: one listener, one task per connection, for as long as the runtime is served."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

import h11

from criadapt.backends.base import ExecSpec
from criadapt.config import StreamingConfig
from criadapt.core.exec import Execs
from criadapt.core.sessions import AttachSession, ExecSession, PortForwardSession, Session, Sessions
from criadapt.errors import CriadaptError, InvalidArgument, NotFound, PermissionDenied
from criadapt.remote.aio.io import Socket
from criadapt.remote.aio.session import AsyncSession
from criadapt.remote.channels import Channels, remote_command
from criadapt.remote.mux import PORT, REQUEST_ID, STREAM_TYPE, Mux
from criadapt.remote.websocket import Tunnel
from criadapt.spdy import Connection, Role
from criadapt.streaming import portforward, remotecommand
from criadapt.streaming.upgrade import Agreed, Refused, agree, check_method, target

log = logging.getLogger(__name__)

HEAD_SECONDS = 10.0
"""For a client to send its request head."""

MAX_HEAD = 64 * 1024  # bytes, or a little more when it comes in one piece
REFUSED_SECONDS = 1.0
"""For a client that was refused to hang up."""

MAX_FORWARDS = 1000
"""Streams that one port-forward session may have open, two per connection."""

MAX_CHANNEL_PORTS = 100
"""Ports that one session of WebSocket channels may forward: a channel's number is one byte."""

KINDS: dict[type, str] = {ExecSession: "exec", AttachSession: "attach", PortForwardSession: "portforward"}


@asynccontextmanager
async def listening(sessions: Sessions, execs: Execs, config: StreamingConfig, drain: float) -> AsyncIterator[str]:
    """Listen, and tell `sessions` the address its URLs begin with; yields it too.

    `drain` limits how long the output of an ended process is read. Raises InvalidArgument for a certificate that
    cannot be used, PermissionDenied for an address that cannot be listened on.
    """
    tls = _tls(config)
    server = _Server(sessions, execs, config, drain)
    try:
        listener = await asyncio.get_running_loop().create_server(
            partial(Socket, server.connected), config.address, config.port, ssl=tls, backlog=512
        )
    except OSError as error:
        raise PermissionDenied(
            f"streaming.address {config.address}, port {config.port}: {error.strerror or error}"
        ) from error
    async with listener:
        host, port = listener.sockets[0].getsockname()[:2]
        sessions.base_url = f"{'https' if tls else 'http'}://{_reachable(host)}:{port}"
        if not ipaddress.ip_address(host).is_loopback:
            log.warning("streaming listens beyond loopback; whoever has a URL can use it", extra={"address": host})
        try:
            yield sessions.base_url
        finally:
            listener.close()
            await server.close()


def _tls(config: StreamingConfig) -> ssl.SSLContext | None:
    if not config.tls_cert_file and not config.tls_key_file:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])  # HTTP/2 has no upgrade
    try:
        context.load_cert_chain(config.tls_cert_file, config.tls_key_file or None)
    except (OSError, ssl.SSLError) as error:
        files = f"streaming.tls_cert_file {config.tls_cert_file!r}, tls_key_file {config.tls_key_file!r}"
        raise InvalidArgument(f"{files}: {error}") from error
    return context


def _reachable(host: str) -> str:
    """The host of a URL for an address that was bound; kubelet is on the same machine."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return f"[{host}]" if address.version == 6 else host


class _Server:
    """The connections there are."""

    def __init__(self, sessions: Sessions, execs: Execs, config: StreamingConfig, drain: float) -> None:
        self._sessions = sessions
        self._execs = execs
        self._config = config
        self._drain = drain
        self._tasks: set[asyncio.Task[None]] = set()

    def connected(self, socket: Socket) -> None:
        """A client has connected."""
        task = asyncio.get_running_loop().create_task(self._serve(socket))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Cut all connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, socket: Socket) -> None:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        try:
            try:
                await self._answer(http, socket)
            except Refused as refused:
                await _reply(http, socket, refused)
            except h11.RemoteProtocolError as error:
                await _reply(http, socket, Refused(error.error_status_hint, f"{error}\n"))
        except (CriadaptError, TimeoutError, remotecommand.ConnectionGone) as error:
            log.debug("streaming connection ended", extra={"reason": str(error) or type(error).__name__})
        except Exception:
            log.exception("bug in a streaming connection")
        finally:
            socket.kill()
            await socket.close()

    async def _answer(self, http: h11.Connection, socket: Socket) -> None:
        async with asyncio.timeout(HEAD_SECONDS):
            request = await _head(http, socket)
        if request is None:
            return
        if len(self._tasks) > self._config.max_sessions:
            raise Refused(503, f"{self._config.max_sessions} streaming sessions are open; try again later\n")
        kind, token = target(request)
        try:
            wanted = self._sessions.redeem(token)
        except NotFound:
            wanted = None
        if wanted is None or KINDS[type(wanted)] != kind:
            log.info("unknown streaming address asked for")  # somebody guesses, or comes too late
            raise Refused(404, "404 page not found\n")
        agreed = agree(request, ports=isinstance(wanted, PortForwardSession))
        mux = _mux(agreed, wanted)
        switch = http.send(h11.InformationalResponse(status_code=101, headers=agreed.headers, reason=_SWITCH))
        socket.put([switch or b""])
        async with AsyncSession(socket, mux, http.trailing_data[0]) as session:
            watch = asyncio.get_running_loop().create_task(self._watch(socket, session))
            try:
                await self._carry(session, agreed, wanted)
            finally:
                watch.cancel()
                await asyncio.wait([watch])

    async def _carry(self, session: AsyncSession, agreed: Agreed, wanted: Session) -> None:
        if isinstance(wanted, PortForwardSession):
            dial = partial(self._execs.dial, wanted.sandbox_id)
            ports = len(wanted.ports) if agreed.version is not None else None
            await portforward.serve(session, dial, connections=ports)
            return
        assert agreed.version is not None, "remote commands have versions"
        await remotecommand.serve(session, agreed.version, self._command(wanted), self._drain)

    def _command(self, wanted: ExecSession | AttachSession) -> remotecommand.Command:
        if isinstance(wanted, ExecSession):
            exec_spec = ExecSpec(args=wanted.args, tty=wanted.tty, stdin=wanted.stdin)
            return remotecommand.Command(wanted, partial(self._execs.start, wanted.container_id, exec_spec))

        def stdin_ends_it() -> bool:
            # With stdin for one session only, the container reads the end of its input and goes on to its own end.
            config = self._execs.running(wanted.container_id).config
            return config.tty or not config.stdin_once

        attach = partial(self._execs.attach, wanted.container_id, stdin=wanted.stdin)
        return remotecommand.Command(wanted, attach, stdin_ends_it)

    async def _watch(self, socket: Socket, session: AsyncSession) -> None:
        """Cut the connection when nothing has moved for too long."""
        limit = self._config.idle_timeout
        while limit:
            left = socket.active + limit - time.monotonic()
            if left <= 0:
                log.info("streaming connection cut: idle", extra={"seconds": limit})
                await session.cut()
                return
            await asyncio.sleep(left)


_SWITCH = b"Switching Protocols"


def _mux(agreed: Agreed, wanted: Session) -> Mux:
    """What carries the streams."""
    version = agreed.version
    if version is None:
        return Tunnel(Role.SERVER, max_streams=MAX_FORWARDS) if agreed.websocket else _forward_spdy()
    if not agreed.websocket:
        return Connection(Role.SERVER)
    if isinstance(wanted, PortForwardSession):
        return _port_channels(wanted.ports, base64=version.base64)
    types = remotecommand.stream_types(wanted, version)
    channels = remote_command(Role.SERVER, types, base64=version.base64, half_close=version.stdin_ends)
    channels.greet(next(number for number, kind in ((1, "stdout"), (2, "stderr"), (3, "error")) if kind in types))
    return channels


def _forward_spdy() -> Connection:
    return Connection(Role.SERVER, max_streams=MAX_FORWARDS)


def _port_channels(ports: Sequence[int], *, base64: bool) -> Channels:
    """Two channels per port; the server begins each with the port, 16 bits, lowest byte first. Raises Refused."""
    if not 1 <= len(ports) <= MAX_CHANNEL_PORTS:
        raise Refused(400, f"{len(ports)} ports were asked for; 1 to {MAX_CHANNEL_PORTS} fit into channels\n")
    streams = {}
    for index, port in enumerate(ports):
        for number, kind in ((2 * index, "data"), (2 * index + 1, "error")):
            streams[number] = {STREAM_TYPE: kind, PORT: str(port), REQUEST_ID: str(index)}
    channels = Channels(Role.SERVER, streams, base64=base64)
    for number, headers in streams.items():
        channels.send_data(number, int(headers[PORT]).to_bytes(2, "little"))
    return channels


async def _head(http: h11.Connection, socket: Socket) -> h11.Request | None:
    """The request, read to its end; None when the client leaves before."""
    request = None
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await socket.read())
        elif isinstance(event, h11.Request):
            request = event
            check_method(request)
        elif isinstance(event, h11.Data):
            raise Refused(400, "a body is of no use here\n")
        elif isinstance(event, h11.EndOfMessage) or event is h11.PAUSED:
            return request
        else:
            return None


async def _reply(http: h11.Connection, socket: Socket, refused: Refused) -> None:
    body = refused.text.encode()
    headers = [
        *refused.headers,
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
    ]
    if http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
        return
    events = (h11.Response(status_code=refused.status, headers=headers), h11.Data(data=body), h11.EndOfMessage())
    socket.put([http.send(event) or b"" for event in events])
    socket.write_eof()
    with suppress(TimeoutError):
        async with asyncio.timeout(REFUSED_SECONDS):
            while await socket.read():  # what is unread when we close would take the answer with it
                pass
