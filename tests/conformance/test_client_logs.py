"""The client's logs, both colours: what was written, what is being written, and where it ends."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from criadapt import AsyncClient, errors
from criadapt.logs.lines import LogLine
from criadapt.testing.colours import COLOURS, connected
from criadapt.testing.inprocess import InProcess, serving_inprocess, until

COUNT = ("sh", "-c", "i=0; while true; do i=$((i+1)); echo $i; sleep 0.01; done")


async def texts(client: AsyncClient, container: str, **options: Any) -> list[str]:
    return [line.text async for line in client.logs(container, **options)]


async def logged(server: InProcess, *command: str, **fields: Any) -> str:
    """A container that has exited."""
    app = await server.run(await server.run_pod(), command=command, **fields)
    await server.exited(app)
    return app


async def test_all_lines_of_a_container_that_has_ended(client: AsyncClient, server: InProcess) -> None:
    app = await logged(server, "sh", "-c", "echo one; echo two >&2; printf three")
    found = [line async for line in client.logs(app)]
    assert [(line.stream, line.text) for line in found] == [("stdout", "one"), ("stderr", "two"), ("stdout", "three")]
    assert timedelta() <= datetime.now(UTC) - found[0].time < timedelta(minutes=1)


async def test_a_container_may_be_named(client: AsyncClient, server: InProcess) -> None:
    await logged(server, "echo", "hello")
    assert await texts(client, "app") == ["hello"]
    assert await texts(client, "web/app") == ["hello"]


async def test_long_lines_come_in_one(client: AsyncClient, server: InProcess) -> None:
    app = await logged(server, "sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x; echo; echo end")
    assert await texts(client, app) == ["x" * 100000, "end"]
    assert len(await texts(client, app, pieces=True)) > 2


async def test_less_is_given_on_request(client: AsyncClient, server: InProcess) -> None:
    app = await logged(server, "sh", "-c", "seq 5; echo bad >&2")
    assert await texts(client, app, tail=2, streams=("stdout",)) == ["4", "5"]
    assert await texts(client, app, streams=["stderr"]) == ["bad"]
    assert await texts(client, app, since=datetime.now(UTC) + timedelta(hours=1)) == []
    assert await texts(client, app, until=timedelta(hours=1)) == []


async def test_following_ends_with_the_container(client: AsyncClient, server: InProcess) -> None:
    app = await server.run(await server.run_pod(), command=["sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.1; done"])
    assert await texts(client, app, follow=True, poll=0.01) == ["1", "2", "3"]


async def test_without_following_the_present_end_is_the_end(client: AsyncClient, server: InProcess) -> None:
    app = await server.run(await server.run_pod(), command=["sh", "-c", "echo ready; sleep 100000"])
    await until(lambda: texts(client, app))
    assert await texts(client, app) == ["ready"]


async def test_following_goes_on_over_rotations(client: AsyncClient, server: InProcess) -> None:
    app = await server.run(await server.run_pod(), command=COUNT)
    path = Path((await server.rpc.ContainerStatus(container_id=app)).status.log_path)
    found: list[str] = []

    async def follow() -> None:
        async for line in client.logs(app, follow=True, poll=0.01):
            found.append(line.text)

    task = asyncio.ensure_future(follow())
    for number in range(1, 4):
        before = len(found)
        await until(lambda before=before: len(found) > before)  # type: ignore[misc]
        path.rename(path.with_name(f"{path.name}.20240101-00000{number}"))
        await server.rpc.ReopenContainerLog(container_id=app)
    before = len(found)
    await until(lambda: len(found) > before)
    await server.rpc.StopContainer(container_id=app)
    await task
    assert found == [str(number) for number in range(1, len(found) + 1)]
    assert await texts(client, app, rotated=True) == found
    assert await texts(client, app, rotated=True, tail=3) == found[-3:]
    assert len(await texts(client, app)) < len(found)


@pytest.mark.parametrize("colour", COLOURS)
async def test_following_goes_on_over_a_restart_of_the_runtime(tmp_path: Path, colour: str) -> None:
    found: list[LogLine] = []

    async def follow(client: AsyncClient, app: str) -> None:
        async for line in client.logs(app, follow=True, poll=0.01):
            found.append(line)

    socket = tmp_path / "cri.sock"  # a server that was restarted is elsewhere
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving_inprocess(tmp_path))
        socket.symlink_to(server.socket)
        client = await stack.enter_async_context(connected(colour, f"unix://{socket}"))
        app = await server.run(await server.run_pod(), command=COUNT)
        task = asyncio.ensure_future(follow(client, app))
        await until(lambda: found)
        await server.restart()
        socket.unlink()
        socket.symlink_to(server.socket)
        before = len(found)
        await until(lambda: len(found) > before + 5)
        await server.rpc.StopContainer(container_id=app)
        await task
    assert [line.text for line in found] == [str(number) for number in range(1, len(found) + 1)]


async def test_a_container_yet_to_be_started_is_waited_for(client: AsyncClient, server: InProcess) -> None:
    pod = await server.run_pod()
    app = await server.create(pod, command=["echo", "at last"])
    assert await texts(client, app) == []
    task = asyncio.ensure_future(texts(client, app, follow=True, poll=0.01))
    await server.rpc.StartContainer(container_id=app)
    assert await task == ["at last"]


async def test_a_follower_may_leave(client: AsyncClient, server: InProcess) -> None:
    app = await server.run(await server.run_pod(), command=COUNT)
    lines = client.logs(app, follow=True, poll=0.01)
    assert (await anext(lines)).text == "1"
    await lines.aclose()
    assert (await client.container_status(app)).status.id == app


async def test_a_log_that_is_elsewhere_is_named(client: AsyncClient, server: InProcess) -> None:
    app = await logged(server, "echo", "hello")
    path = Path((await client.container_status(app)).status.log_path)
    path.unlink()
    with pytest.raises(errors.NotFound, match=r"app\.log' of container .* does not exist here; if unix://"):
        await texts(client, app)


async def test_a_container_may_keep_no_log(client: AsyncClient, server: InProcess) -> None:
    app = await logged(server, "echo", "hello", log_path="")
    with pytest.raises(errors.FailedPrecondition, match="keeps no log: it has no log_path"):
        await texts(client, app)


async def test_nobody_s_log(client: AsyncClient) -> None:
    with pytest.raises(errors.NotFound):
        await texts(client, "nobody")
