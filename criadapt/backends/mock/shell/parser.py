"""From tokens to commands: a recursive-descent parser of the POSIX shell's grammar."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

from criadapt.backends.mock.shell.lexer import Lexer, Token, is_name
from criadapt.backends.mock.shell.syntax import (
    Case,
    Command,
    For,
    Function,
    Group,
    If,
    IncompleteError,
    Item,
    Loop,
    Pipeline,
    Redirect,
    ShellSyntaxError,
    Simple,
    Text,
    Word,
)

_REDIRECTIONS = ("<", ">", ">>", "<<", "<<-", "<<<", "<&", ">&", "<>", ">|", "&>", "&>>")
_RESERVED = (
    "if",
    "then",
    "elif",
    "else",
    "fi",
    "while",
    "until",
    "for",
    "do",
    "done",
    "case",
    "esac",
    "{",
    "}",
    "!",
    "in",
)
_CLOSING = ("then", "elif", "else", "fi", "do", "done", "esac", "}")


def parse(text: str) -> Iterable[list[Item]]:
    """Complete commands of a script, a line's worth at a time.

    With a mistake in it, the lines before can still be had. Containers that run the same script share its commands.
    """
    try:
        return _parse_all(text)
    except ShellSyntaxError:
        return Parser(text).lines()


@lru_cache(maxsize=256)
def _parse_all(text: str) -> tuple[list[Item], ...]:
    return tuple(Parser(text).lines())


class Parser:
    """Parses one text."""

    def __init__(self, text: str, at: int = 0) -> None:
        self._lexer = Lexer(text, _parse_substitution, at)
        self._token: Token | None = None

    def lines(self) -> Iterator[list[Item]]:
        """Complete commands, a line's worth at a time. Raises ShellSyntaxError when it comes to it."""
        while True:
            self._newlines()
            if self._peek().kind == "end":
                return
            items = self._line()
            token = self._peek()
            if token.kind not in ("newline", "end"):
                raise self._unexpected(token)
            yield items

    def substitution(self) -> tuple[list[Item], int]:
        """Commands up to the closing parenthesis, and the position after it."""
        items = self.items()
        token = self._next()
        if token.text != ")" or token.kind != "op":
            raise self._unexpected(token)
        return items, self._lexer.at

    # ------------------------------------------------------------------ tokens

    def _peek(self) -> Token:
        if self._token is None:
            self._token = self._lexer.token()
        return self._token

    def _next(self) -> Token:
        token = self._peek()
        self._token = None
        return token

    def _newlines(self) -> None:
        while self._peek().kind == "newline":
            self._next()

    def _operator(self, *texts: str) -> bool:
        token = self._peek()
        return token.kind == "op" and token.text in texts

    def _reserved(self) -> str:
        """The reserved word that comes next, or nothing."""
        token = self._peek()
        plain = token.word.plain if token.word is not None else None
        return plain if plain is not None and plain in _RESERVED else ""

    def _expect(self, word: str) -> None:
        if self._reserved() != word:
            raise self._unexpected(self._peek(), word)
        self._next()

    @staticmethod
    def _unexpected(token: Token, wanted: str = "") -> ShellSyntaxError:
        kind = IncompleteError if token.kind == "end" else ShellSyntaxError
        described = str(token) if token.kind in ("newline", "end") else f'"{token}"'
        return kind(f"syntax error: unexpected {described}" + (f' (expecting "{wanted}")' if wanted else ""))

    # ------------------------------------------------------------------ lists

    def _line(self) -> list[Item]:
        items = []
        while True:
            item = self._item()
            items.append(item)
            if self._operator(";", "&"):
                item.background = self._next().text == "&"
            else:
                return items
            if self._peek().kind in ("newline", "end") or self._ends():
                return items

    def items(self) -> list[Item]:
        """A list of commands over any number of lines, up to what closes it."""
        items = []
        self._newlines()
        while not self._ends():
            items += self._line()
            if self._peek().kind != "newline" and not self._ends():
                raise self._unexpected(self._peek())
            self._newlines()
        return items

    def _ends(self) -> bool:
        return self._peek().kind == "end" or self._operator(")", ";;") or self._reserved() in _CLOSING

    def _body(self) -> list[Item]:
        items = self.items()
        if not items:
            raise self._unexpected(self._peek())
        return items

    def _item(self) -> Item:
        item = Item(self._pipeline())
        while self._operator("&&", "||"):
            operator = self._next().text
            self._newlines()
            item.rest.append((operator, self._pipeline()))
        return item

    def _pipeline(self) -> Pipeline:
        negated = False
        while self._reserved() == "!":
            self._next()
            negated = not negated
        commands = [self._command()]
        while self._operator("|"):
            self._next()
            self._newlines()
            commands.append(self._command())
        return Pipeline(commands, negated)

    # ------------------------------------------------------------------ commands

    def _command(self) -> Command:
        command = self._compound()
        if command is None:
            return self._simple()
        while self._peek().kind == "io" or self._operator(*_REDIRECTIONS):
            command.redirects.append(self._redirect())
        return command

    def _compound(self) -> Command | None:
        if self._operator("("):
            self._next()
            body = self._body()
            if not self._operator(")"):
                raise self._unexpected(self._peek(), ")")
            self._next()
            return Group(body, subshell=True)
        word = self._reserved()
        if word in _CLOSING or word == "in":
            raise self._unexpected(self._peek())
        if word == "{":
            self._next()
            body = self._body()
            self._expect("}")
            return Group(body)
        if word == "if":
            return self._if()
        if word in ("while", "until"):
            self._next()
            condition = self._body()
            return Loop(condition, self._do(), word == "until")
        if word == "for":
            return self._for()
        return self._case() if word == "case" else None

    def _do(self) -> list[Item]:
        self._newlines()
        self._expect("do")
        body = self._body()
        self._expect("done")
        return body

    def _if(self) -> If:
        clauses, otherwise = [], []
        word = "if"
        while word in ("if", "elif"):
            self._next()
            condition = self._body()
            self._expect("then")
            clauses.append((condition, self._body()))
            word = self._reserved()
        if word == "else":
            self._next()
            otherwise = self._body()
        self._expect("fi")
        return If(clauses, otherwise)

    def _for(self) -> For:
        self._next()
        token = self._next()
        name = token.word.plain if token.word is not None else None
        if name is None or not is_name(name):
            raise self._unexpected(token)
        words: list[Word] | None = None
        self._newlines()
        if self._reserved() == "in":
            self._next()
            words = []
            while self._peek().kind == "word":
                word = self._next().word
                assert word is not None
                words.append(word)
        if self._operator(";"):
            self._next()
        return For(name, words, self._do())

    def _case(self) -> Case:
        self._next()
        subject = self._next()
        if subject.word is None:
            raise self._unexpected(subject)
        self._newlines()
        self._expect("in")
        branches = []
        self._newlines()
        while self._reserved() != "esac":
            if self._operator("("):
                self._next()
            patterns = []
            while True:
                token = self._next()
                if token.word is None:
                    raise self._unexpected(token)
                patterns.append(token.word)
                if not self._operator("|"):
                    break
                self._next()
            if not self._operator(")"):
                raise self._unexpected(self._peek(), ")")
            self._next()
            branches.append((patterns, self.items()))
            if self._operator(";;"):
                self._next()
            self._newlines()
            if self._peek().kind == "end":
                raise self._unexpected(self._peek(), "esac")
        self._next()
        return Case(subject.word, branches)

    def _simple(self) -> Command:
        command = Simple()
        while True:
            token = self._peek()
            if token.kind == "io" or self._operator(*_REDIRECTIONS):
                command.redirects.append(self._redirect())
            elif token.word is not None:
                self._next()
                assigned = None if command.words else _assignment(token.word)
                if assigned is not None:
                    command.assigns.append(assigned)
                    continue
                if not command.words and not command.assigns and self._operator("(") and token.word.plain:
                    return self._function(token.word.plain)
                command.words.append(token.word)
            else:
                break
        if not (command.words or command.assigns or command.redirects):
            raise self._unexpected(self._peek())
        return command

    def _function(self, name: str) -> Function:
        self._next()
        if not self._operator(")"):
            raise self._unexpected(self._peek(), ")")
        self._next()
        self._newlines()
        return Function(name, self._command())

    def _redirect(self) -> Redirect:
        number = self._next().text if self._peek().kind == "io" else ""
        operator = self._next().text
        token = self._next()
        if token.word is None:
            raise self._unexpected(token)
        redirect = Redirect(int(number) if number else int(operator[0] == ">"), operator, token.word)
        if operator in ("<<", "<<-"):
            self._lexer.expect_document(redirect, token.word, strip=operator == "<<-")
        return redirect


def _assignment(word: Word) -> tuple[str, Word] | None:
    """Name and value of ``name=value``."""
    first = word.parts[0] if word.parts else None
    if not isinstance(first, Text) or first.quoted:
        return None
    name, equals, value = first.text.partition("=")
    if not equals or not is_name(name):
        return None
    return name, Word([Text(value), *word.parts[1:]] if value else word.parts[1:])


def _parse_substitution(text: str, at: int) -> tuple[list[Item], int]:
    return Parser(text, at).substitution()
