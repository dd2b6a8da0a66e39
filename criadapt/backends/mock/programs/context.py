"""What a program of the mock can do: its arguments, streams, files, time, memory and signals.

A program is ``async def main(ctx: Context) -> int``. It awaits nothing but methods of its context (anything else goes
through :meth:`Context.outside`), takes the time from :attr:`Context.now_ns` and random numbers from
:meth:`Context.random`; then it behaves the same in every life of its container.
"""

from __future__ import annotations

import asyncio
import getopt
import random
import re
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from criadapt.backends.mock.clock import Clock
from criadapt.backends.mock.files import View
from criadapt.backends.mock.lookup import CannotRun
from criadapt.backends.mock.process import SIGINT, SIGTERM, Body, Exited, Proc
from criadapt.backends.mock.programs.io import Streams
from criadapt.backends.mock.sockets import Listeners, Service
from criadapt.backends.mock.streams import Stream
from criadapt.model.linux import LinuxContainerUser

if TYPE_CHECKING:
    from criadapt.backends.mock.machine import Machine

T = TypeVar("T")
_SPAWN_NS = 500_000  # time that making a process takes


class UsageError(Exception):
    """The program was called with what it does not understand; it says so and exits with `status`."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


class Context(Streams):
    """A running program's view of its container."""

    __slots__ = ("args",)

    def __init__(self, proc: Proc, name: str, args: Sequence[str]) -> None:
        super().__init__(proc, name)
        self.args = list(args)
        """Its arguments, without its name."""

    # ------------------------------------------------------------------ who and where

    @property
    def machine(self) -> Machine:
        """The container."""
        return self.proc.machine

    @property
    def env(self) -> dict[str, str]:
        """Environment; changes are its own."""
        return self.proc.env

    @property
    def cwd(self) -> str:
        """Working directory."""
        return self.proc.cwd

    @property
    def user(self) -> LinuxContainerUser:
        """Whose rights it has."""
        return self.proc.user

    @property
    def files(self) -> View:
        """The container's files."""
        return self.proc.files

    @property
    def clock(self) -> Clock:
        """Its time."""
        return self.proc.clock

    @property
    def now_ns(self) -> int:
        """Its time in nanoseconds since the epoch."""
        return self.proc.clock.now_ns

    @property
    def wall_ns(self) -> int:
        """The real time, for services that answer the outside."""
        return self.machine.scheduler.wall.now()

    def random(self) -> random.Random:
        """Numbers that are the same in every life of the container."""
        return self.machine.random(str(self.proc.number))

    # ------------------------------------------------------------------ arguments

    def options(
        self, short: str, long: Sequence[str] = (), *, anywhere: bool = True, args: Sequence[str] | None = None
    ) -> tuple[dict[str, str], list[str]]:
        """Options and the other arguments, in getopt's notation. Keys are without dashes. Raises UsageError."""
        parse = getopt.gnu_getopt if anywhere else getopt.getopt
        try:
            found, rest = parse(list(self.args if args is None else args), short, list(long))
        except getopt.GetoptError as error:
            raise UsageError(f"unrecognized option: {error.opt}") from None
        return {key.lstrip("-"): value for key, value in found}, rest

    def usage(self, message: str, status: int = 1) -> NoReturn:
        """Refuse the arguments."""
        raise UsageError(message, status)

    # ------------------------------------------------------------------ time, memory, signals

    async def sleep(self, seconds: float) -> None:
        """Let time pass; forever for infinity."""
        await self.flush()
        await self.clock.sleep(seconds)

    async def burn(self, seconds: float) -> None:
        """Use a processor for so long."""
        await self.flush()
        self.clock.busy_ns += round(seconds * 1e9)
        await self.clock.sleep(seconds)

    async def allocate(self, size: int) -> None:
        """Hold `size` more bytes of memory (fewer, if negative); beyond the container's limit that is deadly."""
        await self.flush()
        self.proc.memory = max(0, self.proc.memory + size)
        self.machine.check_memory()
        await asyncio.sleep(0)  # where a killed process ends

    def on_signal(self, number: int, handler: Callable[[int], None] | None) -> None:
        """Call `handler` for a signal; None for what happens by default."""
        self.proc.handle(number, handler)

    async def wait_signal(self, *numbers: int) -> int:
        """Idle until one of the signals (SIGTERM and SIGINT if none is named) comes; costs nothing meanwhile."""
        await self.flush()
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def notice(number: int) -> None:
            if not future.done():
                future.set_result(number)

        for number in numbers or (SIGTERM, SIGINT):
            self.proc.handle(number, notice)
        number = await self.clock.wait(future)
        self.clock.reach_present()
        return number

    def listen(self, port: int, service: Service) -> bool:
        """Serve a TCP port of the pod; False if it is taken."""
        if self.machine.listeners is None:
            self.machine.listeners = Listeners(self.machine.entrance)
        return self.machine.listeners.listen(self.proc, port, service)

    def image_numbers(self, folder: str, pattern: str) -> list[int]:
        """Numbers that a pattern finds in the image's files below a folder, such as ports in a configuration."""
        found = []
        for path, content in self.machine.image.items():
            if path.startswith(folder):
                found += re.findall(pattern, content.decode(errors="replace"), re.MULTILINE)
        return sorted({int(number) for number in found})

    async def outside(self, awaitable: Awaitable[T]) -> T:
        """Wait for something real, such as a network connection. It happens in real time and is not replayed."""
        await self.flush()
        result = await self.clock.wait(asyncio.ensure_future(awaitable))
        self.clock.reach_present()
        return result

    # ------------------------------------------------------------------ other programs

    async def run(self, args: Sequence[str], fds: dict[int, Stream] | None = None) -> int:
        """Run a command as a child and wait for it."""
        await self.flush()
        return await (await self.spawn(args, fds)).result(self.clock)

    async def spawn(self, args: Sequence[str], fds: dict[int, Stream] | None = None) -> Proc:
        """Run a command as a child. Complains and ends with 127 or 126 inside the child if there is none."""

        async def body(proc: Proc) -> int:
            return await execute(proc, args, complain=lambda name, problem: f"{self.name}: {name}: {problem.reason}")

        return await self.fork(body, args, fds)

    async def fork(self, body: Body, args: Sequence[str], fds: dict[int, Stream] | None = None) -> Proc:
        """Make a child that runs `body`."""
        await self.clock.work(_SPAWN_NS)
        return self.machine.spawn(
            self.proc,
            body,
            tuple(args),
            fds=dict(self.proc.fds if fds is None else fds),
            env=dict(self.env),
            cwd=self.cwd,
            user=self.user,
            at_ns=self.now_ns,
        )

    async def replace(self, args: Sequence[str]) -> int:
        """Become another program: exec(3). Raises CannotRun."""
        await self.flush()
        self.proc.become(self.env)
        return await execute(self.proc, args)


Words = Callable[[str, CannotRun], str]  # how somebody complains that a command cannot run


def execute(
    proc: Proc, args: Sequence[str], *, complain: Words | None = None, first: bool = False
) -> Coroutine[Any, Any, int]:
    """Run a command in `proc`. Raises CannotRun, at once, if there is none and nobody is to complain.

    This is no coroutine itself: thousands of idle programs would each keep its frame.
    """
    machine = proc.machine
    try:
        found = machine.find(args[0], proc, proc.search_path, machine.unknown_command if first else "fail")
    except CannotRun as problem:
        if complain is None:
            raise
        return _refuse(proc, complain(args[0], problem), problem.status)
    if found.prefix:
        args = (*found.prefix, *args[1:])
    proc.args = tuple(args)
    proc.name = args[0].rpartition("/")[2]
    return run_main(found.main, Context(proc, proc.name, args[1:]))


async def _refuse(proc: Proc, message: str, status: int) -> int:
    if 2 in proc.fds:
        await proc.fds[2].write(f"{message}\n".encode(errors="surrogateescape"), proc.clock)
    return status


async def run_main(main: Callable[[Context], Awaitable[int]], ctx: Context) -> int:
    """Run a program to its end: its complaints become text, its output leaves."""
    try:
        status = await main(ctx)
    except UsageError as error:
        ctx.error(str(error))
        status = error.status
    except BrokenPipeError:
        raise
    except OSError as error:
        ctx.error(f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror))
        status = 1
    except Exited as exited:
        status = exited.status
    await ctx.flush()
    return status


def _for_runtime(name: str, problem: CannotRun) -> str:
    return problem.for_runtime(name)


def run_first(proc: Proc) -> Coroutine[Any, Any, int]:
    """What a container's first process does."""
    return execute(proc, proc.args, complain=_for_runtime, first=True)


def run_exec(proc: Proc) -> Coroutine[Any, Any, int]:
    """What an exec'd process does."""
    return execute(proc, proc.args, complain=_for_runtime)
