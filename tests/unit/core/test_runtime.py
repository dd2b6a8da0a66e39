"""Opening and closing a runtime: what the last one left is recovered before anybody may ask."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from criadapt.backends.base import Chunk, EngineState
from criadapt.config import Config
from criadapt.core import names
from criadapt.core.runtime import Runtime, opened
from criadapt.core.store import Store
from criadapt.errors import EngineError, FailedPrecondition, Unavailable
from criadapt.journal import Journal
from criadapt.model.container import ContainerState
from criadapt.model.sandbox import PodSandboxMetadata, PodSandboxState
from criadapt.network.base import Network, Readiness
from criadapt.testing.factories import (
    SECOND,
    START,
    FakeEngine,
    container_config,
    container_record,
    engine_container,
    sandbox_config,
    sandbox_record,
)

NOW = START + 1000 * SECOND


class Wire(Network):
    """Counts detachments, and fails them if told to."""

    def __init__(self) -> None:
        self.detached: list[str] = []
        self.error: Exception | None = None

    async def attach(self, id: str, config: Any) -> tuple[str, ...]:
        return ("10.0.0.1",)

    async def detach(self, id: str, config: Any) -> None:
        self.detached.append(id)
        if self.error:
            raise self.error

    async def readiness(self) -> Readiness:
        return Readiness(ready=False, reason="NetworkPluginNotReady", message="no cni config")


class World:
    """What outlives a runtime: the engine, the network and the state directory."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.engine = FakeEngine(state_dir)
        self.network = Wire()

    def journaled(self, write: Callable[[Store], object]) -> None:
        with closing(Journal(self.state_dir / "journal.sqlite")) as journal:
            write(Store(journal))

    def rows(self, kind: str) -> list[str]:
        with closing(Journal(self.state_dir / "journal.sqlite")) as journal:
            return [id for id, _ in journal.load(kind)]

    def open(self) -> Any:
        return opened(Config(), self.engine, self.state_dir, network=self.network, now=lambda: NOW)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def pod_with_app(runtime: Runtime, log_directory: Path) -> tuple[str, str]:
    pod = await runtime.sandboxes.run(sandbox_config(log_directory=str(log_directory)), "")
    app = await runtime.containers.create(pod, container_config(log_path="app.log"))
    await runtime.containers.start(app)
    return pod, app


async def test_what_runs_is_still_there_after_a_restart(world: World) -> None:
    async with world.open() as runtime:
        pod, app = await pod_with_app(runtime, world.state_dir)
        before = [runtime.store.sandbox(pod), runtime.store.container(app)]
    assert {row.state for row in world.engine.rows.values()} == {EngineState.RUNNING}
    async with world.open() as runtime:
        assert [runtime.store.sandbox(pod), runtime.store.container(app)] == before
        assert runtime.pumps.is_running(app)


async def test_an_exit_while_away_is_seen_with_its_whole_log(world: World) -> None:
    async with world.open() as runtime:
        _, app = await pod_with_app(runtime, world.state_dir)
    world.engine.chunks[app] = [Chunk("stdout", b"goodbye\n", START + 5)]
    world.engine.end(app, 4)
    async with world.open() as runtime:
        status = runtime.store.container(app).status()
        assert (status.state, status.exit_code) == (ContainerState.EXITED, 4)
        assert (world.state_dir / "app.log").read_bytes().endswith(b" stdout F goodbye\n")


async def test_a_sandbox_cut_short_is_taken_back(world: World) -> None:
    world.journaled(lambda store: store.note_pending(sandbox_record("s1", ready_at=0)))
    world.engine.rows["s1"] = engine_container("s1", EngineState.RUNNING)
    async with world.open() as runtime:
        assert list(runtime.store.sandboxes()) == []
    assert (world.engine.rows, world.network.detached, world.rows("sandbox")) == ({}, ["s1"], [])


async def test_what_cannot_be_taken_back_is_shown(world: World) -> None:
    world.journaled(lambda store: store.note_pending(sandbox_record("s1", ready_at=0)))
    world.network.error = EngineError("plugin is away")
    async with world.open() as runtime:
        (record,) = runtime.store.sandboxes()
        assert record.state is PodSandboxState.NOTREADY
        assert "plugin is away" in record.reason


async def test_orphans_are_removed_and_an_engine_that_refuses_does_not_stop_the_start(world: World) -> None:
    labels = names.sandbox_labels(PodSandboxMetadata(name="web"))
    world.engine.rows["x"] = engine_container("x", EngineState.CREATED, labels=labels)
    world.engine.errors["remove"] = EngineError("busy")
    async with world.open():
        assert "x" in world.engine.rows
    world.engine.errors.clear()
    async with world.open():
        assert world.engine.rows == {}


async def test_after_an_engine_reset_everything_has_ended(world: World) -> None:
    world.journaled(lambda store: store.put_sandbox(sandbox_record()))
    world.journaled(lambda store: store.put_container(container_record(started_at=START)))
    async with world.open() as runtime:
        assert runtime.store.sandbox("s1").state is PodSandboxState.NOTREADY
        assert runtime.store.container("c1").shown_reason == "Unknown"


@pytest.mark.parametrize("call", ["info", "containers"])
async def test_without_its_engine_it_does_not_open(world: World, call: str) -> None:
    world.engine.errors[call] = Unavailable("no engine at that socket")
    with pytest.raises(Unavailable):
        async with world.open():
            pass
    world.engine.errors.clear()
    async with world.open():
        pass


async def test_closing_rolls_back_what_is_under_way(world: World) -> None:
    async with world.open() as runtime:
        gate = world.engine.hold("start")
        task = asyncio.ensure_future(runtime.sandboxes.run(sandbox_config(), ""))
        await gate.reached.wait()
    await asyncio.wait([task])
    assert task.cancelled()
    assert (world.engine.rows, world.rows("sandbox")) == ({}, [])


async def test_status_never_fails_and_says_what_is_wrong(world: World) -> None:
    async with world.open() as runtime:
        runtime.monitor.trouble = "connection refused"
        ready, network = (await runtime.status()).conditions
        assert (ready.type, ready.status, ready.reason) == ("RuntimeReady", False, "EngineUnavailable")
        assert (network.type, network.status, network.message) == ("NetworkReady", False, "no cni config")
        runtime.monitor.trouble = ""
        assert (await runtime.status()).conditions[0].status


async def test_an_empty_pod_cidr_means_nothing(world: World) -> None:
    async with world.open() as runtime:
        runtime.set_pod_cidr("10.1.0.0/16")
        runtime.set_pod_cidr("")
        assert runtime.pod_cidr == "10.1.0.0/16"


async def test_a_newer_journal_is_refused(world: World) -> None:
    with closing(Journal(world.state_dir / "journal.sqlite")) as journal:
        journal._db.execute("PRAGMA user_version=99")
    with pytest.raises(FailedPrecondition, match="newer criadapt"):
        async with world.open():
            pass
