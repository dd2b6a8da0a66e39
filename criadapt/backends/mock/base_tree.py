"""What every mock container has: the usual directories, the programs of the mock, and devices.

All containers share these nodes; they are copied when one of them is changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from criadapt.backends.mock.program_table import PROGRAMS, Place
from criadapt.backends.mock.trees import Node

PROGRAM_DIRS = ("bin", "usr/bin", "usr/local/bin", "sbin", "usr/sbin", "usr/local/sbin")
MAGIC = b"\x7fELF\x02\x01\x01\x00criadapt:"  # a program of the mock, followed by its name

_DIRS = {
    *PROGRAM_DIRS, "", "boot", "dev", "etc", "home", "lib", "media", "mnt", "opt", "proc", "root", "run", "srv", "sys",
    "tmp", "usr", "usr/lib", "usr/local", "usr/share", "var", "var/cache", "var/lib", "var/log", "var/spool",
    "var/tmp", "var/www",
}  # fmt: skip
_MODES = {"tmp": 0o1777, "var/tmp": 0o1777, "root": 0o700}
_DEVICE_NODES = {
    "": Node("dir", mode=0o755),
    "shm": Node("dir", mode=0o1777),
    "mqueue": Node("dir", mode=0o1777),
    "pts": Node("dir", mode=0o755),
    "fd": Node("link", b"/proc/self/fd", 0o777),
    "stdin": Node("link", b"/proc/self/fd/0", 0o777),
    "stdout": Node("link", b"/proc/self/fd/1", 0o777),
    "stderr": Node("link", b"/proc/self/fd/2", 0o777),
    **{name: Node("device", name.encode(), 0o666) for name in ("full", "null", "random", "tty", "urandom", "zero")},
}


def program_node(name: str) -> Node:
    """The executable file of a program of the mock."""
    return Node("file", MAGIC + name.encode() + b"\n", 0o755)


@lru_cache(maxsize=512)
def base_node(path: str) -> Node | None:
    """What is at `path` (without leading slash) in every container."""
    if path in _DIRS:
        return Node("dir", mode=_MODES.get(path, 0o755))
    if path == "var/run":
        return Node("link", b"/run", 0o777)
    parent, _, name = path.rpartition("/")
    place = PROGRAMS[name].place if name in PROGRAMS else None
    if place is not None and (parent in PROGRAM_DIRS or (parent == "" and place is Place.ROOT)):
        return program_node(name)
    return None


def base_names(path: str) -> Iterable[str]:
    """Entries of a directory that every container has. Programs show in one place, although they run from others."""
    prefix = path + "/" if path else ""
    found = {name[len(prefix) :].partition("/")[0] for name in _DIRS if name.startswith(prefix) and name != path}
    if path in ("bin", "usr/sbin"):
        place = Place.BIN if path == "bin" else Place.SBIN
        found.update(name for name, entry in PROGRAMS.items() if entry.place is place)
    if path == "var":
        found.add("run")
    return found - {""}


def device_node(path: str) -> Node | None:
    """What is at `path` in every /dev."""
    return _DEVICE_NODES.get(path)


def device_names(path: str) -> Iterable[str]:
    """Entries of every /dev."""
    return [name for name in _DEVICE_NODES if name] if path == "" else ()
