"""Virtual time: what lets a mock container live on through a restart of criadapt.

Every process has a :class:`Clock` that starts when its container started. Sleeping moves the clock, and so does
working; the process then waits until the wall clock has caught up. A clock that lies in the past does not wait, so a
machine that is built again with its old start time replays its past at once and ends up where it would be.

One :class:`Scheduler` per machine wakes its processes strictly in the order of their clocks, and only when no other
process of the machine is running. Hence several processes interleave in one way only, replayed or live, and an idle
machine costs one timer or none.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

LEAD = 2_000_000  # ns that a clock may run ahead of the wall before its process waits: saves timers
MILLISECOND = 1_000_000
SECOND = 1_000_000_000
# A process that works without ever sleeping is slowed down, so that an empty loop cannot take a core of the host:
# after so many steps, a step takes at least so long.
_THROTTLE = ((50_000, 10 * MILLISECOND), (3_000, MILLISECOND))
_STEPS_PER_TURN = 200  # steps after which even a replaying process lets the event loop run


class Timer(Protocol):
    """A pending call that can be taken back."""

    def cancel(self) -> None:
        """Take it back."""


class Wall(Protocol):
    """The real time; tests pass their own."""

    def now(self) -> int:
        """Nanoseconds since the epoch."""

    def call_at(self, time_ns: int, callback: Callable[[], None]) -> Timer:
        """Call back once it is `time_ns`, at once if it is past."""


class SystemWall:
    """The system's clock and the running event loop's timers."""

    def now(self) -> int:
        """Nanoseconds since the epoch."""
        return time.time_ns()

    def call_at(self, time_ns: int, callback: Callable[[], None]) -> Timer:
        """Call back once it is `time_ns`."""
        return asyncio.get_running_loop().call_later(max(0, time_ns - time.time_ns()) / SECOND, callback)


SYSTEM_WALL = SystemWall()


class Scheduler:
    """Wakes the processes of one machine in the order of their clocks."""

    __slots__ = (
        "_closed",
        "_frozen",
        "_heap",
        "_kicked",
        "_pauses",
        "_running",
        "_serial",
        "_thawed",
        "_timer",
        "_watchers",
        "wall",
    )

    def __init__(self, wall: Wall = SYSTEM_WALL, pauses: Iterable[tuple[int, int]] = ()) -> None:
        self.wall = wall
        self._pauses = sorted(pauses)
        self._heap: list[tuple[int, int, Callable[[], None] | asyncio.Future[None]]] = []
        self._serial = 0
        self._running = 0
        self._timer: tuple[int, Timer] | None = None
        self._kicked = False
        self._frozen: int | None = None
        self._thawed: asyncio.Future[None] | None = None
        self._closed = False
        self._watchers: list[asyncio.Future[None]] | None = None

    @property
    def frozen(self) -> bool:
        """Whether no process may run."""
        return self._frozen is not None

    @property
    def pauses(self) -> tuple[tuple[int, int], ...]:
        """Past freezes as (from, to), to hand to the machine's successor after a restart."""
        return tuple(self._pauses)

    def at(self, time_ns: int, callback: Callable[[], None]) -> None:
        """Call back at `time_ns`, after everything that happens before."""
        self._push(time_ns, callback)
        self._kick()

    async def present(self) -> None:
        """Wait, from outside, until all that should have happened by now has; not for a frozen machine."""
        if self._closed or self._frozen is not None:
            return
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watchers = [*(self._watchers or ()), reached]
        self.at(self.wall.now(), lambda: None if reached.done() else reached.set_result(None))
        try:
            await reached
        finally:
            self._watchers.remove(reached)

    def earliest(self) -> int | None:
        """When the next sleeper wakes."""
        return self._heap[0][0] if self._heap else None

    def enter(self) -> None:
        """Count a process as running, so that others wait for it to block."""
        self._running += 1

    def leave(self) -> None:
        """The process blocks or ends."""
        self._running -= 1
        self._kick()

    async def until(self, time_ns: int) -> int:
        """Block the calling process until `time_ns`; returns that, or later when the machine was frozen then."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        time_ns = self._push(time_ns, future)
        self.leave()
        try:
            await future
        except asyncio.CancelledError:
            if not future.done() or future.cancelled():
                self.enter()  # woken by its killer, not by _turn, which would have counted it
                self._forget()
            raise
        return self._after_pauses(time_ns)

    async def wait(self, future: asyncio.Future[T]) -> T:
        """Block the calling process until `future` is done."""
        self.leave()
        try:
            result = await future
            while self._frozen is not None:
                await asyncio.shield(self._thaw_future())
        finally:
            self.enter()
        return result

    def freeze(self) -> None:
        """Stop: nothing wakes until :meth:`thaw`."""
        if self._frozen is None:
            self._frozen = self.wall.now()
            self._stop_timer()

    def thaw(self) -> None:
        """Go on. What should have woken meanwhile wakes now, as a frozen cgroup has it."""
        if self._frozen is None:
            return
        self._pauses.append((self._frozen, self.wall.now()))
        self._frozen = None
        self._heap = [(self._after_pauses(entry[0]), *entry[1:]) for entry in self._heap]
        heapq.heapify(self._heap)
        if self._thawed is not None:
            self._thawed.set_result(None)
            self._thawed = None
        self._kick()

    def close(self) -> None:
        """Forget all sleepers; nothing is woken any more."""
        self._closed = True
        self._heap.clear()
        self._stop_timer()
        for watcher in self._watchers or ():
            if not watcher.done():
                watcher.set_result(None)

    def _push(self, time_ns: int, waiter: Callable[[], None] | asyncio.Future[None]) -> int:
        time_ns = self._after_pauses(time_ns)
        self._serial += 1
        heapq.heappush(self._heap, (time_ns, self._serial, waiter))
        return time_ns

    def _after_pauses(self, time_ns: int) -> int:
        for begin, end in self._pauses:
            if begin <= time_ns < end:
                time_ns = end
        return time_ns

    def _thaw_future(self) -> asyncio.Future[None]:
        if self._thawed is None:
            self._thawed = asyncio.get_running_loop().create_future()
        return self._thawed

    def _kick(self) -> None:
        """Look for the next sleeper once everything that can run has run."""
        if self._running == 0 and self._heap and not self._kicked and self._frozen is None:
            self._kicked = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        """Wake the first sleeper if it is time, else set the timer for it."""
        self._kicked = False
        if self._running or self._closed or self._frozen is not None:
            return
        while self._heap:
            time_ns, _, waiter = self._heap[0]
            dead = isinstance(waiter, asyncio.Future) and waiter.done()
            if not dead and time_ns > self.wall.now():
                self._set_timer(time_ns)
                return
            heapq.heappop(self._heap)
            if dead:
                continue
            if isinstance(waiter, asyncio.Future):
                self._running += 1
                waiter.set_result(None)
                return
            waiter()
            self._kick()
            return
        self._stop_timer()

    def _set_timer(self, time_ns: int) -> None:
        if self._timer is not None:
            if self._timer[0] == time_ns:
                return
            self._timer[1].cancel()
        self._timer = (time_ns, self.wall.call_at(time_ns, self._expired))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer[1].cancel()
            self._timer = None

    def _expired(self) -> None:
        self._timer = None
        self._turn()

    def _forget(self) -> None:
        """Drop killed sleepers when they are the greater part of the heap."""
        dead = sum(isinstance(entry[2], asyncio.Future) and entry[2].done() for entry in self._heap)
        if dead * 2 > len(self._heap):
            self._heap = [e for e in self._heap if not (isinstance(e[2], asyncio.Future) and e[2].done())]
            heapq.heapify(self._heap)
            if not self._heap:
                self._stop_timer()


class Clock:
    """The time of one process."""

    __slots__ = ("_steps", "busy_ns", "now_ns", "scheduler")

    def __init__(self, scheduler: Scheduler, now_ns: int) -> None:
        self.scheduler = scheduler
        self.now_ns = now_ns
        self.busy_ns = 0
        self._steps = 0

    async def sleep(self, seconds: float) -> None:
        """Let `seconds` pass; forever for infinity."""
        if seconds == float("inf"):
            await self.scheduler.wait(asyncio.get_running_loop().create_future())
        await self.sleep_until(self.now_ns + round(seconds * SECOND))

    async def sleep_until(self, time_ns: int) -> None:
        """Let the time until `time_ns` pass."""
        if time_ns - self.now_ns >= MILLISECOND:
            self._steps = 0
        self.now_ns = await self.scheduler.until(max(time_ns, self.now_ns))

    async def work(self, ns: int) -> None:
        """Use the processor for `ns`."""
        self._steps += 1
        for steps, least in _THROTTLE:
            if self._steps > steps:
                ns = max(ns, least)
                break
        self.now_ns += ns
        self.busy_ns += ns
        earliest = self.scheduler.earliest()
        if (
            (earliest is not None and earliest < self.now_ns)
            or self._steps % _STEPS_PER_TURN == 0
            or self.now_ns > self.scheduler.wall.now() + LEAD
        ):
            self.now_ns = await self.scheduler.until(self.now_ns)

    async def settle(self) -> None:
        """Wait until the wall clock shows this time too."""
        if self.now_ns > self.scheduler.wall.now():
            self.now_ns = await self.scheduler.until(self.now_ns)

    def wait(self, future: asyncio.Future[T]) -> Coroutine[Any, Any, T]:
        """Block until `future` is done; the clock stays, see :meth:`reach`."""
        return self.scheduler.wait(future)

    def reach(self, time_ns: int) -> None:
        """Something that happened at `time_ns` was seen, so it cannot be earlier any more."""
        if time_ns - self.now_ns >= MILLISECOND:
            self._steps = 0  # it waited, so it is not a busy loop
        self.now_ns = max(self.now_ns, time_ns)

    def reach_present(self) -> None:
        """Something from outside the machine was seen, which happens in real time."""
        self._steps = 0
        self.reach(self.scheduler.wall.now())
