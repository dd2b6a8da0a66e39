"""One running container of the mock: its files, its processes, its output.

A machine is all there is of a container while it runs. It is built anew when criadapt restarts and then lives through
the same past again (see :mod:`criadapt.backends.mock.clock`). What came from outside is not repeated: signals,
input, and what exec'd processes did to files in memory.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from criadapt.backends.base import Chunk, Connection, ContainerSpec, ExecSpec, Process
from criadapt.backends.mock.clock import SYSTEM_WALL, Scheduler, Wall
from criadapt.backends.mock.doors import Entrance
from criadapt.backends.mock.files import Outsider, View, Who, ensure_directory
from criadapt.backends.mock.kernel import special_trees
from criadapt.backends.mock.lookup import CannotRun, Found, environment, find, find_quickly, search_path
from criadapt.backends.mock.memory import enforce, held
from criadapt.backends.mock.mounts import Files
from criadapt.backends.mock.outlet import RETAINED, Outlet
from criadapt.backends.mock.pids import host_pid
from criadapt.backends.mock.process import Body, Proc
from criadapt.backends.mock.programs.context import run_first
from criadapt.backends.mock.seccomp import refuses
from criadapt.backends.mock.session import Attachment, Execution
from criadapt.backends.mock.sockets import Dialed, Listeners, Service
from criadapt.backends.mock.stdio import standard_streams
from criadapt.backends.mock.streams import Pipe, Stream
from criadapt.backends.mock.trees import Node
from criadapt.backends.mock.tty import Tty
from criadapt.errors import FailedPrecondition, ImageVolumeMountFailed, StartFailed, Unavailable
from criadapt.model.linux import LinuxContainerResources, LinuxContainerUser, NamespaceMode, ProfileType
from criadapt.model.signals import Signal

_START_NS = 20_000_000  # processor time that starting a container takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How the first process ended."""

    code: int
    time_ns: int
    oom_killed: bool = False


class Machine:
    """One running container of the mock."""

    __slots__ = (
        "__weakref__", "_busy_ns", "_closed", "_files", "_image_files", "_on_exit", "_outlet", "_peers",
        "_provided", "_replay_until", "_serial", "_stdin", "entrance", "first", "hostname", "id", "image", "ips",
        "listeners", "oom_kills", "own_pids", "pid", "procs", "resources", "scheduler", "seed", "spec",
        "started_at", "tty", "unknown_command",
    )  # fmt: skip

    def __init__(
        self,
        spec: ContainerSpec,
        *,
        started_at: int,
        hostname: str,
        files: Mapping[str, bytes],
        ips: tuple[str, ...] = (),
        pid: int,
        seed: str,
        unknown_command: Literal["fail", "run"],
        on_exit: Callable[[Exit], None],
        peers: Callable[[], Iterable[Machine]] = tuple,
        id: str = "",
        image_files: Callable[[str], Mapping[str, bytes]] | None = None,
        entrance: Entrance | None = None,
        pauses: Iterable[tuple[int, int]] = (),
        replay_until: int = 0,
        wall: Wall = SYSTEM_WALL,
    ) -> None:
        """Build it; nothing runs before start().

        `pid` is the first process's number on the host; `peers` gives the pod's machines (this one may be among
        them); `image_files` the content of an image by its id, for image volumes; `entrance` lets real connections in.
        For a machine that lived before: `pauses` is what :attr:`pauses` said, `replay_until` when it was last known
        alive, so that it does not write into the host's volumes twice.
        """
        self.spec = spec
        self.started_at = started_at
        self.hostname = hostname
        self.ips = ips
        self.pid = pid
        self.seed = seed
        self.unknown_command = unknown_command
        self.id = id
        self.resources = spec.resources
        pids = spec.namespaces.pid
        self.own_pids = pids is NamespaceMode.CONTAINER or (pids is NamespaceMode.POD and spec.infra is None)
        self.scheduler = Scheduler(wall, pauses)
        self.procs: dict[int, Proc] = {}
        self.first: Proc | None = None
        self.tty: Tty | None = None
        self.listeners: Listeners | None = None
        self.entrance = entrance
        self.oom_kills = 0
        self.image = files
        self._image_files = image_files
        self._replay_until = replay_until
        self._on_exit = on_exit
        self._peers = peers
        self._files: Files | None = None
        self._provided: dict[str, bytes] | None = None
        self._outlet = Outlet(RETAINED)
        self._stdin: Pipe | None = None
        self._serial = 0
        self._busy_ns = _START_NS
        self._closed = False

    # ------------------------------------------------------------------ from outside

    def check(self) -> None:
        """Look whether the first program can run, before anything does. Raises StartFailed as runc words it."""
        if not self.spec.args:
            raise StartFailed("no command specified")
        name = self.spec.args[0]
        outsider = Outsider(self.spec.cwd or "/", self.spec.user)
        try:
            self.find(name, outsider, search_path(self.spec), self.unknown_command)
        except CannotRun as problem:
            raise StartFailed(problem.for_runtime(name), exit_code=problem.status) from problem
        for mount in self.spec.mounts:
            if mount.image_sub_path and not self.files.holds_directory(mount.container_path):
                where = f"mount {mount.container_path!r}: image_sub_path {mount.image_sub_path!r}"
                raise ImageVolumeMountFailed(f"{where} is not a directory of the image")

    def start(self) -> None:
        """Let the first process run; needs a running event loop."""
        spec = self.spec
        standard = standard_streams(self._outlet, tty=spec.tty, stdin=spec.stdin, signal=self._type_signal)
        self.tty, self._stdin = standard.tty, standard.stdin
        self.first = self.spawn(None, run_first, spec.args, fds=standard.fds, at_ns=self.started_at)
        if self.entrance is not None:
            self.scheduler.at(self.scheduler.wall.now(), self.entrance.reveal)

    def signal(self, signal: Signal) -> None:
        """Signal the first process; SIGKILL ends all processes."""
        if self.first is None or self.first.status is not None:
            return
        if signal is Signal.SIGKILL:
            for proc in list(self.procs.values())[::-1]:
                proc.kill()
        else:
            first, number = self.first, signal.number
            self.scheduler.at(self.scheduler.wall.now(), lambda: first.deliver(number, outside=True))

    def exec(self, spec: ExecSpec) -> Process:
        """Run a further process, once the past has been caught up with."""
        if self.first is None or self.first.status is not None:
            raise FailedPrecondition(f"container {self.spec.name!r} is not running")
        return Execution(self, spec)

    def attach(self, *, stdin: bool, tty: bool) -> Process:
        """Connect to the first process's streams: what it writes from now on, and its stdin if asked for."""
        if self.first is None or self.first.status is not None:
            raise FailedPrecondition(f"container {self.spec.name!r} is not running")
        target = (self.tty or self._stdin) if stdin and self.spec.stdin else None
        return Attachment(self, self._outlet.listen(), target)

    def output(self, since_ns: int) -> AsyncIterator[Chunk]:
        """For the log: everything later than `since_ns` that was not read yet, until the first process ends.

        One reader at a time. Output is kept until it is read, but not without bound: its program then waits.
        """
        return self._outlet.chunks(since_ns)

    def discard_output(self) -> None:
        """Nobody will ever read output(): keep nothing for it."""
        self._outlet.abandon()

    def freeze(self) -> None:
        """Stop all processes until :meth:`thaw`."""
        self.scheduler.freeze()
        if self.entrance is not None:
            self.entrance.rest()

    def thaw(self) -> None:
        """Let them go on."""
        self.scheduler.thaw()
        if self.entrance is not None:
            self.entrance.attend()

    @property
    def pauses(self) -> tuple[tuple[int, int], ...]:
        """When it was frozen in the past, from and to; the next machine of the same container wants to know."""
        return self.scheduler.pauses

    def update(self, resources: LinuxContainerResources) -> None:
        """Other limits hold from now on."""
        self.resources = resources
        self.check_memory()

    async def settled(self) -> None:
        """Wait until the past has been caught up with: what should have ended has ended. Returns on close(), too."""
        await self.scheduler.present()

    def close(self) -> None:
        """The server shuts down: drop all tasks; nothing exits, nobody is told."""
        self._closed = True
        self.scheduler.close()
        for proc in list(self.procs.values()):
            if proc.task is not None:
                proc.task.cancel()
        self._outlet.end()

    def close_stdin(self) -> None:
        """End the first process's stdin for good."""
        if self.tty is not None:
            self.tty.hang_up()
        elif self._stdin is not None and self._stdin.writers:
            self._stdin.drop_writer()

    def serve(self, port: int) -> Service | None:
        """Who answers connections to a TCP port of this container."""
        return self.listeners.tcp(port) if self.listeners is not None else None

    def answering(self, port: int) -> Service | None:
        """Who answers at a port of the pod."""
        services = (peer.serve(port) for peer in self.peers())
        return next((service for service in services if service is not None), None)

    def dial(self, port: int) -> Connection:
        """Connect to a port of the pod from outside. Raises Unavailable."""
        service = self.answering(port)
        if service is None:
            raise Unavailable(f"nobody listens on port {port} in the pod: connection refused")
        return Dialed(service)

    # ------------------------------------------------------------------ figures

    @property
    def process_count(self) -> int:
        """Processes that exist now."""
        return len(self.procs)

    @property
    def allocated_bytes(self) -> int:
        """Memory that its processes hold."""
        return held(self.procs.values())

    @property
    def written_bytes(self) -> int:
        """Bytes of the files in its writable layer."""
        return self._files.root.written[0] if self._files is not None else 0

    @property
    def written_files(self) -> int:
        """Files in its writable layer."""
        return self._files.root.written[1] if self._files is not None else 0

    @property
    def stdout_bytes(self) -> int:
        """Bytes that the first process and its children wrote to stdout and stderr."""
        return self._outlet.total

    def cpu_ns(self, now: int) -> int:
        """Processor time used so far; follows from what the programs did, so it is the same after a restart."""
        live = 0
        for proc in self.procs.values():
            live += proc.clock.busy_ns + max(0, now - proc.started_ns) * proc.load // 1000
        return self._busy_ns + live

    # ------------------------------------------------------------------ for its processes

    @property
    def files(self) -> Files:
        """Its files; made when first used."""
        if self._files is None:
            age = {"born_ns": self.started_at, "replay_until": self._replay_until}
            self._files = Files(self.spec, self.image, self._image_files, special_trees(self), **age)
            ensure_directory(self._files, self.spec.cwd)
            for path, data in (self._provided or {}).items():
                self._files.root.create(path, Node("file", data))
        return self._files

    def find(self, name: str, who: Who, path: str, unknown: Literal["fail", "run"] = "fail") -> Found:
        """The program that a command stands for. Raises CannotRun."""
        quick = find_quickly(name, path, self.spec, self.image) if self._files is None else None
        return quick or find(View(self.files, who), name, path, unknown)

    def provide(self, path: str, data: bytes) -> None:
        """A daemon leaves a file behind; it takes no memory until somebody looks at files."""
        if self._files is not None:
            self._files.root.create(path.strip("/"), Node("file", data))
        else:
            self._provided = {**(self._provided or {}), path.strip("/"): data}

    def peers(self) -> list[Machine]:
        """The machines of the pod, this one first."""
        return [self, *(peer for peer in self._peers() if peer is not self)]

    def pid_of(self, number: int) -> int:
        """Process id, in the container's pid namespace, of its process `number`, counted from 1."""
        return number if self.own_pids else host_pid(self.pid, number)

    def environment(self) -> dict[str, str]:
        """Environment of the first process, and of every exec."""
        return environment(self.spec, self.image, self.hostname)

    def random(self, salt: str) -> random.Random:
        """A source of numbers that are the same in every life of this machine."""
        return random.Random(f"{self.seed}/{salt}")

    def spawn(
        self,
        parent: Proc | None,
        body: Body,
        args: tuple[str, ...],
        *,
        fds: dict[int, Stream],
        at_ns: int,
        env: dict[str, str] | None = None,
        cwd: str | None = None,
        user: LinuxContainerUser | None = None,
    ) -> Proc:
        """Make a process that starts at `at_ns`."""
        self._serial += 1
        proc = Proc(
            self,
            body,
            args,
            number=self._serial,
            parent=parent,
            fds=fds,
            env=env,
            cwd=cwd if cwd is not None else self.spec.cwd or "/",
            user=user or self.spec.user,
            at_ns=at_ns,
        )
        self.procs[proc.number] = proc
        return proc

    def forbids(self, call: str) -> bool:
        """Whether the container's own seccomp profile refuses a system call."""
        profile = self.spec.seccomp
        if self.spec.privileged or profile is None or profile.profile_type is not ProfileType.LOCALHOST:
            return False
        return refuses(profile.localhost_ref, call)

    def check_memory(self) -> None:
        """Kill when the processes hold more than they may."""
        self.oom_kills += enforce(self.resources, list(self.procs.values()))

    def ended(self, proc: Proc) -> None:
        """A process has ended; with the first one, all end."""
        self.procs.pop(proc.number, None)
        self._busy_ns += proc.clock.busy_ns + max(0, proc.now_ns - proc.started_ns) * proc.load // 1000
        if self.listeners is not None:
            self.listeners.drop(proc)
        if proc is not self.first or proc.status is None or self._closed:
            return
        for other in list(self.procs.values()):
            other.kill()
        self._outlet.end()
        killed = proc.status == 137 and self.oom_kills > 0
        self._on_exit(Exit(code=proc.status, time_ns=proc.now_ns, oom_killed=killed))

    def _type_signal(self, number: int) -> None:
        """A key of the terminal: all processes of the session get the signal."""
        for proc in list(self.procs.values()):
            if self.first is not None and proc.leader is self.first:
                proc.deliver(number)
