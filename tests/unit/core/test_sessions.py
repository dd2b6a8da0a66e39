"""Streaming requests behind their one-time tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from criadapt.core.exec import Execs
from criadapt.core.sessions import AttachSession, ExecSession, PortForwardSession, Sessions
from criadapt.core.store import Store
from criadapt.errors import (
    ContainerNotFound,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    SandboxNotFound,
)
from criadapt.journal import Journal
from criadapt.testing.factories import START, FakeEngine, container_record, sandbox_record


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(tmp_path: Path, clock: Clock) -> Iterator[Sessions]:
    with closing(Journal(tmp_path / "j")) as journal:
        store = Store(journal)
        store.put_sandbox(sandbox_record("pod-ready"))
        store.put_sandbox(sandbox_record("stopped-pod", stopped_at=START))
        store.put_container(container_record("running-1", started_at=START))
        store.put_container(container_record("created-1"))
        store.put_container(container_record("exited-1", started_at=START, finished_at=START))
        numbers = count()
        sessions = Sessions(
            execs=Execs(store, FakeEngine(), 1.0),
            clock=clock,
            ttl_seconds=60,
            max_pending=3,
            new_token=lambda: f"t{next(numbers)}",
        )
        sessions.base_url = "http://127.0.0.1:1234"
        yield sessions


def exec_request(id: str = "running-1", **fields: Any) -> ExecSession:
    given = {"args": ("sh",), "tty": False, "stdin": False, "stdout": True, "stderr": True}
    return ExecSession(container_id=id, **{**given, **fields})


def attach_request(id: str = "running-1", **fields: Any) -> AttachSession:
    given = {"tty": False, "stdin": False, "stdout": True, "stderr": True}
    return AttachSession(container_id=id, **{**given, **fields})


def test_a_request_comes_back_for_its_token_with_full_ids(sessions: Sessions) -> None:
    urls = [
        sessions.exec(exec_request("run")),
        sessions.attach(attach_request("run")),
        sessions.port_forward("pod", (80,)),
    ]
    assert urls == [f"http://127.0.0.1:1234/{kind}/t{n}" for n, kind in enumerate(("exec", "attach", "portforward"))]
    assert [sessions.redeem(f"t{n}") for n in range(3)] == [
        exec_request("running-1"),
        attach_request("running-1"),
        PortForwardSession(sandbox_id="pod-ready", ports=(80,)),
    ]


def test_a_token_works_once(sessions: Sessions) -> None:
    sessions.exec(exec_request())
    sessions.redeem("t0")
    with pytest.raises(NotFound, match="used already"):
        sessions.redeem("t0")


@pytest.mark.parametrize("token", ["", "t1", "T0", "t0/"])
def test_an_unknown_token_is_not_found(sessions: Sessions, token: str) -> None:
    sessions.exec(exec_request())
    with pytest.raises(NotFound):
        sessions.redeem(token)


@pytest.mark.parametrize(("waited", "works"), [(0.0, True), (59.9, True), (60.0, False), (61.0, False)])
def test_a_token_expires(sessions: Sessions, clock: Clock, waited: float, works: bool) -> None:
    sessions.exec(exec_request())
    clock.now += waited
    if works:
        assert sessions.redeem("t0") == exec_request()
    else:
        with pytest.raises(NotFound, match="has expired"):
            sessions.redeem("t0")


def test_only_so_many_may_wait(sessions: Sessions, clock: Clock) -> None:
    for _ in range(3):
        sessions.exec(exec_request())
    with pytest.raises(ResourceExhausted, match="3 streaming requests are waiting"):
        sessions.exec(exec_request())
    sessions.redeem("t1")
    sessions.exec(exec_request())  # a used one makes room
    clock.now += 60
    sessions.exec(exec_request())  # and so do expired ones


def test_tokens_cannot_be_guessed(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "j")) as journal:
        store = Store(journal)
        store.put_sandbox(sandbox_record())
        sessions = Sessions(execs=Execs(store, FakeEngine(), 1), clock=lambda: 0.0, ttl_seconds=60, max_pending=100)
        tokens = {sessions.port_forward("s1", ()).rpartition("/")[2] for _ in range(50)}
    assert len(tokens) == 50
    assert all(len(token) == 32 and token.isalnum() for token in tokens)


@pytest.mark.parametrize(
    ("ask", "error", "text"),
    [
        (lambda s: s.exec(exec_request(args=())), InvalidArgument, "cmd is empty"),
        (lambda s: s.exec(exec_request(args=("",))), InvalidArgument, "cmd is empty"),
        (lambda s: s.exec(exec_request(tty=True)), InvalidArgument, "tty and stderr"),
        (lambda s: s.attach(attach_request(tty=True)), InvalidArgument, "tty and stderr"),
        (lambda s: s.exec(exec_request(stdout=False, stderr=False)), InvalidArgument, "one of stdin, stdout, stderr"),
        (lambda s: s.attach(attach_request(stdout=False, stderr=False)), InvalidArgument, "one of stdin"),
        (lambda s: s.exec(exec_request("")), InvalidArgument, "container_id is empty"),
        (lambda s: s.exec(exec_request("nope")), ContainerNotFound, "nope"),
        (lambda s: s.attach(attach_request("nope")), ContainerNotFound, "nope"),
        (lambda s: s.exec(exec_request("created-1")), FailedPrecondition, "is created, not running"),
        (lambda s: s.attach(attach_request("exited-1")), FailedPrecondition, "is exited, not running"),
        (lambda s: s.port_forward("nope", ()), SandboxNotFound, "nope"),
        (lambda s: s.port_forward("stopped-pod", ()), FailedPrecondition, "is not ready"),
        (lambda s: s.port_forward("pod-ready", (0,)), InvalidArgument, "port 0"),
        (lambda s: s.port_forward("pod-ready", (80, 65536)), InvalidArgument, "port 65536"),
    ],
    ids=[str(n) for n in range(15)],
)
def test_what_cannot_be_streamed_is_refused_and_takes_no_place(
    sessions: Sessions, ask: Callable[[Sessions], str], error: type[Exception], text: str
) -> None:
    for _ in range(4):
        with pytest.raises(error, match=text):
            ask(sessions)
    assert sessions.exec(exec_request()).endswith("/t0")


@pytest.mark.parametrize("streams", [{"stdin": True, "stdout": False, "stderr": False}, {"tty": True, "stderr": False}])
def test_any_sensible_set_of_streams_is_fine(sessions: Sessions, streams: dict[str, bool]) -> None:
    assert sessions.exec(exec_request(**streams))
    assert sessions.attach(attach_request(**streams))
