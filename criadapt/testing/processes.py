"""What programs are given, what they write, and further processes."""

from __future__ import annotations

import asyncio

import pytest

from criadapt.backends.base import EngineState, ExecSpec, Process
from criadapt.errors import CriadaptError, FailedPrecondition
from criadapt.model.container import KeyValue
from criadapt.testing.harness import Bench, optional
from criadapt.testing.terms import ContractBase


class ProcessContract(ContractBase):
    """What programs are given, what they write, and further processes."""

    # ------------------------------------------------------------------ environment and output

    async def test_the_environment_is_bytes(self, bench: Bench) -> None:
        env = (KeyValue(key="PLAIN", value=b"a b"), KeyValue(key="BYTES", value=b"\xff\xfe\xc3\xa9"))
        with optional():
            chunks = await bench.output_of(self.sh('printf "%s|%s" "$PLAIN" "$BYTES"'), env=env)
        assert b"".join(chunk.data for chunk in chunks) == b"a b|\xff\xfe\xc3\xa9"

    async def test_arguments_and_working_directory_are_taken_as_they_are(self, bench: Bench) -> None:
        args = ("sh", "-c", 'pwd; printf "<%s>" "$@"', "sh", "a b", "", "*", "é'\"")
        chunks = await bench.output_of(args, cwd="/tmp")
        assert b"".join(chunk.data for chunk in chunks) == "/tmp\n<a b><><*><é'\">".encode()

    async def test_output_of_a_container_that_exits_at_once_is_complete(self, bench: Bench) -> None:
        chunks = await bench.output_of(self.sh("echo first; echo second; exit 5"))
        assert b"".join(chunk.data for chunk in chunks) == b"first\nsecond\n"

    async def test_both_streams_are_told_apart(self, bench: Bench) -> None:
        chunks = await bench.output_of(self.sh("echo out; echo err >&2"))
        streams = {name: b"".join(c.data for c in chunks if c.stream == name) for name in ("stdout", "stderr")}
        assert streams == {"stdout": b"out\n", "stderr": b"err\n"}

    async def test_times_of_output_do_not_go_back(self, bench: Bench) -> None:
        chunks = await bench.output_of(self.sh("for i in 1 2 3 4 5; do echo $i; echo $i >&2; done"))
        times = [chunk.time_ns for chunk in chunks]
        assert times == sorted(times)
        assert times[0] > 0

    async def test_output_since_skips_what_is_older(self, bench: Bench) -> None:
        id = await bench.create(self.sh("echo old; sleep 0.3; echo new"))
        reading = asyncio.create_task(bench.chunks(id))
        await asyncio.sleep(0)
        await bench.backend.start(id)
        chunks = await reading
        cut = max(chunk.time_ns for chunk in chunks if b"old" in chunk.data)
        later = await bench.chunks(id, cut)
        assert b"".join(chunk.data for chunk in later) == b"new\n"

    async def test_a_mebibyte_comes_through(self, bench: Bench) -> None:
        chunks = await bench.output_of(self.sh("head -c 1048576 /dev/zero | tr '\\0' 'x'; echo END"))
        data = b"".join(chunk.data for chunk in chunks)
        assert len(data) == (1 << 20) + 4
        assert data.endswith(b"xEND\n")

    async def test_a_tty_makes_one_stream(self, bench: Bench) -> None:
        chunks = await bench.output_of(self.sh("echo out; echo err >&2; test -t 1 && echo tty"), tty=True)
        assert {chunk.stream for chunk in chunks} == {"stdout"}
        assert b"".join(chunk.data for chunk in chunks) == b"out\r\nerr\r\ntty\r\n"

    # ------------------------------------------------------------------ exec and attach

    async def test_exec_gives_streams_and_exit_code(self, bench: Bench) -> None:
        id = await bench.run(self.sleep)
        process = await bench.exec(id, self.sh("echo out; echo err >&2; exit 7"))
        assert await bench.finish(process) == (7, b"out\n", b"err\n")

    async def test_exec_passes_bytes_both_ways(self, bench: Bench) -> None:
        id = await bench.run(self.sleep)
        data = bytes(range(256)) * 512
        process = await bench.exec(id, ("cat",), stdin=True)

        async def feed() -> None:
            await process.write(data)
            await process.close_stdin()

        feeding = asyncio.create_task(feed())
        assert await bench.finish(process) == (0, data, b"")
        await feeding

    async def test_exec_of_an_unknown_command_fails(self, bench: Bench) -> None:
        id = await bench.run(self.sleep)
        try:
            process = await bench.exec(id, self.unknown_program)
        except CriadaptError:
            return
        code, _, _ = await bench.finish(process)
        assert code in (126, 127)

    async def test_a_killed_exec_ends(self, bench: Bench) -> None:
        id = await bench.run(self.sleep)
        process = await bench.exec(id, self.sh("sleep 4321 & sleep 4321"))
        await process.kill()
        code, _, _ = await bench.finish(process)
        assert code == 137
        left = await bench.exec(id, self.sh("pgrep -f 'sleep 432[1]'"))
        assert (await bench.finish(left))[1].strip() == b""

    async def test_an_exec_s_tty_merges_and_translates(self, bench: Bench) -> None:
        id = await bench.run(self.sleep)
        process = await bench.exec(id, self.sh("echo out; echo err >&2"), tty=True)
        code, stdout, stderr = await bench.finish(process)
        assert (code, stdout, stderr) == (0, b"out\r\nerr\r\n", b"")

    async def test_only_a_running_container_runs_further_processes(self, bench: Bench) -> None:
        id = await bench.create(self.sleep)
        with pytest.raises(FailedPrecondition), optional():
            await bench.backend.exec(id, ExecSpec(args=("true",)))
        await bench.backend.start(id)
        await bench.kill(id)
        with pytest.raises(FailedPrecondition), optional():
            await bench.backend.exec(id, ExecSpec(args=("true",)))

    async def test_an_exec_ends_with_its_container(self, bench: Bench) -> None:
        id = await bench.run(self.sleep)
        process = await bench.exec(id, self.sleep)
        await bench.kill(id)
        code, _, _ = await bench.finish(process)
        assert code != 0

    async def test_attach_sees_output_and_gives_input(self, bench: Bench) -> None:
        id = await bench.run(self.sh('while read line; do echo "got $line"; done'), stdin=True)
        with optional():
            process = await bench.backend.attach(id, stdin=True, tty=False)
        await process.write(b"hello\n")
        assert b"got hello\n" in await bench.read_until(process, b"got hello\n")
        await process.kill()
        await process.close()
        assert (await bench.backend.inspect(id)).state is EngineState.RUNNING

    async def test_an_exec_without_stdin_reads_the_end(self, bench: Bench) -> None:
        id = await bench.run(self.sleep)
        assert await bench.finish(await bench.exec(id, ("cat",))) == (0, b"", b"")

    async def test_writing_to_an_exec_that_has_no_stdin_any_more_is_ignored(self, bench: Bench) -> None:
        id = await bench.run(self.sleep)
        process = await bench.exec(id, self.sh("exit 3"), stdin=True)
        async with asyncio.timeout(self.timeout):
            assert await process.wait() == 3
            await process.write(b"too late")
            await process.close_stdin()
            await process.close_stdin()
            await process.kill()
            await process.close()

    async def test_not_reading_holds_an_exec_back(self, bench: Bench) -> None:
        id = await bench.run(self.sleep)
        process = await bench.exec(id, self.sh("head -c 33554432 /dev/zero"))
        ended = asyncio.ensure_future(process.wait())
        assert not (await asyncio.wait([ended], timeout=0.3))[0]
        code, stdout, _ = await bench.finish(process)
        assert (code, len(stdout), await ended) == (0, 33554432, 0)

    async def test_an_exec_s_tty_has_the_size_it_is_told(self, bench: Bench) -> None:
        id = await bench.run(self.sleep)
        process = await bench.exec(id, self.sh("read go; stty size"), tty=True, stdin=True)
        await process.resize(111, 33)
        await process.write(b"\n")
        code, stdout, _ = await bench.finish(process)
        assert (code, stdout.splitlines()[-1]) == (0, b"33 111")

    # ------------------------------------------------------------------ attach

    async def attach(self, bench: Bench, id: str, *, stdin: bool = True, tty: bool = False) -> Process:
        """Attach to a container, if the engine can do so."""
        with optional():
            async with asyncio.timeout(self.timeout):
                return await bench.backend.attach(id, stdin=stdin, tty=tty)

    lines = 'echo old; while read line; do echo "got $line"; done'

    async def test_all_attachments_get_all_output_from_now_on(self, bench: Bench) -> None:
        id = await bench.create(self.sh(self.lines), stdin=True)
        log = bench.backend.output(id, 0)
        with optional():
            first = asyncio.ensure_future(anext(aiter(log)))
            await asyncio.sleep(0)
            await bench.backend.start(id)
            assert (await asyncio.wait_for(first, self.timeout)).data == b"old\n"
        one, two = await self.attach(bench, id), await self.attach(bench, id, stdin=False)
        await one.write(b"new\n")
        assert await bench.read_until(one, b"got new\n") == b"got new\n"
        assert await bench.read_until(two, b"got new\n") == b"got new\n"
        await two.close()
        await one.write(b"more\n")
        assert await bench.read_until(one, b"got more\n") == b"got more\n"
        await one.close()

    async def test_an_attachment_without_stdin_writes_nowhere(self, bench: Bench) -> None:
        id = await bench.run(self.sh(self.lines), stdin=True)
        process = await self.attach(bench, id, stdin=False)
        other = await self.attach(bench, id)
        await process.write(b"ignored\n")
        await other.write(b"heard\n")
        assert b"ignored" not in await bench.read_until(process, b"got heard\n")
        for each in (process, other):
            await each.close()

    async def test_the_end_of_an_attachment_s_input_is_not_the_container_s(self, bench: Bench) -> None:
        id = await bench.run(self.sh(self.lines), stdin=True)
        process = await self.attach(bench, id)
        await process.close_stdin()
        await process.write(b"too late\n")
        await process.close()
        again = await self.attach(bench, id)
        await again.write(b"still there\n")
        assert b"too late" not in await bench.read_until(again, b"got still there\n")
        await again.close()

    async def test_with_stdin_once_it_is(self, bench: Bench) -> None:
        id = await bench.run(self.sh("cat; exit 5"), stdin=True, stdin_once=True)
        process = await self.attach(bench, id)
        await process.write(b"all there is")
        await process.close_stdin()
        assert await bench.finish(process) == (5, b"all there is", b"")
        assert (await bench.ended(id)).exit_code == 5

    async def test_a_tty_stays_even_then(self, bench: Bench) -> None:
        id = await bench.run(self.sh(self.lines), stdin=True, stdin_once=True, tty=True)
        process = await self.attach(bench, id, tty=True)
        await process.close_stdin()
        await process.close()
        again = await self.attach(bench, id, tty=True)
        await again.write(b"still there\r")
        await bench.read_until(again, b"got still there\r\n")
        await again.close()

    async def test_an_attachment_ends_with_its_container(self, bench: Bench) -> None:
        id = await bench.run(self.sleep)
        process = await self.attach(bench, id, stdin=False)
        await bench.kill(id)
        assert await bench.finish(process) == (137, b"", b"")

    async def test_only_a_running_container_can_be_attached_to(self, bench: Bench) -> None:
        id = await bench.create(self.sleep)
        with pytest.raises(FailedPrecondition):
            await self.attach(bench, id)
        await bench.backend.start(id)
        await bench.kill(id)
        with pytest.raises(FailedPrecondition):
            await self.attach(bench, id)

    async def test_a_tty_is_attached_to_and_resized(self, bench: Bench) -> None:
        id = await bench.run(self.sh("read go; stty size; read on"), stdin=True, tty=True)
        process = await self.attach(bench, id, tty=True)
        await process.resize(90, 20)
        await process.write(b"\r")
        assert b"20 90\r\n" in await bench.read_until(process, b"90\r\n")
        await process.close()
