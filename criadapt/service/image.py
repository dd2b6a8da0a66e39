"""ImageService: six RPCs in the interface's order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from criadapt.core.runtime import Runtime
from criadapt.cri.codec import decode_field, encode
from criadapt.cri.v1 import api_pb2 as pb
from criadapt.model.image import AuthConfig, ImageFilter, ImageSpec
from criadapt.service.handlers import Answer
from criadapt.service.rows import chunks, encoded


class ImageService:
    """Decode, ask the core, encode."""

    def __init__(self, runtime: Runtime) -> None:
        self._images = runtime.images

    async def ListImages(self, request: pb.ListImagesRequest, context: Any) -> Answer:
        images = await self._images.list(decode_field(ImageFilter, request, "filter"))
        return b"".join(await encoded(images))

    async def StreamImages(self, request: pb.StreamImagesRequest, context: Any) -> AsyncIterator[Answer]:
        images = await self._images.list(decode_field(ImageFilter, request, "filter"))
        for chunk in chunks(await encoded(images)):
            yield chunk

    async def ImageStatus(self, request: pb.ImageStatusRequest, context: Any) -> Answer:
        found = await self._images.status(decode_field(ImageSpec, request, "image"))
        if found is None:
            return pb.ImageStatusResponse()
        shown, engine = found
        info = {"info": msgspec.json.encode({"id": engine.id, "imageSpec": engine.config}).decode()}
        return pb.ImageStatusResponse(image=encode(shown), info=info if request.verbose else None)

    async def PullImage(self, request: pb.PullImageRequest, context: Any) -> Answer:
        image = decode_field(ImageSpec, request, "image")
        return pb.PullImageResponse(image_ref=await self._images.pull(image, decode_field(AuthConfig, request, "auth")))

    async def RemoveImage(self, request: pb.RemoveImageRequest, context: Any) -> Answer:
        await self._images.remove(decode_field(ImageSpec, request, "image"))
        return pb.RemoveImageResponse()

    async def ImageFsInfo(self, request: pb.ImageFsInfoRequest, context: Any) -> Answer:
        # Writable layers lie on the same filesystem; kubelet wants to be told both.
        usage = encode(await self._images.filesystem())
        return pb.ImageFsInfoResponse(image_filesystems=[usage], container_filesystems=[usage])
