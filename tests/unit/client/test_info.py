"""Verbose info of every runtime comes out in the same words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from criadapt.client.info import cgroup_path, container_details, pod_details
from criadapt.model.container import ContainerStatus
from criadapt.model.sandbox import PodSandboxStatus

ID = "ab12" * 16
POD = "kubepods-besteffort-pod0e76.slice"


def spec(cgroup: str, *namespaces: dict[str, str]) -> dict[str, Any]:
    return {"ociVersion": "1.2.0", "linux": {"cgroupsPath": cgroup, "namespaces": [{"type": "pid"}, *namespaces]}}


def of_container(info: dict[str, Any]) -> Any:
    return container_details(ContainerStatus(id=ID), info)


def one_key(content: dict[str, Any]) -> dict[str, str]:
    return {"info": json.dumps(content)}


NETNS = {"type": "network", "path": "/var/run/netns/cni-1f0c"}


def test_containerd() -> None:
    found = of_container(
        one_key(
            {
                "sandboxID": "cd" * 32,
                "pid": 4711,
                "removing": False,
                "snapshotter": "overlayfs",
                "runtimeSpec": spec(f"{POD}:cri-containerd:{ID}", {"type": "network", "path": "/proc/4000/ns/net"}),
            }
        )
    )
    assert (found.status.id, found.pid, found.netns) == (ID, 4711, "/proc/4000/ns/net")
    assert found.cgroup == (f"/kubepods.slice/kubepods-besteffort.slice/{POD}/cri-containerd-{ID}.scope")
    assert found.spec["ociVersion"] == "1.2.0"
    assert found.info["info"]["snapshotter"] == "overlayfs"


def test_a_sandbox_of_containerd() -> None:
    content = {"pid": 6075, "processStatus": "running", "netNamespaceClosed": False, "runtimeSpec": spec("/k/p", NETNS)}
    found = pod_details(PodSandboxStatus(id=ID), one_key(content))
    assert (found.pid, found.netns, found.cgroup) == (6075, "/var/run/netns/cni-1f0c", "/k/p")


def test_a_sandbox_whose_facts_are_keys_of_their_own() -> None:
    flat = {"pid": "6075", "processStatus": "running", "runtimeSpec": json.dumps(spec("/k/p", NETNS))}
    found = pod_details(PodSandboxStatus(id=ID), flat)
    assert (found.pid, found.netns, found.cgroup) == (6075, "/var/run/netns/cni-1f0c", "/k/p")
    assert found.info["processStatus"] == "running"


def test_crio() -> None:
    found = of_container(
        one_key(
            {
                "sandboxID": "cd" * 32,
                "pid": 3342,
                "runtimeSpec": spec(f"{POD}:crio:{ID}", NETNS),
                "privileged": False,
            }
        )
    )
    assert (found.pid, found.netns) == (3342, "/var/run/netns/cni-1f0c")
    assert found.cgroup.endswith(f"{POD}/crio-{ID}.scope")


def test_a_sandbox_of_crio_has_no_pid() -> None:
    found = pod_details(PodSandboxStatus(id=ID), one_key({"runtimeSpec": spec(f"{POD}:crio:{ID}", NETNS)}))
    assert (found.pid, found.netns) == (None, "/var/run/netns/cni-1f0c")


def test_cri_dockerd_tells_nothing() -> None:
    found = of_container({})
    assert (found.pid, found.netns, found.cgroup, found.spec, found.info) == (None, None, None, {}, {})


def test_criadapt_tells_the_process() -> None:
    found = of_container(one_key({"pid": 77, "engineState": "running"}))
    assert (found.pid, found.netns, found.cgroup) == (77, "/proc/77/ns/net", None)


@pytest.mark.parametrize("pid", [0, -1, None, "7", True, 1.5])
def test_what_is_no_process_is_none(pid: object) -> None:
    found = of_container(one_key({"pid": pid}))
    assert (found.pid, found.netns) == (None, None)


@pytest.mark.parametrize("namespaces", [(), ({"type": "network"},)], ids=["the host's network", "a new one"])
def test_without_a_path_the_process_shows_its_network(namespaces: tuple[dict[str, str], ...]) -> None:
    found = of_container(one_key({"pid": 5, "runtimeSpec": spec("/x", *namespaces)}))
    assert found.netns == "/proc/5/ns/net"


@pytest.mark.parametrize(
    "info",
    [
        {"info": "{"},
        {"info": "[]"},
        {"info": "null"},
        {"info": json.dumps({"runtimeSpec": None, "pid": {}})},
        {"info": json.dumps({"runtimeSpec": {"linux": None}})},
        {"info": json.dumps({"runtimeSpec": {"linux": {"namespaces": None, "cgroupsPath": None}}})},
        {"info": json.dumps({"runtimeSpec": {"linux": {"namespaces": ["network", {}]}}})},
        {"runtimeSpec": "no JSON"},
    ],
)
def test_what_cannot_be_read_is_left_out(info: dict[str, str]) -> None:
    found = of_container(info)
    assert (found.pid, found.netns, found.cgroup) == (None, None, None)


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("/kubepods/burstable/pod12/ab", "/kubepods/burstable/pod12/ab"),
        ("kubepods/pod12/ab/", "/kubepods/pod12/ab"),
        ("kubepods.slice:cri-containerd:ab", "/kubepods.slice/cri-containerd-ab.scope"),
        ("a-b-c.slice:crio:x", "/a.slice/a-b.slice/a-b-c.slice/crio-x.scope"),
        (":docker:x", "/system.slice/docker-x.scope"),
        ("a.slice::x", "/a.slice/x.scope"),
        ("a.slice:p:a-x.slice", "/a.slice/a-x.slice"),
        ("-.slice:p:x", "/p-x.scope"),
        ("/kubepods.slice/kubepods-burstable.slice:crio:x", "/kubepods.slice/kubepods-burstable.slice/crio-x.scope"),
    ],
)
def test_a_cgroup_is_a_path_below_the_mount(given: str, path: str) -> None:
    assert cgroup_path(given) == path
