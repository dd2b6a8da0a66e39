"""A container's mounts as Docker Engine takes them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from criadapt.backends.docker.facts import SELINUX, EngineFacts
from criadapt.errors import InvalidArgument, RecursiveReadOnlyUnsupported
from criadapt.model.container import Mount
from criadapt.model.linux import MountPropagation

READ_ONLY_CONTROL = (1, 44)
"""Docker 25. From there on a read-only bind mount is read-only with all that is mounted below, unless one objects."""
IMAGE_MOUNTS = (1, 48)
"""Docker 28."""

_PROPAGATION = {
    MountPropagation.PRIVATE: "rprivate",
    MountPropagation.HOST_TO_CONTAINER: "rslave",
    MountPropagation.BIDIRECTIONAL: "rshared",
}


def mounts(asked: Sequence[Mount], facts: EngineFacts) -> dict[str, Any]:
    """The part of HostConfig that says what is mounted.

    Raises InvalidArgument for what contradicts itself, RecursiveReadOnlyUnsupported, Unsupported for id mappings, mount
    options, image volumes before Docker 28, and relabelled paths that the older form of a mount cannot write down.
    """
    binds: list[str] = []
    found: list[dict[str, Any]] = []
    for mount in asked:
        where = f"mounts[{mount.container_path!r}]"
        if not mount.container_path.startswith("/"):
            raise InvalidArgument(f"{where}.container_path is not an absolute path")
        if mount.uid_mappings or mount.gid_mappings:
            raise facts.unsupported(f"{where}.uid_mappings and gid_mappings: Docker cannot map the ids of a mount")
        if mount.mount_options:
            words = ", ".join(mount.mount_options)
            raise facts.unsupported(f"{where}.mount_options {words}: Docker has none for bind mounts")
        if mount.image is not None and mount.image.image:
            found.append(_image(mount, facts, where))
        elif mount.image_sub_path:
            raise InvalidArgument(f"{where}.image_sub_path needs an image")
        elif not mount.host_path.startswith("/"):
            raise InvalidArgument(f"{where}.host_path {mount.host_path!r} is not an absolute path")
        elif mount.selinux_relabel and SELINUX in facts.security:
            binds.append(_relabelled(mount, facts, where))
        else:
            found.append(_bind(mount, facts, where))
    host: dict[str, Any] = {}
    if found:
        host["Mounts"] = found
    if binds:
        host["Binds"] = binds
    return host


def holds_engine(path: str, facts: EngineFacts) -> bool:
    """Whether the engine counts a host path as part of its own directory or around it; it compares text, so do we.

    Such a mount may not be private, or containers would keep each other's filesystems busy. The engine chooses its
    propagation best by itself: rslave, or private where the host's mount does not allow that.
    """
    root = facts.root_dir
    return bool(root) and (path.startswith(root) or root.startswith(path))


def _bind(mount: Mount, facts: EngineFacts, where: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    around = holds_engine(mount.host_path, facts)
    if mount.propagation is not MountPropagation.PRIVATE or not around:
        options["Propagation"] = _PROPAGATION[mount.propagation]
    if mount.recursive_read_only:
        _demand_recursive(mount, facts, where)
        if around:
            raise RecursiveReadOnlyUnsupported(
                f"{where}.recursive_read_only: {mount.host_path!r} holds Docker's own directory, "
                "and must be private to be read-only with all below it"
            )
        options["ReadOnlyForceRecursive"] = True
    elif mount.readonly and facts.api >= READ_ONLY_CONTROL:
        options["ReadOnlyNonRecursive"] = True
    return {
        "Type": "bind",
        "Source": mount.host_path,
        "Target": mount.container_path,
        "ReadOnly": mount.readonly,
        "BindOptions": options,
    }


def _demand_recursive(mount: Mount, facts: EngineFacts, where: str) -> None:
    if not mount.readonly or mount.propagation is not MountPropagation.PRIVATE:
        raise InvalidArgument(f"{where}.recursive_read_only needs readonly and private propagation")
    if facts.api < READ_ONLY_CONTROL:
        version = ".".join(map(str, facts.api))
        raise RecursiveReadOnlyUnsupported(
            f"{where}.recursive_read_only needs API 1.44 (Docker 25); this Docker Engine speaks API {version}"
        )
    if not facts.recursive_read_only:
        raise RecursiveReadOnlyUnsupported(f"{where}.recursive_read_only needs Linux 5.12 and runc 1.1 on the host")


def _relabelled(mount: Mount, facts: EngineFacts, where: str) -> str:
    """``source:target:options``: only this older form has the engine relabel the source, with the pod's own label (Z).

    It knows nothing of recursion: from Docker 25 on what is mounted below a read-only source is read-only, too.
    """
    if mount.recursive_read_only:
        raise RecursiveReadOnlyUnsupported(f"{where}: Docker has no recursive_read_only together with selinux_relabel")
    if ":" in mount.host_path or ":" in mount.container_path:
        raise facts.unsupported(f"{where}.selinux_relabel: Docker relabels no path with a colon")
    words = ["ro" if mount.readonly else "rw", "Z"]
    if mount.propagation is not MountPropagation.PRIVATE or not holds_engine(mount.host_path, facts):
        words.append(_PROPAGATION[mount.propagation])
    return f"{mount.host_path}:{mount.container_path}:{','.join(words)}"


def _image(mount: Mount, facts: EngineFacts, where: str) -> dict[str, Any]:
    assert mount.image is not None
    facts.demand(*IMAGE_MOUNTS, f"{where}.image")
    if mount.host_path or not mount.readonly or mount.propagation is not MountPropagation.PRIVATE:
        raise InvalidArgument(f"{where}.image: an image volume is read-only and private, and has no host_path")
    sub_path = mount.image_sub_path
    if sub_path and (os.path.isabs(sub_path) or ".." in sub_path.split("/")):
        raise InvalidArgument(f"{where}.image_sub_path {sub_path!r} is not a path inside the image")
    found = {"Type": "image", "Source": mount.image.image, "Target": mount.container_path, "ReadOnly": True}
    return found | ({"ImageOptions": {"Subpath": sub_path}} if sub_path else {})
