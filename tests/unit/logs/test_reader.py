"""Reading a log: joined lines, both ends of it, and what happens to its files meanwhile."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from criadapt.errors import EngineError, InvalidArgument, NotFound, PermissionDenied
from criadapt.logs import files, tail
from criadapt.logs.files import READ
from criadapt.logs.format import timestamp
from criadapt.logs.lines import LogLine
from criadapt.logs.reader import LogReader
from criadapt.logs.writer import LogWriter

T = 1475713029669794202
SECOND = 1_000_000_000


def entry(content: bytes | str, tag: str = "F", stream: str = "stdout", time_ns: int = T) -> bytes:
    content = content.encode() if isinstance(content, str) else content
    return f"{timestamp(time_ns)} {stream} {tag} ".encode() + content + b"\n"


def drained(reader: LogReader) -> list[LogLine]:
    """All that is there now."""
    found = reader.poll()
    while not reader.at_end:
        found += reader.poll()
    return found


def texts(lines: Sequence[LogLine]) -> list[str]:
    """The lines' texts; partial ones end with three dots."""
    return [line.text + ("..." if line.partial else "") for line in lines]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "0.log"


@pytest.fixture
def reader(path: Path) -> Iterator[LogReader]:
    with LogReader(path) as reader:
        yield reader


# ---------------------------------------------------------------------------------------------- lines


def test_a_line_has_its_time_stream_and_bytes(path: Path) -> None:
    path.write_bytes(entry("hello", time_ns=T) + entry(b"\xff\0", stream="stderr", time_ns=T + 1))
    first, second = LogReader(path).read()
    assert first == LogLine(time_ns=T, stream="stdout", data=b"hello")
    assert first.time == datetime(2016, 10, 6, 0, 17, 9, 669794, UTC)
    assert (second.time_ns, second.stream, second.data, second.text) == (T + 1, "stderr", b"\xff\0", "\ufffd\0")


def test_an_empty_line_and_one_of_spaces_are_lines(path: Path) -> None:
    path.write_bytes(entry("") + entry("  a  ") + entry("F"))
    assert texts(LogReader(path).read()) == ["", "  a  ", "F"]


def test_pieces_are_joined_by_stream_and_dated_by_the_first(path: Path) -> None:
    path.write_bytes(
        entry("a", "P", time_ns=T) + entry("x", stream="stderr") + entry("b", "P:more") + entry("c", time_ns=T + 9)
    )
    found = LogReader(path).read()
    assert [(line.stream, line.text, line.time_ns) for line in found] == [("stderr", "x", T), ("stdout", "abc", T)]


def test_pieces_are_given_raw_on_request(path: Path) -> None:
    path.write_bytes(entry("a", "P") + entry("b"))
    assert texts(LogReader(path, pieces=True).read()) == ["a...", "b"]


def test_a_line_that_does_not_end_comes_in_pieces(path: Path) -> None:
    path.write_bytes(entry("abc", "P") * 5 + entry("end"))
    assert texts(LogReader(path, limit=6).read()) == ["abcabc...", "abcabc...", "abcend"]


def test_an_entry_longer_than_one_read_is_one_line(path: Path) -> None:
    content = bytes(range(256)).replace(b"\n", b"") * (READ // 100)
    path.write_bytes(entry("before") + entry(content) + entry("after"))
    assert [line.data for line in LogReader(path, limit=1 << 30).read()] == [b"before", content, b"after"]


def test_a_program_that_ends_without_a_newline_leaves_a_partial_line(reader: LogReader, path: Path) -> None:
    path.write_bytes(entry("a") + entry("b", "P"))
    assert texts(drained(reader)) == ["a"]
    assert texts(reader.finish()) == ["b..."]
    assert reader.done
    assert reader.poll() == []


def test_what_is_no_entry_is_told_in_its_place(path: Path) -> None:
    bad = [b"no time", timestamp(T).encode() + b" stdin F x", timestamp(T).encode() + b" stdout Q x", b""]
    path.write_bytes(entry("a") + b"".join(line + b"\n" for line in bad) + entry("b"))
    found = LogReader(path, streams=["stdout"]).read()
    assert [line.data for line in found] == [b"a", *bad, b"b"]
    assert [line.problem.partition(": ")[2] for line in found] == [
        "",
        "it does not begin with an RFC 3339 time",
        "its stream is neither stdout nor stderr",
        "its tag is neither P nor F",
        "it does not begin with an RFC 3339 time",
        "",
    ]


def test_docker_s_own_format_is_read_too(path: Path) -> None:
    path.write_text(
        '{"log":"long ","stream":"stdout","time":"2016-10-06T00:17:09.669794202Z"}\n'
        '{"log":"line\\n","stream":"stdout","time":"2016-10-06T00:17:09.7Z"}\n'
        '{"log":"oops\\n","stream":"stdin","time":"2016-10-06T00:17:09.7Z"}\n'
        '{"log":1}\n'
    )
    first, *rest = LogReader(path).read()
    assert first == LogLine(time_ns=T, stream="stdout", data=b"long line")
    assert all("neither CRI's nor Docker's" in line.problem for line in rest)


# ---------------------------------------------------------------------------------------------- which lines


def test_since_and_until_bound_the_times(path: Path) -> None:
    path.write_bytes(b"".join(entry(str(n), time_ns=T + n * SECOND) for n in range(10)))
    assert texts(LogReader(path, since=T + 3 * SECOND, until=T + 5 * SECOND).read()) == ["3", "4", "5"]
    moment = datetime(2016, 10, 6, 2, 17, 16, tzinfo=timezone(timedelta(hours=2)))
    assert texts(LogReader(path, since=moment).read()) == ["7", "8", "9"]
    assert LogReader(path, since=timedelta(hours=1)).read() == []


def test_after_until_a_follower_is_done(reader: LogReader, path: Path) -> None:
    path.write_bytes(entry("a") + entry("b", time_ns=T + 2))
    with LogReader(path, until=T + 1) as reader:
        assert texts(drained(reader)) == ["a"]
        assert reader.done


def test_one_stream_alone(path: Path) -> None:
    path.write_bytes(entry("a") + entry("b", stream="stderr"))
    assert texts(LogReader(path, streams=("stderr",)).read()) == ["b"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"streams": "stdout"}, "streams is 'stdout'"),
        ({"streams": ["stdin"]}, "collection of 'stdout' and 'stderr'"),
        ({"tail": -1}, "tail is -1"),
        ({"since": datetime(2020, 1, 1)}, "since 2020-01-01 00:00:00 has no time zone"),  # noqa: DTZ001
    ],
)
def test_doubtful_arguments_are_refused(path: Path, arguments: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        LogReader(path, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [0, 1, 3, 10, 99])
def test_the_tail_of_a_log(path: Path, count: int) -> None:
    path.write_bytes(b"".join(entry(str(n)) for n in range(10)))
    assert texts(LogReader(path, tail=count).read()) == [str(n) for n in range(10)][10 - min(count, 10) :]


def test_a_tail_of_nothing_is_followed_by_what_comes(path: Path) -> None:
    path.write_bytes(entry("old") + b"2016")
    with LogReader(path, tail=0) as reader:
        assert drained(reader) == []
        path.write_bytes(entry("old") + entry("new"))
        assert texts(drained(reader)) == ["new"]


def test_a_tail_counts_lines_not_pieces_and_mixes_no_streams(path: Path) -> None:
    path.write_bytes(
        entry("0")
        + entry("a", "P")
        + entry("err 1", stream="stderr")
        + entry("b", "P")
        + entry("err 2", stream="stderr")
        + entry("c")
    )
    assert texts(LogReader(path, tail=1).read()) == ["abc"]
    assert texts(LogReader(path, tail=2).read()) == ["err 2", "abc"]
    assert texts(LogReader(path, tail=1, streams=["stderr"]).read()) == ["err 2"]
    assert texts(LogReader(path, tail=2, pieces=True).read()) == ["err 2", "c"]


def test_an_unfinished_line_belongs_to_the_tail(path: Path) -> None:
    path.write_bytes(entry("a") + entry("b") + entry("c", "P"))
    assert texts(LogReader(path, tail=2).read()) == ["b", "c..."]


def test_the_tail_within_a_time(path: Path) -> None:
    path.write_bytes(b"".join(entry(str(n), time_ns=T + n) for n in range(10)))
    assert texts(LogReader(path, tail=3, until=T + 5).read()) == ["3", "4", "5"]
    assert texts(LogReader(path, tail=3, since=T + 8).read()) == ["8", "9"]


def test_the_tail_of_a_large_log_is_found_from_its_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a terabyte of nothing, which reading from the front would never get through
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + b"".join(entry(str(n)) for n in range(1000)))
    assert texts(LogReader(path, tail=2).read()) == ["998", "999"]


def test_the_search_for_a_line_s_beginning_has_an_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "LOOK_BACK", 100)
    path.write_bytes(entry("a", "P") + entry("x", stream="stderr") * 100 + entry("b"))
    assert texts(LogReader(path, tail=1).read()) == ["b"]


# ---------------------------------------------------------------------------------------------- growing


def test_a_torn_line_is_waited_for(reader: LogReader, path: Path) -> None:
    line = entry("whole")
    path.write_bytes(entry("a") + line[:20])
    assert texts(drained(reader)) == ["a"]
    path.write_bytes(entry("a") + line[:-1])
    assert drained(reader) == []
    path.write_bytes(entry("a") + line)
    assert texts(drained(reader)) == ["whole"]


def test_a_torn_line_that_a_restarted_runtime_cuts_off_is_no_truncation(reader: LogReader, path: Path) -> None:
    path.write_bytes(entry("a") + b"2016-10")
    assert texts(drained(reader)) == ["a"]
    os.truncate(path, len(entry("a")))
    with path.open("ab") as file:
        file.write(entry("b"))
    assert texts(drained(reader)) == ["b"]


def test_what_nobody_ever_finished_is_given_in_the_end(path: Path) -> None:
    path.write_bytes(entry("a") + entry("half")[:-3])
    assert texts(LogReader(path).read()) == ["a", "ha..."]
    path.write_bytes(entry("a") + b"2016-10")
    assert [bool(line.problem) for line in LogReader(path).read()] == [False, True]


@given(
    st.lists(
        st.tuples(st.sampled_from(["stdout", "stderr"]), st.sampled_from("PPF"), st.binary(max_size=9)), max_size=12
    ),
    st.data(),
)
def test_delivered_in_any_pieces_the_lines_are_the_same(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, bytes]], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("log") / "0.log"
    whole = b"".join(entry(content.replace(b"\n", b"\r"), tag, stream) for stream, tag, content in rows)
    path.write_bytes(whole)
    expected = LogReader(path, limit=30).read()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=20)))
    path.write_bytes(b"")
    found: list[LogLine] = []
    with LogReader(path, limit=30) as reader, path.open("ab", buffering=0) as file:
        for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
            file.write(whole[start:end])
            found += drained(reader)
        found += reader.finish()
    assert found == expected


@given(
    st.lists(
        st.tuples(st.sampled_from(["stdout", "stderr"]), st.sampled_from("PFFF"), st.integers(0, 99)), max_size=20
    ),
    st.integers(0, 8),
    st.sets(st.integers(0, 19), max_size=3),
)
def test_a_tail_is_the_end_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, int]], count: int, cuts: set[int]
) -> None:
    path = tmp_path_factory.mktemp("log") / "0.log"
    rotations = 0
    for number, (stream, tag, value) in enumerate([*rows, ("stdout", "F", 1), ("stderr", "F", 2)]):
        if number in cuts and path.exists():
            path.rename(path.with_name(f"0.log.20161006-{rotations:06}"))
            rotations += 1
        with path.open("ab") as log:
            log.write(entry(str(value), tag, stream, T + number))
    whole = LogReader(path, rotated=True).read()
    found = LogReader(path, rotated=True, tail=count).read()
    assert found == whole[len(whole) - min(count, len(whole)) :]


def test_an_open_line_beside_the_tail_costs_it_nothing(path: Path) -> None:
    path.write_bytes(entry("a", "P") + entry("open", "P", stream="stderr") + entry("b"))
    assert texts(LogReader(path, tail=1).read()) == ["ab", "open..."]


def test_byte_by_byte(reader: LogReader, path: Path) -> None:
    whole = entry("a") + entry(b"\xff", "P") + entry("b") + entry("", stream="stderr")
    found = []
    with path.open("ab", buffering=0) as file:
        for byte in whole:
            file.write(bytes([byte]))
            found += drained(reader)
    assert found == LogReader(path).read()


# ---------------------------------------------------------------------------------------------- rotation


class Log:
    """A log and its rotation, as kubelet and a runtime do it between them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writer = LogWriter(str(path))
        self.rotations = 0
        self.lines = 0

    def write(self, *texts: str) -> None:
        for text in texts:
            self.lines += 1
            self.writer.write("stdout", f"{text}\n".encode(), T + self.lines)

    def rename(self) -> Path:
        self.rotations += 1
        name = self.path.with_name(f"{self.path.name}.20161006-{self.rotations:06}")
        self.path.rename(name)
        return name

    def rotate(self) -> Path:
        name = self.rename()
        self.writer.reopen()
        return name


def compress(path: Path) -> None:
    """As kubelet does it."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(gzip.compress(path.read_bytes()))
    temporary.rename(path.with_name(path.name + ".gz"))
    path.unlink()


@pytest.fixture
def log(path: Path) -> Iterator[Log]:
    log = Log(path)
    yield log
    log.writer.close()


def test_a_rotation_is_followed_without_loss_or_repetition(reader: LogReader, log: Log) -> None:
    log.write("a")
    assert texts(drained(reader)) == ["a"]
    log.write("b")
    log.rename()
    log.write("c")  # the writer still has the renamed file
    assert texts(drained(reader)) == ["b", "c"]
    log.write("d")
    log.writer.reopen()
    assert texts(drained(reader)) == ["d"]
    log.write("e")
    assert texts(drained(reader)) == ["e"]


def test_a_writer_may_be_slow_to_go_over_to_the_new_file(reader: LogReader, log: Log) -> None:
    log.write("a")
    drained(reader)
    log.rename()
    log.path.touch()  # the new file exists, the writer has not switched
    assert drained(reader) == []
    log.write("b")
    assert texts(drained(reader)) == ["b"]
    log.writer.reopen()
    log.write("c")
    assert texts(drained(reader)) == ["c"]


def test_several_rotations_at_once_are_made_up_for(reader: LogReader, log: Log) -> None:
    log.write("a")
    drained(reader)
    for text in "bcd":
        log.write(text)
        log.rotate()
    log.write("e")
    assert texts(drained(reader)) == ["b", "c", "d", "e"]


def test_files_compressed_and_removed_meanwhile_are_read_to_their_end(reader: LogReader, log: Log) -> None:
    log.write("a")
    drained(reader)
    log.write("b")
    first = log.rotate()
    log.write("c")
    second = log.rotate()
    log.write("d")
    log.rotate()
    log.write("e")
    compress(first)
    compress(second)
    assert texts(drained(reader)) == ["b", "c", "d", "e"]


def test_a_file_renamed_back_is_the_same_file(reader: LogReader, log: Log) -> None:
    log.write("a")
    drained(reader)
    log.rename().rename(log.path)
    log.write("b")
    assert texts(drained(reader)) == ["b"]


def test_numbered_files_are_oldest_when_highest(reader: LogReader, log: Log) -> None:
    log.write("a")
    drained(reader)
    for text in "bc":
        log.write(text)
        if (older := log.path.with_name("0.log.1")).exists():
            older.rename(log.path.with_name("0.log.2"))
        log.path.rename(older)
        log.writer.reopen()
    log.write("d")
    assert texts(drained(reader)) == ["b", "c", "d"]
    assert texts(LogReader(log.path, rotated=True).read()) == ["a", "b", "c", "d"]


def test_a_removed_file_is_read_to_its_end(reader: LogReader, log: Log) -> None:
    log.write("a")
    drained(reader)
    log.write("b")
    log.path.unlink()
    assert texts(drained(reader)) == ["b"]
    log.writer.reopen()
    log.write("c")
    assert texts(drained(reader)) == ["c"]


def test_a_line_may_go_on_in_the_next_file(reader: LogReader, log: Log) -> None:
    log.writer.write("stdout", b"one ", T)
    assert drained(reader) == []
    log.rotate()
    log.writer.write("stdout", b"line\n", T + 1)
    assert texts(drained(reader)) == ["one line"]
    assert texts(LogReader(log.path, rotated=True, tail=1).read()) == ["one line"]


def test_a_truncated_file_is_read_anew(reader: LogReader, path: Path) -> None:
    path.write_bytes(entry("a") * 10 + entry("open", "P"))
    assert len(drained(reader)) == 10
    path.write_bytes(entry("b"))
    assert texts(drained(reader)) == ["open...", "b"]


def test_rotated_files_come_first_when_asked_for(log: Log) -> None:
    for text in "abcd":
        log.write(text)
        rotated = log.rotate()
        if text in "ab":
            compress(rotated)
    log.path.with_name("0.log.20161006-000009.tmp").write_bytes(entry("half"))
    log.path.with_name("0.logbook").write_bytes(entry("another container"))
    log.write("e")
    assert texts(LogReader(log.path).read()) == ["e"]
    assert texts(LogReader(log.path, rotated=True).read()) == ["a", "b", "c", "d", "e"]
    for count in range(7):
        assert texts(LogReader(log.path, rotated=True, tail=count).read()) == list("abcde")[5 - min(count, 5) :]


def test_a_file_under_compression_is_read_once(log: Log) -> None:
    log.write("a")
    rotated = log.rotate()
    rotated.with_name(rotated.name + ".gz").write_bytes(gzip.compress(rotated.read_bytes()))
    log.write("b")
    assert texts(LogReader(log.path, rotated=True).read()) == ["a", "b"]


def test_a_damaged_archive_is_told_and_the_rest_read(log: Log) -> None:
    log.write("a")
    rotated = log.rotate()
    packed = gzip.compress(b"".join(entry(os.urandom(99).hex()) for _ in range(5000)))
    rotated.with_name(rotated.name + ".gz").write_bytes(packed[:-100])
    rotated.unlink()
    log.write("b")
    found = LogReader(log.path, rotated=True).read()
    assert len(found) > 100
    assert found[-1].text == "b"
    assert f"{rotated.name}.gz' cannot be unpacked" in found[-2].problem


def test_between_rename_and_reopening_the_newest_rotated_file_stands_in(log: Log) -> None:
    log.write("a")
    log.rename()
    with LogReader(log.path, rotated=True) as reader:
        assert texts(drained(reader)) == ["a"]
        log.writer.reopen()
        log.write("b")
        assert texts(drained(reader)) == ["b"]


def test_a_link_to_a_log_is_followed_where_it_leads(log: Log, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "web.log"
    link.symlink_to(log.path)
    log.write("a")
    log.rotate()
    log.write("b")
    with LogReader(link, rotated=True) as reader:
        assert texts(drained(reader)) == ["a", "b"]
        log.rotate()
        log.write("c")
        assert texts(drained(reader)) == ["c"]


STEPS: dict[str, Callable[[Log], object]] = {
    "rename": lambda log: log.path.exists() and log.rename(),
    "reopen": lambda log: log.writer.reopen(),
    "rotate": lambda log: log.path.exists() and log.rotate(),
}


@given(st.lists(st.sampled_from(["write", "write", "poll", *STEPS]), max_size=40))
def test_whatever_the_order_of_events_each_line_comes_once(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    log = Log(tmp_path_factory.mktemp("log") / "0.log")
    found: list[LogLine] = []
    written = 0
    with LogReader(log.path) as reader:
        reader.poll()
        for step in [*steps, "reopen", "write"]:
            if step == "write":
                written += 1
                log.write(str(written))
            elif step == "poll":
                found += reader.poll()
            else:
                STEPS[step](log)
        found += drained(reader)
    log.writer.close()
    assert texts(found) == [str(number) for number in range(1, written + 1)]


# ---------------------------------------------------------------------------------------------- trouble


def test_a_log_that_is_not_there(reader: LogReader, path: Path) -> None:
    with pytest.raises(NotFound, match=r"0\.log' does not exist"):
        reader.poll()
    path.write_bytes(entry("a"))
    assert texts(drained(reader)) == ["a"]


def test_a_log_that_may_not_be_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object, path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(files.LogFile, "__init__", refuse)
    with pytest.raises(PermissionDenied, match=r"0\.log' may not be read"):
        LogReader(path).poll()


def test_a_folder_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="Is a directory"):
        LogReader(tmp_path).poll()


def test_a_closed_reader_gives_nothing(path: Path) -> None:
    path.write_bytes(entry("a"))
    reader = LogReader(path)
    reader.close()
    assert reader.poll() == []
    assert reader.read() == []
