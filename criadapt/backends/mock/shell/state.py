"""What a shell knows, apart from how it runs commands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from criadapt.backends.mock.files import View
from criadapt.backends.mock.lookup import CannotRun
from criadapt.backends.mock.process import IGNORE, Exited, Proc
from criadapt.backends.mock.shell.expand import ExpansionError
from criadapt.backends.mock.shell.syntax import Command
from criadapt.backends.mock.streams import Bell, Stream

_FORK_NS = 500_000  # time that making a process takes


class State:
    """What one shell process knows: variables, parameters, options, traps, jobs."""

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
        proc.news = Bell()

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

    def hand_down(self, shell: State) -> None:
        """Let a subshell know the same."""
        shell.variables = dict(self.variables)
        shell.exported = set(self.exported)
        shell.readonly = set(self.readonly)
        shell.functions = dict(self.functions)
        shell.traps = {number: text for number, text in self.traps.items() if not text}
        shell.status = self.status
        shell.last_pid = self.last_pid
        shell.guarded = self.guarded
        shell.variables["\0pid"] = self.special("$") or ""  # $$ stays the number of the first shell

    def unshadow(self, saved: dict[str, str | None]) -> None:
        """Give variables their former values."""
        for key, value in saved.items():
            if value is None:
                self.variables.pop(key, None)
            else:
                self.variables[key] = value

    # ------------------------------------------------------------------ children

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

    def missing(self, name: str, problem: CannotRun) -> str:
        return f"{self.name}: {name}: {problem.for_shell()}"
