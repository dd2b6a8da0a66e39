"""What can be said of a container only when its image is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from criadapt.client.manifest.plan import ContainerPlan
from criadapt.errors import FailedPrecondition
from criadapt.model.container import ContainerConfig, Mount
from criadapt.model.image import Image, ImageSpec
from criadapt.model.linux import LinuxContainerSecurityContext


def ready_config(plan: ContainerPlan, root: Path, ips: Sequence[str], images: Mapping[str, Image]) -> ContainerConfig:
    """The config to create a container with. Raises FailedPrecondition if it must not be root and may be.

    `images` are those that are present, by the names that the plan has for them.
    """
    config = plan.at(root, ips)
    image = images[config.image.image] if config.image else Image()
    security = config.linux.security_context if config.linux else None
    if config.linux is not None and security is not None:
        security = _with_user(security, image)
        if plan.run_as_non_root:
            _refuse_root(plan.name, security, image)
        config = replace(config, linux=replace(config.linux, security_context=security))
    return replace(
        config,
        image=_present(config.image, images) if config.image else None,
        mounts=tuple(_with_image(mount, images) for mount in config.mounts),
    )


def _present(spec: ImageSpec, images: Mapping[str, Image]) -> ImageSpec:
    return replace(spec, image=images[spec.image].id)


def _with_image(mount: Mount, images: Mapping[str, Image]) -> Mount:
    return replace(mount, image=_present(mount.image, images)) if mount.image is not None else mount


def _with_user(security: LinuxContainerSecurityContext, image: Image) -> LinuxContainerSecurityContext:
    """CRI wants a user beside a group: then it is said to be the image's, as kubelet does."""
    if security.run_as_group is None or security.run_as_user is not None or security.run_as_username:
        return security
    if image.uid is None and image.username:
        return replace(security, run_as_username=image.username)
    return replace(security, run_as_user=image.uid or 0)


def _refuse_root(name: str, security: LinuxContainerSecurityContext, image: Image) -> None:
    user = image.uid if security.run_as_user is None else security.run_as_user
    if user is None and image.username:
        raise FailedPrecondition(
            f"container {name!r}: runAsNonRoot is true and the image's user is {image.username!r}, who may be root; "
            "set runAsUser to a number"
        )
    if not user:
        raise FailedPrecondition(
            f"container {name!r}: runAsNonRoot is true and the image's user is root; set runAsUser to another number"
        )
