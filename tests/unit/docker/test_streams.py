"""Exec and attach on an engine: streams both ways, how they end, and what is left then."""

from __future__ import annotations

import asyncio

import pytest

from criadapt.backends.base import ExecSpec, Process
from criadapt.backends.docker.streams import attach, execute
from criadapt.errors import ContainerNotFound, FailedPrecondition, Unavailable
from criadapt.host import proctree

from .conftest import Workshop

SLEEP = "sleep 1000"
LINES = 'while read line; do echo "got $line"; done'


async def shell(workshop: Workshop, id: str, script: str, *, tty: bool = False, stdin: bool = False) -> Process:
    return await execute(workshop, id, ExecSpec(args=("sh", "-c", script), tty=tty, stdin=stdin))


async def finish(process: Process) -> tuple[int, bytes, bytes]:
    streams = {"stdout": bytearray(), "stderr": bytearray()}
    async with asyncio.timeout(20):
        async for chunk in process.output():
            streams[chunk.stream] += chunk.data
        code = await process.wait()
        await process.close()
    return code, bytes(streams["stdout"]), bytes(streams["stderr"])


async def read_until(process: Process, word: bytes) -> bytes:
    seen = b""
    async with asyncio.timeout(20):
        async for chunk in process.output():
            seen += chunk.data
            if word in seen:
                return seen
    pytest.fail(f"{word!r} did not appear in {seen!r}")


@pytest.fixture
async def running(workshop: Workshop) -> str:
    return await workshop.run(SLEEP)


# ---------------------------------------------------------------------- exec


@pytest.mark.parametrize("code", [0, 1, 7, 255])
async def test_exit_codes_are_exact(workshop: Workshop, running: str, code: int) -> None:
    process = await shell(workshop, running, f"echo out; echo err >&2; exit {code}")
    assert await finish(process) == (code, b"out\n", b"err\n")


async def test_a_death_by_signal_has_its_code(workshop: Workshop, running: str) -> None:
    assert await finish(await shell(workshop, running, "kill -15 $$; sleep 1000")) == (143, b"", b"")


async def test_a_program_that_does_not_exist_is_127_and_told_on_stderr(workshop: Workshop, running: str) -> None:
    code, stdout, stderr = await finish(await execute(workshop, running, ExecSpec(args=("nope",))))
    assert (code, stdout) == (127, b"")
    assert b"executable file not found" in stderr


async def test_a_file_that_is_no_program_is_126(workshop: Workshop, running: str) -> None:
    code, stdout, stderr = await finish(await execute(workshop, running, ExecSpec(args=("/etc/passwd",))))
    assert (code, stdout) == (126, b"")
    assert b"permission denied" in stderr


async def test_on_a_terminal_a_refusal_is_told_on_its_only_stream(workshop: Workshop, running: str) -> None:
    code, stdout, _ = await finish(await execute(workshop, running, ExecSpec(args=("nope",), tty=True)))
    assert code == 127
    assert b"executable file not found" in stdout


async def test_what_a_program_says_is_not_taken_for_a_refusal(workshop: Workshop, running: str) -> None:
    said = b"OCI runtime exec failed: no such file or directory"
    assert await finish(await shell(workshop, running, f"printf '{said.decode()}'; exit 126")) == (126, said, b"")


async def test_bytes_go_both_ways_and_the_end_of_input_arrives(workshop: Workshop, running: str) -> None:
    data = bytes(range(256)) * 16384
    process = await execute(workshop, running, ExecSpec(args=("cat",), stdin=True))

    async def feed() -> None:
        for start in range(0, len(data), 100_000):
            await process.write(data[start : start + 100_000])
        await process.close_stdin()

    feeding = asyncio.create_task(feed())
    assert await finish(process) == (0, data, b"")
    await feeding


async def test_an_end_is_noticed_though_somebody_else_holds_the_streams(workshop: Workshop, running: str) -> None:
    process = await shell(workshop, running, "sleep 1000 & exit 4")
    async with asyncio.timeout(1):
        assert await process.wait() == 4
    await process.close()


async def test_what_is_read_late_is_whole(workshop: Workshop, running: str) -> None:
    process = await shell(workshop, running, "head -c 1400000 /dev/zero; exit 6")
    async with asyncio.timeout(20):
        assert await process.wait() == 6
        await asyncio.sleep(2.5)  # the engine keeps what is left for two seconds
    code, stdout, _ = await finish(process)
    assert (code, len(stdout)) == (6, 1400000)


async def test_not_reading_holds_it_back(workshop: Workshop, running: str) -> None:
    process = await shell(workshop, running, "head -c 33554432 /dev/zero")
    ended = asyncio.ensure_future(process.wait())
    assert not (await asyncio.wait([ended], timeout=0.5))[0]
    code, stdout, _ = await finish(process)
    assert (code, len(stdout), await ended) == (0, 33554432, 0)


async def test_not_being_read_holds_the_writer_back(workshop: Workshop, running: str) -> None:
    process = await execute(workshop, running, ExecSpec(args=("sleep", "1000"), stdin=True))

    async def write() -> None:
        while True:
            await process.write(bytes(65536))

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(write(), 1)
    await process.kill()
    assert (await finish(process))[0] == 137


@pytest.mark.parametrize("delay", [0, 0.3])
async def test_killing_takes_descendants_and_orphans_along(workshop: Workshop, running: str, delay: float) -> None:
    script = "sleep 4321 & (sleep 4322 &); setsid sleep 4323 & sh -c 'sleep 4324; true'; true"
    process = await shell(workshop, running, script)
    await asyncio.sleep(delay)
    await process.kill()
    assert (await finish(process))[0] == 137
    assert [line for line in await workshop.processes(running) if "432" in line] == []


async def test_killing_a_process_that_makes_others_all_the_time_leaves_none(workshop: Workshop, running: str) -> None:
    process = await shell(workshop, running, "while true; do (sleep 5678 &) ; sleep 0.001; done")
    await asyncio.sleep(0.5)
    await process.kill()
    assert (await finish(process))[0] == 137
    assert [line for line in await workshop.processes(running) if "5678" in line] == []


async def test_killing_what_has_ended_leaves_what_it_began_alone(workshop: Workshop, running: str) -> None:
    process = await shell(workshop, running, "sleep 8765 > /dev/null 2>&1 & exit 0")
    async with asyncio.timeout(20):
        assert await process.wait() == 0
    await process.kill()
    await process.close()
    assert [line for line in await workshop.processes(running) if "8765" in line] == ["sleep 8765"]


async def test_what_has_ended_takes_no_harm(workshop: Workshop, running: str) -> None:
    process = await shell(workshop, running, "exit 3", stdin=True)
    async with asyncio.timeout(20):
        assert await process.wait() == 3
        await process.write(b"too late")
        await process.close_stdin()
        await process.close_stdin()
        await process.resize(80, 25)
        await process.kill()
        await process.close()
        await process.close()


async def test_waiting_ends_when_the_streams_are_let_go_of(workshop: Workshop, running: str) -> None:
    process = await shell(workshop, running, SLEEP)
    waiting = asyncio.ensure_future(process.wait())
    await asyncio.sleep(0)
    await process.close()
    with pytest.raises(FailedPrecondition):
        await waiting


async def test_a_terminal_has_the_size_it_is_told(workshop: Workshop, running: str) -> None:
    process = await shell(workshop, running, "read go; stty size; read go; stty size", tty=True, stdin=True)
    await process.resize(111, 33)
    await process.resize(0, 0)
    await process.write(b"\n")
    await read_until(process, b"33 111")
    await process.resize(90, 20)
    await process.write(b"\n")
    code, stdout, stderr = await finish(process)
    assert (code, stderr) == (0, b"")
    assert b"20 90" in stdout


async def test_the_end_of_a_terminal_s_input_is_typed(workshop: Workshop, running: str) -> None:
    process = await shell(workshop, running, "cat; echo after", tty=True, stdin=True)
    await process.write(b"hi\r")
    await process.close_stdin()
    assert await finish(process) == (0, b"hi\r\nhi\r\nafter\r\n", b"")


async def test_the_engine_s_detach_keys_reach_the_program(workshop: Workshop, running: str) -> None:
    script = "stty raw -echo; echo go; head -c 2 | od -c | head -n 1"
    process = await shell(workshop, running, script, tty=True, stdin=True)
    await read_until(process, b"go")
    await process.write(b"\x10\x11")
    code, stdout, _ = await finish(process)
    assert code == 0
    assert b"020 021" in stdout


async def test_only_what_runs_runs_more(workshop: Workshop) -> None:
    id = await workshop.create(SLEEP)
    with pytest.raises(FailedPrecondition):
        await shell(workshop, id, "true")
    await workshop.start(id)
    process = await shell(workshop, id, SLEEP)
    await workshop.kill(id)
    assert (await finish(process))[0] != 0
    with pytest.raises(FailedPrecondition):
        await shell(workshop, id, "true")
    with pytest.raises(ContainerNotFound):
        await shell(workshop, "unknown", "true")


# ---------------------------------------------------------------------- attach


async def test_all_attachments_get_all_output_from_now_on(workshop: Workshop) -> None:
    id = await workshop.run(LINES, OpenStdin=True)
    one = await attach(workshop, id, stdin=True, tty=False)
    two = await attach(workshop, id, stdin=False, tty=False)
    await two.write(b"ignored\n")
    await one.write(b"new\n")
    assert await read_until(one, b"got new\n") == b"got new\n"
    assert await read_until(two, b"got new\n") == b"got new\n"
    await two.close()
    await one.write(b"more\n")
    assert await read_until(one, b"got more\n") == b"got more\n"
    await one.close()


async def test_the_end_of_an_attachment_s_input_ends_neither_output_nor_the_container_s(workshop: Workshop) -> None:
    id = await workshop.run(LINES, OpenStdin=True)
    one = await attach(workshop, id, stdin=True, tty=False)
    await one.close_stdin()
    await one.write(b"too late\n")
    two = await attach(workshop, id, stdin=True, tty=False)
    await two.write(b"still there\n")
    assert await read_until(one, b"\n") == b"got still there\n"
    for each in (one, two):
        await each.kill()
        await each.close()
    assert "read line" in " ".join(await workshop.processes(id))


async def test_with_stdin_once_it_is_the_container_s(workshop: Workshop) -> None:
    id = await workshop.run("cat; exit 5", OpenStdin=True, StdinOnce=True)
    process = await attach(workshop, id, stdin=True, tty=False)
    await process.write(b"all there is")
    await process.close_stdin()
    assert await finish(process) == (5, b"all there is", b"")


async def test_a_terminal_stays_even_then(workshop: Workshop) -> None:
    id = await workshop.run(LINES, OpenStdin=True, StdinOnce=True, Tty=True)
    process = await attach(workshop, id, stdin=True, tty=True)
    await process.resize(90, 20)
    await process.close_stdin()
    await process.close()
    again = await attach(workshop, id, stdin=True, tty=True)
    await again.write(b"still there\r")
    await read_until(again, b"got still there\r\n")
    await again.close()


async def test_an_attachment_ends_with_its_container(workshop: Workshop, running: str) -> None:
    process = await attach(workshop, running, stdin=False, tty=False)
    waiting = asyncio.ensure_future(process.wait())
    await asyncio.sleep(0)
    await workshop.kill(running)
    assert await finish(process) == (137, b"", b"")
    assert await waiting == 137


async def test_only_what_runs_is_attached_to(workshop: Workshop) -> None:
    id = await workshop.create("exit 0")
    with pytest.raises(FailedPrecondition, match="is created, not running"):
        await attach(workshop, id, stdin=True, tty=False)
    await workshop.start(id)
    await workshop.ended(id)
    with pytest.raises(FailedPrecondition, match="is exited, not running"):
        await attach(workshop, id, stdin=True, tty=False)
    with pytest.raises(ContainerNotFound):
        await attach(workshop, "unknown", stdin=True, tty=False)


# ---------------------------------------------------------------------- processes of the machine


async def test_the_end_of_any_process_is_noticed() -> None:
    process = await asyncio.create_subprocess_exec("sleep", "1000")
    with proctree.ending(process.pid) as ended:
        await asyncio.sleep(0)
        assert not ended.done()
        process.kill()
        async with asyncio.timeout(20):
            await ended
    await process.wait()
    with proctree.ending(process.pid) as ended:
        assert ended.done()


async def test_a_tree_is_killed() -> None:
    script = "sleep 1000 & (sleep 1000 &); setsid sleep 1000 & echo go; wait"
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", script, stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    await process.stdout.readline()
    assert len(proctree.tree(process.pid)) == 4
    proctree.kill_tree(process.pid)
    assert await process.wait() == -9
    assert proctree.tree(process.pid) == []


def test_a_process_is_in_its_own_cgroup_only() -> None:
    assert not proctree.is_in_container(1, "no-such-container")
    assert not proctree.is_in_container(2**22 + 1, "")


def test_nobody_waits_on_an_engine_that_is_not_there() -> None:
    class Nowhere:
        socket = "/nowhere/docker.sock"
        version = "1.41"

    with pytest.raises(Unavailable):
        asyncio.run(execute(Nowhere(), "a", ExecSpec(args=("true",))))
