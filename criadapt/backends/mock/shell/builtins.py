"""Commands that are part of the shell."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable

from criadapt.backends.mock.lookup import DEFAULT_PATH, CannotRun, which
from criadapt.backends.mock.process import Exited, Proc
from criadapt.backends.mock.program_table import PROGRAMS
from criadapt.backends.mock.programs.context import Context, execute, run_main
from criadapt.backends.mock.shell.arith import Arithmetic
from criadapt.backends.mock.shell.interpreter import BUILTINS, SPECIAL, Builtin, LoopExit, Return, Shell
from criadapt.backends.mock.shell.lexer import is_name
from criadapt.errors import InvalidArgument
from criadapt.model.signals import Signal

_OPTIONS = {
    "errexit": "e",
    "xtrace": "x",
    "nounset": "u",
    "noglob": "f",
    "noexec": "n",
    "allexport": "a",
    "pipefail": "pipefail",
}
_LETTERS = "exufnamhCbvi"


def builtin(*names: str) -> Callable[[Builtin], Builtin]:
    """Register a builtin under its names."""

    def register(function: Builtin) -> Builtin:
        for name in names:
            BUILTINS[name] = function
        return function

    return register


def _number(args: list[str], default: int) -> int:
    return int(args[0]) if args and args[0].lstrip("-").isdigit() else default


@builtin(":")
async def nothing(shell: Shell, args: list[str]) -> int:
    """Do nothing."""
    return 0


@builtin("exit")
async def exit(shell: Shell, args: list[str]) -> int:
    """End the shell."""
    raise Exited(_number(args, shell.status) & 255)


@builtin("return")
async def return_(shell: Shell, args: list[str]) -> int:
    """End a function or a sourced file."""
    raise Return(_number(args, shell.status) & 255)


@builtin("break")
async def break_(shell: Shell, args: list[str]) -> int:
    """Leave loops."""
    if shell.loops:
        raise LoopExit(_number(args, 1), go_on=False)
    return 0


@builtin("continue")
async def continue_(shell: Shell, args: list[str]) -> int:
    """Go on with a loop's next turn."""
    if shell.loops:
        raise LoopExit(_number(args, 1), go_on=True)
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


@builtin("export", "readonly")
async def export(shell: Shell, args: list[str]) -> int:
    """Let children have variables; -p lists them."""
    if not args or args == ["-p"]:
        for name in sorted(shell.exported & set(shell.variables)):
            await shell.write(1, f"export {name}='{shell.variables[name]}'\n")
        return 0
    for arg in args:
        name, equals, value = arg.partition("=")
        if not is_name(name):
            await shell.complain(f"export: {arg}: bad variable name")
            return 2
        if equals:
            shell.assign(name, value)
        shell.exported.add(name)
    return 0


async def _readonly(shell: Shell, args: list[str]) -> int:
    """Let nobody change variables any more."""
    for arg in args:
        name, equals, value = arg.partition("=")
        if equals:
            shell.assign(name, value)
        shell.readonly.add(name)
    return 0


BUILTINS["readonly"] = _readonly


@builtin("unset")
async def unset(shell: Shell, args: list[str]) -> int:
    """Forget variables, or with -f functions."""
    for name in args:
        if name in ("-v", "-f"):
            continue
        if "-f" in args:
            shell.functions.pop(name, None)
        elif name in shell.readonly:
            await shell.complain(f"unset: {name}: is read only")
            return 2
        else:
            shell.variables.pop(name, None)
            shell.exported.discard(name)
    return 0


@builtin("local", "declare", "typeset")
async def local(shell: Shell, args: list[str]) -> int:
    """Variables of a function."""
    for arg in args:
        name, equals, value = arg.partition("=")
        if arg.startswith("-"):
            continue
        if shell.locals and name not in shell.locals[-1]:
            shell.locals[-1][name] = shell.variables.get(name)
        shell.variables[name] = value if equals else shell.variables.get(name, "")
    return 0


@builtin("set")
async def set_(shell: Shell, args: list[str]) -> int:
    """Options and positional parameters."""
    if not args:
        for name, value in sorted(shell.variables.items()):
            if "\0" not in name:
                await shell.write(1, f"{name}='{value}'\n")
    words = list(args)
    while words and words[0][:1] in ("-", "+") and words[0] not in ("-", "--"):
        word = words.pop(0)
        letters = word[1:]
        if letters.endswith("o") and words:
            name = words.pop(0)
            if name not in _OPTIONS:
                await shell.complain(f"set: illegal option -o {name}")
                return 2
            letters = letters[:-1]
            _switch(shell, _OPTIONS[name], word[0] == "-")
        for letter in letters:
            if letter not in _LETTERS:
                await shell.complain(f"set: illegal option -{letter}")
                return 2
            _switch(shell, letter, word[0] == "-")
    if words and words[0] in ("-", "--"):
        shell.params = words[1:]
    elif words:
        shell.params = words
    return 0


def _switch(shell: Shell, option: str, on: bool) -> None:
    (shell.options.add if on else shell.options.discard)(option)


@builtin("shift")
async def shift(shell: Shell, args: list[str]) -> int:
    """Drop the first positional parameters."""
    count = _number(args, 1)
    if count > len(shell.params):
        await shell.complain("shift: can't shift that many")
        return shell.fatal(2)
    shell.params = shell.params[count:]
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
        index = _number([word[1:]], len(shell.jobs)) - 1
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


@builtin("read")
async def read(shell: Shell, args: list[str]) -> int:
    """A line of stdin into variables: -r takes backslashes as they are, -p asks."""
    words, raw = list(args), False
    while words and words[0].startswith("-"):
        word = words.pop(0)
        if word == "-p" and words:
            await shell.write(2, words.pop(0))
        elif set(word[1:]) <= set("rs"):
            raw = raw or "r" in word
        else:
            await shell.complain(f"read: illegal option {word}")
            return 2
    stdin = shell.proc.fds.get(0)
    line = await stdin.read_line(shell.proc.clock) if stdin is not None else b""
    text = line.decode(errors="surrogateescape")
    while not raw and text.endswith("\\\n") and stdin is not None:
        text = text[:-2] + (await stdin.read_line(shell.proc.clock)).decode(errors="surrogateescape")
    complete = text.endswith("\n")
    text = text.removesuffix("\n")
    names = words or ["REPLY"]
    ifs = shell.variables.get("IFS", " \t\n")
    rest = text.strip("".join(c for c in ifs if c in " \t\n")) if words else text
    for name in names[:-1]:
        match = re.search(f"[{re.escape(ifs)}]+" if ifs.strip() == "" else f"[{re.escape(ifs)}]", rest) if ifs else None
        value, rest = (rest[: match.start()], rest[match.end() :]) if match else (rest, "")
        shell.assign(name, value if raw else re.sub(r"\\(.)", r"\1", value))
    shell.assign(names[-1], rest if raw else re.sub(r"\\(.)", r"\1", rest))
    return 0 if complete else 1


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
    return await execute(shell.proc, args, complain=lambda name, problem: f"{shell.name}: {name}: {problem.for_shell()}")


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


@builtin("let")
async def let(shell: Shell, args: list[str]) -> int:
    """Arithmetic."""
    value = 0
    for arg in args:
        value = Arithmetic(arg, lambda name: shell.variables.get(name, ""), shell.assign).value()
    return int(value == 0)


@builtin("[[")
async def double_bracket(shell: Shell, args: list[str]) -> int:
    """A condition, as simple as with ``[``."""
    words = args[:-1] if args[-1:] == ["]]"] else args
    return await run_main(PROGRAMS["test"].main, Context(shell.proc, "[[", words))


@builtin("umask", "ulimit", "times", "hash", "alias", "unalias")
async def limits(shell: Shell, args: list[str]) -> int:
    """Show what the mock has of such things; it changes nothing."""
    shown = {
        "umask": "0022",
        "ulimit": "unlimited" if args[:1] != ["-n"] else "1048576",
        "times": "0m0.00s 0m0.00s\n0m0.00s 0m0.00s",
    }
    name = "ulimit" if args[:1] and args[0].startswith("-") else "umask"
    if not args or (args[0].startswith("-") and len(args) == 1):
        await shell.write(1, f"{shown[name]}\n")
    return 0


@builtin("getopts")
async def getopts(shell: Shell, args: list[str]) -> int:
    """The next option among the positional parameters."""
    if len(args) < 2:
        await shell.complain("getopts: usage: getopts optstring var [arg...]")
        return 2
    allowed, name, params = args[0], args[1], args[2:] or shell.params
    index = int(shell.variables.get("OPTIND", "1"))
    inside = int(shell.variables.get("\0optpos", "1"))
    word = params[index - 1] if index <= len(params) else ""
    if not word.startswith("-") or word in ("-", "--"):
        shell.variables["OPTIND"] = str(index + (word == "--"))
        shell.assign(name, "?")
        return 1
    letter, rest = word[inside], word[inside + 1 :]
    found = allowed.lstrip(":").find(letter)
    takes = found >= 0 and allowed.lstrip(":")[found + 1 : found + 2] == ":"
    index, inside = (index, inside + 1) if rest and not takes else (index + 1, 1)
    if takes:
        shell.variables["OPTARG"] = rest or (params[index - 1] if index <= len(params) else "")
        index += not rest
    elif found < 0 and not allowed.startswith(":"):
        await shell.complain(f"illegal option -- {letter}")
    shell.variables["OPTIND"], shell.variables["\0optpos"] = str(index), str(inside)
    shell.assign(name, letter if found >= 0 and letter != ":" else "?")
    return 0
