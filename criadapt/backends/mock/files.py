"""How a process of a mock container sees its files.

:class:`View` walks the mounts: it follows symbolic links inside the container only, obeys
read-only and masked paths, and checks permission bits for everybody but root.
"""

from __future__ import annotations

import errno
import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from criadapt.backends.mock.mounts import Files, clean
from criadapt.backends.mock.trees import Handle, Node, NullHandle, fail
from criadapt.model.linux import LinuxContainerUser

_LINKS = 40  # symbolic links that one path may lead through


class Who(Protocol):
    """The process on whose behalf files are used."""

    @property
    def cwd(self) -> str:
        """Working directory."""

    @property
    def user(self) -> LinuxContainerUser:
        """Whose permissions count."""

    @property
    def pid(self) -> int:
        """What /proc/self leads to."""

    @property
    def now_ns(self) -> int:
        """Time of changes."""


@dataclass(frozen=True, slots=True)
class Outsider:
    """Somebody who looks into a container without being a process of it."""

    cwd: str = "/"
    user: LinuxContainerUser = LinuxContainerUser()
    pid: int = 0
    now_ns: int = 0


class View:
    """A container's files as one process sees them. Errors are OSError with the errno that Linux gives."""

    __slots__ = ("_files", "_who")

    def __init__(self, files: Files, who: Who) -> None:
        self._files = files
        self._who = who

    # ------------------------------------------------------------------ walking

    def absolute(self, path: str) -> str:
        """`path` from the root, with ``.`` and ``..`` taken out but no link followed."""
        return clean(posixpath.join(self._who.cwd, path))

    def resolve(self, path: str, *, follow: bool = True) -> str:
        """Where `path` really is. Its last part need not exist; `follow` says whether it may be a link."""
        if not path:
            raise fail(errno.ENOENT, path)
        todo = [part for part in posixpath.join(self._who.cwd, path).split("/") if part not in ("", ".")][::-1]
        here, links = "/", 0
        while todo:
            part = todo.pop()
            if part == "..":
                here = posixpath.dirname(here)
                continue
            there = posixpath.join(here, part)
            node = self._lstat(there)
            if node is not None and node.kind == "link" and (todo or follow):
                links += 1
                if links > _LINKS:
                    raise fail(errno.ELOOP, path)
                target = bytes(node.data).decode(errors="surrogateescape")
                if target.startswith("/"):
                    here = "/"
                todo.extend(piece for piece in target.split("/")[::-1] if piece not in ("", "."))
                continue
            if todo:
                if node is None:
                    raise fail(errno.ENOENT, path)
                if node.kind != "dir":
                    raise fail(errno.ENOTDIR, path)
            here = there
        if path.endswith("/") and path.strip("/"):
            node = self._lstat(here)
            if node is not None and node.kind != "dir":
                raise fail(errno.ENOTDIR, path)
        return here

    def _lstat(self, path: str) -> Node | None:
        if path == "/proc/self":
            return Node("link", str(self._who.pid).encode())
        if path.startswith("/proc/self/"):
            path = f"/proc/{self._who.pid}{path[10:]}"
        return self._files.lstat(path)

    # ------------------------------------------------------------------ looking

    def stat(self, path: str, *, follow: bool = True) -> Node:
        """What is at `path`. Raises FileNotFoundError and the like."""
        node = self._lstat(self.resolve(path, follow=follow))
        if node is None:
            raise fail(errno.ENOENT, path)
        return node

    def exists(self, path: str) -> bool:
        """Whether there is something at `path`, links followed."""
        return self._find(path) is not None

    def is_dir(self, path: str) -> bool:
        """Whether `path` is a directory, links followed."""
        node = self._find(path)
        return node is not None and node.kind == "dir"

    def _find(self, path: str) -> Node | None:
        try:
            return self.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def names(self, path: str) -> list[str]:
        """Entries of the directory `path`, sorted."""
        real = self.resolve(path)
        node = self.stat(path)
        if node.kind != "dir":
            raise fail(errno.ENOTDIR, path)
        self._require(node, 4, path)
        return self._files.names(real)

    def may(self, path: str, bit: int) -> bool:
        """Whether the process may read (4), write (2) or execute (1) what is at `path`."""
        node = self._find(path)
        if node is None:
            return False
        try:
            if bit == 2:
                self._files.check_writable(self.resolve(path))
            self._require(node, bit, path)
        except OSError:
            return False
        return bit != 1 or bool(node.mode & 0o111)

    def walk(self, path: str) -> Iterator[tuple[str, Node]]:
        """`path` and all that lies below, parents first, links not followed."""
        node = self.stat(path, follow=False)
        yield path, node
        if node.kind == "dir":
            for name in self.names(path):
                yield from self.walk(f"{path.rstrip('/')}/{name}")

    def read(self, path: str) -> bytes:
        """Content of the file `path`."""
        handle = self.open(path)
        try:
            return handle.read(0, max(handle.size(), 1 << 20))
        finally:
            handle.close()

    # ------------------------------------------------------------------ changing

    def open(self, path: str, *, write: bool = False, create: bool = False, truncate: bool = False) -> Handle:
        """Open a regular file. Raises IsADirectoryError for a directory."""
        real = self.resolve(path)
        node = self._lstat(real)
        tree, inner = self._files.locate(real)
        if node is None:
            if not create:
                raise fail(errno.ENOENT, path)
            if tree.replays(self._who.now_ns):
                return NullHandle()
            self._create(real, Node("file", bytearray(), 0o644))
        elif node.kind == "dir":
            raise fail(errno.EISDIR, path)
        else:
            self._require(node, 2 if write else 4, path)
            if write:
                self._files.check_writable(real)
        return tree.open(inner, write=write, truncate=truncate, time_ns=self._who.now_ns)

    def write(self, path: str, data: bytes, *, append: bool = False) -> None:
        """Make `path` hold `data`, or end in it."""
        handle = self.open(path, write=True, create=True, truncate=not append)
        try:
            handle.write(handle.size(), data, self._who.now_ns)
        finally:
            handle.close()

    def mkdir(self, path: str, mode: int = 0o755) -> None:
        """Make a directory."""
        self._make(path, Node("dir", mode=mode))

    def symlink(self, target: str, path: str) -> None:
        """Make a symbolic link."""
        self._make(path, Node("link", target.encode(errors="surrogateescape"), 0o777))

    def _make(self, path: str, node: Node) -> None:
        real = self.resolve(path.rstrip("/") or "/", follow=False)
        tree, _ = self._files.locate(real)
        if self._lstat(real) is not None:
            if tree.replays(self._who.now_ns):
                return
            raise fail(errno.EEXIST, path)
        self._create(real, node)

    def _create(self, real: str, node: Node) -> None:
        parent = self._lstat(posixpath.dirname(real))
        if parent is None:
            raise fail(errno.ENOENT, real)
        self._files.check_writable(real)
        self._require(parent, 2, real)
        node.uid, node.gid, node.mtime_ns = self._who.user.uid, self._who.user.gid, self._who.now_ns
        tree, inner = self._files.locate(real)
        if not tree.replays(self._who.now_ns):
            tree.create(inner, node)

    def remove(self, path: str) -> None:
        """Remove a file, link or empty directory."""
        real = self.resolve(path.rstrip("/") or "/", follow=False)
        node = self._lstat(real)
        tree, inner = self._files.locate(real)
        if tree.replays(self._who.now_ns):
            return
        if node is None:
            raise fail(errno.ENOENT, path)
        self._files.check_writable(real)
        if not inner:
            raise fail(errno.EBUSY, path)
        parent = self._lstat(posixpath.dirname(real))
        if parent is not None:
            self._require(parent, 2, path)
        if node.kind == "dir" and self._files.names(real):
            raise fail(errno.ENOTEMPTY, path)
        tree.remove(inner)

    def change(self, path: str, change: Callable[[Node], None]) -> None:
        """Alter mode, owner or modification time."""
        real = self.resolve(path)
        node = self.stat(path)
        self._files.check_writable(real)
        if self._who.user.uid not in (0, node.uid):
            raise fail(errno.EPERM, path)
        tree, inner = self._files.locate(real)
        if not tree.replays(self._who.now_ns):
            tree.change(inner, change)

    def _require(self, node: Node, bit: int, path: str) -> None:
        user = self._who.user
        if user.uid == 0:
            return
        if node.uid == user.uid:
            bit <<= 6
        elif node.gid == user.gid or node.gid in user.supplemental_groups:
            bit <<= 3
        if not node.mode & bit:
            raise fail(errno.EACCES, path)


def ensure_directory(files: Files, path: str) -> None:
    """Make the directory `path` and those above it if they are missing, as runtimes do for a working directory."""
    view, made = View(files, Outsider()), ""
    for part in path.strip("/").split("/"):
        made = f"{made}/{part}"
        if part and not view.exists(made) and not files.root.readonly:
            view.mkdir(made)
