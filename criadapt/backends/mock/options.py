"""What a user may set under ``[backend.mock]``."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Literal

from criadapt.errors import InvalidArgument

_SUBNET = "10.88.0.0/16"
_LOOPBACK = "127.88.0.0/16"


@dataclass(frozen=True, slots=True, kw_only=True)
class MockOptions:
    """Shape of the pretended machine. The same options and the same calls give the same containers."""

    subnet: str = field(
        default="auto",
        metadata={
            "doc": "IPv4 network of the pods, empty for pods without IPv4; "
            f"auto is {_SUBNET}, or {_LOOPBACK} if reachable"
        },
    )
    subnet_v6: str = field(default="", metadata={"doc": "IPv6 network of the pods; empty for pods without IPv6"})
    reachable: bool = field(
        default=False,
        metadata={
            "doc": "servers in pods also listen for real: on the pod's IPv4 address, on its host ports, and on "
            "127.0.0.1 for the host network; the subnet must then be this machine's own, as all of 127.0.0.0/8 is"
        },
    )
    preload: tuple[str, ...] = field(
        default=(), metadata={"doc": "references of images that are present without a pull"}
    )
    image_size: int = field(default=0, metadata={"doc": "bytes that every image takes; 0 lets the image's name decide"})
    pull_delay: float = field(
        default=0.02, metadata={"doc": "seconds that every pull takes; real ones are never instant"}
    )
    cgroup_driver: Literal["cgroupfs", "systemd"] = field(
        default="cgroupfs", metadata={"doc": "cgroup driver reported to kubelet"}
    )
    handlers: tuple[str, ...] = field(
        default=("", "mock"), metadata={"doc": "runtime handlers; the default one has the empty name"}
    )
    unknown_command: Literal["fail", "run"] = field(
        default="fail",
        metadata={"doc": "a command the mock does not know fails to start, or runs until it is killed"},
    )
    programs: tuple[str, ...] = field(
        default=(), metadata={"doc": "Python modules to import that add programs for containers to run"}
    )
    cpus: int = field(default=4, metadata={"doc": "processors of the pretended machine"})
    memory: int = field(default=8 << 30, metadata={"doc": "bytes of memory of the pretended machine"})
    disk_size: int = field(default=100 << 30, metadata={"doc": "bytes of disk of the pretended machine"})
    seed: str = field(
        default="criadapt",
        metadata={"doc": "changes everything that looks random, such as sizes and counters"},
    )

    def __post_init__(self) -> None:
        for name, text, version in (("subnet", self.network, 4), ("subnet_v6", self.subnet_v6, 6)):
            if text:
                _check_network(name, text, version)
        if self.cgroup_driver not in ("cgroupfs", "systemd"):
            raise InvalidArgument(f"cgroup_driver is {self.cgroup_driver!r}; use 'cgroupfs' or 'systemd'")
        if self.unknown_command not in ("fail", "run"):
            raise InvalidArgument(f"unknown_command is {self.unknown_command!r}; use 'fail' or 'run'")
        if "" not in self.handlers:
            raise InvalidArgument("handlers lacks the default handler, whose name is the empty string")
        for name in ("image_size", "pull_delay"):
            if getattr(self, name) < 0:
                raise InvalidArgument(f"{name} is {getattr(self, name)}; it must not be negative")
        for name in ("cpus", "memory", "disk_size"):
            if getattr(self, name) <= 0:
                raise InvalidArgument(f"{name} is {getattr(self, name)}; it must be positive")

    @property
    def network(self) -> str:
        """The IPv4 network of the pods, empty for none."""
        if self.subnet != "auto":
            return self.subnet
        return _LOOPBACK if self.reachable else _SUBNET


def _check_network(name: str, text: str, version: int) -> None:
    try:
        network = ip_network(text)
    except ValueError as error:
        raise InvalidArgument(f"{name}: {error}") from error
    if network.version != version:
        raise InvalidArgument(f"{name} is {text!r}, which is not an IPv{version} network")
    if network.num_addresses < 4:
        raise InvalidArgument(f"{name} is {text!r}, which has no room for a gateway and a pod")
