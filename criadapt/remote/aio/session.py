"""A session: the streams of one connection as objects that can be read and written.

One worker reads the socket and sorts what comes into the streams' inboxes. An inbox that is full holds the whole
connection up, as there is no flow control but TCP's; a stream that nobody reads any more must be discarded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from criadapt.errors import CriadaptError, DeadlineExceeded, Unavailable
from criadapt.remote.aio.io import Condition, Lock, Socket, Worker, wait
from criadapt.remote.mux import Buffer, Mux
from criadapt.spdy import (
    DataReceived,
    Event,
    GoAwayStatus,
    ProtocolError,
    ResetStatus,
    StreamEnded,
    StreamOpened,
    StreamReplied,
    StreamReset,
)

INBOX = 1024 * 1024
"""Bytes that a stream may have got and not been read. Pings behind them wait, so it is not small."""

WATCH_SECONDS = 2.0
"""How often a connection that is held up is looked at: whether the peer is still there."""

PING_SECONDS = 5.0
LINGER_SECONDS = 2.0
LINGER_STEP = 0.25


class AsyncStream:
    """One stream. Reading and writing may go on at the same time."""

    def __init__(self, session: AsyncSession, number: int, headers: Mapping[str, str], lock: Lock) -> None:
        self.number = number
        self.headers = headers
        self._session = session
        self._changed = Condition(lock)
        self._inbox: deque[bytes] = deque()
        self._held = 0
        self._ended = False
        self._reset = False
        self._replied = False
        self._discarding = False
        self._done_sending = False

    async def read(self, timeout: float | None = None) -> bytes:
        """Some bytes, none at the end.

        Raises Unavailable when the connection is lost before, DeadlineExceeded when nothing comes in time.
        """
        async with self._changed:
            while not self._inbox and not self._ended:
                self._session.check()
                if timeout is None:
                    await self._changed.wait()
                elif not await wait(self._changed, timeout):
                    raise DeadlineExceeded(f"nothing came within {timeout:g} s")
            if not self._inbox:
                return b""
            data = self._inbox.popleft()
            self._held -= len(data)
            self._session.made_room(self._held + len(data), self._held)
            return data

    async def write(self, data: Buffer) -> None:
        """Send bytes; waits while the peer does not take them. Raises Unavailable when the connection is lost."""
        await self._session.send(self.number, data, fin=False)

    async def end(self, data: Buffer = b"") -> None:
        """Send the last bytes, and say that they are the last."""
        await self._session.send(self.number, data, fin=True)

    async def reset(self) -> None:
        """Give it up, both directions."""
        await self._session.reset(self.number)

    async def discard(self) -> None:
        """Drop what has come and what will come."""
        async with self._changed:
            self._discarding = True
            held, self._held = self._held, 0
            self._inbox.clear()
            self._session.made_room(held, 0)

    async def accepted(self, timeout: float) -> None:
        """Wait until the peer has accepted it. Raises Unavailable, DeadlineExceeded."""
        async with self._changed:
            while not self._replied:
                if self._reset:
                    raise Unavailable("the server refused a stream")
                self._session.check()
                if not await wait(self._changed, timeout):
                    raise DeadlineExceeded(f"the server did not accept a stream within {timeout:g} s")

    @property
    def was_reset(self) -> bool:
        """The peer has given it up."""
        return self._reset

    # ------------------------------------------------------------------ for the session, which holds the lock

    def deliver(self, event: Event) -> None:
        """Something happened to it."""
        match event:
            case DataReceived(data=data):
                if not self._discarding and not self._ended:
                    self._inbox.append(data)
                    self._held += len(data)
            case StreamReplied():
                self._replied = True
            case StreamReset():
                self._ended = self._reset = True
            case _:
                self._ended = True
        self._changed.notify_all()

    def lost(self) -> None:
        """The connection is gone."""
        self._changed.notify_all()

    def sent_all(self) -> None:
        """Our direction has ended."""
        self._done_sending = True

    @property
    def over(self) -> bool:
        """Both directions have ended."""
        return self._ended and (self._done_sending or self._reset)

    @property
    def full(self) -> bool:
        """Its inbox is."""
        return self._held > INBOX


class AsyncSession:
    """The streams of a connection; use it with ``async with``, which cuts the connection at the end."""

    def __init__(self, socket: Socket, mux: Mux, received: bytes = b"", *, pings: bool = False) -> None:
        """`received` is what came behind the HTTP head; `pings` asks the peer for signs of life."""
        self._socket = socket
        self._mux = mux
        self._received = received
        self._pings = pings
        self._lock = Lock()
        self._opened = Condition(self._lock)
        self._room = Condition(self._lock)
        self._streams: dict[int, AsyncStream] = {}
        self._waiting: deque[AsyncStream] = deque()
        self._failure: CriadaptError | None = None
        self._worker: Worker | None = None

    async def start(self) -> None:
        """Begin to receive; :meth:`cut` ends it."""
        self._worker = Worker(self._receive)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.cut()

    async def cut(self) -> None:
        """End the connection at once."""
        self._socket.kill()
        async with self._lock:
            self._fail(Unavailable("the connection was closed"))
        if self._worker is not None:
            await self._worker.join()
        await self._socket.close()

    async def finish(self, status: GoAwayStatus = GoAwayStatus.OK) -> None:
        """Say that we are done; wait for the peer to take what it has not got yet, and some time for it to close."""
        async with self._lock:
            for number in self._streams:
                self._mux.send_data(number, b"", fin=True)
            self._mux.go_away(status)
            self._socket.put(self._mux.data_to_send())
            self._streams.clear()
            self._room.notify_all()
        # Closing a socket with unread input makes the kernel drop what is still on its way to the peer.
        self._socket.write_eof()
        async with self._opened:
            left = LINGER_SECONDS
            while self._failure is None and left > 0:
                await wait(self._opened, LINGER_STEP)
                if not self._socket.unsent():
                    left -= LINGER_STEP

    # ------------------------------------------------------------------ streams

    async def open(self, headers: Mapping[str, str]) -> AsyncStream:
        """Open a stream; :meth:`AsyncStream.accepted` waits for the peer's consent."""
        async with self._lock:
            self.check()
            number = self._mux.open_stream(headers)
            stream = self._streams[number] = AsyncStream(self, number, headers, self._lock)
            self._socket.put(self._mux.data_to_send())
            return stream

    async def accept(self) -> AsyncStream:
        """The next stream that the peer opens. Raises Unavailable when the connection is lost."""
        async with self._opened:
            while not self._waiting:
                self.check()
                await self._opened.wait()
            return self._waiting.popleft()

    async def lost(self) -> CriadaptError:
        """Wait until the connection is gone; says why."""
        async with self._opened:
            while self._failure is None:
                await self._opened.wait()
            return self._failure

    # ------------------------------------------------------------------ for streams

    def check(self) -> None:
        """Raise what the connection was lost for."""
        if self._failure is not None:
            raise type(self._failure)(str(self._failure))

    def made_room(self, before: int, after: int) -> None:
        """A stream's inbox has shrunk; the lock is held."""
        if before > INBOX >= after:
            self._room.notify_all()

    async def send(self, number: int, data: Buffer, *, fin: bool) -> None:
        """Send on a stream."""
        async with self._lock:
            self.check()
            self._mux.send_data(number, data, fin=fin)
            self._socket.put(self._mux.data_to_send())
            stream = self._streams.get(number)
            if fin and stream is not None:
                stream.sent_all()
                self._forget_over(stream)
        await self._socket.drain()

    async def reset(self, number: int) -> None:
        """Give a stream up."""
        async with self._lock:
            self._mux.reset_stream(number, ResetStatus.CANCEL)
            self._socket.put(self._mux.data_to_send())
            stream = self._streams.pop(number, None)
            if stream is not None:
                stream.deliver(StreamEnded(number))

    # ------------------------------------------------------------------ receiving

    async def _receive(self) -> None:
        """Sort what comes, until the connection ends."""
        failure: CriadaptError = Unavailable("the peer closed the connection")
        data = self._received
        try:
            while True:
                async with self._lock:
                    try:
                        self._sort(self._mux.receive_data(data))
                    except ProtocolError as error:
                        self._sort(error.events)
                        raise
                    finally:
                        self._socket.put(self._mux.data_to_send())
                    if self._mux.closed or not await self._made_room():
                        break
                data = await self._next()
                if not data:
                    break
        except ProtocolError as error:
            failure = Unavailable(f"the peer broke the protocol: {error}")
        except (OSError, CriadaptError) as error:
            failure = Unavailable(str(error))
        finally:
            async with self._lock:
                self._fail(failure)

    async def _next(self) -> bytes:
        """What comes next."""
        while True:
            try:
                return await self._socket.read(PING_SECONDS if self._pings else None)
            except TimeoutError:
                async with self._lock:
                    self._mux.ping()
                    self._socket.put(self._mux.data_to_send())

    async def _made_room(self) -> bool:
        """Wait while a stream's inbox is full; False when the peer has gone meanwhile."""
        while self._failure is None and any(stream.full for stream in self._streams.values()):
            if not await wait(self._room, WATCH_SECONDS) and self._socket.peer_gone():
                return False
        return True

    def _sort(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, StreamOpened):
                self._mux.reply(event.stream)
                stream = AsyncStream(self, event.stream, event.headers, self._lock)
                self._streams[event.stream] = stream
                self._waiting.append(stream)
                self._opened.notify_all()
            elif isinstance(event, DataReceived | StreamReplied | StreamEnded | StreamReset):
                known = self._streams.get(event.stream)
                if known is not None:
                    known.deliver(event)
                    self._forget_over(known)

    def _forget_over(self, stream: AsyncStream) -> None:
        if stream.over:
            self._streams.pop(stream.number, None)

    def _fail(self, failure: CriadaptError) -> None:
        """The connection is gone; the lock is held."""
        if self._failure is None:
            self._failure = failure
            for stream in self._streams.values():
                stream.lost()
            self._opened.notify_all()
            self._room.notify_all()
