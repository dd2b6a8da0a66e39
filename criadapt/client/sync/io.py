"""What the two colours of the client do differently, in threads; ``aio/io.py`` has the same names."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import grpc

P = ParamSpec("P")
T = TypeVar("T")

Channel = grpc.Channel
StreamCall = Any  # grpc's own type of it is private
if TYPE_CHECKING:  # only there do these take parameters
    Unary = grpc.UnaryUnaryMultiCallable[Any, Any]
    Stream = grpc.UnaryStreamMultiCallable[Any, Any]
else:
    Unary = grpc.UnaryUnaryMultiCallable
    Stream = grpc.UnaryStreamMultiCallable
Lock = threading.Lock
Event = threading.Event
Condition = threading.Condition
Cancelled = concurrent.futures.CancelledError
"""What a call raises that has been cut short; a blocking one never is."""
Closed = ValueError
"""What a call on a closed channel raises."""
Task = concurrent.futures.Future[T]


def open_channel(target: str, options: Sequence[tuple[str, str | int]]) -> Channel:
    """A channel to a gRPC target. It connects with its first call."""
    return grpc.insecure_channel(target, options=options)


def interrupted() -> bool:
    """Whether somebody wants the current thread to end; nobody can say so to a thread."""
    return False


def acknowledged(call: StreamCall, seconds: float) -> None:
    """Wait until the server has sent the headers of a stream or ended it, but not for longer than `seconds`."""
    # grpc's own waiting has no bound; the thread ends with the call.
    thread = threading.Thread(target=call.initial_metadata, name="criadapt-headers", daemon=True)
    thread.start()
    thread.join(seconds)


def sleep(seconds: float) -> None:
    """Let time pass."""
    time.sleep(seconds)


def blocking(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function that may block."""
    return function(*args, **kwargs)


def spawn(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Task[T]:
    """Run a function beside what runs now, in a thread that does not keep the process alive."""
    task: Task[T] = concurrent.futures.Future()

    def run() -> None:
        try:
            task.set_result(function(*args, **kwargs))
        except BaseException as error:
            task.set_exception(error)

    threading.Thread(target=run, name=f"criadapt-{function.__name__}", daemon=True).start()
    return task


def join(task: Task[T]) -> T:
    """Wait for what was spawned to end; returns or raises what it does."""
    return task.result()


def wait(event: Event, seconds: float | None = None) -> bool:
    """Wait for an event, but not for longer than `seconds`. Returns whether it has happened."""
    return event.wait(seconds)
