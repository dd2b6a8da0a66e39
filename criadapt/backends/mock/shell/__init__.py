"""The shell of the mock: ``sh`` and its other names."""

from __future__ import annotations

from criadapt.backends.mock.process import SIGINT, SIGTERM
from criadapt.backends.mock.program_table import program
from criadapt.backends.mock.programs.context import Context
from criadapt.backends.mock.shell import builtins, variables
from criadapt.backends.mock.shell.compound import LoopExit
from criadapt.backends.mock.shell.expand import ExpansionError
from criadapt.backends.mock.shell.interpreter import Return, Shell
from criadapt.backends.mock.shell.parser import parse
from criadapt.backends.mock.shell.syntax import IncompleteError, Item, ShellSyntaxError, Simple
from criadapt.backends.mock.streams import Stream
from criadapt.backends.mock.tty import TtyStream

__all__ = ["Shell", "builtins", "parse", "sh", "variables"]
_LETTERS = "cexufnsilmaCvh"


@program("sh", "ash", "bash", "dash")
async def sh(ctx: Context) -> int:
    """The shell: -c SCRIPT [NAME [ARG]...], a script's file, or commands from stdin."""
    words, letters = list(ctx.args), set()
    while words and words[0][:1] in ("-", "+") and len(words[0]) > 1:
        word = words.pop(0)
        if word == "--":
            break
        if word in ("--login", "--norc", "--noprofile", "--posix"):
            continue
        if word[1:].endswith("o") and words:
            letters.add({"pipefail": "pipefail", "errexit": "e", "nounset": "u", "xtrace": "x"}.get(words.pop(0), ""))
            word = word[:-1]
        for letter in word[1:]:
            if letter not in _LETTERS:
                ctx.usage(f"illegal option -{letter}", 2)
            letters.add(letter)
    own_name = ctx.proc.args[0] if ctx.proc.args else "sh"
    options = letters - {"c", "s", "i", "l", "h", ""}
    if "c" in letters:
        if not words:
            ctx.usage("-c requires an argument", 2)
        script, name = words[0], words[1] if len(words) > 1 else own_name
        shell = Shell(ctx.proc, name, words[2:], options)
        return await shell.main(lambda: _script(shell, script))
    if words and "s" not in letters:
        try:
            script = ctx.files.read(words[0]).decode(errors="surrogateescape")
        except OSError as error:
            ctx.put(2, f"{own_name}: can't open '{words[0]}': {error.strerror}\n".encode(errors="surrogateescape"))
            return 127 if isinstance(error, FileNotFoundError) else 126
        shell = Shell(ctx.proc, words[0], words[1:], options)
        return await shell.main(lambda: shell.evaluate(script))
    shell = Shell(ctx.proc, own_name, words, options)
    stdin = ctx.proc.fds.get(0)
    if isinstance(stdin, TtyStream) or "i" in letters:
        shell.interactive = True
        shell.trap(SIGTERM, "")
        ctx.on_signal(SIGINT, lambda _: None)
    return await shell.main(lambda: _commands(shell, stdin)) if stdin is not None else 0


async def _script(shell: Shell, script: str) -> int:
    """Run the script of -c. A single simple command takes the shell's place, as real shells do it."""
    try:
        lines = list(parse(script))
    except ShellSyntaxError:
        return await shell.evaluate(script)  # what comes before the error runs, and the error is told
    if len(lines) == 1 and len(lines[0]) == 1 and _is_simple(lines[0][0]):
        return await shell.items(lines[0], tail=True)
    return await shell.evaluate(script)


def _is_simple(item: Item) -> bool:
    return (
        not item.rest
        and not item.background
        and len(item.first.commands) == 1
        and isinstance(item.first.commands[0], Simple)
    )


async def _commands(shell: Shell, stdin: Stream) -> int:
    """Run commands as they come; nothing behind a command is read before it is done."""
    text = ""
    while True:
        if shell.interactive:
            await shell.write(2, _prompt(shell) if not text else "> ")
        try:
            if isinstance(stdin, TtyStream):
                line = await stdin.read_typed(shell.proc.clock)
            else:
                line = await stdin.read_line(shell.proc.clock)
        except InterruptedError:
            await shell.write(2, "\n")
            text, shell.status = "", 130
            continue
        text += line.decode(errors="surrogateescape")
        try:
            lines = list(parse(text)) if line or not text else []
        except IncompleteError:
            if line:
                continue
        except ShellSyntaxError:
            pass  # evaluate() tells
        else:
            if line:
                script, text = text, ""
                await _run(shell, script) if lines else None
                continue
        if text:
            script, text = text, ""
            await _run(shell, script)
        if not line:
            return shell.status


async def _run(shell: Shell, script: str) -> None:
    try:
        await shell.evaluate(script)
    except (LoopExit, Return):
        shell.loops = 0
    except ExpansionError as error:
        if not shell.interactive:
            raise
        await shell.complain(str(error))
        shell.status = 1
    await shell.checkpoint()


def _prompt(shell: Shell) -> str:
    """PS1, or what BusyBox shows."""
    sign = "#" if shell.proc.user.uid == 0 else "$"
    home, place = shell.variables.get("HOME", ""), shell.proc.cwd
    if home not in ("", "/") and f"{place}/".startswith(f"{home}/"):
        place = "~" + place[len(home) :]
    template = shell.variables.get("PS1", r"\w \$ ")
    for code, value in ((r"\w", place), (r"\$", sign), (r"\h", shell.proc.machine.hostname), (r"\u", "root")):
        template = template.replace(code, value)
    return template
