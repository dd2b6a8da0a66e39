"""Where a container's cgroups are, on every kind of machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from criadapt.errors import Unsupported
from criadapt.metering.cgroup import Hierarchies, members

from .conftest import ID, PID, UNIFIED_MOUNT, V1_MOUNTS, V2_MOUNTS, Machine, v1_cgroups


def test_co_mounted_controllers_share_a_directory(v1: Machine) -> None:
    group = Hierarchies(str(v1.root)).of_process(PID)
    assert group is not None
    base = f"{v1.root}/sys/fs/cgroup"
    assert group.v1["cpu"] == group.v1["cpuacct"] == f"{base}/cpu,cpuacct/docker/{ID}"
    assert group.v1["memory"] == f"{base}/memory/docker/{ID}"
    assert group.v2 == ""
    assert group.home == f"{base}/pids/docker/{ID}"


def test_named_hierarchies_count_nothing(v1: Machine) -> None:
    group = Hierarchies(str(v1.root)).of_process(PID)
    assert group is not None
    assert not any(key.startswith("name=") for key in group.v1)


def test_v2_is_one_directory(v2: Machine) -> None:
    group = Hierarchies(str(v2.root)).of_process(PID)
    assert group is not None
    assert group.v1 == {}
    assert group.v2 == group.home == f"{v2.root}/sys/fs/cgroup/system.slice/docker-{ID}.scope"


def test_a_hybrid_machine_gives_both(tmp_path: Path) -> None:
    machine = Machine(tmp_path, V1_MOUNTS + UNIFIED_MOUNT)
    machine.process(v1_cgroups(f"/docker/{ID}") + f"0::/docker/{ID}\n")
    group = Hierarchies(str(machine.root)).of_process(PID)
    assert group is not None
    assert group.v2 == f"{tmp_path}/sys/fs/cgroup/unified/docker/{ID}"
    assert group.directory("memory").endswith(f"/memory/docker/{ID}")
    assert group.directory("rdma") == group.v2


def test_on_a_hybrid_machine_the_engines_own_cgroup_is_not_the_containers(tmp_path: Path) -> None:
    machine = Machine(tmp_path, V1_MOUNTS + UNIFIED_MOUNT)
    machine.process(v1_cgroups(f"/docker/{ID}") + "0::/system.slice/docker.service\n")
    group = Hierarchies(str(machine.root)).of_process(PID)
    assert group is not None
    assert group.v2 == ""


def test_the_root_of_a_hierarchy_is_the_machine_and_no_container(v1: Machine) -> None:
    v1.write("proc/9/cgroup", "5:memory:/\n12:pids:/a\n0::/\n")
    group = Hierarchies(str(v1.root)).of_process(9)
    assert group is not None
    assert set(group.v1) == {"pids"}
    v1.write("proc/10/cgroup", v1_cgroups("/") + "0::/\n")
    alone = Hierarchies(str(v1.root)).of_process(10)
    assert alone is not None
    assert alone.home == ""


def test_a_program_that_moved_itself_is_still_measured_as_a_whole(v2: Machine) -> None:
    v2.write("proc/9/cgroup", f"0::/system.slice/docker-{ID}.scope/init.scope\n")
    group = Hierarchies(str(v2.root)).of_process(9, ID)
    assert group is not None
    assert group.v2.endswith(f"/docker-{ID}.scope")


def test_a_process_that_is_gone_or_whose_cgroup_is_has_none(v2: Machine) -> None:
    hierarchies = Hierarchies(str(v2.root))
    assert hierarchies.of_process(99999) is None
    v2.write("proc/9/cgroup", f"0::/docker/{ID} (deleted)\n")
    assert hierarchies.of_process(9) is None


def test_a_part_of_a_hierarchy_mounted_alone(tmp_path: Path) -> None:
    mounts = V2_MOUNTS.replace("0:28 / /sys/fs/cgroup", "0:28 /kubepods /sys/fs/cgroup")
    machine = Machine(tmp_path, mounts)
    machine.process(f"0::/kubepods/burstable/{ID}\n")
    group = Hierarchies(str(machine.root)).of_process(PID)
    assert group is not None
    assert group.v2 == f"{tmp_path}/sys/fs/cgroup/burstable/{ID}"


def test_from_a_cgroup_namespace_outside_of_which_all_is_mounted(tmp_path: Path) -> None:
    machine = Machine(tmp_path, V2_MOUNTS.replace("0:28 / /sys/fs/cgroup", "0:28 /../.. /sys/fs/cgroup"))
    machine.process(f"0::/../../docker/{ID}\n")
    group = Hierarchies(str(machine.root)).of_process(PID)
    assert group is not None
    assert group.v2 == f"{tmp_path}/sys/fs/cgroup/docker/{ID}"


@pytest.mark.parametrize(("root", "path"), [("/", f"/../{ID}"), ("/..", f"/{ID}"), ("/docker/self", f"/docker/{ID}")])
def test_a_cgroup_out_of_reach_is_named_with_what_to_do(tmp_path: Path, root: str, path: str) -> None:
    machine = Machine(tmp_path, V2_MOUNTS.replace("0:28 / /sys/fs/cgroup", f"0:28 {root} /sys/fs/cgroup"))
    machine.process(f"0::{path}\n")
    with pytest.raises(Unsupported, match=rf"'{path}' of process {PID} .*--cgroupns=host"):
        Hierarchies(str(machine.root)).of_process(PID)


def test_a_known_path_is_the_same_in_every_hierarchy(v1: Machine) -> None:
    hierarchies = Hierarchies(str(v1.root))
    known, found = hierarchies.at(f"/docker/{ID}"), hierarchies.of_process(PID)
    assert found is not None
    assert {key: known.v1[key] for key in found.v1} == dict(found.v1)
    assert known.v2 == ""


def test_members_are_those_of_nested_cgroups_too(v2: Machine) -> None:
    home = v2.cgroup("a", {}, procs="")
    v2.cgroup("a/b", {}, procs="1\n2\n")
    v2.cgroup("a/c/d", {}, procs="3\n")
    assert sorted(members(str(home)) or ()) == [1, 2, 3]


def test_members_of_nothing_and_of_a_cgroup_that_does_not_tell(v2: Machine) -> None:
    assert members(str(v2.root / "gone")) == []
    (empty := v2.root / "threaded").mkdir()
    assert members(str(empty)) is None
