"""What criadapt raises on purpose.

One class per cause, so that callers write ``except NotFound`` instead of comparing text. The gRPC code of each
class stands in one table, :mod:`criadapt.cri.status`; this module imports nothing and may be imported by all.

A message names the object in quotes and says what is wrong with it, and where there is one, what to do about it:
``container 'ab12' is exited; only a created container can be started``.
"""

from __future__ import annotations

import errno


class CriadaptError(Exception):
    """Base of every error criadapt raises on purpose.

    The client says in two attributes which call failed; elsewhere they are empty.
    """

    rpc: str = ""
    """The RPC that answered so, ``StopContainer``."""
    endpoint: str = ""
    """The endpoint that was asked, ``unix:///run/containerd/containerd.sock``."""


class InvalidArgument(CriadaptError):
    """The request itself is wrong, whatever the state of the runtime; the message names the field."""


class NotFound(CriadaptError):
    """The named object does not exist (any more)."""


class SandboxNotFound(NotFound):
    """No pod sandbox has this id."""

    def __init__(self, id: str) -> None:
        super().__init__(f"pod sandbox {_quoted(id)} not found")
        self.id = id


class ContainerNotFound(NotFound):
    """No container has this id."""

    def __init__(self, id: str) -> None:
        super().__init__(f"container {_quoted(id)} not found")
        self.id = id


class ImageNotFound(NotFound):
    """The image is not present locally."""

    def __init__(self, ref: str) -> None:
        super().__init__(f"image {_quoted(ref)} not found; pull it first")
        self.ref = ref


class AlreadyExists(CriadaptError):
    """The name is taken by another object."""


class FailedPrecondition(CriadaptError):
    """The object exists but its state forbids the call."""


class DeadlineExceeded(CriadaptError):
    """The work took longer than the caller allowed and was stopped."""


class Unavailable(CriadaptError):
    """The engine or a part of it cannot be reached now; the same call may succeed later."""


class ResourceExhausted(CriadaptError):
    """A limit was reached (pending streams, disk, message size)."""


class PermissionDenied(CriadaptError):
    """The caller, or criadapt itself, lacks a right."""


class Unsupported(CriadaptError):
    """This backend cannot do that; the message says which backend and what."""


class EngineError(CriadaptError):
    """The engine failed in a way that none of the other classes describes."""


class PrefixedError(EngineError):
    """An error whose message must begin with a word that kubelet looks for (cri-api, pkg/errors).

    It travels as gRPC UNKNOWN: the Go client strips the status decoration only for that code.
    """

    prefix = ""

    def __init__(self, message: str) -> None:
        super().__init__(f"{self.prefix}: {message}" if self.prefix else message)


class PullFailed(PrefixedError):
    """The image could not be pulled."""


class RegistryUnavailable(PullFailed):
    """The registry could not be reached."""

    prefix = "RegistryUnavailable"


class SignatureValidationFailed(PullFailed):
    """The image's signature was refused."""

    prefix = "SignatureValidationFailed"


class RecursiveReadOnlyUnsupported(PrefixedError):
    """A recursive read-only mount was asked for and kernel, engine or source cannot do it."""

    prefix = "RROUnsupported"


class ImageVolumeMountFailed(PrefixedError):
    """An image volume (or the sub path inside it) could not be mounted."""

    prefix = "ImageVolumeMountFailed"


class StartFailed(EngineError):
    """The container's process could not be started; the container becomes EXITED with reason StartError."""

    def __init__(self, message: str, *, exit_code: int = 128) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def storage_failed(what: str, error: OSError) -> CriadaptError:
    """The error for a file of ours that could not be written: `what` begins the message."""
    reason = f"{what}: {error.strerror or error}"
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE)
    return ResourceExhausted(reason) if full else EngineError(reason)


def _quoted(text: str) -> str:
    """Quote `text` for a message, cut to 80 characters so that a hostile id cannot fill a log line."""
    return repr(text if len(text) <= 80 else text[:77] + "...")
