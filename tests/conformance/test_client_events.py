"""The client's events, both colours: nothing twice, nothing lost, whatever becomes of the runtime in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from criadapt import AsyncClient, errors
from criadapt.client.timeline import REMEMBERED, Timeline
from criadapt.cri.v1 import api_pb2 as pb
from criadapt.model.container import Container, ContainerConfig, ContainerMetadata, ContainerState, ContainerStatus
from criadapt.model.image import ImageSpec
from criadapt.model.runtime import ContainerEventResponse, ContainerEventType
from criadapt.model.sandbox import (
    PodSandbox,
    PodSandboxConfig,
    PodSandboxMetadata,
    PodSandboxState,
    PodSandboxStatus,
)
from criadapt.model.signals import Signal
from criadapt.testing.colours import COLOURS, connected
from criadapt.testing.factories import BUSYBOX
from criadapt.testing.inprocess import InProcess, until
from criadapt.testing.relay import refusal, relaying, saying
from criadapt.testing.server import running_server

CREATED, STARTED, STOPPED, DELETED = ContainerEventType
PATIENCE = 20.0

Told = tuple[str, ContainerEventType]


class Listener:
    """Collects a client's events."""

    def __init__(self, events: AsyncIterator[ContainerEventResponse]) -> None:
        self.seen: list[ContainerEventResponse] = []
        self._task = asyncio.ensure_future(self._listen(events))

    async def _listen(self, events: AsyncIterator[ContainerEventResponse]) -> None:
        async for event in events:
            self.seen.append(event)

    @property
    def told(self) -> list[Told]:
        return [(event.container_id, event.container_event_type) for event in self.seen]

    async def hear(self, *wanted: Told) -> None:
        """Wait until all has been told that is wanted; it must be all that there is, in this order."""
        await until(lambda: len(self.told) >= len(wanted) or self._task.done(), timeout=PATIENCE, what=str(wanted))
        if self._task.done():
            self._task.result()
        assert self.told == list(wanted)

    async def ended(self) -> None:
        await asyncio.wait_for(self._task, PATIENCE)

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


@asynccontextmanager
async def listening(client: AsyncClient, **options: Any) -> AsyncIterator[Listener]:
    listener = Listener(client.events(**options))
    try:
        yield listener
    finally:
        await client.aclose()  # a thread that waits for an event can only be got out so
        await listener.stop()


async def subscribed(server: InProcess) -> None:
    await until(lambda: server.runtime.events._subscriptions, timeout=PATIENCE, what="somebody listens")


@pytest.fixture(params=COLOURS)
def colour(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Standing:
    """A path at which the server is, though it takes another one with every start."""

    def __init__(self, server: InProcess) -> None:
        self._server = server
        self.path = Path(f"{server.socket}.here")
        self.follow()

    @property
    def endpoint(self) -> str:
        return f"unix://{self.path}"

    def follow(self) -> None:
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(self._server.socket)


# ---------------------------------------------------------------------------------------------- streams


async def test_a_life_is_told_as_it_happens(server: InProcess, colour: str) -> None:
    socket = server.socket.with_name("relay.sock")
    old = await server.run_pod("old")
    async with (
        relaying(socket, server.channel) as relay,
        connected(colour, f"unix://{socket}") as client,
        listening(client) as listener,
    ):
        # Once at the beginning, once so that it does not fail in silence, once after the stream is there.
        await until(lambda: relay.answered["ListPodSandbox"] == 3, timeout=PATIENCE)
        pod = await server.run_pod("new")
        app = await server.run(pod)
        await server.rpc.StopContainer(container_id=app)
        await server.rpc.RemoveContainer(container_id=app)
        await server.rpc.RemovePodSandbox(pod_sandbox_id=old)
        life = [(pod, CREATED), (pod, STARTED), (app, CREATED), (app, STARTED), (app, STOPPED), (app, DELETED)]
        await listener.hear(*life, (old, STOPPED), (old, DELETED))
        stopped = listener.seen[4]
        assert stopped.pod_sandbox_status is not None
        assert stopped.pod_sandbox_status.id == pod
        assert [status.exit_code for status in stopped.containers_statuses] == [137]


async def test_what_is_there_is_told_first_if_asked_for(server: InProcess, colour: str) -> None:
    pod = await server.run_pod()
    ready, app, done = await server.create(pod, "ready"), await server.run(pod, "app"), await server.run(pod, "done")
    await server.rpc.StopContainer(container_id=done)
    async with connected(colour, f"unix://{server.socket}") as client, listening(client, existing=True) as listener:
        await until(lambda: len(listener.seen) == 8, timeout=PATIENCE)
        assert listener.told[:2] == [(pod, CREATED), (pod, STARTED)]
        assert set(listener.told[2:]) == {
            *[(ready, CREATED), (app, CREATED), (app, STARTED)],
            *[(done, CREATED), (done, STARTED), (done, STOPPED)],
        }
        last = next(event for event in listener.seen if event.container_event_type is STOPPED)
        (status,) = [status for status in last.containers_statuses if status.id == done]
        assert last.created_at == status.finished_at > 0
        await subscribed(server)
        await server.rpc.StopContainer(container_id=app)
        await until(lambda: listener.told[8:] == [(app, STOPPED)], timeout=PATIENCE)


async def test_the_bare_stream_ends_with_the_runtimes(server: InProcess, colour: str) -> None:
    standing = Standing(server)
    async with connected(colour, standing.endpoint) as client, listening(client, resync=False) as listener:
        await subscribed(server)
        pod = await server.run_pod()
        await listener.hear((pod, CREATED), (pod, STARTED))
        await server.restart()
        with suppress(errors.Unavailable):  # how it ends is the runtime's affair
            await listener.ended()


async def test_closing_the_client_ends_the_events(server: InProcess, colour: str) -> None:
    async with connected(colour, f"unix://{server.socket}") as client, listening(client) as listener:
        await subscribed(server)
        await client.aclose()
        await listener.ended()
        assert listener.told == []


async def test_a_runtime_that_is_away_from_the_start_is_an_error(server: InProcess, colour: str) -> None:
    standing = Standing(server)
    async with connected(colour, standing.endpoint) as client:
        standing.path.unlink()
        await server.restart()
        listener = Listener(client.events())
        with pytest.raises(errors.Unavailable):
            await listener.ended()


# ---------------------------------------------------------------------------------------------- what was missed


async def test_what_happened_while_the_runtime_was_away_is_told_once(server: InProcess, colour: str) -> None:
    standing = Standing(server)
    pod = await server.run_pod()
    app, quiet = await server.run(pod, "app"), await server.run(pod, "quiet")
    async with connected(colour, standing.endpoint) as client, listening(client) as listener:
        await subscribed(server)
        await server.crash(change=lambda engine: engine._life.kill(app, Signal.SIGKILL))  # type: ignore[attr-defined]
        standing.follow()
        await listener.hear((app, STOPPED))
        (event,) = listener.seen
        (status,) = [status for status in event.containers_statuses if status.id == app]
        assert (status.exit_code, event.created_at) == (137, status.finished_at)
        assert event.pod_sandbox_status is not None
        assert event.pod_sandbox_status.state is PodSandboxState.READY
        # The stream is there again, and tells the rest.
        await subscribed(server)
        await server.rpc.StopContainer(container_id=quiet)
        await server.rpc.RemoveContainer(container_id=app)
        await until(lambda: len(listener.told) == 3, timeout=PATIENCE)
        assert set(listener.told[1:]) == {(quiet, STOPPED), (app, DELETED)}


async def test_what_came_and_what_went_meanwhile_is_told_in_order(server: InProcess, colour: str) -> None:
    """The client hears nothing while its socket is away, though the runtime goes on."""
    standing = Standing(server)
    pod = await server.run_pod("old")
    app = await server.run(pod)
    async with connected(colour, standing.endpoint) as client, listening(client) as listener:
        await subscribed(server)
        standing.path.unlink()
        await server.restart()
        await server.rpc.RemovePodSandbox(pod_sandbox_id=pod)
        new = await server.run_pod("new")
        made, done = await server.create(new, "made"), await server.run(new, "done")
        await server.rpc.StopContainer(container_id=done)
        standing.follow()
        await until(lambda: len(listener.seen) >= 10, timeout=PATIENCE)
        assert listener.told[:6] == [
            *[(app, STOPPED), (app, DELETED), (pod, STOPPED), (pod, DELETED)],
            *[(new, CREATED), (new, STARTED)],
        ]
        assert set(listener.told[6:]) == {(made, CREATED), (done, CREATED), (done, STARTED), (done, STOPPED)}
        gone = listener.seen[3].pod_sandbox_status
        assert gone is not None
        assert gone.metadata is not None
        assert (gone.metadata.name, gone.state) == ("old", PodSandboxState.NOTREADY)


async def test_a_failed_start_is_not_told_as_one(server: InProcess, colour: str) -> None:
    standing = Standing(server)
    pod = await server.run_pod()
    app = await server.create(pod, command=["/no/such/program"])
    async with connected(colour, standing.endpoint) as client, listening(client) as listener:
        await subscribed(server)
        standing.path.unlink()
        await server.restart()
        with pytest.raises(grpc.aio.AioRpcError):
            await server.rpc.StartContainer(container_id=app)
        standing.follow()
        await listener.hear((app, STOPPED))


async def test_an_exit_during_a_kill_9_is_told_once(tmp_path: Path, colour: str) -> None:
    state, socket = tmp_path / "state", tmp_path / "s.sock"
    config = PodSandboxConfig(metadata=PodSandboxMetadata(name="web", uid="u", namespace="default"))
    with running_server(state_dir=state, socket=socket) as server:
        async with connected(colour, server.endpoint) as client:
            await client.pull_image(BUSYBOX)
            pod = await client.run_pod_sandbox(config)
            short, long = [await run(client, pod, config, seconds) for seconds in ("1.5", "100000")]
            async with listening(client, existing=True) as listener:
                await until(lambda: len(listener.seen) == 6, timeout=PATIENCE)
                server.kill()
                assert (short, STOPPED) not in listener.told
                await asyncio.sleep(1.6)  # the short one's time passes while nobody is there
                with running_server(state_dir=state, socket=socket):
                    await until(lambda: len(listener.seen) > 6, timeout=PATIENCE)
                    await client.stop_container(long)
                    await until(lambda: len(listener.seen) > 7, timeout=PATIENCE)
                    assert listener.told[6:] == [(short, STOPPED), (long, STOPPED)]


async def run(client: AsyncClient, pod: str, sandbox: PodSandboxConfig, seconds: str) -> str:
    """A container that runs for so many seconds."""
    metadata, image = ContainerMetadata(name=f"for-{seconds}"), ImageSpec(image=BUSYBOX)
    config = ContainerConfig(metadata=metadata, image=image, command=("sleep", seconds))
    id = await client.create_container(pod, config, sandbox)
    await client.start_container(id)
    return id


# ---------------------------------------------------------------------------------------------- without streams


@pytest.mark.parametrize(
    "answer",
    [refusal(grpc.StatusCode.UNIMPLEMENTED, "unknown method"), saying()],
    ids=["containerd 1.6: no such method", "CRI-O: a stream that ends at once"],
)
async def test_a_runtime_without_events_is_asked_for_its_lists(server: InProcess, colour: str, answer: Any) -> None:
    socket = server.socket.with_name("relay.sock")
    pod = await server.run_pod()
    async with relaying(socket, server.channel) as relay:
        relay.answers["GetContainerEvents"] = answer
        async with (
            connected(colour, f"unix://{socket}") as client,
            listening(client, interval=0.01) as listener,
        ):
            await until(lambda: relay.calls["ListContainers"] > 5, timeout=PATIENCE)
            app = await server.run(pod)
            await listener.hear((app, CREATED), (app, STARTED))
            await server.rpc.RemoveContainer(container_id=app)
            await listener.hear((app, CREATED), (app, STARTED), (app, STOPPED), (app, DELETED))


async def test_statuses_are_asked_for_where_the_pod_does_not_tell_them(server: InProcess, colour: str) -> None:
    """containerd answers PodSandboxStatus without the containers."""
    socket = server.socket.with_name("relay.sock")
    pod = await server.run_pod()
    bare = pb.PodSandboxStatusResponse(status=await server.pod(pod))
    async with relaying(socket, server.channel) as relay:
        relay.answers["PodSandboxStatus"] = saying(bare)
        relay.answers["GetContainerEvents"] = refusal(grpc.StatusCode.UNIMPLEMENTED, "")
        async with (
            connected(colour, f"unix://{socket}") as client,
            listening(client, interval=0.01) as listener,
        ):
            await until(lambda: relay.calls["ListContainers"] > 3, timeout=PATIENCE)
            app = await server.run(pod)
            await listener.hear((app, CREATED), (app, STARTED))
            assert [status.id for status in listener.seen[-1].containers_statuses] == [app]


# ---------------------------------------------------------------------------------------------- the timeline alone


def pod_row(id: str = "pod", state: PodSandboxState = PodSandboxState.READY) -> PodSandbox:
    return PodSandbox(id=id, state=state)


def row(id: str, state: ContainerState, pod: str = "pod") -> Container:
    return Container(id=id, state=state, pod_sandbox_id=pod)


def event(id: str, type: ContainerEventType, at: int = 100) -> ContainerEventResponse:
    return ContainerEventResponse(
        container_id=id,
        container_event_type=type,
        created_at=at,
        pod_sandbox_status=PodSandboxStatus(id="pod"),
        containers_statuses=(ContainerStatus(id=id),),
    )


def missed(timeline: Timeline, pods: Sequence[PodSandbox], containers: Sequence[Container]) -> list[Told]:
    return [(found.thing.id, found.type) for found in timeline.missed(pods, containers)]


def test_an_event_after_the_list_that_showed_it_is_a_double() -> None:
    timeline = Timeline()
    timeline.begin([pod_row()], [row("a", ContainerState.RUNNING)], now=50)
    assert missed(timeline, [pod_row()], [row("a", ContainerState.EXITED)]) == [("a", STOPPED)]
    assert not timeline.news(event("a", STOPPED))
    assert timeline.news(event("a", DELETED))
    assert not timeline.news(event("a", DELETED))


def test_events_kept_from_before_our_time_are_not_told() -> None:
    timeline = Timeline()
    timeline.begin([], [], now=50)
    assert not timeline.news(event("a", STOPPED, at=49))
    assert timeline.news(event("a", STARTED, at=51))


def test_of_a_list_that_is_older_than_the_events_nothing_is_told() -> None:
    timeline = Timeline()
    timeline.begin([pod_row()], [], now=50)
    for type in ContainerEventType:
        assert timeline.news(event("a", type))
    assert missed(timeline, [pod_row()], [row("a", ContainerState.RUNNING)]) == []


def test_what_is_not_taken_is_told_again() -> None:
    timeline = Timeline()
    timeline.begin([pod_row()], [], now=50)
    rows = [row("a", ContainerState.RUNNING)]
    assert next(timeline.missed([pod_row()], rows)).type is CREATED
    assert missed(timeline, [pod_row()], rows) == [("a", CREATED), ("a", STARTED)]


def test_a_state_that_the_runtime_does_not_know_tells_nothing() -> None:
    timeline = Timeline()
    timeline.begin([pod_row()], [row("a", ContainerState.RUNNING)], now=50)
    assert missed(timeline, [pod_row()], [row("a", ContainerState.UNKNOWN)]) == []
    assert missed(timeline, [pod_row()], [row("a", ContainerState.EXITED)]) == [("a", STOPPED)]


def test_a_container_that_never_ran_is_deleted_without_having_stopped() -> None:
    timeline = Timeline()
    timeline.begin([pod_row()], [row("a", ContainerState.CREATED)], now=50)
    assert missed(timeline, [pod_row()], []) == [("a", DELETED)]


def test_the_deleted_are_not_remembered_for_ever() -> None:
    timeline = Timeline()
    for number in range(REMEMBERED + 10):
        timeline.news(event(str(number), CREATED))
        timeline.news(event(str(number), DELETED))
    assert len(timeline._deleted) == REMEMBERED
