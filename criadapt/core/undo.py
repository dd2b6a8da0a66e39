"""Undo written next to do: steps that are taken back, last first, unless the whole succeeds.

Taking back runs in a task of its own under its own time limit, so neither the caller's deadline nor its
cancellation can stop the cleaning (a network address leaked that way is never found again).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

log = logging.getLogger(__name__)

BUDGET_SECONDS = 60.0


class Undo:
    """``async with Undo(...) as undo: …; undo.push("remove it", remove, id); …; undo.keep()``."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._steps: list[tuple[str, Callable[[], Awaitable[object]]]] = []
        self.failures: list[str] = []
        """Steps that could not be taken back, for whoever wants to keep a record of the remains."""
        self.on_failure: Callable[[list[str]], None] | None = None

    def push(self, step: str, action: Callable[[], Awaitable[object]]) -> None:
        """Take `step` back by calling `action` if the whole fails."""
        self._steps.append((step, action))

    def keep(self) -> None:
        """The whole succeeded: nothing is taken back."""
        self._steps.clear()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._steps:
            return
        cleaning = asyncio.get_running_loop().create_task(self._take_back())
        cancelled = False
        while not cleaning.done():
            try:
                await asyncio.shield(cleaning)
            except asyncio.CancelledError:
                cancelled = True  # asked to hurry: the cleaning has its own limit, so go on waiting
        cleaning.result()
        if cancelled and not isinstance(error, asyncio.CancelledError):
            raise asyncio.CancelledError

    async def _take_back(self) -> None:
        deadline = asyncio.get_running_loop().time() + BUDGET_SECONDS
        for step, action in reversed(self._steps):
            try:
                async with asyncio.timeout_at(deadline):
                    await action()
            except (Exception, asyncio.CancelledError) as error:  # a step's own cancellation must not skip the others
                reason = str(error) or type(error).__name__
                self.failures.append(f"{step}: {reason}")
                log.warning("undo failed", extra={"what": self._what, "step": step, "error": reason})
        if self.failures and self.on_failure is not None:
            self.on_failure(self.failures)
