"""Connecting to a port inside a pod, for every engine whose pods are network namespaces of this machine."""

from __future__ import annotations

import asyncio
import errno
import socket

from criadapt.backends.base import Connection
from criadapt.errors import PermissionDenied, Unavailable
from criadapt.host import netns
from criadapt.remote.aio.io import Socket

CONNECT_SECONDS = 10.0
"""For a connection to be accepted; what listens on loopback accepts at once, or its queue is full."""

_ADDRESSES = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
_NOBODY = (errno.ECONNREFUSED, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)  # without IPv6 ::1 is nobody's address


async def dial(path: str, port: int, timeout: float = CONNECT_SECONDS) -> Connection:
    """Connect to 127.0.0.1 and then ::1 at `port` in the network namespace at `path` (``/proc/<pid>/ns/net``, a pin).

    Raises Unavailable when nobody listens there, nobody accepts within `timeout` seconds, or the namespace is gone.
    """
    made: list[socket.socket] = []
    try:
        made = await netns.sockets(path, *_ADDRESSES)
        async with asyncio.timeout(timeout):
            connected = await _connect(made, port)
        made.remove(connected)
        _, connection = await asyncio.get_running_loop().create_connection(Socket, sock=connected)
    except TimeoutError:
        raise Unavailable(f"port {port} in the pod did not accept a connection within {timeout:g} s") from None
    except PermissionError as error:
        raise PermissionDenied(f"the pod's network cannot be entered, run criadapt as root: {error}") from error
    except OSError as error:
        if error.errno in _NOBODY:
            raise Unavailable(f"nobody listens on port {port} in the pod: connection refused") from error
        raise Unavailable(f"port {port} in the pod cannot be reached: {error.strerror or error}") from error
    finally:
        for unused in made:
            unused.close()
    return _Dialed(connection)


async def _connect(candidates: list[socket.socket], port: int) -> socket.socket:
    loop = asyncio.get_running_loop()
    failure: OSError = ConnectionRefusedError(errno.ECONNREFUSED, "connection refused")
    for candidate in candidates:
        try:
            await loop.sock_connect(candidate, (_ADDRESSES[candidate.family], port))
        except OSError as error:
            # What IPv4 said counts, unless it was only that nobody is there.
            failure = failure if failure.errno not in _NOBODY else error
        else:
            return candidate
    raise failure


class _Dialed(Connection):
    """A TCP connection. What is not read holds the other side back, and the other way round."""

    def __init__(self, connected: Socket) -> None:
        self._socket = connected
        self._said_all = False

    async def read(self) -> bytes:
        """Some bytes, none once the other side has ended. One reader at a time."""
        return await self._socket.read()

    async def write(self, data: bytes) -> None:
        """Send bytes; waits while too much waits to be sent."""
        if self._said_all:
            raise BrokenPipeError(errno.EPIPE, "the connection was ended on this side")
        self._socket.put([data])
        try:
            await self._socket.drain()
        except Unavailable as error:
            raise ConnectionResetError(errno.ECONNRESET, str(error)) from error

    async def end(self) -> None:
        """Send nothing more, once all is sent."""
        self._said_all = True
        self._socket.write_eof()

    async def close(self) -> None:
        """End both directions at once; what waits to be sent is lost."""
        self._socket.kill()
        await self._socket.close()
