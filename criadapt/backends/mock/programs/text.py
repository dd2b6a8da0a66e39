"""Programs that write text or hand it on: echo, printf, cat, head, tail, seq, tee, yes and the like."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from criadapt.backends.mock.program_table import program
from criadapt.backends.mock.programs.context import Context
from criadapt.backends.mock.programs.formats import format_printf, unescape
from criadapt.backends.mock.programs.io import CHUNK

_CANT_OPEN = "can't open '{0}': {1}"
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@program("echo")
async def echo(ctx: Context) -> int:
    """Write the arguments; -n without line end, -e with backslash escapes."""
    args, newline, escapes = ctx.args, True, False
    while args and len(args[0]) > 1 and args[0][0] == "-" and set(args[0][1:]) <= set("neE"):
        newline = newline and "n" not in args[0]
        escapes = "e" in args[0] or (escapes and "E" not in args[0])
        args = args[1:]
    text = " ".join(args).encode(errors="surrogateescape")
    if escapes:
        text, stopped = unescape(text, octal_zero=True)
        newline = newline and not stopped
    ctx.put(1, text + b"\n" if newline else text)
    return 0


@program("printf")
async def printf(ctx: Context) -> int:
    """Write formatted arguments; the format is used again while arguments are left."""
    args = ctx.args[1:] if ctx.args[:1] == ["--"] else ctx.args
    if not args:
        ctx.usage("usage: printf FORMAT [ARG]...")
    text, problems = format_printf(args[0], args[1:])
    ctx.put(1, text)
    for problem in problems:
        ctx.error(problem)
    return 1 if problems else 0


@program("cat")
async def cat(ctx: Context) -> int:
    """Copy files to stdout; -n numbers the lines."""
    options, paths = ctx.options("nu")
    if "n" not in options:
        async for data in ctx.chunks(paths, _CANT_OPEN):
            await ctx.write(data)
        return int(ctx.failed)
    number = 0
    async for line in ctx.lines(paths, _CANT_OPEN):
        number += 1
        await ctx.write(b"%6d\t%s\n" % (number, line))
    return int(ctx.failed)


@program("tac")
async def tac(ctx: Context) -> int:
    """Write the lines in reverse."""
    _, paths = ctx.options("")
    lines = [line async for line in ctx.lines(paths, _CANT_OPEN)]
    ctx.put(1, b"".join(line + b"\n" for line in reversed(lines)))
    return int(ctx.failed)


def _counted(ctx: Context) -> list[str]:
    """Arguments in which the old form ``-5`` became ``-n 5``."""
    return [f"-n{arg[1:]}" if arg[:1] == "-" and arg[1:].isdigit() else arg for arg in ctx.args]


def _number(ctx: Context, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        ctx.usage(f"invalid number '{text}'")


@program("head")
async def head(ctx: Context) -> int:
    """The first lines (-n) or bytes (-c)."""
    options, paths = ctx.options("n:c:q", args=_counted(ctx))
    for index, path in enumerate(paths or ["-"]):
        if len(paths) > 1 and "q" not in options:
            ctx.print(("\n" if index else "") + f"==> {path} <==")
        left = _number(ctx, options.get("c", options.get("n", "10")))
        try:
            stream = ctx.proc.fds[0] if path == "-" else ctx.open(path)
        except OSError as error:
            ctx.error(_CANT_OPEN.format(path, error.strerror))
            ctx.failed = True
            continue
        stream.retain()
        while left > 0:
            data = await (stream.read(min(left, CHUNK), ctx.clock) if "c" in options else stream.read_line(ctx.clock))
            if not data:
                break
            left -= len(data) if "c" in options else 1
            await ctx.write(data)
        stream.release()
    return int(ctx.failed)


@program("tail")
async def tail(ctx: Context) -> int:
    """The last lines (-n, or +N from line N on) or bytes (-c); -f goes on as the file grows."""
    options, paths = ctx.options("n:c:fFq", args=_counted(ctx))
    count = options.get("c", options.get("n", "10"))
    start = _number(ctx, count.lstrip("+"))
    for index, path in enumerate(paths or ["-"]):
        if len(paths) > 1 and "q" not in options:
            ctx.print(("\n" if index else "") + f"==> {path} <==")
        try:
            content = await ctx.read_all(path)
        except OSError as error:
            ctx.error(_CANT_OPEN.format(path, error.strerror))
            ctx.failed = True
            continue
        pieces = [content[i : i + 1] for i in range(len(content))] if "c" in options else content.splitlines(True)
        keep = pieces[max(0, start - 1) :] if count.startswith("+") else pieces[len(pieces) - min(start, len(pieces)) :]
        await ctx.write(b"".join(keep))
    if ("f" in options or "F" in options) and paths and not ctx.failed:
        await _follow(ctx, paths[-1])
    return int(ctx.failed)


async def _follow(ctx: Context, path: str) -> None:
    if ctx.files.stat(path).kind != "file":
        await ctx.sleep(float("inf"))  # /dev/null never grows
    size = ctx.files.stat(path).length
    while True:
        await ctx.sleep(1)
        if not ctx.files.exists(path):
            continue
        content = ctx.files.read(path)
        if len(content) < size:
            ctx.error(f"{path}: file truncated")
            size = 0
        await ctx.write(content[size:])
        size = len(content)


@program("wc")
async def wc(ctx: Context) -> int:
    """Count lines, words and bytes."""
    options, paths = ctx.options("lwcm")
    wanted = [kind for kind in "lwc" if kind in options or (kind == "c" and "m" in options)] or list("lwc")
    total = dict.fromkeys("lwc", 0)
    for path in paths or ["-"]:
        counts, word, failed = dict.fromkeys("lwc", 0), False, ctx.failed
        ctx.failed = False
        async for data in ctx.chunks([path], _CANT_OPEN):
            counts["l"] += data.count(b"\n")
            counts["c"] += len(data)
            if "w" in wanted:
                counts["w"] += len(data.split()) - (word and not data[:1].isspace())
                word = not data[-1:].isspace()
        if not ctx.failed:
            _counts(ctx, counts, wanted, path if paths else "")
        ctx.failed = ctx.failed or failed
        total = {kind: total[kind] + counts[kind] for kind in "lwc"}
    if len(paths) > 1:
        _counts(ctx, total, wanted, "total")
    return int(ctx.failed)


def _counts(ctx: Context, counts: dict[str, int], wanted: list[str], name: str) -> None:
    fields = [str(counts[kind]) if len(wanted) == 1 else f"{counts[kind]:>9}" for kind in wanted]
    ctx.print(*fields, *([name] if name else []))


@program("seq")
async def seq(ctx: Context) -> int:
    """Numbers from first to last."""
    options, words = ctx.options("s:w", anywhere=False)
    try:
        numbers = [Decimal(word) for word in words]
    except InvalidOperation:
        ctx.usage("invalid number")
    if not 1 <= len(numbers) <= 3:
        ctx.usage("usage: seq [FIRST [INC]] LAST")
    first, last = (numbers[0] if len(numbers) > 1 else Decimal(1)), numbers[-1]
    step = numbers[1] if len(numbers) == 3 else Decimal(1)
    if step == 0:
        ctx.usage("increment is 0")
    separator = options.get("s", "\n")
    width = max(len(str(first)), len(str(last))) if "w" in options else 0
    value, text = first, ""
    while value <= last if step > 0 else value >= last:
        text += (separator if value != first else "") + str(value).zfill(width)
        value += step
        if len(text) > CHUNK:
            await ctx.write(text.encode())
            text = ""
    ctx.put(1, f"{text}\n".encode() if first <= last or step < 0 else b"")
    return 0


@program("yes")
async def yes(ctx: Context) -> int:
    """The same line for ever, at a bearable rate."""
    line = (" ".join(ctx.args) or "y").encode(errors="surrogateescape") + b"\n"
    block = line * max(1, 8192 // len(line))
    while True:
        await ctx.write(block)
        await ctx.clock.work(5_000_000)


@program("tee")
async def tee(ctx: Context) -> int:
    """Copy stdin to stdout and to files; -a appends."""
    options, paths = ctx.options("ai")
    outputs = []
    for path in paths:
        try:
            outputs.append(ctx.open(path, "a" if "a" in options else "w").retain())
        except OSError as error:
            ctx.error(f"{path}: {error.strerror}")
            ctx.failed = True
    while data := await ctx.read():
        await ctx.write(data)
        for stream in outputs:
            await stream.write(data, ctx.clock)
    for stream in outputs:
        stream.release()
    return int(ctx.failed)


@program("sleep")
async def sleep(ctx: Context) -> int:
    """Let time pass: ``1``, ``0.5``, ``2m``, ``infinity``; several add up."""
    if not ctx.args:
        ctx.usage("missing operand")
    total = 0.0
    for word in ctx.args:
        try:
            total += float(word.rstrip("smhd")) * _SECONDS[word[-1] if word[-1] in _SECONDS else "s"]
        except (ValueError, IndexError):
            ctx.usage(f"invalid number '{word}'")
    await ctx.sleep(total)
    return 0


@program("true")
async def true(ctx: Context) -> int:
    """Succeed."""
    return 0


@program("false")
async def false(ctx: Context) -> int:
    """Fail."""
    return 1


@program("clear")
async def clear(ctx: Context) -> int:
    """Clear the terminal."""
    ctx.put(1, b"\x1b[H\x1b[J")
    return 0
