"""Signals: the interface's ordinals against the kernel's numbers."""

from __future__ import annotations

import signal as posix

import pytest
from hypothesis import given
from hypothesis import strategies as st

from criadapt.errors import InvalidArgument
from criadapt.model.signals import Signal


@pytest.mark.parametrize("member", [member for member in Signal if 0 < member < Signal.SIGRTMIN])
def test_a_named_signal_has_the_kernels_number(member: Signal) -> None:
    assert member.number == getattr(posix, member.name)


@pytest.mark.parametrize(
    ("member", "number"),
    [
        (Signal.RUNTIME_DEFAULT, 15),
        (Signal.SIGRTMIN, 34),
        (Signal.SIGRTMINPLUS1, 35),
        (Signal.SIGRTMINPLUS15, 49),
        (Signal.SIGRTMAXMINUS14, 50),
        (Signal.SIGRTMAXMINUS1, 63),
        (Signal.SIGRTMAX, 64),
    ],
)
def test_real_time_signals_run_from_34_to_64(member: Signal, number: int) -> None:
    assert member.number == number


def test_every_number_from_1_to_64_but_the_two_of_libc_has_a_signal() -> None:
    assert {member.number for member in Signal} == set(range(1, 65)) - {32, 33}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SIGTERM", Signal.SIGTERM),
        ("term", Signal.SIGTERM),
        (" Quit ", Signal.SIGQUIT),
        ("15", Signal.SIGTERM),
        ("9", Signal.SIGKILL),
        ("SIGRTMIN+3", Signal.SIGRTMINPLUS3),
        ("rtmax-14", Signal.SIGRTMAXMINUS14),
        ("37", Signal.SIGRTMINPLUS3),
        ("17", Signal.SIGCHLD),
        ("6", Signal.SIGABRT),
        ("29", Signal.SIGIO),
    ],
)
def test_images_and_engines_spell_signals_in_many_ways(text: str, expected: Signal) -> None:
    assert Signal.parse(text) is expected


@given(st.sampled_from([member for member in Signal if member]))
def test_a_signal_is_found_again_by_its_name_and_its_number(member: Signal) -> None:
    assert Signal.parse(member.name) is member
    assert Signal.parse(str(member.number)).number == member.number


@pytest.mark.parametrize("text", ["", "SIG", "0", "65", "32", "-1", "SIGNOPE", "RUNTIME_DEFAULT", "SIGRTMIN+16", "1.5"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="is not a signal"):
        Signal.parse(text)


@pytest.mark.parametrize("text", ["²", "1" * 5000])
def test_digits_that_are_no_number_are_refused_too(text: str) -> None:
    with pytest.raises(InvalidArgument):
        Signal.parse(text)
