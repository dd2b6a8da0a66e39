"""Real sockets for servers inside pods: probes and clients on this machine reach them over loopback.

A port has a door at each address it can be reached at. A door opens when a server begins to listen and is shut when it
stops; whoever comes through is joined to the service in memory. A door that cannot be opened costs a warning: inside
the pod, and by port-forward, its port works all the same.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import Context as Variables
from functools import partial

from criadapt.backends.mock.process import Proc
from criadapt.backends.mock.sockets import Service, connect
from criadapt.backends.mock.streams import BUFFER
from criadapt.errors import InvalidArgument

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
Address = tuple[str, int]

_BACKLOG = 128
_BREATH = 1.0  # seconds until the next try when no descriptor is left
_HINTS = {
    errno.EACCES: "ports below net.ipv4.ip_unprivileged_port_start take CAP_NET_BIND_SERVICE",
    errno.EADDRINUSE: "something else listens there; mocks on one machine need subnets of their own",
    errno.EMFILE: "raise the limit of open files",
}


def check_local(address: str) -> None:
    """Look whether an address of a pod can be listened on. Raises InvalidArgument."""
    try:
        _listening((address, 0)).close()
    except OSError as error:
        raise InvalidArgument(
            f"reachable: cannot listen on {address}, an address of the pods' subnet ({error.strerror}); use a subnet "
            "within 127.0.0.0/8, or give yours to this machine with `ip route add local <subnet> dev lo`"
        ) from error


def _listening(address: Address) -> socket.socket:
    """A socket that listens already, so that there is nothing to wait for. Raises OSError."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setblocking(False)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # whatever old connections still linger there
        if family == socket.AF_INET6:
            found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        found.bind(address)
        found.listen(_BACKLOG)
    except BaseException:
        found.close()
        raise
    return found


class _Door:
    """One listening socket; `welcome` gets every connection. Raises OSError."""

    def __init__(self, address: Address, welcome: Callable[[socket.socket], None]) -> None:
        self._socket = _listening(address)
        self._welcome = welcome
        self._loop = asyncio.get_running_loop()
        self._later: asyncio.TimerHandle | None = None
        self.attend()

    def attend(self) -> None:
        """Take whoever comes."""
        self._loop.add_reader(self._socket, self._accept)

    def rest(self) -> None:
        """Let everybody wait, in the kernel's queue."""
        self._loop.remove_reader(self._socket)
        if self._later is not None:
            self._later.cancel()
            self._later = None

    def shut(self) -> None:
        """Listen no more."""
        self.rest()
        self._socket.close()

    def _accept(self) -> None:
        try:
            client, _ = self._socket.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # they changed their mind
        except OSError as error:
            log.warning("connections to a pod have to wait", extra={"error": str(error)})
            self.rest()
            self._later = self._loop.call_later(_BREATH, self.attend)
            return
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._welcome(client)


class _Server:
    """A process that listens on a port, and the doors that lead to it."""

    __slots__ = ("doors", "proc", "service")

    def __init__(self, proc: Proc, service: Service) -> None:
        self.proc = proc
        self.service = service
        self.doors: list[_Door] = []


class Doors:
    """What the doors of all containers have in common. `where` tells the addresses of a container's port."""

    def __init__(self, where: Callable[[str, int], Iterable[Address]], name: Callable[[str], str]) -> None:
        self.calls: set[asyncio.Task[None]] = set()
        """Connections."""
        self._where = where
        self._name = name
        self._count = 0
        self._limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2  # the rest is for those who come, and for CRI

    def open(self, id: str, port: int, welcome: Callable[[socket.socket], None]) -> list[_Door]:
        """Open all doors of a container's port that can be opened."""
        found: list[_Door] = []
        for address in self._where(id, port) if 0 < port < 1 << 16 else ():
            try:
                if self._count >= self._limit:
                    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
                found.append(_Door(address, welcome))
                self._count += 1
            except OSError as error:
                hint = f"; {_HINTS[error.errno]}" if error.errno in _HINTS else ""
                facts = {"pod": self._name(id), "address": "{}:{}".format(*address)}
                log.warning(
                    "port of a pod cannot be reached from outside", extra={**facts, "error": f"{error.strerror}{hint}"}
                )
        return found

    def shut(self, doors: list[_Door]) -> None:
        """Shut some."""
        for door in doors:
            door.shut()
            self._count -= 1
        doors.clear()

    async def close(self) -> None:
        """Wait until all who were thrown out have left."""
        while self.calls:
            await asyncio.wait(self.calls)


class Entrance:
    """The doors of one container. They are shut until :meth:`reveal`, when its program has lived through its past."""

    __slots__ = ("_calls", "_closed", "_doors", "_id", "_resting", "_revealed", "_servers")

    def __init__(self, doors: Doors, id: str) -> None:
        self._doors = doors
        self._id = id
        self._servers: dict[int, _Server] = {}
        self._calls: dict[asyncio.Task[None], Proc] = {}
        self._revealed = self._resting = self._closed = False

    def listen(self, proc: Proc, port: int, service: Service) -> None:
        """A process serves a port."""
        self._servers[port] = server = _Server(proc, service)
        if self._revealed:
            self._open(port, server)

    def unlisten(self, port: int) -> None:
        """It serves no more connections than those it has."""
        server = self._servers.pop(port, None)
        if server is not None:
            self._doors.shut(server.doors)

    def drop(self, proc: Proc) -> None:
        """A process has ended, and its connections with it."""
        for task in [task for task, owner in self._calls.items() if owner is proc]:
            _hang_up(task)

    def reveal(self) -> None:
        """The present has come: open what is listened on now, and whatever will be from now on."""
        self._revealed = True
        for port, server in self._servers.items():
            self._open(port, server)

    def rest(self) -> None:
        """The processes are frozen: who comes has to wait."""
        self._resting = True
        for server in self._servers.values():
            for door in server.doors:
                door.rest()

    def attend(self) -> None:
        """They go on."""
        self._resting = False
        for server in self._servers.values():
            for door in server.doors:
                door.attend()

    def close(self) -> None:
        """For good: the container has ended, or its network, or the engine."""
        self._closed = True
        for port in list(self._servers):
            self.unlisten(port)
        for task in self._calls:
            _hang_up(task)

    def _open(self, port: int, server: _Server) -> None:
        if not self._closed:
            server.doors = self._doors.open(self._id, port, partial(self._welcome, server))
            if self._resting:
                self.rest()

    def _welcome(self, server: _Server, client: socket.socket) -> None:
        task = asyncio.get_running_loop().create_task(_join(client, server), context=Variables())
        self._calls[task] = server.proc
        self._doors.calls.add(task)
        task.add_done_callback(partial(self._left, client))

    def _left(self, client: socket.socket, task: asyncio.Task[None]) -> None:
        client.close()  # here, because a task that is cancelled at once never runs
        del self._calls[task]
        self._doors.calls.discard(task)


def _hang_up(task: asyncio.Task[None]) -> None:
    if not task.cancelling():  # twice would cut its farewell short
        task.cancel()


async def _join(client: socket.socket, server: _Server) -> None:
    """Copy both ways until the service is done, or the client is gone."""
    if not server.doors:  # it took one connection, and this is the second
        return
    loop = asyncio.get_running_loop()
    reader, writer, serving = connect(server.service)

    async def inwards() -> None:
        with suppress(OSError):  # reset by the client, which is an end too
            while data := await loop.sock_recv(client, BUFFER):
                writer.write(data)
                await writer.drain()
        writer.write_eof()

    taking = loop.create_task(inwards())
    data = b""
    try:
        with suppress(OSError):  # the client is gone
            while data := await reader.read(BUFFER):
                await loop.sock_sendall(client, data)
                data = b""
            client.shutdown(socket.SHUT_WR)
            await asyncio.wait([serving])  # it may have ended one direction only
    finally:
        taking.cancel()
        serving.cancel()
        _, bug = await asyncio.gather(taking, serving, return_exceptions=True)
        if not data and (last := await reader.read()):  # a process may end as soon as it has written
            with suppress(OSError):
                client.send(last)
        if isinstance(bug, Exception) and not isinstance(bug, OSError):
            log.error("bug in a program of the mock: %s", " ".join(server.proc.args), exc_info=bug)
