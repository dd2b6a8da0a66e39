"""What programs are given, what they write, and further processes."""

from __future__ import annotations

import asyncio

import pytest

from criadapt.backends.base import EngineState, ExecSpec
from criadapt.errors import CriadaptError, FailedPrecondition
from criadapt.model.container import KeyValue
from criadapt.testing.harness import Bench, optional
from criadapt.testing.terms import ContractBase


class ProcessContract(ContractBase):
    """What programs are given, what they write, and further processes."""

    # ------------------------------------------------------------------ environment and output

    async def test_the_environment_is_bytes(self, bench: Bench) -> None:
        env = (KeyValue(key="PLAIN", value=b"a b"), KeyValue(key="BYTES", value=b"\xff\xfe\xc3\xa9"))
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
