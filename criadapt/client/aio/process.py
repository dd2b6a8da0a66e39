"""Commands in containers as objects, for exec and attach."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from types import TracebackType
from typing import Self

from criadapt.client.completed import Completed
from criadapt.errors import CriadaptError, EngineError, Unavailable
from criadapt.remote import resize, status
from criadapt.remote.aio.io import Worker
from criadapt.remote.aio.session import AsyncSession, AsyncStream
from criadapt.remote.mux import Buffer
from criadapt.remote.protocols import Version

MAX_STATUS = 64 * 1024  # bytes


class AsyncInput:
    """A command's standard input."""

    def __init__(self, stream: AsyncStream, *, can_end: bool) -> None:
        self._stream = stream
        self._can_end = can_end

    async def write(self, data: Buffer) -> None:
        """Write all of `data`; waits while the command does not read. Raises Unavailable when it has ended."""
        await self._stream.write(data)

    async def aclose(self) -> None:
        """End the input. Over WebSocket versions before 5 it ends with the connection only."""
        if self._can_end:
            await self._stream.end()


class AsyncOutput:
    """What a command writes to one stream, as bytes. Whoever does not read it holds the command up."""

    def __init__(self, stream: AsyncStream) -> None:
        self._stream = stream
        self._piece = b""
        self._at = 0  # where in the piece what was not taken yet begins

    async def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, as soon as there are some; all to the end if negative. Empty at the end."""
        if size >= 0:
            return self._take(self._at + size) if await self._some() else b""
        parts = []
        while await self._some():
            parts.append(self._take())
        return b"".join(parts)

    async def readline(self) -> bytes:
        """A line with its end; the last one may have none. Empty at the end."""
        parts = []
        while await self._some():
            end = self._piece.find(b"\n", self._at) + 1
            parts.append(self._take(end or None))
            if end:
                break
        return b"".join(parts)

    async def chunks(self) -> AsyncIterator[bytes]:
        """All to the end, in the pieces in which it comes."""
        while await self._some():
            yield self._take()

    async def _some(self) -> bool:
        """Whether there is something to take; False at the end."""
        if self._at >= len(self._piece):
            self._piece, self._at = await self._stream.read(), 0
        return bool(self._piece)

    def _take(self, end: int | None = None) -> bytes:
        taken = self._piece[self._at : end]
        self._at += len(taken)
        return taken

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if line := await self.readline():
            return line
        raise StopAsyncIteration


class _Collected:
    """What was read of a command's output."""

    def __init__(self) -> None:
        self.output: dict[str, bytes] = {}
        self.failure: CriadaptError | None = None

    async def collect(self, name: str, output: AsyncOutput) -> None:
        """Read all of it."""
        try:
            self.output[name] = await output.read()
        except CriadaptError as error:
            self.failure = error


async def _feed(stdin: AsyncInput, data: bytes) -> None:
    with suppress(CriadaptError):  # a command may end without having read all
        await stdin.write(data)
        await stdin.aclose()


class AsyncProcess:
    """A command that runs in a container, or a connection to the container's own (attach). Use it with ``async with``.

    At the end of the block the connection is cut: a command that still runs is killed by runtimes that can do so
    (criadapt does), a container that was attached to lives on.
    """

    stdin: AsyncInput | None
    """Its input, if it was asked for."""
    stdout: AsyncOutput | None
    """Its output; with a terminal, both of its outputs."""
    stderr: AsyncOutput | None

    def __init__(
        self, session: AsyncSession, version: Version, streams: dict[str, AsyncStream], cmd: tuple[str, ...]
    ) -> None:
        self.cmd = cmd
        self.stdin = AsyncInput(streams["stdin"], can_end=version.stdin_ends) if "stdin" in streams else None
        self.stdout = AsyncOutput(streams["stdout"]) if "stdout" in streams else None
        self.stderr = AsyncOutput(streams["stderr"]) if "stderr" in streams else None
        self._session = session
        self._version = version
        self._resize = streams.get("resize")
        self._error = streams["error"]
        self._status = b""
        self._outcome: status.Outcome | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    @property
    def exit_code(self) -> int | None:
        """Exit code, 128+n for a death by signal n; None before :meth:`wait` has said that it ended."""
        return self._outcome.exit_code if self._outcome is not None else None

    async def resize(self, width: int, height: int) -> None:
        """Tell its terminal the size of the window, in characters. Ignored without a terminal."""
        if self._resize is not None:
            await self._resize.write(resize.encode(width, height))

    async def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, and return the exit code, which is 0 when an attachment ends.

        Like :meth:`subprocess.Popen.wait` it waits for ever for a command whose output is not read; see
        :meth:`communicate`. Raises EngineError when the command could not be run, Unavailable when the connection is
        lost before its end, DeadlineExceeded after `timeout` seconds, when it goes on.
        """
        while self._outcome is None:
            data = await self._error.read(timeout)
            self._status += data
            if not data or len(self._status) > MAX_STATUS:
                if self._version.json and not self._status:
                    raise Unavailable("the connection was lost before the command ended")
                self._outcome = status.decode(self._version, self._status)
        if self._outcome.exit_code is None:
            raise EngineError(self._outcome.message)
        return self._outcome.exit_code

    async def communicate(self, input: bytes = b"", timeout: float | None = None) -> Completed:
        """Write `input`, end it, read all output, and wait for the end.

        Raises as :meth:`wait` does; after DeadlineExceeded the connection is cut.
        """
        collected = _Collected()
        feeding = [Worker(_feed, self.stdin, input)] if self.stdin is not None else []
        outputs = {"stdout": self.stdout, "stderr": self.stderr}
        reading = [Worker(collected.collect, name, output) for name, output in outputs.items() if output is not None]
        try:
            code = await self.wait(timeout)
            for worker in reading:
                await worker.join()
        finally:
            await self.aclose()
            for worker in feeding + reading:
                await worker.join()
        if collected.failure is not None:
            raise collected.failure
        return Completed(self.cmd, code, **collected.output)

    async def aclose(self) -> None:
        """Cut the connection."""
        await self._session.cut()
