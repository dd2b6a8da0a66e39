"""Volumes of a pod, and where its containers have them."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass

from criadapt.client.manifest import schema
from criadapt.client.manifest.context import Context
from criadapt.client.manifest.environment import expand
from criadapt.client.manifest.plan import HostFile, HostPath, ImagePlan, encoded
from criadapt.client.manifest.pull import pull_policy
from criadapt.errors import InvalidArgument
from criadapt.model.container import Mount
from criadapt.model.image import ImageSpec
from criadapt.model.linux import MountPropagation

FILE_MODE = 0o644

_PROPAGATION = {
    "": MountPropagation.PRIVATE,
    "None": MountPropagation.PRIVATE,
    "HostToContainer": MountPropagation.HOST_TO_CONTAINER,
    "Bidirectional": MountPropagation.BIDIRECTIONAL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumePlan:
    """A volume: a folder below the pod's (`folder`), with `files` if it cannot be written to; a path of the host; or
    an image."""

    folder: str = ""
    files: tuple[HostFile, ...] | None = None
    host_path: HostPath | None = None
    image: ImagePlan | None = None


def volumes(context: Context) -> Mapping[str, VolumePlan]:
    """All volumes by name."""
    found: dict[str, VolumePlan] = {}
    for number, volume in enumerate(context.spec.volumes):
        where = f"{context.where}.volumes[{number}]"
        if not volume.name or volume.name in found or "/" in volume.name or volume.name in (".", ".."):
            raise InvalidArgument(f"{where}.name: {volume.name!r} must be a name of its own")
        found[volume.name] = _volume(context, volume, where)
    return found


def mounts(
    context: Context,
    container: schema.Container,
    where: str,
    known: Mapping[str, VolumePlan],
    env: Mapping[str, str],
    folders: list[str],
) -> tuple[Mount, ...]:
    """Mounts of a container; sub paths that have to be made are added to `folders`."""
    found: dict[str, Mount] = {}
    for number, given in enumerate(container.volume_mounts):
        place = f"{where}.volumeMounts[{number}]"
        if given.name not in known:
            raise InvalidArgument(f"{place}.name: no volume {given.name!r}")
        if not given.mount_path or given.mount_path in found:
            raise InvalidArgument(f"{place}.mountPath: {given.mount_path!r} must be a path of its own")
        found[given.mount_path] = _mount(context, given, known[given.name], place, env, folders)
    return tuple(found.values())


# ---------------------------------------------------------------------------------------------- volumes


def _volume(context: Context, volume: schema.Volume, where: str) -> VolumePlan:
    folder = f"volumes/{volume.name}"
    given = [name for name in _SOURCES if getattr(volume, name) is not None]
    if len(given) > 1:
        raise InvalidArgument(f"{where}: more than one source: {', '.join(given)}")
    if volume.host_path is not None:
        path = volume.host_path.path
        if not path.startswith("/") or ".." in path.split("/"):
            raise InvalidArgument(f"{where}.hostPath.path: {path!r} is not an absolute path")
        return VolumePlan(host_path=HostPath(path=path, type=volume.host_path.type, field=f"{where}.hostPath"))
    if volume.image is not None:
        reference = volume.image.reference
        if not reference:
            raise InvalidArgument(f"{where}.image.reference: missing")
        policy = pull_policy(reference, volume.image.pull_policy, f"{where}.image.reference")
        return VolumePlan(image=ImagePlan(image=reference, pull=policy))
    files: list[HostFile] | None = None
    if volume.config_map is not None:
        files = _config_map(context, volume.config_map, f"{where}.configMap", None)
    elif volume.secret is not None:
        files = _secret(context, volume.secret, f"{where}.secret", volume.secret.secret_name, "secretName", None)
    elif volume.downward_api is not None:
        files = _downward(context, volume.downward_api, f"{where}.downwardAPI", None)
    elif volume.projected is not None:
        files = _projected(context, volume.projected, f"{where}.projected")
    elif volume.empty_dir is not None:
        if volume.empty_dir.medium:
            context.notes.append(f"{where}.emptyDir.medium is not acted on: the folder lies on disk")
        if volume.empty_dir.size_limit:
            context.notes.append(f"{where}.emptyDir.sizeLimit is not acted on")
    if files is None:
        return VolumePlan(folder=folder)
    return VolumePlan(
        folder=folder,
        files=tuple(HostFile(path=f"{folder}/{file.path}", content=file.content, mode=file.mode) for file in files),
    )


_SOURCES = ("empty_dir", "host_path", "config_map", "secret", "downward_api", "projected", "image")


def _config_map(context: Context, source: schema.ConfigMapSource, where: str, mode: int | None) -> list[HostFile]:
    place = f"{where}.name"
    values = context.objects.get("ConfigMap", context.namespace, source.name, place, optional=source.optional)
    return _keys(values, source, where, mode)


def _secret(
    context: Context, source: schema.SecretSource, where: str, name: str, field: str, mode: int | None
) -> list[HostFile]:
    values = context.objects.get("Secret", context.namespace, name, f"{where}.{field}", optional=source.optional)
    return _keys(values, source, where, mode)


def _keys(
    values: Mapping[str, bytes] | None,
    source: schema.ConfigMapSource | schema.SecretSource,
    where: str,
    mode: int | None,
) -> list[HostFile]:
    default = source.default_mode if source.default_mode is not None else mode
    if values is None:
        return []
    if source.items is None:
        return [_file(key, value, None, default, where) for key, value in values.items()]
    found = []
    for number, item in enumerate(source.items):
        place = f"{where}.items[{number}]"
        if item.key not in values:
            if source.optional:
                continue
            raise InvalidArgument(f"{place}.key: there is no key {item.key!r}")
        found.append(_file(item.path, values[item.key], item.mode, default, place))
    return found


def _downward(context: Context, source: schema.DownwardSource, where: str, mode: int | None) -> list[HostFile]:
    default = source.default_mode if source.default_mode is not None else mode
    found = []
    for number, item in enumerate(source.items):
        place = f"{where}.items[{number}]"
        if item.field_ref is not None:
            text = context.field(item.field_ref, f"{place}.fieldRef")
        elif item.resource_field_ref is not None:
            text = context.resource(item.resource_field_ref, f"{place}.resourceFieldRef", None)
        else:
            raise InvalidArgument(f"{place}: empty; give fieldRef or resourceFieldRef")
        found.append(_file(item.path, encoded(text), item.mode, default, place))
    return found


def _projected(context: Context, source: schema.ProjectedSource, where: str) -> list[HostFile]:
    found: dict[str, HostFile] = {}
    for number, part in enumerate(source.sources):
        place = f"{where}.sources[{number}]"
        files: list[HostFile] = []
        if part.config_map is not None:
            files += _config_map(context, part.config_map, f"{place}.configMap", source.default_mode)
        if part.secret is not None:
            files += _secret(context, part.secret, f"{place}.secret", part.secret.name, "name", source.default_mode)
        if part.downward_api is not None:
            files += _downward(context, part.downward_api, f"{place}.downwardAPI", source.default_mode)
        found.update({file.path: file for file in files})
    return list(found.values())


def _file(path: str, content: bytes, mode: int | None, default: int | None, where: str) -> HostFile:
    if mode is None:
        mode = FILE_MODE if default is None else default
    if not 0 <= mode <= 0o777:
        raise InvalidArgument(f"{where}.mode: {mode} is not within 0 and 0777 (511)")
    return HostFile(path=_inside(path, f"{where}.path"), content=content, mode=mode)


# ---------------------------------------------------------------------------------------------- mounts


def _mount(
    context: Context,
    given: schema.VolumeMount,
    volume: VolumePlan,
    where: str,
    env: Mapping[str, str],
    folders: list[str],
) -> Mount:
    sub_path = _sub_path(given, where, env)
    recursive = given.recursive_read_only == "Enabled"
    propagation = _PROPAGATION[given.mount_propagation]
    if recursive and not given.read_only:
        raise InvalidArgument(f"{where}.recursiveReadOnly: needs readOnly: true")
    if recursive and propagation is not MountPropagation.PRIVATE:
        raise InvalidArgument(f"{where}.recursiveReadOnly: needs mountPropagation None")
    if given.recursive_read_only == "IfPossible":
        context.notes.append(f"{where}.recursiveReadOnly: IfPossible is not acted on; Enabled is")
    if volume.image is not None:
        image = volume.image.image
        return Mount(
            container_path=given.mount_path,
            image=ImageSpec(image=image, user_specified_image=image),
            image_sub_path=sub_path,
            readonly=True,
        )
    if volume.host_path is not None:
        path = posixpath.join(volume.host_path.path, sub_path) if sub_path else volume.host_path.path
    else:
        path = _made(volume, sub_path, where, folders)
    return Mount(
        container_path=given.mount_path,
        host_path=path,
        readonly=given.read_only or volume.files is not None,
        recursive_read_only=recursive,
        propagation=propagation,
        selinux_relabel=volume.host_path is None,
    )


def _sub_path(given: schema.VolumeMount, where: str, env: Mapping[str, str]) -> str:
    if given.sub_path and given.sub_path_expr:
        raise InvalidArgument(f"{where}: subPath and subPathExpr exclude each other")
    if given.sub_path_expr:
        expanded = expand(given.sub_path_expr, env)
        if "\0" in expanded:
            raise InvalidArgument(f"{where}.subPathExpr: the pod's address is not known before its volumes are made")
        return _inside(expanded, f"{where}.subPathExpr")
    return _inside(given.sub_path, f"{where}.subPath") if given.sub_path else ""


def _made(volume: VolumePlan, sub_path: str, where: str, folders: list[str]) -> str:
    """Path of a mount in a volume that is made for the pod."""
    if not sub_path:
        return volume.folder
    path = f"{volume.folder}/{sub_path}"
    if volume.files is None:
        folders.append(path)
    elif not any(file.path == path or file.path.startswith(f"{path}/") for file in volume.files):
        raise InvalidArgument(f"{where}.subPath: the volume has no file {sub_path!r}")
    return path


def _inside(path: str, where: str) -> str:
    """A normal relative path that does not lead outside."""
    if not path or path.startswith("/") or ".." in path.split("/") or "\0" in path:
        raise InvalidArgument(f"{where}: {path!r} is not a path inside the volume")
    return posixpath.normpath(path)
