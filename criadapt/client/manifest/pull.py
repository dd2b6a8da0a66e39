"""When an image is pulled."""

from __future__ import annotations

from collections.abc import Mapping

from criadapt.client.manifest.plan import PullPolicy
from criadapt.errors import InvalidArgument
from criadapt.model.reference import ImageRef, is_image_id

_POLICIES: Mapping[str, PullPolicy] = {"Always": "always", "Never": "never", "IfNotPresent": "missing"}


def pull_policy(image: str, policy: str, where: str) -> PullPolicy:
    """What a manifest's imagePullPolicy means; without one ``latest`` is always pulled, as Kubernetes does.

    Raises InvalidArgument that begins with `where` for what is no image.
    """
    if is_image_id(image):
        return _POLICIES.get(policy, "missing")
    try:
        ref = ImageRef.parse(image)
    except InvalidArgument as error:
        raise InvalidArgument(f"{where}: {error}") from error
    return _POLICIES.get(policy) or ("always" if ref.tag == "latest" else "missing")
