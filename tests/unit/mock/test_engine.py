"""The mock's containers, with a stand-in for what runs inside them."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from criadapt.backends.base import Chunk, ContainerSpec, EngineEvent, EngineState, EventKind, ExecSpec
from criadapt.backends.mock import feed, pods
from criadapt.backends.mock.engine import MockBackend
from criadapt.backends.mock.machine import Exit
from criadapt.backends.mock.options import MockOptions
from criadapt.errors import (
    AlreadyExists,
    ContainerNotFound,
    FailedPrecondition,
    ImageNotFound,
    InvalidArgument,
    StartFailed,
    Unavailable,
)
from criadapt.model.container import Mount
from criadapt.model.image import ImageSpec
from criadapt.model.linux import LinuxContainerResources, NamespaceMode, NamespaceOption
from criadapt.model.reference import ImageRef
from criadapt.model.signals import Signal

SECOND = 1_000_000_000


class FakeMachine:
    """Does nothing until it is told to; remembers what it was told."""

    def __init__(self, spec: ContainerSpec, **given: Any) -> None:
        self.spec = spec
        self.given = given
        self.told: list[Any] = []
        self.allocated_bytes = self.written_bytes = self.written_files = self.process_count = self.oom_kills = 0

    def check(self) -> None:
        if self.spec.args == ("missing",):
            raise StartFailed('exec: "missing": not found', exit_code=127)

    def start(self) -> None:
        self.told.append("start")
        if self.spec.args == ("exit",):
            self.exit(code=3)

    def exit(self, *, code: int = 0, time_ns: int = 0, oom_killed: bool = False) -> None:
        self.given["on_exit"](Exit(code=code, time_ns=time_ns, oom_killed=oom_killed))

    def signal(self, signal: Signal) -> None:
        self.told.append(signal)

    def freeze(self) -> None:
        self.told.append("freeze")

    def thaw(self) -> None:
        self.told.append("thaw")

    def update(self, resources: LinuxContainerResources) -> None:
        self.told.append(resources)

    def close(self) -> None:
        self.told.append("close")

    async def settled(self) -> None:
        self.told.append("settled")

    async def output(self, since_ns: int) -> AsyncIterator[Chunk]:
        for n in (1, 2, 3):
            chunk = Chunk("stdout", b"%d" % n, self.given["started_at"] + n)
            if chunk.time_ns > since_ns:
                yield chunk


class Clock:
    """A time that moves when it is told to."""

    def __init__(self) -> None:
        self.time_ns = 1_800_000_000 * SECOND

    def __call__(self) -> int:
        self.time_ns += 1
        return self.time_ns

    def move(self, seconds: int) -> None:
        self.time_ns += seconds * SECOND


Open = Callable[..., MockBackend]


@pytest.fixture(autouse=True)
def fake_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pods, "Machine", FakeMachine)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reopen(tmp_path: Path, clock: Clock) -> Open:
    """A backend on the same directory, as after a restart."""
    ids = itertools.count(1)

    def make(**options: Any) -> MockBackend:
        given = MockOptions(preload=("busybox", "registry.k8s.io/pause:3.9"), **options)
        return MockBackend(given, state_dir=tmp_path, now=clock, new_id=lambda: f"{next(ids):064x}")

    return make


@pytest.fixture
async def backend(reopen: Open) -> AsyncIterator[MockBackend]:
    async with reopen() as backend:
        yield backend


async def image_id(backend: MockBackend, name: str = "busybox") -> str:
    return await backend.pull(ImageRef.parse(name), None)


async def create(backend: MockBackend, name: str = "c", args: tuple[str, ...] = ("sleep",), **changes: Any) -> str:
    return await backend.create(ContainerSpec(name=name, image_id=await image_id(backend), args=args, **changes))


async def run(backend: MockBackend, name: str = "c", args: tuple[str, ...] = ("sleep",), **changes: Any) -> str:
    id = await create(backend, name, args, **changes)
    await backend.start(id)
    return id


def machine(backend: MockBackend, id: str) -> FakeMachine:
    return cast(FakeMachine, backend._life.containers[id].machine)


async def die(backend: MockBackend) -> None:
    """End as kill -9 would: nothing is said to anybody, but the files are let go."""
    backend._folding.cancel()
    await asyncio.wait([backend._folding])
    backend._journal.close()


# ---------------------------------------------------------------------- creating and starting


async def test_ids_and_pids_count_up(backend: MockBackend) -> None:
    one, two = await run(backend, "one"), await run(backend, "two")
    assert (one, two) == (f"{1:064x}", f"{2:064x}")
    assert [(await backend.inspect(id)).pid for id in (one, two)] == [100_000, 100_001]


async def test_create_says_what_is_missing(backend: MockBackend) -> None:
    await create(backend)
    with pytest.raises(AlreadyExists, match="'c' is in use"):
        await create(backend)
    with pytest.raises(ImageNotFound):
        await backend.create(ContainerSpec(name="d", image_id="sha256:none", args=("a",)))
    mount = Mount(container_path="/v", image=ImageSpec(image="sha256:none"), readonly=True)
    with pytest.raises(ImageNotFound):
        await create(backend, "d", mounts=(mount,))
    with pytest.raises(ContainerNotFound):
        await create(backend, "d", infra="none")
    with pytest.raises(InvalidArgument, match="handler 'kata'"):
        await create(backend, "d", handler="kata")
    with pytest.raises(InvalidArgument, match="cpu_shares"):
        await create(backend, "d", resources=LinuxContainerResources(cpu_shares=-1))
    assert len(await backend.containers()) == 1


async def test_a_failed_start_leaves_an_exited_container_and_no_address(backend: MockBackend) -> None:
    id = await create(backend, args=("missing",))
    with pytest.raises(StartFailed, match="not found"):
        await backend.start(id)
    found = await backend.inspect(id)
    assert (found.state, found.exit_code, found.started_at, found.pid) == (EngineState.EXITED, 127, 0, 0)
    assert found.error == 'exec: "missing": not found'
    assert [chunk async for chunk in backend.output(id, 0)] == []
    with pytest.raises(FailedPrecondition, match="is exited"):
        await backend.start(id)
    assert (await backend.inspect(await run(backend, "next"))).ips == ("10.88.0.2",)


async def test_a_container_cannot_join_a_pod_that_does_not_run(backend: MockBackend) -> None:
    infra = await create(backend, "infra")
    app = await create(backend, "app", infra=infra)
    with pytest.raises(StartFailed, match="not running"):
        await backend.start(app)
    assert (await backend.inspect(app)).exit_code == 128


async def test_an_exit_during_start_is_an_exit(backend: MockBackend) -> None:
    found = await backend.inspect(await run(backend, args=("exit",)))
    assert (found.state, found.exit_code) == (EngineState.EXITED, 3)
    assert found.finished_at > found.started_at


# ---------------------------------------------------------------------- pods


async def test_a_pod_shares_addresses_and_host_name(reopen: Open) -> None:
    async with reopen(subnet_v6="fd00::/64") as backend:
        infra = await run(backend, "infra", hostname="web-0")
        app = await run(backend, "app", infra=infra)
        assert (await backend.inspect(infra)).ips == ("10.88.0.2", "fd00::2")
        assert (await backend.inspect(app)).ips == ("10.88.0.2", "fd00::2")
        assert machine(backend, app).given["ips"] == ("10.88.0.2", "fd00::2")
        assert machine(backend, app).given["hostname"] == "web-0"
        peers = machine(backend, app).given["peers"]
        assert list(peers()) == [machine(backend, infra), machine(backend, app)]
        await backend.remove(app)
        assert list(peers()) == [machine(backend, infra)]


async def test_addresses_are_the_lowest_that_are_free(backend: MockBackend) -> None:
    pods = [await run(backend, f"p{n}") for n in range(4)]
    machine(backend, pods[1]).exit()
    await backend.remove(pods[0])
    assert (await backend.inspect(pods[1])).ips == ()
    again = [await backend.inspect(await run(backend, f"q{n}")) for n in range(3)]
    assert [pod.ips for pod in again] == [("10.88.0.2",), ("10.88.0.3",), ("10.88.0.6",)]


async def test_a_full_subnet_fails_the_start(reopen: Open) -> None:
    async with reopen(subnet="10.0.0.0/30") as backend:
        await run(backend, "one")
        with pytest.raises(StartFailed, match="no free address"):
            await run(backend, "two")


async def test_the_host_network_has_no_addresses_of_its_own(backend: MockBackend) -> None:
    options = NamespaceOption(network=NamespaceMode.NODE, pid=NamespaceMode.NODE)
    other = await run(backend, "other")
    host = await run(backend, "host", namespaces=options)
    assert (await backend.inspect(host)).ips == ()
    assert machine(backend, other) in list(machine(backend, host).given["peers"]())


# ---------------------------------------------------------------------- ends


async def test_an_exit_is_told_to_every_listener_once(backend: MockBackend) -> None:
    id = await run(backend)
    one, two = backend.events(), backend.events()
    at = backend._now() + 5
    machine(backend, id).exit(code=137, time_ns=at, oom_killed=True)
    machine(backend, id).exit(code=0)
    await backend.remove(id)
    for listener in (one, two):
        first, second = await anext(listener), await anext(listener)
        assert (first.kind, first.exit_code, first.time_ns, first.oom_killed) == (EventKind.EXITED, 137, at, True)
        assert (second.kind, second.id) == (EventKind.GONE, id)


async def test_removing_a_running_container_kills_it(backend: MockBackend) -> None:
    id = await run(backend)
    inside = machine(backend, id)
    events = backend.events()
    await backend.remove(id)
    assert inside.told == ["start", Signal.SIGKILL]
    assert [(await anext(events)).kind for _ in range(2)] == [EventKind.EXITED, EventKind.GONE]
    with pytest.raises(ContainerNotFound):
        await backend.inspect(id)


async def test_a_listener_that_sleeps_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "LIMIT", 2)
    channel = feed.Feed()
    sleepy, gone = channel.listen(), channel.listen()
    del gone
    for _ in range(3):
        channel.publish(EngineEvent(kind=EventKind.IMAGES))
    with pytest.raises(Unavailable, match="behind"):
        await anext(sleepy)
    assert [event async for event in sleepy] == []


async def test_listeners_end_with_the_backend(reopen: Open) -> None:
    async with reopen() as backend:
        events = backend.events()
        waiting = asyncio.ensure_future(anext(backend.events(), None))
        await asyncio.sleep(0)
    assert [event async for event in events] == []
    assert await waiting is None


async def test_pulling_and_removing_an_image_is_told(backend: MockBackend) -> None:
    events = backend.events()
    id = await image_id(backend, "alpine")
    await backend.remove_image(id)
    assert [(await anext(events)).kind for _ in range(2)] == [EventKind.IMAGES] * 2


# ---------------------------------------------------------------------- output, exec, limits, pauses


async def test_output_can_be_asked_for_before_the_start(backend: MockBackend) -> None:
    id = await create(backend)
    reading = asyncio.ensure_future(anext(backend.output(id, 0)))
    await asyncio.sleep(0)
    await backend.start(id)
    assert (await reading).data == b"1"


async def test_output_of_what_never_starts_ends(backend: MockBackend) -> None:
    id = await create(backend)
    reading = asyncio.ensure_future(anext(backend.output(id, 0), None))
    await asyncio.sleep(0)
    await backend.remove(id)
    assert await reading is None


async def test_output_can_be_read_again_after_the_end(backend: MockBackend) -> None:
    id = await run(backend)
    first = [chunk async for chunk in backend.output(id, 0)]
    machine(backend, id).exit(time_ns=backend._now() + SECOND)
    assert [chunk async for chunk in backend.output(id, 0)] == first
    assert [chunk async for chunk in backend.output(id, first[0].time_ns)] == first[1:]


async def test_only_what_runs_can_be_worked_with(backend: MockBackend) -> None:
    id = await create(backend)
    for call in (
        backend.exec(id, ExecSpec(args=("true",))),
        backend.attach(id, stdin=False, tty=False),
        backend.pause(id),
        backend.resume(id),
        backend.checkpoint(id, Path("unused")),
    ):
        with pytest.raises(FailedPrecondition, match="created"):
            await call
    await backend.start(id)
    await backend.pause(id)
    with pytest.raises(FailedPrecondition, match="paused; resume it"):
        await backend.exec(id, ExecSpec(args=("true",)))


async def test_an_update_changes_what_is_set_and_nothing_else(backend: MockBackend) -> None:
    old = LinuxContainerResources(memory_limit_in_bytes=64 << 20, cpu_shares=100, unified={"memory.high": "1"})
    id = await run(backend, resources=old)
    await backend.update(id, LinuxContainerResources(cpu_shares=200, unified={"memory.min": "2"}))
    told = machine(backend, id).told[-1]
    assert (told.memory_limit_in_bytes, told.cpu_shares) == (64 << 20, 200)
    assert told.unified == {"memory.high": "1", "memory.min": "2"}
    for senseless in (
        LinuxContainerResources(memory_swap_limit_in_bytes=1 << 20),
        LinuxContainerResources(cpu_period=-1),
        LinuxContainerResources(oom_score_adj=1001),
        LinuxContainerResources(cpuset_cpus="all"),
    ):
        with pytest.raises(InvalidArgument):
            await backend.update(id, senseless)
    assert machine(backend, id).told[-1] is told
    machine(backend, id).exit()
    with pytest.raises(FailedPrecondition, match="exited"):
        await backend.update(id, old)


async def test_a_paused_container_does_not_age_and_can_be_killed(backend: MockBackend, clock: Clock) -> None:
    id = await run(backend)
    inside, container = machine(backend, id), backend._life.containers[id]
    clock.move(10)
    await backend.pause(id)
    await backend.pause(id)
    clock.move(100)
    assert container.age_ns(clock()) // SECOND == 10
    await backend.resume(id)
    await backend.resume(id)
    clock.move(5)
    assert container.age_ns(clock()) // SECOND == 15
    await backend.pause(id)
    await backend.kill(id, Signal.SIGTERM)
    await backend.kill(id, Signal.SIGKILL)
    assert inside.told == ["start", "freeze", "thaw", "freeze", Signal.SIGTERM, "thaw", Signal.SIGKILL]


async def test_an_image_in_use_stays_even_as_a_volume(backend: MockBackend) -> None:
    volume = await image_id(backend, "alpine")
    await create(backend, mounts=(Mount(container_path="/v", image=ImageSpec(image=volume)),))
    for used in (volume, await image_id(backend)):
        with pytest.raises(FailedPrecondition, match="in use by container 'c'"):
            await backend.remove_image(used)


async def test_a_file_of_an_image_is_found_however_it_is_spelt(backend: MockBackend) -> None:
    id = await image_id(backend)
    spellings = ("/etc/passwd", "etc/passwd", "//etc/../etc/passwd")
    assert len({await backend.image_file(id, path) for path in spellings}) == 1
    assert await backend.image_file(id, "/etc") is None


# ---------------------------------------------------------------------- checkpoints


async def test_a_checkpoint_resumes_the_program_at_its_age(backend: MockBackend, clock: Clock, tmp_path: Path) -> None:
    id = await run(backend, args=("count", "1"))
    clock.move(60)
    await backend.checkpoint(id, tmp_path / "saved")
    clock.move(600)
    copy = await run(backend, "copy", args=("other",), checkpoint=str(tmp_path / "saved"))
    inside, found = machine(backend, copy), await backend.inspect(copy)
    assert inside.spec.args == ("count", "1")
    assert (found.started_at - inside.given["started_at"]) // SECOND == 60
    assert [chunk async for chunk in backend.output(copy, 0)] == [], "what came before is the old one's output"
    assert backend._life.containers[copy].age_ns(clock()) // SECOND == 60


async def test_a_checkpoint_is_private_and_leaves_no_rest(backend: MockBackend, tmp_path: Path) -> None:
    id = await run(backend)
    target = tmp_path / "out" / "saved"
    with pytest.raises(InvalidArgument, match="No such file or directory"):
        await backend.checkpoint(id, target)
    target.mkdir(parents=True)
    with pytest.raises(InvalidArgument, match="directory"):
        await backend.checkpoint(id, target)
    assert [path.name for path in target.parent.iterdir()] == ["saved"]
    target.rmdir()
    target.write_text("old")
    target.chmod(0o644)
    await backend.checkpoint(id, target)
    assert target.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("change", [{"format": "other"}, {"elapsed_ns": -1}, {"spec": None}, {"elapsed_ns": "x"}])
async def test_a_spoilt_checkpoint_is_refused(backend: MockBackend, tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "saved"
    await backend.checkpoint(await run(backend), path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InvalidArgument, match="is not a checkpoint"):
        await create(backend, "copy", checkpoint=str(path))
    with pytest.raises(InvalidArgument, match="No such file"):
        await create(backend, "copy", checkpoint=str(tmp_path / "nothing"))
    assert len(await backend.containers()) == 1


# ---------------------------------------------------------------------- the next process


@pytest.mark.parametrize("gently", [True, False])
async def test_everything_is_there_in_the_next_process(reopen: Open, clock: Clock, gently: bool) -> None:
    first = await reopen().__aenter__()
    infra = await run(first, "infra", hostname="web-0", labels={"a": "б"})
    app = await run(first, "app", infra=infra)
    created = await create(first, "created")
    exited = await run(first, "exited", args=("exit",))
    failed = await create(first, "failed", args=("missing",))
    with pytest.raises(StartFailed):
        await first.start(failed)
    removed = await run(first, "removed")
    await first.remove(removed)
    paused = await run(first, "paused")
    await first.pause(paused)
    await first.update(app, LinuxContainerResources(cpu_shares=77))
    before, images = await first.containers(), await first.images()
    started_at, left_at = machine(first, app).given["started_at"], clock.time_ns
    await (first.__aexit__(None, None, None) if gently else die(first))
    clock.move(100)

    async with reopen() as second:
        assert await second.containers() == before
        assert await second.images() == images
        assert {c.name for c in before} == {"infra", "app", "created", "exited", "failed", "paused"}
        inside = machine(second, app)
        assert inside.told == ["start"]
        assert inside.given["started_at"] == started_at
        assert inside.given["hostname"] == "web-0"
        assert inside.given["replay_until"] - left_at < SECOND if gently else inside.given["replay_until"] > left_at
        assert inside.spec.resources.cpu_shares == 77
        await asyncio.sleep(0)
        assert machine(second, paused).told == ["start", "settled", "freeze"]
        assert backend_has_no_machine(second, created, exited, failed)
        fresh = await second.inspect(await run(second, "fresh"))
        assert fresh.ips == ("10.88.0.4",), "the addresses of running pods are taken, that of the removed is free"
        assert fresh.pid > max(c.pid for c in before)
        with pytest.raises(AlreadyExists):
            await create(second, "created")
        events = second.events()
        machine(second, app).exit(code=9)
        assert (await anext(events)).exit_code == 9


def backend_has_no_machine(backend: MockBackend, *ids: str) -> bool:
    return all(backend._life.containers[id].machine is None for id in ids)


async def test_an_exit_of_the_time_between_two_processes_is_found(reopen: Open, clock: Clock) -> None:
    async with reopen() as first:
        id = await run(first)
        inside = machine(first, id)
    inside.exit(code=5)  # a machine that is closed has nothing to say
    async with reopen() as second:
        assert (await second.inspect(id)).state is EngineState.RUNNING
        past = clock.time_ns
        clock.move(1000)
        machine(second, id).exit(code=0, time_ns=past)
        assert (await second.inspect(id)).finished_at == past


async def test_a_program_that_is_no_longer_there_ends(reopen: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    async with reopen() as first:
        id = await run(first)

    def fail(self: FakeMachine) -> None:
        raise StartFailed("gone")

    monkeypatch.setattr(FakeMachine, "start", fail)
    async with reopen() as second:
        assert (await second.inspect(id)).exit_code == 255


async def test_modules_with_programs_are_imported(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="'no_such_module'"):
        async with MockBackend(MockOptions(programs=("no_such_module",)), state_dir=tmp_path):
            pass


@pytest.mark.parametrize(
    "options",
    [
        {"subnet": "10.0.0.1/8"},
        {"subnet": "fd00::/64"},
        {"subnet_v6": "10.0.0.0/8"},
        {"subnet": "10.0.0.0/31"},
        {"handlers": ("mock",)},
        {"cgroup_driver": "none"},
        {"unknown_command": "ignore"},
        {"cpus": 0},
        {"pull_delay": -1},
    ],
)
def test_senseless_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=next(iter(options))):
        MockOptions(**options)
