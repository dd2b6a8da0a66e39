"""This machine's own cgroups: what a process that works is said to use."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from criadapt.errors import InvalidArgument
from criadapt.metering.cgroup import Cgroup, Hierarchies
from criadapt.metering.disk import Layers
from criadapt.metering.meter import Meter, Subject, oom_kills
from criadapt.metering.writing import Setting, unified, write
from criadapt.model.usage import Usage

from .conftest import until

MIB = 1 << 20

WORKER = """
import os, socket, sys, threading, time
def step(name): print(name, flush=True); sys.stdin.readline()
step("begun")
end = time.process_time() + 0.3
while time.process_time() < end: sum(range(1000))
step("burnt")
memory = b"x" * (32 << 20)
step("filled")
sockets = [socket.socket() for _ in range(5)]
files = [open(os.devnull) for _ in range(7)]
stop = threading.Event()
threads = [threading.Thread(target=stop.wait, daemon=True) for _ in range(3)]
for thread in threads: thread.start()
step("opened")
with open(sys.argv[1] + "/written", "wb") as file: file.write(b"y" * (3 << 20)); file.flush(); os.fsync(file.fileno())
step("written")
"""


@dataclass
class Worker:
    """A process in a cgroup of its own, which goes on a step when told."""

    process: subprocess.Popen[str]
    group: Cgroup
    path: str
    layer: Path

    @property
    def subject(self) -> Subject:
        return Subject(id="worker", pid=self.process.pid, layer=str(self.layer))

    def reached(self, step: str) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == step

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def go_to(self, step: str) -> None:
        self.go_on()
        self.reached(step)


def directories(group: Cgroup) -> list[str]:
    return list(dict.fromkeys([*group.v1.values(), *([group.v2] if group.v2 else [])]))


@pytest.fixture
def group() -> Iterator[tuple[str, Cgroup]]:
    """A cgroup of our own in every hierarchy that lets us."""
    path = f"/criadapt-test-{os.getpid()}"
    found = Hierarchies().at(path)
    made: list[str] = []
    try:
        for directory in directories(found):
            os.mkdir(directory)
            made.append(directory)
        if not made:
            pytest.skip("no cgroups are mounted here")
        cpuset = found.v1.get("cpuset")
        for name in ("cpuset.cpus", "cpuset.mems") if cpuset else ():
            Path(f"{cpuset}/{name}").write_text(Path(f"{cpuset}/../{name}").read_text())
        yield path, found
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    finally:
        for directory in made:
            until(lambda directory=directory: removed(directory))


def removed(directory: str) -> bool:
    """A cgroup is busy for a moment after its last process was waited for."""
    try:
        os.rmdir(directory)
    except OSError:
        return False
    return True


@pytest.fixture
def worker(group: tuple[str, Cgroup], tmp_path: Path) -> Iterator[Worker]:
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        for directory in directories(group[1]):
            Path(f"{directory}/cgroup.procs").write_text(str(process.pid))
        found = Worker(process, group[1], group[0], tmp_path)
        found.reached("begun")
        yield found
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def meter(layers: Layers) -> Meter:
    return Meter(layers=layers)


@pytest.fixture
def usage(meter: Meter, worker: Worker) -> Callable[[], Usage]:
    return lambda: meter.usage(worker.subject)


def test_its_cgroup_is_found_by_process_as_by_path(worker: Worker) -> None:
    hierarchies = Hierarchies()
    assert hierarchies.of_process(worker.process.pid) == hierarchies.at(worker.path) == worker.group


def test_cpu_time_grows_as_it_works(worker: Worker, usage: Callable[[], Usage]) -> None:
    before = usage().cpu
    worker.go_to("burnt")
    after = usage().cpu
    if before is None or after is None:
        pytest.skip("no CPU accounting here")
    assert after.usage_ns - before.usage_ns >= 290_000_000
    assert abs(after.user_ns + after.system_ns - after.usage_ns) <= 50_000_000  # v1 splits in ticks
    assert usage().cpu is not None


def test_memory_grows_as_it_allocates(worker: Worker, usage: Callable[[], Usage]) -> None:
    worker.go_to("burnt")
    before = usage().memory
    worker.go_to("filled")
    after = usage().memory
    if before is None or after is None:
        pytest.skip("no memory controller here")
    assert after.rss - before.rss >= 31 * MIB
    assert after.usage >= after.working_set >= after.rss
    assert after.max_usage >= after.usage
    assert after.page_faults > before.page_faults
    assert after.limit is None
    assert after.oom_kills == oom_kills(worker.group) == 0


def test_limits_that_are_written_are_those_that_are_reported(worker: Worker, usage: Callable[[], Usage]) -> None:
    if "memory" not in worker.group.v1 or "pids" not in worker.group.v1:
        pytest.skip("no v1 memory and pids controllers here")
    write(
        worker.group,
        [Setting("memory", "memory.limit_in_bytes", str(256 * MIB)), Setting("pids", "pids.max", "77")],
    )
    found = usage()
    assert found.memory is not None
    assert found.memory.limit == 256 * MIB
    assert found.processes is not None
    assert found.processes.threads_max == 77


def test_a_refused_limit_leaves_the_others_as_they_were(worker: Worker, usage: Callable[[], Usage]) -> None:
    if "memory" not in worker.group.v1 or "pids" not in worker.group.v1:
        pytest.skip("no v1 memory and pids controllers here")
    for key, value in (("pids.max", "many"), ("pids.current", "1")):
        with pytest.raises(InvalidArgument, match=f"{key}: the kernel does not take '{value}'"):
            write(
                worker.group,
                [Setting("memory", "memory.limit_in_bytes", str(256 * MIB)), Setting("pids", key, value)],
            )
        found = usage()
        assert found.memory is not None
        assert found.memory.limit is None


def test_what_the_kernel_took_is_taken_back_when_it_refuses_the_next(worker: Worker) -> None:
    if not worker.group.v2 or not Path(worker.group.v2, "cgroup.max.depth").exists():
        pytest.skip("no v2 hierarchy here")
    write(worker.group, unified({"cgroup.max.depth": "3"}))
    with pytest.raises(InvalidArgument, match=r"cgroup\.max\.depth\"\]: the kernel does not take '-2'"):
        write(worker.group, unified({"cgroup.max.descendants": "5", "cgroup.max.depth": "-2"}))
    assert Path(worker.group.v2, "cgroup.max.descendants").read_text() == "max\n"
    assert Path(worker.group.v2, "cgroup.max.depth").read_text() == "3\n"


def test_sockets_descriptors_and_threads(worker: Worker, meter: Meter, layers: Layers) -> None:
    before = meter.usage(worker.subject).processes
    assert before is not None
    assert (before.processes, before.threads, before.sockets) == (1, 1, 0)
    assert dict(before.ulimits)["max_open_files"] > 0
    for step in ("burnt", "filled", "opened"):
        worker.go_to(step)
    after = Meter(layers=layers).usage(worker.subject).processes
    assert after is not None
    assert (after.processes, after.threads, after.sockets) == (1, 4, 5)
    assert after.file_descriptors == before.file_descriptors + 12


def test_a_process_that_needs_more_than_it_may_is_counted_as_killed(worker: Worker) -> None:
    if "memory" not in worker.group.v1:
        pytest.skip("no v1 memory controller here")
    keys = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
    here = [key for key in keys if Path(worker.group.v1["memory"], key).exists()]
    write(worker.group, [Setting("memory", key, str(16 * MIB)) for key in here])
    worker.go_to("burnt")
    worker.go_on()
    assert worker.process.wait() == -9
    assert oom_kills(worker.group) == 1


def test_pressure_is_there_where_the_kernel_keeps_it(worker: Worker, usage: Callable[[], Usage]) -> None:
    if not worker.group.v2 or not Path(worker.group.v2, "cpu.pressure").exists():
        pytest.skip("no pressure of cgroups here")
    found = usage()
    assert found.io_psi is not None
    assert found.io_psi.some is not None
    assert found.cpu is not None
    assert found.cpu.psi is not None


def test_the_layer_grows_as_it_writes(worker: Worker, usage: Callable[[], Usage], layers: Layers) -> None:
    before = until(lambda: usage().disk)
    for step in ("burnt", "filled", "opened", "written"):
        worker.go_to(step)
    layers.forget("worker")
    after = until(lambda: usage().disk)
    assert after.used_bytes - before.used_bytes >= 3 * MIB
    assert after.inodes_used == before.inodes_used + 1


def test_interfaces_of_its_network_namespace(worker: Worker, meter: Meter) -> None:
    own = Subject(id="net", pid=worker.process.pid, network=True)
    expected = {line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]} - {"lo"}
    assert {interface.name for interface in meter.usage(own).network} == expected


def test_one_that_ended_has_a_disk_only(worker: Worker, usage: Callable[[], Usage]) -> None:
    disk = until(lambda: usage().disk)
    worker.process.kill()
    worker.process.wait()
    found = until(lambda: (last := usage()).cpu is None and last)
    assert found == Usage(time_ns=found.time_ns, disk=disk)


def test_any_moment_may_be_the_last(group: tuple[str, Cgroup], layers: Layers) -> None:
    meter = Meter(layers=layers)
    for _ in range(20):
        process = subprocess.Popen(["sleep", "60"])
        try:
            for directory in directories(group[1]):
                Path(f"{directory}/cgroup.procs").write_text(str(process.pid))
            subject = Subject(id=f"short{process.pid}", pid=process.pid, network=True)
            assert meter.usage(subject).processes is not None
            process.kill()
            while (found := meter.usage(subject)).processes is not None:
                assert found.cpu is not None or "cpuacct" not in group[1].v1
        finally:
            process.kill()
            process.wait()
