"""Every error has its code, and its message fits the header it travels in."""

from __future__ import annotations

from urllib.parse import quote

import grpc
import pytest

from criadapt import errors
from criadapt.cri.status import CODES, code_of, message_of
from criadapt.errors import CriadaptError

ALL = sorted(
    (value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, CriadaptError)),
    key=lambda cls: cls.__name__,
)
EXPECTED = {
    "AlreadyExists": "ALREADY_EXISTS",
    "ContainerNotFound": "NOT_FOUND",
    "CriadaptError": "UNKNOWN",
    "DeadlineExceeded": "DEADLINE_EXCEEDED",
    "EngineError": "UNKNOWN",
    "FailedPrecondition": "FAILED_PRECONDITION",
    "ImageNotFound": "NOT_FOUND",
    "ImageVolumeMountFailed": "UNKNOWN",
    "InvalidArgument": "INVALID_ARGUMENT",
    "NotFound": "NOT_FOUND",
    "PermissionDenied": "PERMISSION_DENIED",
    "PrefixedError": "UNKNOWN",
    "PullFailed": "UNKNOWN",
    "RecursiveReadOnlyUnsupported": "UNKNOWN",
    "RegistryUnavailable": "UNKNOWN",
    "ResourceExhausted": "RESOURCE_EXHAUSTED",
    "SandboxNotFound": "NOT_FOUND",
    "SignatureValidationFailed": "UNKNOWN",
    "StartFailed": "UNKNOWN",
    "Unavailable": "UNAVAILABLE",
    "Unsupported": "UNIMPLEMENTED",
}


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_every_error_has_its_code(cls: type[CriadaptError]) -> None:
    assert code_of(cls("x")).name == EXPECTED[cls.__name__]


def test_a_subclass_somebody_else_made_has_its_parents_code() -> None:
    class Mine(errors.ContainerNotFound):
        pass

    assert code_of(Mine("x")) is grpc.StatusCode.NOT_FOUND


def test_every_class_but_the_root_has_a_row_or_a_parent_with_one() -> None:
    for cls in ALL:
        assert cls is CriadaptError or set(cls.__mro__) & set(CODES)


def test_a_code_leads_back_to_one_class() -> None:
    assert len(set(CODES.values())) == len(CODES)


@pytest.mark.parametrize(
    ("cls", "word"),
    [
        (errors.RegistryUnavailable, "RegistryUnavailable"),
        (errors.SignatureValidationFailed, "SignatureValidationFailed"),
        (errors.RecursiveReadOnlyUnsupported, "RROUnsupported"),
        (errors.ImageVolumeMountFailed, "ImageVolumeMountFailed"),
    ],
)
def test_kubelet_finds_its_word_at_the_beginning_of_an_unknown_error(cls: type[CriadaptError], word: str) -> None:
    error = cls("details")
    assert code_of(error) is grpc.StatusCode.UNKNOWN
    assert message_of(error) == f"{word}: details"


def test_a_plain_pull_failure_has_no_prefix() -> None:
    assert message_of(errors.PullFailed("manifest unknown")) == "manifest unknown"


@pytest.mark.parametrize(("size", "cut"), [(0, False), (4096, False), (4097, True), (1_000_000, True)])
def test_a_long_message_is_cut(size: int, cut: bool) -> None:
    message = message_of(errors.EngineError("x" * size))
    assert len(message) <= 4096 + len("...")
    assert message.endswith("...") is cut


def test_an_error_without_words_is_named() -> None:
    assert message_of(KeyError()) == "KeyError"
    assert message_of(errors.Unavailable()) == "Unavailable"


def test_a_hostile_id_does_not_fill_the_message() -> None:
    for cls in (errors.SandboxNotFound, errors.ContainerNotFound, errors.ImageNotFound):
        assert len(str(cls("x" * 100_000))) < 200


def test_not_found_errors_know_what_was_not_found() -> None:
    assert errors.SandboxNotFound("s1").id == "s1"
    assert errors.ContainerNotFound("c1").id == "c1"
    assert errors.ImageNotFound("busybox").ref == "busybox"


def test_a_cut_message_fits_the_header_whatever_its_letters() -> None:
    message = message_of(errors.EngineError("ошибка" * 1000))
    assert len(quote(message, safe=" ")) <= 8192
