"""A container's output out of the engine's log: whole, in the log's order, and to be continued at any chunk.

The engine stamps each entry when it has read it, each stream on its own, and then writes it to the log. So stamps are
not in order, several may be the same, and all pieces of a line longer than 16 KiB carry the stamp of the first, even if
the last came hours later. The port wants times that only grow, and that alone say where to go on after a restart.
Therefore an entry's time is made of its stamp and of the entries before it, always in the same way::

    place(i) = max(stamp(i), place(i-1) + 1)      in units of 10 ns
    time(i)  = 10 * place(i)                      if i is an anchor
               10 * place(i) + 5                  if it is not

An entry is an anchor if its own stamp decided (``stamp(i) > place(i-1)``) and no line is unfinished behind it. Behind
an anchor, places do not depend on anything before it, and no stamp is older but for the moment that an entry may have
waited to be written. So whoever continues at an anchor asks the engine for what is younger than that, less
:data:`MARGIN_NS`, gets the same times again, and skips what is not later than the time given. At any other entry the
log is read from its beginning, which gives the same times, too. The last digit says which of the two is to be done.

It is not proof against a clock that was set back by more than the margin while nobody read, nor against the engine
dropping the beginning of an unfinished line.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlencode

from criadapt.backends.base import Chunk, Stream
from criadapt.backends.docker import wire
from criadapt.backends.docker.frames import Entries, Entry, Trouble
from criadapt.errors import ContainerNotFound, EngineError, FailedPrecondition, NotFound, Unavailable

MARGIN_NS = 5_000_000_000
"""What an entry may have waited between being stamped and being written; the engine's two writers take turns."""

UNIT_NS = 10
_AFLOAT = 5  # added to the time of what is no anchor
_PAUSE, _LONGEST_PAUSE = 0.005, 2.0  # seconds before the engine is asked again
_TRIES = 6  # that bring nothing, before the engine's trouble is ours


class Engine(Protocol):
    """How an engine is reached."""

    @property
    def socket(self) -> str:
        """Path of the unix socket."""

    @property
    def version(self) -> str:
        """API version, ``1.41``."""


class Order:
    """Gives entries their times; see above."""

    def __init__(self) -> None:
        self._place = 0
        self._unfinished: set[Stream] = set()

    def time_of(self, entry: Entry) -> int:
        """The time of the next entry."""
        own = -(-entry.time_ns // UNIT_NS)
        decides = own > self._place
        self._place = own if decides else self._place + 1
        if entry.data.endswith(b"\n"):
            self._unfinished.discard(entry.stream)
        else:
            self._unfinished.add(entry.stream)
        return self._place * UNIT_NS + (0 if decides and not self._unfinished else _AFLOAT)


@dataclass(slots=True)
class Position:
    """How far a reader has come."""

    time_ns: int
    """What is not later has been read."""
    anchor_ns: int
    """The last anchor among that; 0 to begin at the log's beginning."""

    @classmethod
    def at(cls, since_ns: int) -> Position:
        """For a time that was that of a chunk, or a nanosecond less, which asks for that chunk again."""
        is_anchor = since_ns % UNIT_NS in (0, UNIT_NS - 1) and since_ns <= time.time_ns()
        return cls(since_ns, since_ns if is_anchor else 0)

    @property
    def asked_ns(self) -> int:
        """From which stamp on the engine is to be asked; 0 for all."""
        return max(0, self.anchor_ns - MARGIN_NS)

    def advance(self, order: Order, entries: Iterable[Entry]) -> list[Chunk]:
        """Chunks that have not been read."""
        chunks: list[Chunk] = []
        last = self.time_ns
        for entry in entries:
            time_ns = order.time_of(entry)
            if time_ns > last:
                chunks.append(Chunk(entry.stream, entry.data, time_ns))
                if not time_ns % UNIT_NS:
                    self.anchor_ns = time_ns
        return chunks


async def output(engine: Engine, id: str, since_ns: int) -> AsyncIterator[Chunk]:
    """What the container wrote after `since_ns`, and writes, until it has ended; waits for its start if need be.

    Raises ContainerNotFound, Unavailable when the engine goes away, EngineError when it cannot read its log.
    """
    state = await _started(engine, id)
    if state is None:
        raise ContainerNotFound(id)
    tty, driver = bool(state["Config"]["Tty"]), str(state["HostConfig"]["LogConfig"]["Type"])
    position = Position.at(since_ns)
    pause, tries = _PAUSE, 0
    try:
        while True:
            # The engine may let go of a reader before that has read all (20.10: a reader who is told at once of the
            # container's end and of more to read takes one of them by chance). What is read after the end is whole.
            runs = state["State"]["Running"]
            before = position.time_ns
            trouble = None
            try:
                async for chunk in _read(engine, id, position, Entries(tty=tty, driver=driver), follow=runs):
                    yield chunk
            except Trouble as error:
                trouble = error
            if trouble is None and not runs:
                return
            if position.time_ns > before:
                pause, tries = _PAUSE, 0
            tries += 1
            if trouble is not None and tries >= _TRIES:
                raise EngineError(f"the log of container {id[:13]!r} cannot be read: {trouble}")
            state = await _inspect(engine, id)
            if trouble is not None or state["State"]["Running"]:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                state = await _inspect(engine, id)
    except (NotFound, FailedPrecondition):  # removed, or being so: nothing is left to be read
        return


async def _read(engine: Engine, id: str, position: Position, entries: Entries, *, follow: bool) -> AsyncIterator[Chunk]:
    """One answer of the engine. Raises Trouble."""
    query = {"stdout": "1", "stderr": "1", "timestamps": "1", "follow": str(int(follow))}
    if position.asked_ns:
        query["since"] = _stamp(position.asked_ns)
    order = Order()
    async with wire.stream(engine.socket, "GET", f"/v{engine.version}/containers/{id}/logs?{urlencode(query)}") as log:
        while pieces := await log.some():
            for piece in pieces:
                for chunk in position.advance(order, entries.feed(piece)):
                    position.time_ns = chunk.time_ns
                    yield chunk


async def _started(engine: Engine, id: str) -> Any | None:
    """What the engine tells of the container once that has been started; None if it is unknown, or removed before."""
    wanted = {"container": [id], "event": ["start", "die", "destroy"]}
    # The engine tells old events again: so none is missed between asking for the state and for events.
    query = {"since": _stamp(time.time_ns()), "filters": json.dumps(wanted)}
    try:
        state = await _inspect(engine, id)
        if state["State"]["Status"] != "created":
            return state
        path = f"/v{engine.version}/events?{urlencode(query)}"
        async with wire.stream(engine.socket, "GET", path) as events:
            async for _ in events:
                state = await _inspect(engine, id)
                if state["State"]["Status"] != "created":
                    return state
    except NotFound:
        return None
    raise Unavailable("Docker Engine ended its events; it may have been stopped")


async def _inspect(engine: Engine, id: str) -> Any:
    return await wire.request(engine.socket, "GET", f"/v{engine.version}/containers/{id}/json")


def _stamp(time_ns: int) -> str:
    """A time as the engine's queries have it."""
    seconds, nanos = divmod(time_ns, 1_000_000_000)
    return f"{seconds}.{nanos:09d}"
