"""Programs about the machine and the session: env, id, date, hostname, uname, free, which, stty and others."""

from __future__ import annotations

import re
import time

from criadapt.backends.mock.capabilities import effective
from criadapt.backends.mock.kernel import MEMORY, PROCESSORS, RELEASE, sysctls, uptime
from criadapt.backends.mock.lookup import DEFAULT_PATH, CannotRun, which
from criadapt.backends.mock.process import SIGKILL, SIGTERM
from criadapt.backends.mock.program_table import program
from criadapt.backends.mock.programs.accounts import group_name, user_name, user_row
from criadapt.backends.mock.programs.context import Context
from criadapt.backends.mock.tty import TtyStream
from criadapt.errors import InvalidArgument
from criadapt.model.signals import Signal


@program("env")
async def env(ctx: Context) -> int:
    """Show the environment, or run a command in a changed one: -i empty, -u without, NAME=VALUE with."""
    words = list(ctx.args)
    while words and (words[0].startswith("-") or "=" in words[0]):
        word = words.pop(0)
        if word in ("-i", "-"):
            ctx.env.clear()
        elif word == "-u" and words:
            ctx.env.pop(words.pop(0), None)
        elif word.startswith("-") and word != "--":
            ctx.usage(f"unrecognized option: {word.lstrip('-')}")
        elif "=" in word:
            name, _, value = word.partition("=")
            ctx.env[name] = value
    if not words:
        for name, value in ctx.env.items():
            ctx.print(f"{name}={value}")
        return 0
    return await become(ctx, words)


async def become(ctx: Context, words: list[str]) -> int:
    """Run a command in place of the program."""
    try:
        return await ctx.replace(words)
    except CannotRun as problem:
        ctx.error(f"can't execute '{words[0]}': {problem.reason}")
        return problem.status


@program("printenv")
async def printenv(ctx: Context) -> int:
    """Values of variables, or all of them."""
    if not ctx.args:
        return await env(ctx)
    for name in ctx.args:
        if name in ctx.env:
            ctx.print(ctx.env[name])
        else:
            ctx.failed = True
    return int(ctx.failed)


@program("id")
async def id(ctx: Context) -> int:
    """Who this is: -u -g -G as numbers, with -n as names."""
    options, words = ctx.options("ugGnr")
    uid, gid = ctx.user.uid, ctx.user.gid
    groups = [gid, *(group for group in ctx.user.supplemental_groups if group != gid)]
    if words:
        row = user_row(ctx, words[0])
        if row is None:
            ctx.usage(f"unknown user {words[0]}")
        uid, gid = int(row[2]), int(row[3])
        groups = [gid]
    if "u" in options:
        ctx.print(user_name(ctx, uid) if "n" in options else uid)
    elif "g" in options:
        ctx.print(group_name(ctx, gid) if "n" in options else gid)
    elif "G" in options:
        ctx.print(*(group_name(ctx, group) if "n" in options else group for group in groups))
    else:
        owner, primary = _named(user_name(ctx, uid), uid), _named(group_name(ctx, gid), gid)
        listed = ",".join(_named(group_name(ctx, group), group) for group in groups)
        ctx.print(f"uid={owner} gid={primary} groups={listed}")
    return 0


def _named(name: str, number: int) -> str:
    return f"{number}({name})" if name != str(number) else name


@program("whoami")
async def whoami(ctx: Context) -> int:
    """Name of the user."""
    ctx.options("")
    name = user_name(ctx, ctx.user.uid)
    if name == str(ctx.user.uid):
        ctx.usage(f"unknown uid {name}")
    ctx.print(name)
    return 0


@program("groups")
async def groups(ctx: Context) -> int:
    """Names of the groups."""
    numbers = [ctx.user.gid, *(group for group in ctx.user.supplemental_groups if group != ctx.user.gid)]
    ctx.print(*(group_name(ctx, number) for number in numbers))
    return 0


@program("hostname")
async def hostname(ctx: Context) -> int:
    """The container's name; -i its address. Setting it takes CAP_SYS_ADMIN."""
    options, words = ctx.options("isfd")
    if words:
        if "SYS_ADMIN" not in effective(ctx.machine.spec, ctx.user.uid) or ctx.machine.forbids("sethostname"):
            ctx.error("sethostname: Operation not permitted")
            return 1
        ctx.machine.hostname = words[0]
        return 0
    name = ctx.machine.hostname
    ctx.print(" ".join(ctx.machine.ips) if "i" in options else name.partition(".")[0] if "s" in options else name)
    return 0


@program("uname", "arch")
async def uname(ctx: Context) -> int:
    """The system: -s -n -r -v -m -o, -a all of them."""
    options, _ = ctx.options("asnrvmpio")
    fields = {"s": "Linux", "n": ctx.machine.hostname, "r": RELEASE, "v": "#1 SMP PREEMPT_DYNAMIC", "m": "x86_64"}
    fields["o"] = "GNU/Linux"
    wanted = list(fields) if "a" in options else [letter for letter in fields if letter in options] or ["s"]
    ctx.print(*(fields[letter] for letter in (["m"] if ctx.name == "arch" else wanted)))
    return 0


@program("date")
async def date(ctx: Context) -> int:
    """The time: +FORMAT in a format of one's own, -u, -d @SECONDS another time, -R and -I in fixed formats."""
    options, words = ctx.options("ud:RI", ["date=", "utc", "iso-8601="])
    moment = ctx.now_ns
    given = options.get("d") or options.get("date")
    if given:
        match = re.fullmatch(r"@(\d+)", given)
        if match is None:
            ctx.usage(f"invalid date '{given}'")
        moment = int(match[1]) * 10**9
    layout = "%a %b %e %H:%M:%S UTC %Y"
    if "R" in options:
        layout = "%a, %d %b %Y %H:%M:%S +0000"
    elif "I" in options or "iso-8601" in options:
        layout = "%Y-%m-%dT%H:%M:%S+00:00" if options.get("iso-8601", "").startswith("s") else "%Y-%m-%d"
    if words:
        if len(words) > 1 or not words[0].startswith("+"):
            ctx.usage(f"invalid date '{words[-1]}'")
        layout = words[0][1:]
    layout = layout.replace("%N", f"{moment % 10**9:09}").replace("%s", str(moment // 10**9)).replace("%Z", "UTC")
    layout = layout.replace("%3N", f"{moment % 10**9 // 10**6:03}")
    ctx.print(time.strftime(layout.replace("%z", "+0000"), time.gmtime(moment // 10**9)))
    return 0


@program("uptime")
async def show_uptime(ctx: Context) -> int:
    """How long the node is up."""
    ctx.options("")
    minutes = int(uptime(ctx.machine)) // 60
    clock = time.strftime("%H:%M:%S", time.gmtime(ctx.now_ns // 10**9))
    ctx.print(f" {clock} up {minutes // 60:2}:{minutes % 60:02},  0 users,  load average: 0.10, 0.08, 0.05")
    return 0


@program("free")
async def free(ctx: Context) -> int:
    """Memory of the node: -m in MiB, -h readable."""
    options, _ = ctx.options("bkmgh")
    unit = 1 if "b" in options else 1 << 20 if "m" in options or "h" in options else 1 << 30 if "g" in options else 1024
    used = sum(peer.allocated_bytes for peer in ctx.machine.peers())
    suffix = "M" if "h" in options else ""
    ctx.print("              total        used        free      shared  buff/cache   available")
    shown = [f"{value // unit}{suffix}" for value in (MEMORY, used, MEMORY - used, 0, 0, MEMORY - used)]
    ctx.print("Mem:   " + "".join(f"{value:>12}" for value in shown))
    ctx.print("Swap:  " + "".join(f"{value:>12}" for value in ("0", "0", "0")))
    return 0


@program("nproc")
async def nproc(ctx: Context) -> int:
    """Processors that may be used."""
    ctx.options("", ["all"])
    cpus = ctx.machine.resources.cpuset_cpus
    ranges = [part.split("-") for part in cpus.split(",") if part]
    ctx.print(sum(int(part[-1]) - int(part[0]) + 1 for part in ranges) or PROCESSORS)
    return 0


@program("sync")
async def sync(ctx: Context) -> int:
    """Everything is on disk already."""
    return 0


@program("which")
async def which_(ctx: Context) -> int:
    """Where programs are."""
    for name in ctx.args:
        path = which(ctx.files, name, ctx.env.get("PATH", DEFAULT_PATH))
        if path is None:
            ctx.failed = True
        else:
            ctx.print(path)
    return int(ctx.failed)


@program("tty")
async def tty(ctx: Context) -> int:
    """Whether stdin is a terminal."""
    there = isinstance(ctx.proc.fds.get(0), TtyStream)
    ctx.print("/dev/pts/0" if there else "not a tty")
    return int(not there)


@program("stty")
async def stty(ctx: Context) -> int:
    """The terminal: ``size``, ``-a``, ``raw``, ``sane``, ``echo`` and ``-echo``, ``rows N cols N``."""
    stream = ctx.proc.fds.get(0)
    if not isinstance(stream, TtyStream):
        ctx.error("standard input: Not a tty")
        return 1
    terminal, words = stream.tty, list(ctx.args)
    if words in ([], ["-a"]):
        ctx.print(f"speed 38400 baud; rows {terminal.height}; columns {terminal.width};")
        ctx.print(f"{'' if terminal.echo else '-'}echo {'-' if terminal.raw else ''}icanon")
    while words:
        word = words.pop(0)
        if word == "size":
            ctx.print(terminal.height, terminal.width)
        elif word in ("raw", "-icanon", "sane", "icanon", "cooked"):
            terminal.raw = word in ("raw", "-icanon")
            terminal.echo = terminal.echo or word == "sane"
        elif word in ("echo", "-echo"):
            terminal.echo = word == "echo"
        elif word in ("rows", "cols", "columns") and words:
            number = int(words.pop(0))
            terminal.resize(terminal.width if word == "rows" else number, number if word == "rows" else terminal.height)
        elif word != "-a":
            ctx.usage(f"invalid argument '{word}'")
    return 0


@program("nohup", "setsid", "nice", "ionice", "gosu", "su-exec", "tini", "dumb-init")
async def wrapper(ctx: Context) -> int:
    """Run a command, with nothing about it changed."""
    words = list(ctx.args)
    while words and words[0].startswith("-"):
        option = words.pop(0)
        if option in ("-n", "-c", "-p") and words:
            words.pop(0)
    if ctx.name in ("gosu", "su-exec"):
        words = words[1:]
    if not words:
        ctx.usage(f"usage: {ctx.name} PROGRAM [ARGS]")
    return await become(ctx, words)


@program("timeout")
async def timeout(ctx: Context) -> int:
    """Run a command and end it after some time: -s SIGNAL, -k SECONDS."""
    options, words = ctx.options("s:k:t:", anywhere=False)
    if "t" not in options and not words:
        ctx.usage("usage: timeout [-s SIG] SECS PROG ARGS")
    limit = options["t"] if "t" in options else words.pop(0)
    unit = {"s": 1, "m": 60, "h": 3600, "d": 86400}.get(limit[-1:], 1)
    child = await ctx.spawn(words)
    state = {"late": False}

    def late() -> None:
        if child.status is None:
            state["late"] = True
            child.deliver(_signal(ctx, options.get("s", "TERM")))

    ctx.machine.scheduler.at(ctx.now_ns + round(float(limit.rstrip("smhd")) * unit * 1e9), late)
    if "k" in options:
        grace = float(limit.rstrip("smhd")) * unit + float(options["k"])
        ctx.machine.scheduler.at(ctx.now_ns + round(grace * 1e9), lambda: child.deliver(SIGKILL))
    status = await child.result(ctx.clock)
    return 143 if state["late"] and status == 128 + SIGTERM else 124 if state["late"] else status


def _signal(ctx: Context, text: str) -> int:
    try:
        return Signal.parse(text).number
    except InvalidArgument:
        ctx.usage(f"bad signal name '{text}'")


@program("sysctl")
async def sysctl(ctx: Context) -> int:
    """Kernel parameters, to read only."""
    options, names = ctx.options("naw")
    values = sysctls(ctx.machine)
    for name in sorted(values) if "a" in options else names:
        if name not in values:
            ctx.error(f"error: '{name}' is an unknown key")
            ctx.failed = True
        else:
            ctx.print(values[name] if "n" in options else f"{name} = {values[name]}")
    return int(ctx.failed)


@program("pwd")
async def pwd(ctx: Context) -> int:
    """The working directory."""
    ctx.options("LP")
    ctx.print(ctx.cwd)
    return 0
