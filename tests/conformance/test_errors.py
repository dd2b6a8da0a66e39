"""A wrong request gets the right code, and a message that names the field and what is wrong with it."""

from typing import Any

import grpc
import pytest

from criadapt.cri.v1 import api_pb2 as pb
from criadapt.testing.factories import BUSYBOX
from criadapt.testing.inprocess import InProcess, refused

INVALID = grpc.StatusCode.INVALID_ARGUMENT

NAMED = {"metadata": {"name": "x", "namespace": "n", "uid": "u"}}
USABLE = {"metadata": {"name": "x"}, "image": {"image": BUSYBOX}, "command": ["top"]}


def pod_secured(**context: Any) -> dict[str, Any]:
    return {**NAMED, "linux": {"security_context": context}}


def pod_namespaces(**options: Any) -> dict[str, Any]:
    return pod_secured(namespace_options=options)


def secured(**context: Any) -> dict[str, Any]:
    return {**USABLE, "linux": {"security_context": context}}


def limited(**limits: Any) -> dict[str, Any]:
    return {**USABLE, "linux": {"resources": limits}}


def mounted(**mount: Any) -> dict[str, Any]:
    return {**USABLE, "mounts": [{"container_path": "/ok", "host_path": "/tmp"}, mount]}


ONE_TO_ONE = [{"host_id": 1, "container_id": 0, "length": 1}]

BAD_PODS: dict[str, tuple[dict[str, Any] | None, str]] = {
    "no config": (None, "config is missing"),
    "no metadata": ({}, "config.metadata"),
    "no name": ({"metadata": {"uid": "u"}}, "config.metadata.name"),
    "name too long": ({"metadata": {"name": "x" * 254}}, "config.metadata.name"),
    "namespace too long": ({"metadata": {"name": "x", "namespace": "x" * 254}}, "config.metadata.namespace"),
    "uid too long": ({"metadata": {"name": "x", "uid": "x" * 254}}, "config.metadata.uid"),
    "newline in name": ({"metadata": {"name": "a\nb"}}, "config.metadata.name"),
    "nul in uid": ({"metadata": {"name": "a", "uid": "\0"}}, "config.metadata.uid"),
    "hostname too long": ({**NAMED, "hostname": "h" * 65}, "config.hostname"),
    "hostname with slash": ({**NAMED, "hostname": "a/b"}, "config.hostname"),
    "hostname with newline": ({**NAMED, "hostname": "a\nb"}, "config.hostname"),
    "relative log directory": ({**NAMED, "log_directory": "var/log"}, "config.log_directory"),
    "nul in log directory": ({**NAMED, "log_directory": "/a\0b"}, "config.log_directory"),
    "name server with newline": ({**NAMED, "dns_config": {"servers": ["1.1.1.1\nevil"]}}, "config.dns_config.servers"),
    "search with space": ({**NAMED, "dns_config": {"searches": ["a b"]}}, "config.dns_config.searches"),
    "empty option": ({**NAMED, "dns_config": {"options": [""]}}, "config.dns_config.options"),
    "host port too great": ({**NAMED, "port_mappings": [{"container_port": 1, "host_port": 65536}]}, "host_port 65536"),
    "negative port": ({**NAMED, "port_mappings": [{"container_port": -1}]}, "container_port -1"),
    "host port alone": ({**NAMED, "port_mappings": [{"host_port": 80}]}, "host_port without container_port"),
    "host ip": ({**NAMED, "port_mappings": [{"container_port": 1, "host_ip": "here"}]}, "host_ip 'here'"),
    "protocol": ({**NAMED, "port_mappings": [{"protocol": 77}]}, "config.port_mappings.protocol: 77"),
    "network mode": (pod_namespaces(network=pb.CONTAINER), "namespace_options.network"),
    "network target": (pod_namespaces(network=pb.TARGET), "namespace_options.network"),
    "ipc mode": (pod_namespaces(ipc=pb.CONTAINER), "namespace_options.ipc"),
    "pid target": (pod_namespaces(pid=pb.TARGET), "namespace_options.pid"),
    "namespace nobody knows": (pod_namespaces(pid=99), "namespace_options.pid: 99"),
    "userns container": (pod_namespaces(userns_options={"mode": pb.CONTAINER}), "userns_options.mode"),
    "userns target": (pod_namespaces(userns_options={"mode": pb.TARGET}), "userns_options.mode"),
    "userns without mappings": (pod_namespaces(userns_options={"mode": pb.POD}), "userns_options.uids"),
    "userns with two": (
        pod_namespaces(userns_options={"mode": pb.POD, "uids": ONE_TO_ONE * 2, "gids": ONE_TO_ONE}),
        "exactly one mapping",
    ),
    "userns not at 0": (
        pod_namespaces(userns_options={"mode": pb.POD, "uids": [{"container_id": 1, "length": 1}], "gids": ONE_TO_ONE}),
        "container_id 0",
    ),
    "userns node with mappings": (pod_namespaces(userns_options={"mode": pb.NODE, "uids": ONE_TO_ONE}), "mode NODE"),
    "group alone": (pod_secured(run_as_group={"value": 5}), "run_as_group"),
    "negative uid": (pod_secured(run_as_user={"value": -1}), "run_as_user -1"),
    "seccomp without file": (pod_secured(seccomp={"profile_type": 2}), "seccomp.localhost_ref"),
    "seccomp type": (pod_secured(seccomp={"profile_type": 3}), "seccomp.profile_type: 3"),
    "sysctl name": ({**NAMED, "linux": {"sysctls": {"no sysctl": "1"}}}, "config.linux.sysctls"),
    "sysctl way out": ({**NAMED, "linux": {"sysctls": {"net/../../kernel.core": "1"}}}, "config.linux.sysctls"),
    "net sysctl on the host's network": (
        {
            **NAMED,
            "linux": {
                "sysctls": {"net.core.somaxconn": "1"},
                "security_context": {"namespace_options": {"network": pb.NODE}},
            },
        },
        "net.core.somaxconn",
    ),
    "ipc sysctl of the host": (
        {
            **NAMED,
            "linux": {
                "sysctls": {"kernel.shmmax": "1"},
                "security_context": {"namespace_options": {"ipc": pb.NODE}},
            },
        },
        "kernel.shmmax",
    ),
    "pod resources": ({**NAMED, "linux": {"resources": {"cpu_shares": -1}}}, "config.linux.resources.cpu_shares"),
    "pod overhead": ({**NAMED, "linux": {"overhead": {"cpu_quota": -2}}}, "config.linux.overhead.cpu_quota"),
}

BAD_CONTAINERS: dict[str, tuple[dict[str, Any] | None, str]] = {
    "no config": (None, "config is missing"),
    "no metadata": ({"image": {"image": BUSYBOX}}, "config.metadata"),
    "no name": ({**USABLE, "metadata": {"attempt": 1}}, "config.metadata.name"),
    "name too long": ({**USABLE, "metadata": {"name": "x" * 254}}, "config.metadata.name"),
    "no image": ({"metadata": {"name": "x"}}, "config.image"),
    "empty image": ({"metadata": {"name": "x"}, "image": {}}, "config.image"),
    "nul in command": ({**USABLE, "command": ["a\0b"]}, "config.command"),
    "nul in args": ({**USABLE, "args": ["a\0b"]}, "config.args"),
    "variable without name": ({**USABLE, "envs": [{"value": b"x"}]}, "config.envs"),
    "variable with equals sign": ({**USABLE, "envs": [{"key": "a=b"}]}, "config.envs"),
    "nul in variable": ({**USABLE, "envs": [{"key": "a", "value": b"\0"}]}, "config.envs"),
    "nul in directory": ({**USABLE, "working_dir": "/\0"}, "config.working_dir"),
    "absolute log path": ({**USABLE, "log_path": "/etc/passwd"}, "config.log_path"),
    "log path way out": ({**USABLE, "log_path": "../../x"}, "config.log_path"),
    "stop signal": ({**USABLE, "stop_signal": 99}, "config.stop_signal: 99"),
    "mount without path": (mounted(host_path="/tmp"), "config.mounts[1].container_path"),
    "mount without source": (mounted(container_path="/x"), "config.mounts[1].host_path"),
    "relative source": (mounted(container_path="/x", host_path="x"), "config.mounts[1].host_path"),
    "nul in source": (mounted(container_path="/x", host_path="/x\0"), "config.mounts[1].host_path"),
    "propagation": (mounted(container_path="/x", host_path="/x", propagation=9), "config.mounts.propagation: 9"),
    "mount option": (mounted(container_path="/x", host_path="/x", mount_options=["exec"]), "mounts[1].mount_options"),
    "writable image": (mounted(container_path="/x", image={"image": BUSYBOX}), "config.mounts[1].readonly"),
    "image and source": (
        mounted(container_path="/x", host_path="/x", image={"image": BUSYBOX}, readonly=True),
        "exclude each other",
    ),
    "sub path alone": (mounted(container_path="/x", host_path="/x", image_sub_path="y"), "image_sub_path"),
    "recursive and writable": (
        mounted(container_path="/x", host_path="/x", recursive_read_only=True),
        "config.mounts[1].recursive_read_only",
    ),
    "recursive and shared": (
        mounted(container_path="/x", host_path="/x", recursive_read_only=True, readonly=True, propagation=2),
        "config.mounts[1].recursive_read_only",
    ),
    "device without source": ({**USABLE, "devices": [{"container_path": "/x"}]}, "config.devices[0].host_path"),
    "device permissions": (
        {**USABLE, "devices": [{"host_path": "/dev/null", "permissions": "rwx"}]},
        "config.devices[0].permissions",
    ),
    "cdi name": ({**USABLE, "CDI_devices": [{"name": "gpu"}]}, "config.CDI_devices[0].name"),
    "uid and name": (secured(run_as_user={"value": 1}, run_as_username="x"), "run_as_username"),
    "group alone": (secured(run_as_group={"value": 5}), "run_as_group"),
    "uid too great": (secured(run_as_user={"value": 2**31}), "run_as_user"),
    "negative group": (secured(supplemental_groups=[-1]), "supplemental_groups"),
    "group policy": (secured(supplemental_groups_policy=5), "supplemental_groups_policy: 5"),
    "unprivileged pod": (secured(privileged=True), "privileged"),
    "network mode": (secured(namespace_options={"network": pb.CONTAINER}), "namespace_options.network"),
    "target without id": (secured(namespace_options={"pid": pb.TARGET}), "namespace_options.target_id"),
    "another user namespace": (
        secured(namespace_options={"userns_options": {"mode": pb.POD, "uids": ONE_TO_ONE, "gids": ONE_TO_ONE}}),
        "userns_options differs",
    ),
    "relative masked path": (secured(masked_paths=["proc"]), "masked_paths"),
    "relative readonly path": (secured(readonly_paths=["proc"]), "readonly_paths"),
    "seccomp path": (secured(seccomp_profile_path="elsewhere"), "seccomp_profile_path"),
    "apparmor profile": (secured(apparmor_profile="elsewhere"), "apparmor_profile"),
    "relative seccomp file": (
        secured(seccomp={"profile_type": 2, "localhost_ref": "x.json"}),
        "seccomp.localhost_ref",
    ),
    "negative shares": (limited(cpu_shares=-1), "config.linux.resources.cpu_shares"),
    "negative memory": (limited(memory_limit_in_bytes=-1), "memory_limit_in_bytes"),
    "quota": (limited(cpu_quota=-2), "cpu_quota"),
    "swap below memory": (
        limited(memory_limit_in_bytes=2 << 20, memory_swap_limit_in_bytes=1 << 20),
        "memory_swap_limit_in_bytes",
    ),
    "oom score": (limited(oom_score_adj=1001), "oom_score_adj"),
    "cpus": (limited(cpuset_cpus="0-"), "cpuset_cpus"),
    "huge page size": (limited(hugepage_limits=[{"page_size": "big"}]), "hugepage_limits"),
    "unified way out": (limited(unified={"../memory.max": "1"}), "unified"),
}


@pytest.mark.parametrize("case", BAD_PODS)
async def test_a_pod_that_cannot_be_is_refused(server: InProcess, case: str) -> None:
    config, field = BAD_PODS[case]
    before = server.traces()
    with refused(INVALID, saying=field):
        await server.rpc.RunPodSandbox(**({} if config is None else {"config": config}))
    await server.leaves(before)
    assert await server.run_pod()


@pytest.mark.parametrize("case", BAD_CONTAINERS)
async def test_a_container_that_cannot_be_is_refused(server: InProcess, case: str) -> None:
    config, field = BAD_CONTAINERS[case]
    pod = await server.run_pod()
    before = server.traces()
    with refused(INVALID, saying=field):
        await server.rpc.CreateContainer(pod_sandbox_id=pod, **({} if config is None else {"config": config}))
    await server.leaves(before)
    assert (await server.rpc.CreateContainer(pod_sandbox_id=pod, config=USABLE)).container_id


@pytest.mark.parametrize(
    ("rpc", "fields"),
    [
        ("ListPodSandbox", {"filter": {"state": {"state": 7}}}),
        ("StreamPodSandboxes", {"filter": {"state": {"state": 7}}}),
        ("ListContainers", {"filter": {"state": {"state": -1}}}),
        ("StreamContainers", {"filter": {"state": {"state": 2**31 - 1}}}),
    ],
)
async def test_a_state_nobody_knows_is_refused(server: InProcess, rpc: str, fields: dict[str, Any]) -> None:
    with refused(INVALID, saying=("state", str(fields["filter"]["state"]["state"]))):
        if rpc.startswith("Stream"):
            await server.chunks(rpc, **fields)
        else:
            await getattr(server.rpc, rpc)(**fields)


async def test_messages_are_short_whatever_was_sent(server: InProcess) -> None:
    pod = await server.run_pod()
    for config in (
        {**USABLE, "image": {"image": "x" * 100_000}},
        {**USABLE, "log_path": "/" + "x" * 100_000},
        {**USABLE, "mounts": [{"container_path": "/x", "host_path": "y" * 100_000}]},
    ):
        with refused(INVALID, grpc.StatusCode.NOT_FOUND) as caught:
            await server.rpc.CreateContainer(pod_sandbox_id=pod, config=config)
        assert len(caught.value.details()) < 2100


async def test_messages_may_hold_any_character(server: InProcess) -> None:
    pod = await server.run_pod()
    with refused(grpc.StatusCode.NOT_FOUND, saying="ünïcode 🙂%"):
        await server.create(pod, image={"image": "ünïcode 🙂%\n\0"})


async def test_bytes_that_are_no_message_are_refused_in_words(server: InProcess) -> None:
    call = server.channel.unary_unary("/runtime.v1.RuntimeService/ContainerStatus")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(b"\xff\xff\xff", timeout=5)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "cannot be decoded" in str(caught.value.details())
