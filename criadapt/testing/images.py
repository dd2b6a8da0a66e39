"""Images and the disk they lie on."""

from __future__ import annotations

import asyncio

import pytest

from criadapt.errors import FailedPrecondition, PullFailed
from criadapt.model.reference import ImageRef
from criadapt.testing.harness import Bench, is_directory, optional
from criadapt.testing.terms import UNKNOWN, ContractBase


class ImageContract(ContractBase):
    """Images and the disk they lie on."""

    async def test_a_pulled_image_is_listed_under_its_name(self, bench: Bench) -> None:
        ref = ImageRef.parse(self.other_image)
        id = await bench.backend.pull(ref, None)
        (image,) = [image for image in await bench.backend.images() if image.id == id]
        assert str(ref) in image.repo_tags
        assert image.size > 0
        assert any(digest.startswith(f"{ref.name}@sha256:") for digest in image.repo_digests)
        assert await bench.backend.pull(ref, None) == id
        assert len([image for image in await bench.backend.images() if image.id == id]) == 1

    async def test_a_removed_image_is_gone_with_all_its_names(self, bench: Bench) -> None:
        id = await bench.backend.pull(ImageRef.parse(self.other_image), None)
        await asyncio.gather(*(bench.backend.remove_image(id) for _ in range(3)))
        await bench.backend.remove_image(id)
        await bench.backend.remove_image(f"sha256:{UNKNOWN}")
        assert id not in [image.id for image in await bench.backend.images()]

    async def test_one_image_under_two_names_has_one_id(self, bench: Bench) -> None:
        if self.same_images is None:
            pytest.skip("same_images is not set: no image is known under two names")
        refs = [ImageRef.parse(text) for text in self.same_images]
        one, two = [await bench.backend.pull(ref, None) for ref in refs]
        assert one == two
        (image,) = [image for image in await bench.backend.images() if image.id == one]
        assert {str(ref) for ref in refs} <= set(image.repo_tags)
        await bench.backend.remove_image(one)

    async def test_an_image_in_use_stays(self, bench: Bench) -> None:
        await bench.run(self.sleep)
        with pytest.raises(FailedPrecondition):
            await bench.backend.remove_image(bench.image_id)
        assert bench.image_id in [image.id for image in await bench.backend.images()]

    async def test_a_pull_that_cannot_work_says_so(self, bench: Bench) -> None:
        with pytest.raises(PullFailed):
            await bench.backend.pull(ImageRef.parse(self.missing_image), None)

    async def test_a_pull_that_was_given_up_leaves_nothing(self, bench: Bench) -> None:
        if not self.slow_image:
            pytest.skip("slow_image is not set: no image is known to take long")
        before = {image.id for image in await bench.backend.images()}
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await bench.backend.pull(ImageRef.parse(self.slow_image), None)
        assert {image.id for image in await bench.backend.images()} == before

    async def test_the_image_filesystem_exists(self, bench: Bench) -> None:
        usage = await bench.backend.image_filesystem()
        assert usage.fs_id is not None
        assert is_directory(usage.fs_id.mountpoint)
        assert usage.used_bytes is not None
        assert usage.timestamp > 0

    async def test_files_of_an_image_can_be_read(self, bench: Bench) -> None:
        with optional():
            passwd = await bench.backend.image_file(bench.image_id, "/etc/passwd")
        assert passwd is not None
        assert passwd.startswith(b"root:")
        assert await bench.backend.image_file(bench.image_id, "/no/such/file") is None
