"""A server in the test's own process: black-box tests talk to its socket, fault tests also reach behind it.

    async with serving_inprocess(tmp_path) as server:
        pod = await server.run_pod()
        with refused(grpc.StatusCode.NOT_FOUND):
            await server.rpc.ContainerStatus(container_id="nobody")

Everything between the socket and the mock engine is real. A crash is real up to the disk: :meth:`InProcess.crash` keeps
what lay on it at that moment, whatever the dying server still does.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import grpc
import grpc.aio
import pytest

import criadapt
from criadapt.backends.base import Backend
from criadapt.backends.mock import MockBackend, MockOptions
from criadapt.backends.wrap import Failing, Timed
from criadapt.config import Config, FaultRule
from criadapt.core.runtime import Runtime, opened
from criadapt.cri.v1 import api_pb2 as pb
from criadapt.cri.v1 import api_pb2_grpc
from criadapt.log import tells
from criadapt.metrics import Metrics
from criadapt.model.reference import ImageRef
from criadapt.server import _grpc_server, _on_socket
from criadapt.streaming.listener import listening
from criadapt.testing.factories import BUSYBOX, PAUSE, Gate

T = TypeVar("T")

_PACKAGE = str(Path(criadapt.__file__).parent)

_PERMANENT = {f"{name}.sqlite{end}" for name in ("journal", "mock") for end in ("", "-wal", "-shm")}
DEADLINE = 10.0  # seconds that any call of a test may take
MAX_MESSAGE = 16 << 20  # what kubelet and crictl accept

METHODS: Mapping[str, Any] = {
    method.name: method for service in pb.DESCRIPTOR.services_by_name.values() for method in service.methods
}
"""Descriptors of all RPCs of both services, by name."""

SLEEP = ("sleep", "100000")
"""A command that runs for longer than any test and ends of the first signal."""


# ---------------------------------------------------------------------------------------------- what callers send


def pod_config(name: str = "web", *, uid: str = "", namespace: str = "default", attempt: int = 0, **fields: Any) -> Any:
    """A PodSandboxConfig with further fields as the message has them; the uid follows from the name."""
    metadata = {"name": name, "uid": uid or f"uid-of-{name}", "namespace": namespace, "attempt": attempt}
    return pb.PodSandboxConfig(**{"metadata": metadata, **fields})


def container_config(name: str = "app", **fields: Any) -> Any:
    """A ContainerConfig that sleeps, with further fields as the message has them."""
    given = {"metadata": {"name": name}, "image": {"image": BUSYBOX}, "command": SLEEP}
    return pb.ContainerConfig(**{**given, **fields})


@contextmanager
def refused(*codes: grpc.StatusCode, saying: str | Sequence[str] = ()) -> Iterator[pytest.ExceptionInfo[Any]]:
    """The block's call must fail with one of the codes, and its message contain all of `saying`."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        yield caught
    details = caught.value.details() or ""
    assert caught.value.code() in codes, f"{caught.value.code()}: {details}"
    for word in (saying,) if isinstance(saying, str) else saying:
        assert word in details, f"{word!r} is not in {details!r}"


async def until(condition: Callable[[], Awaitable[T] | T], *, timeout: float = DEADLINE, what: str = "") -> T:
    """Ask again and again until the answer is true; fails with the last one after `timeout` seconds."""
    end = time.monotonic() + timeout
    while True:
        answer = condition()
        if isinstance(answer, Awaitable):
            answer = await answer
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout:g} s: {what or condition}; it is {answer!r}")
        await asyncio.sleep(0.002)


# ---------------------------------------------------------------------------------------------- between the two


class Faults(Failing):
    """Also notes the order of the engine calls, and can hold one of them open."""

    def __init__(self, inner: Backend, rules: Sequence[FaultRule] = ()) -> None:
        super().__init__(inner, rules)
        self.history: list[str] = []
        """Every call since it was last cleared."""
        self._holds: list[_Hold] = []

    def hold(self, call: str, *, nth: int = 1, after: bool = False, match: str = "") -> Gate:
        """Hold the nth `call` from now on, before the engine does it or, with `after`, before its answer.

        `match` must stand in the call's arguments.
        """
        hold = _Hold(call, nth, after, match)
        self._holds.append(hold)
        return hold.gate

    def clear(self) -> None:
        """No more faults: rules and holds are dropped, what is held goes on, the history begins anew."""
        self.set_rules(())
        for hold in self._holds:
            hold.gate.open()
        self._holds.clear()
        self.history.clear()

    async def around(self, call: str, arguments: Mapping[str, object], run: Callable[[], Awaitable[T]]) -> T:
        self.history.append(call)
        hold = next((hold for hold in self._holds if hold.hits(call, arguments)), None)
        if hold is not None and not hold.after:
            await hold.gate.wait()
        result = await super().around(call, arguments, run)
        if hold is not None and hold.after:
            await hold.gate.wait()
        return result


@dataclass(slots=True)
class _Hold:
    call: str
    nth: int
    after: bool
    match: str
    gate: Gate = field(default_factory=lambda: Gate(asyncio.Event(), asyncio.Event()))
    seen: int = 0

    def hits(self, call: str, arguments: Mapping[str, object]) -> bool:
        if call != self.call or self.match not in str(arguments):
            return False
        self.seen += 1
        return self.seen == self.nth


class Rpc:
    """All RPCs by name, with the request's fields as keywords: ``await rpc.StopContainer(container_id=…)``."""

    def __init__(self, stub: Stub) -> None:
        self._stub = stub

    def __getattr__(self, name: str) -> Callable[..., Any]:
        request = getattr(pb, METHODS[name].input_type.name)
        send = getattr(self._stub, name)

        def call(*, deadline: float | None = DEADLINE, **fields: Any) -> Any:
            return send(request(**fields), timeout=deadline)

        return call


class Stub:
    """The generated stubs of both services in one."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        for stub in (api_pb2_grpc.RuntimeServiceStub(channel), api_pb2_grpc.ImageServiceStub(channel)):
            vars(self).update(vars(stub))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


# ---------------------------------------------------------------------------------------------- the server


@dataclass(frozen=True, kw_only=True)
class Traces:
    """What calls leave behind in a server, of which nothing may remain of a call that failed."""

    engine: frozenset[str]
    addresses: frozenset[str]
    journal: frozenset[tuple[str, str]]
    pod_files: frozenset[str]
    sandboxes: frozenset[str]
    containers: frozenset[str]
    pumps: frozenset[str]
    sessions: frozenset[str]
    busy: frozenset[str]
    """Attempts under way and the notes about them."""
    processes: int
    """Pretended processes of the mock."""
    tasks: frozenset[str]

    def differences(self, other: Traces) -> dict[str, tuple[Any, Any]]:
        """For each kind that differs, what only we have and what only the other has."""
        pairs = ((name, getattr(self, name), getattr(other, name)) for name in self.__dataclass_fields__)
        return {
            name: (ours, theirs) if isinstance(ours, int) else (sorted(ours - theirs), sorted(theirs - ours))
            for name, ours, theirs in pairs
            if ours != theirs
        }


class InProcess:
    """A server and a client of it. Made by :func:`serving_inprocess`."""

    stub: Any
    """Both services: ``await server.stub.Version(pb.VersionRequest())``."""
    rpc: Rpc
    """The same with keywords instead of messages, and a deadline."""
    channel: grpc.aio.Channel
    backend: Faults
    runtime: Runtime

    def __init__(self, folder: Path, sockets: Path, config: Config, options: MockOptions) -> None:
        self.folder = folder
        self.state_dir = folder / "state"
        self.logs = folder / "logs"
        """A folder for pods' logs."""
        self.errors: list[str] = []
        """Everything logged as an error, by anybody."""
        self._sockets = sockets
        self._config = config
        self._options = options
        self._openings = 0
        self._stack = AsyncExitStack()

    # ------------------------------------------------------------------ opening, closing, crashing

    async def open(self, rules: Sequence[FaultRule] = (), *, change: Callable[[Backend], None] | None = None) -> None:
        """Serve what lies in the state directory. `change` may do something to the engine first."""
        self._openings += 1
        self.state_dir.mkdir(parents=True, exist_ok=True)
        # A path of its own each time: gRPC would keep a client waiting that has seen the server of this path die.
        self.socket = self._sockets / f"{self._openings}.sock"
        config = replace(self._config, listen=f"unix://{self.socket}", state_dir=self.state_dir)
        async with AsyncExitStack() as stack:
            self.mock = MockBackend(self._options, state_dir=self.state_dir)
            self.backend = Faults(self.mock, rules)
            metrics = Metrics(backend="mock")
            backend = await stack.enter_async_context(Timed(self.backend, metrics.observe_engine))
            if change is not None:
                change(self.mock)
            self.runtime = await stack.enter_async_context(opened(config, backend, self.state_dir))
            sessions, execs = self.runtime.sessions, self.runtime.execs
            await stack.enter_async_context(listening(sessions, execs, config.streaming, drain=1.0))
            server = _grpc_server(config, self.runtime, metrics)
            await stack.enter_async_context(_on_socket(server, self.socket, config))
            stack.callback(self.runtime.events.close)
            self.channel = self.connect()
            stack.push_async_callback(self.channel.close)
            self.stub = Stub(self.channel)
            self.rpc = Rpc(self.stub)
            await self.rpc.Version()  # so that the connection's own tasks and files are there from now on
            self._stack = stack.pop_all()

    def connect(self) -> grpc.aio.Channel:
        """A further connection, as kubelet's client makes it."""
        options = [
            ("grpc.max_receive_message_length", MAX_MESSAGE),
            ("grpc.max_send_message_length", MAX_MESSAGE),
            ("grpc.default_authority", "localhost"),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        return grpc.aio.insecure_channel(f"unix://{self.socket}", options=options)

    async def close(self) -> None:
        """Shut down as on SIGTERM; containers go on, as far as a mock's containers do."""
        self.backend.clear()
        await self._stack.aclose()

    async def restart(self, **changes: Any) -> None:
        """Shut down and open again."""
        await self.close()
        await self.open(**changes)

    async def crash(self, **changes: Any) -> None:
        """End as by SIGKILL, at this very moment, and open again what was on the disk."""
        saved = self.folder / "as-it-was"
        shutil.copytree(self.state_dir, saved, ignore=shutil.ignore_patterns("*-shm"))
        for task in self.runtime.pumps._tasks.values():
            task.cancel()  # before another chunk reaches the log
        await self.close()  # whatever it still does happens to files that are thrown away
        shutil.rmtree(self.state_dir)
        saved.rename(self.state_dir)
        await self.open(**changes)

    # ------------------------------------------------------------------ what kubelet does

    async def run_pod(self, name: str = "web", *, runtime_handler: str = "", **fields: Any) -> str:
        """RunPodSandbox; the pod logs below :attr:`logs` unless told otherwise."""
        fields = {"log_directory": str(self.logs / name), **fields}
        answer = await self.rpc.RunPodSandbox(config=pod_config(name, **fields), runtime_handler=runtime_handler)
        return str(answer.pod_sandbox_id)

    async def create(self, pod: str, name: str = "app", **fields: Any) -> str:
        """CreateContainer, with a log."""
        config = container_config(name, **{"log_path": f"{name}.log", **fields})
        return str((await self.rpc.CreateContainer(pod_sandbox_id=pod, config=config)).container_id)

    async def run(self, pod: str, name: str = "app", **fields: Any) -> str:
        """CreateContainer and StartContainer."""
        id = await self.create(pod, name, **fields)
        await self.rpc.StartContainer(container_id=id)
        return id

    async def pod(self, id: str) -> Any:
        """PodSandboxStatus."""
        return (await self.rpc.PodSandboxStatus(pod_sandbox_id=id)).status

    async def container(self, id: str) -> Any:
        """ContainerStatus."""
        return (await self.rpc.ContainerStatus(container_id=id)).status

    async def exited(self, id: str) -> Any:
        """ContainerStatus, once it has exited."""

        async def status() -> Any:
            found = await self.container(id)
            return found if found.state == pb.CONTAINER_EXITED else None

        return await until(status, what=f"container {id[:13]} exited")

    async def exec(self, id: str, *cmd: str, timeout: int = 5) -> Any:
        """ExecSync."""
        return await self.rpc.ExecSync(container_id=id, cmd=cmd, timeout=timeout)

    async def chunks(self, name: str, **fields: Any) -> list[Any]:
        """All messages of a streamed list."""
        return [message async for message in getattr(self.rpc, name)(**fields)]

    async def remove_all(self) -> None:
        """StopPodSandbox and RemovePodSandbox of every pod."""
        for pod in (await self.rpc.ListPodSandbox()).items:
            await self.rpc.StopPodSandbox(pod_sandbox_id=pod.id)
            await self.rpc.RemovePodSandbox(pod_sandbox_id=pod.id)

    # ------------------------------------------------------------------ behind the scenes

    def traces(self) -> Traces:
        """Everything there is of sandboxes and containers, and of calls under way."""
        runtime, life = self.runtime, self.mock._life
        flights = (runtime.sandboxes._flights, runtime.containers._flights, runtime.images._flights)
        containers = runtime.containers
        notes = {
            "starting": set(containers.exits._parked),
            "unanswered": containers._unanswered,
            "signalled": containers._signalled,
            "making": runtime.sandboxes._making,
            "waited for": runtime.store._exits,
        }
        tasks = _our_tasks()
        with closing(sqlite3.connect(self.state_dir / "journal.sqlite")) as journal:
            rows = frozenset(journal.execute("SELECT kind, id FROM record").fetchall())
        files = (path for path in self.state_dir.rglob("*") if path.is_file() and path.name not in _PERMANENT)
        return Traces(
            engine=frozenset(life.containers),
            addresses=frozenset(str(offset) for pool in life.pods._addresses._pools for offset in pool._used),
            journal=rows,
            pod_files=frozenset(str(path.relative_to(self.state_dir)) for path in files),
            sandboxes=frozenset(record.id for record in runtime.store.sandboxes()),
            containers=frozenset(record.id for record in runtime.store.containers()),
            pumps=frozenset(runtime.pumps._tasks),
            sessions=frozenset(runtime.sessions._pending),
            busy=frozenset(
                [f"flight {key}" for flight in flights for key in flight._flights]
                + [f"{note} {id}" for note, ids in notes.items() for id in ids]
            ),
            processes=tasks.pop("Proc._run", 0),
            tasks=frozenset(f"{count} {name}" for name, count in tasks.items() if name != "Pumps._pump"),
        )

    async def leaves(self, expected: Traces, *, timeout: float = 5.0) -> None:
        """Wait until nothing is left but what is `expected`."""
        end = time.monotonic() + timeout
        while differences := self.traces().differences(expected):
            assert time.monotonic() < end, f"more (or less) than expected is left: {differences}"
            await asyncio.sleep(0.002)


def _our_tasks() -> Counter[str]:
    """What the tasks of this loop run, and how often; gRPC's own and the test's are left out."""
    current = asyncio.current_task()
    coroutines = (task.get_coro() for task in asyncio.all_tasks() if task is not current and not task.done())
    return Counter(
        str(getattr(coroutine, "__qualname__", coroutine))
        for coroutine in coroutines
        if (code := getattr(coroutine, "cr_code", None)) is not None
        and code.co_filename.startswith(_PACKAGE)
        and code.co_filename != __file__
    )


class _Errors(logging.Handler):
    """Collects what is logged as an error."""

    def __init__(self, found: list[str]) -> None:
        super().__init__(logging.ERROR)
        self.addFilter(tells)
        self._found = found

    def emit(self, record: logging.LogRecord) -> None:
        self._found.append(logging.Formatter().format(record))


@asynccontextmanager
async def serving_inprocess(
    folder: Path,
    *,
    faults: Sequence[FaultRule] = (),
    options: MockOptions | None = None,
    config: Config | None = None,
) -> AsyncIterator[InProcess]:
    """A server on the mock for as long as the block lasts, its state and its pods' logs in `folder`.

    Without `options` the images of the tests are there from the start.
    """
    options = options or MockOptions(preload=(str(ImageRef.parse(PAUSE)), str(ImageRef.parse(BUSYBOX))))
    if config is None:
        # The engine is not looked at behind the tests' backs, and a shutdown waits for nobody.
        config = Config(runtime=replace(Config().runtime, relist_seconds=3600.0, drain_seconds=0.0))
    with tempfile.TemporaryDirectory(prefix="criadapt-") as sockets:
        server = InProcess(folder, Path(sockets), config, options)
        handler = _Errors(server.errors)
        logging.getLogger().addHandler(handler)
        try:
            await server.open(faults)
            try:
                yield server
            finally:
                await server.close()
        finally:
            logging.getLogger().removeHandler(handler)
