"""Containers as kubelet and critest see them: create, start, look, update, stop, remove, and all of it twice."""

import asyncio
import json
from pathlib import Path
from typing import Any

import grpc
import pytest

from criadapt.cri.v1 import api_pb2 as pb
from criadapt.testing.factories import BUSYBOX
from criadapt.testing.inprocess import InProcess, refused

ALREADY_EXISTS = grpc.StatusCode.ALREADY_EXISTS
FAILED_PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
UNKNOWN = grpc.StatusCode.UNKNOWN

PRIVILEGED_POD = {"linux": {"security_context": {"privileged": True}}}


async def listed(server: InProcess, **filter: object) -> list[str]:
    return [container.id for container in (await server.rpc.ListContainers(filter=filter)).containers]


def secured(**context: Any) -> dict[str, Any]:
    return {"linux": {"security_context": context}}


# ------------------------------------------------------------------ create


async def test_a_created_container_is_listed_and_has_not_run(server: InProcess) -> None:
    pod = await server.run_pod()
    app = await server.create(pod)
    assert await listed(server, id=app) == [app]
    status = await server.container(app)
    assert status.state == pb.CONTAINER_CREATED
    assert status.created_at > 0
    assert (status.started_at, status.finished_at, status.exit_code, status.reason) == (0, 0, 0, "")


async def test_attributes_come_back_exactly(server: InProcess) -> None:
    pod = await server.run_pod()
    metadata = {"name": "ap_p.x", "attempt": 7}
    maps = {"labels": {"io.kubernetes.container.name": "app"}, "annotations": {"io.kubernetes.container.hash": "8f"}}
    app = await server.create(pod, metadata=metadata, **maps)
    status = await server.container(app)
    (row,) = (await server.rpc.ListContainers(filter={"id": app})).containers
    for shown in (status, row):
        assert shown.metadata == pb.ContainerMetadata(**metadata)
        assert dict(shown.labels) == maps["labels"]
        assert dict(shown.annotations) == maps["annotations"]
    assert row.pod_sandbox_id == pod
    assert status.created_at == row.created_at


async def test_the_image_is_told_in_all_its_names(server: InProcess) -> None:
    asked = {"image": BUSYBOX, "user_specified_image": "busybox"}
    app = await server.create(await server.run_pod(), image=asked)
    image = (await server.rpc.ImageStatus(image={"image": BUSYBOX})).image
    status = await server.container(app)
    assert status.image_id == image.id
    assert status.image_ref == image.repo_digests[0]
    assert status.image.image == BUSYBOX
    assert status.image.user_specified_image == "busybox"
    (row,) = (await server.rpc.ListContainers()).containers
    assert (row.image.image, row.image_id, row.image_ref) == (BUSYBOX, image.id, image.repo_digests[0])


@pytest.mark.parametrize("by", ["id", "tag", "digest", "short id"])
async def test_an_image_can_be_named_in_every_way(server: InProcess, by: str) -> None:
    image = (await server.rpc.ImageStatus(image={"image": BUSYBOX})).image
    ref = {"id": image.id, "tag": image.repo_tags[0], "digest": image.repo_digests[0], "short id": image.id[7:20]}[by]
    app = await server.create(await server.run_pod(), image={"image": ref})
    status = await server.container(app)
    assert status.image_id == image.id
    assert status.image.image == BUSYBOX


async def test_an_image_is_never_pulled_by_a_create(server: InProcess) -> None:
    pod = await server.run_pod()
    with refused(NOT_FOUND, saying=("docker.io/library/absent", "pull it first")):
        await server.create(pod, image={"image": "docker.io/library/absent"})
    assert len((await server.rpc.ListImages()).images) == 2


async def test_a_name_is_taken_until_its_container_is_removed(server: InProcess) -> None:
    pod = await server.run_pod()
    app = await server.create(pod)
    with refused(ALREADY_EXISTS, saying=("'app'", app[:13])):
        await server.create(pod)
    assert await server.create(pod, metadata={"name": "app", "attempt": 1}) != app
    await server.rpc.RemoveContainer(container_id=app)
    assert await server.create(pod) != app


async def test_two_pods_may_have_containers_of_one_name(server: InProcess) -> None:
    one, two = await server.run_pod("one"), await server.run_pod("two")
    assert await server.create(one) != await server.create(two)


async def test_the_stored_sandbox_config_is_what_counts(server: InProcess) -> None:
    pod = await server.run_pod()
    answer = await server.rpc.CreateContainer(
        pod_sandbox_id=pod,
        config={"metadata": {"name": "app"}, "image": {"image": BUSYBOX}, "command": ["top"], "log_path": "a/0.log"},
        sandbox_config={"metadata": {"name": "another"}, "log_directory": "/elsewhere"},
    )
    assert (await server.container(answer.container_id)).log_path == str(server.logs / "web" / "a" / "0.log")


async def test_mounts_are_echoed_and_nothing_else_is(server: InProcess, tmp_path: Path) -> None:
    link = tmp_path / "link"
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_text("x")
    link.symlink_to(tmp_path / "data")
    mount = {
        "host_path": str(link),
        "container_path": "/mnt/data",
        "readonly": True,
        "selinux_relabel": True,
        "propagation": pb.PROPAGATION_HOST_TO_CONTAINER,
    }
    app = await server.run(await server.run_pod(), mounts=[mount])
    assert (await server.exec(app, "ls", "-A", "/mnt/data")).stdout == b"file\n"
    for call in ("StopContainer", None):
        assert list((await server.container(app)).mounts) == [pb.Mount(**mount)]
        if call:
            await server.rpc.StopContainer(container_id=app)


async def test_a_missing_host_path_becomes_a_directory(server: InProcess, tmp_path: Path) -> None:
    path = tmp_path / "not" / "there" / "yet"
    await server.create(await server.run_pod(), mounts=[{"host_path": str(path), "container_path": "/x"}])
    assert path.is_dir()


async def test_a_mount_of_the_caller_replaces_a_file_of_the_pod(server: InProcess, tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("127.0.0.1 mine\n")
    mounts = [{"host_path": str(tmp_path / "hosts"), "container_path": "/etc/hosts"}]
    app = await server.run(await server.run_pod(), mounts=mounts)
    assert (await server.exec(app, "cat", "/etc/hosts")).stdout == b"127.0.0.1 mine\n"
    assert len((await server.container(app)).mounts) == 1


async def test_the_status_is_that_of_the_effective_user(server: InProcess) -> None:
    context = {"run_as_user": {"value": 1001}, "run_as_group": {"value": 1002}, "supplemental_groups": [5678, 1234]}
    app = await server.create(await server.run_pod(), **secured(**context))
    user = (await server.container(app)).user.linux
    assert (user.uid, user.gid, list(user.supplemental_groups)) == (1001, 1002, [1002, 1234, 5678])


async def test_root_asked_for_is_root(server: InProcess) -> None:
    app = await server.run(await server.run_pod(), **secured(run_as_user={"value": 0}))
    assert (await server.exec(app, "id", "-u")).stdout == b"0\n"


@pytest.mark.parametrize(
    ("policy", "groups"),
    [(pb.Merge, [1000, 1234, 50000]), (pb.Strict, [1000, 1234])],
    ids=["merge", "strict"],
)
async def test_groups_of_the_image_join_by_policy(server: InProcess, policy: int, groups: list[int]) -> None:
    image = "registry.k8s.io/e2e-test-images/test-image-predefined-group:1"
    await server.rpc.PullImage(image={"image": image})
    context = {
        "run_as_user": {"value": 1000},
        "supplemental_groups": [1234],
        "supplemental_groups_policy": policy,
    }
    app = await server.run(await server.run_pod(), image={"image": image}, **secured(**context))
    user = (await server.container(app)).user.linux
    assert (user.uid, user.gid, list(user.supplemental_groups)) == (1000, 1000, groups)
    shown = (await server.exec(app, "id", "-G")).stdout.split()
    assert sorted(map(int, shown)) == groups


@pytest.mark.parametrize("name", ["nobody", "www-data"])
async def test_user_names_are_looked_up_in_the_image(server: InProcess, name: str) -> None:
    app = await server.run(await server.run_pod(), **secured(run_as_username=name))
    assert (await server.exec(app, "whoami")).stdout.decode().strip() == name


async def test_a_user_the_image_does_not_know_is_refused(server: InProcess) -> None:
    pod = await server.run_pod()
    with refused(INVALID, saying=("'nosuch'", "/etc/passwd")):
        await server.create(pod, **secured(run_as_username="nosuch"))


async def test_privileges_need_a_privileged_pod(server: InProcess) -> None:
    with refused(INVALID, saying="privileged"):
        await server.create(await server.run_pod("plain"), **secured(privileged=True))
    pod = await server.run_pod("privileged", **PRIVILEGED_POD)
    app = await server.run(pod, **secured(privileged=True))
    assert (await server.exec(app, "brctl", "addbr", "foobar")).exit_code == 0
    other = await server.run(pod, "other")
    assert (await server.exec(other, "brctl", "addbr", "foobar")).exit_code != 0


@pytest.mark.parametrize(
    ("stop_signal", "effective"),
    [(pb.SIGNAL_RUNTIME_DEFAULT, pb.SIGNAL_SIGTERM), (pb.SIGNAL_SIGUSR1, pb.SIGNAL_SIGUSR1)],
)
async def test_the_effective_stop_signal_is_told(server: InProcess, stop_signal: int, effective: int) -> None:
    app = await server.create(await server.run_pod(), stop_signal=stop_signal)
    assert (await server.container(app)).stop_signal == effective


async def test_the_image_s_stop_signal_counts_where_none_is_asked_for(server: InProcess) -> None:
    image = {"image": "docker.io/library/nginx:1"}
    await server.rpc.PullImage(image=image)
    app = await server.create(await server.run_pod(), image=image)
    assert (await server.container(app)).stop_signal == pb.SIGNAL_SIGQUIT


async def test_a_localhost_seccomp_profile_must_exist(server: InProcess, tmp_path: Path) -> None:
    pod = await server.run_pod()
    profile = {"profile_type": pb.SecurityProfile.Localhost, "localhost_ref": str(tmp_path / "absent.json")}
    with refused(FAILED_PRECONDITION, saying="seccomp.localhost_ref"):
        await server.create(pod, **secured(seccomp=profile))
    (tmp_path / "absent.json").write_text("not json")
    with refused(INVALID, saying="not JSON"):
        await server.create(pod, **secured(seccomp=profile))
    (tmp_path / "absent.json").write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW"}))
    assert await server.create(pod, **secured(seccomp=profile))


async def test_a_failed_create_leaves_nothing(server: InProcess) -> None:
    pod = await server.run_pod()
    before = server.traces()
    with refused(INVALID):
        await server.create(pod, mounts=[{"container_path": "/x", "host_path": "relative"}])
    with refused(NOT_FOUND):
        await server.create(pod, image={"image": "absent"})
    with refused(INVALID, saying="config.command is missing"):
        await server.create(pod, command=[""])
    await server.leaves(before)
    assert await server.create(pod)


# ------------------------------------------------------------------ pid namespaces


async def test_a_container_joins_another_s_processes(server: InProcess) -> None:
    pod = await server.run_pod()
    own = secured(namespace_options={"pid": pb.CONTAINER})
    target = await server.run(pod, "target", **own)
    options = {"namespace_options": {"pid": pb.TARGET, "target_id": target}}
    debugger = await server.run(pod, "debugger", **secured(**options))
    assert (await server.exec(debugger, "pgrep", "-f", "sleep 100000")).exit_code == 0
    await server.rpc.StopContainer(container_id=target)
    with refused(FAILED_PRECONDITION, saying="not running"):
        await server.create(pod, "late", **secured(**options))


async def test_a_target_is_of_the_same_pod_and_exists(server: InProcess) -> None:
    one, two = await server.run_pod("one"), await server.run_pod("two")
    target = await server.run(one)
    with refused(INVALID, saying=("target_id", "another pod")):
        await server.create(two, **secured(namespace_options={"pid": pb.TARGET, "target_id": target}))
    with refused(NOT_FOUND, saying="'nobody'"):
        await server.create(two, **secured(namespace_options={"pid": pb.TARGET, "target_id": "nobody"}))


async def test_in_a_pid_namespace_of_its_own_the_command_is_the_first_process(server: InProcess) -> None:
    app = await server.run(await server.run_pod(), **secured(namespace_options={"pid": pb.CONTAINER}))
    assert b"sleep" in (await server.exec(app, "cat", "/proc/1/cmdline")).stdout


async def test_by_default_the_first_process_is_the_pod_s(server: InProcess) -> None:
    app = await server.run(await server.run_pod())
    assert b"pause" in (await server.exec(app, "cat", "/proc/1/cmdline")).stdout


# ------------------------------------------------------------------ start


async def test_a_started_container_runs(server: InProcess) -> None:
    app = await server.run(await server.run_pod())
    status = await server.container(app)
    assert status.state == pb.CONTAINER_RUNNING
    assert status.started_at >= status.created_at
    assert (status.finished_at, status.reason) == (0, "")


async def test_a_container_is_started_once(server: InProcess) -> None:
    app = await server.run(await server.run_pod())
    with refused(FAILED_PRECONDITION, saying=(app[:13], "running")):
        await server.rpc.StartContainer(container_id=app)
    await server.rpc.StopContainer(container_id=app)
    with refused(FAILED_PRECONDITION, saying="exited"):
        await server.rpc.StartContainer(container_id=app)


@pytest.mark.parametrize(
    ("command", "code", "reason"),
    [(["true"], 0, "Completed"), (["false"], 1, "Error"), (["sleep", "0.01"], 0, "Completed")],
)
async def test_an_exit_is_told_with_code_and_reason(
    server: InProcess, command: list[str], code: int, reason: str
) -> None:
    app = await server.run(await server.run_pod(), command=command)
    status = await server.exited(app)
    assert (status.exit_code, status.reason) == (code, reason)
    assert 0 < status.created_at <= status.started_at <= status.finished_at


async def test_a_program_that_does_not_exist_fails_the_start_and_leaves_a_status(server: InProcess) -> None:
    app = await server.create(await server.run_pod(), command=["/no/such/program"])
    with refused(UNKNOWN, saying="/no/such/program"):
        await server.rpc.StartContainer(container_id=app)
    status = await server.container(app)
    assert status.state == pb.CONTAINER_EXITED
    assert status.reason == "StartError"
    assert "/no/such/program" in status.message
    assert status.exit_code in (126, 127, 128)
    assert status.started_at > 0
    assert status.finished_at > 0
    await server.rpc.RemoveContainer(container_id=app)


async def test_the_oom_killer_is_told_apart(server: InProcess) -> None:
    limits = {"memory_limit_in_bytes": 15 << 20, "memory_swap_limit_in_bytes": 15 << 20}
    app = await server.run(await server.run_pod(), command=["oom"], linux={"resources": limits})
    status = await server.exited(app)
    assert (status.exit_code, status.reason) == (137, "OOMKilled")


async def test_a_kill_is_not_taken_for_a_lack_of_memory(server: InProcess) -> None:
    limits = {"memory_limit_in_bytes": 15 << 20}
    app = await server.run(await server.run_pod(), linux={"resources": limits})
    await server.rpc.StopContainer(container_id=app, timeout=0)
    status = await server.container(app)
    assert (status.exit_code, status.reason) == (137, "Error")


async def test_the_environment_is_the_image_s_overridden_by_the_caller_s(server: InProcess) -> None:
    envs = [{"key": "A", "value": b"1"}, {"key": "PATH", "value": b"/bin"}, {"key": "A", "value": b"2"}]
    app = await server.run(await server.run_pod(hostname="h"), envs=envs)
    shown = (await server.exec(app, "env")).stdout.decode().splitlines()
    assert {"A=2", "PATH=/bin", "HOSTNAME=h"} <= set(shown)


async def test_variables_are_not_expanded(server: InProcess) -> None:
    app = await server.run(await server.run_pod(), envs=[{"key": "A", "value": b"$(B) $B ${B}"}])
    assert (await server.exec(app, "printenv", "A")).stdout == b"$(B) $B ${B}\n"


async def test_command_and_args_follow_kubernetes_rules(server: InProcess) -> None:
    image = {"image": "registry.k8s.io/e2e-test-images/agnhost:2"}  # entrypoint /agnhost, command pause
    await server.rpc.PullImage(image=image)
    pod = await server.run_pod()
    cases = {
        "neither": ({"command": []}, b"/agnhost pause"),
        "args": ({"command": [], "args": ["netexec"]}, b"/agnhost netexec"),
        "command": ({"command": ["sleep", "9"]}, b"sleep 9"),
        "both": ({"command": ["sleep"], "args": ["9"]}, b"sleep 9"),
    }
    for name, (fields, expected) in cases.items():
        own = secured(namespace_options={"pid": pb.CONTAINER})
        app = await server.run(pod, name, image=image, **fields, **own)
        cmdline = (await server.exec(app, "cat", "/proc/1/cmdline")).stdout
        assert cmdline.replace(b"\0", b" ").strip() == expected, name


async def test_a_working_directory_is_made_if_need_be(server: InProcess) -> None:
    app = await server.run(await server.run_pod(), working_dir="/not/there/yet")
    assert (await server.exec(app, "pwd")).stdout == b"/not/there/yet\n"


# ------------------------------------------------------------------ stop


async def test_a_stop_signal_ends_it_before_its_grace_is_over(server: InProcess) -> None:
    app = await server.run(await server.run_pod(), command=["top"])
    await server.rpc.StopContainer(container_id=app, timeout=60)
    status = await server.container(app)
    assert status.state == pb.CONTAINER_EXITED
    assert status.exit_code != 137


@pytest.mark.parametrize("grace", [0, -1, -(2**63)])
async def test_no_grace_is_sigkill_at_once(server: InProcess, grace: int) -> None:
    app = await server.run(await server.run_pod(), command=["top"])
    await server.rpc.StopContainer(container_id=app, timeout=grace)
    assert (await server.container(app)).exit_code == 137


async def test_who_ignores_the_signal_is_killed_after_the_grace(server: InProcess) -> None:
    app = await server.run(await server.run_pod(), stop_signal=pb.SIGNAL_SIGWINCH)  # which no program minds
    began = asyncio.get_running_loop().time()
    await server.rpc.StopContainer(container_id=app, timeout=1)
    assert 1.0 <= asyncio.get_running_loop().time() - began < 3
    assert (await server.container(app)).exit_code == 137


async def test_stopping_what_does_not_run_is_success(server: InProcess) -> None:
    created = await server.create(await server.run_pod())
    for timeout in (0, 10):
        await server.rpc.StopContainer(container_id=created, timeout=timeout)
        await server.rpc.StopContainer(container_id="6f1c2d0e-7b0d-4d3c-8f80-1c2d3e4f5a6b", timeout=timeout)
    assert (await server.container(created)).state == pb.CONTAINER_CREATED
    await server.rpc.StartContainer(container_id=created)
    await server.rpc.StopContainer(container_id=created)
    before = await server.container(created)
    await server.rpc.StopContainer(container_id=created)
    assert await server.container(created) == before


async def test_an_enormous_grace_is_a_grace(server: InProcess) -> None:
    app = await server.run(await server.run_pod(), command=["top"])
    await server.rpc.StopContainer(container_id=app, timeout=2**63 - 1)
    assert (await server.container(app)).state == pb.CONTAINER_EXITED


# ------------------------------------------------------------------ remove


@pytest.mark.parametrize("state", ["created", "running", "exited"])
async def test_containers_in_every_state_are_removed(server: InProcess, state: str) -> None:
    pod = await server.run_pod()
    before = server.traces()
    app = await server.create(pod)
    if state != "created":
        await server.rpc.StartContainer(container_id=app)
    if state == "exited":
        await server.rpc.StopContainer(container_id=app)
    await server.rpc.RemoveContainer(container_id=app)
    assert await listed(server) == []
    with refused(NOT_FOUND, saying=app):
        await server.container(app)
    await server.rpc.RemoveContainer(container_id=app)
    await server.leaves(before)


async def test_removing_many_times_at_once_is_success(server: InProcess) -> None:
    app = await server.run(await server.run_pod())
    await asyncio.gather(*(server.rpc.RemoveContainer(container_id=app) for _ in range(8)))
    assert await listed(server) == []


# ------------------------------------------------------------------ look


async def test_filters_are_anded(server: InProcess) -> None:
    one, two = await server.run_pod("one"), await server.run_pod("two")
    a = await server.run(one, "a", labels={"app": "x", "n": "1"})
    b = await server.create(one, "b", labels={"app": "x", "n": "2"})
    c = await server.run(two, "c", labels={"app": "x"})
    assert await listed(server) == [c, b, a]
    assert await listed(server, pod_sandbox_id=one) == [b, a]
    assert await listed(server, pod_sandbox_id=one[:20]) == [b, a]
    assert await listed(server, pod_sandbox_id="nobody") == []
    assert await listed(server, id=a[:20]) == [a]
    assert await listed(server, id=a, pod_sandbox_id=two) == []
    assert await listed(server, state={"state": pb.CONTAINER_CREATED}) == [b]
    assert await listed(server, state={}) == [b]
    assert await listed(server, state={"state": pb.CONTAINER_RUNNING}) == [c, a]
    assert await listed(server, state={"state": pb.CONTAINER_UNKNOWN}) == []
    assert await listed(server, label_selector={"app": "x"}, pod_sandbox_id=one) == [b, a]
    assert await listed(server, label_selector={"app": "x", "n": "2"}) == [b]


async def test_the_pause_container_is_not_a_container(server: InProcess) -> None:
    await server.run_pod()
    assert await listed(server) == []


async def test_details_are_told_only_when_asked(server: InProcess) -> None:
    app = await server.run(await server.run_pod())
    assert not (await server.rpc.ContainerStatus(container_id=app)).info
    info = json.loads((await server.rpc.ContainerStatus(container_id=app, verbose=True)).info["info"])
    assert info["pid"] > 0
    assert info["config"]["metadata"]["name"] == "app"


async def test_details_of_variables_that_are_no_text_are_told_too(server: InProcess) -> None:
    app = await server.create(await server.run_pod(), envs=[{"key": "B", "value": b"\xff\xfe"}])
    answer = await server.rpc.ContainerStatus(container_id=app, verbose=True)
    assert json.loads(answer.info["info"])


# ------------------------------------------------------------------ update


async def test_limits_are_changed_one_by_one(server: InProcess) -> None:
    first = {"cpu_period": 100000, "cpu_quota": 20000, "cpu_shares": 1024, "memory_limit_in_bytes": 64 << 20}
    app = await server.create(await server.run_pod(), linux={"resources": first})

    async def shown() -> Any:
        return (await server.container(app)).resources.linux

    assert (await shown()).memory_swap_limit_in_bytes == 64 << 20  # no swap unless asked for
    await server.rpc.UpdateContainerResources(container_id=app, linux={"cpu_shares": 512})
    await server.rpc.StartContainer(container_id=app)
    await server.rpc.UpdateContainerResources(container_id=app, linux={"memory_limit_in_bytes": 128 << 20})
    limits = await shown()
    assert (limits.cpu_period, limits.cpu_quota, limits.cpu_shares) == (100000, 20000, 512)
    assert limits.memory_limit_in_bytes == limits.memory_swap_limit_in_bytes == 128 << 20
    await server.rpc.UpdateContainerResources(container_id=app, linux={"cpuset_cpus": "0-1", "unified": {"a.b": "1"}})
    await server.rpc.UpdateContainerResources(container_id=app, linux={"unified": {"c.d": "2"}})
    limits = await shown()
    assert (limits.cpuset_cpus, dict(limits.unified)) == ("0-1", {"a.b": "1", "c.d": "2"})
    assert limits.cpu_shares == 512


async def test_limits_of_an_exited_container_are_only_noted(server: InProcess) -> None:
    app = await server.run(await server.run_pod(), command=["true"])
    await server.exited(app)
    await server.rpc.UpdateContainerResources(container_id=app, linux={"cpu_shares": 77})
    assert (await server.container(app)).resources.linux.cpu_shares == 77


async def test_a_contradictory_update_changes_nothing(server: InProcess) -> None:
    app = await server.run(await server.run_pod(), linux={"resources": {"cpu_shares": 5}})
    before = await server.container(app)
    for bad in (
        {"memory_limit_in_bytes": 100 << 20, "memory_swap_limit_in_bytes": 50 << 20},
        {"cpu_shares": -1},
        {"oom_score_adj": 5000},
        {"cpuset_cpus": "zero"},
    ):
        with refused(INVALID, saying="linux."):
            await server.rpc.UpdateContainerResources(container_id=app, linux=bad)
    with refused(INVALID, saying="linux is missing"):
        await server.rpc.UpdateContainerResources(container_id=app)
    with refused(NOT_FOUND):
        await server.rpc.UpdateContainerResources(container_id="nobody", linux={"cpu_shares": 5})
    assert await server.container(app) == before


# ------------------------------------------------------------------ image volumes


async def test_an_image_can_be_a_volume(server: InProcess) -> None:
    image = (await server.rpc.ImageStatus(image={"image": BUSYBOX})).image
    mount = {"container_path": "/vol", "image": {"image": image.id, "user_specified_image": BUSYBOX}, "readonly": True}
    app = await server.run(await server.run_pod(), mounts=[mount])
    assert b"etc" in (await server.exec(app, "ls", "/vol")).stdout.split()
    assert (await server.exec(app, "touch", "/vol/new")).exit_code != 0
    (shown,) = (await server.container(app)).mounts
    assert shown.image.image == image.id
    assert shown.image.user_specified_image == BUSYBOX


async def test_a_volume_of_an_image_that_is_not_there_fails_in_kubelet_s_words(server: InProcess) -> None:
    pod = await server.run_pod()
    mount = {"container_path": "/vol", "image": {"image": "absent"}, "readonly": True}
    with refused(UNKNOWN, saying="absent") as caught:
        await server.create(pod, mounts=[mount])
    assert caught.value.details().startswith("ImageVolumeMountFailed")


async def test_a_sub_path_of_an_image_must_exist(server: InProcess) -> None:
    pod = await server.run_pod()
    good = {"container_path": "/vol", "image": {"image": BUSYBOX}, "image_sub_path": "etc", "readonly": True}
    app = await server.run(pod, "good", mounts=[good])
    assert b"passwd" in (await server.exec(app, "ls", "/vol")).stdout.split()
    with refused(UNKNOWN) as caught:
        await server.run(pod, "bad", mounts=[{**good, "image_sub_path": "no/such"}])
    assert caught.value.details().startswith("ImageVolumeMountFailed")


async def test_recursive_read_only_is_private_and_read_only(server: InProcess, tmp_path: Path) -> None:
    pod = await server.run_pod()
    good = {"container_path": "/x", "host_path": str(tmp_path), "readonly": True, "recursive_read_only": True}
    for bad in ({"readonly": False}, {"propagation": 1}, {"propagation": 2}):
        with refused(INVALID, saying="config.mounts[0].recursive_read_only"):
            await server.create(pod, mounts=[{**good, **bad}])
    app = await server.create(pod, mounts=[good])
    assert (await server.container(app)).mounts[0].recursive_read_only
