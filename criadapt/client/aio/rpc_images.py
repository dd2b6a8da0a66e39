"""RPCs about images."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from criadapt.client.aio.caller import AsyncCaller
from criadapt.cri.codec import encode
from criadapt.cri.v1 import api_pb2 as pb
from criadapt.model.answers import ImageFsInfoResponse, ImageStatusResponse
from criadapt.model.image import AuthConfig, Image, ImageFilter, ImageSpec
from criadapt.model.sandbox import PodSandboxConfig


class AsyncImageCalls(AsyncCaller):
    """Images; a mere string is a reference or an id."""

    async def list_images(
        self, filter: ImageFilter | None = None, *, timeout: float | None = None
    ) -> tuple[Image, ...]:
        """Images that are present, all of them or those that a filter names."""
        request = pb.ListImagesRequest(filter=encode(filter) if filter else None)
        answer = await self._ask(request, pb.ListImagesResponse, timeout)
        return tuple(self._decode(Image, item) for item in answer.images)

    async def stream_images(
        self, filter: ImageFilter | None = None, *, timeout: float | None = None
    ) -> AsyncGenerator[Image, None]:
        """The same one by one. Raises Unsupported where the runtime has no such call."""
        request = pb.StreamImagesRequest(filter=encode(filter) if filter else None)
        async for answer in self._listen(request, pb.StreamImagesResponse, timeout):
            for item in answer.images:
                yield self._decode(Image, item)

    async def image_status(
        self, image: str | ImageSpec, *, verbose: bool = False, timeout: float | None = None
    ) -> ImageStatusResponse:
        """An image in full. One that is not present is no error: the answer's `image` is None."""
        request = pb.ImageStatusRequest(image=_spec(image), verbose=verbose)
        return self._decode(ImageStatusResponse, await self._ask(request, pb.ImageStatusResponse, timeout))

    async def pull_image(
        self,
        image: str | ImageSpec,
        *,
        auth: AuthConfig | None = None,
        sandbox_config: PodSandboxConfig | None = None,
        timeout: float | None = None,
    ) -> str:
        """Fetch an image from its registry. Returns its id, or on some runtimes its name with digest.

        Raises NotFound, PermissionDenied, RegistryUnavailable, PullFailed and SignatureValidationFailed, as far as
        the runtime tells them apart; else EngineError.
        """
        request = pb.PullImageRequest(
            image=_spec(image),
            auth=encode(auth) if auth else None,
            sandbox_config=encode(sandbox_config) if sandbox_config else None,
        )
        return (await self._ask(request, pb.PullImageResponse, timeout)).image_ref

    async def remove_image(self, image: str | ImageSpec, *, timeout: float | None = None) -> None:
        """Remove an image under all its names. Not an error when it is gone."""
        await self._ask(pb.RemoveImageRequest(image=_spec(image)), pb.RemoveImageResponse, timeout)

    async def image_fs_info(self, *, timeout: float | None = None) -> ImageFsInfoResponse:
        """The disks that images and writable layers lie on, and what they use of them."""
        answer = await self._ask(pb.ImageFsInfoRequest(), pb.ImageFsInfoResponse, timeout)
        return self._decode(ImageFsInfoResponse, answer)


def _spec(image: str | ImageSpec) -> pb.ImageSpec:
    found: pb.ImageSpec = encode(ImageSpec(image=image) if isinstance(image, str) else image)
    return found
