"""A world in which containers of the mock run without waiting: its clock moves when all of them sleep."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from criadapt.backends.base import Chunk, ContainerSpec, ExecSpec, Process
from criadapt.backends.mock.machine import Exit, Machine
from criadapt.backends.mock.rootfs import rootfs
from criadapt.model.linux import NamespaceMode, NamespaceOption

START = 1_700_000_000 * 10**9
SECOND = 10**9
FILES = {**rootfs("busybox"), "/etc/hosts": b"127.0.0.1\tlocalhost\n", "/data/a.txt": b"alpha\n"}
OWN_PIDS = NamespaceOption(pid=NamespaceMode.CONTAINER)


class FakeWall:
    """A wall clock. While `running` it jumps to the next timer as soon as the loop gets to it."""

    def __init__(self, time_ns: int = START) -> None:
        self.time_ns = time_ns
        self.running = True
        self._timers: list[tuple[int, int, list[Callable[[], None]]]] = []
        self._serial = 0

    def now(self) -> int:
        return self.time_ns

    def call_at(self, time_ns: int, callback: Callable[[], None]) -> Any:
        self._serial += 1
        holder = [callback]
        heapq.heappush(self._timers, (time_ns, self._serial, holder))
        if self.running:
            asyncio.get_running_loop().call_soon(self._jump)
        return _Handle(holder)

    @property
    def pending(self) -> int:
        """Timers that wait."""
        return sum(bool(holder) for _, _, holder in self._timers)

    async def until(self, time_ns: int) -> None:
        """With `running` off: let time pass up to `time_ns`, and everything happen that is due."""
        self.running = False
        while True:
            await settle()
            while self._timers and not self._timers[0][2]:
                heapq.heappop(self._timers)
            if not self._timers or self._timers[0][0] > time_ns:
                break
            self._jump()
        self.time_ns = max(self.time_ns, time_ns)
        await settle()

    def _jump(self) -> None:
        while self._timers:
            time_ns, _, holder = heapq.heappop(self._timers)
            if holder:
                self.time_ns = max(self.time_ns, time_ns)
                holder.pop()()
                return


class _Handle:
    def __init__(self, holder: list[Callable[[], None]]) -> None:
        self._holder = holder

    def cancel(self) -> None:
        self._holder.clear()


class Result(NamedTuple):
    """What a container or an exec did."""

    code: int
    stdout: bytes
    stderr: bytes
    chunks: tuple[Chunk, ...]
    time_ns: int
    oom_killed: bool = False


async def settle(turns: int = 40) -> None:
    """Let everything that is ready run."""
    for _ in range(turns):
        await asyncio.sleep(0)


class World:
    """Makes machines and runs them."""

    def __init__(self) -> None:
        self.wall = FakeWall()
        self.machines: list[Machine] = []
        self.exits: list[Exit] = []

    def machine(self, *args: str, **settings: Any) -> Machine:
        """A machine; settings of a Machine and of a ContainerSpec mix."""
        fields = {name: settings.pop(name) for name in list(settings) if name in ContainerSpec.__dataclass_fields__}
        fields.setdefault("namespaces", OWN_PIDS)
        fields.setdefault("name", "c")
        spec = ContainerSpec(image_id="i", args=args, **fields)
        defaults: dict[str, Any] = {
            "started_at": self.wall.time_ns, "hostname": "host", "files": FILES, "pid": 4242, "seed": "s",
            "unknown_command": "fail", "on_exit": self.exits.append, "wall": self.wall,
        }  # fmt: skip
        machine = Machine(spec, **{**defaults, **settings})
        self.machines.append(machine)
        return machine

    def start(self, *args: str, **settings: Any) -> Machine:
        """A machine that runs."""
        machine = self.machine(*args, **settings)
        machine.check()
        machine.start()
        return machine

    async def run(self, *args: str, **settings: Any) -> Result:
        """A container's whole life."""
        machine = self.start(*args, **settings)
        chunks = [chunk async for chunk in machine.output(0)]
        exit = self.exits[-1]
        return _result(exit.code, chunks, exit.time_ns, exit.oom_killed)

    async def sh(self, script: str, **settings: Any) -> Result:
        """A shell script's whole life."""
        return await self.run("sh", "-c", script, **settings)

    async def exec(self, machine: Machine, *args: str, stdin: bytes | None = None, tty: bool = False) -> Result:
        """An exec's whole life."""
        process = machine.exec(ExecSpec(args=args, stdin=stdin is not None, tty=tty))
        reading = asyncio.create_task(collect(process))
        if stdin is not None:
            await process.write(stdin)
            await process.close_stdin()
        code = await process.wait()
        return _result(code, await reading, 0, False)


async def collect(process: Process) -> list[Chunk]:
    """All output of a process."""
    return [chunk async for chunk in process.output()]


def _result(code: int, chunks: list[Chunk], time_ns: int, oom_killed: bool) -> Result:
    out, err = (b"".join(c.data for c in chunks if c.stream == name) for name in ("stdout", "stderr"))
    return Result(code, out, err, tuple(chunks), time_ns, oom_killed)


@pytest.fixture
def world() -> Iterator[World]:
    """A world of its own for each test."""
    world = World()
    yield world
    for machine in world.machines:
        machine.close()
