"""Commands of the shell that are about variables, parameters and options."""

from __future__ import annotations

import re

from criadapt.backends.mock.shell.arith import Arithmetic
from criadapt.backends.mock.shell.interpreter import BUILTINS, Shell
from criadapt.backends.mock.shell.lexer import is_name
from criadapt.backends.mock.shell.table import builtin, number

_OPTIONS = {
    "errexit": "e",
    "xtrace": "x",
    "nounset": "u",
    "noglob": "f",
    "allexport": "a",
    "pipefail": "pipefail",
}
_LETTERS = "exufnamhCbvi"


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
    count = number(args, 1)
    if count > len(shell.params):
        await shell.complain("shift: can't shift that many")
        return shell.fatal(2)
    shell.params = shell.params[count:]
    return 0


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


@builtin("let")
async def let(shell: Shell, args: list[str]) -> int:
    """Arithmetic."""
    value = 0
    for arg in args:
        value = Arithmetic(arg, lambda name: shell.variables.get(name, ""), shell.assign).value()
    return int(value == 0)


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
