"""How a remote command ended, as the error stream tells it.

Protocol v4 and later send a Kubernetes Status object, always; earlier ones send text, and only on failure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import msgspec

from criadapt.remote.protocols import Version

NON_ZERO: Final = "NonZeroExitCode"
EXIT_CODE: Final = "ExitCode"
_CODES: Final = frozenset(map(str, range(1, 256)))  # of a failure, as clients read them


@dataclass(frozen=True, slots=True)
class Outcome:
    """An exit code, or, where the command could not be run to its end, a message and no code."""

    exit_code: int | None
    message: str = ""


@dataclass(frozen=True, slots=True)
class _Cause:
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class _Details:
    causes: tuple[_Cause, ...] = ()


@dataclass(frozen=True, slots=True)
class _Status:
    status: str
    message: str = ""
    reason: str = ""
    details: _Details = field(default_factory=_Details)


def encode(version: Version, outcome: Outcome) -> bytes:
    """What to send on the error stream."""
    if outcome.exit_code == 0:
        return b'{"metadata":{},"status":"Success"}' if version.json else b""
    if outcome.exit_code is None:
        message = outcome.message or "unknown error"
        answer = {"status": "Failure", "message": message, "reason": "InternalError", "code": 500}
    else:
        message = f"command terminated with non-zero exit code: exit code {outcome.exit_code}"
        # Clients read the code as eight unsigned bits, and a failure must not look like success there.
        cause = {"reason": EXIT_CODE, "message": str(outcome.exit_code & 0xFF or 0xFF)}
        answer = {"status": "Failure", "message": message, "reason": NON_ZERO, "details": {"causes": [cause]}}
    return msgspec.json.encode({"metadata": {}, **answer}) if version.json else message.encode()


def decode(version: Version, data: bytes) -> Outcome:
    """What the error stream said, read to its end.

    Nothing at all means success before v4; since v4 it means that the connection broke before the command ended.
    """
    if not version.json:
        return Outcome(None, data.decode("utf-8", "replace")) if data else Outcome(0)
    if not data:
        return Outcome(None, "the connection was lost before the command ended")
    try:
        status = msgspec.json.decode(data, type=_Status)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Outcome(None, f"the server sent no valid status: {data[:200].decode('utf-8', 'replace')}")
    if status.status == "Success":
        return Outcome(0)
    if status.reason == NON_ZERO:
        for cause in status.details.causes:
            if cause.reason == EXIT_CODE and cause.message in _CODES:
                return Outcome(int(cause.message), status.message)
    return Outcome(None, status.message or "the server gave no reason")
