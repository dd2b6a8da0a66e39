"""CRI log lines: times to the nanosecond, lines cut and joined without losing a byte."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from criadapt.logs.format import MAX_CONTENT, LineSplitter, parse_timestamp, timestamp

STAMP = b"2016-10-06T00:17:09.669794202Z"


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (1475713029669794202, "2016-10-06T00:17:09.669794202Z"),
        (0, "1970-01-01T00:00:00.000000000Z"),
        (1, "1970-01-01T00:00:00.000000001Z"),
        (2**63 - 1, "2262-04-11T23:47:16.854775807Z"),
    ],
)
def test_times_have_nine_digits_and_are_utc(time_ns: int, text: str) -> None:
    assert timestamp(time_ns) == text


@settings(max_examples=100, deadline=None)
@given(st.integers(-(2**62), 2**63 - 1))
def test_times_round_trip(time_ns: int) -> None:
    assert parse_timestamp(timestamp(time_ns)) == time_ns


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("2016-10-06T02:17:09.669794202+02:00", 1475713029669794202),
        ("2016-10-05T19:47:09.669794202-04:30", 1475713029669794202),
        ("2016-10-06T00:17:09Z", 1475713029000000000),
        ("2016-10-06T00:17:09.5Z", 1475713029500000000),
        ("2016-10-06T00:17:09.6697942029Z", 1475713029669794202),
        ("2016-10-06T02:17:09+02:00", 1475713029000000000),
    ],
)
def test_other_writers_times_are_understood(text: str, time_ns: int) -> None:
    assert parse_timestamp(text) == time_ns


@pytest.mark.parametrize("text", ["", "x", "2016-10-06 nonsense", ".5Z", "stdout"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_timestamp(text)


def entries(*chunks: bytes, finish: bool = True) -> list[tuple[bytes, bytes]]:
    """(tag, content) of the entries that the chunks make."""
    splitter = LineSplitter("stdout")
    lines = [line for chunk in chunks for line in splitter.feed(chunk, STAMP)]
    lines += splitter.finish(STAMP) if finish else []
    found = []
    for line in lines:
        stamp, stream, tag, content = line.split(b" ", 3)
        assert (stamp, stream, content[-1:]) == (STAMP, b"stdout", b"\n")
        found.append((tag, content[:-1]))
    return found


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([b"a\n"], [(b"F", b"a")]),
        ([b"a\nb\n"], [(b"F", b"a"), (b"F", b"b")]),
        ([b"a", b"b\n"], [(b"P", b"a"), (b"F", b"b")]),
        ([b"\n"], [(b"F", b"")]),
        ([b"\n\n"], [(b"F", b""), (b"F", b"")]),
        ([b"a\r\n"], [(b"F", b"a")]),
        ([b"a\r", b"\n"], [(b"P", b"a\r"), (b"F", b"")]),
        ([b"a\rb\n"], [(b"F", b"a\rb")]),
        ([b"a\r\r\n"], [(b"F", b"a\r")]),
        ([b"a b  c \n"], [(b"F", b"a b  c ")]),
        ([b"\xff\x00\xfe\n"], [(b"F", b"\xff\x00\xfe")]),
        ([b"no newline"], [(b"P", b"no newline"), (b"F", b"")]),
        ([b"a\r"], [(b"P", b"a\r"), (b"F", b"")]),
        ([b""], []),
        ([], []),
    ],
)
def test_output_becomes_lines(chunks: list[bytes], expected: list[tuple[bytes, bytes]]) -> None:
    assert entries(*chunks) == expected


@pytest.mark.parametrize(
    ("size", "tags"),
    [
        (MAX_CONTENT - 1, b"F"),
        (MAX_CONTENT, b"F"),
        (MAX_CONTENT + 1, b"PF"),
        (2 * MAX_CONTENT, b"PF"),
        (2 * MAX_CONTENT + 1, b"PPF"),
    ],
)
def test_long_lines_are_cut(size: int, tags: bytes) -> None:
    found = entries(b"x" * size + b"\n")
    assert b"".join(tag for tag, _ in found) == tags
    assert b"".join(content for _, content in found) == b"x" * size


def test_a_line_is_written_before_it_ends() -> None:
    assert entries(b"x" * (MAX_CONTENT + 1), finish=False) == [(b"P", b"x" * MAX_CONTENT), (b"P", b"x")]


def test_the_stream_is_named() -> None:
    assert LineSplitter("stderr").feed(b"a\n", STAMP) == [STAMP + b" stderr F a\n"]


def test_each_piece_of_a_line_carries_the_time_at_which_it_was_read() -> None:
    splitter = LineSplitter("stdout")
    assert splitter.feed(b"a", b"first") == [b"first stdout P a\n"]
    assert splitter.feed(b"b\n", b"second") == [b"second stdout F b\n"]


@given(st.lists(st.binary(max_size=4), max_size=6), st.binary(max_size=6))
def test_the_entries_of_a_chunk_do_not_depend_on_what_came_before(before: list[bytes], chunk: bytes) -> None:
    used = LineSplitter("stdout")
    for piece in before:
        used.feed(piece, STAMP)
    assert used.feed(chunk, STAMP) == LineSplitter("stdout").feed(chunk, STAMP)


pieces = st.lists(
    st.one_of(
        st.sampled_from([b"\n", b"\r\n", b"\r", b"a", b"x" * MAX_CONTENT, b"y" * (MAX_CONTENT - 1)]),
        st.binary(max_size=4),
    ),
    max_size=12,
)


@settings(max_examples=80, deadline=None)
@given(pieces)
def test_no_byte_is_lost_or_changed_but_carriage_returns_before_newlines(chunks: list[bytes]) -> None:
    found = entries(*chunks)
    text = b"".join(content + (b"\n" if tag == b"F" else b"") for tag, content in found)
    whole = b"".join(chunks)
    # Within a chunk; a carriage return that ends one is kept, since nobody knows yet what follows it.
    expected = b"".join(chunk.replace(b"\r\n", b"\n") for chunk in chunks)
    assert text == expected + (b"\n" if whole and not whole.endswith(b"\n") else b"")
    assert all(len(content) <= MAX_CONTENT for _, content in found)


def test_the_time_is_that_of_the_calendar() -> None:
    assert timestamp(int(datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC).timestamp()) * 10**9).startswith(
        "2026-02-28T23:59:59."
    )
