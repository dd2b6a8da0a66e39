"""A container's output out of the engine's log: nothing lost, nothing twice, wherever reading is taken up again."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import aclosing
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from criadapt.backends.base import Chunk, Stream
from criadapt.backends.docker.following import MARGIN_NS, Order, Position, output
from criadapt.backends.docker.frames import Entries, Entry, Trouble
from criadapt.errors import ContainerNotFound, EngineError

from .conftest import Workshop

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
DRIVERS = pytest.mark.parametrize("driver", ["json-file", "local"])

# ---------------------------------------------------------------------- entries

STAMPS = {
    b"2023-11-14T22:13:20.000000000Z": START,
    b"2023-11-14T22:13:20.123456789Z": START + 123456789,
    b"2023-11-14T23:13:20.123456789+01:00": START + 123456789,
    b"2023-11-14T18:13:20.000000001-04:00": START + 1,
    b"2023-11-14T22:13:20Z": START,
    b"2023-11-14T22:13:20.5Z": START + 500_000_000,
}


def framed(kind: int, stamp: bytes, data: bytes) -> bytes:
    text = stamp + b" " + data
    return bytes([kind, 0, 0, 0]) + len(text).to_bytes(4, "big") + text


@pytest.mark.parametrize("stamp", STAMPS)
def test_every_form_of_the_engine_s_stamp_is_understood(stamp: bytes) -> None:
    assert Entries(tty=False).feed(framed(1, stamp, b"a b\n")) == [Entry("stdout", STAMPS[stamp], b"a b\n")]
    assert Entries(tty=True).feed(stamp + b" a b\r\n") == [Entry("stdout", STAMPS[stamp], b"a b\r\n")]


@given(
    st.lists(st.tuples(st.sampled_from([1, 2]), st.sampled_from(sorted(STAMPS)), st.binary(max_size=30))),
    st.lists(st.integers(0, 10**6), max_size=20),
)
def test_entries_come_as_they_were_kept_however_the_bytes_are_cut(
    sent: list[tuple[int, bytes, bytes]], cuts: list[int]
) -> None:
    data = b"".join(framed(*each) for each in sent)
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    entries = Entries(tty=False)
    found = [entry for start, stop in pairwise(places) for entry in entries.feed(data[start:stop])]
    assert found == [Entry("stdout" if kind == 1 else "stderr", STAMPS[stamp], text) for kind, stamp, text in sent]


def test_a_terminal_s_entries_end_with_their_lines_or_their_chunk() -> None:
    stamp = b"2023-11-14T22:13:20.000000000Z "
    entries = Entries(tty=True)
    found = [*entries.feed(stamp + b"a\r\n" + stamp + b"b"), *entries.feed(stamp + b"c\n")]
    assert [entry.data for entry in found] == [b"a\r\n", b"b", b"c\n"]


def test_the_local_driver_s_lost_newlines_are_put_back() -> None:
    stamp, later = b"2023-11-14T22:13:20.000000000Z", b"2023-11-14T22:13:20.000000001Z"
    piece = b"x" * 16384
    sent = [piece, piece, b"end", b"\n", piece, b"", b"unfinished"]
    stamps = [stamp, stamp, stamp, stamp, stamp, stamp, later]
    data = b"".join(framed(1, each, text) for each, text in zip(stamps, sent, strict=True))
    found = [entry.data for entry in Entries(tty=False, driver="local").feed(data)]
    assert found == [piece, piece, b"end\n", b"\n", piece, b"\n", b"unfinished"]
    assert [entry.data for entry in Entries(tty=False, driver="json-file").feed(data)] == sent


@pytest.mark.parametrize("text", [b"no stamp\n", b"2023-11-14T22:13:20 x\n", b"", b"\xff\xfe 1\n"])
def test_an_entry_without_a_stamp_is_an_error(text: bytes) -> None:
    with pytest.raises(EngineError, match="does not begin with a time"):
        Entries(tty=False).feed(bytes([1, 0, 0, 0]) + len(text).to_bytes(4, "big") + text)


def test_the_engine_s_own_trouble_is_told_from_output() -> None:
    text = b"Error grabbing logs: unexpected EOF\n"
    with pytest.raises(Trouble, match=r"unexpected EOF$"):
        Entries(tty=False).feed(bytes([3, 0, 0, 0]) + len(text).to_bytes(4, "big") + text)
    with pytest.raises(Trouble, match=r"unexpected EOF$"):
        Entries(tty=True).feed(text)


# ---------------------------------------------------------------------- times

GAPS = st.sampled_from([0, 1, 7, 1000, SECOND, 4 * SECOND, 20 * SECOND])
STEP = st.tuples(GAPS, st.sampled_from(["stdout", "stderr"]), st.booleans(), st.integers(0, MARGIN_NS - 1))


def kept_by_the_engine(steps: list[tuple[int, Stream, bool, int]]) -> list[Entry]:
    """A log as the engine writes it: entries wait a moment after they got their stamps; pieces keep the first's."""
    now, open_since = START, dict[Stream, int]()
    entries: list[Entry] = []
    for number, (gap, stream, ends, waited) in enumerate(steps):
        now += gap
        stamp = open_since.pop(stream, now - waited)
        if not ends:
            open_since[stream] = stamp
        entries.append(Entry(stream, stamp, b"%d%s" % (number, b"\n" if ends else b"")))
    return entries


def read(kept: list[Entry], position: Position, upto: int | None = None) -> list[Chunk]:
    """What a reader gets who leaves after `upto` chunks. The engine leaves out what is older than it was asked for."""
    order, found = Order(), list[Chunk]()
    for entry in kept:
        if entry.time_ns >= position.asked_ns:
            for chunk in position.advance(order, [entry]):
                if len(found) == upto:
                    return found
                position.time_ns = chunk.time_ns
                found.append(chunk)
    return found


@given(st.lists(STEP, max_size=40))
def test_times_only_grow_and_stay_close_to_the_stamps(steps: list[tuple[int, Stream, bool, int]]) -> None:
    kept = kept_by_the_engine(steps)
    times = [chunk.time_ns for chunk in read(kept, Position.at(0))]
    assert all(one < two for one, two in pairwise(times))
    assert all(time_ns >= entry.time_ns for time_ns, entry in zip(times, kept, strict=True))
    latest = 0
    for time_ns, entry in zip(times, kept, strict=True):
        latest = max(latest, entry.time_ns)
        assert time_ns < latest + 10 * (len(kept) + 1)


@given(st.lists(STEP, max_size=40), st.data())
def test_a_log_that_is_taken_up_at_any_chunk_is_the_log(
    steps: list[tuple[int, Stream, bool, int]], data: st.DataObject
) -> None:
    kept = kept_by_the_engine(steps)
    whole = read(kept, Position.at(0))
    found: list[Chunk] = []
    while len(found) < len(whole):
        since = found[-1].time_ns if found else 0
        if found and data.draw(st.booleans()):  # the pump asks for its last chunk again
            found.pop()
            since -= 1
        found += read(kept, Position.at(since), upto=data.draw(st.integers(1, 10)))
    assert found == whole
    assert read(kept, Position.at(whole[-1].time_ns if whole else 0)) == []


@given(st.lists(STEP, max_size=40), st.integers(1, 40), st.integers(1, 10))
def test_a_reader_whom_the_engine_drops_goes_on(
    steps: list[tuple[int, Stream, bool, int]], cut: int, upto: int
) -> None:
    kept = kept_by_the_engine(steps)
    position = Position.at(0)
    found = read(kept[:cut], position)
    found += read(kept, position, upto)
    found += read(kept, position)
    assert found == read(kept, Position.at(0))


def test_behind_an_anchor_the_engine_is_asked_for_little() -> None:
    kept = [Entry("stdout", START + number * SECOND, b"line\n") for number in range(100)]
    chunks = read(kept, Position.at(0))
    assert Position.at(chunks[50].time_ns).asked_ns == kept[50].time_ns - MARGIN_NS
    assert Position.at(chunks[50].time_ns - 1).asked_ns == kept[50].time_ns - MARGIN_NS - 1


def test_within_a_line_and_after_a_clock_went_back_the_engine_is_asked_for_all() -> None:
    kept = [Entry("stdout", START, b"x"), Entry("stderr", START + SECOND, b"line\n")]
    assert [Position.at(chunk.time_ns).asked_ns for chunk in read(kept, Position.at(0))] == [0, 0]
    assert Position.at(time.time_ns() // 10 * 10 + 3600 * SECOND).asked_ns == 0


# ---------------------------------------------------------------------- against an engine


async def read_all(workshop: Workshop, id: str, since: int = 0) -> list[Chunk]:
    async with asyncio.timeout(40):
        return [chunk async for chunk in output(workshop, id, since)]


def text(chunks: list[Chunk], stream: Stream) -> bytes:
    return b"".join(chunk.data for chunk in chunks if chunk.stream == stream)


@DRIVERS
async def test_output_is_complete_if_asked_for_before_the_start(workshop: Workshop, driver: str) -> None:
    for _ in range(5):
        id = await workshop.create("echo first; echo err >&2; echo second; printf third; exit 5", driver=driver)
        reading = asyncio.create_task(read_all(workshop, id))
        await asyncio.sleep(0)
        await workshop.start(id)
        chunks = await reading
        assert text(chunks, "stdout") == b"first\nsecond\nthird"
        assert text(chunks, "stderr") == b"err\n"


async def test_output_of_a_container_that_has_ended_is_read_again_the_same(workshop: Workshop) -> None:
    id = await workshop.run("for i in 1 2 3 4 5; do echo $i; echo $i >&2; done")
    chunks = await read_all(workshop, id)
    assert await read_all(workshop, id) == chunks
    for number, chunk in enumerate(chunks):
        assert await read_all(workshop, id, chunk.time_ns) == chunks[number + 1 :]
        assert await read_all(workshop, id, chunk.time_ns - 1) == chunks[number:]


@DRIVERS
async def test_long_lines_are_whole(workshop: Workshop, driver: str) -> None:
    id = await workshop.run("head -c 1048576 /dev/zero | tr '\\0' x; echo END; echo next", driver=driver)
    data = text(await read_all(workshop, id), "stdout")
    assert data == b"x" * 1048576 + b"END\nnext\n"


async def test_output_that_stops_within_a_long_line_gets_a_newline_of_the_local_driver(workshop: Workshop) -> None:
    id = await workshop.run("head -c 20000 /dev/zero | tr '\\0' x", driver="local")
    assert text(await read_all(workshop, id), "stdout") == b"x" * 20000 + b"\n"


async def test_the_local_driver_keeps_bytes(workshop: Workshop) -> None:
    id = await workshop.run(r"printf '\377\376\303\251\000\001|\r\n'", driver="local")
    assert text(await read_all(workshop, id), "stdout") == b"\xff\xfe\xc3\xa9\0\1|\r\n"


@DRIVERS
async def test_a_terminal_s_output_is_one_stream(workshop: Workshop, driver: str) -> None:
    script = "echo out; echo err >&2; head -c 40000 /dev/zero | tr '\\0' x; echo; printf end"
    id = await workshop.run(script, Tty=True, driver=driver)
    chunks = await read_all(workshop, id)
    assert {chunk.stream for chunk in chunks} == {"stdout"}
    assert text(chunks, "stdout") == b"out\r\nerr\r\n" + b"x" * 40000 + b"\r\nend"


async def test_an_unknown_container_has_no_output(workshop: Workshop) -> None:
    with pytest.raises(ContainerNotFound):
        await read_all(workshop, "unknown")


async def test_output_ends_when_the_container_is_removed(workshop: Workshop) -> None:
    id = await workshop.run("echo here; sleep 1000")
    async with asyncio.timeout(20), aclosing(output(workshop, id, 0)) as reading:
        assert (await anext(reading)).data == b"here\n"
        await workshop.call("DELETE", f"/containers/{id}?force=1")
        assert [chunk async for chunk in reading] == []


async def test_waiting_for_a_start_can_be_given_up(workshop: Workshop) -> None:
    id = await workshop.create("echo here")
    reading = asyncio.create_task(read_all(workshop, id))
    await asyncio.sleep(0.2)
    assert not reading.done()
    reading.cancel()
    await asyncio.wait([reading])
    assert reading.cancelled()


async def test_a_container_that_is_removed_before_its_start_has_no_output(workshop: Workshop) -> None:
    id = await workshop.create("echo here")
    reading = asyncio.create_task(read_all(workshop, id))
    await asyncio.sleep(0.2)
    await workshop.call("DELETE", f"/containers/{id}")
    with pytest.raises(ContainerNotFound):
        await reading


BOTH_STREAMS = """
i=0; while [ $i -lt 1500 ]; do echo "e$i" >&2; i=$((i+1)); done &
i=0; while [ $i -lt 1500 ]; do
  echo "o$i"; i=$((i+1))
  if [ $((i % 500)) = 0 ]; then
    head -c 50000 /dev/zero | tr '\\0' y; sleep 0.3; echo "between" >&2; head -c 50000 /dev/zero | tr '\\0' z
  fi
done; echo; wait; printf end
"""


@DRIVERS
async def test_a_reader_who_comes_and_goes_loses_and_repeats_nothing(workshop: Workshop, driver: str) -> None:
    id = await workshop.create(BOTH_STREAMS, driver=driver)
    chance = random.Random(1)
    found: list[Chunk] = []
    starting = asyncio.create_task(workshop.start(id))
    ended = False
    async with asyncio.timeout(40):
        while not ended:
            since = found[-1].time_ns if found else 0
            if found and chance.random() < 0.5:
                found.pop()
                since -= 1
            limit = chance.choice((1, 2, 10, 100, 1000))
            async with aclosing(output(workshop, id, since)) as reading:
                ended = True
                async for chunk in reading:
                    found.append(chunk)
                    limit -= 1
                    if not limit:
                        ended = False
                        break
    await starting
    assert found == await read_all(workshop, id)
    numbers = b"".join(b"o%d\n" % number for number in range(1500))
    assert text(found, "stdout").replace(b"y", b"").replace(b"z", b"") == numbers + b"\nend"
    assert text(found, "stderr").replace(b"between\n", b"") == b"".join(b"e%d\n" % number for number in range(1500))
