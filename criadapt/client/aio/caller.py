"""How a call is made: deadline, one retry of reads, errors of ours."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import grpc
from google.protobuf.message import Message

from criadapt.client.aio import io
from criadapt.client.discover import Endpoints, target_of
from criadapt.client.failures import at, broken, failure, is_broken
from criadapt.client.table import RPCS, Rpc
from criadapt.cri.codec import decode
from criadapt.cri.v1 import api_pb2 as pb
from criadapt.errors import CriadaptError, EngineError, FailedPrecondition, InvalidArgument

A = TypeVar("A", bound=Message)
T = TypeVar("T")

MAX_MESSAGE = 64 << 20
"""Bytes of an answer. Runtimes send 16 MiB at most, which is what kubelet takes; gRPC's own limit is 4."""

RECONNECT = 0.5
"""Seconds that a runtime gets to be there again before a read is asked a second time."""

OPTIONS: Sequence[tuple[str, str | int]] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    # A socket's path is no host name, and servers written in Go refuse it as one.
    ("grpc.default_authority", "localhost"),
    ("grpc.enable_http_proxy", 0),
    # Connections of our own, which closing us closes; back soon when a runtime comes back.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5000),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


class AsyncCaller:
    """Connections to a runtime's two services, which most often are one.

    `timeout` is the deadline in seconds of calls that have no longer one of their own (:mod:`criadapt.client.table`).
    Calls that change nothing are asked a second time when the connection turns out to be broken, which is how the
    restart of a runtime shows; anything else is never repeated.
    """

    def __init__(self, endpoints: Endpoints, *, timeout: float) -> None:
        self.endpoints = endpoints
        self.timeout = timeout
        self._closed = False
        self._running: set[io.StreamCall] = set()
        self._channels: dict[str, io.Channel] = {}
        self._unary: dict[type[Message], io.Unary] = {}
        self._streams: dict[type[Message], io.Stream] = {}
        for endpoint in (endpoints.runtime, endpoints.image):
            if endpoint not in self._channels:
                self._channels[endpoint] = io.open_channel(target_of(endpoint), OPTIONS)
        for request, rpc in RPCS.items():
            channel = self._channels[self._endpoint(rpc)]
            write, read = request.SerializeToString, rpc.answer.FromString
            if rpc.streams:
                self._streams[request] = channel.unary_stream(rpc.path, write, read)
            else:
                self._unary[request] = channel.unary_unary(rpc.path, write, read)

    @property
    def endpoint(self) -> str:
        """Where the runtime is, such as ``unix:///run/containerd/containerd.sock``."""
        return self.endpoints.runtime

    async def aclose(self) -> None:
        """Close the connections; calls and streams under way end. Harmless when closed before."""
        self._closed = True
        for call in list(self._running):  # a channel that closes does not always find them
            call.cancel()
        for channel in self._channels.values():
            await channel.close()

    async def _ask(self, request: Message, answer: type[A], timeout: float | None, *, longer: float = 0.0) -> A:
        """The answer to a request. `longer` seconds are added to the deadline when the caller has not given one."""
        rpc = RPCS[type(request)]
        send = self._unary[type(request)]
        seconds = max(self.timeout, rpc.seconds) + longer if timeout is None else timeout
        with self._told(rpc, seconds):
            try:
                found: A = await send(request, timeout=seconds)
            except grpc.RpcError as error:
                if not (rpc.read and broken(error)):
                    raise
                await self._connected(rpc)
                found = await send(request, timeout=seconds)
        return found

    async def _listen(self, request: Message, answer: type[A], timeout: float | None) -> AsyncGenerator[A, None]:
        """The messages that a request is answered with."""
        rpc = RPCS[type(request)]
        seconds = max(self.timeout, rpc.seconds) if timeout is None else timeout
        again = rpc.read
        while True:
            call = self._start(request, seconds)
            try:
                with self._told(rpc, seconds):
                    async for message in call:
                        again = False
                        yield message
                return
            except CriadaptError as error:
                if not (again and is_broken(error)):
                    raise
                again = False
                await self._connected(rpc)
            finally:
                self._stop(call)

    async def _connected(self, rpc: Rpc, seconds: float = RECONNECT) -> None:
        """Give a broken connection some time to come back; without a call that waits, gRPC hesitates to try."""
        call = self._channels[self._endpoint(rpc)].unary_unary(RPCS[pb.VersionRequest].path, bytes, bytes)
        try:
            with self._told(rpc, seconds):
                await call(b"", timeout=seconds, wait_for_ready=True)
        except CriadaptError:
            if self._closed:
                raise

    async def _answers(self, path: str) -> bool:
        """Whether the runtime has a method that this CRI has not."""
        call = self._channels[self.endpoint].unary_unary(path, bytes, bytes)
        try:
            await call(b"", timeout=self.timeout)
        except grpc.RpcError:
            return False
        return True

    def _start(self, request: Message, seconds: float | None) -> io.StreamCall:
        """A stream, to be read inside of :meth:`_told` and stopped in the end."""
        with self._told(RPCS[type(request)], seconds):
            call = self._streams[type(request)](request, timeout=seconds)
        self._running.add(call)
        return call

    def _stop(self, call: io.StreamCall) -> None:
        """End a stream, if it has not ended."""
        self._running.discard(call)
        call.cancel()

    @contextmanager
    def _told(self, rpc: Rpc, seconds: float | None) -> Iterator[None]:
        """Turns what gRPC raises inside into errors of ours."""
        try:
            yield
        except grpc.RpcError as error:
            if self._closed:
                raise self._is_closed(rpc) from error
            raise failure(error, rpc.name, self._endpoint(rpc), seconds) from error
        except (io.Cancelled, io.Closed) as error:
            if self._closed and not io.interrupted():
                raise self._is_closed(rpc) from error
            raise

    def _is_closed(self, rpc: Rpc) -> CriadaptError:
        endpoint = self._endpoint(rpc)
        return at(FailedPrecondition(f"{rpc.name}: the client of {endpoint} is closed"), rpc.name, endpoint)

    def _endpoint(self, rpc: Rpc) -> str:
        return self.endpoints.image if rpc.service == "ImageService" else self.endpoints.runtime

    def _decode(self, cls: type[T], message: Message) -> T:
        """The model of an answer. Raises EngineError where the runtime has said what no CRI of today says."""
        try:
            return decode(cls, message)
        except InvalidArgument as error:
            raise EngineError(f"{self.endpoint} answered with {type(message).__name__}.{error}") from error


def words(cmd: Sequence[str], field: str = "cmd") -> Sequence[str]:
    """A command as it is; a mere string, which would be taken for its letters, is refused with InvalidArgument."""
    if isinstance(cmd, (str, bytes)):
        raise InvalidArgument(f"{field}: expected a sequence of arguments, got {cmd!r}; write [{cmd!r}] or shlex.split")
    return cmd
