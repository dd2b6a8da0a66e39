"""What plugins are told of a pod: ``CNI_ARGS``, and the conventional capabilities of ``runtimeConfig``.

Sources: CNI conventions (CONVENTIONS.md of the specification's repository) for portMappings, ipRanges, bandwidth, dns
and cgroupPath; ``io.kubernetes.cri.pod-annotations`` is what containerd and CRI-O give; the K8S_ arguments are those
that Calico, Multus and others read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import Any, Final

from criadapt.errors import InvalidArgument
from criadapt.model.quantity import ceiling, parse_quantity
from criadapt.model.sandbox import PodSandboxConfig, PodSandboxMetadata, PortMapping
from criadapt.network.config import Plugin

INGRESS: Final = "kubernetes.io/ingress-bandwidth"
EGRESS: Final = "kubernetes.io/egress-bandwidth"

_RATES = (1_000, 10**15)  # bits per second that Kubernetes allows (pkg/util/bandwidth)
_NO_BURST = 2**31 - 1  # bits: what kubelet itself gave when it still ran plugins, for "as much as you like"
_SPECIAL = frozenset(";\n\0")


def pod_name(config: PodSandboxConfig) -> str:
    """``namespace/name``, for messages."""
    metadata = config.metadata or PodSandboxMetadata()
    return f"{metadata.namespace}/{metadata.name}"


def arguments(id: str, config: PodSandboxConfig) -> str:
    """``CNI_ARGS``. Raises InvalidArgument for a name that would be read as more than a name."""
    metadata = config.metadata or PodSandboxMetadata()
    pairs = {
        "K8S_POD_NAMESPACE": metadata.namespace,
        "K8S_POD_NAME": metadata.name,
        "K8S_POD_INFRA_CONTAINER_ID": id,
        "K8S_POD_UID": metadata.uid,
    }
    for key, value in pairs.items():
        if not _SPECIAL.isdisjoint(value):
            field = key.removeprefix("K8S_POD_").lower()
            raise InvalidArgument(
                f'config.metadata.{field} {value[:80]!r} has a character that separates CNI arguments (";" or a line '
                "end): name the pod differently"
            )
    return ";".join(["IgnoreUnknown=1", *(f"{key}={value}" for key, value in pairs.items())])


def capabilities(config: PodSandboxConfig, pod_cidrs: Sequence[str]) -> dict[str, Any]:
    """Everything that may be told; what there is nothing to tell of is left out. Raises InvalidArgument."""
    linux = config.linux
    everything: dict[str, Any] = {
        "portMappings": [_port(mapping) for mapping in config.port_mappings if mapping.host_port],
        "bandwidth": _bandwidth(config.annotations),
        "dns": _dns(config),
        "ipRanges": [[{"subnet": cidr}] for cidr in pod_cidrs],
        "cgroupPath": linux.cgroup_parent if linux else "",
        "io.kubernetes.cri.pod-annotations": dict(config.annotations),
    }
    return {key: value for key, value in everything.items() if value}


def runtime_config(plugin: Plugin, everything: Mapping[str, Any]) -> dict[str, Any]:
    """Of all that may be told, what this plugin's configuration asks for."""
    return {key: value for key, value in everything.items() if key in plugin.capabilities}


def cidrs(text: str) -> tuple[str, ...]:
    """The node's ranges of pod addresses, from the form that kubelet gives them in. Raises InvalidArgument."""
    found = []
    for part in text.split(","):
        try:
            found.append(str(ip_network(part.strip(), strict=False)))
        except ValueError:
            raise InvalidArgument(
                f"pod_cidr {text[:80]!r} is not a range of addresses such as 10.1.0.0/24, or two separated by a comma"
            ) from None
    return tuple(found)


def _port(mapping: PortMapping) -> dict[str, Any]:
    told: dict[str, Any] = {
        "hostPort": mapping.host_port,
        "containerPort": mapping.container_port,
        "protocol": mapping.protocol.name.lower(),
    }
    # 0.0.0.0 and :: mean "all" to those who write them, and to the portmap plugin an address that nobody sends to.
    if mapping.host_ip and not ip_address(mapping.host_ip).is_unspecified:
        told["hostIP"] = mapping.host_ip
    return told


def _bandwidth(annotations: Mapping[str, str]) -> dict[str, int]:
    """Rates in bits per second; a side that is not limited is left out."""
    told: dict[str, int] = {}
    for key, side in ((INGRESS, "ingress"), (EGRESS, "egress")):
        if key not in annotations:
            continue
        rate = ceiling(parse_quantity(annotations[key], f"config.annotations[{key}]"))
        if not _RATES[0] <= rate <= _RATES[1]:
            raise InvalidArgument(
                f"config.annotations[{key}]: {annotations[key][:80]!r} is not within 1k and 1P bits per second"
            )
        told |= {f"{side}Rate": rate, f"{side}Burst": _NO_BURST}
    return told


def _dns(config: PodSandboxConfig) -> dict[str, list[str]]:
    dns = config.dns_config
    if dns is None:
        return {}
    told = {"servers": list(dns.servers), "searches": list(dns.searches), "options": list(dns.options)}
    return {key: value for key, value in told.items() if value}
