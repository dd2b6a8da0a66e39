"""Images by their names, and credentials from where people have them."""

from __future__ import annotations

from criadapt.client.aio import io
from criadapt.client.aio.rpc import AsyncCalls
from criadapt.client.manifest.plan import PullPolicy
from criadapt.client.registries import Auth, credentials
from criadapt.errors import ImageNotFound, InvalidArgument
from criadapt.model.image import Image
from criadapt.model.sandbox import PodSandboxConfig


class AsyncImages(AsyncCalls):
    """Getting images."""

    async def pull(
        self,
        image: str,
        *,
        auth: Auth = None,
        sandbox_config: PodSandboxConfig | None = None,
        timeout: float | None = None,
    ) -> Image:
        """Pull an image and say what it is. `auth` may be ``"docker-config"`` for what ``docker login`` has stored.

        Raises what :meth:`pull_image` does.
        """
        found = await io.blocking(credentials, auth, image)
        ref = await self.pull_image(image, auth=found, sandbox_config=sandbox_config, timeout=timeout)
        return (await self.image_status(ref)).image or Image(id=ref)

    async def _provided(
        self, image: str, policy: PullPolicy, auth: Auth, sandbox_config: PodSandboxConfig | None
    ) -> Image:
        """The image, pulled if the policy says so."""
        if policy not in ("missing", "always", "never"):
            raise InvalidArgument(f"pull is {policy!r}; it must be 'missing', 'always' or 'never'")
        present = None if policy == "always" else (await self.image_status(image)).image
        if present is None and policy == "never":
            raise ImageNotFound(image)
        return present or await self.pull(image, auth=auth, sandbox_config=sandbox_config)
