"""Error class ↔ gRPC status code: one table, read in both directions.

A subclass has its parent's code. What is not ours is INTERNAL and logged with its traceback.
"""

from __future__ import annotations

from collections.abc import Mapping

import grpc

from criadapt import errors

CODES: Mapping[type[errors.CriadaptError], grpc.StatusCode] = {
    errors.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.Unsupported: grpc.StatusCode.UNIMPLEMENTED,
    # Kubelet looks for words at the beginning of these messages, and the Go client uncovers them for UNKNOWN only.
    errors.EngineError: grpc.StatusCode.UNKNOWN,
}

MAX_MESSAGE = 2048
"""Characters of a status message: it travels in a header, and clients accept 8 KiB of those in all."""


def code_of(error: errors.CriadaptError) -> grpc.StatusCode:
    """The status code an error travels as."""
    for cls in type(error).__mro__:
        if cls in CODES:
            return CODES[cls]
    return grpc.StatusCode.UNKNOWN


def message_of(error: BaseException) -> str:
    """Text for the status, cut to what a header can hold."""
    text = str(error) or type(error).__name__
    return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 1] + "…"
