"""Wrappers: they hand on every call, and the failing one fails by its rules."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from criadapt.backends.base import Backend, ContainerSpec, EngineEvent, EventKind, ExecSpec
from criadapt.backends.wrap import CALLS, Failing, Timed, Wrapped
from criadapt.config import FaultRule
from criadapt.errors import (
    ContainerNotFound,
    EngineError,
    InvalidArgument,
    RegistryUnavailable,
    Unavailable,
    Unsupported,
)
from criadapt.model.linux import LinuxContainerResources
from criadapt.model.reference import ImageRef
from criadapt.model.signals import Signal
from criadapt.testing.factories import FakeEngine

METHODS = sorted(
    name for name, value in vars(Backend).items() if inspect.isfunction(value) and not name.startswith("_")
)
SPEC = ContainerSpec(name="k8s_a", image_id="sha256:1", args=("top",), labels={"app": "web"})
ARGUMENTS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "info": ((), {}),
    "create": ((SPEC,), {}),
    "start": (("c1",), {}),
    "kill": (("c1", Signal.SIGTERM), {}),
    "remove": (("c1",), {}),
    "containers": ((), {}),
    "exec": (("c1", ExecSpec(args=("ls",))), {}),
    "pull": ((ImageRef.parse("busybox"), None), {}),
    "images": ((), {}),
    "remove_image": (("sha256:1",), {}),
    "image_filesystem": ((), {}),
    "can": (("update",), {}),
    "inspect": (("c1",), {}),
    "attach": (("c1",), {"stdin": True, "tty": False}),
    "dial": (("c1", 80), {}),
    "update": (("c1", LinuxContainerResources(cpu_shares=2)), {}),
    "usage": (("c1",), {}),
    "image_file": (("sha256:1", "/etc/passwd"), {}),
    "pause": (("c1",), {}),
    "resume": (("c1",), {}),
    "checkpoint": (("c1", Path("c.tar")), {}),
}
STREAMS: dict[str, tuple[Any, ...]] = {"events": (), "output": ("c1", 5)}


class Recorder:
    """Stands where the engine would: notes each call and answers with something of its own."""

    name = "recorder"
    options = "options"
    state_dir = Path("state")

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.answer = object()

    def __getattr__(self, name: str) -> Any:
        if name not in METHODS:
            raise AttributeError(name)

        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append((name, args, kwargs))
            if name in STREAMS:
                return stream(self.answer)
            return answer(self.answer) if inspect.iscoroutinefunction(getattr(Backend, name)) else self.answer

        return call


async def answer(value: Any) -> Any:
    return value


async def stream(value: Any) -> Any:
    yield value


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


# ---------------------------------------------------------------------------------------------- handing on


def test_a_wrapper_has_every_method_of_a_backend() -> None:
    assert [name for name in METHODS if name not in vars(Wrapped)] == []


@pytest.mark.parametrize("method", [name for name in METHODS if name not in STREAMS])
async def test_a_call_and_its_answer_are_handed_on_unchanged(recorder: Recorder, method: str) -> None:
    args, kwargs = ARGUMENTS[method]
    found = getattr(Wrapped(recorder), method)(*args, **kwargs)  # type: ignore[arg-type]
    expected = None if getattr(Backend, method).__annotations__["return"] == "None" else recorder.answer
    assert (await found if inspect.isawaitable(found) else found) is expected
    assert recorder.calls == [(method, args, kwargs)]


@pytest.mark.parametrize("method", STREAMS)
async def test_a_stream_is_handed_on_unchanged(recorder: Recorder, method: str) -> None:
    found = getattr(Wrapped(recorder), method)(*STREAMS[method])  # type: ignore[arg-type]
    assert [item async for item in found] == [recorder.answer]
    assert recorder.calls == [(method, STREAMS[method], {})]


@pytest.mark.parametrize("method", [name for name in METHODS if name not in ("can", "output")])
async def test_every_call_passes_through_around_under_its_own_name(recorder: Recorder, method: str) -> None:
    seen: list[str] = []

    class Watching(Wrapped):
        async def around(self, call: str, arguments: Mapping[str, object], run: Any) -> Any:
            seen.append(call)
            return await run()

    args, kwargs = ARGUMENTS.get(method, (STREAMS.get(method, ()), {}))
    found = getattr(Watching(recorder), method)(*args, **kwargs)  # type: ignore[arg-type]
    if method in STREAMS:
        async for _ in found:
            pass
    elif inspect.isawaitable(found):
        await found
    assert seen == [method]


def test_rules_may_name_every_call_that_passes_through() -> None:
    assert set(METHODS) - {"can", "output"} == CALLS


def test_a_wrapper_answers_to_the_name_of_what_it_wraps(recorder: Recorder) -> None:
    wrapped = Wrapped(Wrapped(recorder))  # type: ignore[arg-type]
    assert (wrapped.name, wrapped.options, wrapped.state_dir) == ("recorder", "options", Path("state"))


@pytest.mark.parametrize(("method", "able"), [("update", True), ("usage", False), ("attach", True)])
def test_a_wrapper_can_what_it_wraps_can(method: str, able: bool) -> None:
    assert FakeEngine().can(method) is able
    assert Wrapped(FakeEngine()).can(method) is able


async def test_a_wrapper_opens_and_closes_what_it_wraps() -> None:
    steps: list[str] = []

    class Engine(FakeEngine):
        async def __aenter__(self) -> Engine:
            steps.append("open")
            return self

        async def __aexit__(self, *_: object) -> None:
            steps.append("close")

    wrapper = Wrapped(Engine())
    async with wrapper as opened:
        assert opened is wrapper
    assert steps == ["open", "close"]


async def test_calls_are_timed_whether_they_succeed_or_not() -> None:
    seen: list[tuple[str, str, bool]] = []
    engine = FakeEngine()
    timed = Timed(engine, lambda backend, call, ok, seconds: seen.append((backend, call, ok and seconds >= 0)))
    await timed.images()
    with pytest.raises(ContainerNotFound):
        await timed.inspect("unknown")
    assert seen == [("fake", "images", True), ("fake", "inspect", False)]


# ---------------------------------------------------------------------------------------------- failing

ERROR = {"call": "images", "error": "Unavailable"}


async def outcomes(rules: list[FaultRule], calls: int, **kwargs: Any) -> list[bool]:
    """Which of so many calls to images() failed."""
    failing = Failing(FakeEngine(), rules, **kwargs)
    found = []
    for _ in range(calls):
        try:
            await failing.images()
        except Unavailable:
            found.append(True)
        else:
            found.append(False)
    return found


@pytest.mark.parametrize(
    ("rule", "failed"),
    [
        ({}, [True, True, True, True]),
        ({"times": 2}, [True, True, False, False]),
        ({"nth": 1}, [True, False, False, False]),
        ({"nth": 3}, [False, False, True, False]),
        ({"nth": 2, "times": 5}, [False, True, False, False]),
        ({"probability": 0.0}, [False] * 4),
        ({"probability": 1.0}, [True] * 4),
        ({"call": "*"}, [True] * 4),
        ({"call": "pull"}, [False] * 4),
    ],
)
async def test_a_rule_says_which_calls_fail(rule: dict[str, Any], failed: list[bool]) -> None:
    assert await outcomes([FaultRule(**{**ERROR, **rule})], 4) == failed


async def test_chance_is_the_same_for_the_same_seed() -> None:
    rules = [FaultRule(**ERROR, probability=0.5)]
    first = await outcomes(rules, 50, seed=7)
    assert first == await outcomes(rules, 50, seed=7)
    assert first != await outcomes(rules, 50, seed=8)
    assert 5 < sum(first) < 45


async def test_without_a_rule_everything_is_handed_on() -> None:
    failing = Failing(FakeEngine())
    assert len(await failing.images()) == 2
    assert failing.calls == {"images": 1}


@pytest.mark.parametrize(
    ("match", "hit"),
    [
        ({}, True),
        ({"spec.name": "k8s_*"}, True),
        ({"spec.name": "k8s_a", "spec.image_id": "sha256:?"}, True),
        ({"spec.labels.app": "web"}, True),
        ({"spec.name": "other"}, False),
        ({"spec.name": "k8s_a", "spec.image_id": "other"}, False),
        ({"spec.nothing": "x"}, False),
        ({"spec.name.deeper": "x"}, False),
        ({"nothing": ""}, True),
    ],
)
async def test_a_rule_may_look_at_the_arguments(match: dict[str, str], hit: bool) -> None:
    failing = Failing(FakeEngine(), [FaultRule(call="create", error="EngineError", match=match)])
    if hit:
        with pytest.raises(EngineError, match="injected into create"):
            await failing.create(SPEC)
    else:
        await failing.create(SPEC)


async def test_calls_that_do_not_match_do_not_count() -> None:
    rule = FaultRule(call="inspect", error="Unavailable", match={"id": "b*"}, nth=2)
    failing = Failing(FakeEngine(), [rule])
    for id, error in (("b1", ContainerNotFound), ("a", ContainerNotFound), ("b2", Unavailable)):
        with pytest.raises(error):
            await failing.inspect(id)


async def test_the_first_rule_that_hits_decides() -> None:
    rules = [
        FaultRule(call="images", error="EngineError", message="first", times=1),
        FaultRule(call="*", error="Unavailable", message="second"),
    ]
    failing = Failing(FakeEngine(), rules)
    for error, text in ((EngineError, "^first$"), (Unavailable, "^second$")):
        with pytest.raises(error, match=text):
            await failing.images()


async def test_a_failed_call_does_not_reach_the_engine_unless_the_rule_says_after() -> None:
    for after in (False, True):
        engine = FakeEngine()
        failing = Failing(engine, [FaultRule(call="create", error="Unavailable", after=after)])
        with pytest.raises(Unavailable):
            await failing.create(SPEC)
        assert len(engine.rows) == int(after)


async def test_an_answer_may_be_late(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        if seconds:
            slept.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", noted)
    for after in (False, True):
        engine = FakeEngine()
        id = await Failing(engine, [FaultRule(call="create", delay=5.0, after=after)]).create(SPEC)
        assert list(engine.rows) == [id]
    assert slept == [5.0, 5.0]


@pytest.mark.parametrize("after", [False, True])
async def test_a_call_that_hangs_can_be_cancelled(after: bool) -> None:
    engine = FakeEngine()
    failing = Failing(engine, [FaultRule(call="create", hang=True, after=after)])
    task = asyncio.ensure_future(failing.create(SPEC))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert len(engine.rows) == int(after)


async def test_an_event_stream_may_fail_to_begin() -> None:
    engine = FakeEngine()
    engine.feed.put_nowait(EngineEvent(kind=EventKind.IMAGES))
    failing = Failing(engine, [FaultRule(call="events", error="Unavailable", times=1)])
    with pytest.raises(Unavailable):
        await anext(aiter(failing.events()))
    events = failing.events()
    assert (await anext(aiter(events))).kind is EventKind.IMAGES
    await events.aclose()  # type: ignore[attr-defined]


async def test_rules_can_be_replaced_and_begin_to_count_anew() -> None:
    failing = Failing(FakeEngine(), [FaultRule(**ERROR, times=1)])
    for _ in range(2):
        with pytest.raises(Unavailable):
            await failing.images()
        await failing.images()
        failing.set_rules([FaultRule(**ERROR, times=1)])
    failing.set_rules([])
    await failing.images()
    assert failing.calls["images"] == 5


@pytest.mark.parametrize(
    ("name", "text"),
    [("RegistryUnavailable", "RegistryUnavailable: away"), ("ContainerNotFound", "container 'away' not found")],
)
async def test_errors_with_a_form_of_their_own_can_be_injected(name: str, text: str) -> None:
    failing = Failing(FakeEngine(), [FaultRule(call="pull", error=name, message="away")])
    with pytest.raises((RegistryUnavailable, ContainerNotFound)) as caught:
        await failing.pull(ImageRef.parse("busybox"), None)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (FaultRule(call="nope"), "call 'nope' is not one of"),
        (FaultRule(call="output"), "call 'output' is not one of"),
        (FaultRule(call="around"), "call 'around' is not one of"),
        (FaultRule(call=""), "call '' is not one of"),
        (FaultRule(call="pull", error="Nope"), "error 'Nope' is not a class"),
        (FaultRule(call="pull", error="_quoted"), "is not a class"),
        (FaultRule(call="pull", error="annotations"), "is not a class"),
    ],
)
def test_a_rule_that_means_nothing_is_refused(rule: FaultRule, text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        Failing(FakeEngine(), [rule])


async def test_what_the_engine_cannot_do_stays_so() -> None:
    with pytest.raises(Unsupported, match="backend 'fake' cannot measure a container"):
        await Failing(FakeEngine()).usage("c1")
