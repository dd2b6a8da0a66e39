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

MAX_MESSAGE = 4096
"""Bytes of a status message: it travels percent-encoded in a header, and clients accept 8 KiB of those in all."""


def code_of(error: errors.CriadaptError) -> grpc.StatusCode:
    """The status code an error travels as."""
    for cls in type(error).__mro__:
        if cls in CODES:
            return CODES[cls]
    return grpc.StatusCode.UNKNOWN


def message_of(error: BaseException) -> str:
    """Text for the status, cut to what a header can hold."""
    text = str(error) or type(error).__name__
    size = 0
    for at, char in enumerate(text):
        size += 1 if " " <= char <= "~" and char != "%" else 3 * len(char.encode("utf-8", "replace"))
        if size > MAX_MESSAGE:
            return text[:at] + "..."
    return text
