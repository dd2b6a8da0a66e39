"""The table of commands that are part of the shell."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from criadapt.backends.mock.shell.interpreter import BUILTINS, Shell

Builtin = Callable[[Shell, list[str]], Awaitable[int]]


def builtin(*names: str) -> Callable[[Builtin], Builtin]:
    """Register a builtin under its names."""

    def register(function: Builtin) -> Builtin:
        for name in names:
            BUILTINS[name] = function
        return function

    return register


def number(args: list[str], default: int) -> int:
    """The first argument as a number, if it is one."""
    return int(args[0]) if args and args[0].lstrip("-").isdigit() else default
