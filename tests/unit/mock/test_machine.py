"""A machine: starting, ending, signals, exec, attach, output, memory."""

from __future__ import annotations

import asyncio
import gc
import logging
import tracemalloc
from typing import Any

import pytest

from criadapt.backends.base import ExecSpec
from criadapt.backends.mock.outlet import RETAINED
from criadapt.backends.mock.programs import Context, program
from criadapt.backends.mock.streams import BUFFER
from criadapt.errors import FailedPrecondition, StartFailed
from criadapt.model.container import KeyValue
from criadapt.model.linux import (
    LinuxContainerResources,
    NamespaceMode,
    NamespaceOption,
)
from criadapt.model.signals import Signal
from criadapt.testing.asynchronous import collect, turns

SECOND = 10**9
POD_PIDS = NamespaceOption(pid=NamespaceMode.POD)


# ---------------------------------------------------------------------- starting and ending


@pytest.mark.parametrize(
    ("command", "code", "text"),
    [
        ("nosuch", 127, 'exec: "nosuch": executable file not found in $PATH'),
        ("/nosuch", 127, 'exec: "/nosuch": stat /nosuch: no such file or directory'),
        ("/etc", 126, 'exec: "/etc": is a directory'),
        ("/etc/passwd", 126, 'exec: "/etc/passwd": permission denied'),
    ],
)
def test_check_refuses_what_cannot_run(world: Any, command: str, code: int, text: str) -> None:
    with pytest.raises(StartFailed) as failure:
        world.machine(command).check()
    assert (failure.value.exit_code, str(failure.value)) == (code, text)


@pytest.mark.parametrize(
    "command", ["top", "/bin/sh", "/usr/bin/env", "/pause", "/usr/local/bin/redis-server", "nginx"]
)
def test_check_makes_no_files_for_known_programs(world: Any, command: str) -> None:
    machine = world.machine(command)
    machine.check()
    assert machine.written_files == 0
    assert machine._files is None


async def test_unknown_command_may_run_as_a_server(world: Any) -> None:
    machine = world.start("/app/server", "--port", "1", unknown_command="run")
    await turns()
    machine.signal(Signal.SIGTERM)
    await turns()
    assert world.exits[0].code == 0


async def test_exit_time_is_virtual(world: Any) -> None:
    result = await world.sh("sleep 30; exit 3")
    assert result.code == 3
    assert 0 <= result.time_ns - world.machines[0].started_at - 30 * SECOND < SECOND // 100


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("top",), 143),
        (("sh", "-c", "top"), 143),
        (("nginx", "-g", "daemon off;"), 0),
        (("httpd-foreground",), 0),
        (("/pause",), 0),
        (("redis-server",), 0),
        (("sh", "-c", "trap 'exit 4' TERM; sleep 9 & wait"), 4),
    ],
)
async def test_first_process_that_handles_sigterm(world: Any, args: tuple[str, ...], code: int) -> None:
    world.wall.running = False
    machine = world.start(*args)
    await world.wall.until(world.wall.time_ns + SECOND)
    machine.signal(Signal.SIGTERM)
    await world.wall.until(world.wall.time_ns + SECOND)
    assert [exit.code for exit in world.exits] == [code]


@pytest.mark.parametrize(
    "args", [("sleep", "3600"), ("sh", "-c", "while true; do sleep 1; done"), ("tail", "-f", "/dev/null")]
)
async def test_first_process_without_handler_is_immune_in_its_own_pid_namespace(
    world: Any, args: tuple[str, ...]
) -> None:
    world.wall.running = False
    machine = world.start(*args)
    await world.wall.until(world.wall.time_ns + SECOND)
    machine.signal(Signal.SIGTERM)
    await world.wall.until(world.wall.time_ns + 30 * SECOND)
    assert not world.exits
    machine.signal(Signal.SIGKILL)
    await turns()
    assert [(exit.code, exit.oom_killed) for exit in world.exits] == [(137, False)]
    assert machine.process_count == 0


async def test_default_of_sigterm_in_a_shared_pid_namespace(world: Any) -> None:
    world.wall.running = False
    machine = world.start("sleep", "3600", namespaces=POD_PIDS, infra="pause")
    await world.wall.until(world.wall.time_ns + SECOND)
    machine.signal(Signal.SIGTERM)
    await world.wall.until(world.wall.time_ns + SECOND)
    assert [exit.code for exit in world.exits] == [143]


async def test_killed_before_its_first_step(world: Any) -> None:
    machine = world.start("sleep", "3600")
    machine.signal(Signal.SIGKILL)
    await turns()
    assert [exit.code for exit in world.exits] == [137]


async def test_bug_in_a_program_surfaces(world: Any, caplog: pytest.LogCaptureFixture) -> None:
    @program("buggy")
    async def buggy(ctx: Context) -> int:
        raise ValueError("oops")

    with caplog.at_level(logging.ERROR):
        result = await world.run("buggy")
    assert result.code == 125
    assert "oops" in caplog.text


async def test_program_of_ones_own(world: Any) -> None:
    @program("hello")
    async def hello(ctx: Context) -> int:
        ctx.print("hi", *ctx.args, ctx.env["NAME"], ctx.cwd)
        await ctx.sleep(1)
        return 7

    result = await world.run("hello", "there", env=(KeyValue(key="NAME", value=b"me"),), cwd="/new/dir")
    assert (result.stdout, result.code) == (b"hi there me /new/dir\n", 7)


# ---------------------------------------------------------------------- exec


async def test_exec(world: Any) -> None:
    world.wall.running = False
    machine = world.start("sh", "-c", "touch /tmp/healthy; sleep 30; rm -f /tmp/healthy; sleep 600")
    await world.wall.until(world.wall.time_ns + SECOND)
    asking = asyncio.create_task(world.exec(machine, "cat", "/tmp/healthy"))
    await world.wall.until(world.wall.time_ns + SECOND)
    assert (await asking).code == 0
    await world.wall.until(world.wall.time_ns + 30 * SECOND)
    asking = asyncio.create_task(world.exec(machine, "cat", "/tmp/healthy"))
    await world.wall.until(world.wall.time_ns + SECOND)
    assert (await asking).stderr == b"cat: can't open '/tmp/healthy': No such file or directory\n"


async def test_exec_of_nothing_known(world: Any) -> None:
    result = await world.exec(world.start("pause"), "nosuch")
    assert (result.code, result.stderr) == (127, b'exec: "nosuch": executable file not found in $PATH\n')


async def test_exec_needs_a_running_container(world: Any) -> None:
    await world.run("true")
    with pytest.raises(FailedPrecondition):
        world.machines[0].exec(ExecSpec(args=("true",)))


async def test_killed_exec_leaves_nothing_behind(world: Any) -> None:
    machine = world.start("pause")
    process = machine.exec(ExecSpec(args=("sh", "-c", "sleep 4321 & (sleep 4321 &) ; sleep 4321; true")))
    world.wall.running = False
    await world.wall.until(world.wall.time_ns + SECOND)
    assert machine.process_count == 5
    await process.kill()
    assert await process.wait() == 137
    await turns()
    assert machine.process_count == 1


@pytest.mark.parametrize(
    ("command", "size"), [(("cat",), 10 << 20), (("wc", "-c"), 9), (("sh", "-c", "cat | md5sum"), 36)]
)
async def test_much_input(world: Any, command: tuple[str, ...], size: int) -> None:
    result = await world.exec(world.start("pause"), *command, stdin=b"x" * (10 << 20))
    assert len(result.stdout) == size


async def test_unread_output_holds_the_process_back(world: Any) -> None:
    machine = world.start("pause")
    process = machine.exec(ExecSpec(args=("yes",)))
    await turns(2000)
    assert machine.process_count == 2
    assert process._outlet.total < 8 * BUFFER
    await process.kill()


async def test_terminal(world: Any) -> None:
    machine = world.start("pause")
    process = machine.exec(ExecSpec(args=("sh",), tty=True, stdin=True))
    await process.resize(100, 40)
    reading = asyncio.create_task(collect(process))
    await turns()
    for keys in (b"stty size\r", b"echo abx\x7fc\r"):
        await process.write(keys)
        await turns()
    await process.write(b"sleep 1000\r")
    await world.wall.until(world.wall.time_ns + SECOND)
    await process.write(b"\x03")
    await world.wall.until(world.wall.time_ns + SECOND)
    world.wall.running = True
    await process.write(b"echo $?\r")
    await turns()
    await process.write(b"\x04")
    assert await process.wait() == 0
    shown = b"".join(chunk.data for chunk in await reading)
    assert shown == (
        b"/ # stty size\r\n40 100\r\n/ # echo abx\b \bc\r\nabc\r\n/ # sleep 1000\r\n^C\r\n/ # echo $?\r\n130\r\n/ # "
    )


# ---------------------------------------------------------------------- attach and output


async def test_attach_stdin_once(world: Any) -> None:
    machine = world.start("sh", stdin=True, stdin_once=True)
    session = machine.attach(stdin=True, tty=False)
    other = machine.attach(stdin=False, tty=False)
    await session.write(b"echo hello\n")
    await turns()
    await session.close_stdin()
    for process in (session, other):
        assert b"".join(chunk.data for chunk in await collect(process)) == b"hello\n"
        assert await process.wait() == 0


async def test_stdin_outlives_attach_sessions(world: Any) -> None:
    machine = world.start("cat", stdin=True)
    for text in (b"one\n", b"two\n"):
        session = machine.attach(stdin=True, tty=False)
        reading = asyncio.create_task(collect(session))
        await session.write(text)
        await turns()
        await session.close()
        assert b"".join(chunk.data for chunk in await reading) == text
    assert not world.exits


async def test_slow_attacher_holds_back_and_a_closed_one_does_not(world: Any) -> None:
    machine = world.start("yes")
    session = machine.attach(stdin=False, tty=False)
    machine.discard_output()
    await turns(2000)
    held = machine.stdout_bytes
    assert held < 2 * BUFFER
    await session.close()
    await turns(200)
    assert machine.stdout_bytes > held


async def test_unread_output_is_kept_within_bounds(world: Any) -> None:
    machine = world.start("yes")
    await turns(20_000)
    assert RETAINED <= machine.stdout_bytes < RETAINED + 2 * BUFFER


async def test_times_of_chunks_differ(world: Any) -> None:
    result = await world.sh(
        "(while :; do echo a; sleep 0.3; done) & i=0; while [ $((i=i+1)) -lt 20 ]; do echo b; sleep 0.1; done"
    )
    times = [chunk.time_ns for chunk in result.chunks]
    assert times == sorted(set(times))


# ---------------------------------------------------------------------- memory, processor, cost


@pytest.mark.parametrize("script", ["dd bs=20M", "dd if=/dev/zero of=/dev/null bs=20M; exit $?", "oom 5; exit $?"])
async def test_out_of_memory(world: Any, script: str) -> None:
    result = await world.sh(script, resources=LinuxContainerResources(memory_limit_in_bytes=15 << 20))
    assert (result.code, result.oom_killed) == (137, True)


async def test_out_of_memory_in_a_child_only(world: Any) -> None:
    limits = LinuxContainerResources(memory_limit_in_bytes=15 << 20)
    result = await world.sh("dd bs=20M; echo $?; exit 4", resources=limits)
    assert (result.code, result.oom_killed, result.stdout) == (4, False, b"137\n")
    limits = LinuxContainerResources(memory_limit_in_bytes=15 << 20, unified={"memory.oom.group": "1"})
    result = await world.sh("dd bs=20M; echo $?; exit 4", resources=limits)
    assert (result.code, result.oom_killed, result.stdout) == (137, True, b"")


async def test_processor_time(world: Any) -> None:
    world.wall.running = False
    busy = world.start("sh", "-c", "while true; do :; done")
    idle = world.start("nginx")
    await world.wall.until(world.wall.time_ns + 2 * SECOND)
    assert busy.cpu_ns(world.wall.time_ns) > 1.8 * SECOND
    assert idle.cpu_ns(world.wall.time_ns) < SECOND // 10


@pytest.mark.parametrize("command", ["/pause", "top", "nginx"])
async def test_idle_machine_is_cheap_and_sets_no_timer(world: Any, command: str) -> None:
    world.start(command)
    await turns()
    gc.collect()
    tracemalloc.start()
    for _ in range(200):
        world.start(command)
    await turns()
    gc.collect()
    used = tracemalloc.get_traced_memory()[0] / 200
    tracemalloc.stop()
    assert used < 8192
    assert world.wall.pending == 0
