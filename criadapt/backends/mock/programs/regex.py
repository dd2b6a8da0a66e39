"""POSIX regular expressions, translated to Python's."""

from __future__ import annotations

import re
from functools import lru_cache

from criadapt.backends.mock.programs.context import UsageError

_CLASSES = {
    "alpha": "a-zA-Z", "digit": "0-9", "alnum": "a-zA-Z0-9", "upper": "A-Z", "lower": "a-z", "space": r"\s",
    "blank": r" \t", "punct": r"!-/:-@\[-`{-~", "xdigit": "0-9A-Fa-f", "print": r"\x20-\x7e", "cntrl": r"\x00-\x1f\x7f",
    "graph": r"\x21-\x7e",
}  # fmt: skip
_SPECIAL_WHEN_ESCAPED = "(){}|+?"


def basic(pattern: str, *, ignore_case: bool = False) -> re.Pattern[bytes]:
    """A basic regular expression, with the usual GNU extensions."""
    return _compile(pattern, False, ignore_case)


def extended(pattern: str, *, ignore_case: bool = False) -> re.Pattern[bytes]:
    """An extended regular expression."""
    return _compile(pattern, True, ignore_case)


def fixed(text: str, *, ignore_case: bool = False) -> re.Pattern[bytes]:
    """A plain text."""
    return re.compile(re.escape(text.encode(errors="surrogateescape")), re.IGNORECASE if ignore_case else 0)


@lru_cache(maxsize=256)
def _compile(pattern: str, is_extended: bool, ignore_case: bool) -> re.Pattern[bytes]:
    out, position, start = "", 0, True
    while position < len(pattern):
        char = pattern[position]
        position += 1
        if char == "\\" and position < len(pattern):
            escaped = pattern[position]
            position += 1
            if escaped in _SPECIAL_WHEN_ESCAPED:
                out += "\\" + escaped if is_extended else escaped
            elif escaped in "<>":
                out += r"\b"
            else:
                out += "\\" + escaped if escaped in "wWsSbBn" or escaped.isdigit() else re.escape(escaped)
            start = escaped in "(|" and not is_extended
            continue
        if char == "[":
            piece, position = _bracket(pattern, position)
            out += piece
        elif (char in _SPECIAL_WHEN_ESCAPED and not is_extended) or (char == "*" and start):
            out += re.escape(char)
        elif char == "^" and not start and not is_extended:
            out += r"\^"
        elif (
            char == "$" and not is_extended and pattern[position:] and not pattern[position:].startswith((r"\)", r"\|"))
        ):
            out += r"\$"
        elif char in "^$.*(){}|+?":
            out += char
        else:
            out += re.escape(char)
        start = char in "(|^" and (is_extended or char == "^")
    try:
        return re.compile(out.encode(errors="surrogateescape"), re.IGNORECASE if ignore_case else 0)
    except re.error as error:
        raise UsageError(f"bad regex '{pattern}': {error}", 2) from None


def _bracket(pattern: str, position: int) -> tuple[str, int]:
    """The bracket expression that begins before `position`, and where it ends."""
    out = "["
    if pattern[position : position + 1] == "^":
        out, position = "[^", position + 1
    first = True
    while position < len(pattern):
        char = pattern[position]
        if char == "]" and not first:
            return out + "]", position + 1
        match = re.compile(r"\[:(\w+):\]").match(pattern, position)
        if match is not None and match[1] in _CLASSES:
            out += _CLASSES[match[1]]
            position = match.end()
        else:
            out += "\\" + char if char in "\\[]&~|^" else char
            position += 1
        first = False
    raise UsageError(f"bad regex '{pattern}': Unmatched [", 2)
