"""What waits, for threads. Its twin with the same names, for asyncio, is :mod:`criadapt.remote.aio.io`."""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from typing import ParamSpec, TypeVar

from criadapt.errors import FailedPrecondition, Unavailable
from criadapt.remote.mux import Buffer
from criadapt.remote.tcp import unacknowledged

P = ParamSpec("P")
T = TypeVar("T")

Doing = Callable[P, T]
"""A function that takes its time."""

CHUNK = 256 * 1024  # bytes read at a time
PIECES = 64  # buffers written at a time; the kernel takes up to 1,024

_BLOCKED = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

Lock = threading.Lock
Condition = threading.Condition


def wait(condition: Condition, seconds: float) -> bool:
    """Wait for a condition that is held; False if nobody notified it in time."""
    return condition.wait(seconds)


class Worker:
    """Work that goes on beside the caller's; it ends by itself."""

    def __init__(self, work: Doing[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        self._thread = threading.Thread(target=work, args=args, kwargs=kwargs, name="criadapt session", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait until it has ended."""
        if self._thread is not threading.current_thread():
            self._thread.join()


class Socket:
    """A TCP connection, over TLS or not. It never blocks but in poll, so that threads can read and write at once."""

    def __init__(self, raw: socket.socket) -> None:
        raw.setblocking(False)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._raw = raw
        self._lock = threading.Lock()  # of all below, and of the TLS state
        self._outbox: deque[memoryview] = deque()
        self._waiting = 0  # bytes in the outbox
        self._error: OSError | None = None
        self._killed = False
        self.active = time.monotonic()
        """When something was last received or sent."""

    def read(self, timeout: float | None = None) -> bytes:
        """Some bytes, none at the end. One reader at a time. Raises TimeoutError, OSError."""
        while True:
            with self._lock:
                if self._killed:
                    return b""
                try:
                    data = self._raw.recv(CHUNK)
                    self.active = time.monotonic()
                    return data
                except _BLOCKED:
                    self._send()
                    wanted = select.POLLIN | (select.POLLOUT if self._waiting else 0)
            if not self._poll(wanted, timeout):
                raise TimeoutError

    def put(self, pieces: Sequence[Buffer]) -> None:
        """Queue bytes, and send what can be sent at once; :meth:`drain` waits for the rest."""
        with self._lock:
            if self._error is None and not self._killed:
                for piece in pieces:
                    self._outbox.append(memoryview(piece))
                    self._waiting += len(piece)
                self._send()

    def drain(self) -> None:
        """Wait until all has been handed to the kernel: whoever reads may be asleep, and nobody else would see to it.

        Raises Unavailable when the connection is lost.
        """
        while True:
            with self._lock:
                if not self._killed:
                    self._send()
                if self._error is not None or self._killed:
                    raise Unavailable(f"the connection was lost: {self._error or 'closed'}")
                if not self._waiting:
                    return
            self._poll(select.POLLOUT, None)

    def flush(self) -> None:
        """The same here; over asyncio, draining may leave something behind."""
        self.drain()

    def write_eof(self) -> None:
        """Say that nothing more will be sent, where the connection can say so."""
        if not isinstance(self._raw, ssl.SSLSocket):
            with suppress(OSError):
                self._raw.shutdown(socket.SHUT_WR)

    def unsent(self) -> bool:
        """Whether the peer has not got all yet that was put."""
        with self._lock:
            if self._error is not None or self._killed:
                return False
            return self._waiting > 0 or unacknowledged(self._raw.fileno())

    def peer_gone(self) -> bool:
        """Whether the peer has closed, which goes unnoticed while nothing is read."""
        poll = select.poll()
        poll.register(self._raw, select.POLLRDHUP)
        return bool(poll.poll(0))

    def kill(self) -> None:
        """Cut the connection; what waits to be sent is lost. A reader comes to the end."""
        with self._lock:
            self._killed = True
        with suppress(OSError):  # wakes whoever polls
            socket.socket.shutdown(self._raw, socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the descriptor back; nobody may be using it."""
        self._raw.close()

    def _send(self) -> None:
        """Send what the kernel takes; the lock is held."""
        while self._outbox and self._error is None:
            try:
                if isinstance(self._raw, ssl.SSLSocket):
                    sent = self._raw.send(self._outbox[0])
                else:
                    sent = self._raw.sendmsg(list(islice(self._outbox, PIECES)))
            except _BLOCKED:
                return
            except OSError as error:
                self._error = error
                return
            self.active = time.monotonic()
            self._waiting -= sent
            while self._outbox and sent >= len(self._outbox[0]):
                sent -= len(self._outbox.popleft())
            if sent:
                self._outbox[0] = self._outbox[0][sent:]

    def _poll(self, wanted: int, timeout: float | None) -> bool:
        poll = select.poll()
        poll.register(self._raw, wanted)
        return bool(poll.poll(None if timeout is None else timeout * 1000))


def connect(host: str, port: int, tls: ssl.SSLContext | None, timeout: float) -> Socket:
    """Connect. Raises Unavailable."""
    try:
        raw = socket.create_connection((host, port), timeout)
        try:
            return Socket(tls.wrap_socket(raw, server_hostname=host) if tls is not None else raw)
        except BaseException:
            raw.close()
            raise
    except TimeoutError:
        raise Unavailable(f"{host}:{port} did not accept a connection within {timeout:g} s") from None
    except OSError as error:
        raise Unavailable(f"{host}:{port} cannot be connected to: {error.strerror or error}") from error


class Listener:
    """Takes connections, each with a thread of its own, until it is closed."""

    def __init__(self, serve: Doing[[Socket], None]) -> None:
        self._serve = serve
        self._raw: socket.socket | None = None
        self._accepting: Worker | None = None
        self._lock = threading.Lock()
        self._served: dict[Socket, Worker] = {}
        self._closed = False
        self.port = 0

    def open(self, host: str, port: int) -> None:
        """Listen. Raises FailedPrecondition."""
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self._raw = socket.create_server((host, port), family=family)
        except OSError as error:
            raise FailedPrecondition(f"{host}:{port} cannot be listened on: {error.strerror or error}") from error
        self.port = self._raw.getsockname()[1]
        self._accepting = Worker(self._accept, self._raw)

    def close(self) -> None:
        """Listen no more; what is being served is cut."""
        with self._lock:
            self._closed = True
            served = dict(self._served)
        if self._raw is not None and self._accepting is not None:
            with suppress(OSError):
                self._raw.shutdown(socket.SHUT_RDWR)  # wakes who accepts
            self._accepting.join()
            self._raw.close()
        for made, worker in served.items():
            made.kill()
            worker.join()

    def _accept(self, raw: socket.socket) -> None:
        while True:
            try:
                made = Socket(raw.accept()[0])
            except OSError:
                return
            with self._lock:
                if self._closed:
                    made.close()
                    return
                self._served[made] = Worker(self._run, made)

    def _run(self, made: Socket) -> None:
        try:
            self._serve(made)
        finally:
            made.kill()
            made.close()
            with self._lock:
                self._served.pop(made, None)


def listen(host: str, port: int, serve: Doing[[Socket], None]) -> Listener:
    """Listen, on a free port if it is 0. Raises FailedPrecondition."""
    listener = Listener(serve)
    listener.open(host, port)
    return listener
