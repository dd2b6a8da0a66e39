"""Arithmetic of the shell: C's integer expressions on 64-bit numbers."""

from __future__ import annotations

import re
from collections.abc import Callable

from criadapt.backends.mock.shell.syntax import ShellSyntaxError

_TOKEN = re.compile(
    r"\s*(0[xX][0-9a-fA-F]+|\d+|[A-Za-z_]\w*|<<=|>>=|\*\*|\+\+|--|&&|\|\||<<|>>|[-+*/%&|^<>=!]=|[-+*/%&|^<>=!~?:(),])"
)
_LEVELS: tuple[tuple[str, ...], ...] = (
    ("||",), ("&&",), ("|",), ("^",), ("&",), ("==", "!="), ("<", "<=", ">", ">="), ("<<", ">>"), ("+", "-"),
    ("*", "/", "%"), ("**",),
)  # fmt: skip


class Arithmetic:
    """Evaluates one expression; `get` and `put` read and set variables."""

    def __init__(self, text: str, get: Callable[[str], str], put: Callable[[str, str], None]) -> None:
        self._tokens: list[str] = []
        position, text = 0, text.rstrip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise ShellSyntaxError(f"arithmetic syntax error: {text}")
            self._tokens.append(match[1])
            position = match.end()
        self._at = 0
        self._get = get
        self._put = put
        self._skip = 0  # > 0 in an operand that is not to be evaluated

    def value(self) -> int:
        """The result."""
        if not self._tokens:
            return 0
        result = self._comma()
        if self._at != len(self._tokens):
            raise ShellSyntaxError("arithmetic syntax error")
        return result

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self, *wanted: str) -> str:
        if self._peek() in wanted and self._peek():
            self._at += 1
            return self._tokens[self._at - 1]
        return ""

    def _comma(self) -> int:
        result = self._assign()
        while self._take(","):
            result = self._assign()
        return result

    def _assign(self) -> int:
        name = self._peek()
        following = self._tokens[self._at + 1] if self._at + 1 < len(self._tokens) else ""
        if re.match(r"[A-Za-z_]", name) and re.fullmatch(r"(<<|>>|[-+*/%&|^])?=", following):
            self._at += 2
            right = self._assign()
            result = right if following == "=" else self._apply(following[:-1], self._variable(name), right)
            self._store(name, result)
            return result
        return self._choice()

    def _choice(self) -> int:
        condition = self._binary(0)
        if not self._take("?"):
            return condition
        left = self._evaluate(condition != 0, self._assign)
        if not self._take(":"):
            raise ShellSyntaxError("arithmetic syntax error")
        right = self._evaluate(condition == 0, self._assign)
        return left if condition else right

    def _evaluate(self, really: bool, operand: Callable[[], int]) -> int:
        self._skip += not really
        try:
            return operand()
        finally:
            self._skip -= not really

    def _binary(self, level: int) -> int:
        if level == len(_LEVELS):
            return self._unary()
        left = self._binary(level + 1)
        while operator := self._take(*_LEVELS[level]):
            if operator in ("&&", "||"):
                right = self._evaluate((left != 0) == (operator == "&&"), lambda: self._binary(level + 1))
                left = int(bool(left and right) if operator == "&&" else bool(left or right))
            else:
                left = self._apply(operator, left, self._binary(level + 1))
        return left

    def _unary(self) -> int:
        operator = self._take("!", "~", "-", "+", "++", "--")
        if operator in ("++", "--"):
            name = self._peek()
            self._at += 1
            result = self._variable(name) + (1 if operator == "++" else -1)
            self._store(name, result)
            return result
        if operator:
            value = self._unary()
            return {"!": int(not value), "~": ~value, "-": -value, "+": value}[operator]
        if self._take("("):
            value = self._comma()
            if not self._take(")"):
                raise ShellSyntaxError("arithmetic syntax error")
            return value
        token = self._peek()
        self._at += 1
        if token[:1].isdigit():
            return _number(token)
        if not re.match(r"[A-Za-z_]", token):
            raise ShellSyntaxError("arithmetic syntax error")
        value = self._variable(token)
        step = self._take("++", "--")
        if step:
            self._store(token, value + (1 if step == "++" else -1))
        return value

    def _variable(self, name: str) -> int:
        text = self._get(name).strip()
        if not text:
            return 0
        if re.fullmatch(r"[-+]?(0[xX][0-9a-fA-F]+|\d+)", text):
            return -_number(text[1:]) if text[0] == "-" else _number(text.lstrip("+"))
        if self._skip:
            return 0
        return Arithmetic(text, self._get, self._put).value() if text != name else 0

    def _store(self, name: str, value: int) -> None:
        if not self._skip:
            self._put(name, str(_wrap(value)))

    def _apply(self, operator: str, a: int, b: int) -> int:
        if operator in ("/", "%"):
            if b == 0:
                if self._skip:
                    return 0
                raise ShellSyntaxError("divide by zero")
            quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
            return _wrap(quotient if operator == "/" else a - b * quotient)
        if operator in ("<<", ">>"):
            return _wrap(a << (b & 63) if operator == "<<" else a >> (b & 63))
        if operator == "**":
            return _wrap(pow(a, max(0, b), 1 << 64))
        results: dict[str, int] = {
            "+": a + b, "-": a - b, "*": a * b, "&": a & b, "|": a | b, "^": a ^ b, "==": int(a == b),
            "!=": int(a != b), "<": int(a < b), "<=": int(a <= b), ">": int(a > b), ">=": int(a >= b),
        }  # fmt: skip
        return _wrap(results[operator])


def _number(text: str) -> int:
    if text[:2] in ("0x", "0X"):
        return _wrap(int(text, 16))
    try:
        return _wrap(int(text, 8) if text.startswith("0") else int(text))
    except ValueError:
        raise ShellSyntaxError(f"arithmetic syntax error: {text}") from None


def _wrap(value: int) -> int:
    """To 64 bits with sign."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)
