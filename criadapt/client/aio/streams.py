"""Exec, attach and port-forward, from the RPC that prepares them to the objects that carry them."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Literal

from criadapt.client.aio.caller import words
from criadapt.client.aio.forward import AsyncForwardedStream, AsyncPortForward
from criadapt.client.aio.process import AsyncProcess
from criadapt.client.aio.rpc import AsyncCalls
from criadapt.client.completed import Completed
from criadapt.client.ports import PortSpec, parse_ports
from criadapt.errors import InvalidArgument
from criadapt.remote.aio.dialing import port_forward_session, remote_command_session
from criadapt.remote.mux import PORT, REQUEST_ID, STREAM_TYPE

Transport = Literal["spdy", "websocket"]


class AsyncStreams(AsyncCalls):
    """What needs a connection of its own beside the RPCs."""

    tls: ssl.SSLContext | None = None
    """How to judge a streaming server that is reached by https; None for what the system trusts."""

    @asynccontextmanager
    async def exec(
        self,
        container_id: str,
        cmd: Sequence[str],
        *,
        stdin: bool = False,
        tty: bool = False,
        stdout: bool = True,
        stderr: bool | None = None,
        transport: Transport = "spdy",
        timeout: float | None = None,
    ) -> AsyncIterator[AsyncProcess]:
        """A command that runs in a container for as long as the block does, or to its own end.

        `stderr` is by default what `tty` is not: a terminal has one output. `transport` ``"websocket"`` is what
        criadapt and few others speak, too. `timeout` is for the connection to be made, not for the command.
        Raises NotFound, FailedPrecondition when it does not run, Unsupported for the transport, Unavailable.
        """
        args = tuple(words(cmd))
        websocket = _is_websocket(transport)
        with_stderr = not tty if stderr is None else stderr
        flags = {"stdin": stdin, "stdout": stdout, "stderr": with_stderr}
        url = await self.prepare_exec(container_id, args, tty=tty, timeout=timeout, **flags)
        async with await self._process(url, args, flags, tty, websocket, timeout) as process:
            yield process

    @asynccontextmanager
    async def attach(
        self,
        container_id: str,
        *,
        stdin: bool = False,
        tty: bool = False,
        stdout: bool = True,
        stderr: bool | None = None,
        transport: Transport = "spdy",
        timeout: float | None = None,
    ) -> AsyncIterator[AsyncProcess]:
        """A container's own streams: its output from now on, and its stdin if asked for.

        `tty` must be what the container was created with. Ending stdin ends the container's only if it was created
        with `stdin_once`. Raises as :meth:`exec` does.
        """
        websocket = _is_websocket(transport)
        with_stderr = not tty if stderr is None else stderr
        flags = {"stdin": stdin, "stdout": stdout, "stderr": with_stderr}
        url = await self.prepare_attach(container_id, tty=tty, timeout=timeout, **flags)
        async with await self._process(url, (), flags, tty, websocket, timeout) as process:
            yield process

    async def run(
        self,
        container_id: str,
        cmd: Sequence[str],
        *,
        input: bytes | None = None,
        timeout: float | None = None,
        transport: Transport = "spdy",
    ) -> Completed:
        """Run a command to its end with `input` and return what it wrote; ``.check()`` raises unless it succeeded.

        After `timeout` seconds the connection is cut and DeadlineExceeded raised. Without input and where all output
        fits 16 MiB, :meth:`exec_sync` does with less.
        """
        async with self.exec(container_id, cmd, stdin=input is not None, transport=transport) as process:
            return await process.communicate(input or b"", timeout)

    @asynccontextmanager
    async def dial(
        self, pod_sandbox_id: str, port: int, *, transport: Transport = "spdy", timeout: float | None = None
    ) -> AsyncIterator[AsyncForwardedStream]:
        """A connection to a TCP port on the loopback address inside a pod.

        Raises NotFound, FailedPrecondition, Unavailable; that nobody listens there shows on reading.
        """
        stream = await self._dial(pod_sandbox_id, port, _is_websocket(transport), timeout)
        try:
            yield stream
        finally:
            await stream.aclose()

    @asynccontextmanager
    async def port_forward(
        self, pod_sandbox_id: str, *ports: PortSpec, address: str = "127.0.0.1", transport: Transport = "spdy"
    ) -> AsyncIterator[AsyncPortForward]:
        """Local listeners whose connections end up in a pod, each over a connection of its own to the runtime.

        `ports` are 80 for a free local port, or kubectl's ``"8080:80"`` and ``":80"``; ``.ports`` tells which local
        port leads to which. Raises NotFound, InvalidArgument, FailedPrecondition for a port that is taken.
        """
        wanted = parse_ports(ports)
        websocket = _is_websocket(transport)
        await self.pod_sandbox_status(pod_sandbox_id)  # else a mistake would only show at the first connection

        async def dial(port: int) -> AsyncForwardedStream:
            return await self._dial(pod_sandbox_id, port, websocket, None)

        async with AsyncPortForward(dial, wanted, address) as forward:
            yield forward

    async def _process(
        self,
        url: str,
        cmd: tuple[str, ...],
        flags: dict[str, bool],
        tty: bool,
        websocket: bool,
        timeout: float | None,
    ) -> AsyncProcess:
        wanted = [name for name in ("stdin", "stdout", "stderr") if flags[name]]
        types = ("error", *wanted, *(("resize",) if tty else ()))
        seconds = self.timeout if timeout is None else timeout
        session, version = await remote_command_session(url, types, websocket=websocket, tls=self.tls, timeout=seconds)
        if not version.resize:
            types = tuple(kind for kind in types if kind != "resize")
        try:
            # All at once, before anything is received, as a short command may be over by then; and data only once
            # all are accepted, since what is ahead of a stream's reply may be dropped.
            streams = {kind: await session.open({STREAM_TYPE: kind}) for kind in types}
            await session.start()
            for stream in streams.values():
                await stream.accepted(seconds)
        except BaseException:
            await session.cut()
            raise
        return AsyncProcess(session, version, streams, cmd)

    async def _dial(
        self, pod_sandbox_id: str, port: int, websocket: bool, timeout: float | None
    ) -> AsyncForwardedStream:
        if not 1 <= port <= 65535:
            raise InvalidArgument(f"port {port} is not within 1 and 65535")
        url = await self.prepare_port_forward(pod_sandbox_id, (port,), timeout=timeout)
        seconds = self.timeout if timeout is None else timeout
        session = await port_forward_session(url, websocket=websocket, tls=self.tls, timeout=seconds)
        try:
            await session.start()
            headers = {PORT: str(port), REQUEST_ID: "0"}
            error = await session.open({STREAM_TYPE: "error", **headers})
            data = await session.open({STREAM_TYPE: "data", **headers})
            await error.accepted(seconds)
            await data.accepted(seconds)
            await error.end()
        except BaseException:
            await session.cut()
            raise
        return AsyncForwardedStream(session, port, error, data)


def _is_websocket(transport: str) -> bool:
    if transport not in ("spdy", "websocket"):
        raise InvalidArgument(f"transport {transport!r} is neither 'spdy' nor 'websocket'")
    return transport == "websocket"
