"""The floor: a grpc.aio server that answers every method of CRI v1 with bytes it was given, and does nothing else.

    python bench/bare.py SOCKET ANSWERS

It has the stubs and decodes requests with them, as any server must; answers are constants, there are no interceptors.
ANSWERS is a pickle of a dict from ``/runtime.v1.Service/Method`` to the bytes of the answer.
"""

from __future__ import annotations

import asyncio
import pickle
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from criadapt.cri.v1 import api_pb2 as pb


def handlers(answers: Mapping[str, bytes]) -> list[grpc.GenericRpcHandler]:
    """One generic handler per service, of the unary methods that have an answer."""
    found = []
    for service in pb.DESCRIPTOR.services_by_name.values():
        methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            method.name: grpc.unary_unary_rpc_method_handler(
                _constant(answers[f"/{service.full_name}/{method.name}"]),
                request_deserializer=getattr(pb, method.input_type.name).FromString,
                response_serializer=None,
            )
            for method in service.methods
            if f"/{service.full_name}/{method.name}" in answers
        }
        found.append(grpc.method_handlers_generic_handler(service.full_name, methods))
    return found


def _constant(answer: bytes) -> Callable[[Any, Any], Awaitable[bytes]]:
    async def run(request: Any, context: Any) -> bytes:
        return answer

    return run


async def serve(socket: str, answers: Mapping[str, bytes]) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = grpc.aio.server(options=[("grpc.max_send_message_length", -1)])
    server.add_generic_rpc_handlers(handlers(answers))
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    await stop.wait()
    await server.stop(0.5)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], pickle.loads(Path(sys.argv[2]).read_bytes())))
