"""Addresses of pods: always the lowest free one, so that the same calls give the same addresses. Ports of the host."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from ipaddress import ip_address, ip_network

from criadapt.errors import ResourceExhausted, StartFailed


class AddressPool:
    """Hands out the addresses of one network; the first belongs to the gateway."""

    def __init__(self, subnet: str) -> None:
        self._network = ip_network(subnet)
        self._first = int(self._network.network_address)
        self._end = self._network.num_addresses - (self._network.version == 4)  # IPv4 keeps one for broadcast
        self._next = 2
        self._freed: list[int] = []
        self._used: set[int] = set()

    def take(self) -> str:
        """Reserve the lowest free address. Raises ResourceExhausted."""
        while self._freed:
            offset = heapq.heappop(self._freed)
            if offset not in self._used:
                return self._use(offset)
        while self._next in self._used:
            self._next += 1
        if self._next >= self._end:
            raise ResourceExhausted(
                f"subnet {self._network} has no free address left; remove pods or give the mock a larger subnet"
            )
        return self._use(self._next)

    def claim(self, address: str) -> None:
        """Note that `address` is in use; ignored when it is of another network."""
        offset = self._offset(address)
        if offset is not None:
            self._used.add(offset)

    def give_back(self, address: str) -> None:
        """Free `address`; ignored when it is not in use."""
        offset = self._offset(address)
        if offset is not None and offset in self._used:
            self._used.discard(offset)
            if offset < self._next:  # those above are met again on the way up
                heapq.heappush(self._freed, offset)

    def _use(self, offset: int) -> str:
        self._used.add(offset)
        return str(self._network[offset])

    def _offset(self, address: str) -> int | None:
        parsed = ip_address(address)
        return int(parsed) - self._first if parsed in self._network else None


class Addresses:
    """One address of each family that is configured, primary (IPv4) first."""

    def __init__(self, subnets: Iterable[str]) -> None:
        self._pools = [AddressPool(subnet) for subnet in subnets if subnet]

    def take(self) -> tuple[str, ...]:
        """Reserve one address per family, all or none. Raises ResourceExhausted."""
        taken: list[str] = []
        try:
            for pool in self._pools:
                taken.append(pool.take())
        except ResourceExhausted:
            self.give_back(taken)
            raise
        return tuple(taken)

    def claim(self, addresses: Iterable[str]) -> None:
        """Note that these are in use."""
        for address in addresses:
            for pool in self._pools:
                pool.claim(address)

    def give_back(self, addresses: Iterable[str]) -> None:
        """Free these."""
        for address in addresses:
            for pool in self._pools:
                pool.give_back(address)


_ANY = frozenset(("0.0.0.0", "::"))


class HostPorts:
    """Which pod has which port of the host."""

    def __init__(self) -> None:
        self._taken: dict[int, dict[str, str]] = {}

    def take(self, pod: str, wanted: Iterable[tuple[str, int]]) -> None:
        """Reserve addresses of the host, all or none. Raises StartFailed."""
        for ip, port in wanted:
            for other, holder in self._taken.get(port, {}).items():
                if ip == other or not _ANY.isdisjoint((ip, other)):
                    raise StartFailed(f"bind for {ip}:{port} failed: port is already allocated, to {holder!r}")
        self.claim(pod, wanted)

    def claim(self, pod: str, taken: Iterable[tuple[str, int]]) -> None:
        """Note that these are in use."""
        for ip, port in taken:
            self._taken.setdefault(port, {})[ip] = pod

    def give_back(self, pod: str, taken: Iterable[tuple[str, int]]) -> None:
        """Free those of these that the pod has."""
        for ip, port in taken:
            holders = self._taken.get(port, {})
            if holders.get(ip) == pod:
                del holders[ip]
                if not holders:
                    del self._taken[port]
