"""Writable layers: how much a container has written, and how large the filesystem is that holds it.

The kernel does not count by directory, so somebody has to walk. One thread does, one layer at a time, and it rests
four times as long as it worked: whoever asks gets the last result at once.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from criadapt.errors import CriadaptError
from criadapt.metering import parse
from criadapt.metering.files import absent, read_list
from criadapt.model.usage import DiskCounters

log = logging.getLogger(__name__)

EVERY = 60.0
"""Seconds between two walks of a layer, at least."""

_AT_REST = 10
"""How much rarer the layer of a container that does not run is walked: nobody but ``docker cp`` writes to it."""

_SHARE = 200
"""A layer that takes t seconds of CPU is not walked again for 200 times t: half a percent of a core."""

_SLICE = 0.002
_REST = 4
_ENTRIES = 32
_BLOCK = 512  # unit of st_blocks, whatever the filesystem's own is (stat(2))
_DEPTH = 200
_READ = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Size(NamedTuple):
    """Disk space in use, as du counts it, and inodes, the directory itself included."""

    used_bytes: int
    inodes: int


class Stopped(Exception):
    """The walk is not wanted any more."""


def measure(path: str, breathe: Callable[[], None] = lambda: None) -> Size | None:
    """Walk a directory; None if there is none. `breathe` is called every few entries.

    Hard links count once; other filesystems and symbolic links are not entered; what vanishes meanwhile does not
    count. A container may turn a directory into a link while it is walked, so every step is relative to the open
    parent and refuses links. Nesting deeper than 200 is not entered.
    """
    try:
        fd = os.open(path, _READ)
    except OSError as error:
        if absent(error):
            return None
        raise
    stack: list[tuple[int, list[str]]] = [(fd, [])]
    try:
        walk = _Walk(os.fstat(fd), breathe)
        walk.scan(*stack[-1])
        while stack:
            fd, below = stack[-1]
            if not below or len(stack) > _DEPTH:
                stack.pop()
                os.close(fd)
                continue
            with suppress(OSError):
                stack.append((os.open(below.pop(), _READ, dir_fd=fd), []))
                walk.scan(*stack[-1])
        return Size(walk.blocks * _BLOCK, walk.inodes)
    finally:
        for fd, _ in stack:
            os.close(fd)


class _Walk:
    """What was counted so far, beginning with the top directory."""

    def __init__(self, top: os.stat_result, breathe: Callable[[], None]) -> None:
        self.blocks = top.st_blocks
        self.inodes = 1
        self._device = top.st_dev
        self._breathe = breathe
        self._linked: set[int] = set()
        self._countdown = _ENTRIES

    def scan(self, fd: int, below: list[str]) -> None:
        """Count the entries of one directory; those to be entered next are added to `below`."""
        with os.scandir(fd) as entries:
            for entry in entries:
                self._countdown -= 1
                if not self._countdown:
                    self._countdown = _ENTRIES
                    self._breathe()
                try:
                    stat = entry.stat(follow_symlinks=False)
                except OSError:
                    continue
                if stat.st_dev != self._device:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.name)
                elif stat.st_nlink > 1:
                    if stat.st_ino in self._linked:
                        continue
                    self._linked.add(stat.st_ino)
                self.blocks += stat.st_blocks
                self.inodes += 1


@dataclass(slots=True, eq=False)
class _Layer:
    """A layer and what is known of it."""

    path: str
    mountpoint: str
    due: float = 0.0
    waiting: bool = False
    wanted: bool = True
    running: bool = True
    counters: DiskCounters | None = None
    mount: tuple[str, str] | None = None


class Layers:
    """The last known size of each layer. `proc` and `clock` are for tests."""

    def __init__(
        self, *, every: float = EVERY, proc: str = "/proc", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._every = every
        self._proc = proc
        self._clock = clock
        self._layers: dict[str, _Layer] = {}
        self._queue: deque[_Layer] = deque()
        self._wake = threading.Semaphore(0)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._complained: set[str] = set()

    def counters(self, id: str, path: str, *, mountpoint: str = "", running: bool = True) -> DiskCounters | None:
        """What is known of the layer at `path`; None at first. Never walks, but has it walked when it is time."""
        layer = self._layers.get(id)
        if layer is None or layer.path != path:
            self.forget(id)
            layer = self._layers[id] = _Layer(path, mountpoint)
        if layer.running and not running:
            layer.due = min(layer.due, self._clock() + self._every)  # what it wrote last
        layer.running = running
        known = layer.counters
        if not layer.waiting and self._clock() >= layer.due and not self._stop.is_set():
            layer.waiting = True
            self._queue.append(layer)
            self._wake.release()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="criadapt-layers", daemon=True)
                self._thread.start()
        return known

    def forget(self, id: str) -> None:
        """The container was removed, and its layer with it."""
        layer = self._layers.pop(id, None)
        if layer is not None:
            layer.wanted = False
            self._complained.discard(layer.path)

    def close(self) -> None:
        """End the thread; what is known stays."""
        self._stop.set()
        self._wake.release()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    # ------------------------------------------------------------------ in the thread

    def _work(self) -> None:
        while True:
            self._wake.acquire()
            if self._stop.is_set():
                return
            layer = self._queue.popleft()
            try:
                if layer.wanted:
                    self._walk(layer)
            except Stopped:
                pass
            except Exception as error:
                # The thread serves all containers: whatever is odd about one must not end it.
                layer.due = self._clock() + self._every
                if layer.path not in self._complained:
                    self._complained.add(layer.path)
                    log.warning("writable layer %r could not be measured: %r", layer.path, error)
            finally:
                layer.waiting = False

    def _walk(self, layer: _Layer) -> None:
        pace = _Pace(lambda: self._stop.is_set() or not layer.wanted, self._stop.wait)
        size = measure(layer.path, pace.breathe)
        layer.counters = None if size is None else self._counters(layer, size)
        usual = self._every if layer.running else self._every * _AT_REST
        # The jitter spreads the layers of containers that started together.
        layer.due = self._clock() + max(usual * random.uniform(1.0, 1.25), _SHARE * pace.spent())
        pace.breathe(last=True)

    def _counters(self, layer: _Layer, size: Size) -> DiskCounters | None:
        try:
            filesystem = os.statvfs(layer.path)
        except FileNotFoundError:
            return None
        if layer.mount is None:  # mountinfo has some lines for every container: looked up once per layer
            layer.mount = _mount_of(layer.path, self._proc)
        point, device = layer.mount
        return DiskCounters(
            mountpoint=layer.mountpoint or point,
            used_bytes=size.used_bytes,
            inodes_used=size.inodes,
            device=device,
            limit_bytes=filesystem.f_blocks * filesystem.f_frsize,
            inodes_total=filesystem.f_files,
            inodes_free=filesystem.f_ffree,
        )


class _Pace:
    """Keeps a walk from taking a core, and the interpreter, for long."""

    def __init__(self, unwanted: Callable[[], bool], rest: Callable[[float], object]) -> None:
        self._unwanted = unwanted
        self._rest = rest
        self._begin = self._last = time.thread_time()

    def spent(self) -> float:
        """CPU seconds so far."""
        return time.thread_time() - self._begin

    def breathe(self, *, last: bool = False) -> None:
        """Rest in proportion to the work done since the last rest, once that is worth it. Raises Stopped."""
        if self._unwanted():
            raise Stopped
        worked = time.thread_time() - self._last
        if worked > _SLICE or last:
            self._rest(worked * _REST)
            self._last = time.thread_time()


def _mount_of(path: str, proc: str) -> tuple[str, str]:
    """Mount point and device of the filesystem at `path`: of the mounts above it the innermost one."""
    path = os.path.realpath(path)
    best = ("/", "")
    with suppress(CriadaptError):
        for line in parse.mounts(read_list(f"{proc}/self/mountinfo")):
            point = line.point.rstrip("/")
            if (path == point or path.startswith(point + "/")) and len(line.point) >= len(best[0]):
                best = (line.point, line.source)
    return best
