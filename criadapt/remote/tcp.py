"""What the kernel knows of a TCP connection."""

from __future__ import annotations

import fcntl
import termios
from array import array
from contextlib import suppress


def unacknowledged(descriptor: int) -> bool:
    """Whether the peer's kernel has not taken all yet that ours was given."""
    waiting = array("i", [0])
    with suppress(OSError, ValueError):  # closed by now
        fcntl.ioctl(descriptor, termios.TIOCOUTQ, waiting)
    return waiting[0] > 0
