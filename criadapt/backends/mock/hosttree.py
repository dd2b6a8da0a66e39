"""Directories and files of the host, mounted into mock containers."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from criadapt.backends.mock.trees import Handle, Kind, Node, Tree, fail

_KINDS: dict[int, Kind] = {stat.S_IFDIR: "dir", stat.S_IFREG: "file", stat.S_IFLNK: "link", stat.S_IFIFO: "pipe"}


class HostHandle(Handle):
    """An open file of the host."""

    def __init__(self, descriptor: int, replay_until: int) -> None:
        self._descriptor = descriptor
        self._replay_until = replay_until

    def read(self, position: int, size: int) -> bytes:
        """Up to `size` bytes at `position`; short only at the end, though /proc gives a page at a time."""
        parts = []
        while size > 0 and (part := os.pread(self._descriptor, size, position)):
            parts.append(part)
            position, size = position + len(part), size - len(part)
        return b"".join(parts)

    def write(self, position: int, data: bytes, time_ns: int) -> None:
        """Overwrite or extend."""
        while data and time_ns >= self._replay_until:
            done = os.pwrite(self._descriptor, data, position)
            data, position = data[done:], position + done

    def size(self) -> int:
        """Length now."""
        return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        """Close it."""
        os.close(self._descriptor)


class HostTree(Tree):
    """A directory or file of the host, mounted. Paths were walked without links, and the last step follows none."""

    def __init__(self, root: str, *, readonly: bool, recursive: bool, replay_until: int = 0) -> None:
        self.readonly = readonly
        self._root = os.path.realpath(root)
        self._recursive = recursive
        self._replay_until = replay_until

    def _path(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    def lstat(self, path: str) -> Node | None:
        """What is at `path`."""
        try:
            status = os.lstat(self._path(path))
            target = os.readlink(os.fsencode(self._path(path))) if stat.S_ISLNK(status.st_mode) else b""
        except (FileNotFoundError, NotADirectoryError):
            return None
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "device")
        mode = stat.S_IMODE(status.st_mode)
        return Node(kind, target, mode, status.st_uid, status.st_gid, status.st_mtime_ns, status.st_size)

    def names(self, path: str) -> Iterable[str]:
        """Entries of a directory."""
        return os.listdir(self._path(path))

    def open(self, path: str, *, write: bool, truncate: bool, time_ns: int) -> Handle:
        """Open a regular file. Never a device or a FIFO of the host: those could block or do harm."""
        flags = os.O_RDWR if write else os.O_RDONLY
        truncate = truncate and not self.replays(time_ns)
        flags |= os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | (os.O_TRUNC if truncate else 0)
        node = self.lstat(path)
        if node is None or node.kind != "file":
            raise fail(errno.ENOENT if node is None else errno.EACCES, path)
        return HostHandle(os.open(self._path(path), flags), self._replay_until)

    def create(self, path: str, node: Node) -> None:
        """Make a file, directory or link on the host."""
        real = self._path(path)
        if node.kind == "dir":
            os.mkdir(real, node.mode)
        elif node.kind == "link":
            os.symlink(bytes(node.data), os.fsencode(real))
        else:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(real, flags, node.mode)
            with os.fdopen(descriptor, "wb") as file:
                file.write(node.data)

    def remove(self, path: str) -> None:
        """Remove a file or an empty directory of the host."""
        real = Path(self._path(path))
        if real.is_dir() and not real.is_symlink():
            real.rmdir()
        else:
            real.unlink()

    def change(self, path: str, change: Callable[[Node], None]) -> None:
        """Alter the mode or the time; an owner of the mock means nothing to the host."""
        before, after = self.lstat(path), self.lstat(path)
        if before is None or after is None:
            raise fail(errno.ENOENT, path)
        change(after)
        if after.mode != before.mode:
            os.chmod(self._path(path), after.mode)
        if after.mtime_ns != before.mtime_ns:
            os.utime(self._path(path), ns=(after.mtime_ns, after.mtime_ns), follow_symlinks=False)

    def writable(self, path: str) -> bool:
        """A read-only mount does not cover what is mounted below it, unless it says so."""
        if not self.readonly:
            return True
        if self._recursive:
            return False
        nearest = self._path(path)
        while not os.path.lexists(nearest):
            nearest = os.path.dirname(nearest)
        return os.lstat(nearest).st_dev != os.lstat(self._root).st_dev

    def replays(self, time_ns: int) -> bool:
        """The host keeps what a machine's former life did to it."""
        return time_ns < self._replay_until
