"""What happens around every RPC: request id, log line, metrics, error → status."""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from criadapt.cri.status import code_of, message_of
from criadapt.errors import CriadaptError
from criadapt.log import request_facts
from criadapt.metrics import Metrics

log = logging.getLogger(__name__)

QUIET = re.compile(
    r"List|Stream|Get|Version|Status|ImageFsInfo|RuntimeConfig|ExecSync|(PodSandbox|Container|Image)(Status|Stats)"
)
"""RPCs that change nothing and come every second: logged at debug level, so that what changed stays in sight."""


class Observe(grpc.aio.ServerInterceptor):
    """Wraps each RPC's handler once and keeps it."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._wrapped: dict[str, tuple[Any, Any]] = {}
        self._numbers = itertools.count(1)

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        method = handler_call_details.method
        handler = await continuation(handler_call_details)
        known = self._wrapped.get(method)
        if known is not None and known[0] is handler:
            return known[1]
        wrapped = handler
        if handler is not None and handler.unary_unary is not None:
            wrapped = grpc.unary_unary_rpc_method_handler(
                self._unary(method.rpartition("/")[2], handler.unary_unary),
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )
        elif handler is not None and handler.unary_stream is not None:
            wrapped = grpc.unary_stream_rpc_method_handler(
                self._stream(method.rpartition("/")[2], handler.unary_stream),
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )
        if handler is not None:
            self._wrapped[method] = (handler, wrapped)
        return wrapped

    def _unary(self, rpc: str, method: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[Any]]:
        async def run(request: Any, context: Any) -> Any:
            call = _Call(self._metrics, rpc, next(self._numbers))
            try:
                answer = await method(request, context)
            except BaseException as error:
                await call.failed(error, context)
                raise
            call.finished("OK")
            return answer

        return run

    def _stream(
        self, rpc: str, method: Callable[[Any, Any], AsyncIterator[Any]]
    ) -> Callable[[Any, Any], AsyncIterator[Any]]:
        async def run(request: Any, context: Any) -> AsyncIterator[Any]:
            call = _Call(self._metrics, rpc, next(self._numbers))
            try:
                async for answer in method(request, context):
                    yield answer
            except BaseException as error:
                await call.failed(error, context)
                raise
            call.finished("OK")

        return run


class _Call:
    """One RPC under way."""

    __slots__ = ("_began", "_in_flight", "_metrics", "_rpc")

    def __init__(self, metrics: Metrics, rpc: str, number: int) -> None:
        self._metrics = metrics
        self._rpc = rpc
        self._in_flight = metrics.in_flight(rpc)
        self._in_flight.inc()
        self._began = time.perf_counter()
        # Each RPC runs in a task, hence a context, of its own: nothing has to be reset.
        request_facts.set({"rpc": rpc, "req": number})

    def finished(self, code: str, message: str = "") -> None:
        took = time.perf_counter() - self._began
        self._in_flight.dec()
        self._metrics.observe_rpc(self._rpc, code, took)
        level = logging.DEBUG if code == "OK" and QUIET.match(self._rpc) else logging.INFO
        if log.isEnabledFor(level):
            facts: dict[str, object] = {"took": round(took, 6), "code": code}
            if message:
                facts["error"] = message
            log.log(level, "rpc", extra=facts)

    async def failed(self, error: BaseException, context: Any) -> None:
        """End the RPC with the error's status. Returns only when the caller itself is gone or has its status."""
        if isinstance(error, grpc.aio.AbortError):
            return
        if isinstance(error, CriadaptError):
            code, message = code_of(error), message_of(error)
        elif isinstance(error, (asyncio.CancelledError, GeneratorExit)):
            task = asyncio.current_task()
            if isinstance(error, GeneratorExit) or (task is not None and task.cancelling()):
                self.finished("CANCELLED")
                return
            # Somebody else's cancellation came through: without a status the client would wait for its deadline.
            code, message = grpc.StatusCode.CANCELLED, "the work was cancelled; try again"
        else:
            code, message = grpc.StatusCode.INTERNAL, f"unexpected {type(error).__name__}: {message_of(error)}"
            log.error("rpc failed unexpectedly", exc_info=error)
        self.finished(code.name, message)
        await context.abort(code, message)
