"""What becomes a container's usage, from the files of v1, v2 and both."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from criadapt.errors import PermissionDenied
from criadapt.metering import files, procnet
from criadapt.metering.meter import Subject, oom_kills
from criadapt.model.stats import PsiData
from criadapt.model.usage import (
    BlockCounters,
    CpuCounters,
    HugepageCounters,
    MemoryCounters,
    ProcessCounters,
    Usage,
)

from .conftest import ID, NOW, PID, PRESSURE, UNIFIED_MOUNT, V1_FILES, V1_MOUNTS, V2_FILES, Machine, v1_cgroups

SUBJECT = Subject(id=ID, pid=PID)

MEMORY = MemoryCounters(
    usage=10485760,
    working_set=10485760 - 4194304,
    rss=2097152,
    cache=6291456,
    mapped_file=1048576,
    kernel=409600,
    swap=8192,
    max_usage=20971520,
    limit=104857600,
    swap_limit=52428800,
    fail_count=3,
    oom_kills=2,
    page_faults=5000,
    major_page_faults=11,
)
BLOCK = BlockCounters(device="/dev/vda", major=254, minor=0, reads=10, writes=20, read_bytes=40960, write_bytes=81920)
PROCESSES = ProcessCounters(
    processes=2,
    threads=9,
    threads_max=100,
    file_descriptors=3,
    sockets=2,
    ulimits=(
        ("max_open_files", 1024),
        ("max_processes", -1),
        ("max_core_file_size", 0),
        ("max_stack_size", 8388608),
    ),
)


def cgroup_dir(machine: Machine, hierarchy: str = "") -> Path:
    base = machine.root / "sys/fs/cgroup"
    return base / hierarchy / "docker" / ID if hierarchy else base / "system.slice" / f"docker-{ID}.scope"


# ---------------------------------------------------------------------------------------------- everything


def test_v1_says_it_all_but_pressure(v1: Machine) -> None:
    assert v1.meter().usage(SUBJECT) == Usage(
        time_ns=NOW,
        cpu=CpuCounters(
            usage_ns=5123456789,
            user_ns=3_120_000_000,
            system_ns=2_000_000_000,
            periods=40,
            throttled_periods=7,
            throttled_ns=1234567,
        ),
        memory=MEMORY,
        processes=PROCESSES,
        block=(BLOCK,),
        hugepages=(
            HugepageCounters(page_size="2MB", usage=2097152, max_usage=4194304),
            HugepageCounters(page_size="1GB", usage=0, max_usage=0),
        ),
    )


def test_v2_says_it_all(v2: Machine) -> None:
    usage = v2.meter().usage(SUBJECT)
    assert usage.cpu is not None
    assert usage.memory is not None
    assert replace(usage.cpu, psi=None) == CpuCounters(
        usage_ns=5123456000,
        user_ns=3123456000,
        system_ns=2_000_000_000,
        periods=40,
        throttled_periods=7,
        throttled_ns=1234000,
    )
    assert replace(usage.memory, psi=None) == MEMORY
    assert usage.processes == PROCESSES
    assert usage.block == (BLOCK,)
    assert usage.cpu.psi == usage.memory.psi == usage.io_psi
    assert usage.io_psi is not None
    assert usage.io_psi.some == PsiData(total=1_200_345_000, avg10=1.5, avg60=0.25, avg300=0.07)
    assert usage.hugepages == (
        HugepageCounters(page_size="2MB", usage=2097152, max_usage=2097152),
        HugepageCounters(page_size="1GB", usage=0, max_usage=0),
    )


def test_a_hybrid_machine_counts_by_v1_and_takes_pressure_from_v2(tmp_path: Path) -> None:
    machine = Machine(tmp_path, V1_MOUNTS + UNIFIED_MOUNT)
    for hierarchy, contents in V1_FILES.items():
        machine.cgroup(f"{hierarchy}/docker/{ID}", contents)
    pressures = {f"{name}.pressure": PRESSURE for name in ("cpu", "memory", "io")}
    machine.cgroup(f"unified/docker/{ID}", {**pressures, "cpu.stat": "usage_usec 1\n"})
    machine.process(v1_cgroups(f"/docker/{ID}") + f"0::/docker/{ID}\n")
    usage = machine.meter().usage(SUBJECT)
    assert usage.cpu is not None
    assert usage.memory is not None
    assert usage.cpu.usage_ns == 5123456789
    assert replace(usage.memory, psi=None) == MEMORY
    assert usage.cpu.psi == usage.memory.psi == usage.io_psi
    assert usage.io_psi is not None


def test_a_known_path_needs_no_look_at_the_process(v1: Machine) -> None:
    (v1.root / f"proc/{PID}/cgroup").unlink()
    usage = v1.meter().usage(Subject(id=ID, pid=PID, cgroup=f"/docker/{ID}"))
    assert usage.memory == MEMORY


def test_only_who_holds_the_network_has_interfaces(v2: Machine) -> None:
    meter = v2.meter()
    assert meter.usage(SUBJECT).network == ()
    (eth0,) = meter.usage(Subject(id=ID, pid=PID, network=True)).network
    assert (eth0.name, eth0.rx_bytes, eth0.tx_dropped) == ("eth0", 12345678, 4)


# ---------------------------------------------------------------------------------------------- what is not there


def test_without_limits_there_are_none(v1: Machine, v2: Machine) -> None:
    huge = "9223372036854771712"
    stat = V1_FILES["memory"]["memory.stat"].replace("limit 104857600", f"limit {huge}")
    (cgroup_dir(v1, "memory") / "memory.stat").write_text(stat)
    for name in ("memory.max", "memory.swap.max", "pids.max"):
        (cgroup_dir(v2) / name).write_text("max\n")
    for machine in (v1, v2):
        usage = machine.meter().usage(SUBJECT)
        assert usage.memory is not None
        assert usage.memory.limit is usage.memory.swap_limit is None
    assert usage.processes is not None
    assert usage.processes.threads_max is None


def test_a_parents_limit_is_not_the_containers(v1: Machine) -> None:
    (cgroup_dir(v1, "memory") / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    usage = v1.meter().usage(SUBJECT)
    assert usage.memory is not None
    assert usage.memory.limit is usage.memory.swap_limit is None


def test_swap_that_is_not_accounted_is_none_used(v1: Machine) -> None:
    stat = V1_FILES["memory"]["memory.stat"].replace("hierarchical_memsw_limit 157286400\n", "")
    (cgroup_dir(v1, "memory") / "memory.stat").write_text(stat.replace("total_swap 8192\n", ""))
    (cgroup_dir(v1, "memory") / "memory.memsw.limit_in_bytes").unlink()
    usage = v1.meter().usage(SUBJECT)
    assert usage.memory is not None
    assert (usage.memory.swap, usage.memory.swap_limit, usage.memory.limit) == (4, None, 104857600)


def test_an_older_kernel_lacks_figures_not_the_rest(v2: Machine) -> None:
    directory = cgroup_dir(v2)
    for name in ("memory.peak", "cpu.pressure", "memory.pressure", "io.pressure", "memory.swap.current"):
        (directory / name).unlink()
    stat = V2_FILES["memory.stat"].replace("kernel 409600\n", "")
    (directory / "memory.stat").write_text(stat)
    usage = v2.meter().usage(SUBJECT)
    assert usage.cpu is not None
    assert usage.memory is not None
    assert usage.cpu.psi is usage.memory.psi is usage.io_psi is None
    assert usage.memory.max_usage == usage.memory.usage
    assert usage.memory.kernel == 32768 + 65536 + 960 + 100000
    assert usage.memory.swap == 0


def test_the_working_set_is_never_negative(v2: Machine) -> None:
    (cgroup_dir(v2) / "memory.current").write_text("4096\n")
    usage = v2.meter().usage(SUBJECT)
    assert usage.memory is not None
    assert usage.memory.working_set == 0


def test_a_controller_that_is_not_there_leaves_its_part_out(v1: Machine) -> None:
    mounts = "".join(line for line in V1_MOUNTS.splitlines(keepends=True) if "blkio" not in line and "pids" not in line)
    v1.write("proc/self/mountinfo", mounts)
    (cgroup_dir(v1, "memory") / "tasks").write_text("1\n2\n3\n")
    usage = v1.meter().usage(SUBJECT)
    assert usage.block == ()
    assert usage.memory == MEMORY
    assert usage.processes is not None
    assert (usage.processes.processes, usage.processes.threads, usage.processes.threads_max) == (2, 3, None)


def test_a_device_without_a_name_is_known_by_its_numbers(v2: Machine) -> None:
    (v2.root / "sys/dev/block/254:0").unlink()
    (block,) = v2.meter().usage(SUBJECT).block
    assert (block.device, block.major, block.minor) == ("", 254, 0)


def test_a_machine_without_cgroups_still_says_that_it_runs(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "24 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n")
    machine.process("0::/\n")
    assert machine.meter().usage(SUBJECT) == Usage(time_ns=NOW)


# ---------------------------------------------------------------------------------------------- the end


def test_a_container_that_does_not_run_has_nothing_but_a_disk(v1: Machine) -> None:
    assert v1.meter().usage(Subject(id=ID)) == Usage(time_ns=NOW)


@pytest.mark.parametrize("gone", ["process", "cgroup", "members"])
def test_a_container_that_ends_has_no_half_figures(v1: Machine, gone: str) -> None:
    meter = v1.meter()
    assert meter.usage(SUBJECT).cpu is not None
    if gone == "process":
        shutil.rmtree(v1.root / f"proc/{PID}")
        meter.forget(ID)
    elif gone == "cgroup":
        shutil.rmtree(cgroup_dir(v1, "pids"))
    else:
        (cgroup_dir(v1, "pids") / "cgroup.procs").write_text("")
    assert meter.usage(SUBJECT) == Usage(time_ns=NOW)


@pytest.mark.parametrize("gone", ["memory.current", "cpu.stat"])
def test_what_vanishes_while_it_is_read_leaves_its_part_out(v2: Machine, gone: str) -> None:
    (cgroup_dir(v2) / gone).unlink()
    usage = v2.meter().usage(SUBJECT)
    assert (usage.memory is None, usage.cpu is None) == (gone == "memory.current", gone == "cpu.stat")


def test_another_process_under_the_same_id_is_looked_up_anew(v2: Machine) -> None:
    meter = v2.meter()
    meter.usage(SUBJECT)
    v2.cgroup(f"other/{ID}", {**V2_FILES, "memory.current": "5000000\n"}, procs="4800\n")
    v2.process(f"0::/other/{ID}\n", pid=4800)
    usage = meter.usage(Subject(id=ID, pid=4800))
    assert usage.memory is not None
    assert usage.memory.usage == 5000000


def test_being_forbidden_is_not_being_gone(v2: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    meter = v2.meter()

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files.os, "open", refuse)
    with pytest.raises(PermissionDenied, match="has to run as root"):
        meter.usage(SUBJECT)


def test_oom_kills_are_read_in_both_versions_until_the_cgroup_is_gone(v1: Machine, v2: Machine) -> None:
    for machine in (v1, v2):
        group = machine.meter().cgroup(PID, ID)
        assert group is not None
        assert oom_kills(group) == 2
        shutil.rmtree(machine.root / "sys/fs/cgroup")
        assert oom_kills(group) is None


# ---------------------------------------------------------------------------------------------- processes


def test_holdings_are_counted_again_when_their_time_has_come(v2: Machine) -> None:
    now = 100.0
    counted = procnet.Counted(lambda: now)
    proc = str(v2.root / "proc")
    assert counted.of(proc, PID, [PID]).file_descriptors == 3
    (v2.root / f"proc/{PID}/fd/3").symlink_to("socket:[5000]")
    now += procnet.EVERY / 2
    assert counted.of(proc, PID, [PID]).file_descriptors == 3
    now += procnet.EVERY
    assert counted.of(proc, PID, [PID]) == procnet.holdings(proc, PID, [PID])
    assert (counted.of(proc, PID, [PID]).file_descriptors, counted.of(proc, PID, [PID]).sockets) == (4, 3)


def test_processes_that_are_gone_or_of_another_namespace_hold_nothing(v2: Machine) -> None:
    assert procnet.holdings(str(v2.root / "proc"), 1, [0, 99999]) == procnet.Holdings()


def test_only_so_many_descriptors_are_looked_at(v2: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(procnet, "_LINKS", 4)
    v2.process("0::/\n", pid=4712)
    held = procnet.holdings(str(v2.root / "proc"), PID, [PID, 4712])
    assert held.sockets in (2, 3)  # in what order a directory lists is nobody's promise
    assert held.file_descriptors == 6
