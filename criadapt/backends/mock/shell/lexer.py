"""From characters to tokens: words with their quotes and expansions, operators, here-documents."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from criadapt.backends.mock.shell.syntax import (
    Arith,
    CommandSub,
    IncompleteError,
    Item,
    Param,
    Part,
    Quoted,
    Redirect,
    ShellSyntaxError,
    Text,
    Word,
)

OPERATORS = (
    "<<<", "<<-", "&>>", "&&", "||", ";;", "<<", ">>", "<&", ">&", "<>", ">|", "&>", ";", "&", "|", "(", ")", "<", ">"
)  # fmt: skip
_NAME = re.compile(r"[A-Za-z_]\w*")
_PARAMETER = re.compile(r"[A-Za-z_]\w*|\d+|[@*#?$!-]")
_PARAMETER_OPS = (":-", ":=", ":?", ":+", "##", "%%", "//", "-", "=", "?", "+", "#", "%", "/", ":")
_BREAK = " \t\n;&|<>()"


@dataclass(slots=True)
class Token:
    """`kind`: word, op, newline, io (digits before a redirection) or end."""

    kind: str
    text: str = ""
    word: Word | None = None

    def __str__(self) -> str:
        return {"newline": "newline", "end": "end of file"}.get(self.kind, self.text)


class Lexer:
    """Makes tokens on demand. `parse` turns the text from a position on into the commands of a substitution."""

    def __init__(self, text: str, parse: Callable[[str, int], tuple[list[Item], int]], at: int = 0) -> None:
        self.text = text
        self.at = at
        self._parse = parse
        self._documents: list[tuple[Redirect, str, bool]] = []

    # ------------------------------------------------------------------ tokens

    def token(self) -> Token:
        """The next token."""
        self._blanks()
        if self.at >= len(self.text):
            if self._documents:
                raise IncompleteError("here-document without end")
            return Token("end")
        char = self.text[self.at]
        if char == "\n":
            self.at += 1
            self._read_documents()
            return Token("newline")
        match = re.compile(r"(\d+)(?=[<>])").match(self.text, self.at)
        if match is not None:
            self.at = match.end()
            return Token("io", match[1])
        for operator in OPERATORS:
            if self.text.startswith(operator, self.at):
                self.at += len(operator)
                return Token("op", operator)
        start = self.at
        word = self.word()
        return Token("word", self.text[start : self.at], word)

    def _blanks(self) -> None:
        while self.at < len(self.text):
            if self.text[self.at] in " \t":
                self.at += 1
            elif self.text.startswith("\\\n", self.at):
                self.at += 2
            elif self.text[self.at] == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            else:
                return

    # ------------------------------------------------------------------ here-documents

    def expect_document(self, redirect: Redirect, delimiter: Word, strip: bool) -> None:
        """Lines up to the delimiter belong to `redirect`; they come after this line."""
        quoted = any(not isinstance(part, Text) or part.quoted for part in delimiter.parts)
        redirect.target = Word([Text("", quoted=quoted)])
        self._documents.append((redirect, _flat(delimiter.parts), strip))

    def _read_documents(self) -> None:
        for redirect, delimiter, strip in self._documents:
            lines = []
            while True:
                if self.at >= len(self.text):
                    raise IncompleteError("here-document without end")
                line, newline, _ = self.text[self.at :].partition("\n")
                self.at += len(line) + len(newline)
                line = line.lstrip("\t") if strip else line
                if line == delimiter:
                    break
                lines.append(line + "\n")
            content = "".join(lines)
            first = redirect.target.parts[0]
            if isinstance(first, Text) and first.quoted:
                redirect.target = Word([Text(content, quoted=True)])
            else:
                inner = Lexer(content, self._parse)
                redirect.target = Word([Quoted(inner.double_quoted(end=""))])
        self._documents.clear()

    # ------------------------------------------------------------------ words

    def word(self, stop: str = _BREAK) -> Word:
        """A word, up to an unquoted character of `stop`."""
        parts: list[Part] = []
        plain = ""

        def flush() -> None:
            nonlocal plain
            if plain:
                parts.append(Text(plain))
                plain = ""

        while self.at < len(self.text) and self.text[self.at] not in stop:
            char = self.text[self.at]
            if char == "\\":
                self.at += 2
                escaped = self.text[self.at - 1 : self.at]
                if escaped == "\n":
                    continue
                flush()
                parts.append(Text(escaped or "\\", quoted=True))
            elif char == "'":
                flush()
                end = self.text.find("'", self.at + 1)
                if end < 0:
                    raise IncompleteError("unterminated quoted string")
                parts.append(Text(self.text[self.at + 1 : end], quoted=True))
                self.at = end + 1
            elif char == '"':
                flush()
                self.at += 1
                parts.append(Quoted(self.double_quoted()))
            elif char in "$`":
                part = self._dollar() if char == "$" else self._backquoted()
                if isinstance(part, str):
                    plain += part
                else:
                    flush()
                    parts.append(part)
            else:
                plain += char
                self.at += 1
        flush()
        return Word(parts)

    def double_quoted(self, end: str = '"') -> list[Part]:
        """What stands up to the closing quote (or, for a here-document, the end of the text)."""
        parts: list[Part] = []
        text = ""
        while True:
            if self.at >= len(self.text):
                if end:
                    raise IncompleteError("unterminated quoted string")
                break
            char = self.text[self.at]
            if char == end:
                self.at += 1
                break
            if char == "\\" and self.text[self.at + 1 : self.at + 2] in ("$", "`", "\\", "\n", end or "$"):
                following = self.text[self.at + 1]
                text += "" if following == "\n" else following
                self.at += 2
            elif char in "$`":
                part = self._dollar(quoted=True) if char == "$" else self._backquoted()
                if isinstance(part, str):
                    text += part
                else:
                    if text:
                        parts.append(Text(text, quoted=True))
                        text = ""
                    parts.append(part)
            else:
                text += char
                self.at += 1
        if text or not parts:
            parts.append(Text(text, quoted=True))
        return parts

    # ------------------------------------------------------------------ expansions

    def _dollar(self, *, quoted: bool = False) -> Part | str:
        self.at += 1
        if self.text.startswith("((", self.at):
            arithmetic = self._arithmetic()
            if arithmetic is not None:
                return arithmetic
        if self.text.startswith("(", self.at):
            body, self.at = self._parse(self.text, self.at + 1)
            return CommandSub(body)
        if self.text.startswith("{", self.at):
            self.at += 1
            return self._braces(quoted)
        if self.text.startswith("'", self.at) and not quoted:
            return "$"
        match = re.compile(r"[A-Za-z_]\w*|\d|[@*#?$!-]").match(self.text, self.at)
        if match is None:
            return "$"
        self.at = match.end()
        return Param(match[0])

    def _arithmetic(self) -> Arith | None:
        """``((...))``; None when it turns out to be a subshell in a substitution."""
        depth, position = 0, self.at
        while position < len(self.text):
            char = self.text[position]
            depth += (char == "(") - (char == ")")
            position += 1
            if depth == 1 and char == ")":
                if not self.text.startswith(")", position):
                    return None
                inner = Lexer(self.text[self.at + 2 : position - 1], self._parse)
                parts = inner.double_quoted(end="")
                self.at = position + 1
                return Arith(Word(parts))
        raise IncompleteError("unterminated arithmetic")

    def _braces(self, quoted: bool) -> Part:
        if self.text.startswith("#", self.at) and not self.text.startswith(("#}", "#:", "#-", "#%", "##"), self.at):
            match = _PARAMETER.match(self.text, self.at + 1)
            if match is not None and self.text.startswith("}", match.end()):
                self.at = match.end() + 1
                return Param(match[0], "length")
        match = _PARAMETER.match(self.text, self.at)
        if match is None:
            raise (
                IncompleteError("bad substitution")
                if self.at >= len(self.text)
                else ShellSyntaxError("bad substitution")
            )
        self.at = match.end()
        param = Param(match[0])
        if not self.text.startswith("}", self.at):
            param.op = next((op for op in _PARAMETER_OPS if self.text.startswith(op, self.at)), "")
            if not param.op:
                raise (
                    IncompleteError("bad substitution")
                    if self.at >= len(self.text)
                    else ShellSyntaxError("bad substitution")
                )
            self.at += len(param.op)
            two = param.op in ("/", "//", ":")
            param.word = self._operand(
                quoted and param.op in (":-", "-", ":=", "=", ":+", "+", ":?", "?"), "/:" if two else ""
            )
            if two and self.text[self.at : self.at + 1] in ("/", ":"):
                self.at += 1
                param.second = self._operand(False, "")
        if not self.text.startswith("}", self.at):
            raise IncompleteError("missing '}'")
        self.at += 1
        return param

    def _operand(self, quoted: bool, separators: str) -> Word:
        """The word after an operator in braces. Inside double quotes, single quotes in it are plain."""
        if not quoted:
            return self.word("}" + separators)
        parts: list[Part] = []
        text = ""
        while self.at < len(self.text) and self.text[self.at] != "}":
            char = self.text[self.at]
            if char == "\\":
                text += self.text[self.at + 1 : self.at + 2]
                self.at += 2
            elif char in "$`":
                part = self._dollar(quoted=True) if char == "$" else self._backquoted()
                text, parts = (
                    ("", [*parts, Text(text, quoted=True), part]) if not isinstance(part, str) else (text + part, parts)
                )
            elif char == '"':
                self.at += 1
            else:
                text += char
                self.at += 1
        return Word([*parts, Text(text, quoted=True)])

    def _backquoted(self) -> Part:
        position = self.at + 1
        body = ""
        while position < len(self.text) and self.text[position] != "`":
            if self.text[position] == "\\" and self.text[position + 1 : position + 2] in ("`", "\\", "$"):
                position += 1
            body += self.text[position]
            position += 1
        if position >= len(self.text):
            raise IncompleteError("unterminated backquote")
        self.at = position + 1
        commands, _ = self._parse(body + ")", 0)
        return CommandSub(commands)


def _flat(parts: list[Part]) -> str:
    """Text of a here-document's delimiter, in which nothing is expanded."""
    return "".join(
        part.text if isinstance(part, Text) else _flat(part.parts) if isinstance(part, Quoted) else "$"
        for part in parts
    )


def is_name(text: str) -> bool:
    """Whether `text` can name a variable."""
    return _NAME.fullmatch(text) is not None
