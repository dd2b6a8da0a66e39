"""Engine steps that sandboxes and containers share: create without leftovers, kill and see it through."""

from __future__ import annotations

import asyncio

from criadapt.backends.base import Backend, ContainerSpec, EngineContainer, EngineState
from criadapt.core.store import Store
from criadapt.core.undo import Undo
from criadapt.errors import AlreadyExists, ContainerNotFound, DeadlineExceeded
from criadapt.model.signals import Signal

EXIT_AFTER_KILL_SECONDS = 30.0  # a process that SIGKILL does not end is stuck in the kernel


async def create(backend: Backend, store: Store, spec: ContainerSpec, undo: Undo) -> str:
    """Create the container; `undo` removes it, also when the engine made it although the call failed.

    A container of that name which no record knows is the remains of an attempt nobody saw the end of: it is removed.
    """

    async def remove_leftover() -> None:
        for container in await backend.containers():
            if container.name == spec.name and not (
                store.has_sandbox(container.id) or store.has_container(container.id)
            ):
                await backend.remove(container.id)

    undo.push("remove the engine's container", remove_leftover)
    try:
        return await backend.create(spec)
    except AlreadyExists:
        await remove_leftover()
        return await backend.create(spec)


async def killed(backend: Backend, store: Store, id: str) -> EngineContainer | None:
    """SIGKILL a pod's container and wait for its exit.

    Returns what the engine says of it when its exit event did not come in time, None when it came. Raises
    DeadlineExceeded if it lives on.
    """
    try:
        await backend.kill(id, Signal.SIGKILL)
    except ContainerNotFound:
        return None
    try:
        async with asyncio.timeout(EXIT_AFTER_KILL_SECONDS):
            await store.exited(id)
        return None
    except TimeoutError:
        try:
            found = await backend.inspect(id)
        except ContainerNotFound:
            return None
        if found.state is EngineState.RUNNING:
            raise DeadlineExceeded(
                f"container {id[:13]!r} does not end {EXIT_AFTER_KILL_SECONDS:.0f} s after SIGKILL"
            ) from None
        return found
