"""Commands that are part of the shell: flow, jobs, and what runs other commands."""

from __future__ import annotations

import posixpath

from criadapt.backends.mock.lookup import DEFAULT_PATH, CannotRun, which
from criadapt.backends.mock.process import Exited, Proc
from criadapt.backends.mock.program_table import PROGRAMS
from criadapt.backends.mock.programs.context import Context, execute, run_main
from criadapt.backends.mock.shell.compound import LoopExit
from criadapt.backends.mock.shell.interpreter import BUILTINS, SPECIAL, Return, Shell
from criadapt.backends.mock.shell.table import builtin, number
from criadapt.errors import InvalidArgument
from criadapt.model.signals import Signal


@builtin(":")
async def nothing(shell: Shell, args: list[str]) -> int:
    """Do nothing."""
    return 0


@builtin("exit")
async def exit(shell: Shell, args: list[str]) -> int:
    """End the shell."""
    raise Exited(number(args, shell.status) & 255)


@builtin("return")
async def return_(shell: Shell, args: list[str]) -> int:
    """End a function or a sourced file."""
    raise Return(number(args, shell.status) & 255)


@builtin("break")
async def break_(shell: Shell, args: list[str]) -> int:
    """Leave loops."""
    if shell.loops:
        raise LoopExit(number(args, 1), go_on=False)
    return 0


@builtin("continue")
async def continue_(shell: Shell, args: list[str]) -> int:
    """Go on with a loop's next turn."""
    if shell.loops:
        raise LoopExit(number(args, 1), go_on=True)
    return 0


@builtin("cd", "chdir")
async def cd(shell: Shell, args: list[str]) -> int:
    """Change the working directory."""
    target = args[0] if args else shell.variables.get("HOME", "/")
    if target == "-":
        target = shell.variables.get("OLDPWD", shell.proc.cwd)
        await shell.write(1, f"{target}\n")
    try:
        if shell.files.stat(target).kind != "dir":
            raise NotADirectoryError(20, "Not a directory")
    except OSError as error:
        await shell.complain(f"cd: can't cd to {target}: {error.strerror}")
        return 2
    shell.variables["OLDPWD"] = shell.proc.cwd
    shell.proc.cwd = posixpath.normpath(posixpath.join(shell.proc.cwd, target))
    shell.variables["PWD"] = shell.proc.cwd
    return 0


@builtin("eval")
async def eval_(shell: Shell, args: list[str]) -> int:
    """Run words as a script."""
    return await shell.evaluate(" ".join(args))


@builtin(".", "source")
async def source(shell: Shell, args: list[str]) -> int:
    """Run a file in this shell."""
    if not args:
        await shell.complain(".: filename argument required")
        return 2
    path = args[0]
    if "/" not in path:
        found = (f"{place}/{path}" for place in shell.variables.get("PATH", DEFAULT_PATH).split(":"))
        path = next((one for one in found if shell.files.exists(one)), path)
    try:
        text = shell.files.read(path).decode(errors="surrogateescape")
    except OSError as error:
        await shell.complain(f".: can't open '{args[0]}': {error.strerror}")
        raise Exited(2) from None
    try:
        return await shell.evaluate(text)
    except Return as returned:
        return returned.status


@builtin("exec")
async def exec_(shell: Shell, args: list[str]) -> int:
    """Become another program; without one, redirections last."""
    if not args:
        return 0
    try:
        shell.proc.become(shell.environment())
        raise Exited(await execute(shell.proc, args))
    except CannotRun as problem:
        await shell.complain(f"exec: {args[0]}: {problem.for_shell()}")
        raise Exited(problem.status) from None


@builtin("trap")
async def trap(shell: Shell, args: list[str]) -> int:
    """What signals, and the end (EXIT, 0), do."""
    if not args:
        for number, text in sorted(shell.traps.items()):
            name = "EXIT" if number == 0 else Signal.parse(str(number)).name[3:]
            await shell.write(1, f"trap -- '{text}' {name}\n")
        return 0
    words = args[1:] if args[0] == "--" else args
    action: str | None = words[0]
    if len(words) == 1:
        action, words = None, ["", *words]
    for word in words[1:]:
        try:
            number = 0 if word in ("EXIT", "0") else Signal.parse(word).number
        except InvalidArgument:
            await shell.complain(f"trap: {word}: invalid signal specification")
            return 1
        shell.trap(number, None if action == "-" else action)
    return 0


@builtin("wait")
async def wait(shell: Shell, args: list[str]) -> int:
    """Wait for children; a signal with a trap ends the waiting."""
    jobs = [_job(shell, word) for word in args] if args else list(shell.jobs)
    status: int | None = 0
    for index, job in enumerate(jobs):
        if job is None:
            await shell.complain(f"wait: pid {args[index]} is not a child of this shell")
            return 127
        status = await _wait_for(shell, job)
        if status is None:
            return 128 + shell.pending[0]  # the trap itself runs when the command is over
    if not args:
        shell.jobs = []
    return status or 0 if args else 0


async def _wait_for(shell: Shell, job: Proc) -> int | None:
    """Status of a job; None when a signal came first."""
    assert shell.proc.news is not None
    while job.status is None:
        if shell.pending:
            return None
        await shell.proc.news.heard(shell.proc.clock)
    return await job.result(shell.proc.clock)


def _job(shell: Shell, word: str) -> Proc | None:
    if word.startswith("%"):
        index = number([word[1:]], len(shell.jobs)) - 1
        return shell.jobs[index] if 0 <= index < len(shell.jobs) else None
    return next((job for job in shell.jobs if str(job.pid) == word), None)


@builtin("jobs")
async def jobs(shell: Shell, args: list[str]) -> int:
    """Children in the background."""
    for index, job in enumerate(shell.jobs, 1):
        state = "Running" if job.status is None else "Done" if job.status == 0 else f"Done({job.status})"
        await shell.write(1, f"[{index}]  {state:<23}{' '.join(job.args)}\n")
    return 0


@builtin("fg", "bg")
async def foreground(shell: Shell, args: list[str]) -> int:
    """Wait for a job; nothing is ever stopped here."""
    job = _job(shell, args[0] if args else "%")
    if job is None:
        await shell.complain("no current job")
        return 1
    return await _wait_for(shell, job) or 0


@builtin("kill")
async def kill(shell: Shell, args: list[str]) -> int:
    """Signal processes or jobs."""
    words = []
    for word in args:
        job = _job(shell, word) if word.startswith("%") else None
        words.append(str(job.pid) if job is not None else word)
    return await run_main(PROGRAMS["kill"].main, Context(shell.proc, "kill", words))


@builtin("type", "command")
async def command(shell: Shell, args: list[str]) -> int:
    """What a name stands for (command -v, type); or run it even if a function hides it."""
    words = [word for word in args if word not in ("-v", "-V", "-p")]
    if len(words) == len(args) and args and "command" not in shell.functions and args[0] in BUILTINS:
        return await BUILTINS[args[0]](shell, args[1:])
    if len(words) == len(args):
        child = await shell.fork(lambda sub: _without_functions(sub, args))
        return await child.result(shell.proc.clock)
    status = 0
    for word in words:
        place = which(shell.files, word, shell.variables.get("PATH", DEFAULT_PATH))
        text = word if word in BUILTINS or word in shell.functions or word in ("if", "for", "while", "case") else place
        if text is None:
            status = 127
        else:
            await shell.write(1, f"{text}\n")
    return status


async def _without_functions(shell: Shell, args: list[str]) -> int:
    return await execute(
        shell.proc, args, complain=lambda name, problem: f"{shell.name}: {name}: {problem.for_shell()}"
    )


async def _type(shell: Shell, args: list[str]) -> int:
    """Say what names stand for."""
    status = 0
    for word in args:
        place = which(shell.files, word, shell.variables.get("PATH", DEFAULT_PATH))
        if word in shell.functions:
            await shell.write(1, f"{word} is a function\n")
        elif word in BUILTINS:
            kind = "special shell builtin" if word in SPECIAL else "shell builtin"
            await shell.write(1, f"{word} is a {kind}\n")
        elif place is not None:
            await shell.write(1, f"{word} is {place}\n")
        else:
            await shell.write(2, f"{word}: not found\n")
            status = 127
    return status


BUILTINS["type"] = _type


@builtin("[[")
async def double_bracket(shell: Shell, args: list[str]) -> int:
    """A condition, as simple as with ``[``."""
    words = args[:-1] if args[-1:] == ["]]"] else args
    return await run_main(PROGRAMS["test"].main, Context(shell.proc, "[[", words))


@builtin("umask")
async def umask(shell: Shell, args: list[str]) -> int:
    """The mask of new files, which stays as it is."""
    if not args:
        await shell.write(1, "0022\n")
    return 0


@builtin("ulimit")
async def ulimit(shell: Shell, args: list[str]) -> int:
    """Limits of processes, which stay as they are."""
    if len(args) < 2:
        await shell.write(1, "1048576\n" if args == ["-n"] else "unlimited\n")
    return 0
