"""Figures of the mock's containers."""

from __future__ import annotations

from typing import Any, cast

import pytest

from criadapt.backends.base import ContainerSpec
from criadapt.backends.mock.containers import Container, Life, Made
from criadapt.backends.mock.machine import Machine
from criadapt.backends.mock.options import MockOptions
from criadapt.backends.mock.usage import measure
from criadapt.model.linux import LinuxContainerResources
from criadapt.model.usage import MemoryCounters, Usage

SECOND = 1_000_000_000
BORN = 1_800_000_000 * SECOND


class FakeMachine:
    """A machine of which only the counters are looked at."""

    allocated_bytes = written_bytes = written_files = oom_kills = 0
    process_count = 1

    def cpu_ns(self, now: int) -> int:
        return (now - BORN) // 100


def container(name: str = "web", **resources: Any) -> Container:
    spec = ContainerSpec(
        name=name, image_id="i", args=("a",), resources=LinuxContainerResources(**resources), infra=None
    )
    made = Container("id", Made(spec, BORN), Life(started_at=BORN))
    made.machine = cast(Machine, FakeMachine())
    return made


def inside(made: Container) -> FakeMachine:
    return cast(FakeMachine, made.machine)


def usage(made: Container, seconds: float = 10, *, has_network: bool = True, **options: Any) -> Usage:
    now = BORN + int(seconds * SECOND)
    return measure(made, now, options=MockOptions(**options), mountpoint="/disk", has_network=has_network)


def memory(made: Container, seconds: float = 10) -> MemoryCounters:
    found = usage(made, seconds).memory
    assert found is not None
    return found


def numbers(found: object) -> dict[str, float]:
    """All counters of a usage, by their path."""
    if isinstance(found, int | float):
        return {"": found}
    if isinstance(found, tuple):
        return {f"[{n}]{path}": value for n, item in enumerate(found) for path, value in numbers(item).items()}
    return {
        f".{name}{path}": value
        for name in getattr(type(found), "__slots__", ())
        for path, value in numbers(getattr(found, name)).items()
    }


def test_counters_never_go_back() -> None:
    made = container(cpu_quota=20_000, memory_limit_in_bytes=64 << 20, memory_swap_limit_in_bytes=64 << 20)
    before: dict[str, float] = {}
    for step in range(1, 20):
        inside(made).written_bytes += 10_000
        inside(made).written_files += 1
        found = numbers(usage(made, step * 7))
        fallen = {path for path, value in before.items() if found[path] < value and not path.endswith("_free")}
        assert fallen <= {".memory.working_set"}
        before = found


def test_cpu_is_what_the_programs_used() -> None:
    found = usage(container(cpu_quota=50_000, cpu_period=100_000)).cpu
    assert found is not None
    assert found.usage_ns == found.user_ns + found.system_ns == SECOND // 10
    assert found.periods == 100
    assert 0 <= found.throttled_periods <= found.periods


def test_without_a_quota_nothing_is_throttled() -> None:
    found = usage(container()).cpu
    assert found is not None
    assert (found.periods, found.throttled_periods, found.throttled_ns) == (0, 0, 0)


@pytest.mark.parametrize("limit", [0, 1 << 20, 15 << 20, 1 << 30])
def test_memory_stays_within_its_limit(limit: int) -> None:
    made = container(memory_limit_in_bytes=limit)
    inside(made).allocated_bytes = 12 << 20
    inside(made).written_bytes = 100 << 20
    found = memory(made)
    assert 0 < found.working_set <= found.usage
    assert found.usage == found.rss + found.kernel + found.cache
    assert found.limit == (limit or None)
    assert not limit or found.usage <= limit


def test_memory_follows_what_is_allocated_and_remembers_its_peak() -> None:
    made = container()
    little = memory(made)
    inside(made).allocated_bytes = 100 << 20
    much = memory(made)
    inside(made).allocated_bytes = 0
    assert much.rss - little.rss == 100 << 20
    assert memory(made).usage == little.usage
    assert memory(made).max_usage == much.usage


def test_swap_is_the_limit_beyond_memory() -> None:
    assert memory(container(memory_limit_in_bytes=8 << 20, memory_swap_limit_in_bytes=8 << 20)).swap_limit == 0
    assert memory(container(memory_limit_in_bytes=8 << 20, memory_swap_limit_in_bytes=9 << 20)).swap_limit == 1 << 20
    assert memory(container()).swap_limit is None


def test_an_oom_kill_is_counted() -> None:
    made = container()
    inside(made).oom_kills = 2
    assert (memory(made).oom_kills, memory(made).fail_count) == (2, 2)


def test_written_bytes_are_on_disk_and_on_the_device() -> None:
    made = container()
    before = usage(made)
    inside(made).written_bytes, inside(made).written_files = 4097, 3
    after = usage(made)
    assert before.disk is not None
    assert after.disk is not None
    assert after.disk.mountpoint == "/disk"
    assert after.disk.used_bytes - before.disk.used_bytes == 4097
    assert after.disk.inodes_used - before.disk.inodes_used == 3
    assert after.disk.inodes_free + after.disk.inodes_used == after.disk.inodes_total
    assert (after.block[0].write_bytes, after.block[0].writes) == (4097, 2)


def test_a_paused_container_is_not_busy() -> None:
    made = container(cpu_quota=10_000)
    made.life = Life(started_at=BORN, paused_at=BORN + SECOND)
    assert usage(made, 5).network == usage(made, 50).network


def test_only_a_network_of_its_own_is_counted() -> None:
    (eth0,) = usage(container()).network
    assert eth0.name == "eth0"
    assert min(eth0.rx_bytes, eth0.tx_bytes, eth0.rx_packets, eth0.tx_packets) > 0
    assert usage(container(), has_network=False).network == ()


def test_what_does_not_run_has_a_disk_only() -> None:
    made = container()
    made.life = Life(started_at=BORN, finished_at=BORN + 1, written_bytes=5000, written_files=2)
    found = usage(made)
    assert (found.cpu, found.memory, found.processes, found.network, found.block) == (None, None, None, (), ())
    assert found.disk is not None
    assert found.disk.used_bytes > 5000


def test_the_same_container_has_the_same_figures_and_another_seed_others() -> None:
    assert usage(container()) == usage(container())
    assert usage(container()) != usage(container("db"))
    assert usage(container()) != usage(container(), seed="other")
