"""What this machine's loopback has for tests: addresses nobody else uses, free ports, and whether one can listen."""

from __future__ import annotations

import itertools
import os
import socket

_count = itertools.count()


def subnet() -> str:
    """A network for the mock's pods: another for each server, and for each process that runs tests."""
    number = (os.getpid() * 8 + next(_count)) % (190 << 8)
    return f"127.{64 + (number >> 8)}.{number & 255}.0/24"


def free_port(address: str = "127.0.0.1") -> int:
    """A port that nobody listens on now."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as server:
        return int(server.getsockname()[1])


def can_listen(port: int, address: str = "127.64.0.1") -> bool:
    """Whether this process may listen on a port of a pod's address, and nothing on this machine does so already."""
    try:
        socket.create_server((address, port)).close()
    except OSError:
        return False
    return True
