"""Backslash escapes and printf formats."""

from __future__ import annotations

import re
from collections.abc import Sequence

_SIMPLE = {
    b"a": b"\a",
    b"b": b"\b",
    b"e": b"\x1b",
    b"f": b"\f",
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
    b"v": b"\v",
    b"\\": b"\\",
}
_ESCAPE = re.compile(rb"\\(?:(0[0-7]{0,3}|[1-7][0-7]{0,2})|x([0-9a-fA-F]{1,2})|(c)|([abefnrtv\\]))")
_DIRECTIVE = re.compile(r"%(?P<flags>[-+ #0]*)(?P<width>\*|\d*)(?:\.(?P<precision>\*|\d*))?(?P<kind>[a-zA-Z%])")


def unescape(text: bytes, *, octal_zero: bool = False) -> tuple[bytes, bool]:
    r"""Replace backslash escapes; the second part says whether ``\c`` ended the text.

    `octal_zero`: octal numbers begin with ``\0``, as for echo and printf's %b.
    """
    out, position = b"", 0
    for match in _ESCAPE.finditer(text):
        octal, hexadecimal, stop, simple = match.groups()
        if octal is not None and octal_zero and not octal.startswith(b"0"):
            continue
        out += text[position : match.start()]
        position = match.end()
        if stop:
            return out, True
        if octal is not None:
            if not octal_zero and len(octal) == 4:
                octal, position = octal[:3], position - 1
            out += bytes([int(octal, 8) & 255])
        elif hexadecimal is not None:
            out += bytes([int(hexadecimal, 16)])
        else:
            out += _SIMPLE[simple]
    return out + text[position:], False


def format_printf(template: str, args: Sequence[str]) -> tuple[bytes, list[str]]:
    """The formatted text, and what was wrong with the arguments."""
    problems: list[str] = []
    left, out = list(args), b""
    while True:
        before = len(left)
        text, stopped = _once(template, left, problems)
        out += text
        if stopped or not left or len(left) == before:
            return out, problems


def _once(template: str, left: list[str], problems: list[str]) -> tuple[bytes, bool]:
    out, position = b"", 0
    for match in _DIRECTIVE.finditer(template):
        plain, stopped = unescape(template[position : match.start()].encode(errors="surrogateescape"))
        out += plain
        if stopped:
            return out, True
        position = match.end()
        if match["kind"] == "%":
            out += b"%"
            continue
        flags, width, precision = match["flags"], match["width"], match["precision"]
        if width == "*":
            width = str(_integer(left.pop(0) if left else "0", problems))
        if precision == "*":
            precision = str(_integer(left.pop(0) if left else "0", problems))
        spec = f"%{flags}{width}" + (f".{precision}" if precision is not None else "")
        value = left.pop(0) if left else None
        if match["kind"] == "b":
            data, stopped = unescape((value or "").encode(errors="surrogateescape"), octal_zero=True)
            out += data
            if stopped:
                return out, True
        else:
            out += _directive(spec, match["kind"], value, problems).encode(errors="surrogateescape")
    plain, stopped = unescape(template[position:].encode(errors="surrogateescape"))
    return out + plain, stopped


def _directive(spec: str, kind: str, value: str | None, problems: list[str]) -> str:
    if kind == "s":
        return f"{spec}s" % (value or "")
    if kind == "c":
        return f"{spec}s" % (value or "")[:1]
    if kind in "diouxX":
        number = _integer(value or "0", problems)
        if kind in "ouxX" and number < 0:
            number += 1 << 64
        return f"{spec}{'d' if kind in 'iu' else kind}" % number
    if kind in "eEfFgG":
        try:
            return f"{spec}{kind}" % float(value or 0)
        except ValueError:
            problems.append(f"{value}: expected numeric value")
            return f"{spec}{kind}" % 0.0
    problems.append(f"%{kind}: invalid directive")
    return ""


def _integer(text: str, problems: list[str]) -> int:
    if text[:1] in ("'", '"'):
        return ord(text[1]) if len(text) > 1 else 0
    match = re.fullmatch(r"\s*([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9]\d*)(.*)", text, re.DOTALL)
    if match is None or match[3]:
        problems.append(f"{text}: expected numeric value")
    if match is None:
        return 0
    digits = match[2]
    base = 16 if digits[:2] in ("0x", "0X") else 8 if digits.startswith("0") else 10
    return int(match[1] + (digits[2:] if base == 16 else digits), base)
