"""The mounts that make up a container's files."""

from __future__ import annotations

import errno
import posixpath
from collections.abc import Callable, Mapping

from criadapt.backends.base import ContainerSpec
from criadapt.backends.mock.base_tree import base_names, base_node, device_names, device_node
from criadapt.backends.mock.hosttree import HostTree
from criadapt.backends.mock.trees import Mask, MemoryTree, Node, SubTree, Tree, fail


class Files:
    """All mounts of a container."""

    def __init__(
        self,
        spec: ContainerSpec,
        files: Mapping[str, bytes],
        image_files: Callable[[str], Mapping[str, bytes]] | None,
        special: Mapping[str, Tree],
        *,
        born_ns: int,
        replay_until: int = 0,
    ) -> None:
        self.root = MemoryTree(files, base_node, base_names, readonly=spec.readonly_rootfs, born_ns=born_ns)
        self.mounts: dict[str, Tree] = {
            "/": self.root,
            "/dev": MemoryTree({}, device_node, device_names, born_ns=born_ns),
            **special,
        }
        self._readonly = [clean(path) for path in spec.readonly_paths]
        self._points: dict[str, set[str]] = {}
        for mount in spec.mounts:
            tree: Tree
            if mount.image is not None:
                contents = image_files(mount.image.image) if image_files is not None else {}
                tree = SubTree(MemoryTree(contents, base_node, base_names, readonly=True), mount.image_sub_path)
            else:
                tree = HostTree(
                    mount.host_path,
                    readonly=mount.readonly,
                    recursive=mount.recursive_read_only,
                    replay_until=replay_until,
                )
            self._mount(clean(mount.container_path), tree)
        for path in spec.masked_paths:
            node = self.lstat(clean(path))
            if node is not None:
                self._mount(clean(path), Mask(node.kind))

    def _mount(self, path: str, tree: Tree) -> None:
        self.mounts[path] = tree
        while path != "/":
            parent, name = posixpath.split(path)
            self._points.setdefault(parent, set()).add(name)
            path = parent

    def locate(self, path: str) -> tuple[Tree, str]:
        """The tree that holds the (walked, absolute) `path`, and the path within."""
        point = path
        while point not in self.mounts:
            point = posixpath.dirname(point)
        return self.mounts[point], path[len(point) :].lstrip("/")

    def lstat(self, path: str) -> Node | None:
        """What is at the (walked, absolute) `path`."""
        tree, inner = self.locate(path)
        node = tree.lstat(inner)
        if node is None and path in self._points:
            node = Node("dir", mode=0o755)  # the way to a mount point
        return node

    def holds_directory(self, point: str) -> bool:
        """Whether what is mounted at `point` exists and is a directory."""
        node = self.mounts[clean(point)].lstat("")
        return node is not None and node.kind == "dir"

    def names(self, path: str) -> list[str]:
        """Entries of a (walked, absolute) directory, sorted."""
        tree, inner = self.locate(path)
        return sorted({*tree.names(inner), *self._points.get(path, ())})

    def check_writable(self, path: str) -> None:
        """Raise EROFS for what nobody may change."""
        tree, inner = self.locate(path)
        below = any(path == point or path.startswith(point + "/") for point in self._readonly)
        if below or not tree.writable(inner):
            raise fail(errno.EROFS, path)


def clean(path: str) -> str:
    """An absolute path without ``.``, ``..`` and doubled slashes."""
    return posixpath.normpath("/" + path.lstrip("/"))
