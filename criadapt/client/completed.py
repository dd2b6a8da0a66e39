"""A command that has run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from criadapt.errors import CriadaptError

MAX_SHOWN = 500  # bytes of stderr in an error message


class CommandFailed(CriadaptError):
    """A command in a container ended with an exit code other than 0."""

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Completed:
    """What a command wrote, and how it ended: 128+n for a death by signal n."""

    cmd: tuple[str, ...]
    exit_code: int
    stdout: bytes = b""
    stderr: bytes = b""

    def check(self) -> Self:
        """Itself. Raises CommandFailed unless the exit code is 0."""
        if self.exit_code:
            said = self.stderr[-MAX_SHOWN:].decode("utf-8", "replace").strip()
            message = f"command {' '.join(self.cmd)!r} ended with exit code {self.exit_code}"
            raise CommandFailed(f"{message}: {said}" if said else message, exit_code=self.exit_code)
        return self
