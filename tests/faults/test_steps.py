"""Every call to the engine that an RPC makes fails, hangs, or is the last thing before a crash.

The steps are those of a clean run, recorded when the tests are collected: a new step is covered by itself. After each
fault nothing may be left behind, the same request must succeed, and in the end nothing at all may remain.
"""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from criadapt.config import FaultRule
from criadapt.cri.v1 import api_pb2 as pb
from criadapt.testing.inprocess import InProcess, Traces, serving_inprocess, until

from .scenarios import SCENARIOS, Scenario, steps

UNEXPECTED = (grpc.StatusCode.INTERNAL, grpc.StatusCode.OK)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "step" in metafunc.fixturenames:
        found = steps()
        names = [f"{scenario}: {call} {nth}" for scenario, call, nth in found]
        metafunc.parametrize(("scenario", "step"), [(s, (c, n)) for s, c, n in found], ids=names)


async def finish(server: InProcess, scenario: Scenario, request: Any, empty: Traces, *, crashed: bool = False) -> None:
    """The same request again succeeds, and what it made can be removed without a trace."""
    try:
        await scenario.call(server, request)
    except grpc.aio.AioRpcError as error:
        # A start that was never answered may have happened: the container has ended since, which its status tells, or
        # it runs, which nobody remembers to have been a start without an answer after a crash.
        if scenario.rpc != "StartContainer" or error.code() is not grpc.StatusCode.FAILED_PRECONDITION:
            raise
        states = (pb.CONTAINER_EXITED, pb.CONTAINER_RUNNING) if crashed else (pb.CONTAINER_EXITED,)
        assert (await server.container(request["container_id"])).state in states
    await scenario.demand(server, request)
    await server.remove_all()
    await server.leaves(empty)
    assert server.errors == []


def given_up(server: InProcess) -> bool:
    """No attempt is under way any more."""
    return not [note for note in server.traces().busy if note.startswith(("flight", "starting", "making"))]


def idle(server: InProcess, before: Traces) -> bool:
    """Nor does anything work for one, or wait for its end; what is noted of a container goes with the container."""
    now = server.traces()
    return now.tasks == before.tasks and all(note.startswith(("unanswered", "signalled")) for note in now.busy)


async def settled(server: InProcess, scenario: Scenario, before: Traces) -> None:
    """What a failed or abandoned call leaves behind: nothing, if it was to make something."""
    if scenario.makes:
        await server.leaves(before)
        return
    await until(lambda: idle(server, before), timeout=5, what="idle")


@pytest.mark.parametrize("error", ["EngineError", "Unavailable"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_step_fails(tmp_path: Path, scenario: str, step: tuple[str, int], after: bool, error: str) -> None:
    what, (call, nth) = SCENARIOS[scenario], step
    async with serving_inprocess(tmp_path, options=what.options) as server:
        empty = server.traces()
        message = await what.prepare(server)
        before = server.traces()
        server.backend.set_rules([FaultRule(call=call, nth=nth, error=error, message="it is so", after=after)])
        failed = False
        try:
            await what.call(server, message)
        except grpc.aio.AioRpcError as raised:
            failed = True
            assert raised.code() not in UNEXPECTED  # noqa: PT017
            assert "it is so" in raised.details()  # noqa: PT017
        server.backend.clear()
        if failed:
            await settled(server, what, before)
        else:
            assert not what.makes or call == "image_file"
        await finish(server, what, message, empty)


@pytest.mark.parametrize("how", ["cancel", "deadline"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_step_hangs_and_the_caller_leaves(
    tmp_path: Path, scenario: str, step: tuple[str, int], after: bool, how: str
) -> None:
    what, (call, nth) = SCENARIOS[scenario], step
    async with serving_inprocess(tmp_path, options=what.options) as server:
        empty = server.traces()
        message = await what.prepare(server)
        before = server.traces()
        gate = server.backend.hold(call, nth=nth, after=after)
        if how == "cancel":
            pending = getattr(server.rpc, what.rpc)(**message)
            await asyncio.wait_for(gate.reached.wait(), 5)
            pending.cancel()
        else:
            with suppress(grpc.aio.AioRpcError):
                await what.call(server, message, deadline=0.05)
            await asyncio.wait_for(gate.reached.wait(), 5)
        # The engine hangs on, and yet the attempt ends and leaves nothing.
        await (server.leaves(before) if what.makes else until(lambda: given_up(server), timeout=5, what="given up"))
        server.backend.clear()
        await settled(server, what, before)
        await finish(server, what, message, empty)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_the_server_is_killed_at_a_step(
    tmp_path: Path, scenario: str, step: tuple[str, int], after: bool
) -> None:
    what, (call, nth) = SCENARIOS[scenario], step
    async with serving_inprocess(tmp_path, options=what.options) as server:
        empty = server.traces()
        message = await what.prepare(server)
        before = server.traces()
        gate = server.backend.hold(call, nth=nth, after=after)
        pending = asyncio.ensure_future(what.call(server, message))
        await asyncio.wait_for(gate.reached.wait(), 5)
        await server.crash()
        with suppress(grpc.aio.AioRpcError, asyncio.CancelledError):
            await pending
        if what.makes:
            await server.leaves(before)
        await settled(server, what, before)
        await finish(server, what, message, empty, crashed=True)
