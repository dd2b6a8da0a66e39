"""sed: the commands s y p d q = a i c n with addresses, options -n -e -i -E."""

from __future__ import annotations

import re
from dataclasses import dataclass

from criadapt.backends.mock.program_table import program
from criadapt.backends.mock.programs import regex
from criadapt.backends.mock.programs.context import Context, UsageError

Address = int | str | re.Pattern[bytes]  # a line's number, "$" for the last, or what it matches


@dataclass(slots=True)
class _Command:
    letter: str
    first: Address | None = None
    last: Address | None = None
    negated: bool = False
    pattern: re.Pattern[bytes] | None = None
    text: bytes = b""
    flags: str = ""
    table: bytes = b""
    active: bool = False

    def applies(self, line: bytes, number: int, is_last: bool) -> bool:
        return self._selected(line, number, is_last) != self.negated

    def _selected(self, line: bytes, number: int, is_last: bool) -> bool:
        if self.first is None:
            return True
        if self.last is None:
            return _matches(self.first, line, number, is_last)
        if self.active:
            self.active = not (_matches(self.last, line, number, is_last) or _passed(self.last, number))
            return True
        if _matches(self.first, line, number, is_last):
            self.active = not (isinstance(self.last, int) and self.last <= number)
            return True
        return False


def _matches(address: Address, line: bytes, number: int, is_last: bool) -> bool:
    if isinstance(address, int):
        return number == address
    return is_last if isinstance(address, str) else address.search(line) is not None


def _passed(address: Address, number: int) -> bool:
    return isinstance(address, int) and number >= address


@program("sed")
async def sed(ctx: Context) -> int:
    """Edit a stream of lines."""
    options, words = ctx.options("ne:iErz")
    scripts = [value for key, value in _pairs(ctx) if key == "-e"]
    if not scripts:
        if not words:
            ctx.usage("usage: sed [-nrE] [-i] [-e CMD]... [CMD] [FILE]...")
        scripts = [words.pop(0)]
    if "z" in options:
        ctx.usage("unsupported option: z")
    commands = _Parser("\n".join(scripts), "E" in options or "r" in options).commands()
    if "i" not in options:
        lines = [line async for line in ctx.lines(words, "{0}: {1}")]
        ctx.put(1, _edit(lines, commands, "n" in options))
        return int(ctx.failed)
    for path in words:
        content = ctx.files.read(path).split(b"\n")
        lines = content[:-1] if content[-1] == b"" else content
        ctx.files.write(path, _edit(lines, commands, "n" in options))
    return int(ctx.failed)


def _pairs(ctx: Context) -> list[tuple[str, str]]:
    """-e may be given several times, which a dictionary of options cannot tell."""
    pairs, args = [], iter(ctx.args)
    for arg in args:
        if re.fullmatch(r"-[nEr]*e", arg):
            pairs.append(("-e", next(args, "")))
    return pairs


def _edit(lines: list[bytes], commands: list[_Command], quiet: bool) -> bytes:
    out = b""
    index = 0
    while index < len(lines):
        line, after, keep, stop = lines[index], b"", True, False
        for command in commands:
            if not command.applies(line, index + 1, index + 1 == len(lines)):
                continue
            letter = command.letter
            if letter == "s" and command.pattern is not None:
                line, done = _substitute(command, line)
                if done and "p" in command.flags:
                    out += line + b"\n"
            elif letter == "y":
                line = line.translate(command.table)
            elif letter == "p":
                out += line + b"\n"
            elif letter == "=":
                out += b"%d\n" % (index + 1)
            elif letter == "i":
                out += command.text + b"\n"
            elif letter == "a":
                after += command.text + b"\n"
            elif letter in "dc":
                out += command.text + b"\n" if letter == "c" else b""
                keep = False
                break
            elif letter == "n":
                out += b"" if quiet else line + b"\n"
                index += 1
                if index >= len(lines):
                    return out
                line = lines[index]
            elif letter == "q":
                stop = True
                break
        out += (line + b"\n" if keep and not quiet else b"") + after
        if stop:
            break
        index += 1
    return out


def _substitute(command: _Command, line: bytes) -> tuple[bytes, bool]:
    assert command.pattern is not None
    digits = re.search(r"\d+", command.flags)
    nth, everywhere = int(digits[0]) if digits else 1, "g" in command.flags
    count = 0

    def replace(match: re.Match[bytes]) -> bytes:
        nonlocal count
        count += 1
        if count < nth or (count > nth and not everywhere):
            return match[0]
        return re.sub(
            rb"\\(.)|&",
            lambda part: (
                match[0]
                if part[1] is None
                else (match[int(part[1])] or b"")
                if part[1].isdigit()
                else {b"n": b"\n", b"t": b"\t"}.get(part[1], part[1])
            ),
            command.text,
            flags=re.DOTALL,
        )

    result = command.pattern.sub(replace, line)
    return result, count >= nth


class _Parser:
    def __init__(self, script: str, is_extended: bool) -> None:
        self._script = script
        self._at = 0
        self._compile = regex.extended if is_extended else regex.basic

    def commands(self) -> list[_Command]:
        found: list[_Command] = []
        while True:
            self._skip(" \t\n;")
            if self._at >= len(self._script):
                return found
            found.append(self._command())

    def _skip(self, chars: str) -> None:
        while self._at < len(self._script) and self._script[self._at] in chars:
            self._at += 1

    def _char(self) -> str:
        char = self._script[self._at : self._at + 1]
        self._at += 1
        return char

    def _command(self) -> _Command:
        command = _Command("")
        command.first = self._address()
        if command.first is not None and self._script[self._at : self._at + 1] == ",":
            self._at += 1
            command.last = self._address()
        self._skip(" ")
        if self._script[self._at : self._at + 1] == "!":
            self._at += 1
            command.negated = True
        command.letter = self._char()
        if command.letter == "s":
            delimiter = self._char()
            pattern, text = self._part(delimiter), self._part(delimiter)
            start = self._at
            self._skip("gpIi0123456789")
            command.flags = self._script[start : self._at]
            command.pattern = self._compile(pattern, ignore_case=bool(set("iI") & set(command.flags)))
            command.text = text.encode(errors="surrogateescape")
        elif command.letter == "y":
            delimiter = self._char()
            source, target = self._part(delimiter).encode(), self._part(delimiter).encode()
            if len(source) != len(target):
                raise UsageError("strings for 'y' command are different lengths")
            command.table = bytes.maketrans(source, target)
        elif command.letter in ("a", "i", "c"):
            self._skip(" \t\\\n")
            text, _, _ = self._script[self._at :].partition("\n")
            self._at += len(text)
            command.text = text.encode(errors="surrogateescape")
        elif command.letter not in ("p", "d", "q", "=", "n"):
            raise UsageError(f"unsupported command {command.letter}")
        return command

    def _address(self) -> Address | None:
        digits = re.compile(r"\d+").match(self._script, self._at)
        if digits is not None:
            self._at = digits.end()
            return int(digits[0])
        char = self._script[self._at : self._at + 1]
        if char == "$":
            self._at += 1
            return "$"
        if char == "/":
            self._at += 1
            return self._compile(self._part("/"))
        return None

    def _part(self, delimiter: str) -> str:
        """Text up to the delimiter, which a backslash takes its meaning from."""
        text = ""
        while self._at < len(self._script):
            char = self._char()
            if char == "\\" and self._at < len(self._script):
                following = self._char()
                text += following if following == delimiter else char + following
            elif char == delimiter:
                return text
            else:
                text += char
        raise UsageError("unmatched '" + delimiter + "'")
