"""What the two colours of the client do differently, asynchronously; ``sync/io.py`` has the same names."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ParamSpec, TypeVar

import grpc.aio

P = ParamSpec("P")
T = TypeVar("T")

Channel = grpc.aio.Channel
Unary = grpc.aio.UnaryUnaryMultiCallable[Any, Any]
Stream = grpc.aio.UnaryStreamMultiCallable[Any, Any]
StreamCall = grpc.aio.UnaryStreamCall[Any, Any]
Lock = asyncio.Lock
Event = asyncio.Event
Condition = asyncio.Condition
Cancelled = asyncio.CancelledError
"""What a call raises that its caller, or the closing of the channel, has cut short."""
Closed = grpc.aio.UsageError
"""What a call on a closed channel raises."""
Task = asyncio.Task[T]


def open_channel(target: str, options: Sequence[tuple[str, str | int]]) -> Channel:
    """A channel to a gRPC target. It connects with its first call."""
    return grpc.aio.insecure_channel(target, options=options)


def interrupted() -> bool:
    """Whether somebody wants the current task to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def acknowledged(call: StreamCall, seconds: float) -> None:
    """Wait until the server has sent the headers of a stream or ended it, but not for longer than `seconds`."""
    headers = asyncio.ensure_future(call.initial_metadata())
    await asyncio.wait([headers], timeout=seconds)
    headers.cancel()


async def sleep(seconds: float) -> None:
    """Let time pass."""
    await asyncio.sleep(seconds)


async def blocking(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function that may block, without blocking others."""
    return await asyncio.to_thread(function, *args, **kwargs)


def spawn(function: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> Task[T]:
    """Run a function beside what runs now."""
    return asyncio.ensure_future(function(*args, **kwargs))


async def join(task: Task[T]) -> T:
    """Wait for what was spawned to end; returns or raises what it does."""
    return await task


async def wait(event: Event, seconds: float | None = None) -> bool:
    """Wait for an event, but not for longer than `seconds`. Returns whether it has happened."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True
