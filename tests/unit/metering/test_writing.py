"""Limits written into a cgroup: all or none, and errors that name what is wrong."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from criadapt.errors import EngineError, FailedPrecondition, InvalidArgument, PermissionDenied, Unsupported
from criadapt.metering import writing
from criadapt.metering.cgroup import Cgroup, Hierarchies
from criadapt.metering.writing import Setting, hugepages, unified, write

from .conftest import PID, Machine


def group_of(machine: Machine) -> Cgroup:
    group = Hierarchies(str(machine.root)).of_process(PID)
    assert group is not None
    return group


def content(group: Cgroup, controller: str, key: str) -> str:
    # A file of the kernel is replaced by what is written; one of a disk keeps what was behind it.
    return Path(group.directory(controller), key).read_text().splitlines()[0]


@pytest.fixture(autouse=True)
def kernel(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Writes replace, as in cgroupfs; a test may add errors by value."""
    refused: dict[str, int] = {}

    def put(path: str, value: str) -> None:
        if value in refused:
            raise OSError(refused[value], os.strerror(refused[value]))
        Path(path).write_text(value + "\n")

    monkeypatch.setattr(writing, "_put", put)
    return refused


def test_unified_keys_are_written_into_v2(v2: Machine) -> None:
    group = group_of(v2)
    write(group, unified({"memory.oom.group": "1", "memory.high": " 52428800 "}))
    assert content(group, "", "memory.oom.group") == "1"
    assert content(group, "", "memory.high") == "52428800"


def test_unified_on_v1_is_refused(v1: Machine) -> None:
    with pytest.raises(Unsupported, match=r'unified\["memory.high"\]: .* unified hierarchy \(cgroup v2\)'):
        write(group_of(v1), unified({"memory.high": "1"}))


def test_a_controller_is_written_where_it_is(v1: Machine, v2: Machine) -> None:
    for machine in (v1, v2):
        group = group_of(machine)
        write(group, [Setting("pids", "pids.max", "55")])
        assert content(group, "pids", "pids.max") == "55"


def test_hugepages_of_both_versions_and_of_reservations_where_there_are_any(v1: Machine, v2: Machine) -> None:
    limits = {"2MB": 4194304, "1GB": 0}
    assert [setting.key for setting in hugepages(group_of(v1), limits)] == [
        "hugetlb.2MB.limit_in_bytes",
        "hugetlb.1GB.limit_in_bytes",
    ]
    settings = hugepages(group_of(v2), limits)
    assert [setting.key for setting in settings] == ["hugetlb.2MB.max", "hugetlb.2MB.rsvd.max", "hugetlb.1GB.max"]
    write(group_of(v2), settings)
    assert content(group_of(v2), "hugetlb", "hugetlb.2MB.max") == "4194304"


def test_without_a_hugetlb_controller_limits_of_huge_pages_are_passed_over(v2: Machine) -> None:
    group = group_of(v2)
    Path(group.v2, "cgroup.controllers").write_text("cpu memory\n")
    assert hugepages(group, {"2MB": 0}) == []
    assert hugepages(Cgroup({}), {"2MB": 0}) == []


def test_a_size_the_machine_has_not_is_named(v2: Machine) -> None:
    group = group_of(v2)
    with pytest.raises(InvalidArgument, match=r'hugepage_limits\["3MB"\]: there is no file \'hugetlb.3MB.max\''):
        write(group, hugepages(group, {"3MB": 0}))


@pytest.mark.parametrize(
    "key", ["../cgroup.procs", "memory/max", "memory", "", "Memory.max", "memory.max\n", "memory..max", "/etc/passwd"]
)
def test_what_is_not_a_key_is_refused(v2: Machine, key: str) -> None:
    with pytest.raises(InvalidArgument, match="is not the name of a cgroup file"):
        write(group_of(v2), unified({key: "1"}))


@pytest.mark.parametrize("key", ["cgroup.procs", "cgroup.kill", "cgroup.freeze", "cgroup.subtree_control"])
def test_what_acts_instead_of_limiting_is_refused(v2: Machine, key: str) -> None:
    with pytest.raises(InvalidArgument, match=f"'{key}' is not a limit"):
        write(group_of(v2), unified({key: "1"}))


@pytest.mark.parametrize("value", ["", " ", "1\n2", "a\0b", "9" * 5000])
def test_what_is_not_one_line_is_refused(v2: Machine, value: str) -> None:
    with pytest.raises(InvalidArgument, match=r'unified\["pids.max"\]: value .* is not one line of text'):
        write(group_of(v2), unified({"pids.max": value}))


def test_nothing_is_written_when_a_later_setting_is_wrong(v2: Machine) -> None:
    group = group_of(v2)
    with pytest.raises(InvalidArgument, match=r"no file 'memory.unknown'.*not enabled"):
        write(group, unified({"pids.max": "7", "memory.unknown": "1"}))
    assert content(group, "", "pids.max") == "100"


def test_a_key_of_the_other_version_is_explained(v1: Machine) -> None:
    with pytest.raises(InvalidArgument, match="'memory' is one of cgroup v1, whose files have other names"):
        write(group_of(v1), [Setting("memory", "memory.max", "1")])


def test_what_was_written_is_taken_back_in_reverse_order(v2: Machine, kernel: dict[str, int]) -> None:
    group = group_of(v2)
    kernel["odd"] = errno.EINVAL
    with pytest.raises(InvalidArgument, match=r'unified\["memory.high"\]: the kernel does not take \'odd\''):
        write(group, unified({"pids.max": "7", "memory.max": "9", "memory.high": "odd"}))
    assert content(group, "", "pids.max") == "100"
    assert content(group, "", "memory.max") == "104857600"


@pytest.mark.parametrize(
    ("value", "before"),
    [
        ("254:0 rbps=1", "254:0 rbps=1048576 wbps=max riops=max wiops=max"),
        ("8:0 rbps=1", "8:0 rbps=max wbps=max riops=max wiops=max"),
    ],
)
def test_a_devices_line_is_taken_back_alone(v2: Machine, kernel: dict[str, int], value: str, before: str) -> None:
    group = group_of(v2)
    kernel["odd"] = errno.EINVAL
    with pytest.raises(InvalidArgument):
        write(group, unified({"io.max": value, "memory.high": "odd"}))
    assert content(group, "", "io.max") == before


@pytest.mark.parametrize(
    ("number", "raised"),
    [
        (errno.ERANGE, InvalidArgument),
        (errno.EOPNOTSUPP, InvalidArgument),
        (errno.EBUSY, FailedPrecondition),
        (errno.EACCES, PermissionDenied),
        (errno.EROFS, PermissionDenied),
        (errno.EIO, EngineError),
    ],
)
def test_each_refusal_of_the_kernel_has_its_error(
    v2: Machine, kernel: dict[str, int], number: int, raised: type[Exception]
) -> None:
    kernel["odd"] = number
    with pytest.raises(raised, match=r"pids\.max"):
        write(group_of(v2), unified({"pids.max": "odd"}))


def test_a_container_that_stopped_is_named_as_such(v2: Machine) -> None:
    group = group_of(v2)
    shutil.rmtree(group.v2)
    with pytest.raises(FailedPrecondition, match="only a running container can be changed"):
        write(group, unified({"pids.max": "7"}))
