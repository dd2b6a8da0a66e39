"""Undo: steps are taken back last first, whatever the caller does meanwhile."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from criadapt.core import undo as undo_module
from criadapt.core.undo import Undo
from criadapt.errors import EngineError, Unavailable


class Steps:
    """Steps that note when they are taken back."""

    def __init__(self) -> None:
        self.taken_back: list[str] = []

    async def back(self, step: str) -> None:
        await asyncio.sleep(0)
        self.taken_back.append(step)

    async def fail(self, step: str) -> None:
        await asyncio.sleep(0)
        raise Unavailable(f"no engine for {step}")


@pytest.fixture
def steps() -> Steps:
    return Steps()


async def fails(undo: Undo, message: str = "the whole failed") -> None:
    async with undo:
        raise EngineError(message)


async def fail_after(steps: Steps, *names: str) -> Undo:
    undo = Undo("test")
    for name in names:
        undo.push(name, partial(steps.fail if name.startswith("bad") else steps.back, name))
    with pytest.raises(EngineError):
        await fails(undo)
    return undo


async def test_steps_are_taken_back_last_first(steps: Steps) -> None:
    await fail_after(steps, "a", "b", "c")
    assert steps.taken_back == ["c", "b", "a"]


async def test_what_is_kept_is_not_taken_back(steps: Steps) -> None:
    async with Undo("test") as undo:
        undo.push("a", partial(steps.back, "a"))
        undo.keep()
    assert steps.taken_back == []


async def test_leaving_without_keeping_takes_back(steps: Steps) -> None:
    async with Undo("test") as undo:
        undo.push("a", partial(steps.back, "a"))
    assert steps.taken_back == ["a"]


async def test_only_what_came_after_keep_is_taken_back(steps: Steps) -> None:
    undo = Undo("test")
    undo.push("a", partial(steps.back, "a"))
    undo.keep()
    undo.push("b", partial(steps.back, "b"))
    with pytest.raises(EngineError):
        await fails(undo)
    assert steps.taken_back == ["b"]


async def test_a_step_that_fails_is_collected_and_the_others_go_on(steps: Steps) -> None:
    undo = await fail_after(steps, "a", "bad one", "c")
    assert steps.taken_back == ["c", "a"]
    assert undo.failures == ["bad one: no engine for bad one"]


async def test_failures_are_told_once_all_steps_were_tried(steps: Steps) -> None:
    told: list[tuple[list[str], list[str]]] = []
    undo = Undo("test")
    undo.on_failure = lambda failures: told.append((list(failures), list(steps.taken_back)))
    undo.push("a", partial(steps.back, "a"))
    undo.push("bad", partial(steps.fail, "bad"))
    with pytest.raises(EngineError):
        await fails(undo)
    assert told == [(["bad: no engine for bad"], ["a"])]


async def test_nothing_is_told_when_all_went_well(steps: Steps) -> None:
    undo = Undo("test")
    undo.on_failure = lambda failures: pytest.fail("called")
    undo.push("a", partial(steps.back, "a"))
    async with undo:
        pass


async def test_the_callers_own_error_gets_through() -> None:
    undo = Undo("test")
    undo.push("bad", partial(Steps().fail, "bad"))
    with pytest.raises(EngineError, match="mine"):
        await fails(undo, "mine")


async def cancelled_while_cleaning(steps: Steps, error: BaseException | None) -> asyncio.Task[None]:
    gate, reached = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        reached.set()
        await gate.wait()
        steps.taken_back.append("slow")

    async def work() -> None:
        async with Undo("test") as undo:
            undo.push("a", partial(steps.back, "a"))
            undo.push("slow", slow)
            if error is not None:
                raise error

    task = asyncio.ensure_future(work())
    await reached.wait()
    for _ in range(3):  # a caller in a hurry
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    gate.set()
    await asyncio.wait([task])
    return task


@pytest.mark.parametrize("error", [None, EngineError("failed")])
async def test_cancelling_does_not_stop_the_cleaning_and_is_obeyed_after_it(
    steps: Steps, error: BaseException | None
) -> None:
    task = await cancelled_while_cleaning(steps, error)
    assert steps.taken_back == ["slow", "a"]
    assert task.cancelled()


async def test_a_cancelled_caller_is_cleaned_up_after(steps: Steps) -> None:
    async def work() -> None:
        async with Undo("test") as undo:
            undo.push("a", partial(steps.back, "a"))
            await asyncio.get_running_loop().create_future()

    task = asyncio.ensure_future(work())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert steps.taken_back == ["a"]


async def test_cleaning_has_a_time_limit_of_its_own(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(undo_module, "BUDGET_SECONDS", 0.0)
    undo = Undo("test")
    undo.push("hangs", asyncio.Event().wait)
    with pytest.raises(EngineError):
        await fails(undo)
    assert [failure.partition(":")[0] for failure in undo.failures] == ["hangs"]


async def test_somebody_elses_cancellation_in_a_step_does_not_skip_the_others(steps: Steps) -> None:
    async def stray() -> None:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    async with Undo("test") as undo:
        undo.push("a", partial(steps.back, "a"))
        undo.push("stray", stray)
    assert steps.taken_back == ["a"]
    assert undo.failures == ["stray: CancelledError"]
