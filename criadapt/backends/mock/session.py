"""The two ways into a running machine: exec'd processes, and attachments to the first one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from criadapt.backends.base import Chunk, ExecSpec, Process
from criadapt.backends.mock.outlet import Listener, Outlet
from criadapt.backends.mock.programs.context import run_exec
from criadapt.backends.mock.stdio import standard_streams
from criadapt.backends.mock.streams import BUFFER, Pipe
from criadapt.backends.mock.tty import Tty

if TYPE_CHECKING:
    from criadapt.backends.mock.machine import Machine

_AHEAD = 4 * BUFFER  # bytes that a process may be ahead of its reader


class Execution(Process):
    """A process that was exec'd; it and its children hold the streams."""

    def __init__(self, machine: Machine, spec: ExecSpec) -> None:
        self._machine = machine
        self._outlet = Outlet(_AHEAD, live=True)
        standard = standard_streams(
            self._outlet, tty=spec.tty, stdin=spec.stdin, signal=self._signal, on_close=self._stream_closed
        )
        self._open = standard.closings  # streams that some process still holds
        self._tty, self._stdin = standard.tty, standard.stdin
        env = machine.environment()
        if spec.tty:
            env.setdefault("TERM", "xterm")
        self._proc = machine.spawn(
            None, run_exec, spec.args, fds=standard.fds, env=env, at_ns=machine.scheduler.wall.now()
        )
        self._has_stdin = spec.stdin

    def output(self) -> AsyncIterator[Chunk]:
        """What it writes."""
        return self._outlet.chunks()

    async def write(self, data: bytes) -> None:
        """Feed its stdin."""
        if not self._has_stdin or self._proc.status is not None:
            return
        if self._tty is not None:
            await self._tty.type(data, self._machine.scheduler.wall.now)
        elif self._stdin is not None:
            await self._stdin.feed(data, self._machine.scheduler.wall.now)

    async def close_stdin(self) -> None:
        """End its stdin."""
        if self._tty is not None and self._has_stdin:
            self._tty.hang_up()
        elif self._stdin is not None and self._stdin.writers:
            self._stdin.drop_writer()

    async def resize(self, width: int, height: int) -> None:
        """Tell its terminal the size of the window."""
        if self._tty is not None:
            self._tty.resize(width, height)

    async def kill(self) -> None:
        """End it and its descendants, orphaned ones included."""
        for proc in list(self._machine.procs.values()):
            if proc.leader is self._proc:
                proc.kill()

    async def wait(self) -> int:
        """Its exit code."""
        return await self._proc.result()

    async def close(self) -> None:
        """Let go of the streams: it reads the end, and its output goes nowhere."""
        self._outlet.abandon()
        await self.close_stdin()

    def _signal(self, number: int) -> None:
        for proc in list(self._machine.procs.values()):
            if proc.leader is self._proc:
                proc.deliver(number)

    def _stream_closed(self) -> None:
        self._open -= 1
        if self._open == 0:
            self._outlet.end()


class Attachment(Process):
    """One of any number of connections to the first process."""

    def __init__(self, machine: Machine, listener: Listener, stdin: Tty | Pipe | None) -> None:
        self._machine = machine
        self._listener = listener
        self._stdin = stdin
        self._closed = False

    def output(self) -> AsyncIterator[Chunk]:
        """What the container writes from now on. Reading it too slowly holds the container back."""
        return self._listener.chunks()

    async def write(self, data: bytes) -> None:
        """Feed the container's stdin."""
        if isinstance(self._stdin, Tty):
            await self._stdin.type(data, self._machine.scheduler.wall.now)
        elif self._stdin is not None:
            await self._stdin.feed(data, self._machine.scheduler.wall.now)

    async def close_stdin(self) -> None:
        """End this session's input; the container's stdin stays open unless it is for one session only, or a tty."""
        if self._stdin is not None and self._machine.spec.stdin_once and not self._machine.spec.tty:
            self._machine.close_stdin()
        self._stdin = None

    async def resize(self, width: int, height: int) -> None:
        """Tell the container's terminal the size of the window."""
        if self._machine.tty is not None:
            self._machine.tty.resize(width, height)

    async def kill(self) -> None:
        """Cut the connection; the container lives on."""
        await self.close()

    async def wait(self) -> int:
        """The container's exit code."""
        first = self._machine.first
        assert first is not None, "nobody attaches before start"
        return await first.result()

    async def close(self) -> None:
        """Stop listening, and end the input."""
        if not self._closed:
            self._closed = True
            self._listener.close()
            await self.close_stdin()
