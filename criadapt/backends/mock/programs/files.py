"""Programs that handle files: ls, mkdir, rm, cp, mv, ln, touch, chmod, stat and their like."""

from __future__ import annotations

import errno
import re
import time

from criadapt.backends.mock.program_table import program
from criadapt.backends.mock.programs.accounts import group_name, user_id, user_name
from criadapt.backends.mock.programs.context import Context
from criadapt.backends.mock.trees import Node, fail

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


def _each(ctx: Context, paths: list[str], usage: str) -> list[str]:
    if not paths:
        ctx.usage(usage)
    return paths


def _complain(ctx: Context, text: str, error: OSError) -> None:
    ctx.error(f"{text}: {error.strerror}")
    ctx.failed = True


@program("mkdir")
async def mkdir(ctx: Context) -> int:
    """Make directories; -p with those above, and no complaint if it exists; -m with a mode."""
    options, paths = ctx.options("pm:v", ["mode="])
    mode = int(options.get("m") or options.get("mode") or "755", 8)
    for path in _each(ctx, paths, "usage: mkdir [-p] DIRECTORY..."):
        try:
            if "p" in options:
                made = "/" if path.startswith("/") else "."
                for part in path.strip("/").split("/"):
                    made = f"{made.rstrip('/')}/{part}"
                    if not ctx.files.is_dir(made):
                        ctx.files.mkdir(made)
            else:
                ctx.files.mkdir(path, mode)
        except OSError as error:
            _complain(ctx, f"can't create directory '{path}'", error)
    return int(ctx.failed)


@program("rmdir")
async def rmdir(ctx: Context) -> int:
    """Remove empty directories."""
    _, paths = ctx.options("p")
    for path in _each(ctx, paths, "usage: rmdir DIRECTORY..."):
        try:
            if ctx.files.stat(path, follow=False).kind != "dir":
                raise fail(errno.ENOTDIR, path)
            ctx.files.remove(path)
        except OSError as error:
            _complain(ctx, f"'{path}'", error)
    return int(ctx.failed)


@program("rm", "unlink")
async def rm(ctx: Context) -> int:
    """Remove files; -r directories with all below, -f without complaint if there are none."""
    options, paths = ctx.options("rRfiv")
    if not paths and "f" in options:
        return 0
    for path in _each(ctx, paths, "usage: rm [-irf] FILE..."):
        try:
            node = ctx.files.stat(path, follow=False)
            if node.kind == "dir" and "r" not in options and "R" not in options:
                raise fail(errno.EISDIR, path)
            for one, _ in reversed(list(ctx.files.walk(path))):
                ctx.files.remove(one)
        except FileNotFoundError as error:
            if "f" not in options:
                _complain(ctx, f"can't remove '{path}'", error)
        except OSError as error:
            _complain(ctx, f"can't remove '{path}'", error)
    return int(ctx.failed)


@program("touch")
async def touch(ctx: Context) -> int:
    """Make files, or set their time to now; -c makes none."""
    options, paths = ctx.options("cam")
    now = ctx.now_ns
    for path in _each(ctx, paths, "usage: touch [-c] FILE..."):
        try:
            if ctx.files.exists(path):
                ctx.files.change(path, lambda node: setattr(node, "mtime_ns", now))
            elif "c" not in options:
                ctx.files.open(path, write=True, create=True).close()
        except OSError as error:
            _complain(ctx, path, error)
    return int(ctx.failed)


def _into(ctx: Context, target: str, source: str) -> str:
    """Where `source` goes: into `target` if that is a directory, else to that name."""
    return f"{target.rstrip('/')}/{source.rstrip('/').rpartition('/')[2]}" if ctx.files.is_dir(target) else target


@program("cp")
async def cp(ctx: Context) -> int:
    """Copy files; -r directories with all below."""
    options, paths = ctx.options("rRapfPdTLv")
    if len(paths) < 2:
        ctx.usage("usage: cp [-r] SOURCE... DEST")
    for source in paths[:-1]:
        try:
            if ctx.files.is_dir(source) and not {"r", "R", "a"} & set(options):
                ctx.error(f"omitting directory '{source}'")
                ctx.failed = True
                continue
            _copy(ctx, source, _into(ctx, paths[-1], source))
        except OSError as error:
            _complain(
                ctx, f"can't stat '{source}'" if error.filename == source else f"can't create '{paths[-1]}'", error
            )
    return int(ctx.failed)


def _copy(ctx: Context, source: str, target: str) -> None:
    node = ctx.files.stat(source, follow=not ctx.files.is_dir(source))
    if node.kind == "dir":
        if not ctx.files.is_dir(target):
            ctx.files.mkdir(target, node.mode)
        for name in ctx.files.names(source):
            _copy(ctx, f"{source.rstrip('/')}/{name}", f"{target}/{name}")
        return
    data = ctx.files.read(source)
    ctx.files.write(target, data)
    if ctx.files.stat(target).mode != node.mode:
        ctx.files.change(target, lambda new: setattr(new, "mode", node.mode))


@program("mv")
async def mv(ctx: Context) -> int:
    """Rename files, or move them into a directory."""
    _, paths = ctx.options("finv")
    if len(paths) < 2:
        ctx.usage("usage: mv SOURCE... DEST")
    for source in paths[:-1]:
        target = _into(ctx, paths[-1], source)
        try:
            ctx.files.stat(source, follow=False)
            _copy(ctx, source, target)
            for one, _ in reversed(list(ctx.files.walk(source))):
                ctx.files.remove(one)
        except OSError as error:
            _complain(ctx, f"can't rename '{source}'", error)
    return int(ctx.failed)


@program("ln")
async def ln(ctx: Context) -> int:
    """Make links; -s symbolic ones, -f over what is there. A hard link is a copy here."""
    options, paths = ctx.options("sfnv")
    if not paths:
        ctx.usage("usage: ln [-sf] TARGET... LINK")
    *targets, last = paths if len(paths) > 1 else [paths[0], "."]
    for target in targets:
        name = last if "n" in options else _into(ctx, last, target)
        try:
            if "f" in options and name in (path for path, _ in _present(ctx, name)):
                ctx.files.remove(name)
            if "s" in options:
                ctx.files.symlink(target, name)
            elif ctx.files.exists(name):
                raise fail(errno.EEXIST, name)
            else:
                ctx.files.write(name, ctx.files.read(target))
        except OSError as error:
            _complain(ctx, name, error)
    return int(ctx.failed)


def _present(ctx: Context, path: str) -> list[tuple[str, Node]]:
    try:
        return [(path, ctx.files.stat(path, follow=False))]
    except FileNotFoundError:
        return []


@program("readlink", "realpath")
async def readlink(ctx: Context) -> int:
    """Where a link leads; -f the real path of anything."""
    options, paths = ctx.options("fen")
    end = "" if "n" in options else "\n"
    for path in _each(ctx, paths, f"usage: {ctx.name} FILE..."):
        try:
            if "f" in options or "e" in options or ctx.name == "realpath":
                ctx.print(ctx.files.resolve(path), end=end)
                continue
            node = ctx.files.stat(path, follow=False)
            if node.kind != "link":
                ctx.failed = True
                continue
            ctx.print(bytes(node.data).decode(errors="surrogateescape"), end=end)
        except OSError as error:
            if ctx.name == "realpath":
                _complain(ctx, path, error)
            ctx.failed = True
    return int(ctx.failed)


@program("chmod", "chown", "chgrp")
async def change(ctx: Context) -> int:
    """Set mode or owner of files; -R of all below too."""
    options, words = ctx.options("Rvfh", anywhere=False)
    if len(words) < 2:
        ctx.usage(f"usage: {ctx.name} [-R] VALUE FILE...")
    value, *paths = words
    for path in paths:
        try:
            for one, node in list(ctx.files.walk(path)) if "R" in options else [(path, ctx.files.stat(path))]:
                if ctx.name == "chmod":
                    if ctx.machine.forbids("chmod"):
                        raise fail(errno.EPERM, one)
                    mode = _mode(ctx, value, node)
                    ctx.files.change(one, lambda new, mode=mode: setattr(new, "mode", mode))  # type: ignore[misc]
                    continue
                owner, _, group = value.partition(":") if ctx.name == "chown" else ("", "", value)
                uid = user_id(ctx, owner) if owner else node.uid
                gid = user_id(ctx, group, "/etc/group") if group else node.gid
                if ctx.user.uid != 0 and uid != node.uid:
                    raise fail(errno.EPERM, one)
                ctx.files.change(
                    one, lambda new, uid=uid, gid=gid: (setattr(new, "uid", uid), setattr(new, "gid", gid))[0]
                )  # type: ignore[misc]
        except OSError as error:
            _complain(ctx, path, error)
    return int(ctx.failed)


def _mode(ctx: Context, text: str, node: Node) -> int:
    if re.fullmatch(r"[0-7]{1,4}", text):
        return int(text, 8)
    mode = node.mode
    for part in text.split(","):
        match = re.fullmatch(r"([ugoa]*)([-+=])([rwxXst]*)", part)
        if match is None:
            ctx.usage(f"invalid mode '{text}'")
        who = match[1].replace("a", "ugo") or "ugo"
        bits = 0
        for letter in match[3]:
            value = {"r": 4, "w": 2, "x": 1}.get(
                letter, 1 if letter == "X" and (node.kind == "dir" or mode & 0o111) else 0
            )
            bits |= sum(value << {"u": 6, "g": 3, "o": 0}[one] for one in set(who))
            bits |= {"t": 0o1000, "s": 0o4000 * ("u" in who) | 0o2000 * ("g" in who)}.get(letter, 0)
        if match[2] == "=":
            mode &= ~sum(7 << {"u": 6, "g": 3, "o": 0}[one] for one in set(who))
        mode = mode & ~bits if match[2] == "-" else mode | bits
    return mode


@program("stat")
async def stat(ctx: Context) -> int:
    """What is known of files; -c in a format of one's own."""
    options, paths = ctx.options("c:Lf", ["format="])
    for path in _each(ctx, paths, "usage: stat [-c FORMAT] FILE..."):
        try:
            node = ctx.files.stat(path, follow="L" in options)
        except OSError as error:
            _complain(ctx, f"can't stat '{path}'", error)
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
            ctx.print(re.sub(r"%([a-zA-Z%])", lambda match: str(values.get(match[1], match[0])), template))
        else:
            ctx.print(
                f"  File: {path}\n  Size: {node.length}\tBlocks: {-(-node.length // 512)}\tIO Block: 4096\t{kind}"
            )
            ctx.print(f"Access: ({node.mode:04o}/{mode_text(node)})  Uid: ({node.uid}/{values['U']})  Modify: {date}")
    return int(ctx.failed)
