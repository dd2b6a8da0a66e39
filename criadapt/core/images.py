"""Images: finding them by any of their names, pulling (joined), removing, listing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from criadapt.backends.base import Backend, EngineImage
from criadapt.core.flights import Flights
from criadapt.core.store import Store
from criadapt.core.users import is_number
from criadapt.errors import FailedPrecondition, ImageNotFound, InvalidArgument
from criadapt.model.container import ContainerState
from criadapt.model.image import AuthConfig, FilesystemUsage, Image, ImageFilter, ImageSpec
from criadapt.model.reference import ImageRef, is_image_id

_MIN_ID_PREFIX = 3  # shorter ones are taken for names


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePolicy:
    """Which images are criadapt's own business."""

    pause: str
    pinned: tuple[str, ...] = ()


class Images:
    """All images of the engine."""

    def __init__(self, backend: Backend, store: Store, policy: ImagePolicy) -> None:
        self._backend = backend
        self._store = store
        self._flights = Flights()
        self._pinned = (str(ImageRef.parse(policy.pause)), *policy.pinned)

    async def find(self, name: str) -> EngineImage | None:
        """Image by id (with or without ``sha256:``, or a unique prefix), tag or digest; None if there is none.

        Raises InvalidArgument for an id prefix that fits several images.
        """
        return _find(await self._backend.images(), name)

    async def get(self, name: str) -> EngineImage:
        """Like :meth:`find`. Raises ImageNotFound."""
        image = await self.find(name)
        if image is None:
            raise ImageNotFound(name)
        return image

    async def ensure(self, name: str) -> EngineImage:
        """The image, pulled without credentials if it is not there."""
        image = await self.find(name)
        if image is not None:
            return image
        await self.pull(ImageSpec(image=name), None)
        return await self.get(name)

    async def list(self, filter: ImageFilter | None) -> list[Image]:
        """All images, or the one that the filter names."""
        images = await self._backend.images()
        if filter is None or filter.image is None or not filter.image.image:
            return [self._shown(image) for image in images]
        image = _find(images, filter.image.image)
        return [self._shown(image)] if image else []

    async def status(self, spec: ImageSpec | None) -> tuple[Image, EngineImage] | None:
        """One image, as CRI shows it and as the engine knows it."""
        image = await self.find(_name(spec))
        return (self._shown(image), image) if image else None

    async def pull(self, spec: ImageSpec | None, auth: AuthConfig | None) -> str:
        """Fetch the image and return its id. Callers who ask for the same with the same credentials share one pull."""
        name = _name(spec)
        if is_image_id(name):
            raise InvalidArgument(f"image.image {name[:80]!r} is an id; only references can be pulled")
        ref = ImageRef.parse(name)
        usable = auth if auth is not None and _meant_for(auth, ref) else None
        return await self._flights.join((ref, usable), lambda: self._backend.pull(ref, usable))

    async def remove(self, spec: ImageSpec | None) -> None:
        """Remove the image with all its names; success if it is unknown. FailedPrecondition while it is in use."""
        name = _name(spec)
        if not is_image_id(name) and not _looks_like_prefix(name):
            ImageRef.parse(name)  # a wrong name is an error, an unknown one is not
        image = await self.find(name)
        if image is None:
            return
        for container in self._store.containers():
            if container.image_id == image.id and container.state is not ContainerState.EXITED:
                raise FailedPrecondition(
                    f"image {name[:80]!r} is used by container {container.id[:13]!r}; remove the container first"
                )
        await self._flights.join(("remove", image.id), lambda: self._backend.remove_image(image.id))

    async def filesystem(self) -> FilesystemUsage:
        """Disk that holds the images."""
        return await self._backend.image_filesystem()

    async def close(self) -> None:
        """Cancel pulls under way."""
        await self._flights.settle()

    def _shown(self, image: EngineImage) -> Image:
        user = image.config.user.partition(":")[0]
        return Image(
            id=image.id,
            repo_tags=image.repo_tags,
            repo_digests=image.repo_digests,
            size=max(1, image.size),  # clients refuse an image of size 0
            uid=int(user) if is_number(user) else None,
            username="" if is_number(user) else user,
            pinned=any(
                fnmatchcase(name, pattern)
                for name in (*image.repo_tags, *image.repo_digests)
                for pattern in self._pinned
            ),
        )


def image_ref(image: EngineImage) -> str:
    """A repository digest if there is one, else the id: what pod status shows as imageID."""
    return image.repo_digests[0] if image.repo_digests else image.id


def _name(spec: ImageSpec | None) -> str:
    if spec is None or not spec.image:
        raise InvalidArgument("image.image is missing")
    return spec.image


def _find(images: Sequence[EngineImage], name: str) -> EngineImage | None:
    found: list[EngineImage] = []
    wanted = name.removeprefix("sha256:")
    prefix = is_image_id(name) or _looks_like_prefix(name)
    try:
        ref = None if is_image_id(name) else str(ImageRef.parse(name))
    except InvalidArgument:
        ref = None
    for image in images:
        if image.id.removeprefix("sha256:") == wanted:
            return image
        if ref is not None and (ref in image.repo_tags or ref in image.repo_digests):
            return image
        if prefix and image.id.removeprefix("sha256:").startswith(wanted):
            found.append(image)
    if len(found) > 1:
        raise InvalidArgument(f"image id {name[:80]!r} is ambiguous: it fits {found[0].id[:20]} and {found[1].id[:20]}")
    return found[0] if found else None


def _looks_like_prefix(name: str) -> bool:
    text = name.removeprefix("sha256:")
    return len(text) >= _MIN_ID_PREFIX and all(c in "0123456789abcdef" for c in text)


def _meant_for(auth: AuthConfig, ref: ImageRef) -> bool:
    """Whether the credentials belong to this registry; those of another host must not be sent to it."""
    if not auth.server_address:
        return True
    host = auth.server_address.partition("://")[2] or auth.server_address
    host = host.partition("/")[0]
    if host in ("index.docker.io", "registry-1.docker.io"):
        host = "docker.io"
    return host == ref.registry
