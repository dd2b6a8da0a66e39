"""Runs what the parser made: one shell, its variables and its children."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from criadapt.backends.mock.files import View
from criadapt.backends.mock.lookup import CannotRun
from criadapt.backends.mock.process import IGNORE, SIGINT, Exited, Proc
from criadapt.backends.mock.program_table import PROGRAMS
from criadapt.backends.mock.programs.context import Context, execute, run_main
from criadapt.backends.mock.shell.expand import Expander, ExpansionError
from criadapt.backends.mock.shell.parser import parse
from criadapt.backends.mock.shell.redirects import Opened, apply, expand_redirects, restore
from criadapt.backends.mock.shell.syntax import (
    Case,
    Command,
    For,
    Function,
    Group,
    If,
    Item,
    Loop,
    Pipeline,
    ShellSyntaxError,
    Simple,
)
from criadapt.backends.mock.streams import Bell, Pipe, PipeReader, PipeWriter, Stream

_COMMAND_NS = 100_000
_TURN_NS = 20_000
_FORK_NS = 500_000
_DEPTH = 200  # functions that may call each other, well below Python's own limit
# Programs that a shell runs itself, without a process.
_INLINE = frozenset(("echo", "printf", "test", "[", "true", "false", "kill", "pwd"))


class LoopExit(Exception):
    """``break`` and ``continue``."""

    def __init__(self, levels: int, go_on: bool) -> None:
        super().__init__()
        self.levels = levels
        self.go_on = go_on


class Return(Exception):
    """``return``."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status


Builtin = Callable[["Shell", list[str]], Awaitable[int]]
BUILTINS: dict[str, Builtin] = {}
SPECIAL = frozenset((":", ".", "break", "continue", "eval", "exec", "exit", "export", "readonly", "return", "set", "shift",
                     "trap", "unset"))  # fmt: skip


class Shell:
    """One shell process. A subshell is a copy of it in a child."""

    def __init__(self, proc: Proc, name: str, params: list[str], options: set[str]) -> None:
        self.proc = proc
        self.name = name
        self.params = params
        self.options = options
        self.variables = dict(proc.env)
        self.exported = set(self.variables)
        self.readonly: set[str] = set()
        self.functions: dict[str, Command] = {}
        self.locals: list[dict[str, str | None]] = []
        self.traps: dict[int, str] = {}
        self.pending: list[int] = []
        self.jobs: list[Proc] = []
        self.status = 0
        self.last_pid = ""
        self.loops = 0
        self.guarded = 0
        self.interactive = False
        self.variables.setdefault("PWD", proc.cwd)
        self._expander = Expander(self)
        self._substituted = 0
        proc.news = Bell()

    def copy(self, proc: Proc) -> Shell:
        """The same shell as another process: a subshell."""
        shell = Shell(proc, self.name, list(self.params), set(self.options))
        shell.variables = dict(self.variables)
        shell.exported = set(self.exported)
        shell.readonly = set(self.readonly)
        shell.functions = dict(self.functions)
        shell.traps = {number: text for number, text in self.traps.items() if not text}
        shell.status = self.status
        shell.last_pid = self.last_pid
        shell.guarded = self.guarded
        shell.variables["\0pid"] = self.special("$") or ""  # $$ stays the number of the first shell
        return shell

    # ------------------------------------------------------------------ what expansion needs

    @property
    def files(self) -> View:
        """Files to match patterns against."""
        return self.proc.files

    def special(self, name: str) -> str | None:
        """Value of a special parameter."""
        if name.isdigit():
            index = int(name)
            return self.name if index == 0 else self.params[index - 1] if index <= len(self.params) else None
        if name == "$":
            return self.variables.get("\0pid") or str(self.proc.pid)
        values = {
            "?": str(self.status),
            "#": str(len(self.params)),
            "!": self.last_pid,
            "-": "".join(sorted(self.options)),
        }
        if name in ("@", "*"):
            return " ".join(self.params) if self.params else None
        return values.get(name)

    def assign(self, name: str, value: str) -> None:
        """Set a variable."""
        if name in self.readonly:
            raise ExpansionError(f"{name}: is read only")
        self.variables[name] = value
        if "a" in self.options:
            self.exported.add(name)

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

    async def spawn(
        self,
        body: Callable[[Proc], Awaitable[int]],
        args: tuple[str, ...],
        fds: dict[int, Stream] | None,
        env: dict[str, str] | None,
    ) -> Proc:
        """Make a child process."""

        async def run(proc: Proc) -> int:
            return await body(proc)

        await self.proc.clock.work(_FORK_NS)
        return self.proc.machine.spawn(
            self.proc,
            run,
            args,
            fds=dict(self.proc.fds if fds is None else fds),
            env=self.environment() if env is None else env,
            cwd=self.proc.cwd,
            user=self.proc.user,
            at_ns=self.proc.now_ns,
        )

    def environment(self) -> dict[str, str]:
        """What children inherit."""
        return {name: self.variables[name] for name in self.variables if name in self.exported}

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
        opened = await self._redirect(await expand_redirects(self._expander, command.redirects))
        if opened is None:
            return 1
        try:
            if isinstance(command, Group):
                return await self.items(command.body, tail=tail and not command.redirects)
            if isinstance(command, If):
                return await self._if(command)
            if isinstance(command, Case):
                return await self._case(command)
            return await (self._while(command) if isinstance(command, Loop) else self._for(command))
        finally:
            restore(self.proc, opened)

    async def _condition(self, items: list[Item]) -> bool:
        self.guarded += 1
        try:
            return await self.items(items) == 0
        finally:
            self.guarded -= 1

    async def _if(self, command: If) -> int:
        for condition, body in command.clauses:
            if await self._condition(condition):
                return await self.items(body)
        self.status = 0
        return await self.items(command.otherwise)

    async def _case(self, command: Case) -> int:
        subject = await self._expander.text(command.word)
        for patterns, body in command.branches:
            for pattern in patterns:
                if (await self._expander.pattern(pattern)).fullmatch(subject):
                    self.status = 0
                    return await self.items(body)
        return 0

    async def _while(self, command: Loop) -> int:
        status = 0

        async def turn() -> bool:
            nonlocal status
            if await self._condition(command.condition) == command.until:
                return False
            status = await self.items(command.body)
            return True

        await self._loop(turn)
        return status

    async def _for(self, command: For) -> int:
        words = list(self.params) if command.words is None else await self._expander.words(command.words)
        left = iter(words)
        status = 0

        async def turn() -> bool:
            nonlocal status
            word = next(left, None)
            if word is None:
                return False
            self.assign(command.name, word)
            status = await self.items(command.body)
            return True

        await self._loop(turn)
        return status

    async def _loop(self, turn: Callable[[], Awaitable[bool]]) -> None:
        self.loops += 1
        try:
            while True:
                await self.proc.clock.work(_TURN_NS)
                try:
                    if not await turn():
                        return
                except LoopExit as leaving:
                    if leaving.levels > 1 and self.loops > 1:
                        raise LoopExit(leaving.levels - 1, leaving.go_on) from None
                    if not leaving.go_on:
                        return
        finally:
            self.loops -= 1

    # ------------------------------------------------------------------ simple commands

    async def _simple(self, command: Simple, *, tail: bool) -> int:
        self._substituted = 0
        words = await self._expander.words(command.words)
        redirects = await expand_redirects(self._expander, command.redirects)
        assigns = [(name, await self._expander.text(word)) for name, word in command.assigns]
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

    def unshadow(self, saved: dict[str, str | None]) -> None:
        """Give variables their former values."""
        for key, value in saved.items():
            if value is None:
                self.variables.pop(key, None)
            else:
                self.variables[key] = value

    async def _call(self, body: Command, params: list[str]) -> int:
        if len(self.locals) >= _DEPTH:
            await self.complain("maximum function recursion depth exceeded")
            raise Exited(2)
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
            if await self._redirect(redirects, proc) is None:
                return 1
            return await execute(proc, words, complain=self._missing)

        if tail:
            self.proc.become(env)
            return await body(self.proc)
        child = await self.spawn(body, tuple(words), None, env)
        status = await child.result(self.proc.clock)
        if self.interactive and status == 128 + SIGINT:
            await self.write(2, "\n")
        return status

    def _missing(self, name: str, problem: CannotRun) -> str:
        return f"{self.name}: {name}: {problem.for_shell()}"

    async def _redirect(
        self, redirects: list[Opened], proc: Proc | None = None
    ) -> list[tuple[int, Stream | None]] | None:
        """Apply redirections; what was there before, or None after a complaint."""
        try:
            return apply(proc or self.proc, redirects)
        except OSError as error:
            await self.complain(str(error))
            return None

    # ------------------------------------------------------------------ messages and signals

    async def write(self, fd: int, text: str) -> None:
        """Write to a descriptor of the shell, if it is open."""
        if fd in self.proc.fds:
            await self.proc.fds[fd].write(text.encode(errors="surrogateescape"), self.proc.clock)

    async def complain(self, message: str) -> None:
        """Say what is wrong."""
        await self.write(2, f"{self.name}: {message}\n")

    def fatal(self, status: int) -> int:
        """A special builtin failed, which ends a script."""
        if self.interactive:
            return status
        raise Exited(status)

    def trap(self, number: int, text: str | None) -> None:
        """Set what a signal (or, for 0, the end) does; None for the default, "" for nothing."""
        if text is None:
            self.traps.pop(number, None)
        else:
            self.traps[number] = text
        if number:
            self.proc.handle(number, None if text is None else self._trapped if text else IGNORE)

    def _trapped(self, number: int) -> None:
        self.pending.append(number)
        if self.proc.news is not None:
            self.proc.news.ring()

    async def checkpoint(self) -> None:
        """Run what the signals that came want to be run."""
        while self.pending:
            number = self.pending.pop(0)
            self.proc.clock.reach_present()
            status, text = self.status, self.traps.get(number, "")
            await self.evaluate(text)
            self.status = status
