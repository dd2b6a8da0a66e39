"""The host's side of a pod: its folder, its files, and the paths of the host that it counts on."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from criadapt.client.manifest.plan import HostPath, Node, PodPlan, fill_bytes
from criadapt.errors import CriadaptError, FailedPrecondition, storage_failed

OPEN_TO_ALL = 0o777  # as kubelet has it: which user the container will be is not known

_KINDS: Mapping[str, tuple[str, Callable[[int], bool]]] = {
    "DirectoryOrCreate": ("folder", stat.S_ISDIR),
    "Directory": ("folder", stat.S_ISDIR),
    "FileOrCreate": ("file", stat.S_ISREG),
    "File": ("file", stat.S_ISREG),
    "Socket": ("socket", stat.S_ISSOCK),
    "CharDevice": ("character device", stat.S_ISCHR),
    "BlockDevice": ("block device", stat.S_ISBLK),
}


def prepare(plan: PodPlan, root: Path, ips: Sequence[str]) -> None:
    """Make a pod's folders and files below `root`, now that its addresses are known, and check the host's paths.

    Raises FailedPrecondition for a path that is not what the manifest says, and the error of a full disk.
    """
    for needed in plan.host_paths:
        _check(needed)
    hosts = Node.here().hosts
    try:
        for name in plan.folders:
            _make(root / name)
        for file in plan.files:
            path = root / file.path
            if not path.parent.exists():
                _make(path.parent)
            path.write_bytes(fill_bytes(file.content, ips, hosts))
            path.chmod(file.mode)
    except OSError as error:
        raise storage_failed(f"the folder of pod {plan.name!r} cannot be made", error) from error


def _make(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(OPEN_TO_ALL)


def _check(needed: HostPath) -> None:
    if not needed.type:
        return
    path = Path(needed.path)
    what, fits = _KINDS[needed.type]
    try:
        if needed.type == "DirectoryOrCreate" and not path.exists():
            path.mkdir(mode=0o755, parents=True)
        elif needed.type == "FileOrCreate" and not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise _refused(needed, f"{needed.path!r} does not exist; a {what} must be there") from None
    except OSError as error:
        raise storage_failed(f"{needed.field}: {needed.path!r}", error) from error
    if not fits(mode):
        raise _refused(needed, f"{needed.path!r} is not a {what}")


def _refused(needed: HostPath, why: str) -> CriadaptError:
    return FailedPrecondition(f"{needed.field}: {why}")
