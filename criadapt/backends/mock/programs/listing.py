"""Programs that show what files are: ls and stat."""

from __future__ import annotations

import re
import time

from criadapt.backends.mock.program_table import program
from criadapt.backends.mock.programs.accounts import group_name, user_name
from criadapt.backends.mock.programs.context import Context
from criadapt.backends.mock.trees import Node

_KIND = {"dir": "d", "file": "-", "link": "l", "device": "c", "pipe": "p"}


@program("ls")
async def ls(ctx: Context) -> int:
    """Names in directories; -l with details, -a and -A hidden ones too, -d the directory itself, -R below too."""
    options, paths = ctx.options("aAl1dhRFirtSnC", ["color="])
    plain: list[tuple[str, Node]] = []
    directories: list[str] = []
    for path in paths or ["."]:
        try:
            try:
                node = ctx.files.stat(path, follow="l" not in options)
            except FileNotFoundError:
                node = ctx.files.stat(path, follow=False)  # a dangling link
            if node.kind == "dir" and "d" not in options:
                ctx.files.names(path)
                directories.append(path)
            else:
                plain.append((path, node))
        except OSError as error:
            ctx.error(f"{path}: {error.strerror}")
            ctx.failed = True
    _list(ctx, options, plain)
    for index, path in enumerate(directories):
        _directory(ctx, options, path, titled=len(paths) > 1 or "R" in options, first=not plain and index == 0)
    return int(ctx.failed)


def _directory(ctx: Context, options: dict[str, str], path: str, *, titled: bool, first: bool) -> None:
    names = ctx.files.names(path)
    if "a" not in options and "A" not in options:
        names = [name for name in names if not name.startswith(".")]
    if titled:
        ctx.print(("" if first else "\n") + f"{path}:")
    base = path.rstrip("/") + "/"
    entries = [(name, ctx.files.stat(base + name, follow=False)) for name in names]
    if "l" in options:
        ctx.print(f"total {sum(-(-node.length // 4096) * 4 for _, node in entries)}")
    if "a" in options:
        entries = [(".", ctx.files.stat(path)), ("..", ctx.files.stat(base + "..")), *entries]
    _list(ctx, options, entries)
    if "R" in options:
        for name, node in entries:
            if node.kind == "dir" and name not in (".", ".."):
                _directory(ctx, options, base + name, titled=True, first=False)


def _list(ctx: Context, options: dict[str, str], entries: list[tuple[str, Node]]) -> None:
    if "t" in options:
        entries.sort(key=lambda entry: -entry[1].mtime_ns)
    if "S" in options:
        entries.sort(key=lambda entry: -entry[1].length)
    if "r" in options:
        entries.reverse()
    for name, node in entries:
        suffix = {"dir": "/", "link": "@"}.get(node.kind, "") if "F" in options else ""
        ctx.print(_long(ctx, options, name, node) if "l" in options else name + suffix)


def _long(ctx: Context, options: dict[str, str], name: str, node: Node) -> str:
    size = _human(node.length) if "h" in options else str(node.length)
    if node.kind == "link":
        name += f" -> {bytes(node.data).decode(errors='surrogateescape')}"
    when = time.strftime("%b %e %H:%M", time.gmtime(node.mtime_ns // 10**9))
    owner = str(node.uid) if "n" in options else user_name(ctx, node.uid)
    group = str(node.gid) if "n" in options else group_name(ctx, node.gid)
    return f"{mode_text(node)} {1 + (node.kind == 'dir'):>4} {owner:<8} {group:<8} {size:>9} {when} {name}"


def mode_text(node: Node) -> str:
    """Kind and permissions as ls -l shows them."""
    bits = "".join(letter if node.mode >> (8 - index) & 1 else "-" for index, letter in enumerate("rwxrwxrwx"))
    if node.mode & 0o1000:
        bits = bits[:-1] + ("t" if bits[-1] == "x" else "T")
    if node.mode & 0o4000:
        bits = bits[:2] + ("s" if bits[2] == "x" else "S") + bits[3:]
    return _KIND[node.kind] + bits


def _human(size: int) -> str:
    value, units = float(size), iter("KMGT")
    unit = ""
    while value >= 1024:
        value, unit = value / 1024, next(units)
    return f"{value:.1f}{unit}" if unit else str(size)


@program("stat")
async def stat(ctx: Context) -> int:
    """What is known of files; -c in a format of one's own."""
    options, paths = ctx.options("c:Lf", ["format="])
    if not paths:
        ctx.usage("usage: stat [-c FORMAT] FILE...")
    for path in paths:
        try:
            node = ctx.files.stat(path, follow="L" in options)
        except OSError as error:
            ctx.error(f"can't stat '{path}': {error.strerror}")
            ctx.failed = True
            continue
        kind = {"dir": "directory", "file": "regular file", "link": "symbolic link"}.get(node.kind, "special file")
        seconds = node.mtime_ns // 10**9
        date = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds)) + f".{node.mtime_ns % 10**9:09} +0000"
        values = {
            "n": path, "s": node.length, "a": f"{node.mode:o}", "A": mode_text(node), "u": node.uid, "g": node.gid,
            "U": user_name(ctx, node.uid), "G": group_name(ctx, node.gid), "F": kind, "Y": seconds, "y": date, "%": "%",
        }  # fmt: skip
        template = options.get("c") or options.get("format")
        if template:
            pieces = re.split(r"%([a-zA-Z%])", template)
            ctx.print("".join(str(values.get(one, one)) if at % 2 else one for at, one in enumerate(pieces)))
        else:
            ctx.print(
                f"  File: {path}\n  Size: {node.length}\tBlocks: {-(-node.length // 512)}\tIO Block: 4096\t{kind}"
            )
            ctx.print(f"Access: ({node.mode:04o}/{mode_text(node)})  Uid: ({node.uid}/{values['U']})  Modify: {date}")
    return int(ctx.failed)
