"""Where to go on with a log after a restart: the time of its last entry, and how many entries carry that time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from criadapt.logs.format import parse_timestamp

_BLOCK = 64 * 1024


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
    """Time and number of the file's last entries with one time; None if it has no entry."""
    last = b""
    count = 0
    for line in _backwards(path):
        stamp = line.partition(b" ")[0]
        if last and stamp != last:
            break
        last = stamp
        count += 1
    try:
        return (parse_timestamp(last.decode("ascii", "replace")), count) if last else None
    except ValueError:
        return None


def _backwards(path: Path) -> Iterator[bytes]:
    """Whole lines of a file, last one first. A chunk may have given thousands of entries: there is no fixed tail."""
    try:
        with path.open("rb") as file:
            position = file.seek(0, os.SEEK_END)
            rest = b""
            torn = True  # what stands behind the last newline was never finished
            while position:
                step = min(_BLOCK, position)
                position -= step
                file.seek(position)
                first, *lines = (file.read(step) + rest).split(b"\n")
                rest = first
                for line in reversed(lines):
                    if not torn:
                        yield line
                    torn = False
            if rest and not torn:
                yield rest
    except OSError:
        return


def mend(path: Path) -> None:
    """Cut off an entry that was never finished, so that the next one does not join it. Success without a file."""
    with suppress(FileNotFoundError), path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        position = end
        while position:
            start = max(0, position - _BLOCK)
            file.seek(start)
            newline = file.read(position - start).rfind(b"\n")
            if newline >= 0:
                position = start + newline + 1
                break
            position = start
        if position < end:
            file.truncate(position)
