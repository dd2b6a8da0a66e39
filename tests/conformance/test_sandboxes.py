"""Pod sandboxes as kubelet and critest see them: run, look, stop, remove, and all of it twice."""

import asyncio
import json
from pathlib import Path

import grpc
import pytest

from criadapt.backends.mock import MockOptions
from criadapt.cri.v1 import api_pb2 as pb
from criadapt.testing.inprocess import InProcess, pod_config, refused, serving_inprocess, until

FAILED_PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
ALREADY_EXISTS = grpc.StatusCode.ALREADY_EXISTS
INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND

HOST_NETWORK = {"security_context": {"namespace_options": {"network": pb.NODE}}}


async def listed(server: InProcess, **filter: object) -> list[str]:
    return [pod.id for pod in (await server.rpc.ListPodSandbox(filter=filter)).items]


# ------------------------------------------------------------------ run


async def test_a_sandbox_is_ready_with_an_address_when_the_call_returns(server: InProcess) -> None:
    status = await server.pod(await server.run_pod())
    assert status.state == pb.SANDBOX_READY
    assert status.network.ip.startswith("10.88.")
    assert not status.network.additional_ips


async def test_both_families_are_told_apart(tmp_path: Path) -> None:
    async with serving_inprocess(tmp_path, options=MockOptions(subnet_v6="fd00::/64")) as server:
        network = (await server.pod(await server.run_pod())).network
    assert network.ip.startswith("10.88.")
    assert [other.ip for other in network.additional_ips] == ["fd00::2"]


async def test_attributes_come_back_exactly(server: InProcess) -> None:
    config = {
        "metadata": {"name": "we_b.1", "uid": "a_b_c", "namespace": "kube_system", "attempt": 2},
        "labels": {"app": "web", "empty": ""},
        "annotations": {"note": "two\nlines", "ünïcode": "✓"},
    }
    answer = await server.rpc.RunPodSandbox(config=config)
    status = await server.pod(answer.pod_sandbox_id)
    (row,) = (await server.rpc.ListPodSandbox(filter={"id": answer.pod_sandbox_id})).items
    for shown in (status, row):
        assert shown.metadata == pb.PodSandboxMetadata(**config["metadata"])
        assert dict(shown.labels) == config["labels"]
        assert dict(shown.annotations) == config["annotations"]
    assert status.created_at == row.created_at
    assert status.created_at % 1_000_000_000  # not whole seconds


async def test_namespaces_are_echoed(server: InProcess) -> None:
    options = {"network": pb.NODE, "pid": pb.CONTAINER, "ipc": pb.NODE}
    pod = await server.run_pod(linux={"security_context": {"namespace_options": options}})
    assert (await server.pod(pod)).linux.namespaces.options == pb.NamespaceOption(**options)


async def test_no_security_context_means_the_pod_s_namespaces(server: InProcess) -> None:
    options = (await server.pod(await server.run_pod())).linux.namespaces.options
    assert (options.network, options.pid, options.ipc) == (pb.POD, pb.POD, pb.POD)


async def test_the_bare_minimum_is_enough(server: InProcess) -> None:
    answer = await server.rpc.RunPodSandbox(config={"metadata": {"name": "bare"}})
    assert (await server.pod(answer.pod_sandbox_id)).state == pb.SANDBOX_READY


async def test_a_pod_on_the_host_network_has_no_address(server: InProcess) -> None:
    assert (await server.pod(await server.run_pod(linux=HOST_NETWORK))).network.ip == ""


@pytest.mark.parametrize("handler", ["", "mock"])
async def test_the_runtime_handler_is_told_as_it_was_asked_for(server: InProcess, handler: str) -> None:
    pod = await server.run_pod(runtime_handler=handler)
    assert (await server.pod(pod)).runtime_handler == handler
    (row,) = (await server.rpc.ListPodSandbox()).items
    assert row.runtime_handler == handler


async def test_an_unknown_handler_is_refused_before_anything_happens(server: InProcess) -> None:
    before = server.traces()
    with refused(INVALID, saying=("runtime_handler", "'kata'")):
        await server.run_pod(runtime_handler="kata")
    await server.leaves(before)


async def test_user_namespaces_are_refused_while_they_are_not_claimed(server: InProcess) -> None:
    mapping = [{"host_id": 65536, "container_id": 0, "length": 65536}]
    userns = {"mode": pb.POD, "uids": mapping, "gids": mapping}
    with refused(grpc.StatusCode.UNIMPLEMENTED, saying="user namespaces"):
        await server.run_pod(linux={"security_context": {"namespace_options": {"userns_options": userns}}})
    node = {"userns_options": {"mode": pb.NODE}}
    assert await server.run_pod(linux={"security_context": {"namespace_options": node}})


async def test_the_log_directory_is_made(server: InProcess, tmp_path: Path) -> None:
    folder = tmp_path / "var" / "log" / "pods" / "x"
    await server.run_pod(log_directory=str(folder))
    assert folder.is_dir()
    assert folder.stat().st_mode & 0o777 == 0o755


async def test_the_pause_image_is_pulled_when_it_is_missing_and_pinned(tmp_path: Path) -> None:
    async with serving_inprocess(tmp_path, options=MockOptions()) as server:
        assert not (await server.rpc.ListImages()).images
        await server.run_pod()
        (image,) = (await server.rpc.ListImages()).images
    assert image.pinned
    assert any("pause" in tag for tag in image.repo_tags)


async def test_the_pod_s_files_say_what_was_asked_for(server: InProcess) -> None:
    dns = {"servers": ["10.10.10.10"], "searches": ["google.com", "x.y"], "options": ["ndots:8"]}
    pod = await server.run_pod(hostname="test-hostname", dns_config=dns)
    ip = (await server.pod(pod)).network.ip
    app = await server.run(pod)
    resolv = (await server.exec(app, "cat", "/etc/resolv.conf")).stdout.decode()
    assert resolv == "search google.com x.y\nnameserver 10.10.10.10\noptions ndots:8\n"
    assert (await server.exec(app, "cat", "/etc/hostname")).stdout == b"test-hostname\n"
    assert (await server.exec(app, "hostname")).stdout == b"test-hostname\n"
    assert f"{ip}\ttest-hostname\n" in (await server.exec(app, "cat", "/etc/hosts")).stdout.decode()


async def test_without_a_dns_config_the_host_s_resolver_is_used(server: InProcess) -> None:
    app = await server.run(await server.run_pod(dns_config={}))
    expected = Path("/etc/resolv.conf").read_bytes() if Path("/etc/resolv.conf").exists() else b""
    assert (await server.exec(app, "cat", "/etc/resolv.conf")).stdout == expected


@pytest.mark.parametrize("name", ["kernel.shm_rmid_forced", "fs.mqueue.msg_max", "net.core.somaxconn"])
async def test_sysctls_are_seen_in_every_container(server: InProcess, name: str) -> None:
    pod = await server.run_pod(linux={"sysctls": {name: "100"}})
    for container in ("one", "two"):
        app = await server.run(pod, container)
        path = "/proc/sys/" + name.replace(".", "/")
        assert (await server.exec(app, "cat", path)).stdout.strip() == b"100"


# ------------------------------------------------------------------ run it again


async def test_the_same_again_is_the_same_sandbox(server: InProcess) -> None:
    assert await server.run_pod() == await server.run_pod()
    assert len((await server.rpc.ListPodSandbox()).items) == 1


@pytest.mark.parametrize("change", [{"labels": {"a": "b"}}, {"hostname": "other"}])
async def test_the_same_name_with_another_config_is_refused(server: InProcess, change: dict[str, object]) -> None:
    pod = await server.run_pod()
    with refused(ALREADY_EXISTS, saying=("'web'", pod[:13])):
        await server.run_pod(**change)


async def test_the_name_of_a_stopped_sandbox_is_still_taken(server: InProcess) -> None:
    pod = await server.run_pod()
    await server.rpc.StopPodSandbox(pod_sandbox_id=pod)
    with refused(ALREADY_EXISTS, saying="remove that one first"):
        await server.run_pod()


async def test_a_removed_sandbox_frees_its_name(server: InProcess) -> None:
    ids = set()
    for _ in range(3):
        pod = await server.run_pod()
        await server.rpc.StopPodSandbox(pod_sandbox_id=pod)
        await server.rpc.RemovePodSandbox(pod_sandbox_id=pod)
        ids.add(pod)
    assert len(ids) == 3


async def test_attempts_of_a_pod_live_side_by_side(server: InProcess) -> None:
    first = await server.run_pod(attempt=0)
    await server.rpc.StopPodSandbox(pod_sandbox_id=first)
    second = await server.run_pod(attempt=1)
    assert await listed(server) == [second, first]


async def test_underscores_do_not_mix_names_up(server: InProcess) -> None:
    pods = [("a_b", "c", "d"), ("a", "b_c", "d"), ("a", "b", "c_d"), ("a_b_c", "d", ""), ("a", "b_c_d", "")]
    ids = [await server.run_pod(name, namespace=namespace, uid=uid or "u") for name, namespace, uid in pods]
    assert len(set(ids)) == len(pods)


# ------------------------------------------------------------------ look


async def test_lists_are_newest_first(server: InProcess) -> None:
    ids = [await server.run_pod(f"pod-{number}") for number in range(5)]
    assert await listed(server) == ids[::-1]


async def test_filters_are_anded(server: InProcess) -> None:
    one = await server.run_pod("one", labels={"app": "x", "tier": "a"})
    two = await server.run_pod("two", labels={"app": "x", "tier": "b"})
    await server.rpc.StopPodSandbox(pod_sandbox_id=two)
    assert await listed(server, label_selector={"app": "x"}) == [two, one]
    assert await listed(server, label_selector={"app": "x", "tier": "a"}) == [one]
    assert await listed(server, label_selector={"app": "y"}) == []
    assert await listed(server, label_selector={"missing": ""}) == []
    assert await listed(server, id=one) == [one]
    assert await listed(server, id=one[:16]) == [one]
    assert await listed(server, id="nobody") == []
    assert await listed(server, id=one, label_selector={"tier": "b"}) == []


async def test_ready_is_a_filter_although_it_is_zero(server: InProcess) -> None:
    one, two = await server.run_pod("one"), await server.run_pod("two")
    await server.rpc.StopPodSandbox(pod_sandbox_id=two)
    assert await listed(server, state={"state": pb.SANDBOX_READY}) == [one]
    assert await listed(server, state={}) == [one]
    assert await listed(server, state={"state": pb.SANDBOX_NOTREADY}) == [two]
    assert await listed(server) == [two, one]


async def test_an_empty_filter_lets_everything_through(server: InProcess) -> None:
    pod = await server.run_pod()
    assert [row.id for row in (await server.rpc.ListPodSandbox()).items] == [pod]
    assert await listed(server) == [pod]


async def test_the_status_shows_the_pod_s_containers_at_one_moment(server: InProcess) -> None:
    pod = await server.run_pod()
    made = [await server.run(pod, "one"), await server.create(pod, "two")]
    answer = await server.rpc.PodSandboxStatus(pod_sandbox_id=pod)
    assert [container.id for container in answer.containers_statuses] == made
    assert [container.state for container in answer.containers_statuses] == [
        pb.CONTAINER_RUNNING,
        pb.CONTAINER_CREATED,
    ]
    assert answer.timestamp >= answer.containers_statuses[0].started_at


async def test_details_are_told_only_when_asked(server: InProcess) -> None:
    pod = await server.run_pod(hostname="h")
    assert not (await server.rpc.PodSandboxStatus(pod_sandbox_id=pod)).info
    info = json.loads((await server.rpc.PodSandboxStatus(pod_sandbox_id=pod, verbose=True)).info["info"])
    assert info["pid"] > 0
    assert info["config"]["hostname"] == "h"


async def test_an_unknown_sandbox_has_no_status(server: InProcess) -> None:
    with refused(NOT_FOUND, saying="'nobody'"):
        await server.pod("nobody")


# ------------------------------------------------------------------ stop


async def test_stopping_ends_the_containers_and_takes_the_address(server: InProcess) -> None:
    pod = await server.run_pod()
    running, created = await server.run(pod, "one"), await server.create(pod, "two")
    await server.rpc.StopPodSandbox(pod_sandbox_id=pod)
    status = await server.pod(pod)
    assert status.state == pb.SANDBOX_NOTREADY
    assert status.network.ip == ""
    assert (await server.container(running)).state == pb.CONTAINER_EXITED
    assert (await server.container(running)).exit_code == 137
    assert (await server.container(created)).state == pb.CONTAINER_CREATED
    assert len((await server.rpc.ListContainers()).containers) == 2


async def test_a_released_address_is_given_out_again(server: InProcess) -> None:
    first = await server.run_pod("one")
    ip = (await server.pod(first)).network.ip
    await server.rpc.StopPodSandbox(pod_sandbox_id=first)
    assert (await server.pod(await server.run_pod("two"))).network.ip == ip


@pytest.mark.parametrize("call", ["StopPodSandbox", "RemovePodSandbox"])
async def test_ending_what_nobody_knows_is_success(server: InProcess, call: str) -> None:
    for id in ("6f1c2d0e-7b0d-4d3c-8f80-1c2d3e4f5a6b", "0" * 64, "a/b c"):
        await getattr(server.rpc, call)(pod_sandbox_id=id)


async def test_stopping_and_removing_twice_is_success(server: InProcess) -> None:
    pod = await server.run_pod()
    for call in ("StopPodSandbox", "StopPodSandbox", "RemovePodSandbox", "RemovePodSandbox", "StopPodSandbox"):
        await getattr(server.rpc, call)(pod_sandbox_id=pod)


async def test_stopping_and_removing_many_times_at_once_is_success(server: InProcess) -> None:
    pod = await server.run_pod()
    await server.run(pod)
    await asyncio.gather(*(server.rpc.StopPodSandbox(pod_sandbox_id=pod) for _ in range(8)))
    await asyncio.gather(*(server.rpc.RemovePodSandbox(pod_sandbox_id=pod) for _ in range(8)))
    assert await listed(server) == []


async def test_an_infra_process_that_dies_makes_the_pod_not_ready_for_good(server: InProcess) -> None:
    pod = await server.run_pod()
    await server.mock.kill(pod, _sigkill())

    async def not_ready() -> bool:
        return bool((await server.pod(pod)).state == pb.SANDBOX_NOTREADY)

    await until(not_ready)
    assert (await server.pod(pod)).network.ip == ""
    with refused(FAILED_PRECONDITION, saying="not ready"):
        await server.create(pod)
    await server.rpc.StopPodSandbox(pod_sandbox_id=pod)
    await server.rpc.RemovePodSandbox(pod_sandbox_id=pod)


def _sigkill() -> object:
    from criadapt.model.signals import Signal

    return Signal.SIGKILL


async def test_nothing_can_be_added_to_a_stopped_pod(server: InProcess) -> None:
    pod = await server.run_pod()
    created = await server.create(pod, "early")
    await server.rpc.StopPodSandbox(pod_sandbox_id=pod)
    with refused(FAILED_PRECONDITION, saying=(pod[:13], "not ready")):
        await server.create(pod, "late")
    with refused(FAILED_PRECONDITION, saying=(pod[:13], "not ready")):
        await server.rpc.StartContainer(container_id=created)


# ------------------------------------------------------------------ remove


async def test_a_removed_sandbox_is_gone_with_its_containers(server: InProcess) -> None:
    before = server.traces()
    pod = await server.run_pod()
    app = await server.run(pod)
    await server.rpc.StopPodSandbox(pod_sandbox_id=pod)
    await server.rpc.RemovePodSandbox(pod_sandbox_id=pod)
    assert await listed(server) == []
    assert not (await server.rpc.ListContainers()).containers
    with refused(NOT_FOUND):
        await server.pod(pod)
    with refused(NOT_FOUND):
        await server.container(app)
    await server.leaves(before)


async def test_a_running_sandbox_is_stopped_by_its_removal(server: InProcess) -> None:
    before = server.traces()
    pod = await server.run_pod()
    await server.run(pod)
    await server.rpc.RemovePodSandbox(pod_sandbox_id=pod)
    await server.leaves(before)


async def test_the_log_directory_belongs_to_kubelet(server: InProcess) -> None:
    pod = await server.run_pod()
    app = await server.run(pod, command=["echo", "hello"])
    await server.exited(app)
    await server.rpc.RemovePodSandbox(pod_sandbox_id=pod)
    assert (server.logs / "web" / "app.log").exists()


# ------------------------------------------------------------------ update


async def test_resources_of_a_pod_are_noted(server: InProcess) -> None:
    pod = await server.run_pod()
    limits = {"memory_limit_in_bytes": 1 << 30, "cpu_quota": 50000}
    await server.rpc.UpdatePodSandboxResources(pod_sandbox_id=pod, overhead=limits, resources=limits)
    await server.rpc.UpdatePodSandboxResources(pod_sandbox_id=pod)
    with refused(NOT_FOUND):
        await server.rpc.UpdatePodSandboxResources(pod_sandbox_id="nobody", resources=limits)


async def test_from_scratch_and_again_with_identical_metadata(server: InProcess) -> None:
    """critest's benchmark: Remove must have freed the names."""
    for _ in range(2):
        answer = await server.rpc.RunPodSandbox(config=pod_config("scratch", attempt=2))
        app = await server.run(answer.pod_sandbox_id)
        await server.rpc.StopContainer(container_id=app, timeout=0)
        await server.rpc.RemoveContainer(container_id=app)
        await server.rpc.StopPodSandbox(pod_sandbox_id=answer.pod_sandbox_id)
        await server.rpc.RemovePodSandbox(pod_sandbox_id=answer.pod_sandbox_id)
