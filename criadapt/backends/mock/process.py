"""One process of a mock container."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextvars import Context as Variables
from typing import TYPE_CHECKING, Any

from criadapt.backends.mock.clock import Clock
from criadapt.backends.mock.files import View
from criadapt.backends.mock.lookup import DEFAULT_PATH, search_path
from criadapt.backends.mock.streams import Bell, Stream
from criadapt.model.linux import LinuxContainerUser

if TYPE_CHECKING:
    from criadapt.backends.mock.machine import Machine

log = logging.getLogger(__name__)

SIGHUP, SIGINT, SIGKILL, SIGPIPE, SIGTERM, SIGCHLD = 1, 2, 9, 13, 15, 17
# What a process ignores by default. Stopping is not simulated, so the signals for it belong here too.
_HARMLESS = frozenset((SIGCHLD, 18, 19, 20, 21, 22, 23, 28))
IGNORE: Callable[[int], None] = lambda number: None  # noqa: E731  (a marker that is also a handler)

Body = Callable[["Proc"], Coroutine[Any, Any, int]]


class Exited(Exception):
    """The process ends now with `status`."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Proc:
    """A process: an asyncio task with a clock, descriptors and signal handlers of its own."""

    __slots__ = (
        "_begun", "_body", "_env", "args", "clock", "cwd", "ended", "fds", "handlers", "killed", "leader", "load",
        "machine", "memory", "name", "news", "number", "parent", "started_ns", "status", "task", "user",
    )  # fmt: skip

    def __init__(
        self,
        machine: Machine,
        body: Body,
        args: tuple[str, ...],
        *,
        number: int,
        parent: Proc | None,
        fds: dict[int, Stream],
        env: dict[str, str] | None,
        cwd: str,
        user: LinuxContainerUser,
        at_ns: int,
    ) -> None:
        self.machine = machine
        self._begun = False
        self._body = body
        self.args = args
        self.name = args[0].rpartition("/")[2] if args else ""
        self.number = number
        self.parent = parent
        self.leader: Proc = parent.leader if parent is not None else self
        self.fds = fds
        for stream in fds.values():
            stream.retain()
        self._env = env
        self.cwd = cwd
        self.user = user
        self.clock = Clock(machine.scheduler, at_ns)
        self.started_ns = at_ns
        self.memory = 0
        self.load = 0
        """Thousandths of a processor that it uses while it seems to wait."""
        self.handlers: dict[int, Callable[[int], None]] | None = None
        self.killed = 0
        self.status: int | None = None
        self.ended = Bell()
        self.news: Bell | None = None
        """Rung when a child ends, if anybody wants to know."""
        self.task: asyncio.Task[None] | None = None
        if parent is not None and parent.handlers is not None:  # a child inherits what is ignored, nothing else
            self.handlers = {number: IGNORE for number, handler in parent.handlers.items() if handler is IGNORE}
        machine.scheduler.at(at_ns, self._launch)

    # ------------------------------------------------------------------ what it is

    @property
    def pid(self) -> int:
        """Its number in its own pid namespace."""
        return self.machine.pid_of(self.number)

    @property
    def parent_pid(self) -> int:
        """Number of its parent, which is the first process once the real one is gone."""
        if self.parent is None:
            return 0
        return self.parent.pid if self.parent.status is None else self.machine.pid_of(1)

    @property
    def env(self) -> dict[str, str]:
        """Its environment, to change freely."""
        if self._env is None:
            self._env = self.machine.environment()
        return self._env

    @property
    def search_path(self) -> str:
        """Where it looks for programs."""
        return search_path(self.machine.spec) if self._env is None else self._env.get("PATH", DEFAULT_PATH)

    @property
    def now_ns(self) -> int:
        """Its time."""
        return self.clock.now_ns

    @property
    def files(self) -> View:
        """The container's files as it sees them."""
        return View(self.machine.files, self)

    # ------------------------------------------------------------------ life

    def _launch(self) -> None:
        if self.status is None:
            self.machine.scheduler.enter()
            self.task = asyncio.get_running_loop().create_task(self._run(), context=Variables())

    async def _run(self) -> None:
        self._begun = True
        try:
            status = await self._body(self) if not self.killed else 0
            if self.parent is None:
                await self.clock.settle()  # nobody outside may see an end that lies in the future
            if self.killed:  # in its last breath, so that it came to its end before it noticed
                status = 128 + self.killed
        except Exited as exited:
            status = exited.status
        except asyncio.CancelledError:
            if not self.killed:
                self.machine.scheduler.leave()
                raise
            self.clock.reach_present()
            status = 128 + self.killed
        except BrokenPipeError:
            status = 128 + SIGPIPE
        except Exception:
            log.exception("bug in a program of the mock: %s", " ".join(self.args))
            status = 125
        self._finish(status)
        self.machine.scheduler.leave()

    def _finish(self, status: int) -> None:
        self.status = status
        for stream in self.fds.values():
            stream.release()
        self.fds = {}
        self.ended.ring()
        if self.parent is not None and self.parent.news is not None:
            self.parent.news.ring()
        self.machine.ended(self)

    async def result(self, waiter: Clock | None = None) -> int:
        """Its exit status, once it has ended; another process waits by its own clock."""
        while self.status is None:
            await self.ended.heard(waiter)
        if waiter is not None:
            waiter.reach(self.clock.now_ns)
        return self.status

    # ------------------------------------------------------------------ signals

    def deliver(self, number: int, *, outside: bool = False) -> None:
        """A signal arrives, from `outside` the pid namespace or from within.

        As the kernel has it, the first process of a pid namespace is immune to what it does not handle, except to a
        SIGKILL from outside.
        """
        if self.status is not None or number == 0:
            return
        handler = self.handlers.get(number) if self.handlers is not None else None
        immune = self.number == 1 and self.machine.own_pids
        if number == SIGKILL:
            if outside or not immune:
                self.kill()
        elif handler is not None:
            handler(number)
        elif number not in _HARMLESS and not immune:
            self.kill(number)

    def kill(self, number: int = SIGKILL) -> None:
        """End it, whatever it wants."""
        if self.status is not None or self.killed:
            return
        self.killed = number
        if self.task is None:
            self._finish(128 + number)
        elif self._begun:
            self.task.cancel()  # before its first step, a cancelled task would vanish without a trace

    def become(self, env: dict[str, str]) -> None:
        """Make ready for another program: its environment, and only ignored signals stay as they are."""
        self._env = env
        handlers = self.handlers or {}
        self.handlers = {number: IGNORE for number, handler in handlers.items() if handler is IGNORE}

    def handle(self, number: int, handler: Callable[[int], None] | None) -> None:
        """Set what a signal does; None for the default."""
        if self.handlers is None:
            self.handlers = {}
        if handler is None:
            self.handlers.pop(number, None)
        else:
            self.handlers[number] = handler
