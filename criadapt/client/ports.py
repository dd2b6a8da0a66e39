"""Which local port leads to which port of a pod, as kubectl writes it."""

from __future__ import annotations

from collections.abc import Sequence

from criadapt.errors import InvalidArgument

PortSpec = int | str


def parse_ports(ports: Sequence[PortSpec]) -> tuple[tuple[int, int], ...]:
    """Pairs of local port, 0 for a free one, and port of the pod. Raises InvalidArgument."""
    if not ports:
        raise InvalidArgument("ports: name at least one, such as 80 or '8080:80'")
    return tuple(_pair(port) for port in ports)


def _pair(spec: PortSpec) -> tuple[int, int]:
    if isinstance(spec, int):
        return 0, _number(spec, str(spec), least=1)
    local, colon, remote = spec.rpartition(":")
    if not colon:  # as kubectl has it, "80" is the same port on both sides
        return _number(remote, spec, least=1), _number(remote, spec, least=1)
    return _number(local or 0, spec, least=0), _number(remote, spec, least=1)


def _number(value: int | str, spec: str, *, least: int) -> int:
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdigit() and len(value) <= 5 else -1
    if not least <= value <= 65535:
        raise InvalidArgument(f"port {spec!r}: expected a port such as 80, '8080:80' or ':80', within 1 and 65535")
    return value
