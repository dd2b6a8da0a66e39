"""Connects the servicers to a gRPC server, with answers that may be ready bytes.

The generated registration insists on message objects; ours takes the methods and their types from the service
descriptor, and lets a method return the encoded answer instead of a message where that is cheaper.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message

from criadapt.cri.v1 import api_pb2 as pb
from criadapt.errors import InvalidArgument

Answer = Message | bytes


def generic_handler(service: str, servicer: object) -> grpc.GenericRpcHandler:
    """Handler of all RPCs of `service` (``RuntimeService``, ``ImageService``); the servicer must have every one."""
    descriptor = pb.DESCRIPTOR.services_by_name[service]
    handlers: dict[str, Any] = {}
    for method in descriptor.methods:
        make = grpc.unary_stream_rpc_method_handler if method.server_streaming else grpc.unary_unary_rpc_method_handler
        handlers[method.name] = make(
            _decoding(getattr(servicer, method.name), getattr(pb, method.input_type.name).FromString),
            response_serializer=_serialize,
        )
    return grpc.method_handlers_generic_handler(descriptor.full_name, handlers)


def _decoding(method: Callable[[Any, Any], Any], parse: Callable[[bytes], Message]) -> Callable[[bytes, Any], Any]:
    """The method on raw requests; gRPC's own decoding would answer UNKNOWN, without words, to what is no message."""

    def call(data: bytes, context: Any) -> Any:
        try:
            request = parse(data)
        except DecodeError as error:
            raise InvalidArgument(f"the request cannot be decoded: {error}") from error
        return method(request, context)

    return call


def _serialize(answer: Answer) -> bytes:
    return answer if isinstance(answer, bytes) else answer.SerializeToString()
