"""A runtime that is another one, but for what it is told to do differently: for tests of clients.

async with relaying(folder / "relay.sock", server.channel) as relay:
    relay.answers["StopContainer"] = refusal(grpc.StatusCode.UNKNOWN, "No such container: ab12")
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message

Handler = Callable[[bytes, Any], AsyncIterator[bytes]]


class Relay(grpc.GenericRpcHandler):
    """Passes calls on as they come, as bytes. `answers` has handlers by the RPC's name, which come first."""

    def __init__(self, channel: grpc.aio.Channel | None, *, services: str = "/runtime.v1.") -> None:
        self.answers: dict[str, Handler] = {}
        self.calls: Counter[str] = Counter()
        """How often each RPC was called."""
        self.answered: Counter[str] = Counter()
        """How often each RPC was answered by the other runtime, to the end."""
        self._channel = channel
        self._services = services

    def service(self, handler_call_details: Any) -> Any:
        """The handler of one call, None for a method that is not there."""
        path = handler_call_details.method
        name = path.rpartition("/")[2]
        if not path.startswith(self._services) or (self._channel is None and name not in self.answers):
            return None

        async def handle(request: bytes, context: Any) -> AsyncIterator[bytes]:
            self.calls[name] += 1
            if own := self.answers.get(name):
                async for answer in own(request, context):
                    yield answer
                return
            assert self._channel is not None
            send: Any = self._channel.unary_stream(path)
            call = send(request)
            try:
                await context.send_initial_metadata(await call.initial_metadata())
                async for answer in call:
                    yield answer
                self.answered[name] += 1
            except grpc.aio.AioRpcError as error:
                await context.abort(error.code(), error.details() or "")
            finally:
                call.cancel()

        # A stream of one message is the same on the wire as a single answer.
        return grpc.unary_stream_rpc_method_handler(handle)


def refusal(code: grpc.StatusCode, details: str) -> Handler:
    """Fail with a status."""

    async def handle(request: bytes, context: Any) -> AsyncIterator[bytes]:
        await context.abort(code, details)
        yield b""

    return handle


def saying(*messages: Message) -> Handler:
    """Answer with messages, whatever was asked."""

    async def handle(request: bytes, context: Any) -> AsyncIterator[bytes]:
        for message in messages:
            yield message.SerializeToString()

    return handle


def waiting(until: Callable[[], Awaitable[object]]) -> Handler:
    """Answer with nothing, after something has happened."""

    async def handle(request: bytes, context: Any) -> AsyncIterator[bytes]:
        await until()
        yield b""

    return handle


@asynccontextmanager
async def relaying(
    socket: Path, channel: grpc.aio.Channel | None = None, *, services: str = "/runtime.v1."
) -> AsyncIterator[Relay]:
    """Serve a relay on a socket; without a channel it has those RPCs only that are put into its answers."""
    relay = Relay(channel, services=services)
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers((relay,))
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    try:
        yield relay
    finally:
        await server.stop(None)
