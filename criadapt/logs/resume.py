"""Where to go on with a log after a restart: the time of its last entry, and how many entries carry that time."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from criadapt.logs.files import backwards, rotated
from criadapt.logs.format import parse_timestamp

_BLOCK = 64 * 1024


def resume_point(path: Path) -> tuple[int, int]:
    """(time, n): the engine is to be asked for output from `time` on, and n entries of that time are to be skipped.

    Looks at the newest rotated file too, in case the current one is still empty. (0, 0) when there is no entry: all
    output is still to be written.
    """
    plain = [file for file in rotated(path) if file.suffix != ".gz"]
    for file in (path, *plain[-1:]):
        found = _last_entries(file)
        if found is not None:
            return found
    return (0, 0)


def _last_entries(path: Path) -> tuple[int, int] | None:
    """Time and number of the file's last entries with one time; None if it has no entry."""
    last = b""
    count = 0
    with suppress(OSError), path.open("rb") as file:
        for _, line in backwards(file.fileno()):
            stamp = line.partition(b" ")[0]
            if last and stamp != last:
                break
            last = stamp
            count += 1
    try:
        return (parse_timestamp(last.decode("ascii", "replace")), count) if last else None
    except ValueError:
        return None


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
