"""Processes whose streams we hold, on connections that the engine hands over: exec and attach."""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress
from typing import Any
from urllib.parse import urlencode

from criadapt.backends.base import Chunk, ExecSpec, Process, Stream
from criadapt.backends.docker import wire
from criadapt.backends.docker.following import Engine, output
from criadapt.backends.docker.frames import STDERR, SYSTEM, Frames
from criadapt.errors import (
    ContainerNotFound,
    CriadaptError,
    FailedPrecondition,
    NotFound,
    Unavailable,
)
from criadapt.host import proctree

__all__ = ["attach", "execute", "output"]

QUIET_SECONDS = 0.1
"""A command that ends sooner, as most do, is asked about once: when its streams have ended."""

_STEP, _LONGEST_STEP = 0.01, 0.5  # seconds between two looks at a command that nothing else tells about
_RESIZE_SECONDS = 12.0  # the engine itself waits 10 s for a command to be there
_END_OF_INPUT = b"\x04"  # what a terminal takes for it (termios(3), VEOF)

# The engine leaves a terminal's client who types this, and holds its beginning back until the next key tells. There is
# no way to have none, so it is long, and begins with what is hardly ever typed (NUL, which is ctrl-@ or ctrl-space).
_DETACH_KEYS = ",".join(["ctrl-@", "ctrl-^", "ctrl-_"] * 8)

_REFUSED = b"OCI runtime exec failed"
_UNKNOWN_PROGRAM = re.compile(rb"executable file not found|no such file or directory", re.IGNORECASE)
_KILLED, _UNKNOWN, _NOT_EXECUTABLE = 137, 127, 126


async def execute(engine: Engine, id: str, spec: ExecSpec) -> Process:
    """Run a further process. Raises ContainerNotFound, FailedPrecondition when the container does not run."""
    base = f"/v{engine.version}"
    body = {
        "AttachStdin": spec.stdin,
        "AttachStdout": True,
        "AttachStderr": True,
        "Tty": spec.tty,
        "Cmd": list(spec.args),
        "DetachKeys": _DETACH_KEYS,
    }
    try:
        made = await wire.request(engine.socket, "POST", f"{base}/containers/{id}/exec", body)
    except NotFound as error:
        raise ContainerNotFound(id) from error
    exec_id = str(made["Id"])
    start = {"Detach": False, "Tty": spec.tty}
    try:
        hijacked = await wire.hijack(engine.socket, f"{base}/exec/{exec_id}/start", start)
    except NotFound as error:  # the container has ended meanwhile, and its commands with it
        raise FailedPrecondition(f"container {id[:13]!r} does not run any more") from error
    return DockerProcess(engine, id, exec_id, hijacked, spec)


async def attach(engine: Engine, id: str, *, stdin: bool, tty: bool) -> Process:
    """Connect to a running container's own streams. Raises ContainerNotFound, FailedPrecondition."""
    base = f"/v{engine.version}/containers/{id}"
    query = {"stream": "1", "stdout": "1", "stderr": "1", "stdin": str(int(stdin)), "detachKeys": _DETACH_KEYS}
    try:
        hijacked = await wire.hijack(engine.socket, f"{base}/attach?{urlencode(query)}")
        try:
            # The engine attaches to what does not run, too, and never ends that. Now that it has attached, the end of
            # a container that runs cannot be missed.
            found = await wire.request(engine.socket, "GET", f"{base}/json")
            if not found["State"]["Running"]:
                raise FailedPrecondition(f"container {id[:13]!r} is {found['State']['Status']}, not running")
        except BaseException:
            await hijacked.close()
            raise
    except NotFound as error:
        raise ContainerNotFound(id) from error
    config = found["Config"]
    stdin_ends = bool(config["StdinOnce"]) and not config["Tty"]
    return Attachment(
        engine, id, hijacked, tty=bool(config["Tty"]), stdin=stdin and bool(config["OpenStdin"]), stdin_ends=stdin_ends
    )


class _Streams(Process):
    """What exec and attach have in common."""

    def __init__(self, engine: Engine, hijacked: wire.Hijacked, *, resize: str, tty: bool, stdin: bool) -> None:
        self._engine = engine
        self._wire = hijacked
        self._resize = resize
        self._tty = tty
        self._stdin = stdin
        self._frames = None if tty else Frames()
        self._pieces: deque[tuple[int, bytes]] = deque()
        self._time_ns = 0

    async def output(self) -> AsyncIterator[Chunk]:
        """What it writes; a reader may leave, and another go on."""
        while True:
            while self._pieces:
                kind, data = self._pieces.popleft()
                stream: Stream = "stderr" if kind in (STDERR, SYSTEM) else "stdout"
                yield Chunk(stream, data, self._time_ns)
            data = await self._wire.read()
            if not data:
                return
            self._time_ns = max(self._time_ns, time.time_ns())
            self._pieces += self._frames.feed(data) if self._frames is not None else ((0, data),)

    async def write(self, data: bytes) -> None:
        """Feed its stdin."""
        if self._stdin and data:
            try:
                await self._wire.write(data)
            except Unavailable:  # it reads no more, most likely because it has ended
                self._stdin = False

    async def resize(self, width: int, height: int) -> None:
        """Tell its tty; one that has ended by now is no error."""
        if self._tty and width > 0 and height > 0:
            with suppress(CriadaptError):
                path = f"/v{self._engine.version}{self._resize}?w={width}&h={height}"
                await wire.request(self._engine.socket, "POST", path, timeout=_RESIZE_SECONDS)

    async def close(self) -> None:
        """Let go of the streams."""
        self._stdin = False
        await self._wire.close()


class DockerProcess(_Streams):
    """A further process in a container.

    The engine tells neither when such a process ends nor how to kill it; but it tells the number that the process has
    on this machine.
    """

    def __init__(
        self, engine: Engine, container_id: str, exec_id: str, hijacked: wire.Hijacked, spec: ExecSpec
    ) -> None:
        super().__init__(engine, hijacked, resize=f"/exec/{exec_id}/resize", tty=spec.tty, stdin=spec.stdin)
        self._container_id = container_id
        self._path = f"/v{engine.version}/exec/{exec_id}/json"
        loop = asyncio.get_running_loop()
        self._hurry: asyncio.Future[None] = loop.create_future()
        self._pid: asyncio.Future[int] = loop.create_future()
        """Its number on this machine; 0 if it has ended, or never began."""
        self._refused = False
        self._watch = loop.create_task(self._until_end())
        self._watch.add_done_callback(self._watched)

    async def output(self) -> AsyncIterator[Chunk]:
        """What it writes; on stderr, what the engine says where it cannot be started."""
        async for chunk in super().output():
            if not self._tty and chunk.data.startswith(_REFUSED) and not await self._began() and self._refused:
                yield chunk._replace(stream="stderr")
            else:
                yield chunk

    async def close_stdin(self) -> None:
        """End its stdin. A terminal has no end: it is told what is typed there for it."""
        if self._stdin:
            if self._tty:
                # An end of the connection's input would end the output as well.
                await self.write(_END_OF_INPUT)
            else:
                self._wire.end()
            self._stdin = False

    async def kill(self) -> None:
        """End the process, all its descendants and who is left of their sessions."""
        if await self._began():
            pid = self._pid.result()
            if proctree.is_in_container(pid, self._container_id):
                await asyncio.to_thread(proctree.kill_tree, pid)

    async def wait(self) -> int:
        """Exit code, once it has ended, whoever else holds its streams open."""
        await asyncio.wait([self._watch])
        if self._watch.cancelled():
            raise FailedPrecondition("the streams of the command were closed before it ended")
        return self._watch.result()

    async def close(self) -> None:
        """Let go of the streams; nobody can wait any more."""
        self._watch.cancel()
        await asyncio.wait([self._watch])
        await super().close()

    async def _began(self) -> bool:
        """Whether there was such a process and it has not ended."""
        if not self._hurry.done():
            self._hurry.set_result(None)
        pid = await asyncio.shield(self._pid)
        # Where the engine went away, nobody knows; then it counts as running.
        return bool(pid) and not (self._watch.done() and not self._watch.cancelled() and not self._watch.exception())

    def _watched(self, watch: asyncio.Task[int]) -> None:
        if not self._pid.done():
            self._pid.set_result(0)
        if not watch.cancelled():
            watch.exception()  # it need not be waited for

    async def _until_end(self) -> int:
        """Its exit code. The engine is asked when something tells that this is worth while; else ever less often."""
        gone: asyncio.Future[None] | None = None
        step = _STEP
        with ExitStack() as stack:
            while True:
                tellers = [each for each in (self._wire.ended, gone) if each is not None and not each.done()]
                if self._pid.done():
                    limit = None if len(tellers) == 2 else step
                    step = min(2 * step, _LONGEST_STEP)
                elif self._hurry.done() or self._wire.ended.done():
                    limit = step
                    step = min(2 * step, _LONGEST_STEP)
                else:
                    tellers.append(self._hurry)
                    limit = QUIET_SECONDS
                await _any(tellers, limit)
                if gone is not None and gone.done():
                    # The engine waits two seconds for what is left to be read, then drops it.
                    self._wire.take_all()
                told = await self._inspect()
                code = told["ExitCode"]
                if code is not None and not told["Running"]:
                    return self._exit_code(int(code), began=bool(told["Pid"]))
                if told["Pid"] and gone is None:
                    gone = stack.enter_context(proctree.ending(told["Pid"]))
                    self._pid.set_result(told["Pid"])
                    step = _STEP

    async def _inspect(self) -> Any:
        try:
            return await wire.request(self._engine.socket, "GET", self._path)
        except NotFound:  # the container was removed
            return {"Running": False, "ExitCode": _KILLED, "Pid": 1}

    def _exit_code(self, code: int, *, began: bool) -> int:
        """What a shell would give where the process could not be started: 20.10 always says 126."""
        self._refused = not began
        if began or code != _NOT_EXECUTABLE:
            return code
        return _UNKNOWN if _UNKNOWN_PROGRAM.search(self._wire.head) else code


class Attachment(_Streams):
    """A connection to a container's own streams. Who does not read holds the container up."""

    def __init__(
        self, engine: Engine, id: str, hijacked: wire.Hijacked, *, tty: bool, stdin: bool, stdin_ends: bool
    ) -> None:
        super().__init__(engine, hijacked, resize=f"/containers/{id}/resize", tty=tty, stdin=stdin)
        self._id = id
        self._stdin_ends = stdin_ends

    async def close_stdin(self) -> None:
        """End this attachment's input, which is the container's where it has stdin_once and no tty."""
        if self._stdin and self._stdin_ends:
            self._wire.end()  # elsewhere the engine would end the output instead
        self._stdin = False

    async def kill(self) -> None:
        """Cut it off."""
        await self.close()

    async def wait(self) -> int:
        """The container's exit code, once it has ended. Raises ContainerNotFound."""
        path = f"/v{self._engine.version}/containers/{self._id}/wait?condition=not-running"
        try:
            answer = await wire.request(self._engine.socket, "POST", path, timeout=None)
        except NotFound as error:
            raise ContainerNotFound(self._id) from error
        return int(answer["StatusCode"])


async def _any(futures: list[asyncio.Future[None]], limit: float | None) -> None:
    """Wait until one is done, but not for longer than `limit` seconds."""
    if futures:
        await asyncio.wait(futures, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
    else:
        await asyncio.sleep(limit or 0)
