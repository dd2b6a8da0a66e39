"""What plugins answer to ADD: the addresses that a pod was given."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from typing import Any

from criadapt.network.plugin import PluginFailed


def addresses(result: Mapping[str, Any], ifname: str) -> tuple[str, ...]:
    """Addresses of the pod's interface, IPv4 before IPv6, otherwise in the plugin's order; perhaps none.

    Other interfaces, and the host's ends of veth pairs, may be in the result as well (CNI specification, "ADD
    Success"). Raises PluginFailed when the result makes no sense.
    """
    found: list[IPv4Interface | IPv6Interface] = []
    interfaces = result.get("interfaces") or []
    for entry in _entries(result):
        index = entry.get("interface")
        if index is None or _is_the_pods(interfaces, index, ifname):
            found.append(_address(entry.get("address")))
    ordered = sorted(found, key=lambda address: address.version)  # stable
    return tuple(dict.fromkeys(str(address.ip) for address in ordered))


def _entries(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    ips = result.get("ips")
    if ips is None:  # before 0.3.0: {"ip4": {"ip": …}, "ip6": {"ip": …}}
        old = [result.get("ip4"), result.get("ip6")]
        return [{"address": each.get("ip")} for each in old if isinstance(each, dict)]
    if not isinstance(ips, list) or not all(isinstance(each, dict) for each in ips):
        raise PluginFailed(f"its result makes no sense: ips is {str(ips)[:80]}")
    return ips


def _is_the_pods(interfaces: Any, index: Any, ifname: str) -> bool:
    try:
        if index < 0:
            raise IndexError
        interface = interfaces[index]
        return bool(interface.get("sandbox")) and interface.get("name") == ifname
    except (IndexError, TypeError, AttributeError):
        raise PluginFailed(f"its result makes no sense: there is no interface {str(index)[:80]}") from None


def _address(text: Any) -> IPv4Interface | IPv6Interface:
    try:
        return ip_interface(text if isinstance(text, str) else "")
    except ValueError:
        raise PluginFailed(f"its result makes no sense: {str(text)[:80]!r} is not an address") from None
