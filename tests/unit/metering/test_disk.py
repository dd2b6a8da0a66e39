"""Writable layers: what counts, and that nobody waits for it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from criadapt.metering import disk
from criadapt.metering.disk import Layers, Size, measure
from criadapt.model.usage import DiskCounters

from .conftest import until


def used(*paths: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in paths)


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    """A layer of two directories and two files."""
    (tmp_path / "layer/etc").mkdir(parents=True)
    (tmp_path / "layer/etc/passwd").write_text("root\n" * 4000)
    (tmp_path / "layer/data").write_bytes(b"x" * 100_000)
    return tmp_path / "layer"


def known(layers: Layers, id: str, path: Path, **more: object) -> DiskCounters:
    """Ask until the thread has an answer."""
    return until(lambda: layers.counters(id, str(path), **more))  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------- walking


def test_space_is_that_of_blocks_and_directories_are_inodes(layer: Path) -> None:
    every = (layer, layer / "etc", layer / "etc/passwd", layer / "data")
    assert measure(str(layer)) == Size(used(*every), 4)


def test_a_sparse_file_uses_what_was_written(layer: Path) -> None:
    before = measure(str(layer))
    assert before is not None
    with (layer / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    after = measure(str(layer))
    assert after is not None
    assert after.used_bytes - before.used_bytes < 1 << 20
    assert after.inodes == before.inodes + 1


def test_hard_links_count_once(layer: Path) -> None:
    before = measure(str(layer))
    for number in range(5):
        os.link(layer / "data", layer / f"etc/link{number}")
    assert measure(str(layer)) == before


def test_symbolic_links_count_but_are_not_followed(layer: Path, tmp_path: Path) -> None:
    before = measure(str(layer))
    assert before is not None
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/big").write_bytes(b"x" * 1_000_000)
    (layer / "link").symlink_to(tmp_path / "elsewhere")
    (layer / "round").symlink_to(layer)
    after = measure(str(layer))
    assert after is not None
    assert after.inodes == before.inodes + 2
    assert after.used_bytes - before.used_bytes == used(layer / "link", layer / "round")


def test_a_layer_that_is_a_link_or_nothing_has_no_size(layer: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(layer)
    assert measure(str(tmp_path / "gone")) is None
    assert measure(str(tmp_path / "link")) is None


def test_another_filesystem_is_not_entered(tmp_path: Path) -> None:
    # /dev has /dev/shm or /dev/pts below it on any machine that runs this.
    inside = [entry for entry in os.scandir("/dev") if os.path.ismount(entry.path)]
    if not inside:
        pytest.skip("nothing is mounted below /dev here")
    seen: list[str] = []
    size = measure("/dev")
    for path, below, names in os.walk("/dev"):
        below[:] = [name for name in below if not os.path.ismount(f"{path}/{name}")]
        seen += [f"{path}/{name}" for name in (*below, *names) if not os.path.ismount(f"{path}/{name}")]
    assert size is not None
    assert abs(size.inodes - len(seen) - 1) <= 5  # devices come and go


def test_what_vanishes_while_it_is_walked_does_not_count(layer: Path) -> None:
    for number in range(200):
        (layer / f"d{number}").mkdir()
        (layer / f"d{number}/file").write_text("x")

    def vanish() -> None:
        for number in range(200):
            (layer / f"d{number}/file").unlink(missing_ok=True)
            if (layer / f"d{number}").exists():
                (layer / f"d{number}").rmdir()

    size = measure(str(layer), vanish)
    assert size is not None
    assert 4 <= size.inodes <= 404


def test_a_deep_tree_is_walked_without_as_many_open_files(layer: Path) -> None:
    path = str(layer)
    for _ in range(100):
        path += "/d"
    os.makedirs(path)
    opened = len(os.listdir("/proc/self/fd"))
    assert measure(str(layer)) == Size(
        used(layer, layer / "etc", layer / "etc/passwd", layer / "data")
        + sum(used(Path(str(layer) + "/d" * depth)) for depth in range(1, 101)),
        104,
    )
    assert len(os.listdir("/proc/self/fd")) == opened


def test_a_walk_that_is_stopped_leaves_nothing_open(layer: Path) -> None:
    for number in range(100):
        (layer / f"etc/{number}").write_text("")

    def stop() -> None:
        raise disk.Stopped

    opened = len(os.listdir("/proc/self/fd"))
    with pytest.raises(disk.Stopped):
        measure(str(layer), stop)
    assert len(os.listdir("/proc/self/fd")) == opened


# ---------------------------------------------------------------------------------------------- asking


def test_the_first_answer_is_none_and_a_later_one_is_the_size(layers: Layers, layer: Path) -> None:
    assert layers.counters("a", str(layer)) is None
    counters = known(layers, "a", layer)
    size = measure(str(layer))
    filesystem = os.statvfs(layer)
    assert size is not None
    assert (counters.used_bytes, counters.inodes_used) == size
    assert counters.limit_bytes == filesystem.f_blocks * filesystem.f_frsize
    assert counters.inodes_total == filesystem.f_files
    assert os.path.ismount(counters.mountpoint)
    assert layer.is_relative_to(counters.mountpoint)


def test_the_backend_may_name_the_mount_point(layers: Layers, layer: Path) -> None:
    assert known(layers, "a", layer, mountpoint="/var/lib/docker").mountpoint == "/var/lib/docker"


def test_a_layer_is_not_walked_again_before_its_time(layer: Path) -> None:
    now = 0.0
    layers = Layers(every=60, clock=lambda: now)
    try:
        first = known(layers, "a", layer)
        (layer / "more").write_bytes(b"x" * 1_000_000)
        now += 59
        assert layers.counters("a", str(layer)) is first
        known(layers, "b", layer)  # one walk at a time: that of "a" would have been before
        assert layers.counters("a", str(layer)) is first
        now += 17
        layers.counters("a", str(layer))
        until(lambda: layers.counters("a", str(layer)) is not first)
        counters = layers.counters("a", str(layer))
        assert counters is not None
        assert counters.used_bytes >= first.used_bytes + 1_000_000
    finally:
        layers.close()


def test_a_layer_at_rest_is_walked_once_more_and_then_seldom(layer: Path) -> None:
    now = 0.0
    layers = Layers(every=60, clock=lambda: now)
    try:
        running = known(layers, "a", layer)
        assert layers.counters("a", str(layer), running=False) is running
        now += 80
        layers.counters("a", str(layer), running=False)
        until(lambda: layers.counters("a", str(layer), running=False) is not running)
        final = layers.counters("a", str(layer), running=False)
        now += 300
        layers.counters("a", str(layer), running=False)
        known(layers, "b", layer)
        assert layers.counters("a", str(layer), running=False) is final
    finally:
        layers.close()


def test_a_layer_that_is_removed_has_no_figures(layer: Path, tmp_path: Path) -> None:
    now = 0.0
    layers = Layers(every=60, clock=lambda: now)
    try:
        known(layers, "a", layer)
        layer.rename(tmp_path / "elsewhere")
        now += 80
        until(lambda: layers.counters("a", str(layer)) is None)
    finally:
        layers.close()


def test_one_odd_layer_is_reported_once_and_costs_the_others_nothing(
    layer: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 0.0
    layers = Layers(every=60, clock=lambda: now)
    walk: Callable[..., Size | None] = disk.measure

    def odd(path: str, breathe: Callable[[], None]) -> Size | None:
        if path == "/odd":
            raise PermissionError(13, "Permission denied")
        return walk(path, breathe)

    monkeypatch.setattr(disk, "measure", odd)
    try:
        for id in ("b", "c"):
            assert layers.counters("a", "/odd") is None
            known(layers, id, layer)
            now += 100
        assert [record.message for record in caplog.records] == [
            "writable layer '/odd' could not be measured: PermissionError(13, 'Permission denied')"
        ]
    finally:
        layers.close()


def test_closing_ends_a_walk_that_goes_on(layer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = threading.enumerate()
    layers = Layers()
    walking = threading.Event()

    def endless(path: str, breathe: Callable[[], None]) -> Size | None:
        while True:
            walking.set()
            breathe()

    monkeypatch.setattr(disk, "measure", endless)
    layers.counters("a", str(layer))
    assert walking.wait(10)
    layers.close()
    assert threading.enumerate() == before
    assert layers.counters("a", str(layer)) is None


def test_forgetting_ends_a_walk_and_the_next_goes_on(layer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layers = Layers()
    walking = threading.Event()
    walk = disk.measure

    def endless(path: str, breathe: Callable[[], None]) -> Size | None:
        while path == "/endless":
            walking.set()
            breathe()
        return walk(path, breathe)

    monkeypatch.setattr(disk, "measure", endless)
    try:
        layers.counters("a", "/endless")
        assert walking.wait(10)
        layers.forget("a")
        assert known(layers, "b", layer).inodes_used == 4
    finally:
        layers.close()
