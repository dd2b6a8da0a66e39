"""One attempt per key: joining, leaving, and coming while it is rolled back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from criadapt.core.flights import Flights
from criadapt.errors import AlreadyExists
from criadapt.testing.asynchronous import turns


class Attempt:
    """Work that the test lets end; it notes how often it was begun and rolled back."""

    def __init__(self) -> None:
        self.begun = 0
        self.rolled_back = 0
        self.end: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.rolling_back = asyncio.Event()
        self.rollback_done = asyncio.Event()

    async def __call__(self) -> str:
        self.begun += 1
        try:
            return await asyncio.shield(self.end)
        except asyncio.CancelledError:
            self.rolling_back.set()
            await self.rollback_done.wait()
            self.rolled_back += 1
            raise


@pytest.fixture
def flights() -> Flights:
    return Flights()


async def passengers(flights: Flights, count: int, start: Callable[[], Coroutine[Any, Any, str]]) -> list[Any]:
    tasks = [asyncio.ensure_future(flights.join("key", start)) for _ in range(count)]
    await turns()
    return tasks


async def test_those_who_ask_for_the_same_share_one_attempt(flights: Flights) -> None:
    attempt = Attempt()
    tasks = await passengers(flights, 3, attempt)
    attempt.end.set_result("id")
    assert await asyncio.gather(*tasks) == ["id"] * 3
    assert attempt.begun == 1


async def test_different_keys_do_not_wait_for_each_other(flights: Flights) -> None:
    slow, fast = Attempt(), Attempt()
    task = asyncio.ensure_future(flights.join("slow", slow))
    fast.end.set_result("fast")
    assert await flights.join("fast", fast) == "fast"
    assert not task.done()
    slow.end.set_result("slow")
    await task


async def test_a_failure_reaches_every_passenger(flights: Flights) -> None:
    attempt = Attempt()
    tasks = await passengers(flights, 3, attempt)
    attempt.end.set_exception(AlreadyExists("taken"))
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(result, AlreadyExists)


async def test_the_next_attempt_after_a_failure_starts_afresh(flights: Flights) -> None:
    failing, good = Attempt(), Attempt()
    failing.end.set_exception(AlreadyExists("taken"))
    with pytest.raises(AlreadyExists):
        await flights.join("key", failing)
    good.end.set_result("id")
    assert await flights.join("key", good) == "id"


async def test_a_passenger_who_leaves_does_not_disturb_the_others(flights: Flights) -> None:
    attempt = Attempt()
    leaving, staying = await passengers(flights, 2, attempt)
    leaving.cancel()
    await turns()
    assert leaving.cancelled()
    assert not attempt.rolling_back.is_set()
    attempt.end.set_result("id")
    assert await staying == "id"


async def test_the_last_to_leave_ends_the_attempt(flights: Flights) -> None:
    attempt = Attempt()
    tasks = await passengers(flights, 2, attempt)
    for task in tasks:
        task.cancel()
    await attempt.rolling_back.wait()
    assert all(task.cancelled() for task in tasks)
    assert not flights.under_way("key")
    attempt.rollback_done.set()
    await turns()
    assert attempt.rolled_back == 1


async def test_a_newcomer_waits_for_the_rollback_and_starts_afresh(flights: Flights) -> None:
    first, second = Attempt(), Attempt()
    (left,) = await passengers(flights, 1, first)
    left.cancel()
    await first.rolling_back.wait()
    newcomer = asyncio.ensure_future(flights.join("key", second))
    await turns()
    assert second.begun == 0
    first.rollback_done.set()
    second.end.set_result("id")
    assert await newcomer == "id"
    assert (first.rolled_back, second.begun) == (1, 1)


async def test_several_newcomers_share_the_fresh_attempt(flights: Flights) -> None:
    first, second = Attempt(), Attempt()
    (left,) = await passengers(flights, 1, first)
    left.cancel()
    await first.rolling_back.wait()
    newcomers = await passengers(flights, 3, second)
    first.rollback_done.set()
    second.end.set_result("id")
    assert await asyncio.gather(*newcomers) == ["id"] * 3
    assert second.begun == 1


async def test_a_newcomer_may_give_up_while_waiting_for_the_rollback(flights: Flights) -> None:
    first, second = Attempt(), Attempt()
    (left,) = await passengers(flights, 1, first)
    left.cancel()
    await first.rolling_back.wait()
    (newcomer,) = await passengers(flights, 1, second)
    newcomer.cancel()
    await turns()
    assert newcomer.cancelled()
    first.rollback_done.set()
    await turns()
    assert second.begun == 0


async def test_what_is_under_way_can_be_asked(flights: Flights) -> None:
    attempt = Attempt()
    assert not flights.under_way("key")
    task = asyncio.ensure_future(flights.join("key", attempt, "what"))
    await turns()
    assert flights.under_way("key")
    attempt.end.set_result("id")
    await task
    assert not flights.under_way("key")


async def test_settling_waits_for_every_rollback(flights: Flights) -> None:
    attempt = Attempt()
    tasks = await passengers(flights, 2, attempt)
    settling = asyncio.ensure_future(flights.settle())
    await attempt.rolling_back.wait()
    assert not settling.done()
    attempt.rollback_done.set()
    await settling
    assert attempt.rolled_back == 1
    assert [type(e) for e in await asyncio.gather(*tasks, return_exceptions=True)] == [asyncio.CancelledError] * 2


async def test_a_failure_nobody_waits_for_is_not_reported_as_forgotten(flights: Flights) -> None:
    reports: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reports.append(context))

    async def fails_while_rolling_back() -> str:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            raise AlreadyExists("taken") from None
        return ""

    (task,) = await passengers(flights, 1, fails_while_rolling_back)
    task.cancel()
    await turns()
    assert reports == []


async def test_who_wants_something_else_under_the_same_key_is_refused(flights: Flights) -> None:
    attempt, other = Attempt(), Attempt()
    task = asyncio.ensure_future(flights.join(("a", "", "b"), attempt, ["red"]))
    await turns()
    with pytest.raises(AlreadyExists, match=r"^a/b is being made by another call, with a different config"):
        await flights.join(("a", "", "b"), other, ["blue"])
    same = asyncio.ensure_future(flights.join(("a", "", "b"), other, ["red"]))  # equal, not identical
    await turns()
    attempt.end.set_result("id")
    assert await asyncio.gather(task, same) == ["id"] * 2
    assert (attempt.begun, other.begun) == (1, 0)


async def test_who_is_refused_is_no_passenger(flights: Flights) -> None:
    attempt = Attempt()
    task = asyncio.ensure_future(flights.join("key", attempt, "red"))
    await turns()
    with pytest.raises(AlreadyExists):
        await flights.join("key", attempt, "blue")
    task.cancel()
    await attempt.rolling_back.wait()  # nobody is left
    attempt.rollback_done.set()


async def test_newcomers_who_want_different_things_do_not_share_an_attempt(flights: Flights) -> None:
    first, red, blue = Attempt(), Attempt(), Attempt()
    (left,) = await passengers(flights, 1, first)
    left.cancel()
    await first.rolling_back.wait()
    tasks = [asyncio.ensure_future(flights.join("key", start, what)) for start, what in ((red, "red"), (blue, "blue"))]
    await turns()
    first.rollback_done.set()
    red.end.set_result("red")
    blue.end.set_result("blue")
    one, other = await asyncio.gather(*tasks, return_exceptions=True)
    assert one == "red"
    assert isinstance(other, AlreadyExists)
    assert blue.begun == 0


async def test_a_rollback_nobody_waits_for_is_not_under_way(flights: Flights) -> None:
    attempt = Attempt()
    (left,) = await passengers(flights, 1, attempt)
    left.cancel()
    await attempt.rolling_back.wait()
    assert not flights.under_way("key")
    attempt.rollback_done.set()
