"""What plugins are told of a pod, and what they answer."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from criadapt.errors import InvalidArgument
from criadapt.model.sandbox import (
    DNSConfig,
    LinuxPodSandboxConfig,
    PodSandboxConfig,
    PodSandboxMetadata,
    PortMapping,
    Protocol,
)
from criadapt.network.config import Plugin
from criadapt.network.plugin import PluginFailed
from criadapt.network.podinfo import EGRESS, INGRESS, arguments, capabilities, cidrs, runtime_config
from criadapt.network.result import addresses


def pod(**more: Any) -> PodSandboxConfig:
    return PodSandboxConfig(metadata=PodSandboxMetadata(name="web", namespace="shop", uid="u-1"), **more)


def test_arguments_name_the_pod_in_every_way_that_plugins_ask_for() -> None:
    assert arguments("abc", pod()) == (
        "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID=abc;K8S_POD_UID=u-1"
    )


@pytest.mark.parametrize("name", ["a;K8S_POD_NAMESPACE=kube-system", "a\nb", "a\0b"])
def test_a_name_cannot_smuggle_arguments(name: str) -> None:
    config = PodSandboxConfig(metadata=PodSandboxMetadata(name=name))
    with pytest.raises(InvalidArgument, match=r"config\.metadata\.name"):
        arguments("abc", config)


def test_a_pod_without_anything_has_nothing_to_tell() -> None:
    assert capabilities(PodSandboxConfig(), ()) == {}


def test_port_mappings_are_those_with_a_host_port() -> None:
    ports = (
        PortMapping(container_port=80, host_port=8080),
        PortMapping(container_port=53, host_port=53, protocol=Protocol.UDP, host_ip="127.0.0.1"),
        PortMapping(container_port=90, host_port=9090, protocol=Protocol.SCTP, host_ip="0.0.0.0"),
        PortMapping(container_port=99, host_ip="::"),
    )
    assert capabilities(pod(port_mappings=ports), ())["portMappings"] == [
        {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
        {"hostPort": 53, "containerPort": 53, "protocol": "udp", "hostIP": "127.0.0.1"},
        {"hostPort": 9090, "containerPort": 90, "protocol": "sctp"},
    ]


def test_bandwidth_is_in_bits_per_second() -> None:
    told = capabilities(pod(annotations={INGRESS: "10M", EGRESS: "1500k"}), ())["bandwidth"]
    assert (told["ingressRate"], told["egressRate"]) == (10_000_000, 1_500_000)
    assert capabilities(pod(annotations={EGRESS: "1Mi"}), ())["bandwidth"].keys() == {"egressRate", "egressBurst"}


@pytest.mark.parametrize("rate", ["", "fast", "999", "2P", "-1M"])
def test_a_bandwidth_that_is_none_is_refused_by_name(rate: str) -> None:
    with pytest.raises(InvalidArgument, match=f"config.annotations.{INGRESS}"):
        capabilities(pod(annotations={INGRESS: rate}), ())


def test_the_rest_is_handed_on() -> None:
    config = pod(
        annotations={"a": "b"},
        dns_config=DNSConfig(servers=("10.0.0.10",), searches=("svc.local",)),
        linux=LinuxPodSandboxConfig(cgroup_parent="/kubepods/pod1"),
    )
    assert capabilities(config, ("10.1.0.0/24", "fd00::/64")) == {
        "dns": {"servers": ["10.0.0.10"], "searches": ["svc.local"]},
        "ipRanges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]],
        "cgroupPath": "/kubepods/pod1",
        "io.kubernetes.cri.pod-annotations": {"a": "b"},
    }


@given(st.sets(st.text(max_size=3)), st.dictionaries(st.text(max_size=3), st.integers()))
def test_a_plugin_gets_what_it_asked_for_and_nothing_else(asked: set[str], everything: dict[str, int]) -> None:
    plugin = Plugin(type="a", capabilities=frozenset(asked), raw={})
    told = runtime_config(plugin, everything)
    assert told.keys() == asked & everything.keys()
    assert all(everything[key] == value for key, value in told.items())


def test_pod_cidrs_are_one_or_two() -> None:
    assert cidrs("10.1.0.0/24") == ("10.1.0.0/24",)
    assert cidrs("10.1.0.7/24, fd00::/64") == ("10.1.0.0/24", "fd00::/64")
    for wrong in ("", "10.1.0.0/24,", "ten"):
        with pytest.raises(InvalidArgument, match="pod_cidr"):
            cidrs(wrong)


# ------------------------------------------------------------------ results

INTERFACES = [{"name": "br0"}, {"name": "eth0", "sandbox": "/x"}, {"name": "net1", "sandbox": "/x"}]


def test_addresses_are_those_of_the_pods_interface_ipv4_first() -> None:
    ips = [
        {"address": "fd00::5/64", "interface": 1},
        {"address": "10.0.0.1/24", "interface": 0},
        {"address": "10.0.0.5/24", "interface": 1},
        {"address": "10.9.0.5/24", "interface": 2},
        {"address": "10.0.0.6/24"},
    ]
    assert addresses({"interfaces": INTERFACES, "ips": ips}, "eth0") == ("10.0.0.5", "10.0.0.6", "fd00::5")


@pytest.mark.parametrize(
    "result",
    [
        {"ip4": {"ip": "10.0.0.5/24"}, "ip6": {"ip": "fd00::5/64"}},
        {"cniVersion": "0.3.1", "ips": [{"version": "6", "address": "fd00::5/64"}, {"address": "10.0.0.5/24"}]},
        {"cniVersion": "1.1.0", "ips": [{"address": "10.0.0.5/24", "interface": 0}, {"address": "fd00::5/64"}],
         "interfaces": [{"name": "eth0", "sandbox": "/x", "mtu": 1450}]},
    ],
)  # fmt: skip
def test_results_of_all_versions_are_understood(result: dict[str, Any]) -> None:
    assert addresses(result, "eth0") == ("10.0.0.5", "fd00::5")


@pytest.mark.parametrize(
    "result",
    [
        {"ips": {}},
        {"ips": ["10.0.0.1"]},
        {"ips": [{"address": "ten"}]},
        {"ips": [{}]},
        {"ips": [{"address": "10.0.0.1/24", "interface": 3}], "interfaces": INTERFACES},
        {"ips": [{"address": "10.0.0.1/24", "interface": -1}], "interfaces": INTERFACES},
        {"ips": [{"address": "10.0.0.1/24", "interface": "0"}], "interfaces": 7},
    ],
)
def test_a_result_that_makes_no_sense_is_said_to(result: dict[str, Any]) -> None:
    with pytest.raises(PluginFailed, match="makes no sense"):
        addresses(result, "eth0")


@given(st.lists(st.ip_addresses()))
def test_every_address_comes_once_and_none_is_invented(given_to_it: list[Any]) -> None:
    ips = [{"address": f"{ip}/{ip.max_prefixlen}"} for ip in given_to_it]
    found = addresses({"ips": ips}, "eth0")
    assert len(set(found)) == len(found)
    assert {ip_address(ip) for ip in found} == set(given_to_it)
    assert sorted(found, key=lambda ip: ":" in ip) == list(found)
