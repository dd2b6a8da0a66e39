"""Programs that handle files: ls, mkdir, rm, cp, mv, ln, touch, chmod, stat and their like."""

from __future__ import annotations

import errno
import re
from functools import partial

from criadapt.backends.mock.program_table import program
from criadapt.backends.mock.programs.accounts import user_id
from criadapt.backends.mock.programs.context import Context
from criadapt.backends.mock.trees import Node, fail


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
                ctx.files.change(path, partial(_set, mtime_ns=now))
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
        ctx.files.change(target, partial(_set, mode=node.mode))


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


@program("chmod")
async def chmod(ctx: Context) -> int:
    """Set the mode of files; -R of all below too."""
    taken = len(ctx.args) > 0 and re.fullmatch(r"-[rwxXst]+", ctx.args[0]) is not None  # a mode such as -x
    options, words = ctx.options("Rvf", anywhere=False, args=["--", *ctx.args] if taken else ctx.args)
    if len(words) < 2:
        ctx.usage("usage: chmod [-R] MODE FILE...")
    for path in words[1:]:
        try:
            for one, node in _reached(ctx, path, options):
                if ctx.machine.forbids("chmod"):
                    raise fail(errno.EPERM, one)
                ctx.files.change(one, partial(_set, mode=_mode(ctx, words[0], node)))
        except OSError as error:
            _complain(ctx, path, error)
    return int(ctx.failed)


@program("chown", "chgrp")
async def chown(ctx: Context) -> int:
    """Set the owner and group of files; -R of all below too."""
    options, words = ctx.options("Rvfh", anywhere=False)
    if len(words) < 2:
        ctx.usage(f"usage: {ctx.name} [-R] OWNER FILE...")
    owner, _, group = words[0].partition(":") if ctx.name == "chown" else ("", "", words[0])
    for path in words[1:]:
        try:
            for one, node in _reached(ctx, path, options):
                uid = user_id(ctx, owner) if owner else node.uid
                gid = user_id(ctx, group, "/etc/group") if group else node.gid
                if ctx.user.uid != 0 and uid != node.uid:
                    raise fail(errno.EPERM, one)
                ctx.files.change(one, partial(_set, uid=uid, gid=gid))
        except OSError as error:
            _complain(ctx, path, error)
    return int(ctx.failed)


def _reached(ctx: Context, path: str, options: dict[str, str]) -> list[tuple[str, Node]]:
    """`path`, with -R and all below."""
    return list(ctx.files.walk(path)) if "R" in options else [(path, ctx.files.stat(path))]


def _set(node: Node, **values: int) -> None:
    for name, value in values.items():
        setattr(node, name, value)


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
