"""Programs about processes: ps, top, pgrep, pidof, kill and their like."""

from __future__ import annotations

import re

from criadapt.backends.mock.kernel import MEMORY
from criadapt.backends.mock.pids import visible
from criadapt.backends.mock.process import Proc
from criadapt.backends.mock.program_table import program
from criadapt.backends.mock.programs.accounts import user_name
from criadapt.backends.mock.programs.context import Context
from criadapt.errors import InvalidArgument
from criadapt.model.signals import Signal

_TITLE = re.compile(r"[\w.-]+: ")  # such as "nginx: master process"


def command(proc: Proc) -> str:
    """A process's command line on one line."""
    return " ".join(proc.args)


def signal_number(ctx: Context, text: str) -> int:
    """Number of a signal by name or number; 0 asks only whether the process is there."""
    if text == "0":
        return 0
    try:
        return Signal.parse(text).number
    except InvalidArgument:
        ctx.usage(f"bad signal name '{text}'")


@program("ps")
async def ps(ctx: Context) -> int:
    """All processes. Options choose among columns of real ps; -o names them here as well."""
    columns = ["pid", "user", "time", "args"]
    words = list(ctx.args)
    while words:
        word = words.pop(0)
        if word == "-o" and words:
            columns = words.pop(0).replace("=", "").split(",")
        elif word.startswith("-o"):
            columns = word[2:].replace("=", "").split(",")
        elif not re.fullmatch(r"-?[aeuxfwlAT]+", word):
            ctx.usage(f"unrecognized option: {word.lstrip('-')}")
    titles = {
        "pid": "PID  ",
        "user": "USER    ",
        "time": "TIME ",
        "args": "COMMAND",
        "comm": "COMMAND",
        "ppid": "PPID ",
    }
    for column in columns:
        if column not in titles:
            ctx.usage(f"bad -o argument '{column}', supported arguments: {','.join(titles)}")
    ctx.print(" ".join(titles[column] for column in columns).rstrip())
    for pid, proc in visible(ctx.machine):
        seconds = proc.clock.busy_ns // 10**9
        values = {
            "pid": f"{pid:>5}", "ppid": f"{proc.parent_pid:>5}", "user": f"{user_name(ctx, proc.user.uid):<8}",
            "time": f"{seconds // 60:>2}:{seconds % 60:02}", "args": command(proc), "comm": proc.name,
        }  # fmt: skip
        ctx.print(" ".join(values[column] for column in columns).rstrip())
    return 0


@program("top")
async def top(ctx: Context) -> int:
    """One screen of processes, and then quiet until SIGTERM: a mock need not refresh it. -b -n 1 ends at once."""
    options, _ = ctx.options("bn:d:Hm")
    if ctx.machine.tty is not None or options or ctx.proc is not ctx.machine.first:
        used = sum(peer.allocated_bytes for peer in ctx.machine.peers()) // 1024
        ctx.print(f"Mem: {used}K used, {MEMORY // 1024 - used}K free, 0K shrd, 0K buff, 0K cached")
        ctx.print("CPU:   1% usr   0% sys   0% nic  99% idle   0% io   0% irq   0% sirq")
        ctx.print(f"Load average: 0.10 0.08 0.05 1/{len(visible(ctx.machine))} {ctx.proc.pid}")
        ctx.print("  PID  PPID USER     STAT   VSZ %VSZ CPU %CPU COMMAND")
        for pid, proc in visible(ctx.machine):
            kib = proc.memory // 1024 + 512
            user = user_name(ctx, proc.user.uid)
            ctx.print(f"{pid:>5} {proc.parent_pid:>5} {user:<8} S    {kib:>5}   0%   0   0% {command(proc)}")
    if "n" in options:
        return 0
    return 128 + await ctx.wait_signal()


@program("pgrep", "pkill")
async def pgrep(ctx: Context) -> int:
    """Processes whose name (-f: command line) matches; -x exactly, -l with names. pkill signals them."""
    words, number = list(ctx.args), 15
    if ctx.name == "pkill" and words and re.fullmatch(r"-(\d+|[A-Z]\w+)", words[0]):
        number = signal_number(ctx, words.pop(0)[1:])
    options, patterns = ctx.options("fxlovans:P:u:", args=words)
    if len(patterns) != 1:
        ctx.usage(f"usage: {ctx.name} [-flx] PATTERN", 2)
    if "s" in options and ctx.name == "pkill":
        number = signal_number(ctx, options["s"])
    found = []
    for pid, proc in visible(ctx.machine):
        text = command(proc) if "f" in options else proc.name
        match = re.fullmatch(patterns[0], text) if "x" in options else re.search(patterns[0], text)
        if (match is not None) != ("v" in options) and proc is not ctx.proc:
            found.append((pid, proc))
    for pid, proc in found:
        if ctx.name == "pkill":
            proc.deliver(number, outside=proc.machine is not ctx.machine)
        else:
            ctx.print(pid, *([command(proc)] if "a" in options else [proc.name] if "l" in options else []))
    return int(not found)


@program("pidof")
async def pidof(ctx: Context) -> int:
    """Numbers of the processes that run a program, newest first; -s one only."""
    options, names = ctx.options("so:")
    pids = []
    for pid, proc in visible(ctx.machine):
        title = proc.args[0].partition(":")[0] if proc.args and _TITLE.match(proc.args[0]) else proc.name
        if title in names and str(pid) != options.get("o"):
            pids.append(pid)
    pids.sort(reverse=True)
    if pids:
        ctx.print(*pids[: 1 if "s" in options else None])
    return int(not pids)


@program("kill")
async def kill(ctx: Context) -> int:
    """Signal processes: -SIGNAL, -s SIGNAL, -l lists the signals."""
    words, number = list(ctx.args), 15
    if words[:1] == ["-l"]:
        ctx.print("\n".join(f"{signal.number:>2}) {signal.name[3:]}" for signal in Signal if 0 < signal < 34))
        return 0
    if words[:1] == ["-s"] and len(words) > 1:
        number = signal_number(ctx, words[1])
        words = words[2:]
    elif words and re.fullmatch(r"-(\d+|[A-Za-z]\w*)", words[0]) and len(words) > 1:
        number = signal_number(ctx, words.pop(0)[1:])
    if words[:1] == ["--"]:
        words.pop(0)
    if not words:
        ctx.usage("you need to specify whom to kill")
    for word in words:
        if not re.fullmatch(r"-?\d+", word):
            ctx.error(f"invalid number '{word}'")
            ctx.failed = True
            continue
        if not _kill(ctx, int(word), number):
            ctx.error(f"can't kill pid {word}: No such process")
            ctx.failed = True
    return int(ctx.failed)


def _kill(ctx: Context, pid: int, number: int) -> bool:
    processes = dict(visible(ctx.machine))
    if pid in (0, -1):  # everything but the first process and the killer
        targets = [proc for proc in processes.values() if proc is not ctx.proc and proc.number != 1]
    else:
        targets = [processes[abs(pid)]] if abs(pid) in processes else []
    for proc in targets:
        proc.deliver(number, outside=proc.machine is not ctx.machine)
    return bool(targets)


@program("killall")
async def killall(ctx: Context) -> int:
    """Signal processes by name."""
    words, number = list(ctx.args), 15
    if words and re.fullmatch(r"-(\d+|[A-Z]\w*)", words[0]):
        number = signal_number(ctx, words.pop(0)[1:])
    _, names = ctx.options("qs:", args=words)
    for name in names:
        targets = [proc for _, proc in visible(ctx.machine) if proc.name == name and proc is not ctx.proc]
        for proc in targets:
            proc.deliver(number, outside=proc.machine is not ctx.machine)
        if not targets:
            ctx.error(f"{name}: no process killed")
            ctx.failed = True
    return int(ctx.failed)
