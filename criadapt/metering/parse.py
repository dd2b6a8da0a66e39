"""The kernel's text formats, from bytes to values. Pure; whatever is not in the documented format is left out.

Sources: Documentation/admin-guide/cgroup-v1/*, cgroup-v2.rst, Documentation/accounting/psi.rst,
Documentation/filesystems/proc.rst, and cgroups(7), proc(5).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from criadapt.model.stats import PsiData, PsiStats
from criadapt.model.usage import InterfaceCounters

UNLIMITED = 1 << 62
"""v1 knows no "max": a limit is the largest number of whole pages, which depends on the page size."""

LOOPBACK = b"lo"

_PSI = re.compile(rb"^(some|full) avg10=([\d.]+) avg60=([\d.]+) avg300=([\d.]+) total=(\d+)", re.MULTILINE)
_IO = re.compile(rb"^(\d+):(\d+) (.*)$", re.MULTILINE)
_BLKIO = re.compile(rb"^(\d+):(\d+) (Read|Write) (\d+)$", re.MULTILINE)
_LIMIT = re.compile(rb"^(Max [a-z ]+?) {2,}(\S+) ", re.MULTILINE)
_OCTAL = re.compile(rb"\\([0-7]{3})")
_KIB = 1024


class MountLine(NamedTuple):
    """One line of mountinfo: which part of a filesystem (`root`) is mounted where (`point`)."""

    root: str
    point: str
    kind: str
    source: str
    options: frozenset[str]
    """Options of the filesystem, among them a v1 hierarchy's controllers and ``name=systemd``."""


class Transfers(NamedTuple):
    """Requests and bytes of one block device."""

    reads: int = 0
    writes: int = 0
    read_bytes: int = 0
    write_bytes: int = 0


# ---------------------------------------------------------------------- single values and tables


def number(data: bytes | None, default: int = 0) -> int:
    """A file with one number; `default` when there is none."""
    if not data:
        return default
    try:
        return int(data)
    except ValueError:
        return default


def limit(data: bytes | None) -> int | None:
    """A file with one limit; None for ``max``, and for what v1 writes instead."""
    value = number(data, UNLIMITED)
    return None if value < 0 or value >= UNLIMITED else value


def table(data: bytes | None) -> dict[bytes, int]:
    """Flat keyed lines, ``KEY VALUE``: memory.stat, cpu.stat, memory.events, memory.oom_control."""
    if not data:
        return {}
    words = data.split()
    try:
        return dict(zip(words[::2], map(int, words[1::2]), strict=True))
    except ValueError:
        return _lenient(data)


def _lenient(data: bytes) -> dict[bytes, int]:
    found = {}
    for line in data.splitlines():
        key, _, value = line.partition(b" ")
        if value.isdigit():
            found[key] = int(value)
    return found


def psi(data: bytes | None) -> PsiStats | None:
    """A ``*.pressure`` file: averages in percent, the total in microseconds (PSI keeps it in nanoseconds)."""
    if not data:
        return None
    found = {
        kind: PsiData(total=int(total) * 1000, avg10=float(avg10), avg60=float(avg60), avg300=float(avg300))
        for kind, avg10, avg60, avg300, total in _PSI.findall(data)
    }
    return PsiStats(some=found.get(b"some"), full=found.get(b"full")) if found else None


# ---------------------------------------------------------------------- block devices


def io_stat(data: bytes | None) -> dict[tuple[int, int], Transfers]:
    """v2 io.stat: ``8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0``; a device without I/O has no pairs."""
    if not data:
        return {}
    found = {}
    for major, minor, rest in _IO.findall(data):
        values = dict(pair.split(b"=", 1) for pair in rest.split() if b"=" in pair)
        if b"rbytes" in values:
            reads, writes, read_bytes, write_bytes = (
                number(values.get(key)) for key in (b"rios", b"wios", b"rbytes", b"wbytes")
            )
            found[int(major), int(minor)] = Transfers(reads, writes, read_bytes, write_bytes)
    return found


def blkio(served: bytes | None, sizes: bytes | None) -> dict[tuple[int, int], Transfers]:
    """v1 blkio.throttle.io_serviced and …io_service_bytes: ``8:0 Read 1``, and sums that are left out here."""
    found: dict[tuple[int, int], dict[str, int]] = {}
    for data, suffix in ((served, "s"), (sizes, "_bytes")):
        for major, minor, operation, value in _BLKIO.findall(data or b""):
            field = operation.decode().lower() + suffix
            found.setdefault((int(major), int(minor)), {})[field] = int(value)
    return {device: Transfers(**values) for device, values in found.items()}


# ---------------------------------------------------------------------- huge pages


def page_size(name: str) -> str:
    """How hugetlb files name a size: ``2MB`` for the directory ``hugepages-2048kB``; empty if that is not one."""
    kib = name.removeprefix("hugepages-").removesuffix("kB")
    if not kib.isdecimal():
        return ""
    size = int(kib)
    if size >= _KIB * _KIB:
        return f"{size // (_KIB * _KIB)}GB"
    return f"{size // _KIB}MB" if size >= _KIB else f"{size}KB"


# ---------------------------------------------------------------------- processes


def interfaces(data: bytes | None) -> tuple[InterfaceCounters, ...]:
    """/proc/PID/net/dev without the loopback: two lines of headings, then 8 receive and 8 transmit columns each."""
    found: list[InterfaceCounters] = []
    for line in (data or b"").splitlines()[2:]:
        name, _, rest = line.rpartition(b":")
        columns = rest.split()
        name = name.strip()
        if name == LOOPBACK or len(columns) < 12:
            continue
        received, sent = columns[:4], columns[8:12]
        if not all(map(bytes.isdigit, (*received, *sent))):
            continue
        rx_bytes, rx_packets, rx_errors, rx_dropped = map(int, received)
        tx_bytes, tx_packets, tx_errors, tx_dropped = map(int, sent)
        found.append(
            InterfaceCounters(
                name=name.decode(errors="replace"),
                rx_bytes=rx_bytes,
                rx_packets=rx_packets,
                rx_errors=rx_errors,
                rx_dropped=rx_dropped,
                tx_bytes=tx_bytes,
                tx_packets=tx_packets,
                tx_errors=tx_errors,
                tx_dropped=tx_dropped,
            )
        )
    return tuple(found)


def limits(data: bytes | None, wanted: Iterable[str]) -> tuple[tuple[str, int], ...]:
    """Soft limits in /proc/PID/limits, -1 for unlimited; ``Max open files`` is named ``max_open_files``, as cAdvisor
    has it."""
    found = {
        name.decode().lower().replace(" ", "_"): -1 if soft == b"unlimited" else number(soft, -1)
        for name, soft in _LIMIT.findall(data or b"")
    }
    return tuple((name, found[name]) for name in wanted if name in found)


def cgroups(data: bytes | None) -> list[tuple[str, str]]:
    """/proc/PID/cgroup: pairs of controller and path; the controller is empty for v2, ``name=…`` for a named one."""
    found: list[tuple[str, str]] = []
    for line in (data or b"").decode(errors="surrogateescape").split("\n"):
        parts = line.split(":", 2)
        if len(parts) == 3:
            found.extend((controller, parts[2]) for controller in parts[1].split(","))
    return found


def mounts(data: bytes | None) -> list[MountLine]:
    """/proc/PID/mountinfo, in order; of several mounts on one point the last is the one that is seen."""
    found: dict[str, MountLine] = {}
    for line in (data or b"").split(b"\n"):
        before, _, after = line.partition(b" - ")
        left, right = before.split(b" "), after.split(b" ")
        if len(left) < 6 or len(right) < 3:
            continue
        point = _text(left[4])
        found.pop(point, None)
        found[point] = MountLine(
            _text(left[3]), point, _text(right[0]), _text(right[1]), frozenset(_text(right[2]).split(","))
        )
    return list(found.values())


def _text(field: bytes) -> str:
    plain = _OCTAL.sub(lambda match: bytes((int(match[1], 8) & 0xFF,)), field) if b"\\" in field else field
    return plain.decode(errors="surrogateescape")
