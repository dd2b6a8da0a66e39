"""Where to go on with a log after a restart: the time of its last entry, and how many entries carry that time."""

from __future__ import annotations

import os
from pathlib import Path

from criadapt.logs.format import MAX_CONTENT, parse_timestamp

_TAIL = 8 * (MAX_CONTENT + 64)  # a chunk is written at once; several of its entries may share the last time


def resume_point(path: Path) -> tuple[int, int]:
    """(time, n): the engine is to be asked for output from `time` on, and n entries of that time are to be skipped.

    Looks at the newest rotated file too, in case the current one is still empty. (0, 0) when there is no entry: all
    output is still to be written.
    """
    for file in (path, *_rotated(path)):
        found = _last_entries(file)
        if found is not None:
            return found
    return (0, 0)


def _rotated(path: Path) -> list[Path]:
    try:
        siblings = [entry for entry in os.scandir(path.parent) if entry.name.startswith(path.name + ".")]
    except OSError:
        return []
    plain = [entry for entry in siblings if not entry.name.endswith((".gz", ".tmp"))]
    return [Path(entry.path) for entry in sorted(plain, key=lambda entry: entry.name, reverse=True)[:1]]


def _last_entries(path: Path) -> tuple[int, int] | None:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            lines = file.read().split(b"\n")
    except OSError:
        return None
    last: bytes | None = None
    count = 0
    for line in reversed(lines):
        stamp, space, _ = line.partition(b" ")
        if not space:
            continue
        if last is None:
            last = stamp
        elif stamp != last:
            break
        count += 1
    if last is None:
        return None
    try:
        return (parse_timestamp(last.decode("ascii", "replace")), count)
    except ValueError:
        return None
