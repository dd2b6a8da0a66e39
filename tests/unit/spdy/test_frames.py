"""Frames byte by byte."""

from __future__ import annotations

import pytest

from criadapt.spdy import GoAwayStatus, ResetStatus, frames
from criadapt.spdy.frames import Kind


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (frames.syn_stream(1, b"BLOCK"), "80030001 0000000f 00000001 00000000 0000 424c4f434b"),
        (frames.syn_stream(3, b"", frames.FIN), "80030001 0100000a 00000003 00000000 0000"),
        (frames.syn_reply(1, b"BLOCK"), "80030002 00000009 00000001 424c4f434b"),
        (frames.rst_stream(5, ResetStatus.CANCEL), "80030003 00000008 00000005 00000005"),
        (frames.ping(2), "80030006 00000004 00000002"),
        (frames.go_away(7, GoAwayStatus.OK), "80030007 00000008 00000007 00000000"),
        (frames.go_away(0, GoAwayStatus.INTERNAL_ERROR), "80030007 00000008 00000000 00000002"),
        (frames.control(Kind.SETTINGS, b"\0\0\0\0"), "80030004 00000004 00000000"),
        (frames.data_head(1, 0, frames.FIN), "00000001 01000000"),
        (frames.data_head(0x7FFFFFFF, 0xFFFFFF), "7fffffff 00ffffff"),
    ],
)
def test_frames_are_laid_out_as_the_draft_says(frame: bytes, expected: str) -> None:
    assert frame == bytes.fromhex(expected)


def test_a_head_is_word_flags_and_length() -> None:
    assert frames.head(bytes.fromhex("80030001 02 00abcd")) == (0x80030001, 2, 0xABCD)
    assert frames.head(memoryview(bytes.fromhex("00000003 01 ffffff"))) == (3, 1, 0xFFFFFF)


def test_reserved_bits_are_not_read() -> None:
    assert frames.pair(bytes.fromhex("80000005 00000003")) == (5, 3)
    assert frames.number(bytes.fromhex("80000005 00")) == 0x80000005  # a ping has all 32


def test_statuses_have_the_numbers_of_the_draft() -> None:
    assert [status.value for status in ResetStatus] == list(range(1, 12))
    assert (ResetStatus.PROTOCOL_ERROR, ResetStatus.REFUSED_STREAM, ResetStatus.CANCEL) == (1, 3, 5)
    assert [status.value for status in GoAwayStatus] == [0, 1, 2]
