"""File systems that a mock container's tree is made of: its own files, parts of images, masks.

A path inside a tree is relative to its root, without leading slash; the root itself is ``""``. Symbolic links are
never followed here: :mod:`criadapt.backends.mock.files` walks them, so that a link cannot lead out of a container.
"""

from __future__ import annotations

import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["dir", "file", "link", "device", "pipe"]


def fail(number: int, path: str = "") -> OSError:
    """The OSError for an errno; programs print its text as the real ones do."""
    return OSError(number, os.strerror(number), path)


@dataclass(slots=True)
class Node:
    """A file, directory, symbolic link or device. `data` is a link's target, or a device's name."""

    kind: Kind
    data: bytes | bytearray = b""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    size: int = -1
    """Of a file whose content lies elsewhere; -1 when `data` is the content."""

    @property
    def length(self) -> int:
        """Size in bytes as ls shows it."""
        if self.kind == "dir":
            return 4096
        return len(self.data) if self.size < 0 else self.size


class Handle(ABC):
    """An open regular file; it outlives its name."""

    @abstractmethod
    def read(self, position: int, size: int) -> bytes:
        """Up to `size` bytes at `position`."""

    @abstractmethod
    def write(self, position: int, data: bytes, time_ns: int) -> None:
        """Overwrite or extend."""

    @abstractmethod
    def size(self) -> int:
        """Length now."""

    def close(self) -> None:
        """Let go of it."""


class Tree(ABC):
    """One mounted file system."""

    readonly = False

    @abstractmethod
    def lstat(self, path: str) -> Node | None:
        """What is at `path`."""

    @abstractmethod
    def names(self, path: str) -> Iterable[str]:
        """Entries of a directory, in any order."""

    @abstractmethod
    def open(self, path: str, *, write: bool, truncate: bool, time_ns: int) -> Handle:
        """Open the file that lstat found."""

    def create(self, path: str, node: Node) -> None:
        """Put `node` where nothing is."""
        raise fail(errno.EROFS, path)

    def remove(self, path: str) -> None:
        """Remove a file or an empty directory."""
        raise fail(errno.EROFS, path)

    def change(self, path: str, change: Callable[[Node], None]) -> None:
        """Alter mode, owner or time of what is at `path`."""
        raise fail(errno.EROFS, path)

    def writable(self, path: str) -> bool:
        """Whether `path` may change at all."""
        return not self.readonly

    def replays(self, time_ns: int) -> bool:
        """Whether what is done at `time_ns` was done before, in the machine's former life, and is still there."""
        return False


class NullHandle(Handle):
    """A file that was written in a former life and is gone."""

    def read(self, position: int, size: int) -> bytes:
        """Nothing."""
        return b""

    def write(self, position: int, data: bytes, time_ns: int) -> None:
        """Written before."""

    def size(self) -> int:
        """Nothing."""
        return 0


class MemoryHandle(Handle):
    """An open file of a MemoryTree."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def read(self, position: int, size: int) -> bytes:
        """Up to `size` bytes at `position`."""
        return bytes(self._node.data[position : position + size])

    def write(self, position: int, data: bytes, time_ns: int) -> None:
        """Overwrite or extend."""
        content = self._node.data
        if not isinstance(content, bytearray):
            content = self._node.data = bytearray(content)
        if position > len(content):
            content.extend(bytes(position - len(content)))
        content[position : position + len(data)] = data
        self._node.mtime_ns = time_ns

    def size(self) -> int:
        """Length now."""
        return len(self._node.data)


class MemoryTree(Tree):
    """Files in memory over files that many containers share; only changes take memory."""

    def __init__(
        self,
        files: Mapping[str, bytes],
        base: Callable[[str], Node | None],
        base_names: Callable[[str], Iterable[str]],
        *,
        readonly: bool = False,
        born_ns: int = 0,
    ) -> None:
        self.readonly = readonly
        self._files = files
        self._base = base
        self._base_names = base_names
        self._born = born_ns
        self._changed: dict[str, Node | None] = {}
        self._children: dict[str, set[str]] = {}
        for name in files:
            self._list(name.strip("/"))

    def _list(self, path: str) -> None:
        while path:
            parent, _, name = path.rpartition("/")
            siblings = self._children.setdefault(parent, set())
            if name in siblings:
                return
            siblings.add(name)
            path = parent

    @property
    def written(self) -> tuple[int, int]:
        """Bytes and number of the files that are not as the image has them."""
        nodes = [node for node in self._changed.values() if node is not None]
        return sum(node.length for node in nodes), len(nodes)

    def lstat(self, path: str) -> Node | None:
        """What is at `path`."""
        if path in self._changed:
            return self._changed[path]
        content = self._files.get("/" + path)
        if content is not None:
            script = content[:2] == b"#!" or content[:4] == b"\x7fELF"
            return Node("file", content, 0o755 if script else 0o644, mtime_ns=self._born)
        node = self._base(path)
        if node is None and path in self._children:
            node = Node("dir", mode=0o755, mtime_ns=self._born)
        return node

    def names(self, path: str) -> Iterable[str]:
        """Entries of a directory."""
        prefix = path + "/" if path else ""
        found = {*self._base_names(path), *self._children.get(path, ())}
        return [name for name in found if self._changed.get(prefix + name, True) is not None]

    def open(self, path: str, *, write: bool, truncate: bool, time_ns: int) -> Handle:
        """Open the file that lstat found."""
        node = self._own(path) if write else self.lstat(path)
        if node is None:
            raise fail(errno.ENOENT, path)
        if truncate:
            node.data = bytearray()
            node.mtime_ns = time_ns
        return MemoryHandle(node)

    def create(self, path: str, node: Node) -> None:
        """Put `node` where nothing is."""
        self._changed[path] = node
        self._list(path)

    def remove(self, path: str) -> None:
        """Remove a file or an empty directory."""
        self._changed[path] = None

    def change(self, path: str, change: Callable[[Node], None]) -> None:
        """Alter mode, owner or time."""
        change(self._own(path))

    def _own(self, path: str) -> Node:
        """The node at `path`, copied up first if it is shared."""
        node = self._changed.get(path)
        if node is None:
            shared = self.lstat(path)
            if shared is None:
                raise fail(errno.ENOENT, path)
            data = bytearray(shared.data) if shared.kind == "file" else shared.data
            node = Node(shared.kind, data, shared.mode, shared.uid, shared.gid, shared.mtime_ns)
            self._changed[path] = node
        return node


class SubTree(Tree):
    """A directory of another tree, read-only: an image volume with a sub path."""

    readonly = True

    def __init__(self, tree: Tree, path: str) -> None:
        self._tree = tree
        self._root = path.strip("/")

    def _path(self, path: str) -> str:
        return "/".join(part for part in (self._root, path) if part)

    def lstat(self, path: str) -> Node | None:
        """What is at `path`."""
        return self._tree.lstat(self._path(path))

    def names(self, path: str) -> Iterable[str]:
        """Entries of a directory."""
        return self._tree.names(self._path(path))

    def open(self, path: str, *, write: bool, truncate: bool, time_ns: int) -> Handle:
        """Open for reading."""
        return self._tree.open(self._path(path), write=write, truncate=truncate, time_ns=time_ns)


class Mask(Tree):
    """What a masked path shows: an empty directory, or a file that holds nothing."""

    readonly = True

    def __init__(self, kind: Kind) -> None:
        self._node = Node("dir", mode=0o555) if kind == "dir" else Node("device", b"null", 0o666)

    def lstat(self, path: str) -> Node | None:
        """The mask itself."""
        return None if path else self._node

    def names(self, path: str) -> Iterable[str]:
        """Nothing."""
        return ()

    def open(self, path: str, *, write: bool, truncate: bool, time_ns: int) -> Handle:
        """There is no file to open."""
        raise fail(errno.ENOENT, path)
