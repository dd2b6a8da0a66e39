"""Container events: everybody gets every one, in order; who does not read is dropped."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from criadapt.core import events
from criadapt.core.events import EventBus
from criadapt.core.store import Store
from criadapt.errors import ResourceExhausted
from criadapt.journal import Journal
from criadapt.model.runtime import ContainerEventType
from criadapt.testing.factories import START, container_record, sandbox_record

CREATED, STARTED, DELETED = ContainerEventType.CREATED, ContainerEventType.STARTED, ContainerEventType.DELETED
POD, APP = sandbox_record(), container_record()


class World:
    """A store with one pod and one container, and a clock that the test sets."""

    def __init__(self, store: Store) -> None:
        self.now = START
        self.store = store
        self.store.put_sandbox(POD)
        self.store.put_container(APP)
        self.bus = EventBus(store, lambda: self.now)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with closing(Journal(tmp_path / "j")) as journal:
        yield World(Store(journal))


async def test_every_subscriber_gets_every_event_in_order(world: World) -> None:
    subscriptions = [world.bus.subscribe() for _ in range(2)]
    for kind in (CREATED, STARTED, DELETED):
        world.bus.publish(kind, APP)
    world.bus.close()
    for subscription in subscriptions:
        assert [event.container_event_type async for event in subscription] == [CREATED, STARTED, DELETED]


async def test_an_event_carries_the_pod_as_it_was(world: World) -> None:
    subscription = world.bus.subscribe()
    world.bus.publish(CREATED, APP)
    world.store.put_container(APP.started(START + 1))
    world.bus.publish(STARTED, APP)
    world.bus.close()
    first, second = [event async for event in subscription]
    assert (first.container_id, first.pod_sandbox_status) == ("c1", POD.status())
    assert first.containers_statuses == (APP.status(),)
    assert second.containers_statuses == (APP.started(START + 1).status(),)


async def test_a_sandboxes_event_carries_the_sandboxes_id(world: World) -> None:
    subscription = world.bus.subscribe()
    world.bus.publish(STARTED, POD)
    world.store.drop_container("c1")
    world.store.drop_sandbox("s1")
    world.bus.publish(DELETED, POD)
    world.bus.close()
    first, second = [event async for event in subscription]
    assert (first.container_id, first.pod_sandbox_status) == ("s1", POD.status())
    assert (second.container_id, second.pod_sandbox_status, second.containers_statuses) == ("s1", None, ())


async def test_times_never_run_backwards(world: World) -> None:
    subscription = world.bus.subscribe()
    for now in (START + 5, START, START + 7):
        world.now = now
        world.bus.publish(CREATED, APP)
    world.bus.close()
    assert [event.created_at async for event in subscription] == [START + 5, START + 5, START + 7]


async def test_a_waiting_reader_is_woken(world: World) -> None:
    subscription = world.bus.subscribe()
    reading = asyncio.ensure_future(anext(aiter(subscription)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not reading.done()
    world.bus.publish(CREATED, APP)
    assert (await reading).container_id == "c1"


async def test_who_does_not_read_is_dropped_with_an_error_after_what_it_has(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "QUEUE_LIMIT", 2)
    slow, quick = world.bus.subscribe(), world.bus.subscribe()
    quick_events = aiter(quick)
    for _ in range(4):
        world.bus.publish(CREATED, APP)
        await anext(quick_events)
    slow_events = aiter(slow)
    await anext(slow_events)
    await anext(slow_events)
    with pytest.raises(ResourceExhausted, match="subscribe again"):
        await anext(slow_events)
    assert world.bus.dropped == 1


async def test_who_left_gets_nothing_and_counts_as_nobody_dropped(world: World) -> None:
    subscription = world.bus.subscribe()
    subscription.close()
    subscription.close()
    world.bus.publish(CREATED, APP)
    assert [event async for event in subscription] == []
    assert world.bus.dropped == 0
