"""The table of programs that mock containers can run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # the context knows the machine, which finds its programs here
    from criadapt.backends.mock.programs.context import Context

Main = Callable[["Context"], Awaitable[int]]


class Place(Enum):
    """Where `ls` shows a program; it can be called by its path in any directory of programs."""

    BIN = "bin"
    SBIN = "usr/sbin"
    ROOT = "hidden; also directly in /"


class Entry(NamedTuple):
    """A program in the table."""

    main: Main
    place: Place


PROGRAMS: dict[str, Entry] = {}


def program(*names: str, place: Place = Place.BIN) -> Callable[[Main], Main]:
    """Register an ``async def main(ctx) -> int`` under one or more names; the last definition of a name counts."""

    def register(main: Main) -> Main:
        for name in names:
            PROGRAMS[name] = Entry(main, place)
        return main

    return register
