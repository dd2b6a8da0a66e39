"""Compound commands: conditions, choices and loops."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from criadapt.backends.mock.shell.syntax import Case, For, If, Item, Loop

if TYPE_CHECKING:
    from criadapt.backends.mock.shell.interpreter import Shell

_TURN_NS = 20_000  # time that a turn of a loop takes


class LoopExit(Exception):
    """``break`` and ``continue``."""

    def __init__(self, levels: int, go_on: bool) -> None:
        super().__init__()
        self.levels = levels
        self.go_on = go_on


async def run_compound(shell: Shell, command: If | Case | Loop | For) -> int:
    """Run one; redirections are in place already."""
    if isinstance(command, If):
        return await _if(shell, command)
    if isinstance(command, Case):
        return await _case(shell, command)
    return await (_while(shell, command) if isinstance(command, Loop) else _for(shell, command))


async def _condition(shell: Shell, items: list[Item]) -> bool:
    shell.guarded += 1
    try:
        return await shell.items(items) == 0
    finally:
        shell.guarded -= 1


async def _if(shell: Shell, command: If) -> int:
    for condition, body in command.clauses:
        if await _condition(shell, condition):
            return await shell.items(body)
    shell.status = 0
    return await shell.items(command.otherwise)


async def _case(shell: Shell, command: Case) -> int:
    subject = await shell.expander.text(command.word)
    for patterns, body in command.branches:
        for pattern in patterns:
            if (await shell.expander.pattern(pattern)).fullmatch(subject):
                shell.status = 0
                return await shell.items(body)
    return 0


async def _while(shell: Shell, command: Loop) -> int:
    status = 0

    async def turn() -> bool:
        nonlocal status
        if await _condition(shell, command.condition) == command.until:
            return False
        status = await shell.items(command.body)
        return True

    await _loop(shell, turn)
    return status


async def _for(shell: Shell, command: For) -> int:
    words = list(shell.params) if command.words is None else await shell.expander.words(command.words)
    left = iter(words)
    status = 0

    async def turn() -> bool:
        nonlocal status
        word = next(left, None)
        if word is None:
            return False
        shell.assign(command.name, word)
        status = await shell.items(command.body)
        return True

    await _loop(shell, turn)
    return status


async def _loop(shell: Shell, turn: Callable[[], Awaitable[bool]]) -> None:
    shell.loops += 1
    try:
        while True:
            await shell.proc.clock.work(_TURN_NS)
            try:
                if not await turn():
                    return
            except LoopExit as leaving:
                if leaving.levels > 1 and shell.loops > 1:
                    raise LoopExit(leaving.levels - 1, leaving.go_on) from None
                if not leaving.go_on:
                    return
    finally:
        shell.loops -= 1
