"""Filters of lines: grep, cut, sort, uniq, tr, rev, nl."""

from __future__ import annotations

import re
from functools import cmp_to_key

from criadapt.backends.mock.program_table import program
from criadapt.backends.mock.programs import regex
from criadapt.backends.mock.programs.context import Context
from criadapt.backends.mock.programs.formats import unescape

_CANT_OPEN = "can't open '{0}': {1}"


@program("grep", "egrep", "fgrep")
async def grep(ctx: Context) -> int:
    """Lines that match a pattern: 0 if there are any, 1 if not, 2 for trouble."""
    options, words = ctx.options("qviEFcnolhHswxe:rRm:A:B:", ["color="])
    if "e" in options:
        words.insert(0, options["e"])
    if not words:
        ctx.usage("usage: grep [OPTIONS] PATTERN [FILE]...", 2)
    pattern, *paths = words
    if "r" in options or "R" in options:
        roots = paths or ["."]
        paths = [path for root in roots for path, node in ctx.files.walk(root) if node.kind == "file"]
        options.setdefault("H", "")
    kind = regex.fixed if "F" in options or ctx.name == "fgrep" else regex.basic
    if "E" in options or ctx.name == "egrep":
        kind = regex.extended
    compiled = kind(pattern, ignore_case="i" in options)
    if "w" in options or "x" in options:
        around = (rb"\A(?:", rb")\Z") if "x" in options else (rb"\b(?:", rb")\b")
        compiled = re.compile(around[0] + compiled.pattern + around[1], compiled.flags)
    found = False
    named = ("H" in options or len(paths) > 1) and "h" not in options
    for path in paths or ["-"]:
        found = await _grep_file(ctx, options, compiled, path, f"{path}:".encode() if named else b"") or found
        if found and "q" in options:
            return 0
    return 2 if ctx.failed else int(not found)


async def _grep_file(
    ctx: Context, options: dict[str, str], pattern: re.Pattern[bytes], path: str, prefix: bytes
) -> bool:
    count, number, most = 0, 0, int(options.get("m", "0"))
    message = "" if "s" in options else "{0}: {1}"
    async for line in ctx.lines([path], message):
        number += 1
        match = pattern.search(line)
        if (match is None) != ("v" in options):
            continue
        count += 1
        if "q" in options or "l" in options:
            break
        if "c" not in options:
            shown = [one[0] for one in pattern.finditer(line) if one[0]] if "o" in options else [line]
            label = prefix + (b"%d:" % number if "n" in options else b"")
            ctx.put(1, b"".join(label + text + b"\n" for text in shown))
        if count == most:
            break
    if "l" in options and count:
        ctx.print(path)
    elif "c" in options:
        ctx.put(1, prefix + b"%d\n" % count)
    return count > 0


@program("cut")
async def cut(ctx: Context) -> int:
    """Fields (-f, between -d) or characters (-c, -b) of each line; -s drops lines without a delimiter."""
    options, paths = ctx.options("d:f:c:b:s")
    ranges = options.get("f") or options.get("c") or options.get("b")
    if not ranges:
        ctx.usage("expected a list of bytes, characters, or fields")
    delimiter = options.get("d", "\t").encode()
    async for line in ctx.lines(paths, _CANT_OPEN):
        if "f" in options:
            if delimiter not in line:
                if "s" not in options:
                    ctx.put(1, line + b"\n")
                continue
            parts = line.split(delimiter)
            ctx.put(1, delimiter.join(parts[index] for index in _picked(ctx, ranges, len(parts))) + b"\n")
        else:
            ctx.put(1, bytes(line[index] for index in _picked(ctx, ranges, len(line))) + b"\n")
    return int(ctx.failed)


def _picked(ctx: Context, ranges: str, length: int) -> list[int]:
    """Indexes that a list such as ``1,3-5,7-`` picks."""
    picked: set[int] = set()
    for part in ranges.split(","):
        match = re.fullmatch(r"(\d*)(-?)(\d*)", part)
        if match is None or part in ("", "-"):
            ctx.usage(f"invalid range '{part}'")
        first = int(match[1] or "1")
        last = int(match[3] or str(length)) if match[2] else first
        picked.update(range(first - 1, min(last, length)))
    return sorted(picked)


@program("sort")
async def sort(ctx: Context) -> int:
    """Sort lines: -n by number, -h by size, -r reversed, -u each once, -k by a field between -t."""
    options, paths = ctx.options("nrufbhk:t:o:V")
    lines = [line async for line in ctx.lines(paths, _CANT_OPEN)]
    numeric = "n" in options or "n" in options.get("k", "") or "h" in options
    reverse = "r" in options or "r" in options.get("k", "")

    def key(line: bytes) -> tuple[float, bytes]:
        field = _sort_field(line, options)
        if "f" in options:
            field = field.upper()
        return (_magnitude(field), b"") if numeric else (0, field)

    def compare(a: bytes, b: bytes) -> int:
        x, y = key(a), key(b)
        if x == y and "u" not in options:
            return (a > b) - (a < b)
        return (x > y) - (x < y)

    lines.sort(key=cmp_to_key(compare), reverse=reverse)
    if "u" in options:
        lines = [line for index, line in enumerate(lines) if index == 0 or key(line) != key(lines[index - 1])]
    content = b"".join(line + b"\n" for line in lines)
    if "o" in options:
        ctx.files.write(options["o"], content)
    else:
        ctx.put(1, content)
    return int(ctx.failed)


def _sort_field(line: bytes, options: dict[str, str]) -> bytes:
    match = re.match(r"(\d+)[\d.]*[a-z]*(?:,(\d+))?", options.get("k", ""))
    if match is None:
        return line
    separator = options["t"].encode() if "t" in options else None
    fields = line.split(separator)
    last = int(match[2]) if match[2] else len(fields)
    return (separator or b" ").join(fields[int(match[1]) - 1 : last])


def _magnitude(text: bytes) -> float:
    match = re.match(rb"\s*(-?\d+(?:\.\d+)?)([KMGT]?)", text)
    return float(match[1]) * 1024 ** b"_KMGT".index(match[2] or b"_") if match else 0.0


@program("uniq")
async def uniq(ctx: Context) -> int:
    """Drop repeated lines; -c counts, -d shows only the repeated, -u only the others."""
    options, paths = ctx.options("cdui")
    previous: bytes | None = None
    count = 0

    def show(line: bytes, times: int) -> None:
        if ("d" in options and times < 2) or ("u" in options and times > 1):
            return
        ctx.put(1, (b"%7d " % times if "c" in options else b"") + line + b"\n")

    async for line in ctx.lines(paths[:1], _CANT_OPEN):
        same = previous is not None and (line.lower() == previous.lower() if "i" in options else line == previous)
        if same:
            count += 1
            continue
        if previous is not None:
            show(previous, count)
        previous, count = line, 1
    if previous is not None:
        show(previous, count)
    return int(ctx.failed)


@program("tr")
async def tr(ctx: Context) -> int:
    """Translate (or -d delete, -s squeeze) characters of stdin; -c takes the complement of the first set."""
    options, words = ctx.options("dscC", anywhere=False)
    if not words or (len(words) < 2 and "d" not in options and "s" not in options):
        ctx.usage("usage: tr [-cds] STRING1 [STRING2]")
    first = _expand_set(words[0])
    if "c" in options or "C" in options:
        first = bytes(byte for byte in range(256) if byte not in first)
    second = _expand_set(words[1]) if len(words) > 1 else b""
    squeezed = (second or first) if "s" in options else b""
    last = b""
    while data := await ctx.read():
        if "d" in options:
            data = data.translate(None, first)
        elif second:
            data = data.translate(bytes.maketrans(first, (second + second[-1:] * len(first))[: len(first)]))
        if squeezed:
            data = re.sub(b"([" + b"".join(b"\\x%02x" % byte for byte in squeezed) + b"])\\1+", rb"\1", last + data)[
                len(last) :
            ]
            last = data[-1:] if data[-1:] and data[-1] in squeezed else b""
        await ctx.write(data)
    return 0


_SETS = {
    "lower": "a-z", "upper": "A-Z", "digit": "0-9", "alpha": "A-Za-z", "alnum": "A-Za-z0-9", "blank": r" \t",
    "space": r"\t\n\v\f\r ", "punct": r"!-/:-@[-`{-~",
}  # fmt: skip


def _expand_set(text: str) -> bytes:
    for name, members in _SETS.items():
        text = text.replace(f"[:{name}:]", members)
    plain, _ = unescape(text.encode(errors="surrogateescape"))
    out, position = b"", 0
    while position < len(plain):
        if plain[position + 1 : position + 2] == b"-" and position + 2 < len(plain):
            out += bytes(range(plain[position], plain[position + 2] + 1))
            position += 3
        else:
            out += plain[position : position + 1]
            position += 1
    return out


@program("rev")
async def rev(ctx: Context) -> int:
    """Reverse the characters of each line."""
    async for line in ctx.lines(ctx.args, _CANT_OPEN):
        ctx.print(line.decode(errors="surrogateescape")[::-1])
    return int(ctx.failed)


@program("nl")
async def nl(ctx: Context) -> int:
    """Number the lines that are not empty."""
    number = 0
    async for line in ctx.lines(ctx.args, _CANT_OPEN):
        number += bool(line)
        ctx.put(1, b"%6d\t%s\n" % (number, line) if line else b"\n")
    return int(ctx.failed)
