"""What the shell's parser makes of a script."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Union


class ShellSyntaxError(Exception):
    """The script is wrong."""


class IncompleteError(ShellSyntaxError):
    """The script ends too early; with more lines it may become right."""


@dataclass(slots=True)
class Text:
    """Characters as they stand; quoted ones mean nothing but themselves."""

    text: str
    quoted: bool = False


@dataclass(slots=True)
class Quoted:
    """What stands between double quotes."""

    parts: list[Part]


@dataclass(slots=True)
class Param:
    """``$name`` or ``${name...}``; `op` is the operator, such as ``:-`` or ``##``, and "length" for ``${#name}``."""

    name: str
    op: str = ""
    word: Word | None = None
    second: Word | None = None


@dataclass(slots=True)
class CommandSub:
    """``$(...)`` or backquotes."""

    body: list[Item]


@dataclass(slots=True)
class Arith:
    """``$((...))``."""

    word: Word


Part = Union[Text, Quoted, Param, CommandSub, Arith]  # noqa: UP007


@dataclass(slots=True)
class Word:
    """A word before expansion."""

    parts: list[Part]

    @property
    def plain(self) -> str | None:
        """The word's text if nothing in it is quoted or expanded: only such a word can be reserved."""
        if len(self.parts) == 1 and isinstance(self.parts[0], Text) and not self.parts[0].quoted:
            return self.parts[0].text
        return None


@dataclass(slots=True)
class Redirect:
    """A redirection; for ``<<`` the target is the document."""

    fd: int
    op: str
    target: Word


@dataclass(slots=True)
class Simple:
    """Assignments and a command with its arguments."""

    assigns: list[tuple[str, Word]] = field(default_factory=list)
    words: list[Word] = field(default_factory=list)
    redirects: list[Redirect] = field(default_factory=list)


@dataclass(slots=True)
class Group:
    """``{ ... }``, or ``( ... )`` when it runs in a subshell."""

    body: list[Item]
    subshell: bool = False
    redirects: list[Redirect] = field(default_factory=list)


@dataclass(slots=True)
class If:
    """Conditions with what follows from them, and what else."""

    clauses: list[tuple[list[Item], list[Item]]]
    otherwise: list[Item]
    redirects: list[Redirect] = field(default_factory=list)


@dataclass(slots=True)
class Loop:
    """``while`` or ``until``."""

    condition: list[Item]
    body: list[Item]
    until: bool
    redirects: list[Redirect] = field(default_factory=list)


@dataclass(slots=True)
class For:
    """``for``; without words over the positional parameters."""

    name: str
    words: list[Word] | None
    body: list[Item]
    redirects: list[Redirect] = field(default_factory=list)


@dataclass(slots=True)
class Case:
    """``case``."""

    word: Word
    branches: list[tuple[list[Word], list[Item]]]
    redirects: list[Redirect] = field(default_factory=list)


@dataclass(slots=True)
class Function:
    """A function's definition."""

    name: str
    body: Command
    redirects: list[Redirect] = field(default_factory=list)


Command = Union[Simple, Group, If, Loop, For, Case, Function]  # noqa: UP007


@dataclass(slots=True)
class Pipeline:
    """Commands joined by pipes."""

    commands: list[Command]
    negated: bool = False


@dataclass(slots=True)
class Item:
    """Pipelines joined by ``&&`` and ``||``, perhaps in the background."""

    first: Pipeline
    rest: list[tuple[str, Pipeline]] = field(default_factory=list)
    background: bool = False
