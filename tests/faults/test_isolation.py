"""What goes wrong or takes long in one place is not felt in another."""

import asyncio
import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from criadapt.config import FaultRule
from criadapt.core import events as core_events
from criadapt.cri.v1 import api_pb2 as pb
from criadapt.testing.inprocess import InProcess, Stub, pod_config, refused, until

QUICK = ("Version", "Status", "ListPodSandbox", "ListContainers", "ListImages", "ImageFsInfo")


async def quick_calls_are_quick(server: InProcess) -> None:
    for name in QUICK:
        began = time.perf_counter()
        await getattr(server.rpc, name)()
        assert time.perf_counter() - began < 1, name


@pytest.mark.parametrize("call", ["pull", "create", "start", "kill", "remove", "exec", "usage", "inspect"])
async def test_a_hanging_engine_call_delays_nobody_else(server: InProcess, call: str) -> None:
    pod = await server.run_pod()
    app = await server.run(pod)
    # Everything else goes on: only calls for the victim hang.
    gate = server.backend.hold(call)
    victims: dict[str, Any] = {
        "pull": lambda: server.rpc.PullImage(image={"image": "nginx"}),
        "create": lambda: server.rpc.RunPodSandbox(config=pod_config("victim")),
        "start": lambda: server.rpc.RunPodSandbox(config=pod_config("victim")),
        "inspect": lambda: server.rpc.RunPodSandbox(config=pod_config("victim")),
        "kill": lambda: server.rpc.StopContainer(container_id=app),
        "remove": lambda: server.rpc.RemoveContainer(container_id=app),
        "exec": lambda: server.rpc.ExecSync(container_id=app, cmd=["true"]),
        "usage": lambda: server.rpc.ContainerStats(container_id=app),
    }
    victim = asyncio.ensure_future(_swallow(victims[call]()))
    await asyncio.wait_for(gate.reached.wait(), 5)
    await quick_calls_are_quick(server)
    other = await server.run_pod("other")
    assert (await server.exec(await server.run(other), "true")).exit_code == 0
    await server.rpc.RemovePodSandbox(pod_sandbox_id=other)
    assert not victim.done()
    gate.open()
    await asyncio.wait_for(victim, 5)


async def _swallow(call: Any) -> None:
    try:
        await call
    except grpc.aio.AioRpcError:
        return


async def test_a_list_is_answered_from_memory(server: InProcess) -> None:
    await server.run(await server.run_pod())
    server.backend.calls.clear()
    for name in ("ListPodSandbox", "ListContainers"):
        await getattr(server.rpc, name)()
        await getattr(server.rpc, name)(filter={"label_selector": {"a": "b"}})
    await server.chunks("StreamContainers")
    assert not server.backend.calls


# ------------------------------------------------------------------ subscribers


async def test_a_subscriber_who_does_not_read_is_dropped_and_nobody_else_suffers(
    server: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_events, "QUEUE_LIMIT", 50)
    async with server.connect() as channel:
        lazy = Stub(channel).GetContainerEvents(pb.GetEventsRequest())
        await lazy.initial_metadata()
        eager = server.rpc.GetContainerEvents(deadline=None)
        await eager.initial_metadata()
        heard = 0

        async def listen() -> None:
            nonlocal heard
            async for _ in eager:
                heard += 1

        listening = asyncio.ensure_future(listen())
        # What gRPC and the kernel hold for the lazy one must be filled first.
        pod = await server.run_pod(annotations={"x": "y" * 60_000})
        wanted = 2
        for number in range(2000):
            app = await server.create(pod, f"c{number}")
            await server.rpc.RemoveContainer(container_id=app)
            wanted += 2
            if server.runtime.events.dropped:
                break
        assert server.runtime.events.dropped == 1
        await until(lambda: heard == wanted)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in lazy:
                pass
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        eager.cancel()
        await asyncio.wait([listening])


async def test_many_subscribers_come_and_go(server: InProcess) -> None:
    before = server.traces()
    for _ in range(20):
        calls = [server.rpc.GetContainerEvents(deadline=None) for _ in range(5)]
        for call in calls:
            await call.initial_metadata()
        for call in calls:
            call.cancel()
    await server.leaves(before)


# ------------------------------------------------------------------ disks


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
async def test_a_full_disk_loses_log_lines_and_nothing_else(server: InProcess) -> None:
    (server.logs / "web").mkdir(parents=True)
    (server.logs / "web" / "app.log").symlink_to("/dev/full")
    app = await server.run(await server.run_pod(), command=["seq", "50000"])
    assert (await server.exited(app)).exit_code == 0
    assert server.runtime.pumps.dropped > 0


async def test_a_log_file_that_cannot_be_opened_fails_the_start_in_words(server: InProcess) -> None:
    (server.logs / "web" / "app.log").mkdir(parents=True)
    app = await server.create(await server.run_pod())
    before = server.traces()
    with refused(grpc.StatusCode.UNKNOWN, saying="app.log"):
        await server.rpc.StartContainer(container_id=app)
    await server.leaves(before)
    assert (await server.container(app)).state == pb.CONTAINER_CREATED
    (server.logs / "web" / "app.log").rmdir()
    await server.rpc.StartContainer(container_id=app)


async def test_a_log_directory_that_cannot_be_made_leaves_nothing(server: InProcess) -> None:
    server.logs.write_text("a file is in the way")
    before = server.traces()
    with refused(grpc.StatusCode.UNKNOWN, saying="log_directory"):
        await server.run_pod()
    await server.leaves(before)
    os.unlink(server.logs)
    assert await server.run_pod()


async def test_a_log_directory_that_vanishes_is_made_again(server: InProcess) -> None:
    pod = await server.run_pod()
    (server.logs / "web").rmdir()
    app = await server.run(pod, command=["echo", "x"])
    await server.exited(app)
    assert (server.logs / "web" / "app.log").read_text().endswith("x\n")


async def test_pod_files_that_cannot_be_written_leave_nothing(
    server: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    await server.run_pod()
    before = server.traces()
    with monkeypatch.context() as patch:
        patch.setattr("criadapt.core.podfiles.resolv_conf", full)  # after two files were written
        with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, saying=os.strerror(errno.ENOSPC)):
            await server.run_pod("other")
    await server.leaves(before)
    assert await server.run_pod("other")


@contextmanager
def unwritable(server: InProcess) -> Iterator[None]:
    """The journal is on a full disk, or on one that went read-only."""
    journal = server.runtime.store._journal._db
    journal.execute("PRAGMA query_only=ON")
    yield
    journal.execute("PRAGMA query_only=OFF")


async def test_a_journal_that_cannot_be_written_leaves_nothing(server: InProcess) -> None:
    pod = await server.run_pod()
    before = server.traces()
    with unwritable(server):
        for call in (server.run_pod("other"), server.create(pod)):
            with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNKNOWN):
                await call
        await server.leaves(before)
    assert await server.run_pod("other")
    assert await server.create(pod)


async def test_exits_are_told_although_the_journal_cannot_be_written(server: InProcess) -> None:
    app = await server.run(await server.run_pod())
    with unwritable(server):
        await server.rpc.StopContainer(container_id=app, timeout=1, deadline=3)
        assert (await server.container(app)).state == pb.CONTAINER_EXITED
    server.errors.clear()  # it was rightly complained of


async def test_exits_are_remembered_once_the_journal_can_be_written_again(server: InProcess) -> None:
    app = await server.run(await server.run_pod())
    with unwritable(server), suppress(grpc.aio.AioRpcError):
        await server.rpc.StopContainer(container_id=app, deadline=0.5)
    await server.runtime.monitor.relist()
    told = await server.exited(app)
    assert told.exit_code == 137
    server.errors.clear()
    await server.crash()
    again = await server.exited(app)
    assert (again.exit_code, again.reason) == (told.exit_code, told.reason)


# ------------------------------------------------------------------ the engine goes away and comes back


async def test_exits_are_noticed_after_the_event_stream_broke(server: InProcess) -> None:
    from criadapt.model.signals import Signal

    app = await server.run(await server.run_pod())
    hang = server.backend.hold("events")
    server.mock._feed.close()
    await asyncio.wait_for(hang.reached.wait(), 5)  # nobody listens now
    await server.mock.kill(app, Signal.SIGKILL)
    hang.open()
    status = await server.exited(app)
    assert status.exit_code == 137


async def test_a_failing_list_does_not_make_containers_lost(server: InProcess) -> None:
    app = await server.run(await server.run_pod())
    server.backend.set_rules([FaultRule(call="containers", error="Unavailable", times=2)])
    with pytest.raises(Exception, match="injected"):
        await server.runtime.monitor.relist()
    assert (await server.container(app)).state == pb.CONTAINER_RUNNING


async def test_a_container_made_while_the_engine_lists_is_not_lost(server: InProcess) -> None:
    pod = await server.run_pod()
    gate = server.backend.hold("containers", after=True)
    listing = asyncio.ensure_future(server.runtime.monitor.relist())
    await asyncio.wait_for(gate.reached.wait(), 5)
    app = await server.run(pod)
    gate.open()
    await listing
    assert (await server.container(app)).state == pb.CONTAINER_RUNNING
