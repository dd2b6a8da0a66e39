"""Terminal sizes in bytes that come in any pieces."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from criadapt.remote.resize import MAX_TEXT, Sizes, encode


def read(*pieces: bytes) -> list[tuple[int, int]]:
    sizes = Sizes()
    return [size for piece in pieces for size in sizes.feed(piece)]


def test_a_size_is_written_as_go_writes_it() -> None:
    assert encode(80, 24) == b'{"Width":80,"Height":24}\n'


def test_objects_follow_one_another_with_or_without_a_line_between() -> None:
    assert read(b'{"Width":80,"Height":24}\n{"Height":2,"Width":1}{"Width":3,"Height":4} \r\n\t') == [
        (80, 24),
        (1, 2),
        (3, 4),
    ]


def test_an_object_may_come_in_pieces() -> None:
    sizes = Sizes()
    assert list(sizes.feed(b'{"Width":8')) == []
    assert list(sizes.feed(b"")) == []
    assert list(sizes.feed(b'0,"Height":24')) == []
    assert list(sizes.feed(b'}{"Width":1,')) == [(80, 24)]
    assert list(sizes.feed(b'"Height":2}')) == [(1, 2)]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 65535), st.integers(1, 65535)), max_size=8),
    st.lists(st.integers(0, 300)),
    st.data(),
)
def test_sizes_arrive_however_they_are_cut(
    wanted: list[tuple[int, int]], places: list[int], data: st.DataObject
) -> None:
    between = st.sampled_from([b"", b"\n", b" \n "])
    text = b"".join(encode(*size).rstrip() + data.draw(between) for size in wanted)
    marks = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    assert read(*(text[begin:end] for begin, end in pairwise(marks))) == wanted
    assert read(*(text[at : at + 1] for at in range(len(text)))) == wanted


@pytest.mark.parametrize(
    "odd",
    [
        b'{"Width":0,"Height":24}',
        b'{"Width":80,"Height":0}',
        b'{"Width":65536,"Height":24}',
        b'{"Width":80,"Height":65536}',
        b'{"Width":-1,"Height":24}',
        b'{"Width":80.0,"Height":24}',
        b'{"Width":"80","Height":24}',
        b'{"Width":true,"Height":24}',
        b'{"Width":80,"Height":false}',
        b'{"Width":null,"Height":24}',
        b'{"Width":NaN,"Height":24}',
        b'{"Width":80}',
        b"{}",
        b"[80,24]",
        b"null",
        b'"text"',
        b"7 ",
    ],
)
def test_sizes_that_no_terminal_has_are_left_out(odd: bytes) -> None:
    assert read(odd + b'{"Width":1,"Height":2}') == [(1, 2)]


def test_the_largest_size_is_one() -> None:
    assert read(encode(65535, 65535)) == [(65535, 65535)]


def test_what_else_an_object_has_is_ignored() -> None:
    assert read('{"Width":1,"Height":2,"ü":{"a":[1]}}'.encode()) == [(1, 2)]


@pytest.mark.parametrize("garbage", [b"hello", b"}", b"\xff\xff", b"[1", b"nul", b"\0", b'{"Width":1,"Height":2},'])
def test_what_is_no_json_raises(garbage: bytes) -> None:
    sizes = Sizes()
    with pytest.raises(ValueError, match="not a terminal size"):
        list(sizes.feed(garbage))


def test_sizes_before_the_garbage_are_given() -> None:
    feed = Sizes().feed(b'{"Width":1,"Height":2}garbage')
    assert next(feed) == (1, 2)
    with pytest.raises(ValueError):
        next(feed)


def test_an_object_that_never_ends_is_not_collected() -> None:
    sizes = Sizes()
    assert list(sizes.feed(b'{"' + b"x" * (MAX_TEXT - 2))) == []
    with pytest.raises(ValueError):
        list(sizes.feed(b"x"))
    with pytest.raises(ValueError):
        list(Sizes().feed(b'{"' + b"x" * 1_000_000))


def test_white_space_is_not_collected() -> None:
    sizes = Sizes()
    for _ in range(100):
        assert list(sizes.feed(b" \n" * 5000)) == []
    assert list(sizes.feed(b'{"Width":1,"Height":2}')) == [(1, 2)]


@pytest.mark.parametrize("depth", [2000, 100_000])
def test_brackets_without_end_raise(depth: int) -> None:
    with pytest.raises(ValueError):
        list(Sizes().feed(b'{"Width":' + b"[" * depth + b"]" * depth + b"}" * (depth == 2000)))


def test_a_number_too_long_to_be_read_raises() -> None:
    with pytest.raises(ValueError):
        list(Sizes().feed(b'{"Width":' + b"9" * 5000 + b',"Height":1}'))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.binary(max_size=50) | st.text(alphabet='{}[]":,0 WidthHeight', max_size=50).map(str.encode), max_size=6)
)
def test_garbage_raises_value_errors_and_nothing_else(pieces: list[bytes]) -> None:
    try:
        found = read(*pieces)
    except ValueError:
        return
    assert all(0 < side < 65536 for size in found for side in size)


@settings(max_examples=60, deadline=None)
@given(st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)))
def test_any_object_in_between_is_passed_over(value: object) -> None:
    assert read(encode(1, 2), json.dumps({"Width": value}).encode(), encode(3, 4)) == [(1, 2), (3, 4)]
