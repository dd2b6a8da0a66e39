"""Figures and limits, pauses and checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest

from criadapt.backends.base import EngineState
from criadapt.errors import CriadaptError, InvalidArgument
from criadapt.model.linux import LinuxContainerResources
from criadapt.testing.harness import Bench, is_directory, optional
from criadapt.testing.terms import ContractBase


class ResourceContract(ContractBase):
    """Figures and limits, pauses and checkpoints."""

    async def test_usage_of_a_running_container_grows(self, bench: Bench) -> None:
        id = await bench.run(self.sleep)
        with optional():
            first = await bench.backend.usage(id)
            process = await bench.exec(id, self.sh("i=0; while [ $i -lt 1000 ]; do i=$((i+1)); done"))
            await bench.finish(process)
            second = await bench.backend.usage(id)
        assert second.time_ns > first.time_ns > 0
        if first.cpu and second.cpu:
            assert second.cpu.usage_ns > first.cpu.usage_ns
        if first.memory:
            assert 0 < first.memory.working_set <= first.memory.usage
        if first.processes:
            assert first.processes.processes >= 1
        if first.disk:
            assert is_directory(first.disk.mountpoint)

    async def test_usage_of_an_exited_container_is_its_disk(self, bench: Bench) -> None:
        found = await bench.run_to_end(self.sh("exit 0"))
        with optional():
            usage = await bench.backend.usage(found.id)
        assert usage.cpu is None
        assert usage.memory is None

    async def test_limits_change_while_it_runs(self, bench: Bench) -> None:
        id = await bench.run(self.sleep, resources=LinuxContainerResources(memory_limit_in_bytes=64 << 20))
        with optional():
            await bench.backend.update(id, LinuxContainerResources(memory_limit_in_bytes=128 << 20, cpu_shares=512))
            usage = await bench.backend.usage(id)
        if usage.memory:
            assert usage.memory.limit == 128 << 20
        assert (await bench.backend.inspect(id)).state is EngineState.RUNNING

    async def test_senseless_limits_are_refused(self, bench: Bench) -> None:
        id = await bench.run(self.sleep)
        with pytest.raises(CriadaptError), optional():
            await bench.backend.update(id, LinuxContainerResources(memory_limit_in_bytes=-5))
        assert (await bench.backend.inspect(id)).state is EngineState.RUNNING

    async def test_a_paused_container_counts_as_running(self, bench: Bench) -> None:
        id = await bench.run(self.sleep)
        with optional():
            await bench.backend.pause(id)
            assert (await bench.backend.inspect(id)).state is EngineState.RUNNING
            await bench.backend.resume(id)
        process = await bench.exec(id, self.sh("echo back"))
        assert (await bench.finish(process))[1] == b"back\n"

    async def test_a_checkpoint_is_for_its_owner_only(self, bench: Bench, tmp_path: Path) -> None:
        id = await bench.run(self.sleep)
        path = tmp_path / "checkpoint"
        with optional():
            await bench.backend.checkpoint(id, path)
        assert path.stat().st_mode & 0o777 == 0o600
        assert (await bench.backend.inspect(id)).state is EngineState.RUNNING
        copy = await bench.run(self.sleep, checkpoint=str(path))
        assert (await bench.backend.inspect(copy)).state is EngineState.RUNNING

    async def test_a_file_that_is_no_checkpoint_is_refused(self, bench: Bench, tmp_path: Path) -> None:
        running = await bench.run(self.sleep)
        with optional():
            await bench.backend.checkpoint(running, tmp_path / "good")
        (tmp_path / "bad").write_bytes(b"nothing of the kind")
        with pytest.raises(InvalidArgument):
            await bench.run(self.sleep, checkpoint=str(tmp_path / "bad"))
