"""Stats: from a backend's raw counters to what CRI reports of containers and pods."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from criadapt.backends.base import Backend
from criadapt.core import metrics
from criadapt.core.figures import Rates
from criadapt.core.records import ContainerRecord, SandboxRecord
from criadapt.core.stats import Stats
from criadapt.core.store import Store
from criadapt.errors import (
    ContainerNotFound,
    EngineError,
    InvalidArgument,
    SandboxNotFound,
    Unavailable,
    Unsupported,
)
from criadapt.journal import Journal
from criadapt.model.container import ContainerConfig, ContainerMetadata
from criadapt.model.linux import (
    LinuxContainerResources,
    LinuxSandboxSecurityContext,
    NamespaceMode,
    NamespaceOption,
)
from criadapt.model.sandbox import LinuxPodSandboxConfig, PodSandboxConfig, PodSandboxMetadata
from criadapt.model.stats import ContainerStatsFilter, PodSandboxStatsFilter, PsiData, PsiStats
from criadapt.model.usage import (
    CpuCounters,
    DiskCounters,
    InterfaceCounters,
    MemoryCounters,
    ProcessCounters,
    Usage,
)

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
PSI = PsiStats(some=PsiData(total=5, avg10=1.5), full=PsiData(total=2))


class Silent(Backend):
    """A backend that does not measure."""

    name = "silent"


class Fake(Backend):
    """Measures whatever the test put into `usages`; an exception there is raised."""

    name = "fake"

    def __init__(self) -> None:
        self.usages: dict[str, Usage | Exception] = {}
        self.before: Callable[[str], None] | None = None
        self.gate: asyncio.Event | None = None
        self.full = asyncio.Event()
        self.busy = self.busiest = 0

    async def usage(self, id: str) -> Usage:
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        if self.busy == 64:
            self.full.set()
        try:
            if self.gate:
                await self.gate.wait()
            if self.before:
                self.before(id)
            found = self.usages.get(id, ContainerNotFound(id))
            if isinstance(found, Exception):
                raise found
            return found
        finally:
            self.busy -= 1


# Nothing but usage() is called, so the rest may stay abstract.
Fake.__abstractmethods__ = Silent.__abstractmethods__ = frozenset()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    journal = Journal(tmp_path / "journal.db")
    yield Store(journal)
    journal.close()


@pytest.fixture
def backend() -> Fake:
    return Fake()


@pytest.fixture
def stats(store: Store, backend: Fake) -> Stats:
    return Stats(store, backend, lambda: START)


def pod(id: str = "pod1", *, ready: bool = True, host_network: bool = False, **labels: str) -> SandboxRecord:
    options = NamespaceOption(network=NamespaceMode.NODE if host_network else NamespaceMode.POD)
    record = SandboxRecord(
        id=id,
        config=PodSandboxConfig(
            metadata=PodSandboxMetadata(name=f"name-{id}", uid="u", namespace="ns"),
            labels=labels,
            annotations={"note": "pod"},
            linux=LinuxPodSandboxConfig(security_context=LinuxSandboxSecurityContext(namespace_options=options)),
        ),
        handler="",
        created_at=START,
    )
    return record.ready(START, ()) if ready else record


def container(id: str = "c1", sandbox: str = "pod1", **labels: str) -> ContainerRecord:
    return ContainerRecord(
        id=id,
        sandbox_id=sandbox,
        config=ContainerConfig(
            metadata=ContainerMetadata(name=f"name-{id}", attempt=2), labels=labels, annotations={"note": "own"}
        ),
        image_id="i",
        image_ref="i",
        image_name="busybox:1",
        created_at=START,
    )


def running(id: str = "c1", sandbox: str = "pod1", **labels: str) -> ContainerRecord:
    return container(id, sandbox, **labels).started(START)


def used(at: int = 0, cpu: int = 0, **parts: object) -> Usage:
    """`at` seconds after START, `cpu` nanoseconds used."""
    parts.setdefault("memory", MemoryCounters(usage=100, working_set=60, rss=40, page_faults=7, major_page_faults=3))
    parts.setdefault("processes", ProcessCounters(processes=2))
    parts.setdefault("disk", DiskCounters(mountpoint="/var/lib/x", used_bytes=9, inodes_used=4))
    return Usage(time_ns=START + at * SECOND, cpu=CpuCounters(usage_ns=cpu), **parts)


# ---------------------------------------------------------------------- one container


async def test_container_in_full(store: Store, backend: Fake, stats: Stats) -> None:
    store.put_sandbox(pod())
    store.put_container(running(app="web"))
    backend.usages["c1"] = Usage(
        time_ns=START + 5,
        cpu=CpuCounters(usage_ns=1234, psi=PSI),
        memory=MemoryCounters(
            usage=100,
            working_set=60,
            rss=40,
            swap=10,
            limit=90,
            swap_limit=25,
            page_faults=7,
            major_page_faults=3,
            psi=PSI,
        ),
        disk=DiskCounters(mountpoint="/var/lib/x", used_bytes=9, inodes_used=4),
        io_psi=PSI,
    )
    found = await stats.container("c1")

    assert found.attributes is not None
    assert (found.attributes.id, found.attributes.metadata) == ("c1", ContainerMetadata(name="name-c1", attempt=2))
    assert (found.attributes.labels, found.attributes.annotations) == ({"app": "web"}, {"note": "own"})
    assert found.cpu is not None
    assert (found.cpu.timestamp, found.cpu.usage_core_nano_seconds, found.cpu.psi) == (START + 5, 1234, PSI)
    assert found.cpu.usage_nano_cores is None
    assert found.memory is not None
    assert (found.memory.timestamp, found.memory.psi) == (START + 5, PSI)
    assert (found.memory.usage_bytes, found.memory.working_set_bytes, found.memory.rss_bytes) == (100, 60, 40)
    assert (found.memory.available_bytes, found.memory.page_faults, found.memory.major_page_faults) == (30, 7, 3)
    assert found.swap is not None
    assert (found.swap.swap_usage_bytes, found.swap.swap_available_bytes) == (10, 15)
    assert found.io is not None
    assert found.io.psi == PSI
    assert found.writable_layer is not None
    assert found.writable_layer.fs_id is not None
    assert found.writable_layer.fs_id.mountpoint == "/var/lib/x"
    assert (found.writable_layer.used_bytes, found.writable_layer.inodes_used) == (9, 4)


async def test_what_is_not_measured_is_absent(store: Store, backend: Fake, stats: Stats) -> None:
    store.put_container(running())
    backend.usages["c1"] = Usage(time_ns=START)
    found = await stats.container("c1")
    assert (found.cpu, found.memory, found.swap, found.io, found.writable_layer) == (None,) * 5


async def test_without_limit_nothing_is_said_about_what_is_left(store: Store, backend: Fake, stats: Stats) -> None:
    store.put_container(running())
    backend.usages["c1"] = used()
    found = await stats.container("c1")
    assert found.memory is not None
    assert found.swap is not None
    assert found.memory.available_bytes is None
    assert found.swap.swap_available_bytes is None


async def test_available_memory_is_never_negative(store: Store, backend: Fake, stats: Stats) -> None:
    store.put_container(running())
    backend.usages["c1"] = used(memory=MemoryCounters(usage=100, working_set=60, limit=50))
    found = await stats.container("c1")
    assert found.memory is not None
    assert found.memory.available_bytes == 0


async def test_a_backend_without_clock_gets_ours(store: Store, backend: Fake, stats: Stats) -> None:
    store.put_container(running())
    backend.usages["c1"] = Usage(time_ns=0, cpu=CpuCounters(usage_ns=1))
    found = await stats.container("c1")
    assert found.cpu is not None
    assert found.cpu.timestamp == START


@pytest.mark.parametrize("record", [container(), running().exited(START + 1, 0)], ids=["created", "exited"])
async def test_one_that_does_not_run_has_attributes_and_layer(
    store: Store, backend: Fake, stats: Stats, record: ContainerRecord
) -> None:
    store.put_container(record)
    backend.usages["c1"] = used(cpu=5)
    found = await stats.container("c1")
    assert found.attributes is not None
    assert found.writable_layer is not None
    assert (found.cpu, found.memory, found.swap, found.io) == (None,) * 4


async def test_an_exited_container_the_engine_lost_still_has_attributes(store: Store, stats: Stats) -> None:
    store.put_container(running().lost(START, "gone"))
    found = await stats.container("c1")
    assert found.attributes is not None
    assert found.writable_layer is None


async def test_container_by_prefix(store: Store, backend: Fake, stats: Stats) -> None:
    store.put_container(running("abcdef"))
    backend.usages["abcdef"] = used()
    found = await stats.container("abc")
    assert found.attributes is not None
    assert found.attributes.id == "abcdef"


async def test_container_errors(store: Store, backend: Fake, stats: Stats) -> None:
    store.put_container(running())
    with pytest.raises(ContainerNotFound):
        await stats.container("nobody")
    with pytest.raises(InvalidArgument):
        await stats.container("")
    backend.usages["c1"] = Unavailable("engine is down")
    with pytest.raises(Unavailable, match="engine is down"):
        await stats.container("c1")
    backend.usages["c1"] = OSError("cgroup vanished")
    with pytest.raises(EngineError, match="cgroup vanished"):
        await stats.container("c1")


async def test_container_removed_while_measured(store: Store, backend: Fake, stats: Stats) -> None:
    store.put_container(running())
    backend.usages["c1"] = used()
    backend.before = store.drop_container
    with pytest.raises(ContainerNotFound):
        await stats.container("c1")
    assert len(stats._rates) == 0


async def test_container_that_exits_while_measured(store: Store, backend: Fake, stats: Stats) -> None:
    store.put_container(running())
    backend.usages["c1"] = used(cpu=5)
    backend.before = lambda id: store.put_container(running().exited(START + 1, 0))
    found = await stats.container("c1")
    assert found.cpu is None


# ---------------------------------------------------------------------- rates


def test_rate_needs_two_samples_far_enough_apart() -> None:
    rates = Rates()
    assert rates.rate("c", 0, 0) is None
    assert rates.rate("c", SECOND // 2, 100) is None
    assert rates.rate("c", SECOND, SECOND // 4) == SECOND // 4


def test_rate_of_frequent_samples_looks_back_one_to_two_windows() -> None:
    rates = Rates()
    step = SECOND // 10
    # One full core for five seconds, then idle: two seconds later the rate must be down to nothing.
    for tick in range(51):
        last = rates.rate("c", tick * step, tick * step)
    assert last == SECOND
    for tick in range(51, 72):
        last = rates.rate("c", tick * step, 50 * step)
    assert last == 0


@pytest.mark.parametrize(("time", "total"), [(5 * SECOND, 50), (20 * SECOND, 5)], ids=["clock", "counter"])
def test_rate_starts_over_when_something_goes_back(time: int, total: int) -> None:
    rates = Rates()
    rates.rate("c", 8 * SECOND, 30)
    assert rates.rate("c", 10 * SECOND, 40) == 5
    assert rates.rate("c", time, total) is None
    assert rates.rate("c", time + 2 * SECOND, total + 8) == 4


async def test_rate_between_two_calls(store: Store, backend: Fake, stats: Stats) -> None:
    store.put_container(running())
    backend.usages["c1"] = used(0, 1 * SECOND)
    await stats.container("c1")
    backend.usages["c1"] = used(2, 2 * SECOND)
    (found,) = await stats.containers(None)
    assert found.cpu is not None
    assert found.cpu.usage_nano_cores == SECOND // 2


async def test_dropped_containers_and_pods_are_forgotten(store: Store, backend: Fake, stats: Stats) -> None:
    store.put_sandbox(pod())
    store.put_container(running())
    backend.usages.update(pod1=used(), c1=used())
    await stats.pods(None)
    assert len(stats._rates) == 2
    store.drop_container("c1")
    store.drop_sandbox("pod1")
    assert len(stats._rates) == 0


# ---------------------------------------------------------------------- lists of containers


def ids(found: list) -> list[str]:
    return [each.attributes.id for each in found]


@pytest.fixture
def crowd(store: Store, backend: Fake) -> None:
    for sandbox in (pod("pod1", tier="a"), pod("pod2", tier="b")):
        store.put_sandbox(sandbox)
    for record in (running("c1", "pod1", app="x"), running("c2", "pod1", app="y"), running("d1", "pod2", app="x")):
        store.put_container(record)
    for id in ("pod1", "pod2", "c1", "c2", "d1"):
        backend.usages[id] = used()


@pytest.mark.usefixtures("crowd")
@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        (None, ["d1", "c2", "c1"]),
        (ContainerStatsFilter(), ["d1", "c2", "c1"]),
        (ContainerStatsFilter(id="d"), ["d1"]),
        (ContainerStatsFilter(id="nobody"), []),
        (ContainerStatsFilter(pod_sandbox_id="pod1"), ["c2", "c1"]),
        (ContainerStatsFilter(label_selector={"app": "x"}), ["d1", "c1"]),
        (ContainerStatsFilter(pod_sandbox_id="pod1", label_selector={"app": "x"}), ["c1"]),
        (ContainerStatsFilter(id="c1", pod_sandbox_id="pod2"), []),
    ],
)
async def test_list_filters(stats: Stats, filter: ContainerStatsFilter | None, expected: list[str]) -> None:
    assert ids(await stats.containers(filter)) == expected


@pytest.mark.usefixtures("crowd")
@pytest.mark.parametrize(
    "error",
    [ContainerNotFound("c2"), EngineError("odd"), OSError("gone"), Unavailable("x"), Unsupported("x")],
    ids=repr,
)
async def test_one_that_fails_is_left_out(backend: Fake, stats: Stats, error: Exception) -> None:
    backend.usages["c2"] = error
    assert ids(await stats.containers(None)) == ["d1", "c1"]


@pytest.mark.usefixtures("crowd")
async def test_one_removed_meanwhile_is_left_out(store: Store, backend: Fake, stats: Stats) -> None:
    backend.before = lambda id: store.drop_container("c2")
    assert ids(await stats.containers(None)) == ["d1", "c1"]


async def test_list_of_none_that_can_be_measured_is_empty(store: Store, stats: Stats) -> None:
    store.put_container(running())
    assert await stats.containers(None) == []


@pytest.mark.usefixtures("crowd")
@pytest.mark.parametrize("error", [Unavailable("engine is down"), Unsupported("no")], ids=repr)
async def test_lists_fail_when_the_engine_itself_is_the_reason(backend: Fake, stats: Stats, error: Exception) -> None:
    for id in backend.usages:
        backend.usages[id] = error
    for call in (stats.containers(None), stats.pods(None), stats.pod_metrics()):
        with pytest.raises(type(error)):
            await call


@pytest.mark.parametrize("populated", [False, True])
async def test_a_backend_that_does_not_measure_is_unsupported(store: Store, populated: bool) -> None:
    stats = Stats(store, Silent(None, state_dir=Path()), lambda: START)
    if populated:
        store.put_sandbox(pod())
        store.put_container(running())
        for one in (stats.container("c1"), stats.pod("pod1")):
            with pytest.raises(Unsupported, match="'silent'"):
                await one
    for many in (stats.containers(None), stats.pods(None), stats.pod_metrics()):
        with pytest.raises(Unsupported):
            await many
    with pytest.raises(Unsupported):
        stats.descriptors()


async def test_measuring_is_concurrent_but_bounded(store: Store, backend: Fake, stats: Stats) -> None:
    for number in range(200):
        store.put_container(running(f"c{number}"))
        backend.usages[f"c{number}"] = used(cpu=number)
    backend.gate = asyncio.Event()
    call = asyncio.create_task(stats.containers(None))
    await backend.full.wait()
    backend.gate.set()
    found = await call
    assert backend.busiest == 64
    assert [(each.attributes.id, each.cpu.usage_core_nano_seconds) for each in found] == [
        (f"c{number}", number) for number in reversed(range(200))
    ]


async def test_cancelling_a_list_stops_measuring(store: Store, backend: Fake, stats: Stats) -> None:
    for number in range(100):
        store.put_container(running(f"c{number}"))
    backend.gate = asyncio.Event()
    call = asyncio.create_task(stats.containers(None))
    await backend.full.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert backend.busy == 0


# ---------------------------------------------------------------------- pods


async def test_pod_sums_its_parts(store: Store, backend: Fake, stats: Stats) -> None:
    store.put_sandbox(pod(app="web"))
    store.put_container(running("c1"))
    store.put_container(container("c2"))
    backend.usages.update(pod1=used(0, 100), c1=used(0, 1000), c2=used(0, 5))
    await stats.pod("pod1")
    backend.usages.update(pod1=used(2, 300), c1=used(2, 2000), c2=used(2, 5))
    found = await stats.pod("pod")

    assert found.attributes is not None
    assert found.attributes.metadata == PodSandboxMetadata(name="name-pod1", uid="u", namespace="ns")
    assert (found.attributes.id, found.attributes.labels, found.attributes.annotations) == (
        "pod1",
        {"app": "web"},
        {"note": "pod"},
    )
    linux = found.linux
    assert linux is not None
    assert linux.cpu is not None
    assert (linux.cpu.timestamp, linux.cpu.usage_core_nano_seconds) == (START + 2 * SECOND, 2300)
    assert linux.cpu.usage_nano_cores == 100 + 500
    assert linux.memory is not None
    assert (linux.memory.usage_bytes, linux.memory.working_set_bytes, linux.memory.rss_bytes) == (200, 120, 80)
    assert (linux.memory.page_faults, linux.memory.major_page_faults, linux.memory.available_bytes) == (14, 6, None)
    assert linux.process is not None
    assert linux.process.process_count == 4
    assert linux.network is None
    assert [(each.attributes.id, each.cpu is not None) for each in linux.containers if each.attributes] == [
        ("c1", True),
        ("c2", False),
    ]


async def test_pod_limit_tells_what_is_available(store: Store, backend: Fake, stats: Stats) -> None:
    record = pod()
    store.put_sandbox(
        SandboxRecord(
            id=record.id,
            config=record.config,
            handler="",
            created_at=START,
            ready_at=START,
            resources=LinuxContainerResources(memory_limit_in_bytes=100),
        )
    )
    backend.usages["pod1"] = used()
    found = await stats.pod("pod1")
    assert found.linux is not None
    assert found.linux.memory is not None
    assert found.linux.memory.available_bytes == 40


def interfaces(*names: str) -> tuple[InterfaceCounters, ...]:
    return tuple(
        InterfaceCounters(name=name, rx_bytes=at, rx_errors=at + 1, tx_bytes=at + 2, tx_errors=at + 3)
        for at, name in enumerate(names)
    )


@pytest.mark.parametrize(
    ("names", "default", "others"),
    [
        (("lo", "eth0", "net1"), "eth0", ["net1"]),
        (("net1", "lo", "eth0"), "eth0", ["net1"]),
        (("lo", "net1", "net2"), "net1", ["net2"]),
    ],
)
async def test_pod_network(
    store: Store, backend: Fake, stats: Stats, names: tuple[str, ...], default: str, others: list[str]
) -> None:
    store.put_sandbox(pod())
    backend.usages["pod1"] = used(network=interfaces(*names))
    found = await stats.pod("pod1")
    assert found.linux is not None
    network = found.linux.network
    assert network is not None
    assert network.timestamp == START
    assert network.default_interface is not None
    assert network.default_interface.name == default
    at = names.index(default)
    shown = network.default_interface
    assert (shown.rx_bytes, shown.rx_errors, shown.tx_bytes, shown.tx_errors) == (at, at + 1, at + 2, at + 3)
    assert [interface.name for interface in network.interfaces] == others


@pytest.mark.parametrize(("names", "host"), [(("lo",), False), ((), False), (("eth0",), True)])
async def test_pod_without_network_of_its_own(
    store: Store, backend: Fake, stats: Stats, names: tuple[str, ...], host: bool
) -> None:
    store.put_sandbox(pod(host_network=host))
    backend.usages["pod1"] = used(network=interfaces(*names))
    found = await stats.pod("pod1")
    assert found.linux is not None
    assert found.linux.network is None


async def test_pod_errors(store: Store, backend: Fake, stats: Stats) -> None:
    with pytest.raises(SandboxNotFound):
        await stats.pod("nobody")
    store.put_sandbox(pod().stopped(START))
    with pytest.raises(Unavailable, match="not ready"):
        await stats.pod("pod1")
    store.put_sandbox(pod())
    with pytest.raises(Unavailable, match="stopped while"):
        await stats.pod("pod1")
    backend.usages["pod1"] = EngineError("odd")
    with pytest.raises(EngineError, match="odd"):
        await stats.pod("pod1")
    backend.usages["pod1"] = used()
    backend.before = store.drop_sandbox
    with pytest.raises(SandboxNotFound):
        await stats.pod("pod1")


async def test_a_failing_container_does_not_spoil_its_pod(store: Store, backend: Fake, stats: Stats) -> None:
    store.put_sandbox(pod())
    store.put_container(running())
    backend.usages.update(pod1=used(0, 7), c1=EngineError("odd"))
    found = await stats.pod("pod1")
    assert found.linux is not None
    assert found.linux.cpu is not None
    assert (found.linux.cpu.usage_core_nano_seconds, found.linux.containers) == (7, ())


@pytest.mark.usefixtures("crowd")
@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        (None, ["pod2", "pod1"]),
        (PodSandboxStatsFilter(), ["pod2", "pod1"]),
        (PodSandboxStatsFilter(id="pod1"), ["pod1"]),
        (PodSandboxStatsFilter(label_selector={"tier": "b"}), ["pod2"]),
        (PodSandboxStatsFilter(id="nobody"), []),
    ],
)
async def test_pod_list_filters(stats: Stats, filter: PodSandboxStatsFilter | None, expected: list[str]) -> None:
    assert ids(await stats.pods(filter)) == expected


@pytest.mark.usefixtures("crowd")
async def test_pod_list_gives_each_pod_its_own_containers(stats: Stats) -> None:
    found = await stats.pods(None)
    assert [ids(list(each.linux.containers)) for each in found if each.linux] == [["d1"], ["c1", "c2"]]


@pytest.mark.usefixtures("crowd")
async def test_pod_list_holds_ready_ones_that_work(store: Store, backend: Fake, stats: Stats) -> None:
    store.put_sandbox(pod("pod3").stopped(START))
    store.put_sandbox(pod("pod4"))
    backend.usages["pod2"] = OSError("gone")
    assert ids(await stats.pods(None)) == ["pod1"]


# ---------------------------------------------------------------------- metrics of pods


@pytest.mark.usefixtures("crowd")
async def test_metrics_of_ready_pods_and_running_containers(store: Store, backend: Fake, stats: Stats) -> None:
    store.put_container(container("c3", "pod1"))
    store.put_container(running("c4", "pod1").exited(START, 0))
    store.put_sandbox(pod("pod3").stopped(START))
    backend.usages["c2"] = EngineError("odd")
    backend.usages["pod1"] = used(network=interfaces("lo", "eth0"))
    found = await stats.pod_metrics()
    assert [(each.pod_sandbox_id, [own.container_id for own in each.container_metrics]) for each in found] == [
        ("pod2", ["d1"]),
        ("pod1", ["c1"]),
    ]
    assert found[0].metrics == ()
    assert {metric.label_values[-1] for metric in found[1].metrics} == {"eth0"}


async def test_host_network_is_not_the_pods(store: Store, backend: Fake, stats: Stats) -> None:
    store.put_sandbox(pod(host_network=True))
    backend.usages["pod1"] = used(network=interfaces("eth0"))
    (found,) = await stats.pod_metrics()
    assert found.metrics == ()


@pytest.mark.usefixtures("crowd")
async def test_metrics_of_a_pod_that_stops_meanwhile_are_left_out(store: Store, backend: Fake, stats: Stats) -> None:
    backend.before = lambda id: store.put_sandbox(pod("pod2").stopped(START))
    assert [each.pod_sandbox_id for each in await stats.pod_metrics()] == ["pod1"]


@pytest.mark.usefixtures("crowd")
async def test_lists_are_empty_when_all_pods_stop_meanwhile(store: Store, backend: Fake, stats: Stats) -> None:
    def stop(id: str) -> None:
        for name in ("pod1", "pod2"):
            store.put_sandbox(pod(name).stopped(START))

    backend.before = stop
    assert await stats.pods(None) == []
    store.put_sandbox(pod("pod1"))
    assert await stats.pod_metrics() == []


async def test_descriptors_come_from_the_table(stats: Stats) -> None:
    assert stats.descriptors() is metrics.DESCRIPTORS
