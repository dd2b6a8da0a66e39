"""Life of a container, from creation to removal, and what is told about it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses

import pytest

from criadapt.backends.base import Backend, EngineState, EventKind, ExecSpec
from criadapt.errors import AlreadyExists, ContainerNotFound, CriadaptError, FailedPrecondition, NotFound, StartFailed
from criadapt.model.runtime import CgroupDriver
from criadapt.model.signals import Signal
from criadapt.testing.harness import Bench, Listener, optional
from criadapt.testing.terms import UNKNOWN, ContractBase


class LifeContract(ContractBase):
    """Life of a container, from creation to removal, and what is told about it."""

    # ------------------------------------------------------------------ the engine

    async def test_info_names_the_engine_and_its_default_handler(self, backend: Backend) -> None:
        info = await backend.info()
        assert info.name
        assert info.version
        assert info.cgroup_driver in CgroupDriver
        assert "" in [handler.name for handler in info.handlers]

    def test_every_option_has_a_default_and_a_doc(self, backend: Backend) -> None:
        assert type(backend).name
        for field in dataclasses.fields(type(backend).Options):
            assert field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
            assert field.metadata.get("doc"), f"option {field.name} has no doc"

    # ------------------------------------------------------------------ life of a container

    async def test_a_container_is_created_started_ended_and_removed(self, bench: Bench) -> None:
        backend = bench.backend
        id = await bench.create(self.sleep)
        assert (await backend.inspect(id)).state is EngineState.CREATED
        await backend.start(id)
        running = await backend.inspect(id)
        assert running.state is EngineState.RUNNING
        assert running.created_at <= running.started_at
        assert running.finished_at == 0
        exited = await bench.kill(id)
        assert exited.started_at == running.started_at
        assert exited.finished_at >= exited.started_at
        assert exited.pid == 0
        await backend.remove(id)
        assert id not in [container.id for container in await backend.containers()]

    async def test_ids_are_unique_and_listed(self, bench: Bench) -> None:
        ids = {await bench.create(self.sleep) for _ in range(3)}
        assert len(ids) == 3
        assert ids <= {container.id for container in await bench.backend.containers()}

    async def test_a_name_is_taken_until_its_container_is_removed(self, bench: Bench) -> None:
        id = await bench.create(self.sleep, name="contract-twin")
        with pytest.raises(AlreadyExists):
            await bench.create(self.sleep, name="contract-twin")
        await bench.backend.remove(id)
        assert await bench.create(self.sleep, name="contract-twin") != id

    async def test_what_was_asked_for_comes_back(self, bench: Bench) -> None:
        labels = {"io.kubernetes.pod.name": "web", "ключ": "значение ✓", "empty": "", "odd": "a=b,c \"d\" 'e' $f"}
        id = await bench.create(self.sleep, labels=labels)
        found = await bench.backend.inspect(id)
        assert dict(found.labels).items() >= labels.items()
        assert found.image_id == bench.image_id
        listed = {container.id: container for container in await bench.backend.containers()}
        assert dict(listed[id].labels) == dict(found.labels)
        assert listed[id].name == found.name

    async def test_a_long_name_is_a_name(self, bench: Bench) -> None:
        name = "k8s_" + "n" * 63 + "_" + "p" * 63 + "_0"
        id = await bench.create(self.sleep, name=name)
        assert (await bench.backend.inspect(id)).name == name

    async def test_an_unknown_image_is_not_found(self, bench: Bench) -> None:
        with pytest.raises(NotFound):
            await bench.create(self.sleep, image_id=f"sha256:{UNKNOWN}")

    @pytest.mark.parametrize("code", [0, 1, 42, 255])
    async def test_the_exit_code_is_the_program_s(self, bench: Bench, code: int) -> None:
        assert (await bench.run_to_end(self.sh(f"exit {code}"))).exit_code == code

    @pytest.mark.parametrize(("signal", "code"), [(Signal.SIGKILL, 137), (Signal.SIGTERM, 143)])
    async def test_death_by_a_signal_is_128_and_its_number(self, bench: Bench, signal: Signal, code: int) -> None:
        id = await bench.run(self.sh("trap 'exit 143' TERM; echo ready; while true; do sleep 0.05; done"))
        with contextlib.suppress(CriadaptError):  # wait for the trap where output can be read
            async with asyncio.timeout(self.timeout):
                async for chunk in bench.backend.output(id, 0):
                    if b"ready" in chunk.data:
                        break
        found = await bench.kill(id, signal)
        assert found.exit_code == code
        assert not found.oom_killed

    async def test_killing_what_does_not_run_succeeds(self, bench: Bench) -> None:
        id = await bench.create(self.sleep)
        await bench.backend.kill(id, Signal.SIGKILL)
        await bench.backend.start(id)
        await bench.kill(id)
        await bench.backend.kill(id, Signal.SIGKILL)
        await bench.backend.kill(id, Signal.SIGTERM)
        with contextlib.suppress(NotFound):
            await bench.backend.kill(UNKNOWN, Signal.SIGKILL)

    async def test_removing_what_is_gone_succeeds(self, bench: Bench) -> None:
        id = await bench.create(self.sleep)
        await bench.backend.remove(id)
        await bench.backend.remove(id)
        await bench.backend.remove(UNKNOWN)

    async def test_a_running_container_can_be_removed(self, bench: Bench) -> None:
        id = await bench.run(self.sleep)
        await bench.backend.remove(id)
        with pytest.raises(ContainerNotFound):
            await bench.backend.inspect(id)

    async def test_a_container_starts_once(self, bench: Bench) -> None:
        id = await bench.run(self.sh("exit 3"))
        await bench.ended(id)
        with pytest.raises(FailedPrecondition):
            await bench.backend.start(id)
        assert (await bench.backend.inspect(id)).exit_code == 3

    async def test_a_program_that_is_not_there_fails_to_start(self, bench: Bench) -> None:
        id = await bench.create(self.unknown_program)
        with pytest.raises(StartFailed) as failure:
            await bench.backend.start(id)
        assert failure.value.exit_code in (126, 127, 128)
        found = await bench.backend.inspect(id)
        assert found.state is not EngineState.RUNNING
        if found.state is EngineState.EXITED:
            assert found.exit_code == failure.value.exit_code
            assert found.error

    async def test_what_is_unknown_is_not_found(self, bench: Bench) -> None:
        with pytest.raises(ContainerNotFound):
            await bench.backend.inspect(UNKNOWN)
        with pytest.raises(NotFound):
            await bench.backend.start(UNKNOWN)
        with pytest.raises(NotFound), optional():
            await bench.backend.exec(UNKNOWN, ExecSpec(args=("true",)))
        with pytest.raises(NotFound), optional():
            await bench.backend.usage(UNKNOWN)

    async def test_many_are_made_and_removed_at_once(self, bench: Bench) -> None:
        async def life() -> int:
            id = await bench.run(self.sleep)
            code = (await bench.kill(id)).exit_code
            await asyncio.gather(bench.backend.remove(id), bench.backend.remove(id))
            return code

        assert await asyncio.gather(*(life() for _ in range(8))) == [137] * 8

    async def test_a_container_shares_the_namespaces_of_its_infra_container(self, bench: Bench) -> None:
        infra = await bench.run(self.sleep, hostname="contract-pod")
        chunks = await bench.output_of(self.sh("hostname"), infra=infra)
        assert b"".join(chunk.data for chunk in chunks).strip() == b"contract-pod"

    # ------------------------------------------------------------------ events

    async def test_every_exit_is_told_with_its_code(self, bench: Bench) -> None:
        ids = [await bench.create(self.sh(f"exit {code}")) for code in range(1, 6)]
        async with Listener(bench.backend, self.timeout) as listener:
            await asyncio.gather(*(bench.backend.start(id) for id in ids))
            events = await listener.wait_for(EventKind.EXITED, set(ids))
        codes = {event.id: event.exit_code for event in events}
        assert [codes[id] for id in ids] == [1, 2, 3, 4, 5]
        for event in events:
            assert event.time_ns > 0

    async def test_the_exit_is_told_before_the_removal(self, bench: Bench) -> None:
        id = await bench.run(self.sleep)
        async with Listener(bench.backend, self.timeout) as listener:
            await bench.kill(id)
            await listener.wait_for(EventKind.EXITED, {id})
            await bench.backend.remove(id)
            await listener.wait_for(EventKind.GONE, {id})
            kinds = [event.kind for event in listener.seen if event.id == id]
        assert kinds.index(EventKind.EXITED) < kinds.index(EventKind.GONE)

    async def test_all_listeners_hear_the_same(self, bench: Bench) -> None:
        id = await bench.run(self.sleep)
        async with Listener(bench.backend, self.timeout) as one, Listener(bench.backend, self.timeout) as two:
            await bench.backend.kill(id, Signal.SIGKILL)
            for listener in (one, two):
                (event, *_) = await listener.wait_for(EventKind.EXITED, {id})
                assert event.exit_code == 137

    async def test_after_its_event_an_exit_is_in_the_list(self, bench: Bench) -> None:
        id = await bench.run(self.sleep)
        async with Listener(bench.backend, self.timeout) as listener:
            await bench.backend.kill(id, Signal.SIGKILL)
            await listener.wait_for(EventKind.EXITED, {id})
        assert (await bench.backend.inspect(id)).state is EngineState.EXITED
