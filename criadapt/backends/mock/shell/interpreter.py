"""Runs what the parser made: one shell, its variables and its children."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from criadapt.backends.mock.process import SIGINT, Exited, Proc
from criadapt.backends.mock.program_table import PROGRAMS
from criadapt.backends.mock.programs.context import Context, execute, run_main
from criadapt.backends.mock.shell.compound import LoopExit, run_compound
from criadapt.backends.mock.shell.expand import Expander, ExpansionError
from criadapt.backends.mock.shell.parser import parse
from criadapt.backends.mock.shell.redirects import Opened, Undo, apply, expand_redirects, keep, restore
from criadapt.backends.mock.shell.state import State
from criadapt.backends.mock.shell.syntax import (
    Command,
    Function,
    Group,
    Item,
    Pipeline,
    ShellSyntaxError,
    Simple,
)
from criadapt.backends.mock.streams import Pipe, PipeReader, PipeWriter, Stream

_COMMAND_NS = 100_000
_FORK_NS = 500_000
# Programs that a shell runs itself, without a process.
_INLINE = frozenset(("echo", "printf", "test", "[", "true", "false", "kill", "pwd"))


class Return(Exception):
    """``return``."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status


Builtin = Callable[["Shell", list[str]], Awaitable[int]]
BUILTINS: dict[str, Builtin] = {}
SPECIAL = frozenset(
    (
        ":",
        ".",
        "break",
        "continue",
        "eval",
        "exec",
        "exit",
        "export",
        "readonly",
        "return",
        "set",
        "shift",
        "trap",
        "unset",
    )
)


class Shell(State):
    """One shell process. A subshell is a copy of it in a child."""

    def __init__(self, proc: Proc, name: str, params: list[str], options: set[str]) -> None:
        super().__init__(proc, name, params, options)
        self.expander = Expander(self)
        self._substituted = 0

    def copy(self, proc: Proc) -> Shell:
        """The same shell as another process: a subshell."""
        shell = Shell(proc, self.name, list(self.params), set(self.options))
        self.hand_down(shell)
        return shell

    async def substitute(self, body: list[Item]) -> str:
        """Output of commands in a subshell."""
        pipe = Pipe()
        writer, reader = PipeWriter(pipe), PipeReader(pipe).retain()
        child = await self.fork(lambda shell: shell.items(body, tail=True), fds={**self.proc.fds, 1: writer})
        pieces = []
        while data := await reader.read(65536, self.proc.clock):
            pieces.append(data)
        reader.release()
        self.status = self._substituted = await child.result(self.proc.clock)
        return b"".join(pieces).replace(b"\0", b"").decode(errors="surrogateescape")

    # ------------------------------------------------------------------ running

    async def main(self, run: Callable[[], Awaitable[int]]) -> int:
        """Run all of a script, and what traps want at its end."""
        try:
            status = await run()
        except (Exited, Return) as end:
            status = end.status
        except LoopExit:
            status = 0
        except ExpansionError as error:
            await self.complain(str(error))
            status = 2
        except RecursionError:
            await self.complain("maximum function recursion depth exceeded")
            status = 2
        if self.traps.get(0):
            text = self.traps.pop(0)
            self.status = status
            try:
                await self.evaluate(text)
            except Exited as exited:
                status = exited.status
        return status

    async def evaluate(self, text: str) -> int:
        """Run the text of a script. A syntax error ends it with status 2."""
        status = 0
        try:
            for line in parse(text):
                status = await self.items(line)
        except ShellSyntaxError as error:
            await self.complain(str(error))
            self.status = 2
            if not self.interactive:
                raise Exited(2) from None
            return 2
        return status

    async def items(self, items: list[Item], *, tail: bool = False) -> int:
        """Run commands one after the other. With `tail`, the process ends with them and may become the last one."""
        for item in items:
            if item.background:
                await self._background(item)
            else:
                await self._item(item, tail=tail and item is items[-1])
        return self.status

    async def _item(self, item: Item, *, tail: bool) -> None:
        self.guarded += bool(item.rest)
        try:
            status = await self._pipeline(item.first, tail=tail and not item.rest)
        finally:
            self.guarded -= bool(item.rest)
        for index, (operator, pipeline) in enumerate(item.rest):
            if (status == 0) != (operator == "&&"):
                continue
            last = index == len(item.rest) - 1
            self.guarded += not last
            try:
                status = await self._pipeline(pipeline, tail=tail and last)
            finally:
                self.guarded -= not last
        self.status = status

    async def _pipeline(self, pipeline: Pipeline, *, tail: bool) -> int:
        self.guarded += pipeline.negated
        try:
            if len(pipeline.commands) == 1:
                status = await self.command(pipeline.commands[0], tail=tail and not pipeline.negated)
            else:
                status = await self._pipe(pipeline.commands)
        finally:
            self.guarded -= pipeline.negated
        if pipeline.negated:
            status = int(status == 0)
        self.status = status
        await self.checkpoint()
        if status and "e" in self.options and not self.guarded and not pipeline.negated:
            raise Exited(status)
        return status

    async def _pipe(self, commands: list[Command]) -> int:
        children: list[Proc] = []
        source: Stream | None = None
        for index, command in enumerate(commands):
            fds = dict(self.proc.fds)
            if source is not None:
                fds[0] = source
            target: Pipe | None = Pipe() if index < len(commands) - 1 else None
            if target is not None:
                fds[1] = PipeWriter(target)
                following = PipeReader(target).retain()
            children.append(await self.fork(lambda shell, one=command: shell.command(one, tail=True), fds=fds))  # type: ignore[misc]
            if source is not None:
                source.release()
            source = following if target is not None else None
        statuses = [await child.result(self.proc.clock) for child in children]
        failed = [status for status in statuses if status]
        return failed[-1] if "pipefail" in self.options and failed else statuses[-1]

    async def _background(self, item: Item) -> None:
        body = Item(item.first, item.rest)
        fds = dict(self.proc.fds)
        if not self.interactive:
            fds[0] = Stream()
        child = await self.fork(lambda shell: shell.items([body], tail=True), fds=fds)
        self.jobs = [job for job in self.jobs if job.status is None or job.pid != child.pid] + [child]
        self.last_pid = str(child.pid)
        self.status = 0
        if self.interactive:
            await self.write(2, f"[{len(self.jobs)}] {child.pid}\n")

    async def fork(self, run: Callable[[Shell], Awaitable[int]], *, fds: dict[int, Stream] | None = None) -> Proc:
        """Make a subshell that runs something."""

        async def body(proc: Proc) -> int:
            shell = self.copy(proc)
            return await shell.main(lambda: run(shell))

        return await self.spawn(body, self.proc.args, fds, None)

    # ------------------------------------------------------------------ compound commands

    async def command(self, command: Command, *, tail: bool = False) -> int:
        """Run one command."""
        if isinstance(command, Simple):
            return await self._simple(command, tail=tail)
        if isinstance(command, Function):
            self.functions[command.name] = command.body
            return 0
        if isinstance(command, Group) and command.subshell and not tail:
            child = await self.fork(lambda shell: shell.command(command, tail=True))
            return await child.result(self.proc.clock)
        opened = await self._redirect(await expand_redirects(self.expander, command.redirects))
        if opened is None:
            return 1
        try:
            if isinstance(command, Group):
                return await self.items(command.body, tail=tail and not command.redirects)
            return await run_compound(self, command)
        finally:
            restore(self.proc, opened)

    # ------------------------------------------------------------------ simple commands

    async def _simple(self, command: Simple, *, tail: bool) -> int:
        self._substituted = 0
        words = await self.expander.words(command.words)
        redirects = await expand_redirects(self.expander, command.redirects)
        assigns = [(name, await self.expander.text(word)) for name, word in command.assigns]
        if "x" in self.options and (words or assigns):
            await self.write(2, "+ " + " ".join([*(f"{name}={value}" for name, value in assigns), *words]) + "\n")
        await self.proc.clock.work(_COMMAND_NS)
        if not words:
            for name, value in assigns:
                self.assign(name, value)
            opened = await self._redirect(redirects)
            restore(self.proc, opened or [])
            return 1 if opened is None else self._substituted
        name = words[0]
        if name in self.functions or name in BUILTINS or name in _INLINE:
            return await self._internal(words, assigns, redirects)
        return await self._external(words, assigns, redirects, tail=tail and 0 not in self.traps)

    async def _internal(self, words: list[str], assigns: list[tuple[str, str]], redirects: list[Opened]) -> int:
        name = words[0]
        opened = await self._redirect(redirects)
        if opened is None:
            return 1
        saved = {key: self.variables.get(key) for key, _ in assigns}
        for key, value in assigns:
            self.assign(key, value)
        try:
            if name in self.functions:
                return await self._call(self.functions[name], words[1:])
            if name in BUILTINS:
                if name == "exec":
                    opened = []  # what exec redirects stays so
                return await BUILTINS[name](self, words[1:])
            return await run_main(PROGRAMS[name].main, Context(self.proc, name, words[1:]))
        except BrokenPipeError:
            raise
        except OSError as error:
            await self.complain(f"{name}: {error.strerror}")
            return 1
        finally:
            restore(self.proc, opened)
            if name not in SPECIAL or name in self.functions:
                self.unshadow(saved)

    async def _call(self, body: Command, params: list[str]) -> int:
        outer, self.params = self.params, params
        loops, self.loops = self.loops, 0
        self.locals.append({})
        try:
            return await self.command(body)
        except Return as returned:
            return returned.status
        finally:
            self.params, self.loops = outer, loops
            self.unshadow(self.locals.pop())

    async def _external(
        self, words: list[str], assigns: list[tuple[str, str]], redirects: list[Opened], *, tail: bool
    ) -> int:
        env = {**self.environment(), **dict(assigns)}

        async def body(proc: Proc) -> int:
            before = await self._redirect(redirects, proc)
            if before is None:
                return 1
            keep(before)  # a process of its own: nobody restores them, and whoever reads them must see their end
            return await execute(proc, words, complain=self.missing)

        if tail:
            self.proc.become(env)
            return await body(self.proc)
        child = await self.spawn(body, tuple(words), None, env)
        status = await child.result(self.proc.clock)
        if self.interactive and status == 128 + SIGINT:
            await self.write(2, "\n")
        return status

    async def _redirect(self, redirects: list[Opened], proc: Proc | None = None) -> Undo | None:
        """Apply redirections; what was there before, or None after a complaint."""
        try:
            return apply(proc or self.proc, redirects)
        except OSError as error:
            await self.complain(str(error))
            return None

    async def checkpoint(self) -> None:
        """Run what the signals that came want to be run."""
        while self.pending:
            number = self.pending.pop(0)
            self.proc.clock.reach_present()
            status, text = self.status, self.traps.get(number, "")
            await self.evaluate(text)
            self.status = status
