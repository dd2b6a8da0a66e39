"""Exec, attach and port-forward requests that wait behind a one-time token for their streaming connection."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace

from criadapt.core.exec import Execs
from criadapt.errors import InvalidArgument, NotFound, ResourceExhausted


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecSession:
    """Run `args` in a container."""

    container_id: str
    args: tuple[str, ...]
    tty: bool
    stdin: bool
    stdout: bool
    stderr: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachSession:
    """Connect to a container's own streams."""

    container_id: str
    tty: bool
    stdin: bool
    stdout: bool
    stderr: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PortForwardSession:
    """Connect to ports inside a pod; an empty list leaves the choice to the connection."""

    sandbox_id: str
    ports: tuple[int, ...]


Session = ExecSession | AttachSession | PortForwardSession


class Sessions:
    """Requests by token. A token is random, works once and for a limited time, and at most so many may wait."""

    def __init__(
        self,
        *,
        execs: Execs,
        clock: Callable[[], float],
        ttl_seconds: float,
        max_pending: int,
        new_token: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        self._execs = execs
        self._clock = clock
        self._ttl = ttl_seconds
        self._max = max_pending
        self._new_token = new_token
        self._pending: dict[str, tuple[float, Session]] = {}
        self.base_url = ""
        """Scheme, host and port of the streaming server; set when it listens."""

    def exec(self, request: ExecSession) -> str:
        """URL at which the command can be run, once."""
        if not request.args or not request.args[0]:
            raise InvalidArgument("cmd is empty")
        _demand_streams(request)
        record = self._execs.running(request.container_id)
        return self._issue("exec", replace(request, container_id=record.id))

    def attach(self, request: AttachSession) -> str:
        """URL at which the container's streams can be had, once."""
        _demand_streams(request)
        record = self._execs.running(request.container_id)
        return self._issue("attach", replace(request, container_id=record.id))

    def port_forward(self, sandbox_id: str, ports: tuple[int, ...]) -> str:
        """URL at which the pod's ports can be reached, once."""
        for port in ports:
            if not 1 <= port <= 65535:
                raise InvalidArgument(f"port {port} is not within 1 and 65535")
        session = PortForwardSession(sandbox_id=self._execs.ready(sandbox_id).id, ports=ports)
        return self._issue("portforward", session)

    def redeem(self, token: str) -> Session:
        """The request behind a token, which is thereby used up. Raises NotFound for unknown, used and expired ones."""
        self._expire()
        entry = self._pending.pop(token, None)
        if entry is None:
            raise NotFound("this address is unknown, was used already, or has expired; ask the runtime for a new one")
        return entry[1]

    def _issue(self, kind: str, session: Session) -> str:
        self._expire()
        if len(self._pending) >= self._max:
            raise ResourceExhausted(f"{self._max} streaming requests are waiting to be connected to; try again later")
        token = self._new_token()
        self._pending[token] = (self._clock() + self._ttl, session)
        return f"{self.base_url}/{kind}/{token}"

    def _expire(self) -> None:
        now = self._clock()
        while self._pending:
            token = next(iter(self._pending))  # oldest first: all live equally long
            if self._pending[token][0] > now:
                return
            del self._pending[token]


def _demand_streams(request: ExecSession | AttachSession) -> None:
    if request.tty and request.stderr:
        raise InvalidArgument("tty and stderr exclude each other: a terminal has one output")
    if not (request.stdin or request.stdout or request.stderr):
        raise InvalidArgument("one of stdin, stdout, stderr must be set")
