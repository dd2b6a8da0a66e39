"""A failed gRPC call → the error class that :mod:`criadapt.cri.status` would have sent as its code.

A runtime's own message stays as it is; what the call was and whom it asked stands in ``error.rpc`` and
``error.endpoint``. Where no runtime spoke, because nothing listens or time ran out, the message is ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol, cast

import grpc

from criadapt import errors
from criadapt.cri.status import CODES
from criadapt.errors import CriadaptError

CLASSES: Mapping[grpc.StatusCode, type[CriadaptError]] = {
    **{code: cls for cls, code in CODES.items()},
    # Codes that criadapt never sends and others do.
    grpc.StatusCode.UNAUTHENTICATED: errors.PermissionDenied,
    grpc.StatusCode.OUT_OF_RANGE: errors.InvalidArgument,
    grpc.StatusCode.ABORTED: errors.FailedPrecondition,
    grpc.StatusCode.CANCELLED: errors.Unavailable,
}
"""Which class a code becomes; what is missing is an EngineError."""

PREFIXED: tuple[type[errors.PrefixedError], ...] = (
    errors.RegistryUnavailable,
    errors.SignatureValidationFailed,
    errors.RecursiveReadOnlyUnsupported,
    errors.ImageVolumeMountFailed,
)
"""Classes whose messages begin with a word of their own, whatever the code (cri-api, pkg/errors)."""

BROKEN = re.compile(
    r"failed to connect|socket closed|stream removed|connection (reset|refused|closed|aborted)|broken pipe|goaway|"
    r"endpoint closing|transport (closed|is closing)|recvmsg|sendmsg|connections to all backends failing|ping timeout",
    re.IGNORECASE,
)
"""What gRPC itself says when it has no connection, or lost it: nobody's answer."""

# cri-dockerd sends what dockerd said as UNKNOWN, and so did others before they had codes.
ABSENT = re.compile(
    r"no such (container|image|sandbox|pod)|(container|sandbox|image)\b[^:]* not found|does not exist|"
    r"could not find (container|pod|sandbox)",
    re.IGNORECASE,
)


# containerd has said so as UNKNOWN while it starts; other runtimes never generated the code of what they lack.
NOT_YET = re.compile(r"not initialized yet", re.IGNORECASE)
LACKING = re.compile(r"(not |un)implemented", re.IGNORECASE)


class Failed(Protocol):
    """What a :class:`grpc.RpcError` of either colour can tell."""

    def code(self) -> grpc.StatusCode: ...
    def details(self) -> str | None: ...


def broken(error: grpc.RpcError) -> bool:
    """Whether the connection failed, and not the call: the runtime has not answered."""
    failed = cast(Failed, error)
    return failed.code() is grpc.StatusCode.UNAVAILABLE and BROKEN.search(failed.details() or "") is not None


def is_broken(error: CriadaptError) -> bool:
    """Whether an error of ours comes of a connection that failed."""
    return isinstance(error.__cause__, grpc.RpcError) and broken(error.__cause__)


def failure(error: grpc.RpcError, rpc: str, endpoint: str, timeout: float | None = None) -> CriadaptError:
    """The error to raise for a failed call of `rpc` that had `timeout` seconds."""
    failed = cast(Failed, error)
    code, details = failed.code(), failed.details() or ""
    return at(_error(code, details, rpc, endpoint, timeout, broken(error)), rpc, endpoint)


def at(error: CriadaptError, rpc: str, endpoint: str) -> CriadaptError:
    """The error, with the call it belongs to."""
    error.rpc, error.endpoint = rpc, endpoint
    return error


def _error(
    code: grpc.StatusCode, details: str, rpc: str, endpoint: str, timeout: float | None, lost: bool
) -> CriadaptError:
    for prefixed in PREFIXED:
        head, colon, rest = details.partition(":")
        if head.strip() == prefixed.prefix:
            return prefixed(rest.strip() if colon else "no reason given")
    unknown = code is grpc.StatusCode.UNKNOWN
    if unknown and ABSENT.search(details):
        return errors.NotFound(details)
    if unknown and NOT_YET.search(details):
        return errors.Unavailable(details)
    if code is grpc.StatusCode.UNIMPLEMENTED or (unknown and LACKING.search(details)):
        return errors.Unsupported(f"{rpc}: the runtime at {endpoint} does not implement it ({details})")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED and details in ("", "Deadline Exceeded"):
        within = f" within {timeout:g} s" if timeout is not None else " in time"
        return errors.DeadlineExceeded(f"{rpc}: {endpoint} did not answer{within}")
    if lost:
        return errors.Unavailable(f"{rpc}: {endpoint} cannot be reached: {details}")
    return CLASSES.get(code, errors.EngineError)(details or f"{rpc} failed with {code.name}, without words")
