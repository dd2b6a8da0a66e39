"""What Docker Engine answers → :mod:`criadapt.errors`: by status first, by text where one status means many things."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import docker.errors
import requests.exceptions

from criadapt import errors
from criadapt.errors import CriadaptError

BY_STATUS: Mapping[int, type[CriadaptError]] = {
    400: errors.InvalidArgument,
    401: errors.PermissionDenied,
    403: errors.PermissionDenied,
    404: errors.NotFound,
    409: errors.FailedPrecondition,
    501: errors.Unsupported,
    503: errors.Unavailable,
}
"""What is missing is an EngineError."""

NAME_TAKEN = re.compile(r"name .* is already in use", re.IGNORECASE)


def by_status(status: int, message: str) -> CriadaptError:
    """The error for an answer of the engine."""
    if status == 409 and NAME_TAKEN.search(message):
        return errors.AlreadyExists(message)
    return BY_STATUS.get(status, errors.EngineError)(message)


@contextmanager
def translated() -> Iterator[None]:
    """Turns what the SDK raises inside into errors of ours."""
    try:
        yield
    except docker.errors.APIError as error:
        raise by_status(error.status_code or 500, error.explanation or str(error)) from error
    except requests.exceptions.Timeout as error:
        raise errors.Unavailable(f"Docker Engine does not answer: {error}") from error
    except (requests.exceptions.RequestException, docker.errors.DockerException, OSError) as error:
        raise errors.Unavailable(f"Docker Engine cannot be reached: {error}") from error
