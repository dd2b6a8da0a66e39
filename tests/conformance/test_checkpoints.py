"""Checkpoint and restore, of a container and of a pod."""

from pathlib import Path
from typing import Any

import grpc
import pytest

from criadapt.config import FaultRule
from criadapt.cri.v1 import api_pb2 as pb
from criadapt.testing.inprocess import InProcess, container_config, pod_config, refused

FAILED_PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND


async def test_a_container_is_saved_and_runs_on(server: InProcess, tmp_path: Path) -> None:
    app = await server.run(await server.run_pod())
    file = tmp_path / "checkpoint.tar"
    await server.rpc.CheckpointContainer(container_id=app, location=str(file), timeout=5)
    assert file.stat().st_size > 0
    assert file.stat().st_mode & 0o777 == 0o600
    assert (await server.container(app)).state == pb.CONTAINER_RUNNING
    assert (await server.exec(app, "echo", "alive")).stdout == b"alive\n"


@pytest.mark.parametrize("location", ["", "relative.tar", "/no/such/folder/x.tar", "/nul\0/x"])
async def test_a_location_that_cannot_be_is_refused(server: InProcess, location: str) -> None:
    app = await server.run(await server.run_pod())
    with refused(INVALID, saying="location"):
        await server.rpc.CheckpointContainer(container_id=app, location=location)


async def test_a_location_that_is_a_folder_is_refused(server: InProcess, tmp_path: Path) -> None:
    app = await server.run(await server.run_pod())
    (tmp_path / "folder").mkdir()
    with refused(INVALID, FAILED_PRECONDITION, grpc.StatusCode.PERMISSION_DENIED):
        await server.rpc.CheckpointContainer(container_id=app, location=str(tmp_path / "folder"))
    assert not list((tmp_path / "folder").iterdir())


async def test_only_what_runs_is_saved(server: InProcess, tmp_path: Path) -> None:
    created = await server.create(await server.run_pod())
    with refused(FAILED_PRECONDITION, saying=created[:13]):
        await server.rpc.CheckpointContainer(container_id=created, location=str(tmp_path / "x"))
    with refused(NOT_FOUND):
        await server.rpc.CheckpointContainer(container_id="nobody", location=str(tmp_path / "x"))


@pytest.mark.parametrize("after", [False, True])
async def test_a_failed_checkpoint_leaves_no_file(server: InProcess, tmp_path: Path, after: bool) -> None:
    app = await server.run(await server.run_pod())
    folder = tmp_path / "out"
    folder.mkdir()
    server.backend.set_rules([FaultRule(call="checkpoint", error="EngineError", after=after)])
    with refused(grpc.StatusCode.UNKNOWN):
        await server.rpc.CheckpointContainer(container_id=app, location=str(folder / "x"))
    assert not list(folder.iterdir())


async def test_a_checkpoint_that_takes_too_long_leaves_no_file(server: InProcess, tmp_path: Path) -> None:
    app = await server.run(await server.run_pod())
    folder = tmp_path / "out"
    folder.mkdir()
    server.backend.set_rules([FaultRule(call="checkpoint", hang=True, after=True)])
    with refused(grpc.StatusCode.DEADLINE_EXCEEDED, saying="within 1 s"):
        await server.rpc.CheckpointContainer(container_id=app, location=str(folder / "x"), timeout=1)
    assert not list(folder.iterdir())


# ------------------------------------------------------------------ pods


async def saved_pod(server: InProcess, folder: Path) -> tuple[str, dict[str, str]]:
    """A pod with two running containers, saved in `folder`."""
    folder.mkdir()
    pod = await server.run_pod("old")
    apps = {name: await server.run(pod, name) for name in ("one", "two")}
    await server.rpc.CheckpointPod(pod_sandbox_id=pod, output_path=str(folder), container_ids=apps.values())
    return pod, apps


async def restore(server: InProcess, folder: Path, *names: str, **fields: Any) -> Any:
    configs = [container_config(name, log_path=f"{name}.log") for name in names]
    return await server.rpc.RestorePod(
        checkpoint_path=str(folder), config=pod_config("new"), container_configs=configs, **fields
    )


async def test_a_pod_is_saved_and_runs_on(server: InProcess, tmp_path: Path) -> None:
    pod, apps = await saved_pod(server, tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) >= 2
    assert (await server.pod(pod)).state == pb.SANDBOX_READY
    for app in apps.values():
        assert (await server.exec(app, "echo", "alive")).stdout == b"alive\n"


async def test_a_saved_pod_comes_back_beside_the_old_one(server: InProcess, tmp_path: Path) -> None:
    pod, apps = await saved_pod(server, tmp_path / "out")
    content = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    answer = await restore(server, tmp_path / "out", "two", "one")
    assert answer.pod_sandbox_id != pod
    restored = {each.name: each.container_id for each in answer.restored_containers}
    assert set(restored) == {"one", "two"}
    assert not set(restored.values()) & set(apps.values())
    for id in restored.values():
        assert (await server.container(id)).state == pb.CONTAINER_CREATED
        await server.rpc.StartContainer(container_id=id)
        assert (await server.exec(id, "pgrep", "-f", "sleep 100000")).exit_code == 0
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == content


async def test_it_goes_on_where_it_was_saved(server: InProcess, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    command = ["sh", "-c", "echo once; sleep 100000"]
    pod = await server.run_pod("old")
    app = await server.run(pod, "one", command=command)
    await server.rpc.CheckpointPod(pod_sandbox_id=pod, output_path=str(folder), container_ids=[app])
    config = container_config("one", command=command, log_path="one.log")
    answer = await server.rpc.RestorePod(
        checkpoint_path=str(folder),
        config=pod_config("new", log_directory=str(server.logs / "new")),
        container_configs=[config],
    )
    (restored,) = answer.restored_containers
    await server.rpc.StartContainer(container_id=restored.container_id)
    assert (await server.exec(restored.container_id, "echo", "alive")).stdout == b"alive\n"
    assert (server.logs / "new" / "one.log").read_bytes() == b""  # it had said "once" before


@pytest.mark.parametrize("names", [(), ("one",), ("one", "one"), ("one", "three"), ("one", "two", "three")])
async def test_the_names_must_be_those_that_were_saved(
    server: InProcess, tmp_path: Path, names: tuple[str, ...]
) -> None:
    await saved_pod(server, tmp_path / "out")
    before = server.traces()
    with refused(INVALID, saying="container_configs"):
        await restore(server, tmp_path / "out", *names)
    await server.leaves(before)


async def test_another_process_cannot_be_restored(server: InProcess, tmp_path: Path) -> None:
    await saved_pod(server, tmp_path / "out")
    configs = [container_config("one", command=["top"]), container_config("two")]
    with refused(INVALID, saying=("command", "'one'")):
        await server.rpc.RestorePod(
            checkpoint_path=str(tmp_path / "out"), config=pod_config("new"), container_configs=configs
        )


async def test_options_and_handlers_nobody_knows_are_refused(server: InProcess, tmp_path: Path) -> None:
    pod, apps = await saved_pod(server, tmp_path / "out")
    before = server.traces()
    with refused(INVALID, saying="options"):
        await restore(server, tmp_path / "out", "one", "two", options={"leave-running": "true"})
    with refused(INVALID, saying="runtime_handler"):
        await restore(server, tmp_path / "out", "one", "two", runtime_handler="kata")
    (tmp_path / "other").mkdir()
    with refused(INVALID, saying="options"):
        await server.rpc.CheckpointPod(
            pod_sandbox_id=pod,
            output_path=str(tmp_path / "other"),
            container_ids=apps.values(),
            options={"unknown": "x"},
        )
    await server.leaves(before)


async def test_a_checkpoint_that_is_none_is_refused(server: InProcess, tmp_path: Path) -> None:
    before = server.traces()
    for path in ("", "relative", "/no/such/folder", str(tmp_path)):
        with refused(INVALID, saying="checkpoint_path"):
            await server.rpc.RestorePod(
                checkpoint_path=path, config=pod_config("new"), container_configs=[container_config()]
            )
    (tmp_path / "pod.json").write_text("{}")
    with refused(INVALID, saying="damaged"):
        await restore(server, tmp_path, "one")
    await server.leaves(before)


async def test_a_checkpoint_with_a_damaged_part_leaves_nothing(server: InProcess, tmp_path: Path) -> None:
    await saved_pod(server, tmp_path / "out")
    for path in (tmp_path / "out").glob("*.checkpoint"):
        path.write_text("damaged")
    before = server.traces()
    with refused(INVALID):
        await restore(server, tmp_path / "out", "one", "two")
    await server.leaves(before)


async def test_a_pod_s_checkpoint_needs_an_empty_folder_and_running_containers(
    server: InProcess, tmp_path: Path
) -> None:
    pod = await server.run_pod()
    app, created = await server.run(pod), await server.create(pod, "created")
    other = await server.run(await server.run_pod("other"))
    folder = tmp_path / "out"

    async def checkpoint(*ids: str, path: Path | str = folder) -> None:
        await server.rpc.CheckpointPod(pod_sandbox_id=pod, output_path=str(path), container_ids=ids)

    with refused(INVALID, saying="output_path"):
        await checkpoint(app)
    folder.mkdir()
    for ids, word in (((), "container_ids is empty"), ((app, app[:20]), "twice"), ((app, other), "not in pod")):
        with refused(INVALID, saying=word):
            await checkpoint(*ids)
    with refused(FAILED_PRECONDITION, saying=created[:13]):
        await checkpoint(app, created)
    with refused(NOT_FOUND):
        await checkpoint(app, "nobody")
    with refused(INVALID, saying="output_path"):
        await checkpoint(app, path="relative")
    assert not list(folder.iterdir())
    (folder / "something").write_text("x")
    with refused(INVALID, saying="not empty"):
        await checkpoint(app)
    assert [path.name for path in folder.iterdir()] == ["something"]


@pytest.mark.parametrize("call", ["pause", "checkpoint", "resume"])
@pytest.mark.parametrize("nth", [1, 2])
async def test_whatever_fails_the_containers_go_on(server: InProcess, tmp_path: Path, call: str, nth: int) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    pod = await server.run_pod()
    apps = [await server.run(pod, name) for name in ("one", "two")]
    server.backend.set_rules([FaultRule(call=call, error="EngineError", nth=nth)])
    try:
        await server.rpc.CheckpointPod(pod_sandbox_id=pod, output_path=str(folder), container_ids=apps)
    except grpc.aio.AioRpcError as error:
        assert error.code() is grpc.StatusCode.UNKNOWN  # noqa: PT017
        assert not list(folder.iterdir())
    server.backend.set_rules(())
    alive = [app for app in apps if (await server.exec(app, "true")).exit_code == 0] if call != "resume" else apps
    assert alive == apps
