"""Conditions and arithmetic: test, [, expr, basename, dirname."""

from __future__ import annotations

import re

from criadapt.backends.mock.program_table import program
from criadapt.backends.mock.programs.context import Context, UsageError

_INTEGER = {"-eq": "==", "-ne": "!=", "-lt": "<", "-le": "<=", "-gt": ">", "-ge": ">="}
_FILE_TESTS = "bcdefghkLprsSuwx"


@program("test", "[")
async def test(ctx: Context) -> int:
    """Evaluate a condition: 0 if it holds, 1 if not, 2 for nonsense."""
    args = ctx.args
    if ctx.name == "[":
        if args[-1:] != ["]"]:
            ctx.usage("missing ]", 2)
        args = args[:-1]
    return 0 if _Condition(ctx, args).holds() else 1


class _Condition:
    """The grammar of test(1), decided by the number of words first, as POSIX wants it."""

    def __init__(self, ctx: Context, words: list[str]) -> None:
        self._ctx = ctx
        self._words = words
        self._at = 0

    def holds(self) -> bool:
        if not self._words:
            return False
        if len(self._words) == 1:
            return self._words[0] != ""
        if len(self._words) == 3 and self._is_binary(self._words[1]):
            return self._binary(*self._words)
        result = self._or()
        if self._at != len(self._words):
            raise UsageError(f"{self._words[self._at]}: unexpected operator", 2)
        return result

    def _peek(self, ahead: int = 0) -> str | None:
        index = self._at + ahead
        return self._words[index] if index < len(self._words) else None

    def _next(self) -> str:
        word = self._peek()
        if word is None:
            raise UsageError("argument expected", 2)
        self._at += 1
        return word

    def _or(self) -> bool:
        result = self._and()
        while self._peek() == "-o":
            self._at += 1
            result = self._and() or result
        return result

    def _and(self) -> bool:
        result = self._not()
        while self._peek() == "-a":
            self._at += 1
            result = self._not() and result
        return result

    def _not(self) -> bool:
        if self._peek() == "!" and self._peek(1) is not None:
            self._at += 1
            return not self._not()
        return self._primary()

    def _primary(self) -> bool:
        word = self._next()
        operator = self._peek()
        if operator is not None and self._is_binary(operator) and self._peek(1) is not None:
            self._at += 1
            return self._binary(word, operator, self._next())
        if word == "(":
            result = self._or()
            if self._next() != ")":
                raise UsageError("closing paren expected", 2)
            return result
        if len(word) == 2 and word[0] == "-" and word[1] in _FILE_TESTS + "nzt" and operator is not None:
            return self._unary(word[1], self._next())
        return word != ""

    @staticmethod
    def _is_binary(word: str) -> bool:
        return word in ("=", "==", "!=", "<", ">", "-nt", "-ot", "-ef") or word in _INTEGER

    def _binary(self, left: str, operator: str, right: str) -> bool:
        if operator in _INTEGER:
            a, b = self._integer(left), self._integer(right)
            return {"==": a == b, "!=": a != b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[_INTEGER[operator]]
        if operator in ("-nt", "-ot"):
            newer, older = (left, right) if operator == "-nt" else (right, left)
            files = self._ctx.files
            return files.exists(newer) and (
                not files.exists(older) or files.stat(newer).mtime_ns > files.stat(older).mtime_ns
            )
        if operator == "-ef":
            return self._ctx.files.resolve(left) == self._ctx.files.resolve(right)
        return {"=": left == right, "==": left == right, "!=": left != right, "<": left < right, ">": left > right}[
            operator
        ]

    @staticmethod
    def _integer(text: str) -> int:
        if not re.fullmatch(r"\s*[+-]?\d+\s*", text):
            raise UsageError(f"{text}: integer expected" if text else "Illegal number: ", 2)
        return int(text)

    def _unary(self, letter: str, word: str) -> bool:
        files, ctx = self._ctx.files, self._ctx
        if letter in "nz":
            return (word != "") == (letter == "n")
        if letter == "t":
            stream = ctx.proc.fds.get(self._integer(word))
            return stream is not None and hasattr(stream, "tty")
        if letter in "hL":
            try:
                return files.stat(word, follow=False).kind == "link"
            except OSError:
                return False
        if letter in "rwx":
            return files.may(word, {"r": 4, "w": 2, "x": 1}[letter])
        try:
            node = files.stat(word)
        except OSError:
            return False
        if letter == "s":
            return node.length > 0
        kinds = {"b": (), "c": ("device",), "d": ("dir",), "f": ("file",), "p": ("pipe",), "S": ()}
        if letter in kinds:
            return node.kind in kinds[letter]
        bits = {"e": None, "g": 0o2000, "k": 0o1000, "u": 0o4000}[letter]
        return bits is None or bool(node.mode & bits)


@program("expr")
async def expr(ctx: Context) -> int:
    """Evaluate words as an expression; 1 when the result is empty or zero."""
    words = list(ctx.args)
    result = _expr_or(words)
    if words:
        ctx.usage("syntax error", 2)
    ctx.print(result)
    return int(result in ("", "0"))


def _expr_or(words: list[str]) -> str:
    left = _expr_binary(words, 0)
    while words[:1] == ["|"]:
        words.pop(0)
        right = _expr_binary(words, 0)
        left = left if left not in ("", "0") else right
    return left


_LEVELS: tuple[tuple[str, ...], ...] = (
    ("&",),
    ("<", "<=", "=", "==", "!=", ">=", ">"),
    ("+", "-"),
    ("*", "/", "%"),
    (":",),
)


def _expr_binary(words: list[str], level: int) -> str:
    if level == len(_LEVELS):
        return _expr_primary(words)
    left = _expr_binary(words, level + 1)
    while words and words[0] in _LEVELS[level]:
        operator = words.pop(0)
        left = _apply(left, operator, _expr_binary(words, level + 1))
    return left


def _expr_primary(words: list[str]) -> str:
    if not words:
        raise UsageError("syntax error", 2)
    word = words.pop(0)
    if word == "(":
        result = _expr_or(words)
        if not words or words.pop(0) != ")":
            raise UsageError("syntax error", 2)
        return result
    if word == "length" and words:
        return str(len(words.pop(0)))
    if word == "match" and len(words) > 1:
        return _apply(words.pop(0), ":", words.pop(0))
    if word == "substr" and len(words) > 2:
        text, start, length = words.pop(0), int(words.pop(0)), int(words.pop(0))
        return text[start - 1 : start - 1 + length]
    return word


def _apply(left: str, operator: str, right: str) -> str:
    if operator == "&":
        return left if left not in ("", "0") and right not in ("", "0") else "0"
    if operator == ":":
        from criadapt.backends.mock.programs.regex import basic

        match = basic(right).match(left.encode(errors="surrogateescape"))
        if basic(right).groups:
            return match[1].decode(errors="surrogateescape") if match and match[1] is not None else ""
        return str(len(match[0])) if match else "0"
    numbers = re.fullmatch(r"-?\d+", left) and re.fullmatch(r"-?\d+", right)
    if operator in ("+", "-", "*", "/", "%"):
        if not numbers:
            raise UsageError("non-numeric argument", 2)
        a, b = int(left), int(right)
        if operator in "/%":
            if b == 0:
                raise UsageError("division by zero", 2)
            quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
            return str(quotient if operator == "/" else a - b * quotient)
        return str(a + b if operator == "+" else a - b if operator == "-" else a * b)
    x, y = (int(left), int(right)) if numbers else (left, right)
    results = {"<": x < y, "<=": x <= y, "=": x == y, "==": x == y, "!=": x != y, ">=": x >= y, ">": x > y}  # type: ignore[operator]
    return "1" if results[operator] else "0"


@program("basename")
async def basename(ctx: Context) -> int:
    """The last part of a path, without a suffix if one is given."""
    if not 1 <= len(ctx.args) <= 2:
        ctx.usage("usage: basename FILE [SUFFIX]")
    name = ctx.args[0].rstrip("/").rpartition("/")[2] or ("/" if ctx.args[0] else "")
    suffix = ctx.args[1] if len(ctx.args) > 1 else ""
    ctx.print(name.removesuffix(suffix) if suffix and name != suffix else name)
    return 0


@program("dirname")
async def dirname(ctx: Context) -> int:
    """All of a path but its last part."""
    if len(ctx.args) != 1:
        ctx.usage("usage: dirname FILENAME")
    path = ctx.args[0].rstrip("/")
    head, slash, _ = path.rpartition("/")
    ctx.print((head.rstrip("/") or "/") if slash or (not path and ctx.args[0]) else ".")
    return 0
