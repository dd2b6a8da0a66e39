"""The network port: what criadapt needs to give a pod its addresses and to take them back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

from criadapt.backends.base import Backend
from criadapt.errors import EngineError
from criadapt.model.sandbox import PodSandboxConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Whether pods can be given a network; reason is CamelCase, the message tells people what to do."""

    ready: bool
    reason: str = ""
    message: str = ""


READY = Readiness(ready=True)


class Network(ABC):
    """Connects infra containers. Both calls are idempotent and never run for pods on the host network."""

    engine_connects: ClassVar[bool] = True
    """Whether the engine does it when it starts the container, and publishes the pod's ports."""

    @abstractmethod
    async def attach(self, id: str, config: PodSandboxConfig) -> tuple[str, ...]:
        """Connect the running infra container `id`; returns its addresses, primary first, never none."""

    @abstractmethod
    async def detach(self, id: str, config: PodSandboxConfig) -> None:
        """Release all that attach() took; success if there is nothing (left), also when the container is gone."""

    @abstractmethod
    async def readiness(self) -> Readiness:
        """Whether attach() can work now."""

    async def clean_up(self, living: Collection[str]) -> list[str]:
        """After a restart: release what belongs to none of the `living` pod sandboxes; says what could not be."""
        return []

    def set_pod_cidr(self, cidr: str) -> None:
        """The node was given this range (comma-separated when dual stack); ignored where it does not matter."""


class EngineNetwork(Network):
    """The engine connects its containers itself: addresses come with the container and go with it."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def attach(self, id: str, config: PodSandboxConfig) -> tuple[str, ...]:
        ips = (await self._backend.inspect(id)).ips
        if not ips:
            raise EngineError(f"engine {self._backend.name!r} gave the pod sandbox no address; check its network")
        return ips

    async def detach(self, id: str, config: PodSandboxConfig) -> None:
        """Nothing to do: the engine releases the address when the infra container stops."""

    async def readiness(self) -> Readiness:
        """Always: what the engine itself lacks is said by RuntimeReady."""
        return READY
