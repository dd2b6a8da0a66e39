"""A pod of one container, from a few arguments."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace

from criadapt.client.manifest.plan import ImagePlan, Node, PodPlan
from criadapt.client.manifest.source import read_manifest
from criadapt.errors import InvalidArgument
from criadapt.model.container import Mount
from criadapt.model.image import ImageSpec
from criadapt.model.reference import ImageRef, is_image_id

CONTAINER = "app"
"""Name of the container unless it is given another."""
GRACE = 5  # seconds: a pod for a test or a script has little to save


def simple_plan(
    image: str,
    *,
    command: Sequence[str] = (),
    args: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    name: str | None = None,
    namespace: str = "default",
    labels: Mapping[str, str] | None = None,
    mounts: Sequence[Mount] = (),
    runtime_handler: str = "",
    container: str = CONTAINER,
    stdin: bool = False,
    stdin_once: bool = False,
    tty: bool = False,
) -> PodPlan:
    """The plan of a pod with one container.

    With `stdin` it has an input, which with `stdin_once` ends with the first who is attached to it. Raises
    InvalidArgument.
    """
    for field, words in (("command", command), ("args", args)):
        if isinstance(words, (str, bytes)):
            raise InvalidArgument(f"{field}: expected a sequence of arguments, got {words!r}; write [{words!r}]")
    only = {
        "name": container,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": [_literal(word) for word in command],
        "args": [_literal(word) for word in args],
        "env": [{"name": key, "value": _literal(value)} for key, value in (env or {}).items()],
        "stdin": stdin,
        "stdinOnce": stdin_once,
        "tty": tty,
    }
    metadata = {"name": name or _name(image), "namespace": namespace, "labels": dict(labels or {})}
    spec = {
        "containers": [only],
        "terminationGracePeriodSeconds": GRACE,
        "runtimeClassName": runtime_handler,
        "restartPolicy": "Never",
    }
    (plan,) = read_manifest({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}, node=Node())
    (made,) = plan.containers
    images = [mount.image.image for mount in mounts if mount.image is not None and mount.image.image != image]
    return replace(
        plan,
        containers=(replace(made, config=replace(made.config, mounts=tuple(map(_user_specified, mounts)))),),
        images=(*plan.images, *(ImagePlan(image=wanted, pull="missing") for wanted in dict.fromkeys(images))),
    )


def _user_specified(mount: Mount) -> Mount:
    if mount.image is None:
        return mount
    return replace(mount, image=ImageSpec(image=mount.image.image, user_specified_image=mount.image.image))


def _literal(text: str) -> str:
    """What is no manifest has no references in it."""
    return text.replace("$", "$$") if isinstance(text, str) else text


def _name(image: str) -> str:
    stem = "pod" if is_image_id(image) else ImageRef.parse(image).path.rpartition("/")[2]
    return f"{stem.replace('_', '-').replace('.', '-')[:40].strip('-')}-{secrets.token_hex(3)}"
