"""Where a log is gone on with after a restart."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from criadapt.logs.format import MAX_CONTENT, timestamp
from criadapt.logs.resume import _BLOCK, mend, resume_point
from criadapt.logs.writer import LogWriter

T = 1475713029669794202


def log(path: Path, *entries: tuple[int, str]) -> None:
    path.write_text("".join(f"{timestamp(time)} {rest}\n" for time, rest in entries))


@pytest.mark.parametrize(
    ("entries", "point"),
    [
        ([], (0, 0)),
        ([(T, "stdout F a")], (T, 1)),
        ([(T, "stdout F a"), (T + 1, "stdout F b")], (T + 1, 1)),
        ([(T, "stdout F a"), (T, "stderr F b")], (T, 2)),
        ([(T - 1, "stdout F x"), (T, "stdout P a"), (T, "stdout P b"), (T, "stdout F ")], (T, 3)),
        ([(T, "stdout F a"), (T + 1, "stdout F b"), (T, "stdout F c")], (T, 1)),
    ],
)
def test_the_last_time_and_how_many_entries_have_it(
    tmp_path: Path, entries: list[tuple[int, str]], point: tuple[int, int]
) -> None:
    log(tmp_path / "0.log", *entries)
    assert resume_point(tmp_path / "0.log") == point


def test_without_a_file_all_is_still_to_be_written(tmp_path: Path) -> None:
    assert resume_point(tmp_path / "0.log") == (0, 0)
    assert resume_point(tmp_path / "none" / "0.log") == (0, 0)


def test_an_empty_file_is_gone_on_from_the_newest_rotated_one(tmp_path: Path) -> None:
    log(tmp_path / "0.log")
    log(tmp_path / "0.log.20161006-000001", (T, "stdout F old"))
    log(tmp_path / "0.log.20161006-000002", (T + 1, "stdout F a"), (T + 1, "stdout F b"))
    (tmp_path / "0.log.20161006-000003.gz").write_bytes(gzip.compress(b"x"))
    log(tmp_path / "0.log.20161006-000004.tmp", (T + 9, "stdout F half"))
    log(tmp_path / "0.logbook", (T + 9, "stdout F another container"))
    assert resume_point(tmp_path / "0.log") == (T + 1, 2)


def test_the_current_file_goes_before_rotated_ones(tmp_path: Path) -> None:
    log(tmp_path / "0.log", (T, "stdout F a"))
    log(tmp_path / "0.log.1", (T + 5, "stdout F b"))
    assert resume_point(tmp_path / "0.log") == (T, 1)


@pytest.mark.parametrize("content", [b"\xff\xfe garbage here\n", b"no time here\n", b"\n\n", b"\0" * 100])
def test_a_file_that_is_no_log_says_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "0.log").write_bytes(content)
    assert resume_point(tmp_path / "0.log") == (0, 0)


def test_a_long_line_of_many_pieces_is_counted_whole(tmp_path: Path) -> None:
    writer = LogWriter(str(tmp_path / "0.log"))
    writer.write("stdout", b"before\n", T - 1)
    writer.write("stdout", b"x" * (5 * MAX_CONTENT) + b"\n", T)
    writer.close()
    assert resume_point(tmp_path / "0.log") == (T, 5)


def test_a_chunk_of_many_short_lines_is_counted_whole(tmp_path: Path) -> None:
    writer = LogWriter(str(tmp_path / "0.log"))
    writer.write("stdout", b"y\n" * 16384, T)  # what `yes` writes at a time
    writer.close()
    assert resume_point(tmp_path / "0.log") == (T, 16384)


def test_an_entry_cut_short_is_not_counted(tmp_path: Path) -> None:
    (tmp_path / "0.log").write_text(f"{timestamp(T)} stdout F a\n{timestamp(T + 1)} stdout F cut sho")
    assert resume_point(tmp_path / "0.log") == (T, 1)


@pytest.mark.parametrize("size", [_BLOCK - 1, _BLOCK, _BLOCK + 1, 2 * _BLOCK, 2 * _BLOCK + 1])
@pytest.mark.parametrize("torn", [b"", b"x", b"x" * (_BLOCK + 1)], ids=len)
def test_blocks_in_which_the_file_is_read_do_not_matter(tmp_path: Path, size: int, torn: bytes) -> None:
    entry = f"{timestamp(T + 1)} stdout F abc\n".encode()
    first = f"{timestamp(T)} stdout F ".encode()
    first += b"y" * ((size - len(first) - 1) % len(entry)) + b"\n"
    count = (size - len(first)) // len(entry)
    whole = first + count * entry
    assert len(whole) == size
    (tmp_path / "0.log").write_bytes(whole + torn)
    assert resume_point(tmp_path / "0.log") == (T + 1, count)
    mend(tmp_path / "0.log")
    assert (tmp_path / "0.log").read_bytes() == whole


@pytest.mark.parametrize(
    ("content", "left"),
    [(b"", b""), (b"a\n", b"a\n"), (b"a\nb", b"a\n"), (b"torn", b""), (b"\n", b"\n"), (b"x" * (3 * _BLOCK), b"")],
)
def test_an_entry_cut_short_is_cut_away(tmp_path: Path, content: bytes, left: bytes) -> None:
    (tmp_path / "0.log").write_bytes(content)
    for _ in range(2):
        mend(tmp_path / "0.log")
        assert (tmp_path / "0.log").read_bytes() == left


def test_without_a_file_there_is_nothing_to_mend(tmp_path: Path) -> None:
    mend(tmp_path / "0.log")
    mend(tmp_path / "none" / "0.log")
    assert list(tmp_path.iterdir()) == []
