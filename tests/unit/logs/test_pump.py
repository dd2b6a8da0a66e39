"""The pump: over any number of restarts every line is in the log once."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from criadapt.backends.base import Chunk
from criadapt.errors import FailedPrecondition, Unavailable, Unsupported
from criadapt.logs.format import MAX_CONTENT
from criadapt.logs.pump import Pumps
from criadapt.testing.factories import FakeEngine

T = 1475713029669794202
LONG = b"x" * (MAX_CONTENT - 100)


class Engine(FakeEngine):
    """Gives the first `reach` chunks of an output and then holds the stream open, or ends it at the last chunk."""

    def __init__(self, chunks: list[Chunk]) -> None:
        super().__init__()
        self.all = chunks
        self.reach = len(chunks)
        self.ends = True
        self.waiting = asyncio.Event()

    async def output(self, id: str, since_ns: int) -> AsyncIterator[Chunk]:  # type: ignore[override]
        for chunk in self.all[: self.reach]:
            if chunk.time_ns > since_ns:
                yield chunk
        if not self.ends:
            self.waiting.set()
            await asyncio.get_running_loop().create_future()


@contextmanager
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="criadapt-pump-"))
    try:
        yield path
    finally:
        shutil.rmtree(path)


def chunks(*output: tuple[str, bytes], step: int = 1) -> list[Chunk]:
    return [Chunk(stream, data, T + number // step) for number, (stream, data) in enumerate(output)]  # type: ignore[arg-type]


def content(log: Path) -> dict[str, bytes]:
    """What each stream wrote, put together again from the entries."""
    found = {"stdout": b"", "stderr": b""}
    for line in log.read_bytes().split(b"\n")[:-1]:
        _, stream, tag, text = line.split(b" ", 3)
        found[stream.decode()] += text + (b"\n" if tag == b"F" else b"")
    return found


async def written(log: Path, output: list[Chunk], cuts: list[int], *, again: bool = False) -> dict[str, bytes]:
    """The log after a server that is killed when it has written so many chunks, again and again."""
    engine = Engine(output)
    for number, cut in enumerate([*sorted(cuts), None]):  # type: ignore[list-item]
        pumps = Pumps(engine)
        engine.reach, engine.ends = (len(output), True) if cut is None else (cut, False)
        engine.waiting.clear()
        (pumps.resume if number or again else pumps.start)("c1", str(log))
        await (pumps.finished("c1") if cut is None else engine.waiting.wait())
        await pumps.close()
    return content(log)


def expected(output: list[Chunk]) -> dict[str, bytes]:
    streams = {name: b"".join(c.data for c in output if c.stream == name) for name in ("stdout", "stderr")}
    return {name: text + (b"\n" if text and not text.endswith(b"\n") else b"") for name, text in streams.items()}


def bare(found: dict[str, bytes], output: list[Chunk]) -> dict[str, bytes]:
    """Without the newline that criadapt, and not the container, put behind a last line."""
    ended = {name: b"".join(c.data for c in output if c.stream == name).endswith(b"\n") for name in found}
    return {name: text if ended[name] else text.removesuffix(b"\n") for name, text in found.items()}


# ---------------------------------------------------------------------------------------------- restarts

PIECES = [
    b"a\n",
    b"b\nc\n",
    b"\n",
    b"par",
    b"tial",
    b"d\nrest",
    b"\xff\0\n",
    LONG,  # several in a row make a line longer than an entry
    LONG + b"\n",
    b"y" * (2 * MAX_CONTENT + 5),  # one chunk, several entries, no end
    b"z" * MAX_CONTENT + b"\nz",
]
OUTPUT = st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.sampled_from(PIECES)), max_size=7)
STEPS = st.integers(1, 3)  # chunks that carry the same time


@settings(max_examples=100, deadline=None)
@given(OUTPUT, st.lists(st.integers(0, 7), max_size=3), STEPS)
def test_both_streams_survive_restarts_at_every_point(
    data: list[tuple[str, bytes]], cuts: list[int], step: int
) -> None:
    output = chunks(*data, step=step)
    with folder() as path:
        log = asyncio.run(written(path / "0.log", output, [min(cut, len(output)) for cut in cuts]))
        assert bare(log, output) == bare(expected(output), output)


@settings(max_examples=100, deadline=None)
@given(OUTPUT, st.floats(0, 1), STEPS)
def test_a_write_torn_anywhere_is_made_good(data: list[tuple[str, bytes]], share: float, step: int) -> None:
    output = chunks(*data, step=step)
    with folder() as path:
        log = path / "0.log"
        asyncio.run(written(log, output, []))
        os.truncate(log, round(share * log.stat().st_size))
        found = asyncio.run(written(log, output, [], again=True))
        assert bare(found, output) == bare(expected(output), output)


@settings(max_examples=100, deadline=None)
@given(OUTPUT, st.lists(st.integers(0, 7), max_size=3), STEPS)
def test_restarts_leave_no_trace_in_the_file(data: list[tuple[str, bytes]], cuts: list[int], step: int) -> None:
    output = chunks(*data, step=step)
    if len({chunk.stream for chunk in output}) > 1:  # who ends the last lines of two streams: see the finding below
        output = [*output, *(Chunk(name, b"\n", T + 100) for name in ("stdout", "stderr"))]  # type: ignore[arg-type]
    with folder() as path:
        asyncio.run(written(path / "once.log", output, []))
        asyncio.run(written(path / "0.log", output, [min(cut, len(output)) for cut in cuts]))
        assert (path / "0.log").read_bytes() == (path / "once.log").read_bytes()


FINDINGS = {
    "the begin of a line is lost if the other stream wrote a line since": (
        chunks(("stdout", b"be"), ("stderr", b"e\n"), ("stdout", b"gun\n")),
        [2],
    ),
    "a piece of a long line is written twice if the chunk's end was not written": (
        chunks(("stdout", LONG), ("stdout", LONG), ("stdout", b"\n")),
        [2],
    ),
}


@pytest.mark.parametrize("finding", FINDINGS)
async def test_unfinished_lines_survive_a_restart(tmp_path: Path, finding: str) -> None:
    output, cuts = FINDINGS[finding]
    assert await written(tmp_path / "0.log", output, cuts) == expected(output)


@pytest.mark.parametrize("stderr", [b"e\n", b"unfinished too"])
async def test_a_finished_log_stays_as_it_is(tmp_path: Path, stderr: bytes) -> None:
    output = chunks(("stdout", b"a\nlast"), ("stderr", stderr))
    engine = Engine(output)
    for number in range(2):  # the output ended, and then the server was restarted before the exit was recorded
        pumps = Pumps(engine)
        (pumps.resume if number else pumps.start)("c1", str(tmp_path / "0.log"))
        await pumps.finished("c1")
    assert content(tmp_path / "0.log") == expected(output)


async def test_a_rotation_just_before_the_restart_repeats_nothing(tmp_path: Path) -> None:
    output = chunks(("stdout", b"a\n"), ("stdout", b"b\n"))
    await written(tmp_path / "0.log", output[:1], [])
    (tmp_path / "0.log").rename(tmp_path / "0.log.20161006-000000")
    (tmp_path / "0.log").touch()
    pumps = Pumps(Engine(output))
    pumps.resume("c1", str(tmp_path / "0.log"))
    await pumps.finished("c1")
    assert content(tmp_path / "0.log")["stdout"] == b"b\n"


# ---------------------------------------------------------------------------------------------- one run


async def test_the_file_is_there_before_the_first_output(tmp_path: Path) -> None:
    engine = Engine([])
    engine.ends = False
    pumps = Pumps(engine)
    pumps.start("c1", str(tmp_path / "new" / "0.log"))
    assert (tmp_path / "new" / "0.log").exists()
    assert pumps.is_running("c1")
    await pumps.close()
    assert not pumps.is_running("c1")


@pytest.mark.parametrize("verb", ["start", "resume"])
async def test_without_a_path_the_output_is_read_and_dropped(verb: str) -> None:
    pumps = Pumps(Engine(chunks(("stdout", b"a\n"))))
    getattr(pumps, verb)("c1", "")
    await pumps.finished("c1")
    with pytest.raises(FailedPrecondition, match="keeps no log"):
        pumps.reopen("c1")


@pytest.mark.parametrize("error", [Unavailable("away"), Unsupported("no output")])
async def test_an_engine_without_output_ends_the_pump_quietly(tmp_path: Path, error: Exception) -> None:
    class Broken(FakeEngine):
        async def output(self, id: str, since_ns: int) -> AsyncIterator[Chunk]:  # type: ignore[override]
            raise error
            yield

    pumps = Pumps(Broken())
    pumps.start("c1", str(tmp_path / "0.log"))
    await pumps.finished("c1")
    assert not pumps.is_running("c1")


async def test_a_file_that_cannot_be_made_is_an_error_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    pumps = Pumps(Engine([]))
    with pytest.raises(OSError, match=r"Not a directory|File exists"):
        pumps.start("c1", str(tmp_path / "file" / "0.log"))
    assert not pumps.is_running("c1")


async def test_waiting_for_or_stopping_what_is_not_pumped_is_fine() -> None:
    pumps = Pumps(Engine([]))
    await pumps.finished("unknown")
    await pumps.stop("unknown")
    await pumps.close()


async def test_a_reopen_that_fails_says_why(tmp_path: Path) -> None:
    engine = Engine([])
    engine.ends = False
    pumps = Pumps(engine)
    pumps.start("c1", str(tmp_path / "0.log"))
    (tmp_path / "0.log").unlink()
    (tmp_path / "0.log").mkdir()
    with pytest.raises(FailedPrecondition, match=r"log file .* cannot be opened: Is a directory"):
        pumps.reopen("c1")
    await pumps.close()


async def test_lost_entries_are_counted_over_all_containers(tmp_path: Path) -> None:
    engine = Engine(chunks(("stdout", b"a\nb\n")))
    pumps = Pumps(engine)
    for id in ("c1", "c2"):
        pumps.start(id, str(tmp_path / f"{id}.log"))
        (tmp_path / f"{id}.log").unlink()
        (tmp_path / f"{id}.log").mkdir()
    await pumps.finished("c1")
    await pumps.finished("c2")
    assert pumps.dropped == 4


async def test_an_unexpected_error_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Buggy(FakeEngine):
        async def output(self, id: str, since_ns: int) -> AsyncIterator[Chunk]:  # type: ignore[override]
            raise KeyError("a bug in a backend")
            yield

    pumps = Pumps(Buggy())
    pumps.start("c1", str(tmp_path / "0.log"))
    await pumps.finished("c1")
    assert "log pump failed" in caplog.text
    assert "a bug in a backend" in caplog.text
