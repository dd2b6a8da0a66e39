"""Checkpoints: all or nothing, and the containers always go on."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from criadapt.core.checkpoints import MANIFEST, Checkpoints
from criadapt.errors import AlreadyExists, ContainerNotFound, EngineError, FailedPrecondition, InvalidArgument
from criadapt.model.container import ContainerState
from criadapt.model.sandbox import PodSandboxState
from criadapt.testing.factories import container_config, sandbox_config


@pytest.fixture
def checkpoints(core: Any) -> Checkpoints:
    return Checkpoints(core.store, core.engine, core.sandboxes, core.containers)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ---------------------------------------------------------------------------------------------- one container


async def test_a_checkpoint_is_a_file_and_the_container_runs_on(core: Any, checkpoints: Any, folder: Path) -> None:
    id = await core.running()
    await checkpoints.container(id, str(folder / "c.tar"), 0)
    assert names(folder) == ["c.tar"]
    assert core.state(id) is ContainerState.RUNNING


async def test_a_checkpoint_that_failed_leaves_nothing(core: Any, checkpoints: Any, folder: Path) -> None:
    id = await core.running()
    core.engine.lost["checkpoint"] = EngineError("criu failed")
    with pytest.raises(EngineError):
        await checkpoints.container(id, str(folder / "c.tar"), 0)
    assert names(folder) == []


async def test_what_cannot_be_checkpointed_is_refused(core: Any, checkpoints: Any, folder: Path) -> None:
    pod = await core.pod()
    running, created = await core.running(pod, "a"), await core.created(pod, "b")
    for id, path, error in (
        (created, folder / "c", FailedPrecondition),
        ("unknown", folder / "c", ContainerNotFound),
        (running, "relative", InvalidArgument),
        (running, "", InvalidArgument),
        (running, folder / "none" / "c", InvalidArgument),
    ):
        with pytest.raises(error):
            await checkpoints.container(id, str(path), 0)
    assert core.engine.called("checkpoint") == []


# ---------------------------------------------------------------------------------------------- a pod


async def test_all_are_frozen_before_the_first_is_saved_and_resumed_at_the_end(
    core: Any, checkpoints: Any, folder: Path
) -> None:
    pod = await core.pod()
    ids = [await core.running(pod, name) for name in ("a", "b")]
    core.engine.calls.clear()
    await checkpoints.pod(pod, str(folder), ids, {})
    assert [call for call, _ in core.engine.calls] == ["pause"] * 2 + ["checkpoint"] * 2 + ["resume"] * 2
    assert names(folder) == ["0.checkpoint", "1.checkpoint", MANIFEST]
    assert [saved["name"] for saved in json.loads((folder / MANIFEST).read_bytes())["containers"]] == ["a", "b"]


@pytest.mark.parametrize("step", ["pause", "checkpoint"])
async def test_a_failure_leaves_nothing_and_resumes_all(
    core: Any, checkpoints: Any, folder: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = await core.pod()
    ids = [await core.running(pod, name) for name in ("a", "b")]
    original = getattr(core.engine, step)

    async def fails_for_the_second(id: str, *rest: Any) -> None:
        await original(id, *rest)
        if id == ids[1]:
            raise EngineError("no")

    monkeypatch.setattr(core.engine, step, fails_for_the_second)
    with pytest.raises(EngineError):
        await checkpoints.pod(pod, str(folder), ids, {})
    assert names(folder) == []
    assert sorted(core.engine.called("resume")) == sorted(ids)


async def test_bad_requests_for_a_pod_freeze_nothing(core: Any, checkpoints: Any, folder: Path) -> None:
    pod, other = await core.pod(), await core.pod("other")
    id, elsewhere, created = await core.running(pod), await core.running(other), await core.created(pod, "created")
    (folder.parent / "full").mkdir()
    (folder.parent / "full" / "x").touch()
    for ids, path, options, text in (
        ([], folder, {}, "container_ids is empty"),
        ([id, id], folder, {}, "twice"),
        ([id, id[:20]], folder, {}, "twice"),
        ([elsewhere], folder, {}, "is not in pod"),
        ([created], folder, {}, "is not running"),
        ([id], "relative", {}, "output_path"),
        ([id], folder.parent / "none", {}, "output_path"),
        ([id], folder.parent / "full", {}, "is not empty"),
        ([id], folder, {"key": "x"}, "options: 'key' is not known"),
    ):
        with pytest.raises((InvalidArgument, FailedPrecondition), match=text):
            await checkpoints.pod(pod, str(path), ids, options)
    assert core.engine.called("pause") == []


# ---------------------------------------------------------------------------------------------- restore


async def saved(core: Any, checkpoints: Any, folder: Path) -> None:
    pod = await core.pod()
    await checkpoints.pod(pod, str(folder), [await core.running(pod, name) for name in ("a", "b")], {})


CONFIGS = [container_config("b", labels={"new": "1"}), container_config("a")]


async def test_a_restored_pod_is_a_new_one_with_created_containers(core: Any, checkpoints: Any, folder: Path) -> None:
    await saved(core, checkpoints, folder)
    pod, restored = await checkpoints.restore(str(folder), sandbox_config("again"), "", {}, CONFIGS)
    assert [container.name for container in restored] == ["a", "b"]
    records = [core.store.container(container.container_id) for container in restored]
    assert [(r.sandbox_id, r.state) for r in records] == [(pod, ContainerState.CREATED)] * 2
    assert records[1].config.labels == {"new": "1"}
    assert [core.engine.specs[r.id].checkpoint for r in records] == [f"{folder}/0.checkpoint", f"{folder}/1.checkpoint"]


async def test_a_restore_that_failed_leaves_nothing_new(core: Any, checkpoints: Any, folder: Path) -> None:
    await saved(core, checkpoints, folder)
    before = set(core.engine.rows)
    create = core.engine.create

    async def fails_for_the_second(spec: Any) -> str:
        if spec.checkpoint.endswith("1.checkpoint"):
            raise EngineError("no")
        return await create(spec)

    core.engine.create = fails_for_the_second
    with pytest.raises(EngineError):
        await checkpoints.restore(str(folder), sandbox_config("again"), "", {}, CONFIGS)
    await core.settled()
    assert set(core.engine.rows) == before


async def test_what_does_not_fit_the_checkpoint_is_refused(core: Any, checkpoints: Any, folder: Path) -> None:
    await saved(core, checkpoints, folder)
    a, b = container_config("a"), container_config("b")
    for path, options, configs, text in (
        (folder, {}, [a], "both must be the same"),
        (folder, {}, [a, b, container_config("c")], "both must be the same"),
        (folder, {}, [a, a], "stands twice"),
        (folder, {}, [a, container_config("b", command=("other",))], "command of 'b' differs"),
        (folder, {"x": "y"}, [a, b], "options"),
        (folder.parent, {}, [a, b], "cannot be read"),
        ("relative", {}, [a, b], "checkpoint_path"),
    ):
        with pytest.raises(InvalidArgument, match=text):
            await checkpoints.restore(str(path), sandbox_config("again"), "", options, configs)


@pytest.mark.parametrize(
    ("manifest", "text"), [("{", "is damaged"), ('{"format":"x","backend":"fake","containers":[]}', "made as 'x'")]
)
async def test_a_checkpoint_of_another_make_is_refused(
    checkpoints: Any, folder: Path, manifest: str, text: str
) -> None:
    (folder / MANIFEST).write_text(manifest)
    with pytest.raises(InvalidArgument, match=text):
        await checkpoints.restore(str(folder), sandbox_config(), "", {}, [])


async def test_a_restore_never_touches_a_pod_that_runs(core: Any, checkpoints: Any, folder: Path) -> None:
    await saved(core, checkpoints, folder)
    live = await core.pod("live")
    app = await core.running(live, "c")
    config = core.store.sandbox(live).config
    core.engine.calls.clear()
    core.engine.errors["create"] = EngineError("no")
    with pytest.raises(AlreadyExists, match=rf"is taken by sandbox '{live[:13]}'"):
        await checkpoints.restore(str(folder), config, "", {}, CONFIGS)
    assert core.engine.calls == []
    assert core.store.sandbox(live).state is PodSandboxState.READY
    assert [record.id for record in core.store.containers_of(live)] == [app]
    assert core.state(app) is ContainerState.RUNNING


async def test_two_restores_at_once_do_not_take_back_each_others_pod(core: Any, checkpoints: Any, folder: Path) -> None:
    await saved(core, checkpoints, folder)
    gate = core.network.hold("attach")
    tasks = [
        asyncio.ensure_future(checkpoints.restore(str(folder), sandbox_config("again"), "", {}, configs))
        for configs in (CONFIGS, [container_config("b", labels={"other": "1"}), container_config("a")])
    ]
    await gate.reached.wait()
    gate.open()
    await asyncio.wait(tasks)
    await core.settled()
    first, second = tasks
    assert isinstance(second.exception(), AlreadyExists)
    pod, restored = first.result()
    assert core.store.sandbox(pod).state is PodSandboxState.READY
    assert len(core.store.containers_of(pod)) == len(restored) == 2
