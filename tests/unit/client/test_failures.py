"""What gRPC raises becomes the class that the server's side of the table has for it."""

from __future__ import annotations

import grpc
import pytest

from criadapt import errors
from criadapt.client.failures import PREFIXED, broken, failure
from criadapt.cri.status import CODES

WHERE = "unix:///run/x.sock"


class Failed(grpc.RpcError):
    """A failed call as gRPC raises it."""

    def __init__(self, code: grpc.StatusCode, details: str | None) -> None:
        self._code, self._details = code, details

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str | None:
        return self._details


def told(code: grpc.StatusCode, details: str | None, rpc: str = "StopContainer") -> errors.CriadaptError:
    return failure(Failed(code, details), rpc, WHERE, 10.0)


@pytest.mark.parametrize(("cls", "code"), CODES.items())
def test_the_table_is_read_backwards(cls: type[errors.CriadaptError], code: grpc.StatusCode) -> None:
    error = told(code, "the runtime's own words")
    assert type(error) is cls
    assert "the runtime's own words" in str(error)
    assert (error.rpc, error.endpoint) == ("StopContainer", WHERE)


@pytest.mark.parametrize(
    ("code", "cls"),
    [
        (grpc.StatusCode.INTERNAL, errors.EngineError),
        (grpc.StatusCode.DATA_LOSS, errors.EngineError),
        (grpc.StatusCode.ABORTED, errors.FailedPrecondition),
        (grpc.StatusCode.OUT_OF_RANGE, errors.InvalidArgument),
        (grpc.StatusCode.UNAUTHENTICATED, errors.PermissionDenied),
        (grpc.StatusCode.CANCELLED, errors.Unavailable),
    ],
)
def test_codes_that_we_never_send(code: grpc.StatusCode, cls: type) -> None:
    assert type(told(code, "x")) is cls


@pytest.mark.parametrize("cls", PREFIXED)
@pytest.mark.parametrize("code", [grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE])
def test_kubelets_words_are_classes(cls: type[errors.PrefixedError], code: grpc.StatusCode) -> None:
    error = told(code, f"{cls.prefix}: failed to connect to example: no route")
    assert type(error) is cls
    assert str(error) == f"{cls.prefix}: failed to connect to example: no route"
    assert str(told(code, cls.prefix)) == f"{cls.prefix}: no reason given"
    assert type(told(grpc.StatusCode.UNKNOWN, f"x {cls.prefix}: y")) is errors.EngineError


@pytest.mark.parametrize(
    "details",
    [
        "failed to inspect: Error response from daemon: No such container: ab12",
        "Error: No such image: busybox",
        'could not find container "ab12"',
        "container with ID starting with ab12 not found: ID does not exist",
        "sandbox ab12 not found",
    ],
)
def test_not_found_without_a_code_of_its_own(details: str) -> None:
    assert type(told(grpc.StatusCode.UNKNOWN, details)) is errors.NotFound


def test_other_words_of_unknown() -> None:
    assert type(told(grpc.StatusCode.UNKNOWN, "exec: command not found")) is errors.EngineError
    assert type(told(grpc.StatusCode.UNKNOWN, "GetContainerEvents not implemented")) is errors.Unsupported
    assert type(told(grpc.StatusCode.UNKNOWN, "server is not initialized yet")) is errors.Unavailable


def test_a_failure_without_words_names_itself() -> None:
    assert str(told(grpc.StatusCode.INTERNAL, None)) == "StopContainer failed with INTERNAL, without words"


def test_our_own_deadline_is_told_with_its_seconds() -> None:
    error = told(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
    assert str(error) == f"StopContainer: {WHERE} did not answer within 10 s"
    theirs = told(grpc.StatusCode.DEADLINE_EXCEEDED, "command took longer than 3 s")
    assert str(theirs) == "command took longer than 3 s"
    endless = failure(Failed(grpc.StatusCode.DEADLINE_EXCEEDED, ""), "Exec", WHERE)
    assert str(endless) == f"Exec: {WHERE} did not answer in time"


@pytest.mark.parametrize(
    "details",
    [
        "failed to connect to all addresses; last error: UNKNOWN: unix:/x: connect failed",
        "Socket closed",
        "Stream removed (Socket closed)",
        "recvmsg:Connection reset by peer",
        "Broken pipe",
        "GOAWAY received",
    ],
)
def test_a_lost_connection_is_nobodys_answer(details: str) -> None:
    error = Failed(grpc.StatusCode.UNAVAILABLE, details)
    assert broken(error)
    assert str(failure(error, "Version", WHERE)) == f"Version: {WHERE} cannot be reached: {details}"
    assert not broken(Failed(grpc.StatusCode.UNKNOWN, details))
    assert not broken(Failed(grpc.StatusCode.UNAVAILABLE, "the engine is away"))
    assert not broken(Failed(grpc.StatusCode.UNAVAILABLE, None))
