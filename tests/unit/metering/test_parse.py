"""The kernel's formats, one by one."""

from __future__ import annotations

import pytest

from criadapt.metering import parse

from .conftest import LIMITS, NET_DEV, PRESSURE


@pytest.mark.parametrize("text", [b"max\n", b"9223372036854771712\n", b"9223372036854710272\n", b"-1\n", b"", None])
def test_no_limit_is_none_in_both_versions_and_with_any_page_size(text: bytes | None) -> None:
    assert parse.limit(text) is None


def test_a_limit_is_a_number() -> None:
    assert parse.limit(b"0\n") == 0
    assert parse.limit(b"104857600\n") == 104857600


def test_a_missing_or_odd_number_is_the_default() -> None:
    assert parse.number(None) == parse.number(b"") == parse.number(b"max\n") == 0
    assert parse.number(b"17\n") == 17


def test_a_table_without_its_odd_lines() -> None:
    assert parse.table(b"user 3\nsystem 4\n") == {b"user": 3, b"system": 4}
    assert parse.table(b"user 3\nodd\nkey value\nthree 1 2\nsystem 4\n") == {b"user": 3, b"system": 4}
    assert parse.table(None) == {}


def test_pressure_is_in_nanoseconds_and_percent() -> None:
    stats = parse.psi(PRESSURE.encode())
    assert stats is not None
    assert stats.some is not None
    assert stats.full is not None
    assert (stats.some.total, stats.some.avg10, stats.some.avg60, stats.some.avg300) == (1_200_345_000, 1.5, 0.25, 0.07)
    assert stats.full.total == 345_000


def test_pressure_of_an_old_kernel_has_no_full_for_cpu() -> None:
    stats = parse.psi(b"some avg10=0.00 avg60=0.00 avg300=0.00 total=5\n")
    assert stats is not None
    assert stats.full is None
    assert parse.psi(b"") is parse.psi(None) is None


def test_io_stat_passes_over_devices_without_io_and_knows_cost_keys() -> None:
    text = b"8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=50331648 dios=3021 cost.usage=9\n7:0 \n254:1 cost.wait=1\n"
    assert parse.io_stat(text) == {(8, 16): parse.Transfers(3, 4, 1, 2)}


def test_blkio_takes_what_is_there() -> None:
    assert parse.blkio(b"8:0 Read 3\n8:0 Total 3\nTotal 3\n", None) == {(8, 0): parse.Transfers(reads=3)}
    assert parse.blkio(b"Total 0\n", b"Total 0\n") == {}


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("hugepages-64kB", "64KB"),
        ("hugepages-2048kB", "2MB"),
        ("hugepages-32768kB", "32MB"),
        ("hugepages-1048576kB", "1GB"),
        ("README", ""),
    ],
)
def test_sizes_of_huge_pages_as_the_controller_names_them(name: str, size: str) -> None:
    assert parse.page_size(name) == size


def test_interfaces_without_the_loopback_and_without_a_space_after_the_colon() -> None:
    (eth0,) = parse.interfaces(NET_DEV.encode())
    assert eth0.name == "eth0"
    assert (eth0.rx_bytes, eth0.rx_packets, eth0.rx_errors, eth0.rx_dropped) == (12345678, 9012, 1, 2)
    assert (eth0.tx_bytes, eth0.tx_packets, eth0.tx_errors, eth0.tx_dropped) == (7654321, 8901, 3, 4)
    assert parse.interfaces(b"heading\nheading\n eth0: odd\n") == parse.interfaces(None) == ()


def test_soft_limits_by_name() -> None:
    wanted = ("max_open_files", "max_processes", "max_stack_size", "max_nice_priority", "max_unknown")
    assert parse.limits(LIMITS.encode(), wanted) == (
        ("max_open_files", 1024),
        ("max_processes", -1),
        ("max_stack_size", 8388608),
        ("max_nice_priority", 0),
    )


def test_cgroup_paths_may_have_colons() -> None:
    text = b"4:cpu,cpuacct:/a:b\n1:name=systemd:/c\n0::/d\n"
    assert parse.cgroups(text) == [("cpu", "/a:b"), ("cpuacct", "/a:b"), ("name=systemd", "/c"), ("", "/d")]


def test_mounts_with_optional_fields_escapes_and_one_over_the_other() -> None:
    lines = parse.mounts(
        b"1 0 8:1 / /mnt\\040a rw - ext4 /dev/sda rw\n"
        b"2 0 8:2 /sub /mnt/b rw shared:1 master:2 - xfs /dev/sdb rw,attr2\n"
        b"3 0 8:3 / /mnt\\040a rw - ext4 /dev/sdc rw\n"
        b"odd line\n"
    )
    assert [(line.point, line.source) for line in lines] == [("/mnt/b", "/dev/sdb"), ("/mnt a", "/dev/sdc")]
    assert lines[0].root == "/sub"
    assert "attr2" in lines[0].options
