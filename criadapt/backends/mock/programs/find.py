"""find, xargs, du, df, mount, dd, mktemp."""

from __future__ import annotations

import fnmatch
import re
import shlex
from collections.abc import Callable

from criadapt.backends.mock.descriptors import FileStream, Mode
from criadapt.backends.mock.kernel import mounts
from criadapt.backends.mock.program_table import program
from criadapt.backends.mock.programs.context import Context
from criadapt.backends.mock.programs.io import CHUNK
from criadapt.backends.mock.trees import Node

_SIZES = {"": 1, "c": 1, "w": 2, "b": 512, "k": 1024, "K": 1024, "kB": 1000, "M": 1 << 20, "MB": 10**6, "G": 1 << 30}


def size(ctx: Context, text: str) -> int:
    """Bytes from ``20M`` and the like."""
    match = re.fullmatch(r"(\d+)([a-zA-Z]*)", text.removesuffix("iB").removesuffix("B") if text[-2:] != "kB" else text)
    if match is None or match[2] not in _SIZES:
        ctx.usage(f"invalid number '{text}'")
    return int(match[1]) * _SIZES[match[2]]


@program("find")
async def find(ctx: Context) -> int:
    """Walk directories: -name -iname -path -type -maxdepth -mindepth -empty -print -print0 -delete -exec."""
    words = list(ctx.args)
    roots = []
    while words and not words[0].startswith(("-", "!", "(")):
        roots.append(words.pop(0))
    tests: dict[str, str] = {}
    command: list[str] = []
    while words:
        word = words.pop(0)
        if word in ("-name", "-iname", "-path", "-type", "-maxdepth", "-mindepth") and words:
            tests[word] = words.pop(0)
        elif word in ("-empty", "-print", "-print0", "-delete"):
            tests[word] = ""
        elif word == "-exec" and (";" in words or "+" in words):
            end = words.index(";" if ";" in words else "+")
            command, words = words[:end], words[end + 1 :]
        else:
            ctx.usage(f"unrecognized: {word}")
    for root in roots or ["."]:
        try:
            entries = list(ctx.files.walk(root))
        except OSError as error:
            ctx.error(f"{root}: {error.strerror}")
            ctx.failed = True
            continue
        for path, node in entries[::-1] if "-delete" in tests else entries:
            depth = path[len(root.rstrip("/")) :].count("/")
            if _selected(ctx, tests, path, node, depth):
                await _found(ctx, tests, command, path)
    return int(ctx.failed)


def _selected(ctx: Context, tests: dict[str, str], path: str, node: Node, depth: int) -> bool:
    name = path.rstrip("/").rpartition("/")[2] or path
    kinds = {"f": "file", "d": "dir", "l": "link", "c": "device", "p": "pipe"}
    checks: dict[str, Callable[[str], bool]] = {
        "-name": lambda value: fnmatch.fnmatchcase(name, value),
        "-iname": lambda value: fnmatch.fnmatchcase(name.lower(), value.lower()),
        "-path": lambda value: fnmatch.fnmatchcase(path, value),
        "-type": lambda value: kinds.get(value) == node.kind,
        "-maxdepth": lambda value: depth <= int(value),
        "-mindepth": lambda value: depth >= int(value),
        "-empty": lambda _: not ctx.files.names(path) if node.kind == "dir" else node.length == 0,
    }
    return all(checks[test](value) for test, value in tests.items() if test in checks)


async def _found(ctx: Context, tests: dict[str, str], command: list[str], path: str) -> None:
    if command:
        await ctx.run([path if word == "{}" else word for word in command])
    elif "-delete" in tests:
        ctx.files.remove(path)
    else:
        ctx.print(path, end="\0" if "-print0" in tests else "\n")


@program("xargs")
async def xargs(ctx: Context) -> int:
    """Run a command with the words of stdin: -n at most so many at a time, -I in place of a word, -0 -r."""
    options, command = ctx.options("n:I:0rt", anywhere=False)
    content = (await ctx.read_all()).decode(errors="surrogateescape")
    if "I" in options:
        batches = [[line.strip()] for line in content.splitlines() if line.strip()]
    else:
        words = content.split("\0")[:-1] if "0" in options else shlex.split(content)
        most = int(options.get("n", "0")) or max(1, len(words))
        batches = [words[start : start + most] for start in range(0, len(words), most)]
        if not batches and "r" not in options:
            batches = [[]]
    status = 0
    for batch in batches:
        if "I" in options:
            args = [word.replace(options["I"], batch[0]) for word in command]
        else:
            args = [*(command or ["echo"]), *batch]
        result = await ctx.run(args)
        if result in (126, 127):
            return result
        status = 123 if result else status
    return status


@program("du")
async def du(ctx: Context) -> int:
    """Sizes of directories in KiB: -s only of those named, -h readable, -a of files too."""
    options, paths = ctx.options("shakmcd:")
    for path in paths or ["."]:
        totals: dict[str, int] = {}
        order: list[tuple[str, Node]] = []
        for one, node in ctx.files.walk(path):
            order.append((one, node))
            blocks = 4 if node.kind == "dir" else -(-node.length // 4096) * 4
            parent = one
            while True:
                totals[parent] = totals.get(parent, 0) + blocks
                if parent == path or "/" not in parent:
                    break
                parent = parent.rpartition("/")[0] or "/"
        for one, node in order[::-1]:
            if one == path or ("s" not in options and (node.kind == "dir" or "a" in options)):
                kib = totals[one]
                human = f"{kib / 1024:.1f}M" if kib >= 1024 else f"{kib}.0K"
                ctx.print(f"{human if 'h' in options else kib // 1024 if 'm' in options else kib}\t{one}")
    return 0


@program("df")
async def df(ctx: Context) -> int:
    """The file systems that are mounted, all on one disk of 100 GiB."""
    options, _ = ctx.options("hkPTim")
    human = "h" in options
    total, used = 100 * 1024 * 1024, 10 * 1024 * 1024 + ctx.machine.written_bytes // 1024
    ctx.print("Filesystem                Size      Used Available Use% Mounted on" if human
              else "Filesystem           1K-blocks      Used Available Use% Mounted on")  # fmt: skip
    for line in mounts(ctx.machine).decode(errors="surrogateescape").splitlines():
        device, point, kind = line.split()[:3]
        if kind not in ("overlay", "ext4", "tmpfs"):
            continue
        size, taken = (64 * 1024, 0) if kind == "tmpfs" else (total, used)
        sizes = [size, taken, size - taken]
        shown = [f"{value / 1024**2:.1f}G" if value >= 1024**2 else f"{value / 1024:.1f}M" for value in sizes]
        a, b, c = shown if human else [str(value) for value in sizes]
        ctx.print(f"{device:<20} {a:>9} {b:>9} {c:>9} {taken * 100 // size:>3}% {point}")
    return 0


@program("mount")
async def mount(ctx: Context) -> int:
    """The mounts; making new ones is not possible here."""
    _, words = ctx.options("t:o:lar")
    if words:
        ctx.error(f"permission denied (are you root?): {words[-1]}")
        return 1
    for line in mounts(ctx.machine).decode(errors="surrogateescape").splitlines():
        device, point, kind, flags = line.split()[:4]
        ctx.print(f"{device} on {point} type {kind} ({flags})")
    return 0


@program("umount")
async def umount(ctx: Context) -> int:
    """Not possible here."""
    ctx.error(f"can't unmount {' '.join(ctx.args)}: Operation not permitted")
    return 1


@program("dd")
async def dd(ctx: Context) -> int:
    """Copy blocks: if= of= bs= count= skip= seek= conv= status=. Its buffer is as large as a block."""
    known = {"if", "of", "bs", "ibs", "obs", "count", "skip", "seek", "conv", "status", "iflag", "oflag"}
    words = dict(arg.partition("=")[::2] for arg in ctx.args)
    for name in words:
        if name not in known:
            ctx.usage(f"unrecognized operand '{name}'")
    block = size(ctx, words.get("bs") or words.get("ibs") or "512")
    await ctx.allocate(block)
    source = ctx.open(words["if"]).retain() if "if" in words else ctx.proc.fds[0].retain()
    mode: Mode = "rw" if "notrunc" in words.get("conv", "") or "seek" in words else "w"
    target = (
        ctx.open(words["of"], "rw" if mode == "rw" else "w").retain() if "of" in words else ctx.proc.fds[1].retain()
    )
    started, copied, full, partial = ctx.now_ns, 0, 0, 0
    count = size(ctx, words["count"]) if "count" in words else -1
    skip = size(ctx, words.get("skip", "0")) * block
    while skip > 0 and (data := await source.read(min(skip, CHUNK), ctx.clock)):
        skip -= len(data)
    if isinstance(target, FileStream):
        target.seek(size(ctx, words.get("seek", "0")) * block)
    while count != 0:
        count -= 1
        got = 0
        while got < block and (data := await source.read(min(block - got, CHUNK), ctx.clock)):
            await target.write(data, ctx.clock)
            got += len(data)
        copied += got
        full += got == block
        partial += 0 < got < block
        if got < block:
            break
    source.release()
    target.release()
    if words.get("status") != "none":
        seconds = max(1e-6, (ctx.now_ns - started) / 1e9)
        records = f"{full}+{partial} records in\n{full}+{partial} records out\n"
        summary = f"{copied} bytes copied, {seconds:.6f} seconds, {copied / seconds / (1 << 20):.1f}MB/s\n"
        ctx.put(2, (records + (summary if words.get("status") != "noxfer" else "")).encode())
    return 0


@program("mktemp")
async def mktemp(ctx: Context) -> int:
    """Make a file (-d: a directory) with a name of its own."""
    options, words = ctx.options("dp:tuq")
    template = words[0] if words else "tmp.XXXXXX"
    if "X" not in template:
        ctx.usage(f"invalid template '{template}'")
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    source = ctx.random()
    name = re.sub(r"X(?=X*$)", lambda _: source.choice(letters), template)
    path = name if words and "p" not in options else f"{options.get('p') or ctx.env.get('TMPDIR', '/tmp')}/{name}"
    if "d" in options:
        ctx.files.mkdir(path, 0o700)
    else:
        ctx.files.write(path, b"")
    ctx.print(path)
    return 0
