"""A container as the port describes it, and the request that Docker Engine gets."""

from dataclasses import replace
from typing import Any

import pytest

from criadapt.backends.base import ContainerSpec
from criadapt.backends.docker.facts import EngineFacts
from criadapt.backends.docker.resources import NO_LIMIT
from criadapt.backends.docker.spec import after_start, create_body, notes, resources_update
from criadapt.errors import InvalidArgument, Unsupported
from criadapt.model.container import KeyValue, Mount
from criadapt.model.linux import (
    HugepageLimit,
    LinuxContainerResources,
    LinuxContainerUser,
    NamespaceMode,
    NamespaceOption,
)
from criadapt.model.runtime import CgroupDriver
from criadapt.model.sandbox import PortMapping, Protocol
from criadapt.model.signals import Signal

OLD = EngineFacts(api=(1, 41), cgroup_version=1)
NEW = EngineFacts(
    api=(1, 51),
    cgroup_version=2,
    cgroup_driver=CgroupDriver.SYSTEMD,
    runtimes=frozenset({"runc", "kata"}),
    annotations=("dev.kata.*",),
)
INFRA = ContainerSpec(name="pod", image_id="sha256:1", args=("/pause",))
APP = replace(INFRA, name="app", infra="f" * 64)
MiB = 1 << 20


def body(spec: ContainerSpec = APP, facts: EngineFacts = OLD, **changes: Any) -> dict[str, Any]:
    return create_body(replace(spec, **changes), facts)


def host(spec: ContainerSpec = APP, facts: EngineFacts = OLD, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = body(spec, facts, **changes)["HostConfig"]
    return found


# ---------------------------------------------------------------------------------------------- process


def test_the_image_adds_nothing_to_the_arguments() -> None:
    found = body(args=("sh", "-c", "true"))
    assert (found["Entrypoint"], found["Cmd"]) == (["sh", "-c", "true"], [])
    assert found["Healthcheck"] == {"Test": ["NONE"]}


def test_variables_are_those_asked_for_and_no_others() -> None:
    assert body(env=(KeyValue(key="A", value=b"="),), tty=True)["Env"] == ["A==", "HOSTNAME", "TERM"]
    assert body(env=(KeyValue(key="HOSTNAME", value=b"x"),))["Env"] == ["HOSTNAME=x"]
    with pytest.raises(Unsupported, match="env 'A'"):
        body(env=(KeyValue(key="A", value=b"\xff"),))


def test_signals_are_spelled_the_engines_way() -> None:
    words = {body(stop_signal=signal)["StopSignal"] for signal in Signal}
    assert {"SIGTERM", "SIGRTMIN+3", "SIGRTMAX-14"} <= words
    assert "RUNTIME_DEFAULT" not in words


def test_the_primary_group_is_not_repeated() -> None:
    user = LinuxContainerUser(uid=1000, gid=7, supplemental_groups=(7, 8, 8, 9))
    assert body(user=user)["User"] == "1000:7"
    assert host(user=user)["GroupAdd"] == ["8", "9"]
    with pytest.raises(InvalidArgument, match="2147483648"):
        body(user=LinuxContainerUser(uid=2**31))


@pytest.mark.parametrize("changes", [{"args": ()}, {"args": ("",)}, {"name": "a"}, {"name": "_x"}, {"name": "a b"}])
def test_what_makes_no_sense_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        body(**changes)


def test_a_name_that_is_not_utf8_is_refused_not_replaced() -> None:
    with pytest.raises(Unsupported, match="UTF-8"):
        body(mounts=(Mount(host_path="/caf\udce9", container_path="/x"),))


# ---------------------------------------------------------------------------------------------- namespaces


def test_an_infra_container_holds_the_pods_namespaces() -> None:
    found = host(INFRA)
    assert (found["NetworkMode"], found["IpcMode"], found["PidMode"]) == ("bridge", "shareable", "")
    assert found["ShmSize"] == 64 * MiB
    assert host(INFRA, connected=False)["NetworkMode"] == "none"


def test_a_container_shares_them() -> None:
    found = host()
    shared = f"container:{APP.infra}"
    assert (found["NetworkMode"], found["IpcMode"], found["PidMode"]) == (shared, shared, shared)
    assert "Hostname" not in body(hostname="web")  # the engine refuses it there, and gives the infra container's


@pytest.mark.parametrize("spec", [INFRA, APP])
def test_the_hosts_network_brings_its_name(spec: ContainerSpec) -> None:
    on_host = NamespaceOption(network=NamespaceMode.NODE)
    found = body(spec, hostname="web", namespaces=on_host)
    assert "Hostname" not in found
    assert (found["HostConfig"]["NetworkMode"], found["HostConfig"]["UTSMode"]) == ("host", "host")


@pytest.mark.parametrize(
    ("pid", "mode"),
    [
        (NamespaceMode.POD, f"container:{APP.infra}"),
        (NamespaceMode.CONTAINER, ""),
        (NamespaceMode.NODE, "host"),
        (NamespaceMode.TARGET, "container:t1"),
    ],
)
def test_pid_namespaces(pid: NamespaceMode, mode: str) -> None:
    assert host(namespaces=NamespaceOption(pid=pid, target_id="t1"))["PidMode"] == mode


def test_cgroup_namespaces_follow_the_kernel() -> None:
    assert host()["CgroupnsMode"] == "host"
    assert host(facts=NEW)["CgroupnsMode"] == "private"
    assert host(facts=NEW, privileged=True)["CgroupnsMode"] == "host"


def test_ports_are_published_once_per_host_address() -> None:
    mappings = (
        PortMapping(container_port=80, host_port=8080),
        PortMapping(container_port=80, host_port=8081, host_ip="127.0.0.1"),
        PortMapping(container_port=53, host_port=5353, protocol=Protocol.UDP),
        PortMapping(container_port=9),
    )
    found = body(INFRA, port_mappings=mappings)
    assert found["ExposedPorts"] == {"80/tcp": {}, "53/udp": {}}
    assert found["HostConfig"]["PortBindings"] == {
        "80/tcp": [{"HostIp": "", "HostPort": "8080"}, {"HostIp": "127.0.0.1", "HostPort": "8081"}],
        "53/udp": [{"HostIp": "", "HostPort": "5353"}],
    }
    assert host(INFRA, connected=False, port_mappings=mappings)["PortBindings"] == {}
    with pytest.raises(InvalidArgument, match="port_mappings"):
        body(port_mappings=mappings)


def test_a_pods_sysctls_are_set_once() -> None:
    sysctls = {"net/ipv4/conf/eth0.1/forwarding": "1", "kernel.msgmax": "9", "kernel.domainname": "x"}
    spelled = {"net.ipv4.conf.eth0/1.forwarding": "1", "kernel.msgmax": "9", "kernel.domainname": "x"}
    assert host(INFRA, sysctls=sysctls)["Sysctls"] == spelled
    assert host(sysctls=sysctls)["Sysctls"] == {"kernel.domainname": "x"}


# ---------------------------------------------------------------------------------------------- the rest of the host


def test_only_a_sandbox_is_not_logged() -> None:
    facts = replace(OLD, log={"Type": "json-file"})
    assert host(INFRA, facts, labels={"criadapt.io/kind": "sandbox"})["LogConfig"] == {"Type": "none"}
    assert host(INFRA, facts)["LogConfig"] == {"Type": "json-file"}
    assert "LogConfig" not in host()


def test_cgroup_parents_fit_the_driver() -> None:
    path = "/kubepods.slice/kubepods-pod1.slice"
    assert host(cgroup_parent=path)["CgroupParent"] == path
    assert host(facts=NEW, cgroup_parent=path)["CgroupParent"] == "kubepods-pod1.slice"
    with pytest.raises(InvalidArgument, match="slice"):
        body(facts=NEW, cgroup_parent="/kubepods/pod1")


def test_handlers_are_the_engines_runtimes() -> None:
    assert "Runtime" not in host()
    assert host(facts=NEW, handler="kata")["Runtime"] == "kata"
    with pytest.raises(InvalidArgument, match=r"'kata'.*runc"):
        body(handler="kata")


def test_runtimes_see_only_the_annotations_they_are_allowed() -> None:
    asked = {"dev.kata.x": "1", "run.oci.hooks.stdout": "/etc/passwd"}
    assert host(facts=NEW, annotations=asked)["Annotations"] == {"dev.kata.x": "1"}
    assert "Annotations" not in host(annotations=asked)
    with pytest.raises(Unsupported, match=r"annotations.*1\.43"):
        body(facts=replace(OLD, annotations=("*",)), annotations=asked)


def test_a_low_oom_score_is_clamped_and_noted() -> None:
    spec = replace(INFRA, resources=LinuxContainerResources(oom_score_adj=-998))
    assert host(spec)["OomScoreAdj"] == -998
    assert notes(spec, OLD) == ()
    floor = replace(OLD, oom_floor=0)
    assert host(spec, floor)["OomScoreAdj"] == 0
    assert "oom_score_adj -998 becomes 0" in notes(spec, floor)[0]


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ({}, {}),
        ({"memory_limit_in_bytes": 64 * MiB}, {"Memory": 64 * MiB, "MemorySwap": 64 * MiB}),
        (
            {"memory_limit_in_bytes": 64 * MiB, "memory_swap_limit_in_bytes": -1},
            {"Memory": 64 * MiB, "MemorySwap": NO_LIMIT},
        ),
        (
            {"cpu_shares": 1, "cpu_quota": -1, "cpuset_cpus": "0-1"},
            {"CpuShares": 2, "CpuQuota": -1, "CpusetCpus": "0-1"},
        ),
        ({"oom_score_adj": 5}, {}),
    ],
)
def test_an_update_changes_what_is_set(asked: dict[str, Any], sent: dict[str, Any]) -> None:
    assert resources_update(LinuxContainerResources(**asked), OLD) == sent


@pytest.mark.parametrize(
    "asked",
    [{"memory_limit_in_bytes": -5}, {"cpu_shares": -1}, {"cpu_quota": -2}, {"oom_score_adj": 1001}],
)
def test_senseless_limits_are_refused(asked: dict[str, Any]) -> None:
    for make in (lambda each: body(resources=each), lambda each: resources_update(each, OLD)):
        with pytest.raises(InvalidArgument, match=next(iter(asked))):
            make(LinuxContainerResources(**asked))


def test_what_the_engine_has_no_field_for_is_left_for_later() -> None:
    asked = LinuxContainerResources(
        unified={"memory.high": "1"}, hugepage_limits=(HugepageLimit(page_size="2MB", limit=MiB),)
    )
    left = after_start(asked, NEW)
    assert (left.unified, left.hugepages) == ({"memory.high": "1"}, {"2MB": MiB})
    assert not after_start(LinuxContainerResources(), NEW)
    with pytest.raises(Unsupported, match=r"unified \(memory.high\)"):
        body(resources=asked)
