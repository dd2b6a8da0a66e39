"""The log file: whole lines only, reopened by name, and a full disk loses lines but never the container."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from criadapt.logs.format import MAX_CONTENT, timestamp
from criadapt.logs.writer import LogWriter

T = 1475713029669794202


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pod" / "app" / "0.log"


@pytest.fixture
def writer(path: Path) -> Iterator[LogWriter]:
    writer = LogWriter(str(path))
    yield writer
    writer.close()


def lines(path: Path) -> list[str]:
    """Entries without their times."""
    return [line.partition(" ")[2] for line in path.read_text().splitlines()]


def test_the_file_exists_from_the_start(path: Path, writer: LogWriter) -> None:
    assert path.read_bytes() == b""
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755


def test_a_silent_container_holds_no_descriptor(path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    writers = [LogWriter(str(path.with_name(f"{n}.log"))) for n in range(10)]
    assert len(os.listdir("/proc/self/fd")) == before
    assert all(os.path.exists(writer.path) for writer in writers)


def test_what_was_there_stays(path: Path, writer: LogWriter) -> None:
    path.write_text("before\n")
    writer.write("stdout", b"a\n", T)
    assert path.read_text() == f"before\n{timestamp(T)} stdout F a\n"


def test_both_streams_go_to_one_file_in_order(path: Path, writer: LogWriter) -> None:
    writer.write("stdout", b"a", T)
    writer.write("stderr", b"e\n", T + 1)
    writer.write("stdout", b"b\n", T + 2)
    assert lines(path) == ["stdout P a", "stderr F e", "stdout F b"]


def test_the_end_ends_the_last_lines_of_both_streams(path: Path, writer: LogWriter) -> None:
    writer.write("stdout", b"a", T)
    writer.write("stderr", b"e", T)
    writer.finish()
    assert lines(path) == ["stdout P a", "stderr P e", "stdout F ", "stderr F "]
    writer.finish()
    assert len(lines(path)) == 4


def test_a_chunk_is_one_write(writer: LogWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(os, "write", lambda fd, data: sizes.append(len(data)) or len(data))
    writer.write("stdout", b"a\nb\nc" + b"x" * MAX_CONTENT, T)
    assert len(sizes) == 1


# ---------------------------------------------------------------------------------------------- rotation


def test_after_reopening_the_old_file_gets_no_more(path: Path, writer: LogWriter) -> None:
    writer.write("stdout", b"old\n", T)
    path.rename(path.with_suffix(".1"))
    writer.write("stdout", b"still old\n", T)
    writer.reopen()
    assert path.read_bytes() == b""
    writer.write("stdout", b"new\n", T)
    assert lines(path.with_suffix(".1")) == ["stdout F old", "stdout F still old"]
    assert lines(path) == ["stdout F new"]


def test_a_line_begun_before_goes_on_in_the_new_file(path: Path, writer: LogWriter) -> None:
    writer.write("stdout", b"be", T)
    path.rename(path.with_suffix(".1"))
    writer.reopen()
    writer.write("stdout", b"gun\n", T)
    assert lines(path.with_suffix(".1")) == ["stdout P be"]
    assert lines(path) == ["stdout F gun"]


def test_without_a_new_file_the_old_one_stays_open(path: Path, writer: LogWriter) -> None:
    writer.write("stdout", b"a\n", T)
    path.rename(path.with_suffix(".1"))
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        writer.reopen()
    writer.write("stdout", b"b\n", T)
    assert lines(path.with_suffix(".1")) == ["stdout F a", "stdout F b"]


def test_reopening_does_not_collect_descriptors(path: Path, writer: LogWriter) -> None:
    writer.reopen()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        writer.reopen()
    assert len(os.listdir("/proc/self/fd")) == before


# ---------------------------------------------------------------------------------------------- full disk


class Disk:
    """os.write on a disk with so many bytes left."""

    def __init__(self, left: int) -> None:
        self.left = left
        self._write: Callable[[int, bytes], int] = os.write

    def __call__(self, fd: int, data: bytes) -> int:
        if not self.left:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self._write(fd, data[: self.left])
        self.left -= written
        return written


def test_a_full_disk_loses_lines_and_counts_them(
    path: Path, writer: LogWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "write", disk := Disk(0))
    writer.write("stdout", b"a\nb\n", T)
    writer.write("stdout", b"c\n", T)
    assert (writer.dropped, path.read_bytes()) == (3, b"")
    disk.left = 1000
    writer.write("stdout", b"d\n", T)
    assert (writer.dropped, lines(path)) == (3, ["stdout F d"])


def test_a_file_that_cannot_be_opened_loses_lines_too(path: Path, writer: LogWriter) -> None:
    path.unlink()
    path.mkdir()
    writer.write("stdout", b"a\n", T)
    assert writer.dropped == 1


def test_a_short_write_is_gone_on_with(path: Path, writer: LogWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:7]))
    writer.write("stdout", b"a\nb\n", T)
    assert (writer.dropped, lines(path)) == (0, ["stdout F a", "stdout F b"])


def test_after_a_disk_ran_full_in_the_middle_of_a_line_the_next_one_is_whole(
    path: Path, writer: LogWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "write", disk := Disk(40))
    writer.write("stdout", b"this does not fit\n", T)
    disk.left = 1000
    writer.write("stdout", b"whole\n", T)
    assert lines(path) == ["stdout F whole"]
    assert writer.dropped == 1


def test_what_a_full_disk_cut_off_does_not_cost_what_was_there(
    path: Path, writer: LogWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.write("stdout", b"before\n", T)
    monkeypatch.setattr(os, "write", disk := Disk(45))  # the first entry and a piece of the second
    writer.write("stdout", b"a\nb\n", T)
    assert (writer.dropped, lines(path)) == (2, ["stdout F before"])
    disk.left = 1000
    writer.write("stdout", b"c\n", T)
    assert lines(path) == ["stdout F before", "stdout F c"]


# ---------------------------------------------------------------------------------------------- skipping


@pytest.mark.parametrize(
    ("skip", "chunks", "expected"),
    [
        ((0, 0), [(T, b"a\n")], ["a"]),
        ((T, 1), [(T, b"a\n"), (T + 1, b"b\n")], ["b"]),
        ((T, 1), [(T, b"a\nb\n"), (T + 1, b"c\n")], ["b", "c"]),
        ((T, 2), [(T, b"a\n"), (T, b"b\n"), (T, b"c\n")], ["c"]),
        ((T, 2), [(T, b"a\n"), (T + 1, b"b\n")], ["b"]),
        ((T, 5), [(T + 1, b"a\nb\n")], ["a", "b"]),
        ((T, 1), [(T, b"a\nrest"), (T + 1, b"!\n")], ["P rest", "F !"]),
        ((T, 1), [(T, b"no"), (T + 1, b"w\n")], ["F w"]),
        ((T, 2), [(T, b"last")], []),
    ],
)
def test_entries_that_are_there_already_are_skipped(
    path: Path, skip: tuple[int, int], chunks: list[tuple[int, bytes]], expected: list[str]
) -> None:
    writer = LogWriter(str(path), skip=skip)
    for time_ns, data in chunks:
        writer.write("stdout", data, time_ns)
    writer.finish()
    assert lines(path) == [
        f"stdout {entry}" if entry[:2] in ("P ", "F ") else f"stdout F {entry}" for entry in expected
    ]
