"""What /proc says of a process on this machine. Blocking, but never for long."""

from __future__ import annotations

from pathlib import Path

PROC = "/proc"
DEPTH = 128  # more ancestors than any process has; a loop cannot be, but the files are read one after the other


def cgroups_of(pid: int, proc: str = PROC) -> tuple[str, ...]:
    """Paths of the process's cgroups, one per hierarchy; none if there is no such process (cgroups(7))."""
    lines = _read(Path(proc, str(pid), "cgroup")).splitlines()
    return tuple(line.split(":", 2)[2] for line in lines if line.count(":") >= 2)


def ancestors_of(pid: int, proc: str = PROC) -> tuple[int, ...]:
    """The process, its parent, its parent's parent and so on up to the first of the machine."""
    found: list[int] = []
    while pid > 0 and pid not in found and len(found) < DEPTH:
        found.append(pid)
        # The command, in brackets, may itself have brackets and spaces; the parent is the second field after it.
        fields = _read(Path(proc, str(pid), "stat")).rpartition(")")[2].split()
        pid = int(fields[1]) if len(fields) > 1 and fields[1].isdigit() else 0
    return tuple(found)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
