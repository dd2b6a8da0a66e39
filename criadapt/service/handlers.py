"""Connects the servicers to a gRPC server, with answers that may be ready bytes.

The generated registration insists on message objects; ours takes the methods and their types from the service
descriptor, and lets a method return the encoded answer instead of a message where that is cheaper.
"""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.message import Message

from criadapt.cri.v1 import api_pb2 as pb

Answer = Message | bytes


def generic_handler(service: str, servicer: object) -> grpc.GenericRpcHandler:
    """Handler of all RPCs of `service` (``RuntimeService``, ``ImageService``); the servicer must have every one."""
    descriptor = pb.DESCRIPTOR.services_by_name[service]
    handlers: dict[str, Any] = {}
    for method in descriptor.methods:
        make = grpc.unary_stream_rpc_method_handler if method.server_streaming else grpc.unary_unary_rpc_method_handler
        handlers[method.name] = make(
            getattr(servicer, method.name),
            request_deserializer=getattr(pb, method.input_type.name).FromString,
            response_serializer=_serialize,
        )
    return grpc.method_handlers_generic_handler(descriptor.full_name, handlers)


def _serialize(answer: Answer) -> bytes:
    return answer if isinstance(answer, bytes) else answer.SerializeToString()
