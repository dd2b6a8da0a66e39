"""ExecSync: complete output, bounded; the process never outlives the call. And the other ways into a container."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from criadapt.backends.base import Chunk, Connection, ExecSpec, Process
from criadapt.core import exec as exec_module
from criadapt.core.exec import ExecResult, Execs, let_go
from criadapt.errors import (
    ContainerNotFound,
    DeadlineExceeded,
    EngineError,
    FailedPrecondition,
    InvalidArgument,
    SandboxNotFound,
    Unavailable,
)
from criadapt.testing.factories import START


class FakeProcess(Process):
    """Writes its chunks, then ends with its code; `lives` keeps it alive, `held` keeps its streams open."""

    def __init__(self, *chunks: tuple[str, bytes], code: int = 0, lives: bool = False, held: bool = False) -> None:
        self.chunks = chunks
        self.code = code
        self.ended = asyncio.Event()
        self.released = asyncio.Event()
        self.killed = self.closed = 0
        self.read = 0
        if not lives:
            self.ended.set()
        if not held:
            self.released.set()

    async def output(self) -> AsyncIterator[Chunk]:  # type: ignore[override]
        for stream, data in self.chunks:
            self.read += len(data)
            yield Chunk(stream, data, START)  # type: ignore[arg-type]
        await self.released.wait()

    async def wait(self) -> int:
        await self.ended.wait()
        return self.code

    async def kill(self) -> None:
        self.killed += 1
        self.ended.set()

    async def close(self) -> None:
        self.closed += 1
        self.released.set()

    async def write(self, data: bytes) -> None: ...

    async def close_stdin(self) -> None: ...

    async def resize(self, width: int, height: int) -> None: ...


async def run(core: Any, process: FakeProcess, timeout: int = 0, args: tuple[str, ...] = ("ls",)) -> ExecResult:
    core.engine.processes.append(process)
    execs = Execs(core.store, core.engine, 0.01)
    running = list(core.store.containers())
    id = running[0].id if running else await core.running()
    try:
        return await execs.sync(id, args, timeout)
    finally:
        assert (process.killed > 0, process.closed) == (True, 1)


async def test_output_and_exit_code_come_back(core: Any) -> None:
    process = FakeProcess(("stdout", b"a\xff"), ("stderr", b"e"), ("stdout", b"b"), code=3)
    assert await run(core, process) == ExecResult(b"a\xffb", b"e", 3)


async def test_a_grandchild_that_holds_the_streams_does_not_hold_the_call(core: Any) -> None:
    assert await run(core, FakeProcess(("stdout", b"a"), held=True)) == ExecResult(b"a", b"", 0)


async def test_after_the_time_limit_it_is_killed(core: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    timeout = asyncio.timeout
    monkeypatch.setattr(exec_module.asyncio, "timeout", lambda seconds: timeout(seconds / 1000 if seconds else None))
    with pytest.raises(DeadlineExceeded, match="command 'ls' timed out after 5 s and was killed"):
        await run(core, FakeProcess(lives=True), timeout=5)


async def test_a_caller_who_hangs_up_ends_the_process(core: Any) -> None:
    process = FakeProcess(lives=True)
    await core.running()
    task = asyncio.ensure_future(run(core, process))
    for _ in range(10):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert process.closed == 1


async def test_what_is_too_long_is_read_and_dropped(core: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exec_module, "MAX_TOTAL", 10)
    process = FakeProcess(("stdout", b"123456"), ("stderr", b"abcdef"), ("stdout", b"789"))
    assert await run(core, process) == ExecResult(b"123456", b"abcd", 0)
    assert process.read == 15


async def test_a_stream_that_breaks_is_an_error(core: Any) -> None:
    class Broken(FakeProcess):
        async def output(self) -> AsyncIterator[Chunk]:  # type: ignore[override]
            raise EngineError("stream broke")
            yield

    with pytest.raises(EngineError, match="stream broke"):
        await run(core, Broken())


@pytest.mark.parametrize(
    ("args", "timeout", "text"), [((), 0, "cmd is empty"), (("",), 0, "cmd is empty"), (("ls",), -1, "timeout")]
)
async def test_bad_requests_start_nothing(core: Any, args: tuple[str, ...], timeout: int, text: str) -> None:
    id = await core.running()
    with pytest.raises(InvalidArgument, match=text):
        await Execs(core.store, core.engine, 1).sync(id, args, timeout)
    assert core.engine.called("exec") == []


async def test_only_a_running_container_takes_commands(core: Any) -> None:
    execs = Execs(core.store, core.engine, 1)
    id = await core.created()
    with pytest.raises(FailedPrecondition, match="is created, not running"):
        await execs.sync(id, ("ls",), 0)
    with pytest.raises(ContainerNotFound):
        await execs.sync("unknown", ("ls",), 0)


# ---------------------------------------------------------------------------------------------- streams


class FakeConnection(Connection):
    async def read(self) -> bytes:
        return b""

    async def write(self, data: bytes) -> None: ...

    async def end(self) -> None: ...

    async def close(self) -> None: ...


def execs_of(core: Any) -> Execs:
    return Execs(core.store, core.engine, 1)


async def test_a_command_is_started_and_handed_on(core: Any) -> None:
    id = await core.running()
    process = FakeProcess(lives=True)
    core.engine.processes.append(process)
    assert await execs_of(core).start(id[:8], ExecSpec(args=("sh",), tty=True, stdin=True)) is process
    assert core.engine.called("exec") == [id]
    assert (process.killed, process.closed) == (0, 0)


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("has", [True, False])
async def test_stdin_is_attached_where_it_is_wanted_and_there(core: Any, has: bool, wanted: bool) -> None:
    id = await core.running(stdin=has)
    core.engine.processes.append(FakeProcess())
    await execs_of(core).attach(id, stdin=wanted)
    assert core.engine.attached == [(has and wanted, False)]


async def test_a_container_s_own_terminal_decides(core: Any) -> None:
    id = await core.running(tty=True)
    core.engine.processes.append(FakeProcess())
    await execs_of(core).attach(id[:8], stdin=True)
    assert core.engine.attached == [(False, True)]
    assert core.engine.called("attach") == [id]


@pytest.mark.parametrize("state", ["created", "exited", "removed", "unknown"])
async def test_only_a_running_container_is_entered(core: Any, state: str) -> None:
    id = "unknown" if state == "unknown" else await (core.created() if state == "created" else core.running())
    if state == "exited":
        core.engine.end(id)
        await core.settled()
    if state == "removed":
        await core.containers.remove(id)
    kind = FailedPrecondition if state in ("created", "exited") else ContainerNotFound
    for call in (
        lambda: execs_of(core).start(id, ExecSpec(args=("ls",))),
        lambda: execs_of(core).attach(id, stdin=True),
    ):
        with pytest.raises(kind):
            await call()
    with pytest.raises(kind):
        execs_of(core).running(id)
    assert core.engine.called("exec") == core.engine.called("attach") == []


async def test_a_ready_pod_is_dialled_at_its_infra_container(core: Any) -> None:
    pod = await core.pod()
    connection = FakeConnection()
    core.engine.connections.append(connection)
    assert await execs_of(core).dial(pod[:8], 80) is connection
    assert core.engine.called("dial") == [f"{pod}:80"]
    assert execs_of(core).ready(pod[:8]).id == pod


async def test_what_the_engine_says_of_a_port_is_passed_on(core: Any) -> None:
    core.engine.errors["dial"] = Unavailable("nobody listens")
    with pytest.raises(Unavailable, match="nobody listens"):
        await execs_of(core).dial(await core.pod(), 80)


async def test_only_a_ready_pod_is_dialled(core: Any) -> None:
    pod = await core.pod()
    await core.sandboxes.stop(pod)
    with pytest.raises(FailedPrecondition, match=f"pod sandbox '{pod[:13]}' is not ready"):
        await execs_of(core).dial(pod, 80)
    with pytest.raises(SandboxNotFound):
        await execs_of(core).dial("unknown", 80)
    with pytest.raises(SandboxNotFound):
        execs_of(core).ready("unknown")
    assert core.engine.called("dial") == []


async def test_a_process_that_cannot_be_killed_is_let_go_of_all_the_same() -> None:
    class Stubborn(FakeProcess):
        async def kill(self) -> None:
            raise EngineError("not today")

    process = Stubborn(lives=True)
    with pytest.raises(EngineError, match="not today"):
        await let_go(process)
    assert process.closed == 1
