"""Expansion of words: parameters, substitutions, arithmetic, splitting, globbing."""

from __future__ import annotations

import re
from collections.abc import Awaitable
from functools import lru_cache
from typing import Protocol

from criadapt.backends.mock.files import View
from criadapt.backends.mock.shell.arith import Arithmetic
from criadapt.backends.mock.shell.syntax import Arith, CommandSub, Item, Param, Part, Quoted, Text, Word

Piece = tuple[str, bool]  # text, and whether it is quoted


class ExpansionError(Exception):
    """``${x:?message}`` or an unset variable under ``set -u``: ends a script."""


class Source(Protocol):
    """What expansion needs of a shell."""

    variables: dict[str, str]
    params: list[str]
    options: set[str]

    def special(self, name: str) -> str | None:
        """Value of ``$?`` and its like; None for a name that is not special."""

    def assign(self, name: str, value: str) -> None:
        """Set a variable."""

    def substitute(self, body: list[Item]) -> Awaitable[str]:
        """Output of commands."""

    @property
    def files(self) -> View:
        """Files to match patterns against."""


class _Fields:
    """Collects the fields that one word expands to."""

    def __init__(self) -> None:
        self.done: list[list[Piece]] = []
        self._current: list[Piece] | None = None

    def add(self, text: str, quoted: bool) -> None:
        if self._current is None:
            self._current = []
        self._current.append((text, quoted))

    def cut(self) -> None:
        if self._current is not None:
            self.done.append(self._current)
            self._current = None

    def add_split(self, value: str, ifs: str) -> None:
        """Append an unquoted value, cut at the characters of IFS."""
        if not ifs:
            if value:
                self.add(value, False)
            return
        white, other = "".join(c for c in ifs if c in " \t\n"), "".join(c for c in ifs if c not in " \t\n")
        start = 0
        for match in _separators(white, other).finditer(value):
            if match.start() > start or (other and match[0].strip(white)):
                self.add(value[start : match.start()], False)
            self.cut()
            start = match.end()
        if start < len(value):
            self.add(value[start:], False)


@lru_cache(maxsize=64)
def _separators(white: str, other: str) -> re.Pattern[str]:
    blank = f"[{re.escape(white)}]" if white else "(?!)"
    if not other:
        return re.compile(f"{blank}+")
    return re.compile(f"{blank}*[{re.escape(other)}]{blank}*|{blank}+")


class Expander:
    """Expands words for one shell."""

    def __init__(self, source: Source) -> None:
        self._source = source

    async def words(self, words: list[Word]) -> list[str]:
        """All fields that the words expand to."""
        fields = []
        for word in words:
            fields += await self.fields(word)
        return fields

    async def fields(self, word: Word) -> list[str]:
        """Fields of one word: expanded, split, matched against files."""
        plain = word.plain
        if plain is not None and not set(plain) & set("*?[~"):
            return [plain]
        collected = _Fields()
        await self._parts(_tilde(word.parts, self._source), collected, quoted=False)
        collected.cut()
        found: list[str] = []
        for pieces in collected.done:
            found += self._glob(pieces)
        return found

    async def text(self, word: Word) -> str:
        """One string: expanded, neither split nor matched."""
        return "".join(text for text, _ in await self._pieces(word))

    async def pattern(self, word: Word) -> re.Pattern[str]:
        """The word as a pattern that a whole string must match."""
        return glob_regex(await self._pieces(word))

    async def _pieces(self, word: Word) -> list[Piece]:
        collected = _Fields()
        ifs = self._source.variables.get("IFS")
        await self._parts(_tilde(word.parts, self._source), collected, quoted=False, split=False)
        collected.cut()
        joiner = " " if ifs is None else ifs[:1]
        pieces: list[Piece] = []
        for index, field in enumerate(collected.done):
            pieces += ([(joiner, True)] if index else []) + field
        return pieces

    async def _parts(
        self, parts: list[Part], out: _Fields, *, quoted: bool, split: bool = True, operand: bool = False
    ) -> None:
        for part in parts:
            if isinstance(part, Text) and operand and split and not (quoted or part.quoted):
                out.add_split(part.text, self._source.variables.get("IFS", " \t\n"))
            elif isinstance(part, Text):
                out.add(part.text, quoted or part.quoted)
            elif isinstance(part, Quoted):
                if not _only_args(part):
                    out.add("", True)
                await self._parts(part.parts, out, quoted=True, split=split)
            elif isinstance(part, Param) and part.name in "@*" and part.op in ("", ":"):
                await self._arguments(part, out, quoted, split)
            elif isinstance(part, Param) and part.op in (":-", "-", ":+", "+") and part.word is not None:
                if self._wants_word(part):
                    await self._parts(part.word.parts, out, quoted=quoted, split=split, operand=True)
                elif "+" not in part.op:
                    self._value(self._get(part.name) or "", out, quoted, split)
            else:
                self._value(await self._expand(part), out, quoted, split)

    def _value(self, value: str, out: _Fields, quoted: bool, split: bool) -> None:
        if quoted or not split:
            out.add(value, quoted)
        else:
            out.add_split(value, self._source.variables.get("IFS", " \t\n"))

    async def _arguments(self, part: Param, out: _Fields, quoted: bool, split: bool) -> None:
        params = self._source.params
        if part.op == ":" and part.word is not None:
            start = self._arithmetic(await self.text(part.word))
            count = self._arithmetic(await self.text(part.second)) if part.second else len(params)
            everything = ["sh", *params]
            params = everything[start : start + count]
        if quoted and part.name == "*":
            out.add(self._source.variables.get("IFS", " ")[:1].join(params), True)
            return
        for index, value in enumerate(params):
            if index:
                out.cut()
            self._value(value, out, quoted, split)

    def _wants_word(self, part: Param) -> bool:
        value = self._get(part.name)
        missing = value is None or (part.op.startswith(":") and value == "")
        return missing != ("+" in part.op)

    def _get(self, name: str) -> str | None:
        special = self._source.special(name)
        if special is not None or not (name[0].isalpha() or name[0] == "_"):
            return special
        return self._source.variables.get(name)

    async def _expand(self, part: Part) -> str:
        if isinstance(part, CommandSub):
            return (await self._source.substitute(part.body)).rstrip("\n")
        if isinstance(part, Arith):
            return str(self._arithmetic(await self.text(part.word)))
        assert isinstance(part, Param), part
        value = self._get(part.name)
        if value is None and "u" in self._source.options and part.op in ("", "length", "#", "##", "%", "%%"):
            raise ExpansionError(f"{part.name}: parameter not set")
        if part.op == "length":
            return str(len(self._source.params) if part.name in "@*" else len(value or ""))
        if not part.op or part.word is None:
            return value or ""
        return await self._operate(part, part.word, value)

    async def _operate(self, part: Param, word: Word, value: str | None) -> str:
        missing = value is None or (part.op.startswith(":") and value == "")
        if part.op in (":=", "="):
            if missing:
                value = await self.text(word)
                self._source.assign(part.name, value)
            return value or ""
        if part.op in (":?", "?"):
            if missing:
                message = await self.text(word)
                raise ExpansionError(f"{part.name}: {message or 'parameter not set'}")
            return value or ""
        value = value or ""
        if part.op == ":":
            start = self._arithmetic(await self.text(word))
            start = max(0, start + len(value)) if start < 0 else start
            if part.second is None:
                return value[start:]
            length = self._arithmetic(await self.text(part.second))
            return value[start : start + length] if length >= 0 else value[start:length]
        pattern = await self.pattern(word)
        if part.op in ("/", "//"):
            new = await self.text(part.second) if part.second is not None else ""
            return _replace(pattern, value, new, everywhere=part.op == "//")
        cuts = range(len(value) + 1)
        if part.op[0] == "#":
            order = cuts if part.op == "#" else reversed(cuts)
            return next((value[cut:] for cut in order if pattern.fullmatch(value[:cut])), value)
        order = reversed(cuts) if part.op == "%" else cuts
        return next((value[:cut] for cut in order if pattern.fullmatch(value[cut:])), value)

    def _arithmetic(self, text: str) -> int:
        return Arithmetic(text, lambda name: self._get(name) or "", self._source.assign).value()

    # ------------------------------------------------------------------ globbing

    def _glob(self, pieces: list[Piece]) -> list[str]:
        literal = "".join(text for text, _ in pieces)
        if "f" in self._source.options or not any(not quoted and set(text) & set("*?[") for text, quoted in pieces):
            return [literal]
        segments: list[list[Piece]] = [[]]
        for text, quoted in pieces:
            head, *rest = text.split("/")
            segments[-1].append((head, quoted))
            segments += [[(one, quoted)] for one in rest]
        found = [""]
        for index, segment in enumerate(segments):
            found = self._segment(found, segment, last=index == len(segments) - 1)
        return sorted(found) or [literal]

    def _segment(self, bases: list[str], segment: list[Piece], *, last: bool) -> list[str]:
        end = "" if last else "/"
        name = "".join(text for text, _ in segment)
        if not any(not quoted and set(text) & set("*?[") for text, quoted in segment):
            return [base + name + end for base in bases if not last or self._source.files.exists((base + name) or "/")]
        pattern = glob_regex(segment)
        found = []
        for base in bases:
            try:
                names = self._source.files.names(base or ".")
            except OSError:  # not a directory, or not to be read: nothing matches there
                continue
            for one in names:
                hidden = one.startswith(".") and not name.startswith(".")
                if not hidden and pattern.fullmatch(one) and (last or self._source.files.is_dir(base + one)):
                    found.append(base + one + end)
        return found


def glob_regex(pieces: list[Piece]) -> re.Pattern[str]:
    """A shell pattern as a regular expression."""
    out = ""
    for text, quoted in pieces:
        if quoted:
            out += re.escape(text)
            continue
        position = 0
        while position < len(text):
            char = text[position]
            position += 1
            bracket = _BRACKET.match(text, position - 1)
            if bracket is not None:
                members = re.sub(r"\[:(\w+):\]", lambda match: _CLASSES.get(match[1], ""), bracket[2])
                members = members.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
                out += f"[{'^' if bracket[1] else ''}{members}]"
                position = bracket.end()
            else:
                out += {"*": ".*", "?": "."}.get(char) or re.escape(char)
    return re.compile(out, re.DOTALL)


_BRACKET = re.compile(r"\[([!^]?)(\]?(?:\[:\w+:\]|[^\]])*)\]")
_CLASSES = {
    "alpha": "a-zA-Z", "digit": "0-9", "alnum": "a-zA-Z0-9", "upper": "A-Z", "lower": "a-z", "space": " \t\n\r\f\v",
}  # fmt: skip


def _replace(pattern: re.Pattern[str], value: str, new: str, *, everywhere: bool) -> str:
    if not pattern.pattern:
        return value
    return pattern.sub(lambda _: new, value, count=0 if everywhere else 1)


def _only_args(part: Quoted) -> bool:
    """Whether the quotes hold ``$@`` alone, which may expand to nothing at all."""
    return len(part.parts) == 1 and isinstance(part.parts[0], Param) and part.parts[0].name == "@"


def _tilde(parts: list[Part], source: Source) -> list[Part]:
    first = parts[0] if parts else None
    if not isinstance(first, Text) or first.quoted or not first.text.startswith("~"):
        return parts
    user, slash, rest = first.text[1:].partition("/")
    if user or (len(parts) > 1 and not slash):
        return parts
    return [Text(source.variables.get("HOME", "/"), quoted=True), Text(slash + rest), *parts[1:]]
